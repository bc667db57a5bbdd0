"""Counts work that a command does, wherever its threads do it; the emulator's own work is left out."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from types import FrameType

    import pytest

_EMULATOR = "gemini_batch.emulator"


@dataclass
class Work:
    """JSON documents that were decoded, SQL statements, HTTP calls, and bytes of their bodies in both directions.

    Reads of a job's state are counted apart: how many there are depends on the speed of the machine.
    """

    decoded: int = 0
    statements: int = 0
    calls: int = 0
    polls: int = 0
    sent: int = 0
    received: int = 0


@contextlib.contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    """The work that is done until the block ends."""
    work = Work()

    def profile(frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            of = getattr(function, "__self__", None)
            found = function is msgspec.json.decode or isinstance(of, msgspec.json.Decoder)
        else:
            found = event == "call" and frame.f_code is json.loads.__code__
        if found and not frame.f_globals.get("__name__", "").startswith(_EMULATOR):
            work.decoded += 1

    connect = sqlite3.connect

    def connected(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(_EMULATOR):
            connection.set_trace_callback(lambda _: setattr(work, "statements", work.statements + 1))
        return connection

    send = httpx2.AsyncHTTPTransport.handle_async_request

    async def sending(transport: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET" and "/batches" in request.url.path:
            work.polls += 1
        else:
            work.calls += 1
        work.sent += int(request.headers.get("content-length", 0))
        response = await send(transport, request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Received(response.stream, work)
        return response

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connected)
        patched.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", sending)
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            yield work
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


class _Received(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, work: Work) -> None:
        self._stream, self._work = stream, work

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            self._work.received += len(piece)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()
