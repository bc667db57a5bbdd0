"""The failures file beside the results: every request without a good answer, and why.

It never takes the place of anything that is not such a file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import MAX_LINE, atomic_write
from gemini_batch.runs.results import failures_beside
from gemini_batch.runs.sqlite import state_error

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.runs.home import RunFolder
    from gemini_batch.runs.results import Results


def write_failures(found: Results, folder: RunFolder, output: Path) -> None:
    """Beside the results: every request without a good answer, with verdict, reason and the request itself."""
    target = failures_beside(output)
    check_failures(target)
    if found.summary.all_succeeded:
        if os.path.exists(target) and _is_ours(target):  # noqa: PTH110 - a name that we chose
            target.unlink()
        return
    try:
        with atomic_write(target) as file, folder.rows() as rows, folder.requests.open("rb") as requests:
            for key, offset, length, verdict, reason in rows.failures():
                requests.seek(offset)
                request = msgspec.Raw(requests.read(length))
                file.write(
                    msgspec.json.encode({"key": key, "verdict": verdict, "reason": reason, "line": request}) + b"\n"
                )
    except OSError as error:
        raise state_error(error, target, "failures file") from error


def check_failures(path: Path) -> None:
    """A file that happens to have that name and is not one of ours stays as it is. Raises UsageError."""
    if path.exists() and not (path.is_file() and (not path.stat().st_size or _is_ours(path))):
        raise UsageError(
            "The failures would be written into this file, and it holds something else.",
            file=path,
            field="--output",
            code="bad_output",
            next="Move it away, or give the results another name.",
        )


def _is_ours(path: Path) -> bool:
    """A failures file of an earlier state of the same results, which is no longer true."""
    with path.open("rb") as file:
        first = file.readline(MAX_LINE)
    try:
        line = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(line, dict) and set(line) == {"key", "verdict", "reason", "line"}
