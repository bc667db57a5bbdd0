"""``create``: one job from one file, exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import key_of
from gemini_batch.engine.create_policy import standing
from gemini_batch.engine.planner import reconcile
from gemini_batch.engine.submitter import Submitter
from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.events import Notice
from gemini_batch.intake.model_checks import say
from gemini_batch.intake.submission import Submission, check_submission, default_name, stage_run, warn_of_other_keys
from gemini_batch.report.billing import paid_again
from gemini_batch.store.records import Job, JobStage, Run
from gemini_batch.store.state_folder import is_one_job
from gemini_batch.validation.inputfile import check_file
from gemini_batch.wire import remote_job, state_word

if TYPE_CHECKING:
    from gemini_batch.catalog import Method
    from gemini_batch.intake.staging import Staged
    from gemini_batch.session import Session
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.state_folder import RunFolder


#: What the service's envelope adds to each inline request; its exact size depends on the key.
_INLINE_OVERHEAD = 64
#: A job that is known here has been seen to be unknown at the service and back a moment later.
_ABSENCE_WAITS = (1.0, 2.0)


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What ``create`` did."""

    job: str
    """Name of the job at the service, `batches/…`."""
    run: str
    """Id of the run that holds the requests, `run-…`."""
    name: str
    """Display name of the job."""
    state: str
    """State of the job, `JOB_STATE_…`."""
    model: str
    """Model that answers."""
    method: Method
    """What the job does with each request."""
    requests: int
    """Number of requests."""
    bytes: int
    """Size of the requests."""
    attached: bool
    """True if the job existed before and nothing was sent."""
    backend: str
    """Base URL at which the job lives, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    warnings: list[str]
    """Warnings about the requests or the model, as sentences."""


async def create(session: Session, submission: Submission) -> Created:
    """Validate the file, then make one job of it, or attach to the one that these requests already have.

    Raises UsageError (InvalidInput with all problems) before anything is sent, StateError, ServiceError.
    """
    check_submission(submission)
    check_file(submission.source)  # what is wrong with the file itself is said before a missing key
    key_of(session.settings)
    ledger = session.ledger()
    limits = catalog.load().limits
    token = session.world.token(8)
    with session.state_folder.staging(token) as folder:
        run, staged, said = await stage_run(
            session, submission, folder, run_id=f"run-{token}", job=1, max_bytes=limits.input_file_bytes.value
        )
        _check_size(submission, staged, limits)
        run, job, ours = await _enter(session, ledger, folder, (run, staged), submission)
    attached = not ours and job.stage.made
    if not attached:
        job, attached = await _finish(session, ledger, run, job, submission)
    if attached:
        session.emit(
            Notice(
                f"These requests already have a job: {job.batch} ({job.state or 'state not seen yet'}); "
                "nothing was sent.",
                next=f"Use --new to make another one{paid_again(session.settings)}.",
            )
        )
    if submission.name not in {None, job.display_name}:
        session.emit(Notice(f"--name {submission.name!r} changes nothing: the job is called {job.display_name!r}."))
    assert job.batch is not None
    if job.total and job.total != run.requests:
        say(session, said, f"The service counts {job.total} requests, {run.requests} were sent.", None)
    return Created(
        job=job.batch,
        run=run.id,
        name=job.display_name,
        state=job.state or state_word(None),
        model=run.model,
        method=run.method,
        requests=run.requests,
        bytes=run.bytes,
        attached=attached,
        backend=run.backend,
        offline=session.settings.offline,
        warnings=said,
    )


async def _enter(
    session: Session, ledger: Ledger, folder: RunFolder, new: tuple[Run, Staged], submission: Submission
) -> tuple[Run, Job, bool]:
    """Enter the run into the ledger, or find the one that stands for it: ``(run, its job, whether it is new)``."""
    run, staged = new
    assert run.identity is not None
    while True:
        known = ledger.newest_with_identity(run.identity)
        if known is not None and not submission.new:
            jobs = ledger.jobs_of(known.id)
            ever = ledger.all_jobs_of(known.id)
            if not jobs and len(ever) == 1 and known.options is None:
                return known, ever[0], False  # its job was never made and then forgotten: it is made after all
            if not is_one_job(session.state_folder.run(known.id), known, jobs):
                raise _of_several(known, submission)
            job = await _refreshed(session, ledger, jobs[0])
            if job.lost == "JOB_GONE":
                raise _gone(session, job, None)
            if standing(job) != "over":
                return known, job, False
            session.emit(
                Notice(f"The earlier job of these requests ended without results ({job.state}); making another.")
            )
        job = Job(
            id=f"{run.id}-1",
            run=run.id,
            ordinal=1,
            model=run.model,
            requests=run.requests,
            tokens=staged.tokens,
            part=None,
            offset=0,
            bytes=run.bytes,
            sha256=run.sha256,
            input_kind="inline" if submission.inline else "file",
            display_name=submission.name if submission.name is not None else default_name(submission.source, run.id),
            stage=JobStage.PLANNED,
        )
        place = session.state_folder.run(run.id)
        # The folder stands before the ledger speaks of it; a folder that no ledger knows is only disk space.
        folder.path.rename(place.path)
        if ledger.add_run(run, job, at=session.world.now(), unless=known.id if known else None):
            warn_of_other_keys(session, run)
            return run, job, True
        # Another process has entered the same requests in this very moment: its run is the one.
        place.path.rename(folder.path)


async def _finish(session: Session, ledger: Ledger, run: Run, job: Job, submission: Submission) -> tuple[Job, bool]:
    """Drive the run's job until it is made; ``(the job, whether somebody else had made it meanwhile)``."""
    place = session.state_folder.run(run.id)
    async with session.locked(place):
        job = ledger.job(job.id)
        if job.stage.made:
            return job, True
        if job.dropped_at is not None:
            if ledger.jobs_of(run.id):
                raise _of_several(run, submission)
            job = _planned_again(session, ledger, run, job, submission)
        if job.stage is not JobStage.INTENDED and submission.name not in {None, job.display_name}:
            job = ledger.update_job(job, "named", at=session.world.now(), display_name=submission.name)
        backend = await session.backend()
        return await Submitter(session, backend.service, ledger, run, place).make(job), False


