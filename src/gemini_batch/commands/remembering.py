"""Decides about a run's requests before any is sent: which are wanted, were answered before, or are in other runs.

The caller holds the run's lock. ``run`` and ``create`` both come through here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import meaning
from gemini_batch.engine.backoff import PollBackoff
from gemini_batch.engine.calling.flex_jobs import end_abandoned
from gemini_batch.engine.collector import collect
from gemini_batch.engine.creating.planner import drop, reconcile
from gemini_batch.engine.poller import poll_job
from gemini_batch.errors import ApiError, JobError, Next, NotFinished, ServiceError, StateError, UsageError
from gemini_batch.events import Notice, in_thread
from gemini_batch.memory.recall import Recalled, recall
from gemini_batch.report.billing import paid_again
from gemini_batch.report.next_steps import costing
from gemini_batch.report.summary import many_identical
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import Selection, kept_options
from gemini_batch.store.rows.conditions import ELSEWHERE
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.ledger.run_options import RunOptions

#: How many jobs a sentence names.
_NAMED = 3


def choose(session: Session, run: Run, options: RunOptions) -> None:
    """Let only the wanted requests wait; what was planned for others and not sent is undone. Raises StateError."""
    selection = options.selection or Selection()
    before = kept_options(run).selection or Selection()
    ledger = session.ledger()
    with session.state_folder.run(run.id).rows() as rows:
        if selection != before:
            reconcile(ledger, rows, run)
            for job in ledger.jobs_of(run.id):
                if job.stage in {JobStage.PLANNED, JobStage.UPLOADED}:
                    drop(ledger, rows, job, at=session.world.now())
        rows.select(selection)


async def remember(session: Session, run: Run, *, waits: bool) -> Recalled:
    """Give the waiting requests of a run the answers they have in other runs, and say so, before anything is sent.

    ``waits``: the caller waits for requests that are in jobs of other runs; else they are left out. Raises UsageError
    (``other_key``) if this key cannot see one of these jobs, StateError, ServiceError.
    """
    found = await in_thread(lambda emit: recall(session.state_folder, run.id, emit=emit), session.emit)
    ledger = session.ledger()
    with session.state_folder.run(run.id).rows() as rows:
        sending = rows.waiting().requests
        identical = rows.identical() if sending and not kept_options(ledger.run(run.id) or run).dedupe else 0
    jobs = [ledger.job(job) for job in found.jobs]
    if found.remembered:
        sent = "1 is sent" if sending == 1 else f"{sending:,} are sent" if sending else "none is sent"
        also = ""
        if found.outside:
            also = (
                f" The answers to {found.outside:,} of them depended on a search, on web pages or on files elsewhere, "
                "and may be out of date."
            )
        said = f"{found.remembered:,} of {counted(run.requests, 'request')} were answered before; {sent}.{also}"
        session.emit(Notice(said, next=f"To send all of them again, use --new{paid_again(session.settings)}."))
    if many_identical(identical, run.requests):
        also = "Use --dedupe to send each of them once."
        session.emit(
            Notice(
                f"{identical:,} of {counted(run.requests, 'request')} repeat an earlier one under another key.",
                next=also,
            )
        )
    if found.elsewhere:
        await check_visible(session, jobs)
        named = ", ".join(str(job.batch or job.run) for job in jobs[:_NAMED]) + (", …" if jobs[_NAMED:] else "")
        are = "is" if found.elsewhere == 1 else "are"
        what = f"{counted(found.elsewhere, 'request')} {are} in {named}, which {jobs[0].run} sent"
        how = "this run waits for the answers" if waits else "they are left out"
        following = None if waits else Next("run", run.id, why=costing(run, "waits for them, and sends what is left"))
        session.say_once(Notice(f"{what}; {how}.", next=following))
    return found


async def check_visible(session: Session, jobs: Iterable[Job]) -> None:
    """Make sure that this API key sees the living jobs that were last seen with another one.

    Raises UsageError (``other_key``) where it does not: that says nothing of the job, and its requests are not sent
    again. Raises ServiceError.
    """
    for job in jobs:
        if job.via == "flex" or job.stage not in {JobStage.INTENDED, JobStage.CREATED, JobStage.ENDED}:
            continue
        if job.key_fingerprint == session.key_fingerprint():
            continue
        if job.stage is JobStage.INTENDED:
            raise _not_visible(
                session, job, "A create call of {run} got no answer, and it was sent with another API key."
            )
        try:
            target = KnownJob(session.ledger().run_of(job), job, session.settings.offline)
            await poll_job(session, target)
        except ApiError as error:
            if error.reason_code != "other_key":
                raise
            what = "{name} was created with another API key, and this key cannot see it. It may be alive."
            raise _not_visible(session, job, what) from error


def _not_visible(session: Session, job: Job, what: str) -> UsageError:
    said = what.format(name=job.batch, run=job.run)
    return UsageError(
        f"{said} Nothing was sent.",
        code="other_key",
        next="Use a key of the project that created it. To send its requests again, use --new"
        f"{paid_again(session.settings)}.",
    )


async def wait_elsewhere(session: Session, run: Run) -> bool:
    """Wait until the jobs of other runs that hold requests of this one are collected; False if there are none.

    A job whose own process has ended is polled and collected here. Raises ServiceError, NotFinished, StateError.
    """
    with session.state_folder.run(run.id).rows() as rows:
        if not rows.at(ELSEWHERE):
            return False
    found = await remember(session, run, waits=True)
    backoff = PollBackoff.of(session.settings, session.world.monotonic())
    while found.jobs:
        for job in found.jobs:
            if await _is_over(session, job):
                return True
        await session.world.sleep(backoff.pause(session.world.monotonic()))
    return True


async def _is_over(session: Session, job_id: str) -> bool:
    """Whether a job of another run holds no requests any more; without a process of its own, it is collected here."""
    ledger = session.ledger()
    job = ledger.job(job_id)
    if job.dropped_at is not None or job.stage in {JobStage.PLANNED, JobStage.UPLOADED, JobStage.COLLECTED}:
        return True
    if _is_in_use(session, job):
        return False
    if job.via == "flex":
        end_abandoned(session, ledger.run_of(job))
        job = ledger.job(job_id)
    if job.stage is JobStage.INTENDED:
        raise _left_alone(job)
    target = KnownJob(ledger.run_of(job), job, session.settings.offline)
    try:
        if job.stage is JobStage.CREATED and not (await poll_job(session, target)).job.phase.ended:
            return False
        await collect(session, target)
    except NotFinished as error:
        if error.reason_code == "output_incomplete":
            raise
        return False  # its results are late
    except (JobError, ServiceError) as error:
        if not meaning(error).not_shown:
            if not meaning(error).passes:
                raise
            session.say_once(Notice(error.then("Still waiting."), "warning"))
            return False
        raise NotFinished(
            f"{target.name} ({job.run}) holds requests of this run; the service does not show it or its results.",
            job=target.name,
            state=job.state or "",
            code="elsewhere_not_shown",
            next=Next("run", job.run, why=costing(target.run, "finds out whether they are gone")),
        ) from error
    return True


async def take_answers(session: Session, run: Run) -> None:
    """Take the answers that other runs have received for requests of this one; nothing is asked of the service.

    If another process works on the run, that one takes them. Raises StateError.
    """
    folder = session.state_folder.run(run.id)
    if not folder.path.is_dir() or run.freed_at is not None:
        return
    with folder.rows() as rows:
        if not rows.at(ELSEWHERE):
            return
    async with session.locked(folder, unless=lambda: True) as is_ours:
        if is_ours:
            await in_thread(lambda emit: recall(session.state_folder, run.id, emit=emit), session.emit)


def _is_in_use(session: Session, job: Job) -> bool:
    try:
        with session.state_folder.run(job.run).lock(wait=0.0):
            return False
    except StateError as error:
        if error.reason_code == "run_folder_gone":
            what = (
                f"{job.batch or 'A job'} of {job.run} holds requests of this run, and the folder of {job.run} is gone."
            )
            new = f"To send its requests again, use --new{paid_again(session.settings)}."
            raise StateError(
                what, file=error.file, code="run_folder_gone", next=f"Restore the folder. {new}"
            ) from error
        if error.reason_code != "locked":
            raise
        return True


def _left_alone(job: Job) -> StateError:
    return StateError(
        f"A create call of {job.run} got no answer, and that run holds requests of this one.",
        code="in_doubt_elsewhere",
        next=Next("run", job.run, why="finds out whether its job was created, and continues"),
    )
