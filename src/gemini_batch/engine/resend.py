"""Decides when requests of a collected job are resent, and stops a run that someone else cancelled."""

from __future__ import annotations

import contextlib
import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.errors import NotFinished
from gemini_batch.events import Notice
from gemini_batch.report.leftovers import cancelled_elsewhere, leftover, rule_for, unsucceeded
from gemini_batch.report.next_steps import after_cancel
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.session import Session
    from gemini_batch.settings import Settings
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import Leftover
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

# When ----------------------------------------------------------------------------------------------------------------

#: Seconds from the end of an attempt to the next one, after errors that pass, and after a full quota.
PAUSES, QUOTA_PAUSES = (5.0, 60.0), (300.0, 900.0)
#: The longest that the service may ask for.
_LONGEST = 6 * 3600.0
#: So many answers are read to see how long the service asks to wait.
_READ = 20
_DELAY = re.compile(r"(\d+(?:\.\d+)?)s")


def pause_before(leftover: Leftover, asked: float, settings: Settings) -> float:
    """Seconds between the attempt that left these requests and the next one; ``asked``: what the service asks for.

    Offline, nothing recovers by waiting. A poll interval that the user sets is also the pause after errors that pass.
    """
    if settings.offline:
        return 0.0
    number = max(1, leftover.attempts) - 1
    if leftover.over_quota:
        return min(_LONGEST, max(asked, QUOTA_PAUSES[min(number, len(QUOTA_PAUSES) - 1)]))
    if settings.poll is not None:
        return settings.poll
    return max(min(asked, _LONGEST), PAUSES[min(number, len(PAUSES) - 1)])


class Resender:
    """Lets requests of a run's collected jobs wait again when their pause is over.

    Until then they stay in their job, so a process that is killed meanwhile forgets nothing: the next one counts the
    pause from the time at which the job was collected.
    """

    def __init__(self, session: Session, folder: RunFolder, attempts: int) -> None:
        self._session, self._folder, self._attempts = session, folder, attempts
        #: When requests of a job are due, by its ordinal and the monotonic clock.
        self.due: dict[int, float] = {}

    def note(self, rows: Rows, job: Job) -> Notice | None:
        """Note when requests of a collected job are due; what to say about it, if there are any."""
        left = leftover(rows, job, self._attempts)
        if not left.requests:
            return None
        world, settings = self._session.world, self._session.settings
        pause = pause_before(left, _asked_for(self._folder, rows, job) if left.over_quota else 0.0, settings)
        # A clock that was set back must not make the pause longer.
        since = max(0.0, world.now() - (job.collected_at or 0.0))
        pause = max(0.0, pause - since)
        self.due[job.ordinal] = world.monotonic() + pause
        what = "1 request" if left.requests == 1 else f"{left.requests:,} requests"
        why = "met a full quota" if left.over_quota == left.requests else "failed temporarily or got no answer"
        return Notice(
            f"{what} of {job.batch} {why}; resending {f'in {span(math.ceil(pause))}' if pause >= 1 else 'now'}."
        )

    def release(self, rows: Rows, job: Job) -> None:
        """Let the requests wait again: their pause is over."""
        self.due.pop(job.ordinal, None)
        rule = rule_for(rows, job, self._attempts)
        rows.requeue(job.ordinal, reasons=rule.reasons, most=rule.most, most_unanswered=rule.most_unanswered)


def next_sending(session: Session, run: Run, attempts: int) -> float | None:
    """When requests of a run are to be sent next, by the monotonic clock: those that wait now, those of collected jobs
    when they are due; None if there are none. Raises StateError."""
    folder, jobs = session.state_folder.run(run.id), session.ledger().jobs_of(run.id)
    resender = Resender(session, folder, attempts)
    with folder.rows() as rows:
        if rows.waiting().requests or not all(job.stage.made for job in jobs):
            return session.world.monotonic()
        for job in unsucceeded(rows, jobs):
            resender.note(rows, job)
    return min(resender.due.values(), default=None)


def _asked_for(folder: RunFolder, rows: Rows, job: Job) -> float:
    """The longest time that the service asks to wait for, in the first answers that report a full quota."""
    found = rows.answers_with(job.ordinal, "RESOURCE_EXHAUSTED", limit=_READ)
    longest = 0.0
    for name, offset, length in found:
        with contextlib.suppress(OSError), folder.answers(name).open("rb") as file:
            file.seek(offset)
            longest = max([longest, *(float(seconds) for seconds in _delays(file.read(length)))])
    return longest


def _delays(line: bytes) -> Iterator[str]:
    """The delays of a row error, in seconds: ``google.rpc.RetryInfo`` among its details."""
    answer = parse_line(line)
    if not isinstance(answer, Answer) or answer.error is None:
        return
    with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
        for detail in msgspec.json.decode(answer.error, type=_Error).details:
            if (found := _DELAY.fullmatch(str(detail.get("retryDelay")))) is not None:
                yield found.group(1)


class _Error(msgspec.Struct):
    details: list[dict[str, Any]] = []


# Cancelled elsewhere -------------------------------------------------------------------------------------------------


def stopped_by_others(rows: Rows, run: Run, jobs: Sequence[Job]) -> NotFinished | None:
    """The error that ends a run of which someone else cancelled a job; None where no one did.

    Whoever cancelled it may have meant all of it, so nothing more is sent until the user says so with ``retry``.
    """
    found = cancelled_elsewhere(rows, jobs)
    if not found:
        return None
    named = [job for job in jobs if job.id in found]
    count = sum(found.values())
    which = named[0].batch if len(named) == 1 else f"{len(named)} jobs of {run.id}"
    return NotFinished(
        f"Someone else cancelled {which}; {count:,} {'request has' if count == 1 else 'requests have'} no answer.",
        job=run.id,
        state="JOB_STATE_CANCELLED",
        code="cancelled_elsewhere",
        next=after_cancel(run),
    )
