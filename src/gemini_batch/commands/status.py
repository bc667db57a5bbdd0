"""``status``: how a job or a run stands, in the service's words and in plain ones; and waiting for its end.

It never spends, never cancels, and a wait that ends (time, Ctrl-C) ends nothing but itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from gemini_batch.commands.job_names import check_name
from gemini_batch.engine.poller import observe, wait
from gemini_batch.errors import Next
from gemini_batch.events import Notice
from gemini_batch.report.job_view import JobStatus, RunStatus, describe, describe_run, run_facts
from gemini_batch.session import KnownJob, KnownRun, UnknownJob
from gemini_batch.store.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job


async def status(session: Session, name: str, *, wait: bool = False) -> JobStatus | RunStatus:
    """Ask for the state of a job (``batches/…``) or of a run (``run-…``) and its jobs, once.

    With ``wait``, as often as it takes until the job, or every living job of the run, has ended and its output is
    there; what was not sent yet stays so. Raises UsageError for a name that cannot be meant, ServiceError where the
    service cannot be asked, StateError.
    """
    check_name(name)
    target = session.locate(name)
    session = session.at(target)
    match target:
        case KnownRun():
            return await _run_status(session, target, wait=wait)
        case KnownJob():
            others = len(session.ledger().jobs_of(target.run.id)) - 1
            if others:
                session.emit(
                    Notice(
                        f"{target.name} is one of {others + 1} jobs of {target.run.id}.",
                        next=Next("status", target.run.id, why="all of the run"),
                    )
                )
            return await job_status(session, target, wait=wait)
        case UnknownJob():
            return await job_status(session, target, wait=wait)
        case never:
            assert_never(never)


async def job_status(session: Session, target: KnownJob | UnknownJob, *, wait: bool = False) -> JobStatus:
    """The state of one job: from the ledger where it cannot change any more, else by asking."""
    if isinstance(target, KnownJob) and (target.job.batch is None or _final(target.job)):
        return describe(session, target)
    session.check_bound(target)
    return describe(session, target, await (_wait(session, target) if wait else observe(session, target)))


_wait = wait  # `wait` is also the word of the option


def _final(job: Job) -> bool:
    """Whether what the ledger knows cannot change any more: an ended state is the last one."""
    if job.stage is JobStage.COLLECTED:
        return True
    return job.stage is JobStage.ENDED and (job.phase is not Phase.SUCCEEDED or job.output_file is not None)


async def _run_status(session: Session, target: KnownRun, *, wait: bool) -> RunStatus:
    """Every job as it is now, the living ones by asking for them."""
    jobs = []
    for job in session.ledger().jobs_of(target.run.id):
        one = KnownJob(target.run, job, target.offline)
        if job.stage is JobStage.CREATED:
            jobs.append(await job_status(session, one, wait=wait))
        else:
            jobs.append(describe(session, one, usual=False))
    return describe_run(session, run_facts(session, target.run), jobs)
