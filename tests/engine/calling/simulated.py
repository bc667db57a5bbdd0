"""A service that answers calls in simulated time, and the event loop whose time it is."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import Counter, deque
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gemini_batch.api.calls import Called
from gemini_batch.errors import ApiError, NetworkError
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting for a timer, it moves the time on to it; only what threads do takes real time."""

    loop: Loop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or timeout == 0:
            return found
        if self.loop.in_threads or timeout is None:
            return super().select(1.0)
        self.loop.passed += timeout
        return []


class Loop(asyncio.SelectorEventLoop):
    """An event loop with simulated time."""

    def __init__(self) -> None:
        selector = _Jumping()
        selector.loop = self
        self.passed, self.in_threads = 0.0, 0
        super().__init__(selector)

    def time(self) -> float:
        return self.passed

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        self.in_threads += 1
        future = super().run_in_executor(executor, func, *args)

        def done(_: object) -> None:
            self.in_threads -= 1

        future.add_done_callback(done)
        return future


def simulate(make: Callable[[World], Coroutine[Any, Any, T]]) -> T:
    """Run what ``make`` returns in simulated time."""
    loop = Loop()
    chance = random.Random(7)
    world = World(now=lambda: 1.79e9 + loop.time(), monotonic=loop.time, sleep=asyncio.sleep, uniform=chance.uniform)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(make(world))


class Service:
    """Answers calls after ``latency`` seconds. ``paid`` counts the answers that were made, by key.

    ``minute``: calls in any 60 seconds; ``stated``: refusals say so. ``load``: the part of calls that is refused with
    503; ``room``: how many it serves at once. ``breaks``: the part of calls that break, paid or not.
    """

    def __init__(
        self,
        world: World,
        *,
        latency: float = 0.2,
        minute: int | None = None,
        stated: bool = True,
        load: float = 0.0,
        room: int | None = None,
        breaks: float = 0.0,
        tier: str = "flex",
        seed: int = 1,
    ) -> None:
        self.world, self.latency, self.minute, self.stated, self.load, self.room = (
            world, latency, minute, stated, load, room,
        )  # fmt: skip
        self.breaks, self.tier, self.chance = breaks, tier, random.Random(seed)
        self.paid, self.refusals, self.most, self._flying = Counter[str](), Counter[int](), 0, 0
        self._accepted = deque[float]()

    async def call(self, request: bytes) -> Called:
        key = msgspec.json.decode(request)["key"]
        now = self.world.monotonic()
        while self._accepted and self._accepted[0] <= now - 60:
            self._accepted.popleft()
        if self.minute is not None and len(self._accepted) >= self.minute:
            self.refusals[429] += 1
            quota = {"quotaId": "GenerateRequestsPerMinutePerProjectPerModel", "quotaValue": str(self.minute)}
            wait = self._accepted[0] + 60 - now
            details = ({"violations": [quota]},) if self.stated else ()
            raise ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED", retry_after=wait, details=details)
        if self.chance.random() < self.load or (self.room is not None and self._flying >= self.room):
            self.refusals[503] += 1
            await self.world.sleep(self.latency / 4)
            raise ApiError("overloaded", status=503, reason="UNAVAILABLE")
        self._accepted.append(now)
        self._flying += 1
        self.most = max(self.most, self._flying)
        try:
            await self.world.sleep(self.latency * self.chance.uniform(0.8, 1.2))
        finally:
            self._flying -= 1
        if self.chance.random() < self.breaks:
            if self.chance.random() < 0.5:
                self.paid[key] += 1
            raise NetworkError("The connection broke.", sent=True)
        self.paid[key] += 1
        return Called(b'{"candidates": [{"content": "' + key.encode() + b'"}]}', self.tier)
