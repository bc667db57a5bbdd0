"""The whole life of jobs and files through Google's Python SDK, whichever version is installed beside this program.

Finds the service by the environment, as a user's program does; works in the folder given; prints what it saw as one
JSON document, in the shape of ``life.mjs``, for the test to judge. It imports nothing but the SDK.

    python life.py FOLDER URL blocking|aio
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import operator
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

genai = importlib.import_module("google.genai")

MODEL, EMBEDDER, JSONL = "gemini-3.8-flash", "gemini-embedding-001", "application/jsonl"
ENDED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_CANCELLED", "JOB_STATE_FAILED", "JOB_STATE_EXPIRED")
FOLDER, URL, WAY = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
_VERSION = os.environ.get("WITH_VERSION")


class Sdk:
    """Calls by name, such as ``batches.create``; the asynchronous half looks like the blocking one."""

    def __init__(self, version: str | None = _VERSION) -> None:
        self._whole = genai.Client(http_options={"api_version": version} if version else None)
        self._loop = asyncio.new_event_loop() if WAY == "aio" else None
        self._client = self._whole.aio if self._loop else self._whole

    def has(self, method: str) -> bool:
        group, _, name = method.partition(".")
        return hasattr(getattr(self._client, group), name)

    def __call__(self, method: str, **arguments: Any) -> Any:
        result = operator.attrgetter(method)(self._client)(**arguments)
        return self._done(result) if inspect.isawaitable(result) else result

    def _done(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        assert self._loop
        return self._loop.run_until_complete(wait())

    def every(self, method: str, size: int) -> list[str]:
        pager = self(method, config={"page_size": size})
        if not self._loop:
            return [one.name for one in pager]

        async def collect() -> list[str]:
            return [one.name async for one in pager]

        names: list[str] = self._done(collect())
        return names

    def chunks(self, **arguments: Any) -> list[str]:
        """The texts of a streamed answer."""
        stream = self("models.generate_content_stream", **arguments)
        if not self._loop:
            return [chunk.text for chunk in stream]

        async def collect() -> list[str]:
            return [chunk.text async for chunk in stream]

        texts: list[str] = self._done(collect())
        return texts

    def upload(self, name: str, content: str, **config: Any) -> Any:
        path = FOLDER / name
        path.write_text(content)
        return self("files.upload", file=str(path), config={"mime_type": JSONL, **config})

    def ended(self, name: str) -> Any:
        while (job := self("batches.get", name=name)).state.name not in ENDED:
            pass
        return job

    def lines(self, file: str) -> list[Any]:
        return [json.loads(line) for line in self("files.download", file=file).splitlines() if line]

    def refusal(self, method: str, **arguments: Any) -> list[Any] | str:
        """Code and message of the error that a call ends with; otherwise the name of what it made."""
        try:
            return str(self(method, **arguments).name)
        except genai.errors.APIError as error:
            return [error.code, str(error.message)]
        except (
            KeyError
        ) as error:  # old versions look for the file in the answer before they look whether it was refused
            return [0, f"KeyError: {error}"]

    def close(self) -> None:
        """As far as this version knows how to."""
        if self._loop and hasattr(self._client, "aclose"):
            self("aclose")
        if hasattr(self._whole, "close"):
            self._whole.close()
        if self._loop:
            self._loop.close()


def row(key: str, text: str = "") -> str:
    return json.dumps({"key": key, "request": {"contents": [{"parts": [{"text": text or key}]}]}}) + "\n"


def clock(seconds: int) -> None:
    data, headers = json.dumps({"advance": seconds}).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(f"{URL}/emulator/clock", data, headers)):
        pass


def known(model: str, fields: dict[str, Any]) -> dict[str, Any]:
    """What this version's type has of the fields: others it would refuse itself."""
    return {name: value for name, value in fields.items() if name in getattr(genai.types, model).model_fields}


def plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return value


