"""Every decision of a job's life, as pure functions over recorded facts and the time.

``Submitter`` in ``engine/submitter.py`` does what is decided here, writes down what came of it, and asks again. So a
killed process loses nothing but its place, and the next one decides the same from the same facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, assert_never

from gemini_batch.store.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_batch.store.records import Job
    from gemini_batch.wire import RemoteJob


#: How often a create is sent at most, the first time included, when the service does not say whether it happened.
MAX_CREATE_CALLS = 3
#: The list must have been read to its end so often before a job counts as not made.
MIN_LIST_READS = 2
#: The service's clock and ours may differ by so much when inline jobs are told apart by their age.
CLOCK_SKEW = 300.0
# Quick readings first, which find what the list shows at once; then a few patient ones.
_LIST_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True, slots=True)
class Upload:
    """Bring the job's input file to the service."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write the intent down, then send the create, once."""


@dataclass(frozen=True, slots=True)
class ReadList:
    """Wait so many seconds, then read the whole list for a job that the create in doubt may have made."""

    wait: float


@dataclass(frozen=True, slots=True)
class Adopt:
    """The create in doubt did happen: this is its job."""

    batch: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop here and say why: several jobs could be ours, or none was made and sending again now would not help."""

    why: Literal["ambiguous", "unanswered", "over quota"]


@dataclass(frozen=True, slots=True)
class Made:
    """The job exists and its name is written down."""


Step = Upload | Send | ReadList | Adopt | GiveUp | Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one job on its way to being created.

    ``list_reads`` counts whole readings of the list since the intent, ``last_list_read`` is when the newest one began.
    ``found`` are the names of jobs in the list that the create in doubt can have made. ``over_quota``: the create was
    answered with 429, so that sending it again at once is no use. ``waited`` are the seconds that this process has
    waited since it sent the create itself, None where an earlier one did; ``last_waited``: at the newest reading.
    """

    stage: JobStage
    input_kind: Literal["file", "inline"]
    intended_at: float | None
    create_calls: int
    list_reads: int = 0
    last_list_read: float | None = None
    found: tuple[str, ...] = ()
    waited: float | None = None
    last_waited: float | None = None
    over_quota: bool = False


def next_step(facts: Facts, now: float, *, settle: float) -> Step:
    """What to do next to get the job created, and created once.

    An intent without an answer is always in doubt, also when it was written by a process that is gone: the job is
    looked for until ``settle`` seconds after the intent and in at least two whole readings of the list, the last one
    begun after that time, before anything is sent again.
    """
    match facts.stage:
        case JobStage.PLANNED:
            return Send() if facts.input_kind == "inline" else Upload()
        case JobStage.UPLOADED:
            return Send()
        case JobStage.INTENDED:
            return _in_doubt(facts, now, settle)
        case JobStage.CREATED | JobStage.ENDED | JobStage.COLLECTED:
            return Made()
        case never:
            assert_never(never)


def not_in_future(facts: Facts, now: float) -> Facts:
    """The facts by a clock that may have been set back: a create must not stay in doubt until it is right again."""
    intended_at = None if facts.intended_at is None else min(facts.intended_at, now)
    last_list_read = None if facts.last_list_read is None else min(facts.last_list_read, now)
    return replace(facts, intended_at=intended_at, last_list_read=last_list_read)


def _in_doubt(facts: Facts, now: float, settle: float) -> Step:
    if len(facts.found) == 1 or (facts.found and facts.input_kind == "file"):
        return Adopt(facts.found[0])  # of several that read our own file all are ours, and the first will do
    if facts.found:
        return GiveUp("ambiguous")
    settled_at = (facts.intended_at or 0.0) + settle
    # A clock that leaps ahead proves nothing: who has sent the create has to have waited, too.
    too_soon = facts.waited is not None and (facts.last_waited or 0.0) < settle
    if facts.list_reads >= MIN_LIST_READS and (facts.last_list_read or 0.0) >= settled_at and not too_soon:
        if facts.over_quota:
            return GiveUp("over quota")
        return Send() if facts.create_calls < MAX_CREATE_CALLS else GiveUp("unanswered")
    if facts.list_reads == 0:
        return ReadList(0.0)
    wait = _LIST_WAITS[min(facts.list_reads, len(_LIST_WAITS)) - 1]
    left = max(settled_at - now, 0.0 if facts.waited is None else settle - facts.waited)
    return ReadList(min(wait, left) if left > 0 else 0.0)


def made_by(job: Job, seen: Iterable[RemoteJob], *, known: frozenset[str], any_age: bool = False) -> tuple[str, ...]:
    """The jobs of a list that a create in doubt can have made.

    A file belongs to one attempt, so the input file's name is proof. An inline job echoes nothing but its name, model
    and size; together with its age, by two clocks, that is enough where exactly one matches. A name that holds the
    run's id needs no age; ``any_age``: our own clock was wrong, so that age says nothing. ``known``
    jobs belong to other attempts.
    """
    if job.input_kind == "file":
        wanted = f"files/{job.file}" if job.file and not job.file.startswith("files/") else job.file
        return tuple(r.name for r in seen if wanted is not None and r.file_name == wanted)
    only_ours = job.run.removeprefix("run-") in job.display_name
    since = 0.0 if only_ours or any_age else (job.intended_at or 0.0) - CLOCK_SKEW
    return tuple(
        r.name
        for r in seen
        if r.name not in known
        and r.file_name is None
        and r.display_name == job.display_name
        and r.model == job.model.removeprefix("models/")
        and r.total in {0, job.requests}
        and (r.create_time is None or r.create_time >= since)
    )


Standing = Literal["unfinished", "attach", "over"]


def standing(jobs: Sequence[Job], *, answered: int) -> Standing:
    """What the jobs of a known run mean for a create of the same requests; ``answered``: how many have an answer.

    ``attach``: a job is alive, or has answered; another one would be paid for again. So is what was cancelled: only
    the user's word sends it again. ``unfinished``: go on until one is created. ``over``: all ended and left nothing.
    """
    if answered or any(job.stage is JobStage.CREATED or _left_something(job) for job in jobs):
        return "attach"
    if not jobs or any(not job.stage.made for job in jobs):
        return "unfinished"
    cancelled = any(job.cancelled_at is not None or job.phase is Phase.CANCELLED for job in jobs)
    return "attach" if cancelled else "over"


def _left_something(job: Job) -> bool:
    """Whether an ended job has answers, or may have some that the service does not show."""
    if not job.stage.over:
        return False
    held = job.output_file is not None or bool(job.succeeded) or job.phase is Phase.SUCCEEDED
    return held or job.lost is not None
