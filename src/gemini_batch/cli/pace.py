"""How fast work goes and how long it will take: pure functions over what was seen, in seconds of a monotonic clock.

What always holds: the past is only ever what was observed; a rate needs two steps forward, so that one jump (a job that
ended while no one watched) is not a speed; what is not known is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Seconds over which requests are averaged: the service counts in leaps, and is polled every few minutes.
REQUESTS_WINDOW = 1800.0
#: The same for bytes that move.
BYTES_WINDOW = 15.0
#: Steps forward without which there is no rate, and those that an average goes back over however old they are.
_LEAST_STEPS, _STEPS = 2, 3
#: Steps that come closer together than this part of the window are one.
_GRAIN = 400


@dataclass(frozen=True, slots=True)
class Seen:
    """So much was done at that time."""

    at: float
    done: int


@dataclass(frozen=True, slots=True)
class History:
    """What was observed: where it began, each step forward since (``steps``, oldest first), and the last look."""

    steps: tuple[Seen, ...]
    last: float
    window: float


@dataclass(frozen=True, slots=True)
class Pace:
    """``rate`` per second and ``left`` in seconds; None: not known."""

    rate: float | None
    left: float | None


def begin(at: float, done: int, *, window: float) -> History:
    """The first observation."""
    return History((Seen(at, done),), at, window)


def observe(history: History | None, at: float, done: int, *, window: float) -> History:
    """Add an observation. Work that is suddenly less far has begun anew, and so does its history."""
    if history is None or done < history.steps[-1].done or at < history.last:
        return begin(at, done, window=window)
    steps = history.steps
    if done > steps[-1].done:
        new = Seen(at, done)
        close = len(steps) > _STEPS and at - steps[-2].at < window / _GRAIN
        steps = (*steps[:-1], new) if close else (*steps, new)
        steps = steps[_start(steps, at, window) :]
    return replace(history, steps=steps, last=at)


def _start(steps: tuple[Seen, ...], at: float, window: float) -> int:
    """The step that an average begins with: as old as the window, and with a few steps since."""
    for index in range(len(steps) - 1 - _STEPS, -1, -1):
        if at - steps[index].at >= window:
            return index
    return 0


def pace(history: History, now: float, total: int | None) -> Pace:
    """How fast it goes, averaged up to the last observation, and the time left, counted down from there."""
    first, newest = history.steps[0], history.steps[-1]
    elapsed = history.last - first.at
    if len(history.steps) <= _LEAST_STEPS or elapsed <= 0:
        return Pace(None, None)
    rate = (newest.done - first.done) / elapsed
    if total is None or newest.done >= total:
        return Pace(rate, None)
    return Pace(rate, max(0.0, (total - newest.done) / rate - max(0.0, now - history.last)))
