"""A whole run by litellm: ``FILE RESULTS``; a file of native rows, one job. Prints the answers."""

import json
import os
import sys
import time
from pathlib import Path

import litellm  # type: ignore[import-not-found]

MODEL = "gemini-3-flash-preview"
GEMINI = {
    "custom_llm_provider": "gemini",
    "api_base": os.environ["GOOGLE_GEMINI_BASE_URL"],
    "api_key": os.environ["GEMINI_API_KEY"],
}


def main(source: Path, results: Path) -> int:
    """Upload, create, poll, read the answers, write them in the order of the file."""
    with source.open("rb") as data:
        file = litellm.create_file(file=("rows.jsonl", data), purpose="batch", **GEMINI)
    job = litellm.create_batch(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id, model=MODEL, **GEMINI
    )
    while job.status not in ("completed", "failed", "cancelled", "expired"):
        time.sleep(0.5)
        job = litellm.retrieve_batch(job.id, model=MODEL, **GEMINI)
    found = {}
    for line in litellm.file_content(job.output_file_id, **GEMINI).content.splitlines():
        answer = json.loads(line)
        found[answer["key"]] = answer["response"]["candidates"][0]["content"]["parts"][0]["text"]
    with source.open("rb") as lines, results.open("w") as out:
        for line in lines:
            key = json.loads(line)["key"]
            out.write(json.dumps({"key": key, "text": found[key]}) + "\n")
    return len(found)


print(main(Path(sys.argv[1]), Path(sys.argv[2])))
