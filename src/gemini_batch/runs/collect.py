"""Collecting: what a job answered comes here once, and stays.

The order that makes every crash harmless: the raw file is downloaded beside its place and renamed; then one
transaction writes all verdicts into ``rows.db``; then the ledger says ``collected``. Each step can be repeated.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import shlex
import sqlite3
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from gemini_batch.errors import ApiError, JobError, NetworkError, NotFinished
from gemini_batch.jsonl import read_lines
from gemini_batch.results.verdict import Answer, Usage, judge, parse_line
from gemini_batch.runs.events import Moved, Said, Tell, in_thread
from gemini_batch.runs.fetch import fetch
from gemini_batch.runs.manifest import write_manifest
from gemini_batch.runs.records import Job, Life, Run
from gemini_batch.runs.rowtypes import AnswerRow, RequestRow, Wanted
from gemini_batch.runs.sqlite import state_error
from gemini_batch.wire import Operation, Phase, inline_answers, remote_job

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.backend import Service
    from gemini_batch.results.verdict import Judged
    from gemini_batch.runs.home import RunFolder
    from gemini_batch.runs.rows import Rows
    from gemini_batch.runs.session import Session, Target
    from gemini_batch.runs.source import SourceWriter
    from gemini_batch.wire import RemoteJob

#: Seconds that the service is granted for a large inline answer; its own default is 60.
_INLINE_SERVER_TIMEOUT = 600
#: Looks at a job that has ended but whose output is not there yet, seconds apart.
_OUTPUT_WAITS = (1.0, 2.0, 4.0, 8.0)
#: A job that has succeeded for so many seconds and shows no output is not waited for any more.
_OUTPUT_LATEST = 86_400.0
#: The same for what a job has answered that did not succeed, where a run has the time for it.
_PARTIAL_LATEST = 600.0
_BATCH = 2000

_MISSING = {
    Phase.FAILED: "JOB_FAILED",
    Phase.EXPIRED: "JOB_EXPIRED",
    Phase.CANCELLED: "JOB_CANCELLED",
}


async def collect(session: Session, target: Target) -> tuple[Run, Job]:
    """Make sure that a job's answers are held here; returns its run and job, ``collected``.

    Raises NotFinished while the job is alive, JobError where it has nothing to give, ServiceError, StateError.
    """
    if target.job is not None and target.job.batch is None:
        raise NotFinished(
            f"{target.name} has no job yet: its create did not finish.",
            job=target.name,
            state="NOT_CREATED",
            next=f"Type: gemini-batch create {shlex.quote(target.run.source or '') if target.run else 'FILE'}",
        )
    if target.run is not None and target.job is not None and target.job.life is Life.COLLECTED:
        return target.run, target.job
    operation = None
    if target.run is not None and target.job is not None and _is_here(target, target.job):
        run, job = target.run, target.job
    else:
        session.check_bound(target)
        operation = await _ended(session, target)
        run, job = adopt(session, target, remote_job(operation))
    async with session.locked(target.home.run(run.id)):
        job = session.ledger(target.home).job(job.id)
        if job.life is Life.COLLECTED:  # another process was quicker
            return run, job
        return await gather(session, target, run, job, operation)


def _is_here(target: Target, job: Job) -> bool:
    """Whether an ended job's answers, or its loss, only have to be judged: no service is needed for that."""
    assert target.run is not None
    return job.life is Life.ENDED and (job.lost is not None or target.home.run(target.run.id).raw(job.id).exists())


async def gather_ended(session: Session, target: Target, *, writing: asyncio.Lock) -> Job:
    """The same for a job of a run that this process drives, and whose lock it holds.

    ``writing`` is held while ``rows.db`` is written: other jobs of the run are planned and collected meanwhile.
    """
    assert target.run is not None
    assert target.job is not None
    operation = None
    if not _is_here(target, target.job):
        operation = await _ended(session, target, partial_latest=_PARTIAL_LATEST)
    _, job = await gather(session, target, target.run, target.job, operation, writing=writing)
    return job


async def lose(session: Session, target: Target, reason: str, *, writing: asyncio.Lock) -> Job:
    """Collect a job without answers, because the service no longer has them; its requests are missing for ``reason``.

    The loss is written down before anything else: a process that dies here leaves no job whose answers are just absent,
    which would be sent again. The caller holds the run's lock.
    """
    assert target.run is not None
    assert target.job is not None
    ledger = session.ledger(target.home)
    job = ledger.update_job(target.job, f"lost: {reason}", at=session.world.now(), life=Life.ENDED, lost=reason)
    _, job = await gather(session, target, target.run, job, None, writing=writing)
    return job


