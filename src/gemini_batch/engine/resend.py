"""Which requests of a collected job are sent again without being asked for: a pure function of the job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.answers.reasons import GRPC_NAMES, TRANSIENT_CODES
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from gemini_batch.store.records import Job

#: Codes of failed jobs whose requests go once more by themselves: exhausted, internal, unavailable.
RESENT_CODES = frozenset({8, 13, 14})
#: Row errors that may pass when the row is sent again; CANCELLED is one as long as the user has not cancelled.
TRANSIENT = tuple(GRPC_NAMES[code] for code in sorted(TRANSIENT_CODES))


@dataclass(frozen=True, slots=True)
class Resend:
    """Which requests of a collected job go again by themselves; ``most``: in at most so many jobs."""

    reasons: tuple[str, ...]
    missing: bool
    most: int


def resend(job: Job, attempts: int) -> Resend:
    """The rule of what is sent again: a failed or expired job once; nothing after a cancel, or of a lost job."""
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
