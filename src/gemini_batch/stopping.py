"""Long work in a thread that is told to stop, as by Ctrl-C: it asks now and then, or is interrupted."""

from __future__ import annotations

import contextlib
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: Seconds that a stopped command waits for what it has begun and may pay for: after Ctrl-C, and after SIGTERM.
PATIENCE, HURRY = 30.0, 5.0
_patience = [PATIENCE]


def hurry() -> None:
    """This process was told to end, by SIGTERM, and is ended by force soon."""
    _patience[0] = HURRY


def patience() -> float:
    """Seconds that a stopped command may wait."""
    return _patience[0]


def hurried() -> bool:
    """Whether this process was told to end by SIGTERM."""
    return patience() == HURRY


class Stopped(Exception):
    """The work was told to stop."""


class Stop:
    """Whether a piece of work is to stop; while :meth:`active`, functions below know it in its threads, too."""

    def __init__(self) -> None:
        self._told = threading.Event()
        self._interrupts: list[Callable[[], object]] = []

    @property
    def told(self) -> bool:
        """Whether it is to stop."""
        return self._told.is_set()

    def tell(self) -> None:
        """Tell it to stop. To be repeated until it has: an interrupt that finds nothing to interrupt has no effect."""
        self._told.set()
        for interrupt in tuple(self._interrupts):
            interrupt()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Make this what :func:`check` and :func:`interruptible` ask; tasks and threads that begin here inherit it."""
        before = _current.set(self)
        try:
            yield
        finally:
            _current.reset(before)

    @contextlib.contextmanager
    def calling(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Call ``interrupt`` if the work is told to stop, from another thread."""
        self._interrupts.append(interrupt)
        try:
            yield
        finally:
            self._interrupts.remove(interrupt)


_current: ContextVar[Stop | None] = ContextVar("stop", default=None)


def check() -> None:
    """Raise :class:`Stopped` if the work around this is to stop."""
    stop = _current.get()
    if stop is not None and stop.told:
        raise Stopped


@contextlib.contextmanager
def interruptible(interrupt: Callable[[], object]) -> Iterator[None]:
    """Call ``interrupt``, from another thread, if the work around this is told to stop. Raises :class:`Stopped`."""
    check()
    stop = _current.get()
    with contextlib.nullcontext() if stop is None else stop.calling(interrupt):
        yield
