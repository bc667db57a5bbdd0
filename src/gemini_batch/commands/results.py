"""``results``: collect what a run's jobs have answered if it is not held yet, and describe what came of it.

Results speak of requests: any job of a run leads to all of the run's answers, one for each request that was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.commands.job_names import check_name
from gemini_batch.commands.remembering import take_answers
from gemini_batch.engine.calling.flex_jobs import end_abandoned
from gemini_batch.engine.collector import accept_incomplete as accept
from gemini_batch.engine.collector import collect, restore
from gemini_batch.errors import JobError, Next, NotFinished, ServiceError, UsageError
from gemini_batch.events import Notice
from gemini_batch.report.job_view import RunState, run_facts
from gemini_batch.report.money import amount
from gemini_batch.report.next_steps import costing, next_for_run, results_file
from gemini_batch.report.output_files import write_failures
from gemini_batch.report.result_set import Results
from gemini_batch.report.spending.before import sendings
from gemini_batch.report.summary import summarize
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.store.integrity import check_held
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.job_view import RunFacts
    from gemini_batch.report.summary import Summary
    from gemini_batch.session import Session, Target
    from gemini_batch.store.ledger.records import Run


async def results(session: Session, name: str, *, job_only: bool = False, accept_incomplete: bool = False) -> Results:
    """Collect what is not held yet, and describe what came of all requests of the run that were sent.

    ``job_only``: only what the named job itself has answered, whatever other jobs of its run have.
    ``accept_incomplete``: collect a job also if the service counts more answers than it gives. Raises NotFinished
    while a sent request is in an active job, JobError where there is nothing, UsageError, ServiceError, StateError.
    """
    check_name(name)
    target = session.locate(name)
    session = session.at(target)
    if job_only:
        return await _of_job(session, target, accept_incomplete=accept_incomplete)
    if isinstance(target, UnknownJob):
        target = await _collect(session, target, accept_incomplete=accept_incomplete)
    jobs = session.ledger().jobs_of(target.run.id)
    if isinstance(target, KnownJob) and len(jobs) > 1:
        session.emit(
            Notice(
                f"{target.name} is one of {len(jobs)} jobs of {target.run.id}; these are the answers of all of them.",
                next=Next("results", target.name, "--job-only", why="only its own answers"),
            )
        )
    await take_answers(session, target.run)
    await _collect_all(session, target.run, accept_incomplete=accept_incomplete)
    return await held_results(session, target.run)


async def held_results(session: Session, run: Run) -> Results:
    """The results of a run whose sent jobs are collected; answers that were damaged here are fetched again.

    Raises StateError if the run folder is gone, ServiceError if damaged answers cannot be fetched now.
    """
    run = session.ledger().run(run.id) or run
    jobs = session.ledger().jobs_of(run.id)
    folder, offline = session.state_folder, session.settings.offline
    if run.freed_at is not None and folder.run(run.id).row_database.exists():
        of = run_facts(session, run)
        session.emit(Notice(_kept(summarize(folder, run, jobs, of=of, prices=session.prices, offline=offline))))
    check_held(folder.run(run.id), run, jobs[0].batch if len(jobs) == 1 and jobs[0].batch else run.id, offline=offline)
    await restore(session, run)
    facts, prices, before = run_facts(session, run), session.prices, sendings(session.ledger(), run)
    summary = summarize(folder, run, facts.jobs, of=facts, prices=prices, offline=offline, before=before)
    return Results(run, facts.jobs, folder, summary, prices)


def _kept(summary: Summary) -> str:
    """What is still known of a run whose answers were deleted."""
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in summary.verdicts.items())
    tokens = f"{summary.tokens.input:,} input and {summary.tokens.output + summary.tokens.thoughts:,} output tokens"
    cost = "nothing was paid (offline)"
    if not summary.offline:
        cost = amount(summary.usd)
    return f"{summary.run} had {verdicts or 'no answers'}; {tokens}; {cost}."


def write_out(session: Session, run: Run, found: Results, output: Path) -> None:
    """Write results to ``output``, and next to it the requests that did not succeed. Raises UsageError, StateError."""
    found.write(output)
    jobs = session.ledger().jobs_of(run.id)
    write_failures(session.state_folder, run, jobs, output, any_failed=not found.summary.all_succeeded)


async def _collect(session: Session, target: KnownJob | UnknownJob, *, accept_incomplete: bool) -> KnownJob:
    """Collect one job, with ``accept_incomplete`` also from an incomplete output."""
    try:
        return await collect(session, target)
    except NotFinished as error:
        known = session.locate(target.name)  # a job that was created elsewhere is in the ledger by now
        if not accept_incomplete or error.reason_code != "output_incomplete" or not isinstance(known, KnownJob):
            raise
        await accept(session, known)
        return KnownJob(known.run, session.ledger().job(known.job.id), known.offline)


async def _collect_all(session: Session, run: Run, *, accept_incomplete: bool) -> None:
    """Collect every ended job of a run. Raises NotFinished, after that, where a sent request still has to wait."""
    end_abandoned(session, run)
    jobs = session.ledger().jobs_of(run.id)
    if not any(job.stage.made for job in jobs) and (facts := run_facts(session, run)).state is RunState.NOT_CREATED:
        raise NotFinished(_no_job(facts), job=run.id, state=facts.state.value, next=facts.next)
    waiting: list[NotFinished] = []
    gone: list[JobError | ServiceError] = []
    for job in jobs:
        if job.stage is JobStage.INTENDED:
            facts = run_facts(session, run)
            following = next_for_run(
                run, facts.state.value, waiting=facts.waiting, in_doubt=job.in_doubt, calling=job.is_calling
            )
            why = "a create call got no answer" if job.via == "batch" else "another process sends its requests as calls"
            message = f"{run.id} has not finished: {why}."
            waiting.append(NotFinished(message, job=run.id, state=facts.state.value, next=following))
        elif job.stage in {JobStage.CREATED, JobStage.ENDED}:
            try:
                target = KnownJob(run, job, session.settings.offline)
                await _collect(session, target, accept_incomplete=accept_incomplete)
            except NotFinished as error:
                waiting.append(error)
            except (JobError, ServiceError) as error:
                if len(jobs) == 1 or meaning(error) is not Trouble.ABSENT:
                    raise
                gone.append(error)  # the other jobs have answers all the same, and the service keeps them for a while
    if gone:
        why = "continues without the missing results, and sends the remaining requests"
        gone[0].next = Next("run", run.id, "-o", results_file(run), why=costing(run, why))
        raise gone[0]
    if waiting:
        if len(waiting) > 1:
            waiting[0].message += f" {len(waiting) - 1} more jobs of {run.id} are not finished either."
        if len(jobs) > 1 and waiting[0].reason_code != "output_incomplete":
            waiting[0].next = run_facts(session, run).next
        raise waiting[0]


def _no_job(facts: RunFacts) -> str:
    why = "its create command did not finish"
    if facts.in_doubt:
        why = "a create call got no answer"
    elif not facts.jobs and facts.waiting:
        why = "its requests were not sent, or are in jobs of other runs"
    return f"{facts.run.id} has no job yet: {why}."


async def _of_job(session: Session, target: Target, *, accept_incomplete: bool) -> Results:
    """What one job has answered itself. Raises NotFinished while it is alive."""
    if not isinstance(target, (KnownJob, UnknownJob)):
        jobs = [job for job in session.ledger().jobs_of(target.run.id) if job.batch]
        if len(jobs) != 1:
            names = ", ".join(job.batch or "" for job in jobs) or "none"
            raise UsageError(
                f"--job-only needs the name of a job, and {target.name} is a run. Its jobs: {names}.",
                code="bad_argument",
                next=Next("status", target.name, why="shows them"),
            )
        target = KnownJob(target.run, jobs[0], target.offline)
    known = await _collect(session, target, accept_incomplete=accept_incomplete)
    folder, offline = session.state_folder, session.settings.offline
    check_held(folder.run(known.run.id), known.run, known.name, offline=offline)
    await restore(session, known.run, only=known.job)
    known = KnownJob(known.run, session.ledger().job(known.job.id), known.offline)
    jobs = session.ledger().jobs_of(known.run.id)
    summary = summarize(folder, known.run, jobs, of=known.job, prices=session.prices, offline=offline)
    return Results(known.run, [known.job], folder, summary, session.prices, _part=known.job)
