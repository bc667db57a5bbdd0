"""Quota of the service: what is known of its limits, what refusals have taught, and when to try again.

What always holds: nothing is assumed of a limit until the user states it or a refusal teaches it; what was learned is
in the ledger, dated, by key and model, so that other runs know it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.engine.backoff import PAUSES, Backoff
from gemini_batch.errors import ServiceError
from gemini_batch.store.records import Job, JobStage, QuotaBounds

if TYPE_CHECKING:
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Run
    from gemini_batch.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a job may be, how many may live, and how many tokens they may queue together; None: not known."""

    requests: int
    bytes: int
    tokens: int | None
    jobs: int
    queue: int | None = None


def room(queued: int, quota_bounds: QuotaBounds, stated: int | None = None) -> int | None:
    """How many more tokens may be queued by what is known; None where nothing is. ``stated``: the tier's own limit.

    Between a sum that was accepted and one that was refused the truth may lie anywhere. What was accepted is taken
    once it is at least half of what was refused: finding the rest would cost refusals, each of them an upload.
    """
    if quota_bounds.refused is None:
        return None if stated is None else max(0, stated - queued)
    accepted = quota_bounds.accepted or 0
    target = accepted if accepted * 2 >= quota_bounds.refused else quota_bounds.refused // 2
    return max(0, (target if stated is None else min(target, stated)) - queued)


def fits(job: Job, *, queued: int, living: int, quota_bounds: QuotaBounds, limits: Limits) -> bool:
    """Whether there is still room for a job just before its create; ``queued`` and ``living`` are the others."""
    free = room(queued, quota_bounds, limits.queue)
    return living < limits.jobs and (free is None or job.tokens <= free or queued == 0)


def learned_bounds(quota_bounds: QuotaBounds, *, queued: int, tokens: int, accepted: bool) -> QuotaBounds:
    """The ceiling after a job of ``tokens`` met a queue of ``queued``.

    A sum that was refused although a larger one was accepted before was refused for another reason: nothing is
    learned of tokens from it.
    """
    total = queued + tokens
    if accepted:
        refused = None if quota_bounds.refused is not None and quota_bounds.refused <= total else quota_bounds.refused
        return QuotaBounds(refused, max(total, quota_bounds.accepted or 0))
    if quota_bounds.accepted is not None and total <= quota_bounds.accepted:
        return quota_bounds
    return QuotaBounds(min(total, quota_bounds.refused or total), quota_bounds.accepted)


#: A job that is older has ended or expired (48 hours), and two hours for clocks that differ.
_LONGEST_LIFE = 50 * 3600.0


class QueueQuota:
    """What one run knows of the room for its jobs, all of one model."""

    def __init__(self, ledger: Ledger, run: Run, model: str, limits: Limits, world: World) -> None:
        self._ledger, self._key, self._model, self._limits = ledger, run.key_fingerprint, model, limits
        self._now, self._clock = world.now, world.monotonic
        #: No create before this moment of the monotonic clock.
        self.hold_until = -math.inf
        self.hold_why = ""
        #: The file store was full at the last upload.
        self.store_was_full = False
        self._refusals = Backoff()
        self._refused_alone = 0
        self._troubles = Backoff()

    def queued(self, without: Job | None = None) -> int:
        """Estimated tokens of all jobs in the model's queue, without those of the job ``without``."""
        found = self._ledger.queued_tokens(self._key, self._model, since=self._now() - _LONGEST_LIFE)
        return found - without.tokens if without is not None and without.stage is JobStage.INTENDED else found

    def living(self, without: Job | None = None) -> int:
        """How many jobs of the key may be alive, not counting ``without``."""
        found = self._ledger.living(self._key, since=self._now() - _LONGEST_LIFE)
        return found - 1 if without is not None and without.stage is JobStage.INTENDED else found

    def quota_bounds(self) -> QuotaBounds:
        """What was learned of the model's queue."""
        return self._ledger.quota_bounds(self._key, self._model, at=self._now())

    def fits(self, job: Job) -> bool:
        """Whether there is room for a job at this very moment: others may have taken it during the upload."""
        return fits(
            job, queued=self.queued(job), living=self.living(job), quota_bounds=self.quota_bounds(), limits=self._limits
        )

    def accepted(self, job: Job, queued: int) -> None:
        """The service has taken a job on top of ``queued`` tokens."""
        self._refusals, self._troubles, self._refused_alone = Backoff(), Backoff(), 0
        self.store_was_full = False
        self._record_bounds(learned_bounds(self.quota_bounds(), queued=queued, tokens=job.tokens, accepted=True))

    def refused(self, job: Job, queued: int, error: ServiceError) -> bool:
        """The service had no room for a job on top of ``queued`` tokens; returns whether only smaller ones may have.

        A job that an empty queue should take by all that is known is as good as any other, and only has to wait.

        Raises ServiceError where a single request is refused again and again with nothing else alive, or anything for
        hours.
        """
        living = self.living(job)
        self._refusals.failed(self._clock())
        self._refused_alone = 0 if living else self._refused_alone + 1
        if living:
            self._refusals.excused(self._clock())  # their end will make room, however long that takes
        if self._refusals.is_over(self._clock()):
            raise ServiceError(
                "The service has had no room for hours, and nothing of this home is in its queue.",
                code="refused_for_hours",
                next="Other programs may use the same project. The same command goes on later. " + error.message,
            )
        if job.requests == 1 and self._refused_alone > len(PAUSES):
            raise ServiceError(
                "The service refuses even a single request, with nothing else in its queue.",
                code="refused_at_all",
                next="Look at the project's billing, its tier, and whether the model is served to it. " + error.message,
            )
        if living == 0 or queued:
            self._record_bounds(learned_bounds(self.quota_bounds(), queued=queued, tokens=job.tokens, accepted=False))
        # With nothing else in the queue a smaller job may fit at once; else room appears when a job ends.
        most = room(0, self.quota_bounds(), self._limits.queue)
        smaller = job.requests > 1 and most is not None and job.tokens > most
        self._hold(
            0.0 if smaller and living == 0 else self._refusals.pause(error),
            "the service refused a job for lack of room; trying again later",
        )
        return smaller

    def store_full(self, freed: int, error: ServiceError) -> float:
        """The file store is full, and ``freed`` files were deleted; returns the seconds until the next try.

        Raises ``error`` where it has been full for longer than is reasonable.
        """
        self.store_was_full = True
        if freed:
            self._troubles = Backoff()
            return 0.0
        return self._again_later(error, "the service's file store is full; trying again later")

    def away(self, error: ServiceError) -> float:
        """The service cannot be had; returns the seconds until the next try. Raises ``error`` when patience ends."""
        return self._again_later(error, "the service is away; trying again later")

    def freed(self) -> None:
        """A job's end has made room: whatever waits for it may go now."""
        self.hold_until = -math.inf

    def _again_later(self, error: ServiceError, why: str) -> float:
        now = self._clock()
        if now < self.hold_until:  # several meet the same outage at the same time: it counts once
            return self.hold_until - now
        self._troubles.failed(now)
        if self._troubles.is_over(now):
            raise error
        pause = self._troubles.pause(error)
        self._hold(pause, why)
        return pause

    def _hold(self, seconds: float, why: str) -> None:
        self.hold_until, self.hold_why = self._clock() + seconds, why

    def _record_bounds(self, quota_bounds: QuotaBounds) -> None:
        if quota_bounds != self.quota_bounds():
            self._ledger.set_quota_bounds(self._key, self._model, quota_bounds, at=self._now())
