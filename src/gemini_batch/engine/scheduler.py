"""Decides what a run does next, in pure functions of recorded facts and the time.

All times are monotonic times of this process; -infinity means "at once".

For most users the effective limit is the number of tokens in a model's queue, summed over all active jobs. The service
does not report it, and a refusal does not say which limit was reached. So nothing is assumed until a refusal; then the
refused requests are planned again in smaller jobs and sent as room appears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gemini_batch.engine.quota import CRUMBS, Limits, room
from gemini_batch.store.ledger.records import Job, JobStage, QuotaBounds, Via

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.store.rows.row_records import Waiting


Until = Literal["sent", "collected", "finished"]
"""When work on a run ends here: once every request is sent, and nothing is collected; once every job that has ended is
collected, and nothing is sent; once every request has had all of its attempts."""
#: Seconds between polls of other runs' jobs, whose end makes room in the queue.
POLL_OTHERS_EVERY = 60.0
#: Number of jobs that are uploaded and created at the same time. One connection seldom uses all of a line.
MAKERS = 6
#: Number of jobs that are collected at the same time; judging has only one writer anyway.
COLLECTORS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of a run at one moment.

    ``busy`` holds the ordinals of jobs that a task is creating or collecting. ``queued`` and ``living`` count all jobs
    of the key, including those of other runs. ``hold_until``: no create before this time, for the reason ``hold_why``.
    ``poll_at``: when active jobs are polled next. ``later``: ordinals of ended jobs that are not to be collected before
    a time; infinity: not by this process, which does not poll active ones either. ``others``: whether, by the ledger,
    other runs' jobs of the key are alive; ``poll_others_at``: when they are polled next. ``closed``: the service has
    refused a job for good, so nothing more is planned or created. ``resend``: when requests of collected jobs are to
    wait again, by the jobs' ordinals. ``one_at_a_time``: the last create was refused, or the file store was full, so
    a single job tests whether there is room again. ``poor``: the next request may cost more than the budget has left,
    until a job is collected. ``via``: how the waiting requests are to be sent. ``until``: when to end.
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
    resend: Mapping[int, float] = field(default_factory=dict)
    one_at_a_time: bool = False
    poor: bool = False
    via: Via = "batch"
    until: Until = "finished"


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan the next job from the waiting requests, no larger than this."""

    tokens: int | None


@dataclass(frozen=True, slots=True)
class Make:
    """Upload and create a planned job, or find out whether a create in doubt succeeded."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Poll:
    """Poll the active jobs."""

    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PollOthers:
    """Poll other runs' jobs: the queue seems to be full, and they may have ended."""


