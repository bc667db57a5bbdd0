"""``status``: how a job stands, in the service's words and in plain ones; and waiting for its end.

Looking never spends, never cancels, and a wait that ends (time, Ctrl-C) ends nothing but itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.commands.job_names import check_name
from gemini_batch.engine.poller import _look, job_status
from gemini_batch.errors import UsageError
from gemini_batch.events import Notice
from gemini_batch.report.job_view import RunStatus, Status, describe, not_created
from gemini_batch.report.timeouts import check_timeout, job_not_ended
from gemini_batch.session import Target
from gemini_batch.store.records import JobStage

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run


async def status(
    session: Session,
    name: str,
    *,
    wait: bool = False,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and on the world's clock
) -> Status | RunStatus:
    """Look at a job once, or until it has ended and its output is there; or at a run of several jobs, once.

    Raises UsageError for a name that cannot be meant, ServiceError where the service cannot be asked, NotFinished when
    the job has not ended after ``timeout`` seconds of waiting.
    """
    check_timeout(timeout)
    if timeout is not None and not wait:
        raise UsageError(
            "--timeout limits how long --wait waits, and --wait is missing.",
            field="--timeout",
            code="bad_argument",
            next="Add --wait, or leave --timeout out.",
        )
    deadline = session.world.deadline(timeout)
    check_name(name)
    target = session.locate(name)
    if target.run is not None:
        jobs = session.ledger(target.state_folder).jobs_of(target.run.id)
        if len(jobs) != 1 and not name.startswith("run-"):
            session.emit(
                Notice(
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
    try:
        return await deadline.bound(job_status(session, target, wait=wait))
    except TimeoutError:
        raise job_not_ended(session, target, deadline.seconds) from None


async def _run_status(session: Session, target: Target, run: Run, jobs: list[Job]) -> RunStatus:
    """Every job as it is now, the living ones by asking for them."""
    found = []
    for job in jobs:
        one = Target(job.batch or run.id, target.state_folder, run, job)
        if job.batch is None:
            found.append(not_created(session, one, job))
        elif job.stage is JobStage.CREATED:
            session.check_bound(one)
            found.append(await _look(session, one))
        else:
            found.append(describe(session, one, job, None, usual=False))
    with target.state_folder.run(run.id).rows() as rows:
        waiting, answered, counts = rows.waiting().requests, rows.answered(), rows.counts()
    finished = not waiting and all(job.stage is JobStage.COLLECTED for job in jobs)
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
