"""Everything that comes from outside: time, waiting, randomness and new ids. Tests supply their own world."""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

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
