"""The service's quota: which limits are known, what refusals have shown, and when to try again.

What always holds: no limit is assumed until the user states it or a refusal shows it. What was learned is kept in the
ledger, dated, by key and model, so that other runs use it too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.engine.backoff import PAUSES, Backoff
from gemini_batch.errors import ServiceError
from gemini_batch.store.ledger.records import Job, JobStage, QuotaBounds

if TYPE_CHECKING:
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The maximum size of a job, number of active jobs, and tokens that they may queue together; None: unknown."""

    requests: int
    bytes: int
    tokens: int | None
    jobs: int
    queue: int | None = None


#: A job that neither holds all that waits nor is full takes at least one part in so many of the queue's room.
CRUMBS = 8


class Ahead(NamedTuple):
    """Tokens in a model's queue at one moment: of the jobs that may be there, and of those that were seen there.

    A sum that is accepted counts the second, for a create without an answer was mostly refused. ``at``: when this was
    read, by the monotonic clock.
    """

    possible: int
    certain: int
    at: float


def room(queued: int, quota_bounds: QuotaBounds, stated: int | None = None) -> int | None:
    """How many more tokens may be queued, as far as is known; None if unknown. ``stated``: the tier's own limit.

    The real limit lies somewhere between a sum that was accepted and one that was refused. The accepted sum is used
    once it is at least half of the refused one: finding the rest would cost refusals, and each of them costs an upload.
    """
    if quota_bounds.refused is None:
        return None if stated is None else max(0, stated - queued)
    accepted = quota_bounds.accepted or 0
    target = accepted if accepted * 2 >= quota_bounds.refused else quota_bounds.refused // 2
    return max(0, (target if stated is None else min(target, stated)) - queued)


def fits(job: Job, *, queued: int, living: int, quota_bounds: QuotaBounds, limits: Limits) -> bool:
    """Whether a job still fits just before its create; ``queued`` and ``living`` count the other jobs."""
    free = room(queued, quota_bounds, limits.queue)
    return living < limits.jobs and (free is None or job.tokens <= free or queued == 0)


def learned_bounds(quota_bounds: QuotaBounds, total: int, *, accepted: bool) -> QuotaBounds:
    """The bounds after the queue took, or refused to take, ``total`` tokens.

    A sum that was refused although a larger one had been accepted was refused for another reason: it says nothing about
    tokens.
    """
    if accepted:
        refused = None if quota_bounds.refused is not None and quota_bounds.refused <= total else quota_bounds.refused
        return QuotaBounds(refused, max(total, quota_bounds.accepted or 0))
    if quota_bounds.accepted is not None and total <= quota_bounds.accepted:
        return quota_bounds
    return QuotaBounds(min(total, quota_bounds.refused or total), quota_bounds.accepted)


#: An older job has ended or expired (after 48 hours); two hours are added for differing clocks.
_LONGEST_LIFE = 50 * 3600.0
#: A project that creates many jobs (about 700) was refused for 12 to 24 hours, with none alive. A job of the same model
#: that was created lately shows that nothing else is wrong, so this long is waited.
_LONGEST_REFUSAL = 26 * 3600.0
#: After more refusals of jobs that should fit, four hours with their pauses, smaller ones are tried. So many seconds
#: after the first of them is accepted, one that should fit is tried again. If it is refused, smaller ones follow again.
_DOUBT, _TRIAL = 15, 3600.0
_TOO_MANY = "the project may have created too many jobs: after about 700, none could be created for 12 to 24 hours"


