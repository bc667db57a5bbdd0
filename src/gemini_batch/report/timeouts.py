"""A bounded wait has ended: what is alive, and how to continue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.errors import Next, NotFinished, UsageError
from gemini_batch.report.job_view import run_facts
from gemini_batch.report.leftovers import leftovers, undone
from gemini_batch.report.next_steps import costing
from gemini_batch.report.summary import Progress
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import kept_options
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.report.job_view import RunFacts
    from gemini_batch.session import Session, UnknownJob
    from gemini_batch.store.ledger.records import Job, Run

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
        f"{what} was still being checked after {span(timeout)}. Nothing was sent.",
        job="",
        state="NOT_CREATED",
        code="timeout",
        next="Run the same command again with a longer timeout.",
    )


def work_to_go_on(run: Run, output: Path | None, style: Sequence[str] = ()) -> Next:
    """The command that goes on with a run, writing to the same file; ``style``: the options that say how."""
    chosen = kept_options(run).selection
    words = chosen.words if chosen is not None else ()
    to = () if output is None else ("-o", str(output), *style)
    return Next("run", run.id, *words, *to, why=costing(run, "continues"))


def run_not_finished(session: Session, run: Run, timeout: float, following: Next) -> NotFinished:
    """How a run stands whose time is over, and the command that goes on with it."""
    facts = run_facts(session, run)
    parts = [_alive(facts.jobs)]
    if doubtful := sum(job.in_doubt for job in facts.jobs):
        parts.append(f"{doubtful} create {'call' if doubtful == 1 else 'calls'} got no answer")
    if run.requests_known:
        parts.insert(0, f"{_done(session, facts):,} of {run.requests:,} requests are done")
    if facts.waiting:
        parts.append(f"{facts.waiting:,} are to be sent")
    return NotFinished(
        f"{run.id} has not finished after {span(timeout)}: {', '.join(parts)}. Nothing was cancelled.",
        job=run.id,
        state=facts.state.value,
        code="timeout",
        next=following,
    )


def job_not_finished(session: Session, target: KnownJob | UnknownJob, timeout: float) -> NotFinished:
    """How a job stood when it was polled last, and the command that waits on."""
    job = session.ledger().job(target.job.id) if isinstance(target, KnownJob) else None
    state = (job.state if job else None) or ""
    counts = f", {(job.succeeded or 0) + (job.failed or 0):,} of {job.total:,} done" if job and job.total else ""
    seen = f" ({state}{counts})" if state else ""
    return NotFinished(
        f"{target.name} has not finished after {span(timeout)}{seen}. Nothing was cancelled.",
        job=target.name,
        state=state,
        code="timeout",
        next=Next("status", target.name, "--wait"),
    )


def _done(session: Session, facts: RunFacts) -> int:
    progress = Progress(session.prices)
    with session.state_folder.run(facts.run.id).rows() as rows:
        unsettled = leftovers(rows, undone(facts.jobs, facts.census), kept_options(facts.run).most_attempts).keys()
        progress.count(rows, facts.run, facts.jobs, unsettled)
    return progress.done


def _alive(jobs: Sequence[Job]) -> str:
    """``2 jobs are alive (batches/a, batches/b)``."""
    living = [job.batch or job.id for job in jobs if job.stage is JobStage.CREATED]
    if not living:
        return "no job is alive"
    names = ", ".join(living[:_NAMED]) + (", …" if living[_NAMED:] else "")
    return f"{len(living)} {'job is' if len(living) == 1 else 'jobs are'} alive ({names})"
