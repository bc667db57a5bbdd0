"""Checks that a run folder still holds everything that its results need. Checking changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.errors import Next, StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.store.records import Run
    from gemini_batch.store.state_folder import RunFolder


def missing(folder: RunFolder, run: Run) -> Iterator[str]:
    """What is missing or changed of what was collected, one sentence for each problem.

    Raises StateError if the row database cannot be read.
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
        raw = folder.path / "raw" / file["file"]
        if not raw.exists():
            if not file["bytes"]:
                continue  # a lost job has no file
            yield f"An answer file is missing: {raw}."
        elif raw.stat().st_size != file["bytes"]:
            yield f"An answer file was changed: {raw}."


def create_anew(run: Run, *, offline: bool) -> Next | None:
    """The command that resends a run's requests as a new job; None if they were not sent from here."""
    if run.source is None:
        return None
    cost = "resends every request offline" if offline else "resends every request at the full batch price"
    return Next("create", run.source, "--model", run.model, "--new", *(["--offline"] if offline else []), why=cost)


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


def check_held(folder: RunFolder, run: Run, name: str, *, offline: bool) -> None:
    """Refuse to write results from less than was collected. Raises StateError with the way back."""
    for what in missing(folder, run):
        raise StateError(what, file=name, code="results_lost", next=way_back(name, offline=offline))
