"""A scripted service: answers in order, remembers what it was asked, and a world whose waits take no time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from gemini_batch.api.client import Client
from gemini_batch.settings import Secret
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

BASE = "https://service.example"
#: Long and odd enough to be searched for in everything that is written, and in no way part of any other text here.
KEY = "AIzaSyD-TheKeyOfTheseTests_0123456789"

T = TypeVar("T")
#: One thing that the service does: an answer, a broken connection, or whatever a function makes of the request.
Act = "httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]"


class Script:
    """Plays its acts one after the other; a request beyond the last one is a failure of the test."""

    def __init__(self, *acts: httpx2.Response | Exception | Callable[[httpx2.Request], httpx2.Response]) -> None:
        self._acts = list(acts)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """The handler of the transport."""
        self.requests.append(request)
        assert self._acts, f"one request more than the script has answers: {request.method} {request.url}"
        act = self._acts.pop(0)
        if isinstance(act, Exception):
            raise act
        return act if isinstance(act, httpx2.Response) else act(request)

    @property
    def played(self) -> bool:
        """Whether every act was asked for."""
        return not self._acts

    def sent(self, header: str) -> list[str | None]:
        """What each request said in one header."""
        return [request.headers.get(header) for request in self.requests]


class Endless(Script):
    """The same act whatever happens, up to a number of requests that nothing sensible reaches."""

    def __init__(self, act: Callable[[httpx2.Request], httpx2.Response], *, most: int = 200) -> None:
        super().__init__(*[act] * most)


@dataclass
class Waits:
    """A clock that is moved by waiting only, and remembers each wait."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        """Wait, in no time."""
        self.seconds.append(seconds)
        await asyncio.sleep(0)

    def world(self) -> World:
        """A world with this clock and no chance in it: every jitter is the middle of its range."""
        passed = lambda: sum(self.seconds)  # noqa: E731 - one clock for both
        return World(now=passed, monotonic=passed, sleep=self.sleep, uniform=lambda low, high: (low + high) / 2)


@asynccontextmanager
async def connected(
    script: Callable[[httpx2.Request], httpx2.Response], waits: Waits, base_url: str = BASE
) -> AsyncIterator[Client]:
    """Our client, in front of a script."""
    transport = httpx2.MockTransport(script)
    async with Client(base_url, Secret(KEY), world=waits.world(), transport=transport) as client:
        yield client


def ask(
    script: Callable[[httpx2.Request], httpx2.Response],
    question: Callable[[Client], Awaitable[T]],
    *,
    waits: Waits | None = None,
    base_url: str = BASE,
) -> T:
    """Run one question against a script and return its answer."""

    async def run() -> T:
        async with connected(script, waits or Waits(), base_url) as client:
            return await question(client)

    return asyncio.run(run())


class Body(httpx2.AsyncByteStream):
    """A body that comes in pieces and may break: an exception among the pieces is raised in its place."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def error(status: int, reason: str = "", message: str = "It went wrong.", **fields: Any) -> httpx2.Response:
    """An error answer in the service's usual envelope."""
    headers = fields.pop("headers", None)
    body = {"error": {"code": status, "message": message, "status": reason, **fields}}
    return httpx2.Response(status, json=body, headers=headers)


def reset() -> httpx2.ReadError:
    """The connection went away after the request was sent."""
    return httpx2.ReadError("Connection reset by peer")


class Everything(logging.Handler):
    """Keeps every log record of every library, as text."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record with all that hangs on it."""
        self.lines.append(f"{record.getMessage()} {record.__dict__!r}")
