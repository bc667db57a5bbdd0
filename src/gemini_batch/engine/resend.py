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
    """Which requests of a collected job are resent automatically; ``most``: the maximum jobs for each."""

    reasons: tuple[str, ...]
    missing: bool
    most: int


def resend(job: Job, attempts: int) -> Resend:
    """The rule for resending: a failed or expired job once; nothing after a cancel, and nothing of a lost job."""
    if job.cancelled_at is not None or job.lost is not None:
        return Resend((), missing=False, most=0)
    match job.phase:
        case Phase.SUCCEEDED:
            return Resend(TRANSIENT, missing=True, most=attempts)
        case Phase.FAILED:
            again = job.error_code in RESENT_CODES
            return Resend(TRANSIENT if again else (), missing=again, most=min(2, attempts))
        case Phase.EXPIRED:
            return Resend(TRANSIENT, missing=True, most=min(2, attempts))
        case _:
            return Resend((), missing=False, most=0)


def leftovers(jobs: Iterable[Job], attempts: int) -> Iterator[tuple[int, Resend]]:
    """For each collected job, by its ordinal, the rule for resending."""
    for job in jobs:
        if job.stage is JobStage.COLLECTED:
            yield job.ordinal, resend(job, attempts)


def resendable(rows: Rows, jobs: Iterable[Job], attempts: int) -> int:
    """How many requests of a run's collected jobs ``run`` would resend; changes nothing."""
    return sum(
        rows.unlasting(ordinal, reasons=rule.reasons, missing=rule.missing, most=rule.most)
        for ordinal, rule in leftovers(jobs, attempts)
    )


def requeue(rows: Rows, jobs: Iterable[Job], attempts: int) -> int:
    """Let the requests that are to be resent wait; returns how many."""
    return sum(
        rows.requeue(ordinal, reasons=rule.reasons, missing=rule.missing, most=rule.most)
        for ordinal, rule in leftovers(jobs, attempts)
    )
