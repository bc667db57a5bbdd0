"""``status``: how a job stands, in the service's words and in plain ones; and waiting for its end.

Looking never spends, never cancels, and a wait that ends (time, Ctrl-C) ends nothing but itself.
"""

from __future__ import annotations

import datetime as dt
import shlex
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import address_of
from gemini_batch.errors import ApiError, NetworkError, ServiceError, UsageError
from gemini_batch.runs.decide import poll_wait
from gemini_batch.runs.events import Said, Seen
from gemini_batch.runs.meaning import JobErrorInfo, explained, next_step
from gemini_batch.runs.names import check_name, helped
from gemini_batch.runs.records import Life
from gemini_batch.runs.session import Target
from gemini_batch.wire import Phase, RemoteJob, remote_job, state_word

if TYPE_CHECKING:
    from gemini_batch.backend import Service
    from gemini_batch.runs.records import Job, Run
    from gemini_batch.runs.session import Session

#: A job that is known here and suddenly unknown there has been seen to be back a moment later.
_ABSENCES = 3
#: Waiting goes on through failures of the service for so many seconds without one good answer.
_PATIENCE = 3600.0
#: Jobs have been seen as SUCCEEDED before their output was there.
_OUTPUT_PATIENCE = 600.0
#: Offline a job moves on only while it is asked for, so that long waits between two looks would only make it late.
_OFFLINE_POLL = 0.25

NOT_CREATED = "NOT_CREATED"


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How one job stands. Times are ISO 8601, durations seconds; None is "not known"."""

    job: str | None
    run: str | None
    name: str
    state: str
    alive: bool
    succeeded: bool
    model: str
    total: int
    done: int
    succeeded_count: int
    failed_count: int
    pending_count: int
    created: str | None
    ended: str | None
    age: float | None
    expires_in: float | None
    error: JobErrorInfo | None
    results: str
    backend: str
    offline: bool
    usual: float | None
    usual_of: int
    next: str | None

    @property
    def ended_badly(self) -> bool:
        """FAILED, EXPIRED, CANCELLED or anything else that is over and is not SUCCEEDED."""
        return not self.alive and not self.succeeded and self.state != NOT_CREATED


class RunStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a run of several jobs stands. ``state`` is FINISHED, RUNNING (jobs are alive) or UNFINISHED (none is,
    and something is still to be sent or collected); jobs are as last seen, oldest first."""

    run: str
    state: str
    model: str
    requests: int
    answered: int
    waiting: int
    verdicts: dict[str, int]
    jobs: list[Status]
    backend: str
    offline: bool
    next: str | None

    @property
    def alive(self) -> bool:
        """Whether there is anything left to send, to wait for or to collect."""
        return self.state != "FINISHED"

    @property
    def succeeded(self) -> bool:
        """Whether all of it is done; what became of each request is a matter of the results."""
        return self.state == "FINISHED"


async def status(session: Session, name: str, *, wait: bool = False) -> Status | RunStatus:
    """Look at a job once, or until it has ended and its output is there; or at a run of several jobs, once.

    Raises UsageError for a name that cannot be meant, ServiceError where the service cannot be asked.
    """
    check_name(name)
    target = session.locate(name)
    if target.run is not None:
        jobs = session.ledger(target.home).jobs_of(target.run.id)
        if len(jobs) != 1 and not name.startswith("run-"):
            session.tell(
                Said(
                    f"{target.name} is one of {len(jobs)} jobs of {target.run.id}.",
                    next=f"For all of the run: gemini-batch status {target.run.id}",
                )
            )
        elif len(jobs) != 1:
            if wait:
                raise UsageError(
                    f"{name} has {len(jobs)} jobs, and somebody has to conduct them.",
                    code="run_needs_run",
                    next=f"Type: gemini-batch run {name}",
                )
            return await _run_status(session, target, target.run, jobs)
    return await job_status(session, target, wait=wait)


async def job_status(session: Session, target: Target, *, wait: bool = False) -> Status:
    """Look at the one job that a name means."""
    job = target.job
    if job is not None and job.batch is None:
        return not_created(session, target, job)
    if job is not None and _final(job):
        return describe(session, target, job, None)
    session.check_bound(target)
    return await (_wait(session, target) if wait else _look(session, target))


