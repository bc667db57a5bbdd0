"""What a run of many jobs does next: pure functions over recorded facts and the time.

All times here are this process's monotonic ones; -infinity: at once.

The service's real limit for most people is the tokens that wait in a model's queue, summed over all living jobs. It
cannot be asked for, and a refusal does not say which limit was met. So nothing is assumed until a refusal; then the
refused requests are planned again in smaller jobs, and sent as room appears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.engine.quota import Limits, room
from gemini_batch.store.records import Job, JobStage, QuotaBounds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.store.row_records import Waiting


#: Seconds between polls of other runs' jobs, whose end makes room.
POLL_OTHERS_EVERY = 60.0
#: Jobs that are uploaded and created at the same time.
MAKERS = 3
#: Jobs that are collected at the same time; judging them is one writer's work anyhow.
COLLECTORS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a run knows at one moment.

    ``busy`` are the ordinals of jobs that a task is making or collecting. ``queued`` and ``living`` count all jobs
    of the key, of other runs too. ``hold_until``: no create before, for the reason ``hold_why``. ``poll_at``: when
    living jobs are polled next. ``later``: ordinals of ended jobs that are not to be collected before a time;
    infinity: not by this process, which does not poll living ones either. ``others``: whether other runs' jobs of
    the key live by the ledger, and ``poll_others_at`` when they are polled next.
    ``closed``: the service has refused a job for good, so nothing more is planned or made.
    ``one_at_a_time``: the file store was full lately, so that one upload tries whether there is room again.
    """

    waiting: Waiting
    jobs: tuple[Job, ...]
    busy: frozenset[int]
    queued: int
    living: int
    quota_bounds: QuotaBounds
    hold_until: float
    hold_why: str
    poll_at: float
    others: bool
    poll_others_at: float
    later: Mapping[int, float]
    closed: bool
    one_at_a_time: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Cut the next job from what waits, no larger than this."""

    tokens: int | None


@dataclass(frozen=True, slots=True)
class Make:
    """Upload and create a planned job, or find out what became of a create in doubt."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Poll:
    """Poll the living jobs."""

    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PollOthers:
    """Poll other runs' jobs: there seems to be no room, and they may have ended."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Bring the answers of an ended job here."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, unless something that is being done ends before; ``why`` is for the user.

    Infinity: only such an end changes anything.
    """

    until: float
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Every request has had all the attempts it may have."""


Action = Plan | Make | Poll | PollOthers | Collect | Wait | Finished


def schedule(facts: Facts, limits: Limits, now: float) -> list[Action]:
    """Everything to begin now; where that is nothing, one Wait or Finished."""
    live = [job for job in facts.jobs if job.dropped_at is None]
    idle = [job for job in live if job.ordinal not in facts.busy]
    alive = tuple(job.ordinal for job in idle if job.stage is JobStage.CREATED and job.ordinal not in facts.later)
    actions: list[Action] = _collect(facts, live, idle, now)
    if not facts.closed:
        actions += _make(facts, limits, now, live)
    if alive and now >= facts.poll_at:
        actions.append(Poll(alive))
    if actions:
        return actions
    times = _due(facts, idle, now, alive=bool(alive))
    unsent = not facts.closed and bool(facts.waiting.requests or _unmade(live))
    if unsent and facts.others and not facts.busy and now >= facts.poll_others_at:
        return [PollOthers()]
    if not times and not facts.busy and not unsent:
        return [Finished()]
    given_up = any(job.stage is JobStage.CREATED and job.ordinal in facts.later for job in live)
    if given_up and not alive and not facts.busy and not times and now >= facts.hold_until:
        return [Finished()]  # what waits has no room next to a job that cannot be seen; the next process may
    return [_wait(facts, limits, now, times, unsent=unsent)]


def _unmade(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if not job.stage.made]


def _collect(facts: Facts, live: list[Job], idle: list[Job], now: float) -> list[Action]:
    collecting = sum(job.stage is JobStage.ENDED and job.ordinal in facts.busy for job in live)
    ended = [job for job in idle if job.stage is JobStage.ENDED and now >= facts.later.get(job.ordinal, -math.inf)]
    return [Collect(job.ordinal) for job in ended[: max(0, COLLECTORS - collecting)]]


def _due(facts: Facts, idle: list[Job], now: float, *, alive: bool) -> list[float]:
    """When something can be done that cannot be done now; empty where only a task's end changes anything.

    An ended job that is only short of a free collector is not waited for by the clock.
    """
    later = [facts.later.get(job.ordinal, -math.inf) for job in idle if job.stage is JobStage.ENDED]
    return [time for time in later if now < time < math.inf] + ([facts.poll_at] if alive else [])


def live_work(jobs: list[Job]) -> bool:
    """Whether any of these jobs is still to be made, watched or collected."""
    return any(job.stage is not JobStage.COLLECTED for job in jobs)


def _make(facts: Facts, limits: Limits, now: float, live: list[Job]) -> list[Action]:
    """Jobs to make, or one more to plan, as far as there is room for it."""
    if now < facts.hold_until:
        return []
    making = _unmade(live)
    doubtful = [job for job in making if job.stage is JobStage.INTENDED]
    planned = [job for job in making if job.stage is not JobStage.INTENDED]
    ready = [job for job in planned if job.ordinal not in facts.busy]
    begun = [job for job in planned if job.ordinal in facts.busy]
    if facts.one_at_a_time and ready:
        ready = [] if begun else ready[:1]
    queued = facts.queued + sum(job.tokens for job in begun)
    free = room(queued, facts.quota_bounds, limits.queue)
    slots = limits.jobs - facts.living - len(begun)
    actions: list[Action] = [Make(job.ordinal) for job in doubtful if job.ordinal not in facts.busy]
    sent = False
    for job in ready:
        alone = queued == 0 and not sent
        if slots > 0 and (free is None or job.tokens <= free or alone):
            actions.append(Make(job.ordinal))
            sent = True
            slots -= 1
            free = None if free is None else max(0, free - job.tokens)
    if (
        actions
        or ready
        or (facts.one_at_a_time and making)
        or slots <= 0
        or len(making) >= MAKERS
        or not facts.waiting.requests
        or free == 0
    ):
        return actions
    bounds = [bound for bound in (limits.tokens, free) if bound is not None]
    return [Plan(min(bounds) if bounds else None)]


def _wait(facts: Facts, limits: Limits, now: float, times: list[float], *, unsent: bool) -> Wait:
    if facts.hold_until > now and unsent:
        times = [*times, facts.hold_until]
        why = facts.hold_why
    elif facts.closed:
        why = "the service has refused a job; what is there already is brought in"
    elif unsent and facts.living >= limits.jobs:
        why = f"{facts.living} jobs are alive, and no more are allowed at once"
    elif unsent and facts.busy:
        why = "jobs are being sent and collected"
    elif unsent:
        why = "the model's queue has no room; more is sent when jobs end"
    else:
        why = "the service is working"
    return Wait(min(times, default=math.inf if facts.busy else now + POLL_OTHERS_EVERY), why)
