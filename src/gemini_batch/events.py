"""What happens while a command works, told as values; whoever called shows them as they like."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.errors import Next
    from gemini_batch.wire import RemoteJob


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for a person; ``next`` is what they can do about it."""

    message: str
    level: Literal["note", "warning"] = "note"
    next: str | Next | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """Long work went on: ``done`` of ``total`` bytes or requests (None: not known)."""

    what: Literal["reading", "uploading", "downloading", "judging", "writing"]
    done: int
    total: int | None
    unit: Literal["bytes", "requests"] = "bytes"


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A job was looked at while waiting for it; ``waited`` seconds so far, ``next_poll`` seconds to the next look."""

    job: RemoteJob
    waited: float
    next_poll: float


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How a run of many jobs stands.

    ``verdicts`` count the requests that have an answer, ``waiting`` those that are still to be sent. ``tokens`` and
    ``usd`` (batch price; None: not known) are those of all answers so far, ``elapsed`` seconds of this process.
    ``oldest`` is the age of the living job that has waited for longest, ``expires_in`` what is left of its 48 hours,
    ``usual`` how long jobs of the model took here, in seconds; None where there is none, or nothing is known.
    """

    run: str
    requests: int
    verdicts: Mapping[str, int]
    waiting: int
    jobs: int
    alive: int
    done: int
    tokens: int
    usd: float | None
    elapsed: float
    why: str
    oldest: float | None = None
    expires_in: float | None = None
    usual: float | None = None


Event = Notice | Transfer | JobSeen | RunProgress
EventHandler = Callable[[Event], None]


def event_name(event: Event) -> str:
    """The documented name of an event in JSON: ``notice``, ``transfer``, ``job_seen``, ``run_progress``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()


def ignore_events(_: Event) -> None:
    """Tell nobody."""


T = TypeVar("T")


class _StoppedError(Exception):
    pass


async def in_thread(work: Callable[[EventHandler], T], emit: EventHandler) -> T:
    """Do long blocking work beside the event loop.

    When the caller is cancelled, the work stops at its next event; only then does the cancellation go on, so that
    nothing is cleaned up under a thread that still writes.
    """
    stop = threading.Event()

    def checked(event: Event) -> None:
        if stop.is_set():
            raise _StoppedError
        emit(event)

    working = asyncio.ensure_future(asyncio.to_thread(work, checked))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([working])
        with contextlib.suppress(Exception):
            working.result()
        raise