def _planned_again(session: Session, ledger: Ledger, run: Run, job: Job, submission: Submission) -> Job:
    """A job that was forgotten before it was made is to be made after all. The caller holds the run's lock.

    Raises UsageError where it would not have all of the run's requests.
    """
    with session.state_folder.run(run.id).rows() as rows:
        reconcile(ledger, rows, run)
        if rows.waiting().requests != run.requests:
            raise _of_several(run, submission)
        rows.take(job.ordinal, requests=run.requests, bytes=run.bytes, tokens=None)
    return ledger.update_job(
        job,
        "planned again",
        at=session.world.now(),
        stage=JobStage.PLANNED,
        file=None,
        upload_url=None,
        dropped_at=None,
    )


def _of_several(run: Run, submission: Submission) -> UsageError:
    return UsageError(
        f"These requests are worked off by {run.id}, in several jobs.",
        file=submission.source,
        code="already_run",
        next=f"Type: gemini-batch run {run.id} to go on with it, or create --new for one more job.",
    )


def _gone(session: Session, job: Job, error: ApiError | None) -> ApiError:
    return ApiError(
        f"These requests have a job, {job.batch}, and the service does not know it (404).",
        status=404,
        reason=error.reason if error else "NOT_FOUND",
        code="job_not_found",
        next=f"Somebody may have deleted it. --new makes another one{paid_again(session.settings)}.",
    )


async def _refreshed(session: Session, ledger: Ledger, job: Job) -> Job:
    """The job as it is now, where the service says so; as last seen, where it does not.

    A job that the service does not know (404, several times) may be back in a moment, or deleted and paid for all the
    same: that is for the user to judge. Raises ApiError then.
    """
    if job.stage is not JobStage.CREATED or job.batch is None:
        return job
    service = (await session.backend()).service
    absences = 0
    while True:
        try:
            return ledger.seen(job, remote_job(await service.get(job.batch)), at=session.world.now())
        except ApiError as error:
            if error.status != 404:
                return job
            if absences == len(_ABSENCE_WAITS):
                raise _gone(session, job, error) from error
        except ServiceError:
            return job
        await session.world.sleep(_ABSENCE_WAITS[absences])
        absences += 1


def _check_size(submission: Submission, staged: Staged, limits: catalog.Limits) -> None:
    if submission.inline:
        size = staged.bytes + staged.requests * _INLINE_OVERHEAD
        most = limits.inline_body_bytes.value
        if size > most:
            raise UsageError(
                f"{size:,} bytes are too many to send inline; the service takes {most:,}.",
                file=submission.source,
                code="too_large",
                next="Leave out --inline: a file may be 2 GB.",
            )
    elif staged.bytes > limits.input_file_bytes.value:
        raise UsageError(
            f"{staged.bytes:,} bytes are more than one job's file may have ({limits.input_file_bytes.value:,}).",
            file=submission.source,
            code="too_large",
            next="Split the file by lines and create a job from each part.",
        )