async def gather(
    session: Session,
    target: Target,
    run: Run,
    job: Job,
    operation: Operation | None,
    *,
    writing: asyncio.Lock | None = None,
) -> tuple[Run, Job]:
    """Bring the answers of an ended job here and judge them; without an ``operation`` they are here, or lost.

    The caller holds the run's lock.
    """
    folder = target.home.run(run.id)
    ledger = session.ledger(target.home)
    if operation is not None:
        job = ledger.seen(job, remote_job(operation), at=session.world.now())
        raw = folder.raw(job.id)
        if not raw.exists():
            await fetch(session, operation, raw, target)
    assert job.phase is not None or job.lost is not None
    reason = job.lost or _MISSING.get(job.phase or Phase.UNKNOWN, "NO_LINE")
    async with writing or asyncio.Lock():
        await in_thread(lambda tell: judge_file(tell, folder, run, job, reason), session.tell)
    if run.origin == "adopted":
        with folder.rows() as rows:
            ledger.set_requests(run, job, rows.count(), at=session.world.now())
    now = session.world.now()
    done = msgspec.structs.replace(job, life=Life.COLLECTED, collected_at=now)
    others = [other for other in ledger.jobs_of(run.id) if other.id != job.id]
    write_manifest(folder, ledger.run(run.id) or run, sorted([*others, done], key=lambda one: one.ordinal))
    job = ledger.update_job(job, "collected", at=now, life=Life.COLLECTED, collected_at=now)
    return ledger.run(run.id) or run, job


async def _ended(session: Session, target: Target, *, partial_latest: float = 0.0) -> Operation:
    """The job's operation, once it has ended and its output can be fetched.

    ``partial_latest``: for so many seconds since its end the output of a job that did not succeed is waited for, where
    the service has counted answers; many such jobs never show any.
    """
    service = (await session.backend()).service
    batch = target.job.batch if target.job else target.name
    assert batch is not None
    operation = await _get(session, service, batch, target)
    for wait in _OUTPUT_WAITS:
        if not _waits_for_output(operation):
            break
        session.tell(Said("The job has ended, but its results are not there yet; looking again."))
        await session.world.sleep(wait)
        operation = await _get(session, service, batch, target)
    remote = remote_job(operation)
    if target.job is not None:
        session.ledger(target.home).seen(target.job, remote, at=session.world.now())
    following = f"Type: gemini-batch status {batch} --wait"
    if not remote.phase.ended:
        counts = f", {remote.succeeded + remote.failed} of {remote.total} done" if remote.total else ""
        raise NotFinished(
            f"{batch} is not finished: {remote.state}{counts}.",
            job=batch,
            state=remote.state,
            next=following,
        )
    if _must_have_output(operation):
        known = session.ledger(target.home).job(target.job.id) if target.job else None
        ended = remote.end_time or (known.ended_at if known else None) or session.world.now()
        latest = _OUTPUT_LATEST if remote.phase is Phase.SUCCEEDED else partial_latest
        if session.world.now() - ended < latest:
            what = "has succeeded" if remote.phase is Phase.SUCCEEDED else f"has ended as {remote.state}"
            raise NotFinished(
                f"{batch} {what}, and its results are not there yet.", job=batch, state=remote.state, next=following
            )
        if remote.phase is Phase.SUCCEEDED and not remote.has_output:
            raise JobError(
                f"{batch} has succeeded more than a day ago, and still shows no results.",
                job=batch,
                state=remote.state,
                next="They may come yet: the same command looks again. create --new sends the requests once more, "
                "at full batch price.",
            )
    if not remote.has_output and (target.run is None or target.run.origin == "adopted"):
        why = f": {remote.error_message}" if remote.error_message else ""
        raise JobError(
            f"{batch} ended as {remote.state} and left no results{why}.", job=batch, state=remote.state, next=None
        )
    return operation


def _must_have_output(operation: Operation) -> bool:
    """Whether a job has ended and does not show yet what it must have: by its state, or by its own counts."""
    remote = remote_job(operation)
    if not remote.phase.ended:
        return False
    if remote.has_output:
        return remote.output_inline and remote.succeeded > 0 and not inline_answers(operation)
    return remote.phase is Phase.SUCCEEDED or remote.succeeded > 0


def _waits_for_output(operation: Operation) -> bool:
    """The same; an end without an error in a state that nobody knows, or in none, is looked at again, too."""
    remote = remote_job(operation)
    said_to_fail = operation.error is not None or remote.state == "JOB_STATE_FAILED"
    unsaid = remote.phase is Phase.FAILED and not said_to_fail and not remote.has_output
    return unsaid or _must_have_output(operation)


async def _get(session: Session, service: Service, batch: str, target: Target) -> Operation:
    try:
        return await service.get(batch)
    except (ApiError, NetworkError) as error:
        if isinstance(error, ApiError):
            if error.status in {403, 404}:
                raise session.explain_absence(error, target) from error
            if error.status not in {503, 504}:
                raise
        # A job with large inline answers cannot be read within the service's usual minute.
        session.tell(Said("The service needs long for this job; asking again with more time."))
        return await service.get(batch, server_timeout=_INLINE_SERVER_TIMEOUT)


