"""What an expert would write with the official SDK for a whole run: ``sdk_run.py FILE RESULTS``; prints the answers.

One file and one job; polls twice a second; streams the download; joins the answers to the keys by a dict; writes one
line for each request, in the order of the file. It checks nothing, and a crash costs the job.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from google import genai  # noqa: TID253 - what a program over the SDK takes is the question


def main(source: Path, results: Path) -> int:
    """Do all of it."""
    with genai.Client() as client, tempfile.TemporaryDirectory(dir=results.parent) as folder:
        file = client.files.upload(file=source, config={"mime_type": "application/jsonl"})
        job = client.batches.create(model="gemini-3-flash-preview", src=file.name or "")
        while not job.done:
            time.sleep(0.5)
            job = client.batches.get(name=job.name or "")
        assert job.dest, job
        raw = Path(folder, "answers.jsonl")
        client.files.download(file=job.dest.file_name or "", destination=raw)
        answers = {}
        with raw.open("rb") as lines:
            for line in lines:
                answer = json.loads(line)
                answers[answer["key"]] = answer
    count = 0
    with source.open("rb") as lines, results.open("w") as out:
        for line in lines:
            key = json.loads(line)["key"]
            answer = answers.get(key, {})
            response = answer.get("response")
            found = response["candidates"][0]["content"]["parts"][0]["text"] if response else None
            count += found is not None
            out.write(json.dumps({"key": key, "text": found, "error": answer.get("error")}) + "\n")
    return count


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
