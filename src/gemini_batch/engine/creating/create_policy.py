"""Decides how to get a job created, in pure functions of recorded facts and the time.

``Submitter`` in ``engine/creating/submitter.py`` carries out each decision, records the outcome, and asks again. So a
killed process loses only its place, and the next process makes the same decision from the same facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, assert_never

from gemini_batch.safe_text import printable
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.vertex_place import same_file
from gemini_batch.wire import Phase, same_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_batch.store.ledger.records import Job
    from gemini_batch.wire import RemoteJob


#: The maximum number of times a create is sent, the first included, if the service does not say whether it succeeded.
MAX_CREATE_CALLS = 3
#: The list must have been read to its end this often before a job counts as not created.
MIN_LIST_READS = 2
#: The permitted difference between the service's clock and ours when inline jobs are distinguished by age.
CLOCK_SKEW = 300.0
# Quick readings first, which find what the list shows at once; then a few at longer intervals.
_LIST_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)


@dataclass(frozen=True, slots=True)
class Upload:
    """Upload the job's input file."""


@dataclass(frozen=True, slots=True)
class Send:
    """Record the intent, then send the create, once."""


@dataclass(frozen=True, slots=True)
class ReadList:
    """Wait this many seconds, then search the whole list for a job that the create in doubt may have created."""

    wait: float


@dataclass(frozen=True, slots=True)
class Adopt:
    """The create in doubt succeeded: this is its job."""

    batch: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop and say why: several jobs could be ours, or none was created and resending now would not help."""

    why: Literal["ambiguous", "unanswered", "over quota"]


@dataclass(frozen=True, slots=True)
class Made:
    """The job exists and its name is recorded."""


Step = Upload | Send | ReadList | Adopt | GiveUp | Made


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one job before it is created.

    ``list_reads`` counts complete readings of the list since the intent; ``last_list_read`` is when the newest one
    began. ``found`` names the jobs in the list that the create in doubt may have created; ``proven``: they read the
    input file that was uploaded for it. ``over_quota``: the create was answered with 429, so resending it at once does
    not help. ``waited`` is the number of seconds since this
    process sent the create, None if an earlier process did; ``last_waited`` is the same at the newest reading.
    """

    stage: JobStage
    input_kind: Literal["file", "inline"]
    intended_at: float | None
    create_calls: int
    list_reads: int = 0
    last_list_read: float | None = None
    found: tuple[str, ...] = ()
    proven: bool = False
    waited: float | None = None
    last_waited: float | None = None
    over_quota: bool = False


def next_step(facts: Facts, now: float, *, settle: float) -> Step:
    """What to do next to get the job created exactly once.

    An intent without an answer is always in doubt, even if a process that has ended wrote it. Before anything is sent
    again, the job is searched for until ``settle`` seconds after the intent and in at least two complete readings of
    the list, the last of which began after that time.
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
    """The facts, corrected for a clock that was set back: a create must not stay in doubt until it catches up."""
    intended_at = None if facts.intended_at is None else min(facts.intended_at, now)
    last_list_read = None if facts.last_list_read is None else min(facts.last_list_read, now)
    return replace(facts, intended_at=intended_at, last_list_read=last_list_read)


def _in_doubt(facts: Facts, now: float, settle: float) -> Step:
    if len(facts.found) == 1 or (facts.found and facts.proven):
        return Adopt(facts.found[0])  # every job that reads our own file is ours; the first will do
    if facts.found:
        return GiveUp("ambiguous")
    settled_at = (facts.intended_at or 0.0) + settle
    # A clock that jumps ahead proves nothing: the process that sent the create must also have waited.
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


@dataclass(frozen=True, slots=True)
class Matches:
    """Jobs in a list that a create in doubt may have created: some read its input file, others agree in all they show.

    A list need not show the input file, so the second kind counts where there is none of the first.
    """

    proven: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()

    def __add__(self, other: Matches) -> Matches:
        return Matches((*self.proven, *other.proven), (*self.likely, *other.likely))

    @property
    def found(self) -> tuple[str, ...]:
        """The names that count, each once."""
        return tuple(dict.fromkeys(self.proven or self.likely))


def made_by(job: Job, seen: Iterable[RemoteJob], *, known: frozenset[str], any_age: bool = False) -> Matches:
    """The jobs in a list that a create in doubt may have created.

    A file belongs to one attempt, so the input file's name is proof, for or against. Where the list shows none, a job's
    display name, model and size, together with its age by two clocks, are enough if exactly one matches. A display name
    that contains the run's id needs no age. ``any_age``: our own clock was wrong, so the age means nothing. ``known``
    jobs belong to other attempts.
    """
    wanted = job.file if job.input_kind == "file" else None
    only_ours = job.run.removeprefix("run-") in job.display_name
    since = 0.0 if only_ours or any_age else (job.intended_at or 0.0) - CLOCK_SKEW
    named = [remote for remote in seen if remote.name]
    return Matches(
        proven=tuple(r.name for r in named if wanted and r.file_name and same_file(r.file_name, wanted)),
        likely=tuple(
            r.name
            for r in named
            if r.name not in known
            and r.file_name is None
            and r.display_name == printable(job.display_name)
            and same_model(r.model, job.model)
            and r.total in {0, job.requests}
            and (r.create_time is None or r.create_time >= since)
        ),
    )


Standing = Literal["unfinished", "attach", "over"]


def standing(jobs: Sequence[Job], *, answered: int) -> Standing:
    """What the jobs of a known run mean for a create of the same requests; ``answered``: requests with an answer.

    ``attach``: a job is alive or has answers, so another one would be paid for again; or one was cancelled, and
    only the user may send anything after that. ``unfinished``: continue until one is created. ``over``: all have ended
    without answers.
    """
    if answered or any(job.stage is JobStage.CREATED or _left_something(job) for job in jobs):
        return "attach"
    if any(job.cancelled_at is not None or job.phase is Phase.CANCELLED for job in jobs):
        return "attach"
    return "over" if jobs and all(job.stage.made for job in jobs) else "unfinished"


def _left_something(job: Job) -> bool:
    """Whether an ended job has answers, or may have answers that the service does not show."""
    if not job.stage.over:
        return False
    held = job.output_file is not None or bool(job.succeeded) or job.phase is Phase.SUCCEEDED
    return held or job.lost is not None
