"""An event loop whose time passes only when nothing is left to do, so that a week of waiting takes milliseconds.

Everything runs in one thread and in one order: what a test does depends on its seed alone.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class HangError(BaseException):
    """Everything waits for something that never comes, or has waited for longer than anything may take."""


class _NoWaiting(selectors.DefaultSelector):
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        """Pass the time that the loop would sleep instead of sleeping."""
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise HangError("everything waits, and nothing will ever happen")
        self.loop.pass_by(max(0.0, timeout))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Use as the ``loop_factory`` of a runner. ``longest``: so many seconds until a HangError."""

    def __init__(self, longest: float) -> None:
        selector = _NoWaiting()
        self._passed, self._longest, self._in_executor = 0.0, longest, False
        super().__init__(selector)
        selector.loop = self
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the start."""
        return self._passed

    def pass_by(self, seconds: float) -> None:
        """Move the time on."""
        self._passed += seconds
        if self._passed > self._longest:
            raise HangError(f"not over after {self._passed:.0f} s")

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Do the work at once, here: threads would end in any order."""
        done = self.create_future()
        self._in_executor = True
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where the work is awaited
            done.set_exception(error)
        finally:
            self._in_executor = False
        return done

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any, **named: Any) -> Any:  # type: ignore[override]
        """From work that waits for the loop, the call itself; it would wait for ever otherwise."""
        if self._in_executor:
            return callback(*args)
        return super().call_soon_threadsafe(callback, *args, **named)


def run_in_no_time(work: Coroutine[Any, Any, T], *, longest: float) -> T:
    """``asyncio.run`` on a virtual loop. Raises HangError after ``longest`` virtual seconds."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(longest)) as runner:
        return runner.run(work)
