"""``cancel``: ask the service to stop a job, or all active jobs of a run, and keep whatever they have answered."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.commands.job_names import check_name
from gemini_batch.engine.backoff import PollBackoff
from gemini_batch.engine.collector import collect
from gemini_batch.engine.poller import poll_job
from gemini_batch.engine.poller import wait as wait_for_end
from gemini_batch.errors import ApiError, JobError, Next, NotFinished, ServiceError, UsageError
from gemini_batch.events import Notice
from gemini_batch.report.job_view import RunState, run_facts
from gemini_batch.session import KnownJob, KnownRun, UnknownJob
from gemini_batch.store.integrity import send_again
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.session import Session, Target


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job or a run that was asked to stop."""

    job: str
    """The name that was given, of a job or a run."""
    asked: bool
    """True if the service was asked to stop anything; false if all of it had ended."""
    state: str
    """State that was seen last."""
    answers: int | None
    """Requests that were answered well; null if the end was not waited for."""
    requests: int | None
    """Number of requests; null if the end was not waited for."""
    next: Next | None
    """The next command."""


async def cancel(session: Session, name: str, *, wait: bool = True) -> Cancelled:
    """Stop a job, or every active job of a run; with ``wait``, wait for their end and collect their answers.

    A job that was running usually still ends as SUCCEEDED, with the answers that were finished; those are billed.
    Requests that a run has not sent yet stay unsent. Raises UsageError for what was never created, ServiceError,
    StateError (another process is driving the run).
    """
    check_name(name)
    target = session.locate(name)
    session = session.at(target)
    if isinstance(target, KnownRun):
        facts = run_facts(session, target.run)
        if facts.state is RunState.NOT_CREATED:
            message = f"{target.name} has no job yet, so there is nothing to cancel."
            if facts.in_doubt:
                message = f"A create call of {target.name} got no answer, so the job to cancel is unknown."
            raise UsageError(message, code="not_created", next=facts.next)
        if facts.calling and facts.state is not RunState.RUNNING:
            message = f"The requests of {target.name} are sent as calls, so it has no job to cancel."
            way = "Ctrl-C stops the command that sends them."
            raise UsageError(message, code="not_created", next=way)
        named: Sequence[KnownJob | UnknownJob] = [
            KnownJob(target.run, job, target.offline) for job in facts.jobs if job.stage is JobStage.CREATED
        ]
        folder = session.state_folder.run(target.run.id)
        with folder.lock(wait=0.0) if named else contextlib.nullcontext():
            asked = await _ask_each(session, named)
    else:
        named = [target]
        asked = [target] if await ask_to_stop(session, target) else []
    if not asked:
        ended = f"no job of {target.name} is active" if isinstance(target, KnownRun) else f"{target.name} has ended"
        session.emit(Notice(f"There is nothing to cancel: {ended}."))
    elif not wait:
        session.emit(Notice("Cancellation requested. It may take a while, and a job may still finish first."))
        return Cancelled(
            job=target.name,
            asked=True,
            state=_state(session, target),
            answers=None,
            requests=None,
            next=Next("status", target.name, "--wait"),
        )
    else:
        session.emit(Notice("Cancellation requested. Waiting for the end."))
        for job in asked:
            await wait_for_end(session, job, PollBackoff.of(session.settings, session.world.monotonic()))
    return await _harvest(session, target, asked=bool(asked))


async def _ask_each(session: Session, named: Sequence[KnownJob | UnknownJob]) -> list[KnownJob | UnknownJob]:
    """Ask the service to stop each job that has not ended; trouble with one job keeps no other one alive.

    One that the service does not know is named and passed over, unless it is the only one. Raises ServiceError, after
    all were asked, for any other one that may still be alive.
    """
    asked: list[KnownJob | UnknownJob] = []
    failed: list[ServiceError] = []
    for job in named:
        try:
            if await ask_to_stop(session, job):
                asked.append(job)
        except ServiceError as error:
            failed.append(error)
    for trouble in failed:
        if len(failed) == len(named) or meaning(trouble) is not Trouble.ABSENT:
            raise trouble
        session.emit(Notice(trouble.message, "warning", trouble.next))
    return asked


async def ask_to_stop(
    session: Session, target: KnownJob | UnknownJob, *, finishing: bool = False, first: Notice | None = None
) -> bool:
    """Ask the service to stop one job; False if it has ended already. ``first``: what to say just before.

    The cancel is recorded first, so that none of its requests are resent automatically; with ``finishing``, so that
    those are that it leaves unanswered. Raises ServiceError.
    """
    session.check_bound(target)
    if isinstance(target, KnownJob) and target.job.stage.over:
        return False
    if (await poll_job(session, target)).job.phase.ended:
        return False
    if first is not None:
        session.emit(first)
    ledger, now = session.ledger(), session.world.now()
    if isinstance(target, KnownJob):
        ledger.update_job(target.job, "cancel asked for", at=now, cancelled_at=now, finishing=finishing)
    try:
        await (await session.backend()).service.cancel(target.name)
    except ApiError as error:
        if isinstance(target, KnownJob) and not meaning(error).may_have_worked:
            ledger.update_job(target.job, "cancel refused", at=now, cancelled_at=None, finishing=False)
        raise session.explain_absence(error, target) from error
    return True


def _state(session: Session, target: Target) -> str:
    match target:
        case KnownRun():
            return run_facts(session, target.run).state.value
        case KnownJob():
            return session.ledger().job(target.job.id).state or ""
        case UnknownJob():
            return ""


async def _harvest(session: Session, target: Target, *, asked: bool) -> Cancelled:
    """Collect what has ended, and count the good answers."""
    ledger = session.ledger()
    jobs: list[KnownJob | UnknownJob]
    if isinstance(target, KnownRun):
        jobs = [KnownJob(target.run, job, target.offline) for job in ledger.jobs_of(target.run.id) if job.stage.made]
    else:
        jobs = (
            [KnownJob(target.run, ledger.job(target.job.id), target.offline)]
            if isinstance(target, KnownJob)
            else [target]
        )
    collected: list[KnownJob] = []
    for job in jobs:
        try:
            collected.append(await collect(session, job))
        except (JobError, NotFinished) as error:
            session.emit(Notice(error.message))
        except ServiceError as error:
            if not isinstance(target, KnownRun):
                raise
            session.emit(Notice(error.message, "warning", error.next))
    if not collected:
        return Cancelled(
            job=target.name, asked=asked, state=_state(session, target), answers=0, requests=None, next=None
        )
    run = collected[0].run
    only = None if isinstance(target, KnownRun) else collected[0].job
    with open_rows(session.state_folder.run(run.id), ledger.jobs_of(run.id), only=only) as rows:
        counts = rows.census().verdicts()
    facts = run_facts(session, run)
    return Cancelled(
        job=target.name,
        asked=asked,
        state=facts.state.value if only is None else only.state or "",
        answers=counts.get("succeeded", 0),
        requests=sum(counts.values()),
        next=send_again(run, offline=target.offline)
        if run.freed_at
        else Next("results", target.name, "-o", "results.jsonl"),
    )
