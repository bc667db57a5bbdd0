"""An emulator for every test, and the few calls that most of them make, in plain HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gemini_batch.emulator.service.core import Emulator

MODEL = "gemini-3.8-flash"
EMBEDDER = "gemini-embedding-001"


def line(key: str, text: str = "Say something nice.", **config: Any) -> bytes:
    """One line of an input file."""
    request: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    if config:
        request["generationConfig"] = config
    return json.dumps({"key": key, "request": request}).encode()


def lines(count: int) -> bytes:
    """An input file of ``count`` rows with the keys ``row-0`` and so on."""
    return b"\n".join(line(f"row-{number}") for number in range(count)) + b"\n"


@dataclass
class Api:
    """A caller with a key of its own."""

    http: httpx2.Client
    world: Emulator

    def start(self, size: int, mime_type: str = "application/jsonl", **file: Any) -> httpx2.Response:
        headers = {
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
            "X-Goog-Upload-Header-Content-Length": str(size),
            "X-Goog-Upload-Header-Content-Type": mime_type,
        }
        return self.http.post("/upload/v1beta/files", headers=headers, json={"file": file})

    def chunk(self, url: str, command: str, offset: int | None = None, data: bytes = b"") -> httpx2.Response:
        headers = {"X-Goog-Upload-Command": command}
        if offset is not None:
            headers["X-Goog-Upload-Offset"] = str(offset)
        return httpx2.post(url, headers=headers, content=data)

    def upload(self, data: bytes, **file: Any) -> str:
        """Upload a file in one piece; returns ``files/…``."""
        started = self.start(len(data), **file)
        assert started.status_code == 200, started.text
        done = self.chunk(started.headers["X-Goog-Upload-URL"], "upload, finalize", 0, data)
        assert done.status_code == 200, done.text
        name: str = done.json()["file"]["name"]
        return name

    def create(self, source: bytes | list[dict[str, Any]], *, embed: bool = False, **batch: Any) -> httpx2.Response:
        """Make a batch from a file's bytes, or from inline requests."""
        if isinstance(source, bytes):
            config: dict[str, Any] = {"fileName": self.upload(source)}
        else:
            config = {"requests": {"requests": source}}
        method = f"{EMBEDDER}:asyncBatchEmbedContent" if embed else f"{MODEL}:batchGenerateContent"
        return self.http.post(f"/v1beta/models/{method}", json={"batch": {"inputConfig": config, **batch}})

    def begin(self, source: bytes | list[dict[str, Any]], *, embed: bool = False, **batch: Any) -> str:
        """Make a batch that must be accepted; returns ``batches/…``."""
        made = self.create(source, embed=embed, **batch)
        assert made.status_code == 200, made.text
        name: str = made.json()["name"]
        return name

    def get(self, name: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1beta/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def state(self, name: str) -> str:
        state: str = self.get(name)["metadata"]["state"]
        return state.removeprefix("BATCH_STATE_")

    def finish(self, name: str) -> dict[str, Any]:
        """Ask until a batch has ended."""
        while not (found := self.get(name)).get("done"):
            pass
        return found

    def results(self, name: str) -> list[dict[str, Any]]:
        """The lines of a batch's output file."""
        file = self.finish(name)["response"]["responsesFile"]
        answer = self.http.get(f"/v1beta/{file}:download", params={"alt": "media"})
        assert answer.status_code == 200, answer.text
        return [json.loads(one) for one in answer.content.split(b"\n") if one]


def results_of(api: Api, rows: Iterable[bytes]) -> list[dict[str, Any]]:
    """Send some lines as a batch; its output lines."""
    return api.results(api.begin(b"\n".join(rows)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Api]:
    """An emulator with a caller."""
    with (
        serve(tmp_path / "data") as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "a-key"}, timeout=30) as http,
    ):
        yield Api(http, running.emulator)


@pytest.fixture
def other(world: Api) -> Iterator[Api]:
    """A caller of the same emulator with another key, so of another project."""
    with httpx2.Client(base_url=world.http.base_url, headers={"x-goog-api-key": "another-key"}) as http:
        yield Api(http, world.world)
