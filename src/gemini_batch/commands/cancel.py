"""``cancel``: ask the service to stop a job, follow it to its end, and keep whatever it has answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.commands.job_names import check_name
from gemini_batch.engine.collector import collect
from gemini_batch.engine.create_policy import certainly_refused
from gemini_batch.engine.poller import job_status
from gemini_batch.errors import ApiError, JobError, UsageError
from gemini_batch.events import Notice
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.records import JobStage

if TYPE_CHECKING:
    from gemini_batch.report.job_view import Status
    from gemini_batch.session import Session, Target
    from gemini_batch.store.records import Job, Run


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job that was asked to stop."""

    job: str
    """Name of the job, or the id of the run."""
    asked: bool
    """True if the service was asked to stop it; false if it had ended."""
    state: str
    """State that was seen last."""
    answers: int | None
    """Requests that were answered; null if that is not known yet."""
    requests: int | None
    """Number of requests; null if that is not known yet."""
    next: str | None
    """The next step, as a sentence or command."""


async def cancel(session: Session, name: str, *, wait: bool = True) -> Cancelled:
    """Ask for a job's end; with ``wait``, follow it there and collect what it has answered by then.

    A job that was running mostly ends as SUCCEEDED all the same, with the answers that were finished; those are paid
    for. Raises UsageError for a job that was never created, ServiceError, StateError.
    """
    check_name(name)
    target = session.locate(name)
    if target.run is not None and name.startswith("run-"):
        jobs = session.ledger(target.state_folder).jobs_of(target.run.id)
        if len(jobs) != 1:
            return await _cancel_all(session, target, target.run, jobs)
    seen = await job_status(session, target)
    if seen.job is None:
        raise UsageError(
            f"{name} has no job yet, so there is nothing to cancel.",
            code="not_created",
            next=f"To make it: {seen.next}",
        )
    if not seen.alive:
        session.emit(Notice(f"{seen.job} has ended already ({seen.state})."))
        return await _harvest(session, seen, asked=False)
    session.check_bound(target)
    await _ask(session, target, target.job, seen.job)
    if not wait:
        session.emit(Notice(f"The service was asked to stop {seen.job}; it may take a while, and may come too late."))
        following = f"gemini-batch status {seen.job} --wait"
        return Cancelled(job=seen.job, asked=True, state=seen.state, answers=None, requests=None, next=following)
    session.emit(Notice("The service was asked to stop the job; following it to its end."))
    return await _harvest(session, await job_status(session, session.locate(name), wait=True), asked=True)


async def _cancel_all(session: Session, target: Target, run: Run, jobs: list[Job]) -> Cancelled:
    """Ask for the end of every living job of a run that nobody conducts at the moment.

    Collecting is ``run``'s part, and so is what has not been sent yet: it stays where it is until somebody says run.
    """
    living = [job for job in jobs if job.stage is JobStage.CREATED and job.batch]
    if not living:
        session.emit(Notice(f"{run.id} has no job that is alive."))
    asked = 0
    with target.state_folder.run(run.id).lock(wait=0.0):
        session.check_bound(target)
        for job in living:
            assert job.batch is not None
            try:
                await _ask(session, target, job, job.batch)
                asked += 1
            except ApiError as error:
                session.emit(Notice(f"{job.batch}: {error.message}", "warning"))
    return Cancelled(
        job=run.id,
        asked=bool(asked),
        state=f"{asked} of {len(jobs)} jobs asked to stop",
        answers=None,
        requests=run.requests,
        next=f"gemini-batch status {run.id}",
    )


async def _ask(session: Session, target: Target, job: Job | None, batch: str) -> None:
    """Ask for the end of one job. That the user wants it is written down first: nothing of it is sent again then."""
    ledger, now = session.ledger(target.state_folder) if job else None, session.world.now()
    if job is not None and ledger is not None:
        ledger.update_job(job, "cancel asked for", at=now, cancelled_at=now)
    try:
        await (await session.backend()).service.cancel(batch)
    except ApiError as error:
        if error.status == 400 and error.reason == "FAILED_PRECONDITION":
            return  # it has ended in this very moment
        if job is not None and ledger is not None and certainly_refused(error):
            ledger.update_job(job, "cancel refused", at=now, cancelled_at=None)
        raise session.explain_absence(error, target) from error


async def _harvest(session: Session, seen: Status, *, asked: bool) -> Cancelled:
    assert seen.job is not None
    target = session.locate(seen.job)
    part = None
    if target.run is not None and len(session.ledger(target.state_folder).jobs_of(target.run.id)) != 1:
        part = target.job
        if part is not None and part.stage is not JobStage.COLLECTED:  # its run collects it, with those beside it
            following = f"gemini-batch run {target.run.id}"
            return Cancelled(
                job=seen.job, asked=asked, state=seen.state, answers=None, requests=seen.total, next=following
            )
    try:
        run, job = await collect(session, target)
    except JobError as error:
        session.emit(Notice(error.message))
        return Cancelled(job=seen.job, asked=asked, state=seen.state, answers=0, requests=seen.total, next=None)
    with open_rows(session.locate(seen.job).state_folder.run(run.id), part) as rows:
        counts = rows.counts()
    requests = sum(counts.values())
    return Cancelled(
        job=seen.job,
        asked=asked,
        state=job.state or seen.state,
        answers=counts.get("succeeded", 0),
        requests=requests,
        next=f"gemini-batch results {seen.job} -o results.jsonl",
    )
