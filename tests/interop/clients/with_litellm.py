"""litellm: a completion, a stream and an embedding; then its Gemini batches, with ordinary rows and with OpenAI's."""

import io
import json
import os
import sys
import time
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # read when it is imported: no download of prices

import litellm  # type: ignore[import-not-found]

MODEL = "gemini-3.8-flash"
BASE = os.environ["GOOGLE_GEMINI_BASE_URL"]
GEMINI = {"custom_llm_provider": "gemini", "api_base": BASE, "api_key": os.environ["GEMINI_API_KEY"]}


def at_once() -> None:
    place = {"api_base": f"{BASE}/v1beta", "api_key": GEMINI["api_key"]}
    hello = [{"role": "user", "content": "Say hello."}]
    whole = litellm.completion(model=f"gemini/{MODEL}", messages=hello, **place)
    said = whole.choices[0].message.content
    stream = litellm.completion(model=f"gemini/{MODEL}", messages=hello, stream=True, **place)
    assert said == "".join(event.choices[0].delta.content or "" for event in stream)
    made = litellm.embedding(model="gemini/gemini-embedding-001", input=["One.", "Two."], **place)
    assert [len(one["embedding"]) for one in made.data] == [3072, 3072]


def batch(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    data = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    file = litellm.create_file(file=("rows.jsonl", io.BytesIO(data)), purpose="batch", **GEMINI)
    job = litellm.create_batch(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id=file.id, model=MODEL, **GEMINI
    )
    while job.status not in ("completed", "failed", "cancelled", "expired"):
        time.sleep(0.3)
        job = litellm.retrieve_batch(job.id, model=MODEL, **GEMINI)
    assert job.status == "completed", job
    answer = litellm.file_content(job.output_file_id, **GEMINI)
    return [json.loads(line) for line in answer.content.splitlines()]


def main() -> None:
    rows = json.load(sys.stdin)
    at_once()
    native = batch([{"key": row["key"], "request": {"contents": [{"parts": [{"text": row["text"]}]}]}} for row in rows])
    first = {one["key"]: one["response"]["candidates"][0]["content"]["parts"][0]["text"] for one in native}
    openai = batch(
        [
            {
                "custom_id": row["key"],
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": {"model": f"gemini/{MODEL}", "messages": [{"role": "user", "content": row["text"]}]},
            }
            for row in rows
        ]
    )
    answers = {one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"] for one in openai}
    assert answers == first, (answers, first)
    json.dump(answers, sys.stdout)


main()
