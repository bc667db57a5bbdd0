"""Which requests of collected jobs are not done: what ``run`` resends, and what someone else cancelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.answers.reasons import GRPC_NAMES, RESENT_CODES, TRANSIENT_CODES
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.store.ledger.records import Job
    from gemini_batch.store.rows.census import Census
    from gemini_batch.store.rows.row_records import Leftover
    from gemini_batch.store.rows.rows import Rows

#: Row errors that may not recur when the row is resent.
TRANSIENT = tuple(GRPC_NAMES[code] for code in sorted(TRANSIENT_CODES))


@dataclass(frozen=True, slots=True)
class Resend:
    """Which requests of a collected job are resent automatically, by the number of jobs each may be in.

    ``most`` is for those that failed for one of ``reasons``, ``most_unanswered`` for those that got no answer.
    """

    reasons: tuple[str, ...] = ()
    most: int = 0
    most_unanswered: int = 0


def resend(job: Job, attempts: int, without_line: int) -> Resend:
    """The rule for resending: what a job left unanswered by the service's own count, and a failed or expired job, once.

    ``without_line``: how many of its requests got no line from it. Nothing is resent after a cancel, unless that was
    done to send the rest in another way, and nothing of a lost job.
    """
    if job.lost is not None or (job.cancelled_at is not None and not job.finishing):
        return Resend()
    if job.finishing:
        return Resend((*TRANSIENT, "CANCELLED"), most=max(2, attempts), most_unanswered=max(2, attempts))
    once = min(2, attempts)
    # What the service itself counts as answered was paid for, even if its line cannot be used. If more requests lack a
    # line than the service leaves uncounted, some of them were answered, and it is unknown which.
    uncounted = job.requests - (job.succeeded or 0) - (job.failed or 0)
    is_contradicted = job.total not in {None, 0, job.requests}
    # A call that broke was repeated once already.
    unanswered = 0 if is_contradicted or without_line > uncounted or job.via == "flex" else once
    match job.phase:
        case Phase.SUCCEEDED:
            return Resend(TRANSIENT, most=attempts, most_unanswered=unanswered)
        case Phase.FAILED if job.error_code in RESENT_CODES:
            return Resend(TRANSIENT, most=once, most_unanswered=unanswered)
        case Phase.EXPIRED:
            return Resend(TRANSIENT, most=once, most_unanswered=unanswered)
        case _:
            return Resend()


def unsucceeded(rows: Rows, jobs: Iterable[Job]) -> list[Job]:
    """The collected jobs with a request that has not succeeded in any job: only these may leave something to be done.

    The functions below read each request of a job, so give them these jobs only.
    """
    collected = [job for job in jobs if job.stage is JobStage.COLLECTED]
    return undone(collected, rows.census(job.ordinal for job in collected)) if collected else []


def undone(jobs: Iterable[Job], census: Census) -> list[Job]:
    """The same, where the requests of the jobs are counted already."""
    return [job for job in jobs if job.stage is JobStage.COLLECTED and job.ordinal in census.undone]


def rule_for(rows: Rows, job: Job, attempts: int) -> Resend:
    """The rule for the requests of a collected job."""
    return resend(job, attempts, rows.without_line(job.ordinal))


def leftover(rows: Rows, job: Job, attempts: int) -> Leftover:
    """The requests of a collected job that ``run`` would resend; changes nothing."""
    rule = rule_for(rows, job, attempts)
    return rows.leftover(job.ordinal, reasons=rule.reasons, most=rule.most, most_unanswered=rule.most_unanswered)


def leftovers(rows: Rows, jobs: Iterable[Job], attempts: int) -> dict[int, Leftover]:
    """By the ordinals of :func:`unsucceeded` jobs, the requests that ``run`` would resend; changes nothing."""
    found = {job.ordinal: leftover(rows, job, attempts) for job in jobs}
    return {ordinal: left for ordinal, left in found.items() if left.requests}


def resendable(rows: Rows, jobs: Iterable[Job], attempts: int) -> int:
    """How many requests of :func:`unsucceeded` jobs ``run`` would resend; changes nothing."""
    return sum(left.requests for left in leftovers(rows, jobs, attempts).values())


def cancelled_elsewhere(rows: Rows, jobs: Iterable[Job]) -> dict[str, int]:
    """The :func:`unsucceeded` jobs that someone else cancelled: the id of each, with how many requests that ended.

    The service says so of a job (its state) or of requests (CANCELLED) in a job that was not cancelled from here; an
    expired job ends its requests itself. Requests that were answered or resent since do not count.
    """
    found = {}
    for job in jobs:
        if job.stage is not JobStage.COLLECTED or job.cancelled_at is not None or job.lost is not None:
            continue
        if job.phase is Phase.EXPIRED:
            continue
        unanswered, cancelled = rows.stopped(job.ordinal)
        if count := cancelled + (unanswered if job.phase is Phase.CANCELLED else 0):
            found[job.id] = count
    return found