class QueueQuota:
    """What one run knows of the quota for its jobs, all of one model."""

    def __init__(self, ledger: Ledger, key_fingerprint: str, model: str, limits: Limits, world: World) -> None:
        self._ledger, self._key, self._model, self._limits = ledger, key_fingerprint, model, limits
        self._now, self._clock = world.now, world.monotonic
        #: No create before this moment of the monotonic clock.
        self.hold_until = -math.inf
        self.hold_why = ""
        self._store_was_full = False
        self._refusals = Backoff()
        self._refused_at = -math.inf
        #: What the jobs that are being created found in the queue.
        self._ahead: dict[str, Ahead] = {}
        #: How often any job was refused since a single request was, with no other alive; and one that should fit alone.
        self._singles = self._contradictions = 0
        #: What counts for this process while what was learned is in doubt, and until when.
        self._trial: QuotaBounds | None = None
        self._trial_until = math.inf
        #: A single request was refused with no other job alive, so tokens are not what the service refuses for.
        self._not_tokens = False
        #: What the last refusal means, in words.
        self.refusal = ""
        self._troubles = Backoff()

    @property
    def is_doubtful(self) -> bool:
        """Whether the last create was refused, or the file store was full at the last upload."""
        return self._store_was_full or self._refusals.tries > 0

    def queued(self, without: Job | None = None) -> int:
        """Estimated tokens of all jobs that may be in the model's queue, without those of the job ``without``."""
        found = self._queued(certain=False)
        return found - without.tokens if without is not None and without.stage is JobStage.INTENDED else found

    def _queued(self, *, certain: bool) -> int:
        return self._ledger.queued_tokens(self._key, self._model, since=self._now() - _LONGEST_LIFE, certain=certain)

    def _look(self, job: Job) -> Ahead:
        return Ahead(self.queued(job), self._queued(certain=True), self._clock())

    def living(self, without: Job | None = None) -> int:
        """How many jobs of the key may be alive, not counting ``without``."""
        found = self._ledger.living(self._key, since=self._now() - _LONGEST_LIFE)
        return found - 1 if without is not None and without.stage is JobStage.INTENDED else found

    def quota_bounds(self) -> QuotaBounds:
        """The bounds that count for the model's queue."""
        return self._tried() or self._learned()

    def _tried(self) -> QuotaBounds | None:
        return self._trial if self._clock() < self._trial_until else None

    def _learned(self) -> QuotaBounds:
        return self._ledger.quota_bounds(self._key, self._model, at=self._now())

    def may_send(self, job: Job) -> bool:
        """Whether a job fits just before its create: other jobs may have filled the queue during the upload."""
        ahead = self._ahead[job.id] = self._look(job)
        bounds = self.quota_bounds()
        return fits(job, queued=ahead.possible, living=self.living(job), quota_bounds=bounds, limits=self._limits)

    def accepted(self, job: Job) -> None:
        """Record that the service accepted a job, so that all that were seen there fit together.

        Those that have ended since they were polled are counted, too: what is learned may be too much.
        """
        self._ahead.pop(job.id, None)
        self._refusals, self._troubles = Backoff(), Backoff()
        self._singles = 0
        self._not_tokens = False
        self._store_was_full = False
        total = self._queued(certain=True)
        if self._trial is not None:
            self._trial = learned_bounds(self._trial, total, accepted=True)
            self._trial_until = min(self._trial_until, self._clock() + _TRIAL)
        if self._trial is None or self._trial.refused is None:  # as much is accepted as was in doubt
            self._trial, self._contradictions = None, 0
        self._record_bounds(learned_bounds(self._learned(), total, accepted=True))

    def refused(self, job: Job, error: ServiceError) -> bool:
        """Record that a job was refused (429); returns whether only a smaller job may fit.

        A job that should fit in an empty queue, by all that is known, need not be smaller; it only has to wait. If it
        is refused again and again, other programs fill the queue, or what is known is wrong, because jobs that counted
        as alive had ended: then this process tries smaller jobs, with the pauses that waiting has, for an hour at a
        time. After a single request was refused with no other job alive, tokens are not the reason: what was learned is
        forgotten, and nothing is learned until a job is accepted.

        Raises ServiceError if a single request is refused repeatedly with no other job alive, or any job for hours: for
        more than a day if the service has created a job of this model lately.
        """
        # Creates that are in doubt were mostly refused, too: they would keep each other from being the only one.
        living = self._ledger.living(self._key, since=self._now() - _LONGEST_LIFE, certain=True)
        now = self._look(job)
        before = self._ahead.pop(job.id, now)
        # Half a minute has passed since the create. What has ended since was there; what came may have come first.
        ahead = Ahead(max(before.possible, now.possible), max(before.certain, now.certain), before.at)
        if again := ahead.at >= self._refused_at:  # several jobs that are refused at the same time count once
            self._refusals.failed(self._clock())
            self._refused_at = self._clock()
        refuses_all = not living and (job.requests == 1 or self._not_tokens)
        self._singles = self._singles + again if refuses_all else 0
        if living:
            self._refusals.excused(self._clock())  # room appears when they end, whenever that is
        lately = self._now() - _LONGEST_LIFE
        works = self._ledger.created_since(self._key, self._model, since=lately)
        if self._refusals.is_over(self._clock(), seconds=_LONGEST_REFUSAL if works else None):
            raise ServiceError(
                "The service has refused every new job (429) for hours, although no job of this state folder is alive.",
                code="refused_for_hours",
                next=f"Another program may use the same project, or {_TOO_MANY}. Run the same command again later. "
                + error.message,
            )
        if self._singles > len(PAUSES) and not works:
            raise ServiceError(
                "The service refuses even a single request (429), although no other job is in the queue.",
                code="refused_at_all",
                next="Check the project's billing and tier, and whether it may use the model. If they are in order, "
                f"{_TOO_MANY}; then run the same command the next day. {error.message}",
            )
        if job.requests == 1 and not living:
            self._not_tokens, self._trial = True, None
            self._record_bounds(QuotaBounds(None, self._learned().accepted))
        elif not self._not_tokens and (living == 0 or ahead.possible):
            self._learn(job, ahead, again=again)
        # With nothing else in the queue, a smaller job may fit at once; otherwise, room appears when a job ends.
        most = room(0, self.quota_bounds(), self._limits.queue)
        smaller = job.requests > 1 and most is not None and job.tokens > most
        self.refusal = "The queue is full (429)" if living else "The service refuses new jobs (429), and none is alive"
        searches = smaller and living == 0 and self._tried() is None
        pause = 0.0 if searches else self._refusals.pause(error)
        self._hold(pause, f"{self.refusal[0].lower()}{self.refusal[1:]}; trying again later")
        return smaller

    def _learn(self, job: Job, ahead: Ahead, *, again: bool) -> None:
        total, certain = ahead.possible + job.tokens, ahead.certain
        if (trial := self._tried()) is not None:
            self._trial = learned_bounds(trial, total, accepted=False)
            return
        known = self._learned()
        contradicted = certain + job.tokens <= (known.accepted or 0) and certain * CRUMBS <= job.tokens
        self._contradictions += again and contradicted
        if self._contradictions > _DOUBT:
            self._trial, self._trial_until = QuotaBounds(total, certain or None), math.inf
        else:
            self._record_bounds(learned_bounds(known, total, accepted=False))

    def store_full(self, freed: int, error: ServiceError) -> float:
        """Record that the file store is full and ``freed`` files were deleted; returns the seconds until the next try.

        Raises ``error`` if it has been full for hours.
        """
        self._store_was_full = True
        if freed:
            self._troubles = Backoff()
            return 0.0
        return self._again_later(error, "the file store is full; trying again later")

    def away(self, error: ServiceError) -> float:
        """Record that the service is unavailable; returns seconds until the next try. Raises ``error`` after hours."""
        return self._again_later(error, "the service is unavailable; trying again later")

    def freed(self) -> None:
        """Lift the hold, because a job has ended: waiting jobs may be created now."""
        self.hold_until = -math.inf

    def _again_later(self, error: ServiceError, why: str) -> float:
        now = self._clock()
        if now < self.hold_until:  # several jobs meet the same outage at once: it counts once
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
        if quota_bounds != self._learned():
            self._ledger.set_quota_bounds(self._key, self._model, quota_bounds, at=self._now())
