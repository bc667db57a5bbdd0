"""The state of a job or a run, as a value for people and programs. Every command that names one uses it."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import address_of
from gemini_batch.errors import Next  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.jsonl import count_lines
from gemini_batch.report.leftovers import cancelled_elsewhere, resendable, undone
from gemini_batch.report.money import AtMost, Money  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.report.next_steps import JobErrorInfo, explained, next_for_job, next_for_run
from gemini_batch.report.stragglers import typical
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.store.job_rows import sent_ordinals
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import kept_options
from gemini_batch.store.rows.census import Census
from gemini_batch.store.rows.conditions import HELD
from gemini_batch.vertex_place import is_vertex
from gemini_batch.wire import Phase, RemoteJob, state_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder


class RunState(enum.StrEnum):
    """How far a run has come.

    ``NOT_CREATED``: no job of it was created. ``RUNNING``: at least one job is alive. ``UNFINISHED``: none is, and
    requests are still to be sent or answers to be collected, also by a process that sends calls. ``FINISHED``: neither.
    """

    NOT_CREATED = "NOT_CREATED"
    RUNNING = "RUNNING"
    UNFINISHED = "UNFINISHED"
    FINISHED = "FINISHED"


#: The state of requests that a process sends as calls, or sent when it was stopped.
CALLING = "CALLING"


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one job. Times are ISO 8601, durations seconds; None means that it is not known."""

    job: str | None
    """Name of the job, `batches/…`; null if it was not created."""
    run: str | None
    """Id of its run, `run-…`; null if the job was not created from this state folder."""
    name: str
    """Display name of the job."""
    state: str
    """`JOB_STATE_…` as the service says it; `NOT_CREATED`; or `CALLING`: a command sends the requests as calls, or was
    stopped while it did."""
    alive: bool
    """True while the service may still work on the job."""
    succeeded: bool
    """True if the state is SUCCEEDED; single requests may have failed all the same."""
    model: str
    """Model that answers."""
    total: int
    """Number of requests in the job."""
    done: int
    """Requests that the service has finished, with or without success."""
    succeeded_count: int
    """Requests that the service counts as successful."""
    failed_count: int
    """Requests that the service counts as failed."""
    pending_count: int
    """Requests that the service has not finished."""
    created: str | None
    """Time at which the job was created."""
    ended: str | None
    """Time at which the job ended; null while it is alive."""
    age: float | None
    """Seconds since the creation, or from the creation to the end."""
    expires_in: float | None
    """Seconds until the job expires; null once it has ended."""
    error: JobErrorInfo | None
    """The service's error for the whole job."""
    results: str
    """Where the answers are: `none yet`, `none`, `at the service`, `held here` or `deleted here`."""
    backend: str
    """Base URL at which the job lives, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    usual: float | None
    """Median seconds that jobs of this model took here; null if none has ended."""
    usual_of: int
    """Number of jobs behind `usual`."""
    next: Next | None
    """The next command."""
    size: int | None = None
    """Bytes of the run's folder on this machine; null unless asked for."""
    usd: Money | None = None
    """What the answers of this job cost; null unless asked for, or if no answers are held here."""
    possibly_paid: AtMost | None = None
    """What its requests without an answer may have cost, besides `usd`; null unless asked for, or while it may still
    answer."""

    @property
    def ended_badly(self) -> bool:
        """FAILED, EXPIRED, CANCELLED or anything else that is over and did not succeed."""
        return not self.alive and not self.succeeded and self.state not in {RunState.NOT_CREATED, CALLING}


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run."""

    run: str
    """Id of the run, `run-…`."""
    state: RunState
    """`NOT_CREATED`: no job was created. `RUNNING`: a job is alive. `UNFINISHED`: work is left. `FINISHED`: none is."""
    model: str
    """Model that the requests are for."""
    requests: int
    """Number of requests in the run."""
    answered: int
    """Requests that have an answer."""
    waiting: int
    """Requests that are to be sent, for the first time or again."""
    not_sent: int
    """Requests that were never sent."""
    held_back: int
    """Those of `not_sent` that `--limit` or `--sample` left out."""
    verdicts: dict[str, int]
    """Number of requests by verdict."""
    jobs: list[JobStatus]
    """The jobs of the run, oldest first."""
    backend: str
    """Base URL at which the jobs live, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    next: Next | None
    """The next command."""

    @property
    def alive(self) -> bool:
        """Whether anything is left to send, to wait for or to collect."""
        return self.state is not RunState.FINISHED

    @property
    def succeeded(self) -> bool:
        """Whether all of it is done; what became of each request is a matter of the results."""
        return self.state is RunState.FINISHED

    @property
    def ended_badly(self) -> bool:
        """Whether it is finished and has no answer at all."""
        return self.state is RunState.FINISHED and not self.answered


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is recorded of a run: its jobs without the dropped ones, and counts of requests as in :class:`RunStatus`.

    ``lost``: its folder is gone, so nothing is known of its requests.
    ``stopped``: someone else cancelled a job, and the user has not said what to do about it.
    """

    run: Run
    jobs: tuple[Job, ...]
    census: Census
    waiting: int
    not_sent: int
    lost: bool = False
    stopped: bool = False

    @property
    def held(self) -> int:
        """How many requests a trial leaves out."""
        return self.census.at(HELD)

    @property
    def answered(self) -> int:
        """How many requests have an answer."""
        return self.census.answered

    @property
    def verdicts(self) -> dict[str, int]:
        """Requests by verdict; one that was never sent is not missing."""
        return self.census.verdicts(unsent=self.not_sent)

    @property
    def state(self) -> RunState:
        """How far the run has come."""
        if any(job.stage is JobStage.CREATED for job in self.jobs):
            return RunState.RUNNING
        if self.calling:
            return RunState.UNFINISHED
        if not any(job.stage.made for job in self.jobs):
            if self.jobs or not self.answered:
                return RunState.NOT_CREATED
            return RunState.UNFINISHED if self.waiting else RunState.FINISHED  # other runs have its answers
        done = not self.waiting and all(job.stage is JobStage.COLLECTED for job in self.jobs)
        return RunState.FINISHED if done else RunState.UNFINISHED

    @property
    def unsent(self) -> int:
        """How many requests are to be sent for the first time."""
        return self.not_sent - self.held

    @property
    def in_doubt(self) -> bool:
        """Whether a create was sent and not answered."""
        return any(job.in_doubt for job in self.jobs)

    @property
    def calling(self) -> bool:
        """Whether a process sends requests as calls, or did when it was stopped."""
        return any(job.is_calling for job in self.jobs)

    @property
    def next(self) -> Next:
        """What to do next."""
        return next_for_run(
            self.run,
            self.state.value,
            waiting=self.waiting,
            in_doubt=self.in_doubt,
            calling=self.calling,
            lost=self.lost,
            stopped=self.stopped,
        )


def run_facts(session: Session, run: Run) -> RunFacts:
    """Read what is recorded of a run. Raises StateError."""
    return facts_of(session.state_folder.run(run.id), run, tuple(session.ledger().jobs_of(run.id)))


def facts_of(folder: RunFolder, run: Run, jobs: tuple[Job, ...]) -> RunFacts:
    """The same, with the ``jobs`` as they were read from the ledger."""
    unknown = not run.requests_known and not any(job.stage is JobStage.COLLECTED for job in jobs)
    lost = not folder.path.is_dir()
    if unknown or lost:
        # The requests of an adopted job are learned from its answers; those of a folder that is gone, never.
        return RunFacts(run=run, jobs=jobs, census=Census(), waiting=0, not_sent=0, lost=lost)
    sent = sent_ordinals(jobs)
    with folder.rows() as rows:
        census = rows.census()
        left = undone(jobs, census)
        return RunFacts(
            run=run,
            jobs=jobs,
            census=census,
            waiting=census.to_send(sent) + resendable(rows, left, kept_options(run).most_attempts),
            not_sent=rows.unsent(sent),
            stopped=bool(cancelled_elsewhere(rows, left)),
        )


def describe_run(session: Session, facts: RunFacts, jobs: Sequence[JobStatus]) -> RunStatus:
    """A run with its jobs as they were just seen."""
    finished = facts.state is RunState.FINISHED
    return RunStatus(
        run=facts.run.id,
        state=facts.state,
        model=facts.run.model,
        requests=facts.run.requests,
        answered=facts.answered,
        waiting=facts.waiting,
        not_sent=facts.not_sent,
        held_back=facts.held,
        verdicts={verdict: count for verdict, count in facts.verdicts.items() if finished or verdict != "missing"},
        jobs=list(jobs),
        backend=facts.run.backend,
        offline=session.settings.offline,
        next=facts.next,
    )


def describe(
    session: Session, target: KnownJob | UnknownJob, remote: RemoteJob | None = None, *, usual: bool = True
) -> JobStatus:
    """Everything worth saying about a job, from what was just seen or from what the ledger holds.

    A job that is not created yet stands there with its run's id and how many requests it is to have.
    """
    now = session.world.now()
    job = session.ledger().job(target.job.id) if isinstance(target, KnownJob) else None
    run = target.run if isinstance(target, KnownJob) else None
    if job is not None and job.batch is None:
        assert run is not None
        return not_created(session, run, [job], job.requests)
    seen = remote or _remembered(job)
    created = seen.create_time or (job.created_at if job else None)
    alive = not seen.phase.ended
    vertex = is_vertex(run.backend) if run is not None else seen.name.startswith("projects/")
    expiry = catalog.load().limits.of_job(vertex=vertex).expiry
    collected = job is not None and job.stage is JobStage.COLLECTED
    # A job that ended without any answer is collected, too.
    answered = seen.phase is Phase.SUCCEEDED or seen.has_output or seen.succeeded + seen.failed > 0
    held = job is not None and collected and job.lost is None and answered
    took = session.ledger().durations(seen.model) if usual and run is not None and alive else []
    age = None if created is None else max(0.0, (now if alive else (seen.end_time or now)) - created)
    return JobStatus(
        job=seen.name or (job.batch if job else None),
        run=run.id if run else None,
        name=seen.display_name,
        state=seen.state,
        alive=alive,
        succeeded=seen.phase is Phase.SUCCEEDED,
        model=seen.model or (run.model if run else ""),
        total=seen.total or (job.requests if job else 0),
        done=seen.succeeded + seen.failed,
        succeeded_count=seen.succeeded,
        failed_count=seen.failed,
        pending_count=seen.pending,
        created=_iso(created),
        ended=_iso(seen.end_time) if seen.phase.ended else None,
        age=age,
        expires_in=None if created is None or not alive else created + expiry - now,
        error=explained(seen),
        results=_where(seen, held=held, freed=run is not None and run.freed_at is not None, alive=alive),
        backend=run.backend if run else address_of(session.settings),
        offline=session.settings.offline,
        usual=typical(took),
        usual_of=len(took),
        next=next_for_job(seen, run, age, collected=collected),
    )


def _where(seen: RemoteJob, *, held: bool, freed: bool, alive: bool) -> str:
    """Where the answers of a job are."""
    if held:
        return "deleted here" if freed else "held here"
    return "at the service" if seen.has_output else "none yet" if alive else "none"


def not_created(session: Session, run: Run, jobs: Sequence[Job], requests: int) -> JobStatus:
    """The ``requests`` of a run that no job was created for yet; ``jobs`` are those planned for them."""
    in_doubt, calling = any(job.in_doubt for job in jobs), [job for job in jobs if job.is_calling]
    folder = session.state_folder.run(run.id)
    lost, none = not folder.path.is_dir(), RunState.NOT_CREATED.value
    following = next_for_run(run, none, waiting=requests, in_doubt=in_doubt, calling=bool(calling), lost=lost)
    done = sum(count_lines(folder.raw(job.id)) for job in calling)
    return JobStatus(
        job=None,
        run=run.id,
        name=jobs[-1].display_name if jobs else "",
        state=CALLING if calling else none,
        alive=False,
        succeeded=False,
        model=jobs[-1].model if jobs else run.model,
        total=requests,
        done=done,
        succeeded_count=done,
        failed_count=0,
        pending_count=requests - done,
        created=None,
        ended=None,
        age=max(0.0, session.world.now() - run.created_at),
        expires_in=None,
        error=None,
        results="none",
        backend=run.backend,
        offline=session.settings.offline,
        usual=None,
        usual_of=0,
        next=following,
    )


def _remembered(job: Job | None) -> RemoteJob:
    assert job is not None
    assert job.batch is not None
    return RemoteJob(
        name=job.batch,
        state=job.state or state_word(None),
        phase=job.phase or Phase.UNKNOWN,
        display_name=job.display_name,
        model=job.model,
        total=job.total or 0,
        succeeded=job.succeeded or 0,
        failed=job.failed or 0,
        pending=job.pending or 0,
        create_time=job.created_at,
        end_time=job.ended_at,
        error_code=job.error_code,
        error_message=job.error_message,
        output_file=job.output_file,
    )


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
