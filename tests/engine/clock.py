"""Time that passes when nothing else is left to do, so that what a test sees does not depend on the machine."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from gemini_batch.world import World


class Threads(ThreadPoolExecutor):
    """The threads of one event loop, which knows when nothing is left to do for them and for the loop."""

    _of_loops: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Threads]] = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._working: set[Future[Any]] = set()
        self._worked = asyncio.Event()
        self._waiting = 0

    @classmethod
    def of_loop(cls) -> Threads:
        """The threads of the running event loop, from now on."""
        loop = asyncio.get_running_loop()
        if loop not in cls._of_loops:
            cls._of_loops[loop] = threads = cls(loop)
            loop.set_default_executor(threads)
        return cls._of_loops[loop]

    def submit(self, *args: Any, **more: Any) -> Future[Any]:
        """As its base's."""
        work = super().submit(*args, **more)
        self._working.add(work)
        # Only after the loop's own callback, so that the loop has something to do before the work is over.
        self._loop.call_soon(work.add_done_callback, self._over)
        return work

    def _over(self, work: Future[Any]) -> None:
        self._loop.call_soon_threadsafe(self._forget, work)

    def _forget(self, work: Future[Any]) -> None:
        self._working.discard(work)
        self._worked.set()

    async def rest(self) -> None:
        """Wait until no thread works, and the loop has nothing to do but this."""
        self._waiting += 1
        try:
            await asyncio.sleep(0)
            while self._working or len(self._loop._ready) >= self._waiting:  # type: ignore[attr-defined]
                if self._working:
                    self._worked.clear()
                    await self._worked.wait()
                await asyncio.sleep(0)
        finally:
            self._waiting -= 1


class Clock:
    """Time that passes only while all wait: to the moment when the first of them goes on. Setting ``now`` is setting
    the wall clock, which moves nothing else.

    It knows nothing of sockets and of real pauses: days pass during them. A thread must not wait for it.
    """

    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.monotonic = 0.0
        self.waits: list[float] = []
        #: When the waits of each event loop end; a loop may stand still while another process of a test is at work.
        self._waking: WeakKeyDictionary[asyncio.AbstractEventLoop, list[tuple[float, int]]] = WeakKeyDictionary()
        self._numbers = itertools.count()
        self._tokens = 0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        threads = Threads.of_loop()
        me = (self.monotonic + seconds, next(self._numbers))
        waking = self._waking.setdefault(asyncio.get_running_loop(), [])
        waking.append(me)
        try:
            await threads.rest()
            while min(waking) != me:
                await threads.rest()
        finally:
            waking.remove(me)
        self.pass_by(max(0.0, me[0] - self.monotonic))

    def pass_by(self, seconds: float) -> None:
        """Time passes, by every clock."""
        self.now += seconds
        self.monotonic += seconds

    def token(self, length: int) -> str:
        self._tokens += 1
        return f"{self._tokens:0{length}d}"

    def world(self) -> World:
        return World(
            now=lambda: self.now,
            monotonic=lambda: self.monotonic,
            sleep=self.sleep,
            uniform=lambda a, b: (a + b) / 2,
            token=self.token,
        )
