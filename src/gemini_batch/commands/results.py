"""``results``: collect a job's answers if they are not held yet, and describe what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.commands.job_names import check_name
from gemini_batch.engine.collector import collect
from gemini_batch.errors import ApiError, NotFinished
from gemini_batch.events import Notice
from gemini_batch.report.next_steps import helped
from gemini_batch.report.result_set import Results
from gemini_batch.report.summary import summarize
from gemini_batch.store.integrity import check_held
from gemini_batch.store.records import JobStage
from gemini_batch.store.state_folder import is_one_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.session import Session, Target
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.state_folder import StateFolder


async def results(session: Session, name: str) -> Results:
    """Collect a job's answers if they are not held yet, and describe what came of it.

    Raises NotFinished while the job is alive, JobError where there is nothing, UsageError, ServiceError, StateError.
    """
    check_name(name)
    target = session.locate(name)
    offline = session.settings.offline
    if target.run is not None:
        jobs = _counted(session, target.state_folder, target.run)
        if target.run.origin == "made" and not is_one_job(target.state_folder.run(target.run.id), target.run, jobs):
            if not name.startswith("run-"):
                return _of_one_job(session, target, len(jobs))
            check_held(target.state_folder.run(target.run.id), target.run, name, offline=offline)
            _check_finished(target, jobs)
            return Results(
                target.run, jobs, target.state_folder, summarize(target.state_folder, target.run, jobs, offline=offline)
            )
    try:
        run, job = await collect(session, target)
    except ApiError as error:
        raise helped(session, target, error) from error
    check_held(target.state_folder.run(run.id), run, target.name, offline=offline)
    return Results(run, [job], target.state_folder, summarize(target.state_folder, run, [job], offline=offline))


def _of_one_job(session: Session, target: Target, jobs: int) -> Results:
    """What one job of several has answered itself. Raises NotFinished where that is not held here yet."""
    run, job = target.run, target.job
    assert run is not None
    assert job is not None
    if job.stage is not JobStage.COLLECTED:
        raise NotFinished(
            f"{target.name} is a part of {run.id}, and its answers are not collected yet ({job.state}).",
            job=target.name,
            state=job.state or "",
            next=f"Type: gemini-batch run {run.id}",
        )
    check_held(target.state_folder.run(run.id), run, target.name, offline=session.settings.offline)
    of = f"one of {jobs} jobs of {run.id}" if jobs > 1 else f"a job of {run.id}, which has more to send"
    whole = f"For all of the run: gemini-batch {'results' if jobs > 1 else 'run'} {run.id}"
    session.emit(Notice(f"{target.name} is {of}; these are its own answers.", next=whole))
    summary = summarize(target.state_folder, run, [job], offline=session.settings.offline, part=job)
    return Results(run, [job], target.state_folder, summary, part=job)


def _counted(session: Session, state_folder: StateFolder, run: Run) -> list[Job]:
    return session.ledger(state_folder).jobs_of(run.id)


def _check_finished(target: Target, jobs: Sequence[Job]) -> None:
    """A run of several jobs is read as a whole, once nothing of it is alive and every request was sent.

    What only waits for another attempt, or is planned for one that the service may have refused, keeps nothing back.
    """
    run = target.run
    assert run is not None
    planned = [job.ordinal for job in jobs if not job.stage.made and job.stage is not JobStage.INTENDED]
    with target.state_folder.run(run.id).rows() as rows:
        waiting, unsent = rows.waiting().requests, rows.unsent(planned)
    done = sum(job.stage is JobStage.COLLECTED for job in jobs)
    if unsent or done + len(planned) < len(jobs):
        raise NotFinished(
            f"{run.id} is not finished: {done} of {len(jobs)} jobs are collected, and {waiting:,} requests wait.",
            job=run.id,
            state="RUNNING",
            next=f"Type: gemini-batch run {run.id}",
        )
