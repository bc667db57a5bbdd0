"""What happens while a command works, as values that the caller shows as it likes.

A handler is called on one thread only, one event at a time, in the order in which things happened: the thread of the
event loop, and for the blocking client the thread that called it. Work that runs in other threads hands its events over
(:func:`in_thread`). A handler that raises ends the command with that exception.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from gemini_batch.stopping import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.errors import Next
    from gemini_batch.wire import RemoteJob


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence about what happened."""

    message: str
    """A sentence for people."""
    level: Literal["note", "warning"] = "note"
    """How urgent it is."""
    next: str | Next | None = None
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Progress of long local work or of a transfer; it is over when ``done`` has reached ``total``."""

    what: Literal["preparing", "reading", "uploading", "downloading", "judging", "writing"]
    """The step that is in progress."""
    done: int
    """Units that are done."""
    total: int | None
    """Units in all; null if that is not known."""
    unit: Literal["bytes", "requests", "rows"] = "bytes"
    """What `done` and `total` count."""
    job: str | None = None
    """Id here (`run-…-2`) of the job it is done for; null if it is for all of a run."""


@dataclass(frozen=True, slots=True)
class JobSeen:
    """A job was polled while waiting for it."""

    job: RemoteJob
    """The job as the service describes it."""
    waited: float
    """Seconds of waiting so far."""
    next_poll: float
    """Seconds until the next poll."""


@dataclass(frozen=True, slots=True)
class RunProgress:
    """Progress of a run. None is "not known", or "there is none"."""

    run: str
    """Id of the run, `run-…`."""
    requests: int
    """Number of requests in the run."""
    done: int
    """Requests that need nothing more: answered here, or counted as succeeded by the service. It never decreases."""
    uncollected_succeeded: int
    """The service's count of succeeded requests in jobs whose answers are not here yet."""
    uncollected_failed: int
    """Its count of failed ones; they may be resent, so they are not in `done`."""
    verdicts: Mapping[str, int]
    """Requests that have an answer, by verdict; not those that wait for another job, or are in one."""
    waiting: int
    """Requests that are still to be sent."""
    jobs: int
    """Number of jobs made so far."""
    alive: int
    """Number of jobs alive."""
    collected: int
    """Number of jobs whose answers are here."""
    tokens: int
    """Tokens of all answers so far."""
    usd: float | None
    """Batch price of all answers so far, in USD, as far as it is known; null if nothing of it is."""
    offline: bool
    """True if the local emulator answers, so that nothing is paid."""
    elapsed: float
    """Seconds that this process has worked."""
    why: str
    """What the run is waiting for."""
    oldest: float | None = None
    """Age in seconds of the oldest active job."""
    expires_in: float | None = None
    """Seconds until that job expires."""
    usual: float | None = None
    """Median seconds that jobs of this model took here."""
    refused: int = 0
    """Calls that the service refused, for load or a quota; they are sent again, and cost nothing."""
    goes_on_in: float | None = None
    """Seconds until the next call goes out, where calls wait for more than a few seconds; `why` says what for."""


Event = Notice | Transfer | JobSeen | RunProgress
"""Anything that happens while a command works."""
EventHandler = Callable[[Event], None]
"""What an event is passed to."""


def event_name(event: Event) -> str:
    """The documented name of an event in JSON: ``notice``, ``transfer``, ``job_seen``, ``run_progress``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()


def ignore_events(_: Event) -> None:
    """Ignore all events."""


T = TypeVar("T")
#: Seconds after which work that is told to stop is told again.
_REPEATED = 0.2


async def in_thread(work: Callable[[EventHandler], T], emit: EventHandler) -> T:
    """Do long blocking work in a thread; its events are handled on the event loop's thread, where ``emit`` belongs.

    The work waits until its event was handled, so events cannot pile up, and what the handler raises is raised in the
    work. When the caller is cancelled, the work stops at its next event, or where it asks :mod:`gemini_batch.stopping`.
    Only then does the cancellation go on, so that nothing is cleaned up under a thread that still writes.
    """
    loop, stop = asyncio.get_running_loop(), Stop()

    def handle(event: Event, handled: concurrent.futures.Future[None]) -> None:
        try:
            if not stop.told:
                emit(event)
        except BaseException as error:  # noqa: BLE001 - raised again where the event was made
            handled.set_exception(error)
        else:
            handled.set_result(None)

    def told(event: Event) -> None:
        if not stop.told:
            handled: concurrent.futures.Future[None] = concurrent.futures.Future()
            loop.call_soon_threadsafe(handle, event, handled)
            handled.result()
        if stop.told:
            raise Stopped

    with stop.active():
        working = asyncio.ensure_future(asyncio.to_thread(work, told))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            stop.tell()
            await asyncio.wait([working], timeout=_REPEATED)
        with contextlib.suppress(Exception):
            working.result()
        raise
