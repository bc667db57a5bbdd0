"""The files for results and failures: what they are called, and which files they may replace."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.reasons import Verdict  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.answers.verdict import error_code
from gemini_batch.errors import StateError, UsageError
from gemini_batch.jsonl import LineWriter, LongLine, atomic_write, read_all_lines, read_lines, sha256_of, utf8_text
from gemini_batch.objects.address import is_table
from gemini_batch.objects.names import content as content_of
from gemini_batch.objects.names import named
from gemini_batch.report.outcome import RawFiles
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.ledger.records import OutputFile
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.outputs.write import check_ending, check_format, format_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import FailureRow
    from gemini_batch.store.state_folder import StateFolder


_Kind = Literal["results", "failures"]


def failures_file(output: Path) -> Path | None:
    """Where requests that did not succeed go: ``failures.jsonl``, or ``NAME.failures.jsonl`` for another name.

    None for a table, which has a column for what is wrong.
    """
    if format_of(output) is not None:
        return None
    return output.with_name("failures.jsonl" if output.stem == "results" else f"{output.stem}.failures.jsonl")


def check_output(state: StateFolder, output: Path, *, failures: bool) -> None:
    """Refuse a results file that would replace anything but results, that has the ending of a format that is not
    written, or that cannot be written.

    ``failures``: the same for the failures file next to it. Raises UsageError.
    """
    try:
        if (form := format_of(output)) is not None:
            check_format(form)
        if not output.parent.is_dir():
            raise _no_folder(output.parent)
        if not output.exists() or output.is_file():  # what leads to a pipe may have any name
            check_ending(output)
        _check(state, output, "results")
        if failures and (failed := failures_file(output)) is not None:
            _check(state, failed, "failures")
    except OSError as error:
        raise UsageError(
            f"The file cannot be written: {error.strerror}.",
            file=output,
            field="--output",
            code="bad_output",
            next="Choose another name for the results.",
        ) from error


def refuse_raw(output: Path | None, *, details: bool) -> None:
    """Refuse a table of the service's own lines, which have no columns, and details in them. Raises UsageError."""
    if details:
        raise UsageError(
            "--raw is for the service's own lines, unchanged, and --details would add to them.",
            field="--raw",
            code="bad_argument",
            next="Leave out --raw or --details.",
        )
    if output is not None and format_of(output) is not None:
        raise UsageError(
            "--raw is for the service's own lines, and the end of this name asks for a table.",
            file=output,
            field="--raw",
            code="bad_argument",
            next="Choose a name that ends in .jsonl, or leave out --raw.",
        )


def _no_folder(folder: Path) -> UsageError:
    in_the_way = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if in_the_way.is_dir() or not in_the_way.exists():
        what, following = "The folder for the results does not exist.", f"Run: mkdir -p {shlex.quote(str(folder))}"
    else:
        folder, what, following = in_the_way, "This is a file, not a folder.", "Choose another place for the results."
    return UsageError(what, file=folder, field="--output", code="bad_output", next=following)


def check_not_fewer(state: StateFolder, output: Path, run: Run, succeeded: int, *, damaged: bool) -> None:
    """Refuse to replace results of the same run by results with fewer successes. Raises StateError.

    ``damaged``: answers were lost here, so a file of which nothing is recorded is not replaced by fewer either.
    """
    if not output.is_file():
        return
    content = content_of(sha256_of(output))
    known = state.output(content, _recorded_path(output))
    if known is not None and known.sha256 == content:
        there = known.succeeded if known.run == run.id else 0
    else:
        there = _successes(output) if damaged else 0
    if there > succeeded:
        why = ", because answers were damaged on this machine" if damaged else ""
        raise StateError(
            f"This file has {there:,} successful results of {run.id} and stays as it is; {succeeded:,} would replace "
            f"them{why}.",
            file=output,
            code="fewer_results",
            next="Choose another name for the results, or move this file away.",
        )


class Recorded(LineWriter):
    """A file for the user that is being written: its content is hashed, so that it is recognised later."""

    def record(self, state: StateFolder, path: Path, run: Run, kind: _Kind, succeeded: int = 0) -> None:
        """Record the file before it takes its place: a file that is there unrecorded could not be replaced."""
        self.flush()
        record(state, path, run, kind, sha256=self.hash.hexdigest(), succeeded=succeeded)


