"""Checks that a run folder still holds everything that its results need. Checking changes nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.errors import Next, StateError, UsageError
from gemini_batch.jsonl import sha256_of
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Damage:
    """The raw answers of one job that are missing or were changed; ``what`` is a sentence that says so.

    ``file``: the name in ``rows.db``.
    """

    job: str
    file: str
    path: Path
    what: str


def damage(folder: RunFolder, *, only: Job | None = None) -> list[Damage]:
    """The raw files that are not as they were collected, by size and hash; with ``only``, that job's alone.

    Raises StateError if a file, or the row database, cannot be read.
    """
    with folder.rows() as rows:
        answer_files = rows.answer_files()
    found = []
    for file in answer_files:
        if only is not None and file["id"] != only.ordinal:
            continue
        raw = folder.answers(file["file"])
        if not raw.exists():
            if file["bytes"]:  # a lost job has no file
                found.append(Damage(file["job"], file["file"], raw, f"An answer file is missing: {raw}."))
        elif _size_and_digest(raw) != (file["bytes"], file["sha256"]):
            found.append(Damage(file["job"], file["file"], raw, f"An answer file was changed: {raw}."))
    return found


def _size_and_digest(raw: Path) -> tuple[int, str]:
    try:
        return raw.stat().st_size, sha256_of(raw)
    except OSError as error:
        raise state_error(error, raw, "answer file") from error


def missing(folder: RunFolder, run: Run) -> Iterator[str]:
    """What is missing or changed of a run folder, apart from raw answers; one sentence for each problem.

    Raises StateError if the row database cannot be read.
    """
    if not folder.path.is_dir():
        yield f"The run folder, with its requests and answers, is missing: {folder.path}."
        return
    if not folder.row_database.exists():
        yield f"The row database is missing: {folder.row_database}."
        return
    with folder.rows() as rows:
        count = rows.count()
    if count != run.requests:
        yield f"The row database was changed: it has {count:,} of {run.requests:,} requests."


def way_back(name: str, *, offline: bool) -> str | Next:
    """How to get back answers that the state folder has lost."""
    if offline:
        return "Offline answers exist only here. To create the job again, use --new."
    return Next(
        "results",
        name,
        "-o",
        "results.jsonl",
        why="first set GEMINI_BATCH_HOME to a new folder; the service keeps results for days or weeks",
    )


def send_again(run: Run, *, offline: bool) -> Next:
    """What to do about a run whose answers were deleted to make room."""
    if run.in_place:
        return Next("report", run.id, why="shows what it cost; its results are where run --shards wrote them")
    if run.source is None:
        return Next("list", "--long", why="shows which runs hold answers")
    words = (run.source, "--model", run.model, *(("--offline",) if offline else ()), "-o", "results.jsonl")
    cost = "" if offline else ", which costs money again"
    return Next("run", *words, why=f"its answers were deleted; sends the file again{cost}")


def freed(run: Run, *, offline: bool) -> UsageError:
    """The error for a run whose answers were deleted to make room."""
    day = dt.datetime.fromtimestamp(run.freed_at or 0.0, dt.UTC).date()
    if run.in_place:
        return UsageError(
            f"{run.id} is a shard whose results were written on {day}; its answers are kept nowhere else.",
            code="freed",
            next="Read the results in the folder that run --shards wrote them to.",
        )
    what = f"The requests and answers of {run.id} were deleted on {day} by clean --local"
    return UsageError(
        f"{what}; its verdicts, tokens and cost are kept.",
        code="freed",
        next=send_again(run, offline=offline),
    )


def refuse_shard(newest: Run | None) -> None:
    """Refuse requests that were sent as a shard, whose answers are only in its results. Raises UsageError."""
    if newest is None or newest.freed_at is None:
        return
    raise UsageError(
        f"These requests were sent as a shard ({newest.id}), and every one has its answer.",
        code="sent_as_shard",
        next="Read the results in the folder that run --shards wrote them to; to send all of them again, use --new.",
    )


def check_held(folder: RunFolder, run: Run, name: str, *, offline: bool) -> None:
    """Refuse to write results without the folder or the row database. Raises StateError with the way back.

    Raises UsageError for a run whose answers ``clean --local`` has deleted.
    """
    if run.freed_at is not None:
        raise freed(run, offline=offline)
    for what in missing(folder, run):
        raise StateError(what, file=name, code="results_lost", next=way_back(name, offline=offline))
