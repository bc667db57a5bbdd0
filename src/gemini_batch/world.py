"""Everything that comes from outside: time, waiting, randomness and new ids. Tests supply their own world."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator

T = TypeVar("T")
N = TypeVar("N")

_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"


def _token(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The sources of everything that the program does not decide.

    ``now``: seconds since 1970, for records; that clock may be set. ``monotonic``: seconds since some moment, for
    pauses and time limits within this process; it never goes back. ``sleep``: waits that many seconds. ``uniform``: a
    random number between two others. ``token``: that many typeable characters, never used before.
    """

    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    token: Callable[[int], str] = _token

    def deadline(self, timeout: float | None) -> Deadline:
        """The deadline ``timeout`` seconds from now; None: there is none."""
        return Deadline(self, math.inf if timeout is None else timeout, self.monotonic())


@dataclass(frozen=True, slots=True)
class Deadline:
    """The end of waiting: ``seconds`` after ``began`` on a world's monotonic clock; infinity: no limit."""

    world: World
    seconds: float
    began: float

    async def bound(self, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work`` until the deadline. Raises TimeoutError once the work has been cancelled and has stopped.

        The work ends as after Ctrl-C: by a cancellation, which is awaited, so that nothing is left running.
        """
        if self.seconds == math.inf:
            return await work
        left = max(0.0, self.began + self.seconds - self.world.monotonic())
        working = asyncio.ensure_future(work)
        timer = asyncio.ensure_future(self.world.sleep(left))
        in_time = False
        try:
            await asyncio.wait({working, timer}, return_when=asyncio.FIRST_COMPLETED)
            in_time = working.done()
        finally:
            timer.cancel()
            working.cancel()
            await asyncio.gather(working, timer, return_exceptions=True)
        if working.cancelled() and not in_time:
            raise TimeoutError
        return working.result()


class Bell(Generic[N]):
    """Ends pauses early: whoever rings it, on any thread, wakes the one who pauses, and leaves news for them.

    Make it on a running event loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._news: deque[N] = deque()

    def ring(self, news: N) -> None:
        """Ring; nothing if the loop has ended."""
        self._news.append(news)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rung.set)

    def leave(self, news: N) -> None:
        """Leave news without ringing."""
        self._news.append(news)

    def news(self) -> Iterator[N]:
        """Take the news that were left since the last time, oldest first."""
        while self._news:
            yield self._news.popleft()

    async def wait(self) -> None:
        """Wait until it has rung since the last time."""
        await self._rung.wait()
        self._rung.clear()


class Tasks:
    """Work in progress, each piece under a number; and pauses that end early when a piece ends or the bell rings."""

    def __init__(self, world: World, bell: Bell[Any] | None = None) -> None:
        self._world, self._bell = world, bell
        self._running: dict[asyncio.Task[None], int] = {}

    @property
    def numbers(self) -> frozenset[int]:
        """The numbers that are being worked on."""
        return frozenset(self._running.values())

    def start(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        """Begin a piece of work."""
        self._running[asyncio.ensure_future(work)] = number

    async def reap(self) -> None:
        """Remove what has ended; raises the first error of it."""
        await asyncio.sleep(0)
        for task in [task for task in self._running if task.done()]:
            del self._running[task]
            task.result()

    async def pause(self, until: float) -> bool:
        """Wait until then, or until a piece of work ends or the bell rings; returns whether it rang."""
        others = [] if until == math.inf else [self._world.sleep(max(0.0, until - self._world.monotonic()))]
        waits = [asyncio.ensure_future(other) for other in others]
        ringing = None if self._bell is None else asyncio.ensure_future(self._bell.wait())
        if ringing is not None:
            waits.append(ringing)
        try:
            await asyncio.wait({*waits, *self._running}, return_when=asyncio.FIRST_COMPLETED)
            return ringing is not None and ringing.done()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel everything, and wait until it has stopped."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