async def _run_status(session: Session, target: Target, run: Run, jobs: list[Job]) -> RunStatus:
    """Every job as it is now, the living ones by asking for them."""
    found = []
    for job in jobs:
        one = Target(job.batch or run.id, target.home, run, job)
        if job.batch is None:
            found.append(not_created(session, one, job))
        elif job.life is Life.CREATED:
            session.check_bound(one)
            found.append(await _look(session, one))
        else:
            found.append(describe(session, one, job, None, usual=False))
    with target.home.run(run.id).rows() as rows:
        waiting, answered, counts = rows.waiting().requests, rows.answered(), rows.counts()
    finished = not waiting and all(job.life is Life.COLLECTED for job in jobs)
    alive = any(one.alive for one in found)
    return RunStatus(
        run=run.id,
        state="FINISHED" if finished else "RUNNING" if alive else "UNFINISHED",
        model=run.model,
        requests=run.requests,
        answered=answered,
        waiting=waiting,
        verdicts={verdict: count for verdict, count in counts.items() if finished or verdict != "missing"},
        jobs=found,
        backend=run.backend,
        offline=session.settings.offline,
        next=f"gemini-batch results {run.id} -o results.jsonl" if finished else f"gemini-batch run {run.id}",
    )


def _final(job: Job) -> bool:
    """Whether what the ledger knows cannot change any more: an ended state is the last one."""
    if job.life is Life.COLLECTED:
        return True
    return job.life is Life.ENDED and (job.phase is not Phase.SUCCEEDED or job.output_file is not None)


async def observe(session: Session, target: Target) -> RemoteJob:
    """Ask the service for a job once, and write what it says into the ledger if the job is known there."""
    job = target.job
    batch = job.batch if job is not None else target.name
    assert batch is not None
    backend = await session.backend()
    try:
        remote = remote_job(await backend.service.get(batch))
    except (ApiError, NetworkError) as error:
        listed = await _listed(backend.service, batch, error)
        if listed is None:
            if isinstance(error, NetworkError):
                raise
            raise helped(session, target, session.explain_absence(error, target)) from error
        remote = listed
    if job is not None:
        session.ledger(target.home).seen(job, remote, at=session.world.now())
    return remote


async def _listed(service: Service, batch: str, error: ApiError | NetworkError) -> RemoteJob | None:
    """How a job stands by the list, where the service cannot show the job itself in time; None where that is no help.

    A job that holds gigabytes of inline answers has been seen to answer 503 after a minute, every time, while the
    list, which leaves answers out, stays quick.
    """
    if not (error.sent if isinstance(error, NetworkError) else error.status in {503, 504}):
        return None
    try:
        async for page in service.listing():
            for operation in page:
                if operation.name == batch:
                    return remote_job(operation)
    except ServiceError:
        return None
    return None


async def _look(session: Session, target: Target) -> Status:
    remote = await observe(session, target)
    job = session.ledger(target.home).job(target.job.id) if target.job else None
    return describe(session, target, job, remote)


async def _wait(session: Session, target: Target) -> Status:
    now = session.world.now
    began = last_good = now()
    ended_at: float | None = None
    polls = absences = 0
    fixed = session.settings.poll
    if fixed is None and session.settings.offline:
        fixed = _OFFLINE_POLL
    while True:
        remote: RemoteJob | None = None
        try:
            remote = await observe(session, target)
            last_good, absences = now(), 0
        except ServiceError as error:
            absences += isinstance(error, ApiError) and error.status == 404
            if not _worth_waiting(error, absences, known=target.job is not None) or now() - last_good > _PATIENCE:
                raise
            session.tell(Said(f"{error.message} Still waiting.", "warning"))
        if remote is not None and remote.phase.ended:
            ended_at = ended_at if ended_at is not None else now()
            complete = remote.has_output or remote.phase is not Phase.SUCCEEDED
            if complete or now() - ended_at > _OUTPUT_PATIENCE:
                job = session.ledger(target.home).job(target.job.id) if target.job else None
                return describe(session, target, job, remote)
        waited = now() - began
        pause = poll_wait(polls, waited, fixed=fixed)
        polls += 1
        if remote is not None:
            session.tell(Seen(remote, waited, pause))
        await session.world.sleep(pause * session.world.uniform(0.9, 1.1))


def _worth_waiting(error: ServiceError, absences: int, *, known: bool) -> bool:
    if isinstance(error, NetworkError):
        return True
    if isinstance(error, ApiError):
        if error.status == 404:
            return known and absences < _ABSENCES and error.reason_code != "other_key"
        return error.status in {408, 429} or error.status >= 500
    # Something between here and the service has answered in its place, or has cut its answer short.
    return error.reason_code == "unreadable_answer"


def describe(
    session: Session, target: Target, job: Job | None, remote: RemoteJob | None, *, usual: bool = True
) -> Status:
    """Everything worth saying about a job, from what was just seen or from what the ledger holds."""
    now = session.world.now()
    seen = remote or _remembered(job)
    created = seen.create_time or (job.created_at if job else None)
    alive = not seen.phase.ended
    expiry = catalog.load().limits.job_expiry_hours.value * 3600.0
    collected = job is not None and job.life is Life.COLLECTED
    took = session.ledger(target.home).durations(seen.model) if usual and target.run is not None and alive else []
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
    doubt = job.life is Life.INTENDED
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