@dataclass(frozen=True, slots=True)
class Collect:
    """Collect the answers of an ended job."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Release:
    """Let the requests of a collected job that are to be resent wait again: their pause is over."""

    ordinal: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until then, unless a running task ends before; ``why`` is shown to the user.

    Infinity: only the end of a task changes anything.
    """

    until: float
    why: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What was to be done is done (:data:`Until`)."""


Action = Plan | Make | Poll | PollOthers | Collect | Release | Wait | Finished


def schedule(facts: Facts, limits: Limits, now: float) -> list[Action]:
    """Everything to start now; if there is nothing, one Wait or Finished."""
    live = [job for job in facts.jobs if job.dropped_at is None]
    idle = [job for job in live if job.ordinal not in facts.busy]
    alive = tuple(job.ordinal for job in idle if job.stage is JobStage.CREATED and job.ordinal not in facts.later)
    actions: list[Action] = [] if facts.until == "sent" else _collect(facts, live, idle, now)
    sends = not facts.closed and facts.until != "collected"
    resend = facts.resend if sends else {}
    actions += [Release(ordinal) for ordinal, due in resend.items() if now >= due]
    if sends:
        actions += _make(facts, limits, now, [job for job in live if job.via == "batch"])
    if facts.until != "collected":
        actions += _call(facts, [job for job in live if job.via == "flex" and not job.stage.made])
    if alive and now >= facts.poll_at:
        actions.append(Poll(alive))
    if actions:
        return actions
    times = [*_due(facts, idle, now, alive=bool(alive)), *resend.values()]
    unsent = sends and bool((facts.waiting.requests and not facts.poor) or _unmade(live))
    if unsent and facts.others and not facts.busy and now >= facts.poll_others_at:
        return [PollOthers()]
    if not times and not facts.busy and not unsent:
        return [Finished()]
    if (facts.until == "sent" and _is_sent(facts, live)) or (facts.until == "collected" and _is_collected(facts, live)):
        return [Finished()]
    given_up = any(job.stage is JobStage.CREATED and job.ordinal in facts.later for job in live)
    if given_up and not alive and not facts.busy and not times and now >= facts.hold_until:
        return [Finished()]  # a job that cannot be polled leaves no room for what waits; the next process may find some
    return [_wait(facts, limits, now, times, unsent=unsent)]


def _is_sent(facts: Facts, live: list[Job]) -> bool:
    """Whether all that is left is to wait, for jobs at the service or until requests are resent, or to collect jobs. Of
    a run that is closed, nothing is sent."""
    if facts.closed:
        return not facts.busy
    unsent = facts.waiting.requests or _unmade(live)
    return not (unsent or facts.busy or facts.later)


def _is_collected(facts: Facts, live: list[Job]) -> bool:
    """The same for ended jobs. A run that is closed ends with an error, when all of its jobs are collected."""
    return not (any(job.stage is JobStage.ENDED for job in live) or facts.busy or facts.later or facts.closed)


def _unmade(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if not job.stage.made]


def _collect(facts: Facts, live: list[Job], idle: list[Job], now: float) -> list[Action]:
    collecting = sum(job.stage is JobStage.ENDED and job.ordinal in facts.busy for job in live)
    ended = [job for job in idle if job.stage is JobStage.ENDED and now >= facts.later.get(job.ordinal, -math.inf)]
    return [Collect(job.ordinal) for job in ended[: max(0, COLLECTORS - collecting)]]


def _due(facts: Facts, idle: list[Job], now: float, *, alive: bool) -> list[float]:
    """When something that cannot be done now becomes possible; empty if only a task's end changes anything.

    An ended job that only lacks a free collector is not waited for by the clock.
    """
    later = [facts.later.get(job.ordinal, -math.inf) for job in idle if job.stage is JobStage.ENDED]
    return [time for time in later if now < time < math.inf] + ([facts.poll_at] if alive else [])


def live_work(jobs: list[Job]) -> bool:
    """Whether any of these jobs is still to be created, polled or collected."""
    return any(job.stage is not JobStage.COLLECTED for job in jobs)


def _make(facts: Facts, limits: Limits, now: float, live: list[Job]) -> list[Action]:
    """Jobs to create, or one more to plan, as far as there is room."""
    if now < facts.hold_until:
        return []
    making = _unmade(live)
    doubtful = [job for job in making if job.stage is JobStage.INTENDED]
    planned = [job for job in making if job.stage is not JobStage.INTENDED]
    ready = [job for job in planned if job.ordinal not in facts.busy]
    begun = [job for job in planned if job.ordinal in facts.busy]
    makers = sum(job.ordinal in facts.busy for job in making)
    if facts.one_at_a_time and (makers or doubtful):
        ready = []
    queued = facts.queued + sum(job.tokens for job in begun)
    free = room(queued, facts.quota_bounds, limits.queue)
    slots = min(limits.jobs - facts.living - len(begun), MAKERS - makers)
    actions: list[Action] = [Make(job.ordinal) for job in doubtful if job.ordinal not in facts.busy]
    sent = False
    for job in ready:
        if sent and facts.one_at_a_time:
            break
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
        or facts.living + len(begun) >= limits.jobs
        or len(making) > MAKERS  # one more is planned than is made, so that none waits for the plan
        or not facts.waiting.requests
        or facts.via != "batch"
        or facts.poor
        or (free is not None and free < _least(facts, limits))
    ):
        return actions
    bounds = [bound for bound in (limits.tokens, free) if bound is not None]
    return [Plan(min(bounds) if bounds else None)]


def _least(facts: Facts, limits: Limits) -> int:
    """The tokens for which there must be room before a job is planned: crumbs of the queue would become many jobs.

    What fills a job by its other limits is no crumb.
    """
    whole, waiting = room(0, facts.quota_bounds, limits.queue) or 0, facts.waiting
    share = min(1.0, limits.requests / waiting.requests, limits.bytes / max(1, waiting.bytes))
    job = int(waiting.tokens * share)
    return max(1, min(job if limits.tokens is None else min(job, limits.tokens), whole // CRUMBS))


def _call(facts: Facts, unmade: list[Job]) -> list[Action]:
    """The job whose requests are sent as calls, or one to plan: one at a time, for they share the service's limits.

    One that is intended and has no task was left by a process that died; to end it sends nothing.
    """
    ready = [job for job in unmade if job.stage is JobStage.INTENDED or not facts.closed]
    if unmade or facts.closed:
        return [Make(ready[0].ordinal)] if ready and not any(job.ordinal in facts.busy for job in unmade) else []
    return [Plan(None)] if facts.via == "flex" and facts.waiting.requests and not facts.poor else []


def _wait(facts: Facts, limits: Limits, now: float, times: list[float], *, unsent: bool) -> Wait:
    if facts.hold_until > now and unsent:
        times = [*times, facts.hold_until]
        why = facts.hold_why
    elif facts.closed:
        why = "nothing more is sent; collecting existing jobs"
    elif any(job.via == "flex" and job.ordinal in facts.busy and not job.stage.made for job in facts.jobs):
        why = "sending requests as calls (flex)"
    elif unsent and facts.living >= limits.jobs:
        why = f"{facts.living} jobs are alive, which is the maximum"
    elif unsent and facts.busy:
        why = "creating and collecting jobs"
    elif unsent:
        why = "the model's queue is full; sending more when jobs end"
    elif facts.poor and facts.waiting.requests and not facts.closed:
        why = "the rest may cost more than the budget has left; sending more when jobs are collected"
    elif times and min(times) in facts.resend.values():
        why = "pausing before requests are resent"
    else:
        why = "the service is working"
    return Wait(min(times, default=math.inf if facts.busy else now + POLL_OTHERS_EVERY), why)
