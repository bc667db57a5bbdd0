"""Decides which requests of a collected job are resent automatically, as a pure function of the job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.answers.reasons import GRPC_NAMES, RESENT_CODES, TRANSIENT_CODES
from gemini_batch.store.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemini_batch.store.records import Job
    from gemini_batch.store.rows import Rows

#: Row errors that may not recur when the row is resent; CANCELLED is one if the user did not cancel the job.
TRANSIENT = tuple(GRPC_NAMES[code] for code in sorted(TRANSIENT_CODES))


@dataclass(frozen=True, slots=True)
class Resend:
    """Which requests of a collected job are resent automatically, by the number of jobs each may be in.

    ``most`` is for those that failed for one of ``reasons``, ``most_unanswered`` for those that got no answer.
    """

    reasons: tuple[str, ...] = ()
    most: int = 0
    most_unanswered: int = 0


def resend(job: Job, attempts: int) -> Resend:
    """The rule for resending: what a job left unanswered, and a failed or expired job, once.

    Nothing is resent after a cancel, and nothing of a lost job.
    """
    if job.cancelled_at is not None or job.lost is not None:
        return Resend()
    once = min(2, attempts)
    match job.phase:
        case Phase.SUCCEEDED:
            return Resend(TRANSIENT, most=attempts, most_unanswered=once)
        case Phase.FAILED if job.error_code in RESENT_CODES:
            return Resend(TRANSIENT, most=once, most_unanswered=once)
        case Phase.EXPIRED:
            return Resend(TRANSIENT, most=once, most_unanswered=once)
        case _:
            return Resend()


def leftovers(jobs: Iterable[Job], attempts: int) -> Iterator[tuple[int, Resend]]:
    """For each collected job, by its ordinal, the rule for resending."""
    for job in jobs:
        if job.stage is JobStage.COLLECTED:
            yield job.ordinal, resend(job, attempts)


def resendable(rows: Rows, jobs: Iterable[Job], attempts: int) -> int:
    """How many requests of a run's collected jobs ``run`` would resend; changes nothing."""
    return sum(
        rows.unlasting(ordinal, reasons=rule.reasons, most=rule.most, most_unanswered=rule.most_unanswered)
        for ordinal, rule in leftovers(jobs, attempts)
    )


def requeue(rows: Rows, jobs: Iterable[Job], attempts: int) -> int:
    """Let the requests that are to be resent wait; returns how many."""
    return sum(
        rows.requeue(ordinal, reasons=rule.reasons, most=rule.most, most_unanswered=rule.most_unanswered)
        for ordinal, rule in leftovers(jobs, attempts)
    )
