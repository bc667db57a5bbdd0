"""``status``: how a job or a run stands, in the service's words and in plain ones; and waiting for its end.

It never spends, never cancels, and a wait that ends (time, Ctrl-C) ends nothing but itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.commands.job_names import check_name
from gemini_batch.engine.backoff import PollBackoff
from gemini_batch.engine.poller import poll_job
from gemini_batch.engine.poller import wait as wait_for_end
from gemini_batch.errors import Next, ServiceError, UsageError
from gemini_batch.events import Notice
from gemini_batch.report.job_view import JobStatus, RunStatus, describe, describe_run, run_facts
from gemini_batch.report.timeouts import check_timeout, job_not_finished, run_not_finished
from gemini_batch.session import KnownJob, KnownRun, UnknownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job


async def status(
    session: Session,
    name: str,
    *,
    wait: bool = False,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and on the world's clock
) -> JobStatus | RunStatus:
    """Ask for the state of a job (``batches/…``) or of a run (``run-…``) and its jobs, once.

    With ``wait``, as often as it takes until the job, or every active job of the run, has ended and its output is
    there; what was not sent yet stays so. Raises UsageError for a name that cannot be meant, ServiceError where the
    service cannot be asked, NotFinished after ``timeout`` seconds of waiting, StateError.
    """
    check_timeout(timeout)
    if timeout is not None and not wait:
        raise UsageError(
            "--timeout has no effect without --wait.",
            field="--timeout",
            code="bad_argument",
            next="Add --wait, or leave out --timeout.",
        )
    deadline = session.world.deadline(timeout)
    check_name(name)
    target = session.locate(name)
    session = session.at(target)
    match target:
        case KnownRun():
            try:
                return await deadline.bound(_run_status(session, target, wait=wait))
            except TimeoutError:
                following = Next("status", target.run.id, "--wait")
                raise run_not_finished(session, target.run, deadline.seconds, following) from None
        case KnownJob():
            others = len(session.ledger().jobs_of(target.run.id)) - 1
            if others:
                session.emit(
                    Notice(
                        f"{target.name} is one of {others + 1} jobs of {target.run.id}.",
                        next=Next("status", target.run.id, why="all of the run"),
                    )
                )
        case UnknownJob():
            pass
        case never:
            assert_never(never)
    try:
        return await deadline.bound(job_status(session, target, wait=wait))
    except TimeoutError:
        raise job_not_finished(session, target, deadline.seconds) from None


async def job_status(session: Session, target: KnownJob | UnknownJob, *, wait: bool = False) -> JobStatus:
    """The state of one job: from the ledger where it cannot change any more, else by asking."""
    if isinstance(target, KnownJob) and (target.job.batch is None or _final(target.job)):
        return describe(session, target)
    session.check_bound(target)
    if wait:
        backoff = PollBackoff.of(session.settings, session.world.monotonic())
        return describe(session, target, await wait_for_end(session, target, backoff))
    return describe(session, target, (await poll_job(session, target)).job)


def _final(job: Job) -> bool:
    """Whether what the ledger knows cannot change any more: an ended state is the last one."""
    if job.stage is JobStage.COLLECTED or (job.stage is JobStage.ENDED and job.via == "flex"):
        return True  # the service knows no job of calls
    return job.stage is JobStage.ENDED and (job.phase is not Phase.SUCCEEDED or job.output_file is not None)


async def _run_status(session: Session, target: KnownRun, *, wait: bool) -> RunStatus:
    """Every job as it is now; those that can still change by asking for them.

    A job that the service does not know is described as it was last seen, unless it is the only one; a wait for it
    ends with the error when the others have ended. Raises ServiceError.
    """
    jobs: list[JobStatus] = []
    failed: list[ServiceError] = []
    for job in session.ledger().jobs_of(target.run.id):
        known = KnownJob(target.run, job, target.offline)
        try:
            jobs.append(await job_status(session, known, wait=wait))
        except ServiceError as error:
            if meaning(error) is not Trouble.ABSENT:
                raise
            failed.append(error)
            jobs.append(describe(session, known))
    if failed and (wait or len(failed) == len(jobs)):
        raise failed[0]
    for trouble in failed:
        session.emit(Notice(trouble.message, "warning", trouble.next))
    return describe_run(session, run_facts(session, target.run), jobs)
