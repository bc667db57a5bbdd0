"""Late answers: those of a job that was cancelled, or that the service no longer had, and that it shows now.

They are paid for, so they come before another payment. Every road that pays for requests again leads through here.
``retry``, and a ``run`` that continues one, collect them and send the rest. ``--new`` sends all requests, so it stops
once, collects them and says how many there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api.trouble import meaning
from gemini_batch.engine.backoff import Output, output_of
from gemini_batch.engine.collector import collect, gather
from gemini_batch.engine.creating.planner import drop
from gemini_batch.engine.download import fetch, partial, whole_lines
from gemini_batch.engine.poller import ended_for, poll_job
from gemini_batch.engine.scheduler import live_work
from gemini_batch.errors import ApiError, JobError, Next, NotFinished, UsageError
from gemini_batch.events import Notice
from gemini_batch.report.billing import paid_again
from gemini_batch.report.job_view import run_facts
from gemini_batch.report.next_steps import costing, results_file
from gemini_batch.session import KnownJob
from gemini_batch.store.job_rows import sent_ordinals, take_back
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.wire import RemoteJob

#: How many jobs a sentence names.
_NAMED = 3
#: Why a job is lost that the service may show again. Of one that is incomplete, the rest was given up by the user.
_MAY_COME_BACK = frozenset({"JOB_GONE", "RESULTS_GONE", "RESULTS_DAMAGED"})


async def collect_late(session: Session, run: Run) -> None:
    """Collect what the cancelled and the lost jobs of a run have answered since they were collected.

    The caller holds the run's lock. Raises ServiceError, NotFinished, StateError.
    """
    for job in session.ledger().jobs_of(run.id):
        if may_have_more(job):
            await _collect_more(session, KnownJob(run, job, session.settings.offline))


async def _collect_more(session: Session, target: KnownJob) -> Job | None:
    """The job as it is now, if anything has changed; what changed is said."""
    session.check_bound(target)
    job = await _look_again(session, target)
    if job is not None:
        said = f"{target.name} has more answers than when it was cancelled; collected them."
        if target.job.lost is not None:
            said = f"The service no longer had {target.name}, or its results, and shows them again; "
            said += "collected its answers." if job.stage is JobStage.COLLECTED else "nothing of it is sent again now."
        session.emit(Notice(said))
    return job


async def refuse_late(session: Session, new: Run, again: bool) -> None:
    """Before a run is entered ``again``, and its requests are all sent again: collect late answers of the earlier ones;
    refuse once if there are any.

    The same command again finds nothing new, so it pays. Raises UsageError (``late_answers``), ServiceError,
    NotFinished, StateError.
    """
    ledger = session.ledger()
    newest = ledger.newest_with_identity(new.identity or "") if again else None
    if newest is None:
        return
    for run in [newest, *ledger.earlier_with_identity(newest)]:
        await _refuse_late(session, run)
    if session.state_folder.run(newest.id).path.is_dir() and (held := _answers(session, newest)):
        repeated = f"all are sent again{paid_again(session.settings)}."
        why = f"{newest.id} holds answers to {held:,} of these {newest.requests:,} requests; {repeated}"
        session.emit(
            Notice(why, "warning", Next("results", newest.id, "-o", results_file(newest), why="writes those answers"))
        )


async def before_continuing_new(session: Session, run: Run) -> None:
    """Before an interrupted ``--new`` sends more: the same, and warn that the requests were sent before.

    A run that was not made with ``--new`` takes late answers of earlier ones instead.
    """
    earlier = session.ledger().earlier_with_identity(run)
    if not earlier or not ((facts := run_facts(session, run)).unsent or facts.in_doubt):
        return
    if not run.anew:
        for other in earlier:
            folder = session.state_folder.run(other.id)
            if folder.path.is_dir():
                async with session.locked(folder, unless=lambda: True) as is_free:
                    if is_free:
                        await collect_late(session, other)
        return
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
    words: set[str] = set()
    for job in ledger.jobs_of(run.id):
        target = KnownJob(run, job, session.settings.offline)
        before, back = _answers(session, run), None
        if may_have_more(job):
            with folder.lock(wait=0.0):
                back = await _collect_more(session, target)
        elif job.stage in {JobStage.CREATED, JobStage.ENDED}:
            await _collect_if_cancelled(session, target)
        count = _answers(session, run) - before
        if count or (back is not None and back.stage is not JobStage.COLLECTED):
            late[target.name] = count
            words.add("cancelled" if job.lost is None else "recorded as lost")
    if not late:
        return
    name, count = next(iter(late)), sum(late.values())
    who, were, have = (name, "was", "has") if len(late) == 1 else (f"{len(late)} jobs of {run.id}", "were", "have")
    requests = "1 request" if count == 1 else f"{count:,} requests"
    found = f"{have} answered {requests}. The answers are collected, and nothing was sent."
    if not count:
        them = "it" if len(late) == 1 else "them"
        found = f"the service shows {them} again, and answers may still come. Nothing was sent."
    raise UsageError(
        f"{who} {were} {' or '.join(sorted(words))}, but {found} "
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
        if not _is_unseen(error):
            raise
    else:
        _stays_cancelled(session, session.ledger().job(target.job.id))


def _is_unseen(error: ApiError) -> bool:
    """Whether the service shows nothing of the job, to this key."""
    return meaning(error).not_shown or error.reason_code == "other_key"


def may_have_more(job: Job) -> bool:
    """Whether a collected job may have more answers: it was cancelled, or the service did not show them."""
    if job.stage is not JobStage.COLLECTED:
        return False
    return job.phase is Phase.CANCELLED if job.lost is None else job.lost in _MAY_COME_BACK


async def _look_again(session: Session, target: KnownJob) -> Job | None:
    """Poll a collected job that was cancelled or lost, and collect the answers that it has given since.

    Jobs have been seen to finish after their cancel. Until the new answers are here, those that are held stay. Requests
    of the job that wait to be resent belong to it again. Returns the job as it is now, None if nothing changed:
    ``collected``, or lost before and now without output yet (``created`` or ``ended``). Raises ServiceError, except
    where the service shows nothing, JobError, and NotFinished for an incomplete output. The caller holds the run's
    lock.
    """
    job, folder = target.job, session.state_folder.run(target.run.id)
    with folder.rows() as rows:
        held = next((file["lines"] for file in rows.answer_files() if file["id"] == job.ordinal), 0)
        sent = sent_ordinals(session.ledger().jobs_of(target.run.id))
        if job.lost is not None and not (census := rows.census()).at(job.ordinal) and not census.to_send(sent):
            return None  # all its requests were resent
    try:
        seen = await poll_job(session, target, with_answers=True)
    except ApiError as error:
        if _is_unseen(error):
            return None
        raise
    remote = seen.job
    is_late = remote.phase.ended and output_of(seen.operation, ended_for(session, target, remote, 0.0)) is Output.LATE
    if job.lost is not None and (is_late or not remote.phase.ended):
        _take_back(session, target)
        return _uncollect(session, job, remote)
    if not remote.phase.ended or not remote.has_output or (held and remote.succeeded + remote.failed <= held):
        return None
    raw = folder.raw(job.id)
    more = raw.with_suffix(".more")
    try:
        await fetch(session, seen.operation, more, target)
    except NotFinished:  # from now on, the job is one whose output is incomplete
        _take_back(session, target)
        if raw.exists() and (not partial(raw).exists() or whole_lines(partial(raw)) < held):
            raw.replace(partial(raw))
        raw.unlink(missing_ok=True)
        _uncollect(session, job, remote)
        raise
    except (JobError, ApiError) as error:
        if job.lost is not None and meaning(error).not_shown:
            return None
        raise
    _take_back(session, target)
    job = _uncollect(session, job, remote)
    more.replace(raw)
    return (await gather(session, replace(target, job=job), seen.operation)).job


def _take_back(session: Session, target: KnownJob) -> None:
    """Put requests of a job that wait to be resent, or are planned to be, in that job again."""
    ledger, folder = session.ledger(), session.state_folder.run(target.run.id)
    with folder.rows() as rows:
        for other in ledger.jobs_of(target.run.id):
            if other.stage in {JobStage.PLANNED, JobStage.UPLOADED}:
                drop(ledger, rows, other, at=session.world.now())
        if take_back(folder, rows, target.job):
            why = "An interrupted retry of its requests is not continued: the answers may change what is to be resent."
            session.emit(Notice(why))


def _uncollect(session: Session, job: Job, remote: RemoteJob) -> Job:
    if job.phase is Phase.CANCELLED:
        job = _stays_cancelled(session, msgspec.structs.replace(job, phase=remote.phase))
    now, ended = session.world.now(), remote.phase.ended
    stage, ended_at = (JobStage.ENDED, job.ended_at) if ended else (JobStage.CREATED, None)
    what = "collected again" if ended else "shown again"
    job = session.ledger().update_job(job, what, at=now, stage=stage, lost=None, collected_at=None, ended_at=ended_at)
    return session.ledger().seen(job, remote, at=now)


def _stays_cancelled(session: Session, job: Job) -> Job:
    """Record that a job was cancelled which has ended in another way all the same: nothing of it is resent unasked."""
    if job.phase is Phase.CANCELLED or job.cancelled_at is not None:
        return job
    now = session.world.now()
    return session.ledger().update_job(job, "cancelled before it ended", at=now, cancelled_at=job.ended_at or now)


def _answers(session: Session, run: Run) -> int:
    """How many requests have an answer of the model: what is billed."""
    with session.state_folder.run(run.id).rows() as rows:
        counts = rows.census().verdicts()
    return sum(count for verdict, count in counts.items() if verdict not in {"failed", "missing"})


def _rest(session: Session, run: Run) -> Next:
    """How to have the late answers, and only the other requests sent."""
    facts = run_facts(session, run)
    if facts.waiting or live_work(list(facts.jobs)):
        return facts.next
    if left := [verdict for verdict in ("failed", "missing") if facts.verdicts.get(verdict)]:
        why = costing(run, "sends only the requests without an answer")
        return Next("retry", run.id, "--only", ",".join(left), "-o", results_file(run), why=why)
    return Next("results", run.id, "-o", results_file(run))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if names[_NAMED:] else "")
