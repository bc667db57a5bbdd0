"""Late answers: those that a job has given after its cancel. They are paid for, so they come before another payment.

Every road that pays for requests again leads through here. ``retry``, and a ``run`` that continues one, collect them
and send the rest. ``--new`` sends all requests, so it stops once, collects them and says how many there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gemini_batch.api.trouble import meaning
from gemini_batch.engine.collector import collect, look_again, stays_cancelled
from gemini_batch.engine.poller import poll_job
from gemini_batch.errors import ApiError, JobError, Next, NotFinished, UsageError
from gemini_batch.events import Notice
from gemini_batch.report.billing import paid_again
from gemini_batch.report.job_view import run_facts
from gemini_batch.report.next_steps import RESULTS_FILE, costing
from gemini_batch.session import KnownJob
from gemini_batch.store.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run

#: How many jobs a sentence names.
_NAMED = 3


async def collect_late(session: Session, run: Run) -> None:
    """Collect what the cancelled jobs of a run have answered since they were collected.

    The caller holds the run's lock. Raises ServiceError, NotFinished, StateError.
    """
    for job in session.ledger().jobs_of(run.id):
        if _was_collected(job):
            await _collect_more(session, KnownJob(run, job, session.settings.offline))


async def _collect_more(session: Session, target: KnownJob) -> None:
    session.check_bound(target)
    if await look_again(session, target):
        session.emit(Notice(f"{target.name} has more answers than when it was cancelled; collected them."))


async def refuse_late(session: Session, identity: str) -> None:
    """Before requests that were sent are all sent again: collect late answers; refuse once if there are any.

    The same command again finds nothing new, so it pays. Raises UsageError (``late_answers``), ServiceError,
    NotFinished, StateError.
    """
    ledger = session.ledger()
    newest = ledger.newest_with_identity(identity)
    for run in [] if newest is None else [newest, *ledger.earlier_with_identity(newest)]:
        await _refuse_late(session, run)


async def before_continuing_new(session: Session, run: Run) -> None:
    """Before an interrupted ``--new`` is continued: the same, and warn that the requests were sent before."""
    earlier = session.ledger().earlier_with_identity(run)
    for other in earlier:
        await _refuse_late(session, other)
    names = [job.batch for other in earlier for job in session.ledger().jobs_of(other.id) if job.batch]
    if names:
        again = f"are sent again{paid_again(session.settings)}."
        session.emit(Notice(f"These requests were sent before ({_listed(names)}), and {again}", "warning"))


async def _refuse_late(session: Session, run: Run) -> None:
    folder, ledger = session.state_folder.run(run.id), session.ledger()
    if not folder.path.is_dir():  # there is no place for answers, and no list of the requests
        return
    late: dict[str, int] = {}
    for job in ledger.jobs_of(run.id):
        target = KnownJob(run, job, session.settings.offline)
        before = _answers(session, run)
        if _was_collected(job):
            with folder.lock(wait=0.0):
                await _collect_more(session, target)
        elif job.stage in {JobStage.CREATED, JobStage.ENDED}:
            await _collect_if_cancelled(session, target)
        if count := _answers(session, run) - before:
            late[target.name] = count
    if not late:
        return
    name, count = next(iter(late)), sum(late.values())
    who, were, have = (name, "was", "has") if len(late) == 1 else (f"{len(late)} jobs of {run.id}", "were", "have")
    requests = "1 request" if count == 1 else f"{count:,} requests"
    raise UsageError(
        f"{who} {were} cancelled, but {have} answered {requests}. The answers are collected, and nothing was sent. "
        f"Repeat the command to send all requests again{paid_again(session.settings)}.",
        code="late_answers",
        next=_rest(session, run),
    )


async def _collect_if_cancelled(session: Session, target: KnownJob) -> None:
    """Collect a job that was not collected yet, if it was cancelled, here or by someone else, and has ended."""
    session.check_bound(target)
    try:
        phase = target.job.phase
        if target.job.stage is JobStage.CREATED and target.job.cancelled_at is None:
            phase = (await poll_job(session, target)).job.phase
        if target.job.cancelled_at is None and phase is not Phase.CANCELLED:
            return
        await collect(session, replace(target, job=session.ledger().job(target.job.id)))
    except (NotFinished, JobError):
        if session.ledger().job(target.job.id).stage is not JobStage.CREATED:
            raise  # it has ended, and its answers are due
        why = f"{target.name} was asked to stop and has not ended. What it still answers is billed, too."
        session.emit(Notice(why, "warning"))
    except ApiError as error:
        if not meaning(error).not_shown:
            raise
    else:
        stays_cancelled(session, session.ledger().job(target.job.id))


def _was_collected(job: Job) -> bool:
    return job.stage is JobStage.COLLECTED and job.phase is Phase.CANCELLED and job.lost is None


def _answers(session: Session, run: Run) -> int:
    """How many requests have an answer of the model: what is billed."""
    with session.state_folder.run(run.id).rows() as rows:
        counts = rows.counts()
    return sum(count for verdict, count in counts.items() if verdict not in {"failed", "missing"})


def _rest(session: Session, run: Run) -> Next:
    """How to have the late answers, and only the other requests sent."""
    facts = run_facts(session, run)
    if facts.waiting:
        return facts.next
    if left := [verdict for verdict in ("failed", "missing") if facts.verdicts.get(verdict)]:
        why = costing(run, "sends only the requests without an answer")
        return Next("retry", run.id, "--only", ",".join(left), "-o", RESULTS_FILE, why=why)
    return Next("results", run.id, "-o", RESULTS_FILE)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if names[_NAMED:] else "")
