"""Downloads the raw answers of an ended job to one file, complete and synced before it is renamed into place.

A download is checked before it is accepted: a proxy's error page or a truncated file must not become the results,
because a raw file that is in place is never downloaded again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.api.trouble import meaning
from gemini_batch.errors import ApiError, JobError, ServiceError
from gemini_batch.events import Notice, Transfer
from gemini_batch.jsonl import MAX_LINE, private_folder, private_open, read_lines, sync_folder
from gemini_batch.report.next_steps import create_anew
from gemini_batch.store.sqlite import state_error
from gemini_batch.wire import inline_answers, remote_job

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.session import KnownJob, Session
    from gemini_batch.wire import Operation, RemoteJob


#: How often a file that has no answers, or is truncated, is downloaded before it counts as the service's answer.
_DOWNLOADS = 3


async def fetch(session: Session, operation: Operation, raw: Path, target: KnownJob) -> None:
    """Write the raw answers to ``raw``: complete, synced and renamed into place.

    Raises JobError if the service no longer has them, ServiceError if they cannot be downloaded now, StateError.
    """
    remote = remote_job(operation)
    part = raw.with_suffix(".part")
    try:
        private_folder(raw.parent)
        if remote.output_file is not None:
            await _download(session, remote, part, target)
        else:
            part.unlink(missing_ok=True)
            with private_open(part, "wb") as file:
                for answer in inline_answers(operation):
                    file.write(bytes(answer).replace(b"\n", b" ") + b"\n")
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(raw)
        sync_folder(raw.parent)
    except OSError as error:
        raise state_error(error, raw, "raw results file") from error


async def _download(session: Session, remote: RemoteJob, part: Path, target: KnownJob) -> None:
    try:
        for attempt in range(1, _DOWNLOADS):
            if await _is_whole(session, remote, part, target, first=attempt == 1):
                return
            await session.world.sleep(float(attempt))
        await _once(session, remote, part, target)
    except ApiError as error:
        if not meaning(error).not_shown:
            raise
        if target.run.key_fingerprint != session.key_fingerprint():
            raise session.explain_absence(error, target) from error
        raise JobError(
            f"The service no longer has the results of {remote.name} ({error.status}); it keeps results for a limited "
            "time.",
            job=remote.name,
            state=remote.state,
            code="results_gone",
            next=create_anew(target.run),
        ) from error
    if _glance(part) == "something else":
        part.unlink()
        raise ServiceError(
            f"The file downloaded as the results of {remote.name} contains no results.",
            code="unreadable_answer",
            next="A proxy may have answered instead of the service. Check the network, then run the same command "
            "again.",
        )


async def _once(session: Session, remote: RemoteJob, part: Path, target: KnownJob) -> None:
    assert remote.output_file is not None
    service = (await session.backend()).service
    emit, job = session.emit, target.job.id

    def progress(done: int, total: int | None) -> None:
        emit(Transfer("downloading", done, total, job=job))

    size = await service.download(remote.output_file, part, progress=progress)
    progress(size, size)


async def _is_whole(session: Session, remote: RemoteJob, part: Path, target: KnownJob, *, first: bool) -> bool:
    """Download once and check whether the file can be complete; a useless file is removed.

    Fewer lines than the service counted are doubted only the ``first`` time: rows can be absent for good.
    """
    await _once(session, remote, part, target)
    if _glance(part) != "answers":
        session.emit(Notice("The download contains no answers; downloading again."))
        part.unlink()
        return False
    if _ends_within_a_line(part):
        # A stated length that is too short hides that something is missing; another request continues from there.
        session.emit(Notice("The download ends in the middle of a line; continuing it."))
        return False
    if first and _lines(part) < remote.succeeded + remote.failed:
        session.emit(Notice("The download has fewer lines than the service counted; downloading again."))
        part.unlink()
        return False
    return True


def _glance(path: Path) -> Literal["answers", "remains", "something else"]:
    """What a downloaded file seems to be: results, remains of them (lines without keys, or none), or something else.

    The first answer decides; the whole file is read only if there is none. A truncated line that begins as a JSON
    object was part of a result: no web page begins that way.
    """
    if not path.stat().st_size:
        return "remains"
    found: Literal["remains", "something else"] = "something else"
    with path.open("rb") as file:
        for line in read_lines(file):
            answer = parse_line(line.data)
            if isinstance(answer, Answer):
                return "answers"
            if answer.reason in {"NO_KEY", "KEY_NOT_TEXT"} or line.data.lstrip().startswith(b"{"):
                found = "remains"
    return found


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in read_lines(file) if line.data.strip())


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