def adopt(session: Session, target: Target, remote: RemoteJob) -> tuple[Run, Job]:
    """The run and job of a target; a job that was made elsewhere gets a run folder of its own."""
    if target.run is not None and target.job is not None:
        return target.run, target.job
    ledger = session.ledger(target.home)
    now = session.world.now()
    run_id = f"run-{session.world.token(8)}"
    run = Run(
        id=run_id,
        identity=None,
        origin="adopted",
        created_at=now,
        method=remote.method,
        model=remote.model,
        backend="offline" if session.settings.offline else session.settings.base_url,
        key_print=session.key_print(),
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
        how="inline" if remote.output_inline else "file",
        display_name=remote.display_name,
        life=Life.CREATED,
        batch=remote.name,
        created_at=remote.create_time,
    )
    folder = target.home.run(run_id)
    try:
        folder.path.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise state_error(error, folder.path, "run folder") from error
    if ledger.add_run(run, job, at=now):
        return run, job
    folder.path.rmdir()
    found = session.locate(remote.name)  # another process adopted it in this very moment
    assert found.run is not None
    assert found.job is not None
    return found.run, found.job


# Judging -------------------------------------------------------------------------------------------------------------


def judge_file(tell: Tell, folder: RunFolder, run: Run, job: Job, missing_reason: str) -> int:
    """Judge every line of a raw file and write all verdicts in one transaction; returns the number of lines.

    A job that was lost has none, and no file.
    """
    raw = folder.raw(job.id)
    try:
        absent = job.lost is not None and not raw.exists()
        size, digest = (0, hashlib.sha256().hexdigest()) if absent else (raw.stat().st_size, _sha256(raw))
        with folder.rows() as rows, io.BytesIO() if absent else raw.open("rb") as file:
            source = rows.begin_source(
                job.ordinal, job.id, file=raw.name, size=size, sha256=digest, missing_reason=missing_reason
            )
            with source as writer:
                lines = _Judging(rows, writer, run, job.ordinal).read(file, size, tell)
                writer.finish(lines)
        return lines
    except (OSError, sqlite3.Error) as error:
        raise state_error(error, folder.path, "run folder") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Judging:
    """One pass over a raw file.

    Answers mostly come in input order, so the next requests are kept at hand: as many as have paid lately. In another
    order reading ahead would cost more than it saves, and each key is looked up by itself.
    """

    def __init__(self, rows: Rows, writer: SourceWriter, run: Run, ordinal: int) -> None:
        self._rows, self._writer, self._ordinal = rows, writer, ordinal
        self._method: Literal["generate", "embed"] = run.method
        self._adopting = run.origin == "adopted"
        self._at_hand: dict[str, Wanted] = {}
        self._used = 0
        self._learned = 0
        self._verdicts: list[AnswerRow] = []

    def read(self, file: IO[bytes], size: int, tell: Tell) -> int:
        lines = told = 0
        for line in read_lines(file):
            data = line.data.strip()
            if not data:
                continue
            lines += 1
            self._line(line.offset, line.data, line.number)
            if len(self._verdicts) >= _BATCH:
                self._flush()
            if line.offset - told > 16 * 1024 * 1024:
                told = line.offset
                tell(Moved("judging", line.offset, size))
        self._flush()
        return lines

    def _flush(self) -> None:
        self._writer.add(self._verdicts)
        self._verdicts.clear()

    def _line(self, offset: int, data: bytes, number: int) -> None:
        answer = parse_line(data)
        if not isinstance(answer, Answer):
            self._writer.quarantine(offset, len(data), answer.reason)
            return
        key = answer.key
        if key is None:
            self._writer.quarantine(offset, len(data), "NO_KEY")
            return
        wanted = self._wanted(key, number)
        if wanted is None:
            self._writer.quarantine(offset, len(data), "FOREIGN_KEY")
            return
        judged = judge(answer, method=self._method, expects_json=wanted.expects_json, dimension=wanted.dimension)
        self._verdicts.append(answer_row(wanted, offset, len(data), judged))

    def _wanted(self, key: str, number: int) -> Wanted | None:
        found = self._at_hand.get(key)
        if found is not None:
            self._used += 1
            return found
        found = self._rows.wanted(key, self._ordinal)
        if found is None and self._adopting:
            found = Wanted(self._learned, expects_json=False, dimension=None, attempt=1)
            self._writer.add_request(RequestRow(self._learned, number, key, 0, 0, False, None, 0))
            self._learned += 1
            return found
        if found is not None and not self._adopting:
            # One lookup by key costs as much as about eight rows read in order. Some rows before it are read too: an
            # order that is only locally another one then stays cheap.
            count = min(_BATCH, 8 * self._used + 16)
            self._at_hand, self._used = self._rows.wanted_from(max(0, found.seq - count // 8), count, self._ordinal), 0
        return found


def answer_row(wanted: Wanted, offset: int, length: int, judged: Judged) -> AnswerRow:
    """A judged answer as ``rows.db`` keeps it."""
    u: Usage = judged.usage
    return AnswerRow(
        wanted.seq,
        wanted.attempt,
        offset,
        length,
        judged.verdict,
        judged.reason,
        u.known or not judged.has_response,  # an error without a response has used no tokens
        u.input,
        u.cached,
        u.output,
        u.thoughts,
        u.tool_use,
        u.audio_input,
        u.image_output,
    )
