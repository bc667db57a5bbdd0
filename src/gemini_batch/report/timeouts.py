"""A bounded wait has ended: what is alive, and how to go on."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gemini_batch.errors import NotFinished, UsageError
from gemini_batch.report.durations import span
from gemini_batch.report.summary import Progress
from gemini_batch.store.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.session import Session, Target
    from gemini_batch.store.records import Job, Run

_NAMED = 3


def check_timeout(timeout: float | None) -> None:
    """Raises UsageError for a time that nothing can be done in."""
    if timeout is not None and not timeout > 0:
        raise UsageError(
            f"A timeout must be more than 0 seconds, not {timeout:g}.",
            field="--timeout",
            code="bad_argument",
            next="Leave it out to wait without a limit.",
        )


def nothing_sent(what: str, timeout: float) -> NotFinished:
    """The time was over before ``what`` (a file or a run) came to be worked on."""
    return NotFinished(
        f"{what} was still being checked after {span(timeout)}; this command has sent nothing.",
        job="",
        state="NOT_CREATED",
        code="timeout",
        next="Run the same command again, with more time.",
    )


def run_not_finished(session: Session, run: Run, timeout: float, *, output: Path | None) -> NotFinished:
    """How a run stands whose time is over, and the command that goes on with it."""
    state_folder = session.state_folder
    jobs = tuple(session.ledger(state_folder).jobs_of(run.id))
    progress = Progress()
    with state_folder.run(run.id).rows() as rows:
        progress.count(rows, run, jobs, frozenset())
        waiting = rows.waiting().requests
    parts = [f"{progress.done:,} of {run.requests:,} requests are done", _alive(jobs)]
    if waiting:
        parts.append(f"{waiting:,} wait to be sent")
    written = "" if output is None else f" -o {shlex.quote(str(output))}"
    return NotFinished(
        f"{run.id} is not finished after {span(timeout)}: {', '.join(parts)}. Nothing was cancelled.",
        job=run.id,
        state="RUNNING",
        code="timeout",
        next=f"To go on, type: gemini-batch run {run.id}{written}",
    )


def job_not_ended(session: Session, target: Target, timeout: float) -> NotFinished:
    """How a job stood when it was polled last, and the command that waits on."""
    job = None if target.job is None else session.ledger(target.state_folder).job(target.job.id)
    batch = (job.batch if job else None) or target.name
    state = (job.state if job else None) or ""
    counts = f", {(job.succeeded or 0) + (job.failed or 0):,} of {job.total:,} done" if job and job.total else ""
    seen = f" ({state}{counts})" if state else ""
    return NotFinished(
        f"{batch} is not finished after {span(timeout)}{seen}. Nothing was cancelled.",
        job=batch,
        state=state,
        code="timeout",
        next=f"To wait on, type: gemini-batch status {batch} --wait",
    )


def _alive(jobs: Sequence[Job]) -> str:
    """``2 jobs are alive (batches/a, batches/b)``."""
    living = [job.batch or job.id for job in jobs if job.stage is JobStage.CREATED]
    if not living:
        return "no job is alive"
    names = ", ".join(living[:_NAMED]) + (", …" if living[_NAMED:] else "")
    return f"{len(living)} {'job is' if len(living) == 1 else 'jobs are'} alive ({names})"
