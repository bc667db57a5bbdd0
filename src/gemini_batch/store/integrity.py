"""What a run folder must still hold for its results to be whole. Looking changes nothing and makes no file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.store.records import Run
    from gemini_batch.store.state_folder import RunFolder


def missing(folder: RunFolder, run: Run) -> Iterator[str]:
    """What is gone or changed of what was collected, as sentences; nothing where all is well.

    Raises StateError where the row database cannot be read.
    """
    if not folder.path.is_dir():
        yield f"Its run folder is gone, and with it the requests and answers kept there: {folder.path}."
        return
    if not folder.row_database.exists():
        yield f"Its row database is gone: {folder.row_database}."
        return
    with folder.rows() as rows:
        count, answer_files = rows.count(), rows.answer_files()
    if count != run.requests:
        yield f"Its row database was changed: it has {count:,} requests of {run.requests:,}."
    for file in answer_files:
        raw = folder.path / "raw" / file["file"]
        if not raw.exists():
            if not file["bytes"]:
                continue  # a job that was lost has no file
            yield f"An answer file is gone: {raw}."
        elif raw.stat().st_size != file["bytes"]:
            yield f"An answer file was changed: {raw}."


def way_back(name: str, *, offline: bool) -> str:
    """How to get answers again that this home has lost."""
    if offline:
        return "An offline job is made again with create --new."
    return (
        "While the service keeps the results (about six weeks), another home fetches them anew: "
        f"GEMINI_BATCH_HOME=another-folder gemini-batch results {name} -o results.jsonl"
    )


def check_held(folder: RunFolder, run: Run, name: str, *, offline: bool) -> None:
    """Refuse to make results of less than was collected. Raises StateError with the way back."""
    for what in missing(folder, run):
        raise StateError(what, file=name, code="results_lost", next=way_back(name, offline=offline))
