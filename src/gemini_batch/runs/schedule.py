"""What a run of many jobs does next: pure functions over recorded facts and the time.

The service's real limit for most people is the tokens that wait in a model's queue, summed over all living jobs. It
cannot be asked for, and a refusal does not say which limit was met. So nothing is assumed until a refusal; then the
refused requests are planned again in smaller jobs, and sent as room appears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.runs.ledger import Ceiling, Job, Life
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from gemini_batch.runs.rowtypes import Waiting

#: Codes of failed jobs whose requests go once more by themselves: exhausted, internal, unavailable.
RESENT_CODES = frozenset({8, 13, 14})
#: Row errors that may pass when the row is sent again.
TRANSIENT = ("UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNAVAILABLE")
#: Pauses after refusals in a row, in seconds.
PAUSES = (60.0, 120.0, 300.0, 600.0, 1200.0)
#: Jobs that are uploaded and created at the same time.
MAKERS = 3
#: Jobs that are collected at the same time; judging them is one writer's work anyhow.
COLLECTORS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a job may be, how many may live, and how many tokens they may queue together; None: not known."""

    requests: int
    bytes: int
    tokens: int | None
    jobs: int
    queue: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a run knows at one moment.

    ``busy`` are the ordinals of jobs that somebody is making or collecting. ``queued`` and ``living`` count all jobs
    of the key, of other runs too. ``hold_until``: no create before. ``look_at``: when living jobs are looked at next.
    """

    waiting: Waiting
    jobs: tuple[Job, ...]
    busy: frozenset[int]
    queued: int
    living: int
    ceiling: Ceiling
    hold_until: float
    look_at: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Cut the next job from what waits, no larger than this."""

    tokens: int | None


@dataclass(frozen=True, slots=True)
class Make:
    """Upload and create a planned job, or find out what became of a create in doubt."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class LookAt:
    """Look at the living jobs."""

    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Collect:
    """Bring the answers of an ended job here."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, unless something that is being done ends before; ``why`` is for the user."""

    until: float
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Every request has had all the attempts it may have."""


Action = Plan | Make | LookAt | Collect | Wait | Finished


def room(queued: int, ceiling: Ceiling, stated: int | None = None) -> int | None:
    """How many more tokens may be queued by what is known; None where nothing is. ``stated``: the tier's own limit.

    Between a sum that was accepted and one that was refused the truth may lie anywhere. What was accepted is taken
    once it is at least half of what was refused: finding the rest would cost refusals, each of them an upload.
    """
    if ceiling.refused is None:
        return None if stated is None else max(0, stated - queued)
    accepted = ceiling.accepted or 0
    target = accepted if accepted * 2 >= ceiling.refused else ceiling.refused // 2
    return max(0, (target if stated is None else min(target, stated)) - queued)


def schedule(facts: Facts, limits: Limits, now: float) -> list[Action]:
    """Everything to begin now; where that is nothing, one Wait or Finished."""
    live = [job for job in facts.jobs if job.dropped_at is None]
    idle = [job for job in live if job.ordinal not in facts.busy]
    collecting = sum(job.life is Life.ENDED and job.ordinal in facts.busy for job in live)
    ended = [job for job in idle if job.life is Life.ENDED]
    actions: list[Action] = [Collect(job.ordinal) for job in ended[: max(0, COLLECTORS - collecting)]]
    making = [job for job in live if job.life in {Life.PLANNED, Life.UPLOADED, Life.INTENDED}]
    in_doubt = [job for job in idle if job.life is Life.INTENDED and now >= facts.hold_until]
    actions += [Make(job.ordinal) for job in in_doubt]
    actions += _begin(facts, limits, now, [job for job in making if job.life is not Life.INTENDED], len(making))
    alive = tuple(job.ordinal for job in idle if job.life is Life.CREATED)
    if alive and now >= facts.look_at:
        actions.append(LookAt(alive))
    if actions:
        return actions
    if not live_work(live) and not facts.waiting.requests and not facts.busy:
        return [Finished()]
    return [_wait(facts, limits, now, alive=bool(alive))]


def live_work(jobs: list[Job]) -> bool:
    """Whether any of these jobs is still to be made, watched or collected."""
    return any(job.life is not Life.COLLECTED for job in jobs)


def _begin(facts: Facts, limits: Limits, now: float, planned: list[Job], making: int) -> list[Action]:
    """Jobs to make, or one more to plan, as far as there is room for it."""
    if now < facts.hold_until:
        return []
    ready = [job for job in planned if job.ordinal not in facts.busy]
    busy_tokens = sum(job.tokens for job in planned if job.ordinal in facts.busy)
    free = room(facts.queued + busy_tokens, facts.ceiling, limits.queue)
    slots = limits.jobs - facts.living - (making - len(ready))
    actions: list[Action] = []
    for job in ready:
        alone = facts.queued + busy_tokens == 0 and not actions
        if slots > 0 and (free is None or job.tokens <= free or alone):
            actions.append(Make(job.ordinal))
            slots -= 1
            free = None if free is None else max(0, free - job.tokens)
    if actions or ready or slots <= 0 or making >= MAKERS or not facts.waiting.requests:
        return actions
    if free == 0:
        return []
    bounds = [bound for bound in (limits.tokens, free) if bound is not None]
    return [Plan(min(bounds) if bounds else None)]


def _wait(facts: Facts, limits: Limits, now: float, *, alive: bool) -> Wait:
    times = [facts.look_at] if alive else []
    if facts.hold_until > now and (facts.waiting.requests or facts.jobs):
        times.append(facts.hold_until)
        why = "the service refused a job for lack of room; trying again later"
    elif facts.waiting.requests and facts.living >= limits.jobs:
        why = f"{facts.living} jobs are alive, and no more are allowed at once"
    elif facts.waiting.requests and facts.busy:
        why = "jobs are being sent and collected"
    elif facts.waiting.requests:
        why = "the model's queue has no room; more is sent when jobs end"
    else:
        why = "the service is working"
    return Wait(min(times) if times else now + 60.0, why)


def learned(ceiling: Ceiling, *, queued: int, tokens: int, accepted: bool) -> Ceiling:
    """The ceiling after a job of ``tokens`` met a queue of ``queued``.

    A sum that was refused although a larger one was accepted before was refused for another reason: nothing is
    learned of tokens from it.
    """
    total = queued + tokens
    if accepted:
        refused = None if ceiling.refused is not None and ceiling.refused <= total else ceiling.refused
        return Ceiling(refused, max(total, ceiling.accepted or 0))
    if ceiling.accepted is not None and total <= ceiling.accepted:
        return ceiling
    return Ceiling(min(total, ceiling.refused or total), ceiling.accepted)


@dataclass(frozen=True, slots=True)
class Resend:
    """Which requests of a collected job go again by themselves; ``most``: in at most so many jobs."""

    reasons: tuple[str, ...]
    missing: bool
    most: int


def resend(job: Job, attempts: int) -> Resend:
    """The design's rule of what is sent again: nothing after the user's cancel, a failed or expired job once."""
    if job.cancelled_at is not None:
        return Resend((), missing=False, most=0)
    match job.phase:
        case Phase.SUCCEEDED:
            return Resend((*TRANSIENT, "CANCELLED"), missing=True, most=attempts)
        case Phase.FAILED:
            again = job.error_code in RESENT_CODES
            return Resend(TRANSIENT if again else (), missing=again, most=min(2, attempts))
        case Phase.EXPIRED:
            return Resend((*TRANSIENT, "CANCELLED"), missing=True, most=min(2, attempts))
        case _:
            return Resend((), missing=False, most=0)
