"""Downloads the raw answers of an ended job to one file, complete and synced before it is renamed into place.

A download is checked before it is accepted: a proxy's error page or a truncated file must not become the results,
because a raw file that is in place is never downloaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.redaction import holds_key, redact_words
from gemini_batch.api.trouble import meaning
from gemini_batch.engine.backoff import ABSENT_TIMES, LATE_COUNTED, LATE_SUCCEEDED
from gemini_batch.engine.judging import Judge
from gemini_batch.engine.poller import ended_for
from gemini_batch.errors import ApiError, JobError, Next, NotFinished, ServiceError
from gemini_batch.events import Notice, Transfer
from gemini_batch.jsonl import MAX_LINE, LongLine, private_folder, private_open, read_all_lines, sync_folder
from gemini_batch.report.next_steps import create_anew
from gemini_batch.safe_text import Redactor
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.sqlite import state_error
from gemini_batch.wire import Phase, inline_answers, remote_job

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_batch.engine.judging import Kept
    from gemini_batch.session import KnownJob, Session
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.wire import Operation, RemoteJob


#: How often a file that has no answers, or is truncated, is downloaded before it counts as the service's answer.
_DOWNLOADS = 3
_ACCEPTED = "takes what is there; requests without an answer become missing, and only retry resends them"


async def fetch(session: Session, operation: Operation, raw: Path, target: KnownJob, kept: Kept | None = None) -> None:
    """Write the raw answers to ``raw``: complete, synced and renamed into place. ``kept`` keeps what was judged.

    Raises NotFinished if there are fewer than the service counts (those are kept, see :func:`partial`), JobError if the
    service no longer has them, ServiceError if they cannot be downloaded now, StateError.
    """
    remote = remote_job(operation)
    part = raw.with_suffix(".part")
    try:
        private_folder(raw.parent)
        if remote.output_file is not None:
            try:
                answers = await _download(session, remote, part, target, kept)
            except BaseException:
                await _drop_with_key(session, part)
                raise
        else:
            part.unlink(missing_ok=True)
            with private_open(part, "wb") as file:
                for answer in inline_answers(operation):
                    file.write(bytes(answer).replace(b"\n", b" ") + b"\n")
            answers = (await asyncio.to_thread(_examine, session, part, target, kept, compare=False)).answers
        key = (await session.backend()).key.reveal()
        if await asyncio.to_thread(redact_words, part, Redactor(key)) and kept is not None:
            kept.clear()
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        if remote.has_output and answers < _due(target, remote):
            if answers and (not partial(raw).exists() or answers > whole_lines(partial(raw))):
                part.replace(partial(raw))
            raise incomplete(session, target, remote, answers)
        part.replace(raw)
        partial(raw).unlink(missing_ok=True)
        sync_folder(raw.parent)
    except OSError as error:
        raise state_error(error, raw, "raw results file") from error


async def _drop_with_key(session: Session, part: Path) -> None:
    """Remove an unfinished download that holds the API key; it is redacted only when it is complete."""
    redactor = Redactor((await session.backend()).key.reveal())
    with contextlib.suppress(FileNotFoundError):
        if holds_key(part, redactor):
            part.unlink()


def partial(raw: Path) -> Path:
    """Where the answers of a job are kept whose output is incomplete: fewer than the service counts."""
    return raw.with_suffix(".incomplete")


def _due(target: KnownJob, remote: RemoteJob) -> int:
    """How many answers the output of an ended job must have.

    A job that succeeded with another number of requests than it was sent contradicts itself: all are due. So does one
    that counts nothing at all, not even its requests.
    """
    counted = remote.succeeded + remote.failed
    if target.run.origin != "made":
        return counted
    if remote.phase is Phase.SUCCEEDED and (remote.total not in {0, target.job.requests} or not remote.total + counted):
        return target.job.requests
    return min(counted, target.job.requests)


def incomplete(session: Session, target: KnownJob, remote: RemoteJob, answers: int) -> NotFinished:
    """The error for an output with fewer answers than are due; when it is overdue, with a way to go on without."""
    # After a cancel, most jobs never show what they count, and nothing is resent unasked.
    patience = LATE_COUNTED if remote.phase is Phase.CANCELLED and not remote.has_output else LATE_SUCCEEDED
    late = ended_for(session, target, remote, 0.0) >= patience
    counted, due = remote.succeeded + remote.failed, _due(target, remote)
    if not answers:
        how = "succeeded" if remote.phase is Phase.SUCCEEDED else f"ended as {remote.state}"
        message = f"{remote.name} {how}, but its results are not available yet; the service counts {counted:,} answers"
    elif due > counted:
        message = (
            f"The output of {remote.name} is incomplete: {due:,} requests were sent, the service counts "
            f"{remote.total:,} and gives {answers:,} answers"
        )
    else:
        message = f"The output of {remote.name} is incomplete: the service counts {due:,} answers and gives {answers:,}"
    return NotFinished(
        f"{message}.",
        job=remote.name,
        state=remote.state,
        code="output_incomplete",
        next=Next("results", target.run.id, "--accept-incomplete", "-o", "results.jsonl", why=_ACCEPTED)
        if late
        else "The rest may still come. Run the same command again later; nothing is paid for twice.",
    )


async def _download(session: Session, remote: RemoteJob, part: Path, target: KnownJob, kept: Kept | None) -> int:
    """Download until the file can be complete, or the service has given the same answer often enough.

    Returns the number of answers; a file of something else has none, and counts once it has come for a day.
    """
    attempt = 0
    while True:
        attempt += 1
        is_sized = await _shown(session, remote, part, target)
        content = await asyncio.to_thread(_examine, session, part, target, kept, compare=not is_sized)
        doubt = _doubt(content, remote, first=attempt == 1)
        if doubt is None or attempt == _DOWNLOADS:
            break
        what, go_on = doubt
        session.emit(Notice(f"The download {what}; {'continuing it' if go_on else 'downloading again'}."))
        if not go_on:
            part.unlink()
        await session.world.sleep(float(attempt))
    if content.is_foreign:
        if ended_for(session, target, remote, 0.0) < LATE_SUCCEEDED:
            part.unlink()
            raise ServiceError(
                f"The file downloaded as the results of {remote.name} contains no results.",
                code="unreadable_answer",
                next="A proxy may have answered instead of the service. Check the network, then run the same command "
                "again.",
            )
        session.emit(Notice(f"The results of {remote.name} have contained no answers for a day.", "warning"))
        return 0
    return content.answers


async def _shown(session: Session, remote: RemoteJob, part: Path, target: KnownJob) -> bool:
    """Download once, and ask again if the service does not show the file; returns whether it stated the file's size.

    Raises JobError if it does not show the file each time.
    """
    times = 0
    while True:
        times += 1
        try:
            return await _once(session, remote, part, target)
        except ApiError as error:
            if not meaning(error).not_shown:
                raise
            if target.job.key_fingerprint != session.key_fingerprint():
                raise session.explain_absence(error, target) from error
            if times == ABSENT_TIMES:
                raise JobError(
                    f"The service no longer has the results of {remote.name} ({error.status}); it keeps results for a "
                    "limited time.",
                    job=remote.name,
                    state=remote.state,
                    code="results_gone",
                    next=create_anew(target.run)
                    if ended_for(session, target, remote, 0.0) >= LATE_SUCCEEDED
                    else "They may reappear. Run the same command again later.",
                ) from error
        await session.world.sleep(float(times))


async def _once(session: Session, remote: RemoteJob, part: Path, target: KnownJob) -> bool:
    """Download once; returns whether the service stated the size of the file."""
    assert remote.output_file is not None
    service = (await session.backend()).service
    emit, job = session.emit, target.job.id
    stated: int | None = None

    def progress(done: int, total: int | None) -> None:
        nonlocal stated
        stated = total
        emit(Transfer("downloading", done, total, job=job))

    size = await service.download(remote.output_file, part, progress=progress)
    emit(Transfer("downloading", size, size, job=job))
    return stated is not None


@dataclass(frozen=True, slots=True)
class _Content:
    """What a downloaded file holds.

    ``answers``: requests that have a line, and lines that may be the answer of a request but do not say of which; a
    second line of a request, or one of another job's, is none. ``remains``: there are lines that look like results
    without keys. ``damaged``: lines that are not JSON. ``owed``: requests of the job without a line, None if that was
    not looked up. ``is_cut``: the last line is not complete.
    """

    lines: int
    answers: int
    has_answers: bool
    remains: bool
    damaged: int
    is_cut: bool
    owed: int | None

    @property
    def is_foreign(self) -> bool:
        """Whether this is something else than results, a web page for example; an empty file is not."""
        return bool(self.lines) and not self.has_answers and not self.remains


class _Members:
    """The requests of a job that have been found, one bit each."""

    def __init__(self, run: Run) -> None:
        self.found = 0
        self._bits = bytearray(run.requests // 8 + 1)

    def add(self, requests: Iterable[int]) -> None:
        """Count those that are not counted yet."""
        for seq in requests:
            place, bit = seq // 8, 1 << seq % 8
            self.found += not self._bits[place] & bit
            self._bits[place] |= bit


def _examine(session: Session, part: Path, target: KnownJob, kept: Kept | None, *, compare: bool) -> _Content:
    """Judge a downloaded file, and count its answers. ``compare`` its keys with the keys that the job owes.

    The requests of a job that was made elsewhere are unknown, so each of its lines counts.
    """
    folder, run, job = session.state_folder.run(target.run.id), target.run, target.job
    # Of a job that was collected before, all that it carried counts, wherever its requests are now. Its verdicts are
    # not kept: those that are written depend on where the requests are.
    narrowed = job.stage is JobStage.COLLECTED and run.requests_known
    members = None if run.origin == "adopted" else _Members(run)
    lines = keyless = damaged = 0
    has_answers = remains = False
    with contextlib.ExitStack() as stack:
        file, rows = stack.enter_context(part.open("rb")), None
        if run.requests_known:
            rows = stack.enter_context(open_rows(folder, [job], only=job) if narrowed else folder.rows())
        judged = stack.enter_context(contextlib.closing(Judge(folder, run, job, rows, narrowed=narrowed).read(file)))
        for one in judged if narrowed or kept is None else kept.passing(judged):
            lines += one.lines
            keyless += one.keyless
            damaged += one.damaged
            has_answers = has_answers or one.has_answers
            remains = remains or one.remains
            if members is not None:
                members.add(one.requests)
    is_cut = _ends_within_a_line(part)
    if members is None:
        return _Content(lines, lines - is_cut, has_answers, remains, damaged, is_cut, None)
    owed = max(0, job.requests - members.found) if compare else None
    return _Content(lines, members.found + keyless - is_cut, has_answers, remains, damaged, is_cut, owed)


def _doubt(content: _Content, remote: RemoteJob, *, first: bool) -> tuple[str, bool] | None:
    """Why a download may not be the whole file, and whether what came can be continued; None if it can be the whole.

    Fewer lines than the service counted are doubted only the ``first`` time: what is behind may take hours. A file of
    unstated size can have been cut at the end of any line, so it is doubted every time.
    """
    if not content.has_answers:
        return "contains no answers", False
    if content.is_cut:
        # A stated length that is too short hides that something is missing; another request continues from there.
        return "ends in the middle of a line", True
    if content.owed:
        return f"has no line for {content.owed:,} of the requests", False
    if first and content.damaged:
        # It may be joined from two states of a file that the service has replaced meanwhile.
        return "has lines that cannot be read", False
    if first and content.answers < remote.succeeded + remote.failed:
        return "has fewer answers than the service counted", False
    return None


def whole_lines(path: Path) -> int:
    """How many complete lines a file of answers has."""
    with path.open("rb") as file:
        lines = sum(1 for line in read_all_lines(file) if isinstance(line, LongLine) or line.data.strip())
    return lines - _ends_within_a_line(path)


def _ends_within_a_line(path: Path) -> bool:
    """Whether a JSONL file is truncated: its last line has no line ending and is not JSON."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start, tail = size, b""
        while start and b"\n" not in tail and len(tail) < MAX_LINE:
            start = max(0, size - max(2 * len(tail), 1 << 16))
            file.seek(start)
            tail = file.read(size - start)
    last = tail.rpartition(b"\n")[2].strip()
    if not last:
        return False
    try:
        msgspec.json.decode(last)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False
