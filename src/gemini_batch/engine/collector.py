"""Collects a job's answers: they are fetched once and kept.

This order makes every crash harmless: the raw file is downloaded next to its final place and renamed; then one
transaction writes all verdicts to ``rows.db``; then the ledger says ``collected``. Each step can be repeated.
"""

from __future__ import annotations

import asyncio
import platform
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from gemini_batch._version import __version__
from gemini_batch.api.trouble import meaning
from gemini_batch.backend import address_of
from gemini_batch.engine.backoff import Output, output_of
from gemini_batch.engine.calling.flex_jobs import settle_calls
from gemini_batch.engine.download import fetch, incomplete, partial
from gemini_batch.engine.judging import Kept, judge_file
from gemini_batch.engine.poller import ended_for, poll_job, record_seen
from gemini_batch.engine.settling import settle
from gemini_batch.errors import ApiError, JobError, Next, NotFinished
from gemini_batch.events import Notice, in_thread
from gemini_batch.jsonl import atomic_write, private_folder
from gemini_batch.memory.borrowing import give_back
from gemini_batch.memory.recall import recall
from gemini_batch.report.money import is_another
from gemini_batch.report.next_steps import create_anew
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.store.integrity import check_held, damage
from gemini_batch.store.ledger.records import Job, JobStage, Run
from gemini_batch.store.sqlite import state_error
from gemini_batch.wire import Operation, Phase, remote_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.session import Session
    from gemini_batch.store.integrity import Damage
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.wire import RemoteJob


#: Seconds before each further poll of a job that has ended and has no output yet: usually it comes in a moment.
_OUTPUT_PAUSES = (1.0, 2.0, 4.0, 8.0)


_MISSING = {
    Phase.FAILED: "JOB_FAILED",
    Phase.EXPIRED: "JOB_EXPIRED",
    Phase.CANCELLED: "JOB_CANCELLED",
}


async def collect(session: Session, target: KnownJob | UnknownJob) -> KnownJob:
    """Make sure that a job's answers are stored locally; returns the job, ``collected``.

    Raises NotFinished while the job is alive, JobError if it has no answers, ServiceError, StateError.
    """
    if isinstance(target, KnownJob) and target.job.stage is JobStage.COLLECTED:
        return target
    if isinstance(target, KnownJob) and _is_here(session, target):
        known, operation = target, None
    else:
        session.check_bound(target)
        operation = await _ended(session, target)
        known = target if isinstance(target, KnownJob) else adopt(session, remote_job(operation))
    ledger, job_id, folder = session.ledger(), known.job.id, session.state_folder.run(known.run.id)
    if not folder.path.is_dir():
        check_held(folder, known.run, known.name, offline=session.settings.offline)

    def is_collected() -> bool:
        return ledger.job(job_id).stage is JobStage.COLLECTED

    async with session.locked(folder, unless=is_collected):
        job = ledger.job(job_id)
        if job.stage is JobStage.COLLECTED:  # another process was faster
            return replace(known, run=ledger.run_of(job), job=job)
        return await gather(session, replace(known, job=job), operation)


def _is_here(session: Session, target: KnownJob) -> bool:
    """Whether only judging is left for an ended job: its answers are stored, or lost. That needs no service."""
    job = target.job
    raw = session.state_folder.run(target.run.id).raw(job.id)
    return job.stage is JobStage.ENDED and (job.lost is not None or raw.exists())


async def gather_ended(session: Session, target: KnownJob, *, writing: asyncio.Lock) -> Job:
    """The same for a job of a run that this process drives and has locked.

    ``writing`` is held while ``rows.db`` is written, because other jobs of the run are planned and collected meanwhile.
    """
    operation = None
    if not _is_here(session, target):
        operation = await _ended(session, target)
    return (await gather(session, target, operation, writing=writing)).job


async def accept_incomplete(session: Session, target: KnownJob) -> None:
    """Collect a job whose output is incomplete with the answers that there are. Raises StateError."""
    folder = session.state_folder.run(target.run.id)
    async with session.locked(folder, unless=lambda: False):
        job = session.ledger().job(target.job.id)
        if job.stage is JobStage.ENDED:
            await lose(session, replace(target, job=job), "OUTPUT_INCOMPLETE")


