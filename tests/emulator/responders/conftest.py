"""A server that speaks as OpenAI's does, under the tests' control; and an emulator that asks it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import Api
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.responders.registry import opened

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Reply:
    """What the server says to one request: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def completion(text: str | None = "Good.", *, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion with one choice."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "small-1",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def said(body: dict[str, Any]) -> str:
    """The last thing that the user said in a chat request."""
    text: str = body["messages"][-1]["content"]
    return text


@dataclass
class Stub:
    """``answer`` makes the reply; ``asked`` are the bodies so far, ``open`` and ``peak`` how many at a time."""

    url: str
    answer: Callable[[dict[str, Any]], Reply]
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    open: int = 0
    peak: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Reply:
        with self.lock:
            self.paths.append(path)
            self.headers.append(headers)
            self.asked.append(body)
            self.open += 1
            self.peak = max(self.peak, self.open)
        try:
            return self.answer(body)
        finally:
            with self.lock:
                self.open -= 1


def echo(body: dict[str, Any]) -> Reply:
    return Reply(completion(f"You said: {said(body)}"))


@pytest.fixture
def stub() -> Iterator[Stub]:
    """A server on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = made.take(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            with contextlib.suppress(OSError):  # whoever asked has gone
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made = Stub(f"http://127.0.0.1:{server.server_address[1]}/v1", echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


Open = Callable[..., AbstractContextManager[Api]]


@pytest.fixture
def emulate(tmp_path: Path) -> Open:
    """Opens an emulator whose responder is what the words after ``--responder`` mean."""

    @contextlib.contextmanager
    def open_emulator(spec: str, *, key: str | None = None, background: bool = False) -> Iterator[Api]:
        with (
            opened(spec, folder=tmp_path, openai_key=key) as responder,
            serve(tmp_path / "data", responder=responder, background=background) as running,
            httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "a-key"}, timeout=30) as http,
        ):
            yield Api(http, running.emulator)

    return open_emulator