def life(sdk: Sdk) -> dict[str, Any]:
    """What was seen, step by step."""
    seen: dict[str, Any] = {"version": genai.__version__}
    # Nothing yet.
    seen["nothing"] = [sdk.every("batches.list", 2), sdk.every("files.list", 2)]

    # A file job; the file is larger than one of the SDK's chunks.
    file = sdk.upload("in.jsonl", row("1") + row("long", "x" * (9 << 20)), display_name="in")
    seen["file"] = file
    seen["fileAgain"] = sdk("files.get", name=file.name)
    seen["fileByUri"] = sdk("files.get", name=file.uri)
    job = sdk("batches.create", model=MODEL, src=file.name, config={"display_name": "nightly"})
    seen["created"] = job
    clock(3600)
    seen["running"] = sdk("batches.get", name=job.name)
    clock(3600)
    job = sdk.ended(job.name)
    seen["ended"] = job
    seen["rows"] = sdk.lines(job.dest.file_name)
    seen["outputFile"] = sdk.refusal("files.get", name=job.dest.file_name)

    # An inline job, one of whose rows fails.
    address = "https://generativelanguage.googleapis.com/v1beta/files/gone"
    gone = {"file_data": {"file_uri": address, "mime_type": "image/png"}}
    config = {
        "top_k": 5,
        "thinking_config": {"include_thoughts": True},
        "response_mime_type": "application/json",
        "response_schema": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}},
    }
    requests: list[dict[str, Any]] = [
        {"contents": [{"role": "user", "parts": [{"text": "One."}]}], "metadata": {"key": "1"}, "config": config},
        {"contents": [{"role": "user", "parts": [gone]}], "metadata": {"key": "2"}},
    ]
    inline = sdk("batches.create", model=MODEL, src=[known("InlinedRequest", one) for one in requests])
    clock(7200)
    seen["inline"] = sdk.ended(inline.name)
    seen["made"] = [job.name, inline.name]
    config = {"system_instruction": {"parts": [{"text": "Be brief."}]}}
    instructed = known("InlinedRequest", {**requests[0], "config": config})
    seen["system"] = sdk.refusal("batches.create", model=MODEL, src=[instructed])

    seen["made"] += [seen["system"]] if isinstance(seen["system"], str) else []

    # Embeddings, both ways.
    if sdk.has("batches.create_embeddings"):
        contents = {"contents": ["one", "two"], "config": {"output_dimensionality": 8}}
        embedded = sdk("batches.create_embeddings", model=EMBEDDER, src={"inlined_requests": contents})
        request = {"content": {"parts": [{"text": "one"}]}, "outputDimensionality": 8}
        vectors = sdk.upload("vectors.jsonl", json.dumps({"key": "a", "request": request}) + "\n")
        from_file = sdk("batches.create_embeddings", model=EMBEDDER, src={"file_name": vectors.name})
        clock(7200)
        seen["embedded"] = sdk.ended(embedded.name)
        seen["embeddedRows"] = sdk.lines(sdk.ended(from_file.name).dest.file_name)
        seen["made"] += [embedded.name, from_file.name]
    else:
        sdk.upload("second.jsonl", row("1"))

    # Lists in pages.
    seen["lists"] = [sdk.every("batches.list", size) for size in (1, 3, 4)]
    seen["files"] = sdk.every("files.list", 1)

    # Cancel one that waits; delete one that is done; delete a file.
    waiting = sdk("batches.create", model=MODEL, src=[{"contents": "Hello."}])
    sdk("batches.cancel", name=waiting.name)
    seen["cancelled"] = sdk.ended(waiting.name)
    sdk("batches.delete", name=job.name)
    seen["deletedJob"] = sdk.refusal("batches.get", name=job.name)
    sdk("files.delete", name=file.name)
    seen["deletedFile"] = sdk.refusal("files.get", name=file.name)

    # A stream, and a cache, which only v1beta has.
    question = {"model": MODEL, "contents": "Why is the sky blue, and the evening red? " * 4}
    seen["whole"] = sdk("models.generate_content", **question).text
    seen["chunks"] = sdk.chunks(**question)
    beta = Sdk("v1beta")
    cache = beta("caches.create", model=MODEL, config={"contents": "long" * 5000, "ttl": "60s"})
    cached = {**question, "config": {"cached_content": cache.name}}
    seen["cached"] = beta("models.generate_content", **cached).usage_metadata
    seen["caches"] = beta.every("caches.list", 1)
    beta("caches.update", name=cache.name, config={"ttl": "120s"})
    beta("caches.delete", name=cache.name)
    seen["deletedCache"] = beta.refusal("models.generate_content", **cached)
    beta.close()

    # What users meet most.
    bad = sdk.upload("bad.jsonl", row("1") + "{\n")
    seen["badLine"] = sdk.refusal("batches.create", model=MODEL, src=bad.name)
    seen["badModel"] = sdk.refusal("batches.create", model="gemini-0", src=[{"contents": "Hello."}])
    (FOLDER / "x.bin").write_bytes(b"x")
    refused = {"mime_type": "bad/mime_type"}
    seen["badType"] = sdk.refusal("files.upload", file=str(FOLDER / "x.bin"), config=refused)
    return {name: plain(value) for name, value in seen.items()}


if __name__ == "__main__":
    SDK = Sdk()
    SEEN = life(SDK)
    SDK.close()
    sys.stdout.write(json.dumps(SEEN))