async def lose(session: Session, target: KnownJob, reason: str, *, writing: asyncio.Lock | None = None) -> Job:
    """Collect a job whose answers the service no longer has; its requests become ``missing`` with ``reason``.

    If some of them came before, these count, and the others are missing with OUTPUT_INCOMPLETE. The loss is recorded
    first. Otherwise a process that is killed here would leave a job whose answers are merely absent, and its requests
    would be resent. The caller holds the run's lock.
    """
    now = session.world.now()
    if partial(session.state_folder.run(target.run.id).raw(target.job.id)).exists():
        reason = "OUTPUT_INCOMPLETE"
    elif reason != "OUTPUT_INCOMPLETE" and _was_held(session, target):
        reason = "RESULTS_DAMAGED"
    job = session.ledger().update_job(target.job, f"lost: {reason}", at=now, stage=JobStage.ENDED, lost=reason)
    return (await gather(session, replace(target, job=job), None, writing=writing)).job


def _was_held(session: Session, target: KnownJob) -> bool:
    """Whether answers of a job were collected here before."""
    with session.state_folder.run(target.run.id).rows() as rows:
        return any(file["id"] == target.job.ordinal and file["bytes"] for file in rows.answer_files())


async def restore(session: Session, run: Run, *, only: Job | None = None) -> None:
    """Fetch raw answers again that are missing here or were changed, of all jobs or of one (``only``).

    A job that the service does not show is to be collected from then on, as one that has ended: ``run`` finds out
    whether it is gone. Raises ServiceError if the service cannot give the answers now, JobError, NotFinished,
    StateError.
    """
    folder, ledger = session.state_folder.run(run.id), session.ledger()
    found = await asyncio.to_thread(damage, folder, only=only)
    if not found:
        return
    if lent := [one for one in found if ledger.job(one.job).run != run.id]:
        await _restore_lent(session, run, lent)
    async with session.locked(folder, unless=lambda: False):
        for one in await asyncio.to_thread(damage, folder, only=only):
            if ledger.job(one.job).run != run.id:
                continue
            target = KnownJob(run, ledger.job(one.job), session.settings.offline)
            called = target.job.via == "flex"
            then = "The service keeps no answers of calls." if called else "Fetching it from the service again."
            session.emit(Notice(f"{one.what} {then}", "warning"))
            session.check_bound(target)
            if one.path.exists():  # first, so that a process that is killed here finds the file missing
                one.path.replace(_aside(one.path))
            job = ledger.update_job(target.job, "answers damaged", at=session.world.now(), stage=JobStage.ENDED)
            target = replace(target, job=job)
            if called:
                await lose(session, target, "RESULTS_DAMAGED")
                continue
            try:
                operation = None if job.lost is not None else await _ended(session, target)
                await gather(session, target, operation)
            except (JobError, ApiError) as error:
                # One such answer proves nothing: the job stays ended, and the next command asks again.
                if meaning(error).not_shown and run.requests_known:
                    why = "asks for a quarter of an hour, and then continues without them"
                    error.next = Next("run", run.id, "-o", "results.jsonl", why=why)
                raise


async def _restore_lent(session: Session, run: Run, lent: Sequence[Damage]) -> None:
    """The same for answers that a run took from others: they are fetched again there, and looked up again here."""
    ledger, folder = session.ledger(), session.state_folder.run(run.id)
    for one in lent:
        job = ledger.job(one.job)
        if session.state_folder.run(job.run).path.is_dir():
            await restore(session, ledger.run_of(job), only=job)
    async with session.locked(folder, unless=lambda: False):
        left = {one.file for one in await asyncio.to_thread(damage, folder)}
        with folder.rows() as rows:
            give_back(rows, [one.file for one in lent if one.file in left])
        await in_thread(lambda emit: recall(session.state_folder, run.id, emit=emit), session.emit)


