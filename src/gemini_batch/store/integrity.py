"""Checks that a run folder still holds everything that its results need. Checking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.errors import Next, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder


def missing(folder: RunFolder, run: Run, *, only: Job | None = None) -> Iterator[str]:
    """What is missing or changed of what was collected, one sentence for each problem.

    ``only``: the raw answers of the other jobs do not matter. Raises StateError if the row database cannot be read.
    """
    if not folder.path.is_dir():
        yield f"The run folder, with its requests and answers, is missing: {folder.path}."
        return
    if not folder.row_database.exists():
        yield f"The row database is missing: {folder.row_database}."
        return
    with folder.rows() as rows:
        count, answer_files = rows.count(), rows.answer_files()
    if count != run.requests:
        yield f"The row database was changed: it has {count:,} of {run.requests:,} requests."
    for file in answer_files:
        if only is not None and file["id"] != only.ordinal:
            continue
        raw = folder.path / "raw" / file["file"]
        if not raw.exists():
            if not file["bytes"]:
                continue  # a lost job has no file
            yield f"An answer file is missing: {raw}."
        elif raw.stat().st_size != file["bytes"]:
            yield f"An answer file was changed: {raw}."


def way_back(name: str, *, offline: bool) -> str | Next:
    """How to get back answers that the state folder has lost."""
    if offline:
        return "Offline answers exist only here. To create the job again, use --new."
    return Next(
        "results",
        name,
        "-o",
        "results.jsonl",
        why="first set GEMINI_BATCH_HOME to a new folder; the service keeps results for about six weeks",
    )


def check_held(folder: RunFolder, run: Run, name: str, *, offline: bool, only: Job | None = None) -> None:
    """Refuse to write results from less than was collected, by all jobs or by one (``only``).

    Raises StateError with the way back.
    """
    for what in missing(folder, run, only=only):
        raise StateError(what, file=name, code="results_lost", next=way_back(name, offline=offline))
