"""The files for results and failures: what they are called, and which files they may replace."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.verdict import error_code
from gemini_batch.errors import StateError, UsageError
from gemini_batch.jsonl import MAX_LINE, atomic_write, loads, read_lines
from gemini_batch.report.raw_files import RawFiles
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.store.records import Job
    from gemini_batch.store.row_records import FailureRow
    from gemini_batch.store.state_folder import RunFolder


_Kind = Literal["results", "failures"]


def failures_beside(output: Path) -> Path:
    """Where requests that did not succeed go: ``failures.jsonl``, or ``NAME.failures.jsonl`` for another name."""
    return output.with_name("failures.jsonl" if output.stem == "results" else f"{output.stem}.failures.jsonl")


def check_output(output: Path, *, failures: bool) -> None:
    """Refuse a results file that would replace anything but results, or that cannot be written.

    ``failures``: the same for the failures file next to it. Raises UsageError.
    """
    if not output.parent.is_dir():
        raise UsageError(
            "The folder for the results does not exist.",
            file=output.parent,
            field="--output",
            code="bad_output",
            next=f"Run: mkdir -p {shlex.quote(str(output.parent))}",
        )
    _check(output, "results")
    if failures:
        _check(failures_beside(output), "failures")


def check_not_fewer(output: Path, succeeded: int) -> None:
    """Refuse to replace results by results with fewer successes, after answers were lost here. Raises StateError."""
    if not output.is_file():
        return
    with output.open("rb") as file:
        there = sum(_succeeded(line.data) for line in read_lines(file))
    if there > succeeded:
        raise StateError(
            f"This file has {there:,} successful results and stays as it is; {succeeded:,} are held here, because "
            "answers were damaged on this machine.",
            file=output,
            code="fewer_results",
            next="Choose another name to write what is held here.",
        )


def write_failures(folder: RunFolder, jobs: Sequence[Job], output: Path, *, any_failed: bool) -> None:
    """Next to the results: every request that did not succeed, with verdict, reason, message and the request.

    Without any, the failures file of an earlier state of the same results is removed. Raises UsageError where the file
    is one that must not be replaced, StateError where it cannot be written.
    """
    target = failures_beside(output)
    _check(target, "failures")
    if not any_failed:
        if os.path.exists(target) and _holds(target, "failures"):  # noqa: PTH110 - a name that we chose
            target.unlink()
        return
    try:
        with (
            atomic_write(target) as file,
            open_rows(folder, jobs) as rows,
            folder.requests.open("rb") as requests,
            RawFiles(folder.path / "raw") as raw,
        ):
            for row in rows.failures():
                requests.seek(row.offset)
                request = msgspec.Raw(requests.read(row.length))
                code = _code(raw, row)
                file.write(_encode(_Failure(row.key, row.verdict, row.reason, code, row.message, request)) + b"\n")
    except OSError as error:
        raise state_error(error, target, "failures file") from error


class _Failure(msgspec.Struct):
    """A line of the failures file."""

    key: str
    verdict: str
    reason: str
    code: int | None
    message: str | None
    line: msgspec.Raw


#: The fields of such a line: those of 1.0.0, then all of them.
_FAILURE_FIELDS = ({"key", "verdict", "reason", "line"}, set(_Failure.__struct_fields__))
_encode = msgspec.json.Encoder().encode


def _code(raw: RawFiles, row: FailureRow) -> int | None:
    """The code of a row's error, as in the result line: the reason alone does not always tell. Raises OSError."""
    if row.verdict != "failed" or row.file is None:
        return None
    file = raw[row.file]
    file.seek(row.at or 0)
    answer = parse_line(file.read(row.size or 0))
    return error_code(answer.error) if isinstance(answer, Answer) and answer.error is not None else None


class _Line(msgspec.Struct):
    verdict: str = ""


def _succeeded(data: bytes) -> bool:
    try:
        return msgspec.json.decode(data, type=_Line).verdict == "succeeded"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _check(path: Path, kind: _Kind) -> None:
    if path.is_symlink() and (kind == "failures" or not path.exists()):
        raise UsageError(
            "This is a link, and the failures file would replace it."
            if path.exists()
            else "This is a link to a file that does not exist.",
            file=path,
            field="--output",
            code="bad_output",
            next="Choose another name for the results, or remove the link.",
        )
    if path.is_dir():
        raise UsageError("This is a folder.", file=path, field="--output", code="bad_output", next="Name a file in it.")
    stream = kind == "results" and not path.is_file()  # a pipe or a terminal loses nothing
    if not path.exists() or stream or _is_empty(path) or _holds(path, kind):
        return
    raise UsageError(
        f"This file exists and holds something other than {kind}, which would be lost.",
        file=path,
        field="--output",
        code="bad_output",
        next="Choose another name for the results, or move this file away.",
    )


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def _holds(path: Path, kind: _Kind) -> bool:
    """Whether the first line is one that we write to such a file, so that writing the file anew loses nothing."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            first = file.readline(MAX_LINE).strip()
        line = loads(first)
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(line, dict):
        return False
    is_failure = set(line) in _FAILURE_FIELDS
    if kind == "failures":
        return is_failure
    is_raw = "request" not in line and _is_raw(first)
    return not is_failure and (is_raw or {"key", "verdict"} <= line.keys())


def _is_raw(line: bytes) -> bool:
    """Whether it is a result as the service writes it."""
    answer = parse_line(line)
    return isinstance(answer, Answer) and (answer.response or answer.error or b"").lstrip().startswith(b"{")