def _aside(raw: Path) -> Path:
    """A free name for a damaged raw file, which is kept."""
    number = 1
    while (path := raw.with_suffix(f".damaged-{number}")).exists():
        number += 1
    return path


async def gather(
    session: Session, target: KnownJob, operation: Operation | None, *, writing: asyncio.Lock | None = None
) -> KnownJob:
    """Fetch and judge the answers of an ended job; without an ``operation``, they are already stored, or lost.

    The caller holds the run's lock.
    """
    run, job = target.run, target.job
    folder = session.state_folder.run(run.id)
    ledger, stated, raw = session.ledger(), None, folder.raw(job.id)
    with Kept(folder.path) as kept:
        if operation is not None:
            remote = remote_job(operation)
            job = record_seen(session, job, remote)
            stated = remote.model if is_another(remote.model, job.model) else None
            if not raw.exists():
                await fetch(session, operation, raw, target, kept)
        elif job.lost is not None and not raw.exists() and partial(raw).exists():
            partial(raw).replace(raw)
        assert job.phase is not None or job.lost is not None
        reason = job.lost or ("NO_ANSWER" if job.via == "flex" else _MISSING.get(job.phase or Phase.UNKNOWN, "NO_LINE"))
        async with writing or asyncio.Lock():
            await in_thread(
                lambda emit: judge_file(emit, folder, run, job, reason, stated=stated, kept=kept), session.emit
            )
    if job.via == "flex" and job.lost is None:  # what was lost was paid for: only ``retry`` sends it again
        async with writing or asyncio.Lock():
            with folder.rows() as rows:
                counts = settle_calls(session, folder, rows, job)
        job = ledger.update_job(job, "calls counted", at=session.world.now(), **counts)
    if run.origin == "adopted":
        with folder.rows() as rows:
            if run.requests_known:
                release_never_sent(rows, job)
            else:
                ledger.set_requests(run, job, rows.count(), at=session.world.now())
    now = session.world.now()
    done = msgspec.structs.replace(job, stage=JobStage.COLLECTED, collected_at=now)
    jobs = sorted([*(one for one in ledger.jobs_of(run.id) if one.id != job.id), done], key=lambda one: one.ordinal)
    if all(one.stage is JobStage.COLLECTED for one in jobs if one.stage.made):
        write_manifest(folder, ledger.run(run.id) or run, jobs)
    cost, possible = settle(session, run, job)
    job = ledger.update_job(
        job, "collected", at=now, stage=JobStage.COLLECTED, collected_at=now, settled=cost, possible=possible
    )
    return replace(target, run=ledger.run_of(job), job=job)


def release_never_sent(rows: Rows, job: Job) -> int:
    """Let requests wait that were not in an adopted job at all; returns how many.

    That is certain only if every request that the service counts in the job has its line: those of this run, and those
    whose keys belong to none of it. Otherwise a request without a line may have been in the job and been paid for.
    """
    foreign = rows.quarantined()
    lines = rows.answered_in(job.ordinal) + foreign.pop("FOREIGN_KEY", 0)
    return 0 if foreign or lines != job.total else rows.never_in(job.ordinal)


