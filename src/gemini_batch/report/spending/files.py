"""The file of a report: its name says what it is, and only an earlier report may be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.errors import StateError, UsageError
from gemini_batch.jsonl import atomic_write
from gemini_batch.report.spending.sheet import columns, write_sheet
from gemini_batch.report.spending.sums import BY

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.spending.sums import SpendReport

#: How a page begins that a report wrote.
PAGE_START = b"<!doctype html>\n<!-- gemini-batch report -->\n"


def check_place(path: Path) -> None:
    """Refuse a name that does not say what is wanted, a missing folder or library, and a file that is no report.

    Raises UsageError.
    """
    kind = path.suffix.lower()
    if kind not in {".csv", ".html"}:
        raise _bad(path, "The name of a report ends in .csv or .html.", "Choose such a name, or leave out -o.")
    if kind == ".html":
        from gemini_batch.report.spending.charts import check_library

        check_library()
    try:
        if not path.parent.is_dir():
            raise _bad(path, "The folder for the report does not exist.", "Create it, or choose another place.")
        if path.is_dir():
            raise _bad(path, "This is a folder.", "Name a file in it.")
        if path.exists() and not _is_report(path):
            raise _bad(
                path,
                "This file exists and is no report, so it stays as it is.",
                "Choose another name for the report, or move this file away.",
            )
    except OSError as error:
        raise _bad(
            path, f"The file cannot be read: {error.strerror}.", "Choose another name for the report."
        ) from error


def _bad(path: Path, message: str, following: str) -> UsageError:
    return UsageError(message, file=path, field="--output", code="bad_output", next=following)


def _is_report(path: Path) -> bool:
    """Whether an earlier report is there, or nothing that could be lost."""
    starts = [PAGE_START, *(",".join(columns(by)).encode() + b"\n" for by in BY)]
    with path.open("rb") as file:
        start = file.read(max(map(len, starts)))
    return not start or start.startswith(tuple(starts))


def write_report(report: SpendReport, path: Path) -> None:
    """Write a report as CSV or as a page, complete or not at all. Raises UsageError, StateError."""
    check_place(path)
    if path.suffix.lower() == ".csv":
        content = write_sheet(report)
    else:
        from gemini_batch.report.spending.page import write_page

        content = PAGE_START + write_page(report)
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise StateError(f"The report cannot be written: {error.strerror}.", file=path) from error
