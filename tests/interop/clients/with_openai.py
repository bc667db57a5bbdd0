"""openai: chat, streams, a tool, a schema, embeddings, models; then the three rows as a batch: on the compatible paths.

Files go through the native API, as Google's documentation says.
"""

import json
import os
import sys
import time
from typing import Literal

import httpx2  # type: ignore[import-not-found, unused-ignore]
from openai import BadRequestError, NotFoundError, OpenAI  # type: ignore[import-not-found]
from pydantic import BaseModel  # type: ignore[import-not-found, unused-ignore]

MODEL = "gemini-3.8-flash"
BASE = os.environ["GOOGLE_GEMINI_BASE_URL"]
HELLO = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Answer(BaseModel):
    mood: Literal["good", "bad"]
    score: int


def chats(client: OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=HELLO, reasoning_effort="low")
    said = whole.choices[0].message.content
    assert said, whole
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage.total_tokens >= whole.usage.prompt_tokens + whole.usage.completion_tokens

    stream = client.chat.completions.create(
        model=MODEL, messages=HELLO, reasoning_effort="low", stream=True, stream_options={"include_usage": True}
    )
    events = list(stream)
    pieces = [choice.delta.content or "" for event in events for choice in event.choices]
    assert "".join(pieces) == said, pieces
    assert events[-1].usage == whole.usage
    with client.chat.completions.stream(model=MODEL, messages=HELLO) as helped:
        assert helped.until_done().get_final_completion().choices[0].message.content

    asked = client.chat.completions.create(model=MODEL, messages=HELLO, tools=[TOOL], tool_choice="required")
    (call,) = asked.choices[0].message.tool_calls
    assert asked.choices[0].finish_reason == "tool_calls"
    assert json.loads(call.function.arguments)["city"]
    told = {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}
    again = client.chat.completions.create(model=MODEL, messages=[*HELLO, asked.choices[0].message, told], tools=[TOOL])
    assert again.choices[0].message.content

    parsed = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=Answer)
    assert isinstance(parsed.choices[0].message.parsed, Answer)


def refusals(client: OpenAI) -> None:
    """An error of these paths is the only item of a list; the client keeps it as the body."""
    said = {}
    for name, call in {
        "frequency_penalty": lambda: client.chat.completions.create(model=MODEL, messages=HELLO, frequency_penalty=1),
        "does not serve files": client.files.list,
        "was not found": lambda: client.batches.retrieve("batches/none"),
    }.items():
        try:
            call()
        except (BadRequestError, NotFoundError) as error:
            said[name] = error.body[0]["error"]["message"]
    assert len(said) == 3, said
    assert all(name in message for name, message in said.items()), said


def others(client: OpenAI) -> None:
    made = client.embeddings.create(model="gemini-embedding-001", input=["One.", "Two."], dimensions=16)
    assert [len(one.embedding) for one in made.data] == [16, 16]
    assert client.models.retrieve(f"models/{MODEL}") in list(client.models.list())


def upload(data: bytes) -> str:
    """By the native Files API, in two calls."""
    key = {"x-goog-api-key": os.environ["GEMINI_API_KEY"]}
    start = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(len(data)),
        "X-Goog-Upload-Header-Content-Type": "application/jsonl",
    }
    started = httpx2.post(f"{BASE}/upload/v1beta/files", headers=key | start, json={"file": {}})
    send = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
    done = httpx2.post(started.headers["x-goog-upload-url"], headers=send, content=data).json()
    name: str = done["file"]["name"]
    return name


def batch(client: OpenAI, rows: list[dict[str, str]]) -> dict[str, str]:
    lines = [
        {
            "custom_id": row["key"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": MODEL, "messages": [{"role": "user", "content": row["text"]}]},
        }
        for row in rows
    ]
    file = upload("\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode())
    job = client.batches.create(input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h")
    seen = [job.status]
    while job.status not in ("completed", "failed", "cancelled", "expired"):
        time.sleep(0.3)
        job = client.batches.retrieve(job.id)
        seen.append(job.status)
    assert list(dict.fromkeys(seen)) == ["validating", "in_progress", "completed"], seen
    assert [one.id for one in client.batches.list()] == [job.id]
    assert client.batches.cancel(job.id).status == "completed"
    url = f"{BASE}/v1beta/{job.output_file_id}:download"
    answer = httpx2.get(url, params={"alt": "media"}, headers={"x-goog-api-key": os.environ["GEMINI_API_KEY"]})
    found = [json.loads(line) for line in answer.content.splitlines()]
    return {one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"] for one in found}


def main() -> None:
    rows = json.load(sys.stdin)
    client = OpenAI(api_key=os.environ["GEMINI_API_KEY"], base_url=f"{BASE}/v1beta/openai/", max_retries=0)
    chats(client)
    refusals(client)
    others(client)
    json.dump(batch(client, rows), sys.stdout)


main()