async def _ended(session: Session, target: KnownJob | UnknownJob) -> Operation:
    """The job's operation, once the job has ended and its output can be fetched or is overdue.

    Raises NotFinished while the job is alive or its output is late, JobError if there is no output, ServiceError.
    """
    clock = session.world.monotonic
    seen, began = await poll_job(session, target, with_answers=True), clock()
    for pause in _OUTPUT_PAUSES:
        if not seen.job.phase.ended or output_of(seen.operation, 0.0) is Output.COMPLETE:
            break
        session.emit(Notice("The job has ended, but its results are not available yet; polling again."))
        await session.world.sleep(pause)
        seen = await poll_job(session, target, with_answers=True)
    batch, job = target.name, seen.job
    following = Next("status", batch, "--wait")
    if not job.phase.ended:
        counts = f", {job.succeeded + job.failed} of {job.total} done" if job.total else ""
        raise NotFinished(f"{batch} is not finished: {job.state}{counts}.", job=batch, state=job.state, next=following)
    output = output_of(seen.operation, ended_for(session, target, job, clock() - began))
    ours = target if isinstance(target, KnownJob) and target.run.origin == "made" else None
    if output is not Output.COMPLETE and job.succeeded and ours is not None:
        raise incomplete(session, ours, job, 0)
    if output is Output.LATE:
        what = "succeeded" if job.phase is Phase.SUCCEEDED else f"ended as {job.state}"
        raise NotFinished(
            f"{batch} {what}, but its results are not available yet.", job=batch, state=job.state, next=following
        )
    if output is Output.OVERDUE and job.phase is Phase.SUCCEEDED and not job.has_output:
        raise JobError(
            f"{batch} succeeded more than a day ago and still has no results. They may still come: run the same "
            "command again later.",
            job=batch,
            state=job.state,
            next=create_anew(target.run) if isinstance(target, KnownJob) else None,
        )
    if not job.has_output and (isinstance(target, UnknownJob) or not target.run.requests_known):
        why = f": {job.error_message}" if job.error_message else ""
        raise JobError(f"{batch} ended as {job.state} and left no results{why}.", job=batch, state=job.state, next=None)
    return seen.operation


def adopt(session: Session, remote: RemoteJob) -> KnownJob:
    """Enter a job that was created elsewhere into the ledger, as a new run. Raises StateError."""
    ledger = session.ledger()
    now = session.world.now()
    run_id = f"run-{session.world.token(8)}"
    run = Run(
        id=run_id,
        identity=None,
        origin="adopted",
        created_at=now,
        method=remote.method,
        model=remote.model,
        backend=address_of(session.settings),
        requests=0,
        bytes=0,
        sha256=None,
        source=None,
    )
    job = Job(
        id=f"{run_id}-1",
        run=run_id,
        ordinal=1,
        model=remote.model,
        requests=0,
        tokens=0,
        part=None,
        offset=0,
        bytes=0,
        sha256=None,
        input_kind="inline" if remote.output_inline else "file",
        display_name=remote.display_name,
        stage=JobStage.CREATED,
        batch=remote.name,
        created_at=remote.create_time,
        key_fingerprint=session.key_fingerprint(),
    )
    folder = session.state_folder.run(run_id)
    try:
        private_folder(folder.path.parent)
        folder.path.mkdir(mode=0o700)
    except OSError as error:
        raise state_error(error, folder.path, "run folder") from error
    offline = session.settings.offline
    is_new = False
    try:
        is_new = ledger.add_run(run, job, at=now)
    finally:
        if not is_new:
            folder.path.rmdir()
    if is_new:
        return KnownJob(run, job, offline)
    # Another process has just adopted it.
    found = ledger.job_by_batch(remote.name)
    assert found is not None
    return KnownJob(ledger.run_of(found), found, offline)


#: What a manifest records of a job: its origin and its outcome, not how it was sent.
_JOB_FIELDS = (
    "ordinal", "model", "batch", "display_name", "requests", "bytes", "sha256", "file", "created_at", "ended_at",
    "collected_at", "state", "total", "succeeded", "failed", "error_code", "error_message", "dropped_at", "lost",
)  # fmt: skip


def write_manifest(folder: RunFolder, run: Run, jobs: Sequence[Job]) -> None:
    """Write a run's manifest: hashes, settings, jobs, counts, tokens, versions. Raises StateError.

    It counts all of a run, so it is written when no job is left to be collected.
    """
    with folder.rows() as rows:
        document = {
            "version": 1,
            "run": run,
            "jobs": [{name: getattr(job, name) for name in _JOB_FIELDS} for job in jobs],
            "answers": {"verdicts": rows.census().verdicts(), "quarantined": rows.quarantined()},
            "tokens": rows.tokens(),
            "raw": [dict(row) for row in rows.answer_files()],
            "made_with": {"gemini-batch": __version__, "python": platform.python_version()},
        }
    try:
        with atomic_write(folder.manifest, private=True) as file:
            file.write(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    except OSError as error:
        raise state_error(error, folder.manifest, "manifest") from error