def record(state: StateFolder, path: Path, run: Run, kind: _Kind, *, sha256: str, succeeded: int) -> None:
    """Record the content of a file for the user. Raises StateError."""
    with state.ledger() as ledger:
        ledger.add_output(
            OutputFile(sha256=sha256, kind=kind, path=_recorded_path(path), run=run.id, succeeded=succeeded)
        )


def write_failures(state: StateFolder, run: Run, jobs: Sequence[Job], output: Path, *, any_failed: bool) -> None:
    """Next to the results: every request that did not succeed, with verdict, reason, message and the request.

    Without any, the failures file of an earlier state of the same results is removed. Raises UsageError where the file
    is one that must not be replaced, StateError where it cannot be written.
    """
    target, folder = failures_file(output), state.run(run.id)
    if target is None:
        return
    _check(state, target, "failures")
    if not any_failed:
        if os.path.exists(target) and _is_ours(state, target, "failures"):  # noqa: PTH110 - a name that we chose
            target.unlink()
        return
    try:
        with (
            atomic_write(target) as opened,
            open_rows(folder, jobs) as rows,
            folder.open_requests() as requests,
            RawFiles(folder) as raw,
        ):
            file = Recorded(opened)
            for row in rows.failures():
                requests.seek(row.offset)
                request = msgspec.Raw(requests.read(row.length))
                code = _code(raw, row)
                file.write(_encode(_Failure(row.key, row.verdict, row.reason, code, row.message, request)))
            file.record(state, target, run, "failures")
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


_encode = msgspec.json.Encoder().encode


def _code(raw: RawFiles, row: FailureRow) -> int | None:
    """The code of a row's error, as in the result line: the reason alone does not always tell. Raises OSError."""
    if row.verdict != "failed" or row.file is None:
        return None
    file = raw[row.file]
    file.seek(row.at or 0)
    answer = parse_line(file.read(row.size or 0))
    return error_code(answer.error) if isinstance(answer, Answer) and answer.error is not None else None


class _Result(msgspec.Struct, forbid_unknown_fields=True):
    """A result line, by its form."""

    key: str
    verdict: Verdict
    attempt: int
    copied_from: str = ""
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class _FailureForm(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the failures file, by its form; 1.0.0 wrote neither code nor message."""

    key: str
    verdict: Verdict
    reason: str
    line: msgspec.Raw
    code: int | None = None
    message: str | None = None


_FORMS: dict[_Kind, type[_Result | _FailureForm]] = {"results": _Result, "failures": _FailureForm}


def _check(state: StateFolder, path: Path, kind: _Kind) -> None:
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
    if not path.exists() or stream or _is_empty(path) or _is_ours(state, path, kind):
        return
    known = state.output("", _recorded_path(path))
    what, away = ("table", "rename this table") if is_table(named(path)) else ("file", "move this file away")
    raise UsageError(
        f"This {what} exists and holds something other than {kind}, which would be lost."
        if known is None or known.kind != kind
        else f"This {what} is not as gemini-batch wrote it; what it holds now would be lost.",
        file=path,
        field="--output",
        code="bad_output",
        next=f"Choose another name for the results, or {away}.",
    )


def _is_empty(path: Path) -> bool:
    return path.is_file() and not path.stat().st_size


def _is_ours(state: StateFolder, path: Path, kind: _Kind) -> bool:
    """Whether gemini-batch wrote the file as it is, so that writing it anew loses nothing of the user's.

    Its content is recorded; or nothing is recorded of this place, and each line has our form: an earlier version, or
    another state folder, wrote it.
    """
    if not path.is_file():
        return False
    content = content_of(sha256_of(path))
    known = state.output(content, _recorded_path(path))
    if known is None:
        return _has_form(path, kind)
    return known.sha256 == content and known.kind == kind


def _recorded_path(path: Path) -> str:
    return utf8_text(named(path.absolute()))


def _has_form(path: Path, kind: _Kind) -> bool:
    decode = msgspec.json.Decoder(_FORMS[kind]).decode
    with path.open("rb") as file:
        for line in read_all_lines(file):
            try:
                if isinstance(line, LongLine):
                    return False
                decode(line.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return False
    return True


def _successes(path: Path) -> int:
    decode = msgspec.json.Decoder(_Result).decode
    with path.open("rb") as file:
        return sum(decode(line.data).verdict == "succeeded" for line in read_lines(file))
