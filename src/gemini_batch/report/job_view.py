"""How a job or a run stands, as a value for people and programs."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import address_of
from gemini_batch.report.next_steps import JobErrorInfo, explained, next_step
from gemini_batch.store.records import JobStage
from gemini_batch.wire import Phase, RemoteJob, state_word

if TYPE_CHECKING:
    from gemini_batch.session import Session, Target
    from gemini_batch.store.records import Job


NOT_CREATED = "NOT_CREATED"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one job. Times are ISO 8601, durations seconds; None is "not known"."""

    job: str | None
    """Name of the job, `batches/…`; null if it was not created."""
    run: str | None
    """Id of its run, `run-…`; null if the job was not made from this state folder."""
    name: str
    """Display name of the job."""
    state: str
    """`JOB_STATE_…` as the service says it, or `NOT_CREATED`."""
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
    """Where the answers are: `none yet`, `none`, `at the service` or `held here`."""
    backend: str
    """Base URL at which the job lives, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    usual: float | None
    """Median seconds that jobs of this model took here; null if none has ended."""
    usual_of: int
    """Number of jobs behind `usual`."""
    next: str | None
    """The next step, as a sentence or command."""

    @property
    def ended_badly(self) -> bool:
        """FAILED, EXPIRED, CANCELLED or anything else that is over and is not SUCCEEDED."""
        return not self.alive and not self.succeeded and self.state != NOT_CREATED


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run of several jobs."""

    run: str
    """Id of the run, `run-…`."""
    state: str
    """`FINISHED`, `RUNNING` (a job is alive) or `UNFINISHED` (none is, and there is work left)."""
    model: str
    """Model that the requests are for."""
    requests: int
    """Number of requests in the run."""
    answered: int
    """Requests that have an answer."""
    waiting: int
    """Requests that are still to be sent."""
    verdicts: dict[str, int]
    """Number of requests by verdict."""
    jobs: list[Status]
    """The jobs of the run as last seen, oldest first."""
    backend: str
    """Base URL at which the jobs live, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    next: str | None
    """The next step, as a sentence or command."""

    @property
    def alive(self) -> bool:
        """Whether there is anything left to send, to wait for or to collect."""
        return self.state != "FINISHED"

    @property
    def succeeded(self) -> bool:
        """Whether all of it is done; what became of each request is a matter of the results."""
        return self.state == "FINISHED"


def describe(
    session: Session, target: Target, job: Job | None, remote: RemoteJob | None, *, usual: bool = True
) -> Status:
    """Everything worth saying about a job, from what was just seen or from what the ledger holds."""
    now = session.world.now()
    seen = remote or _remembered(job)
    created = seen.create_time or (job.created_at if job else None)
    alive = not seen.phase.ended
    expiry = catalog.load().limits.job_expiry_hours.value * 3600.0
    collected = job is not None and job.stage is JobStage.COLLECTED
    took = (
        session.ledger(target.state_folder).durations(seen.model) if usual and target.run is not None and alive else []
    )
    age = None if created is None else max(0.0, (now if alive else (seen.end_time or now)) - created)
    return Status(
        job=seen.name or (job.batch if job else None),
        run=target.run.id if target.run else None,
        name=seen.display_name,
        state=seen.state,
        alive=alive,
        succeeded=seen.phase is Phase.SUCCEEDED,
        model=seen.model or (target.run.model if target.run else ""),
        total=seen.total or (target.run.requests if target.run else 0),
        done=seen.succeeded + seen.failed,
        succeeded_count=seen.succeeded,
        failed_count=seen.failed,
        pending_count=seen.pending,
        created=_iso(created),
        ended=_iso(seen.end_time) if seen.phase.ended else None,
        age=age,
        expires_in=None if created is None or not alive else created + expiry - now,
        error=explained(seen),
        results="held here" if collected else "at the service" if seen.has_output else "none yet" if alive else "none",
        backend=target.run.backend if target.run else address_of(session.settings),
        offline=session.settings.offline,
        usual=_median(took) if took else None,
        usual_of=len(took),
        next=next_step(seen, age, collected=collected),
    )


def _median(numbers: list[float]) -> float:
    from statistics import median  # brings fractions and decimals along, and most looks have no need of it

    return median(numbers)


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


def not_created(session: Session, target: Target, job: Job) -> Status:
    """A run whose create did not finish."""
    run = target.run
    assert run is not None
    doubt = job.stage is JobStage.INTENDED
    return Status(
        job=None,
        run=run.id,
        name=job.display_name,
        state=NOT_CREATED,
        alive=False,
        succeeded=False,
        model=run.model,
        total=run.requests,
        done=0,
        succeeded_count=0,
        failed_count=0,
        pending_count=run.requests,
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
        next=("A create was sent and not answered; the same command finds out what became of it: " if doubt else "")
        + f"gemini-batch create {shlex.quote(run.source or 'FILE')} --model {run.model}",
    )


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
