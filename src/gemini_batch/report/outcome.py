"""What became of one request: its final answer, read from the raw files and judged, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

from gemini_batch.answers.parse import Answer, parse_line, response_in
from gemini_batch.answers.reasons import MODEL_LIMIT
from gemini_batch.answers.result_line import result_line, why
from gemini_batch.answers.verdict import judge
from gemini_batch.catalog import Method
from gemini_batch.errors import StateError
from gemini_batch.jsonl import read_at
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.store.rows.row_records import FinalRow
from gemini_batch.tables.note import SkippedRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gemini_batch.answers.media import MediaWriter
    from gemini_batch.answers.reasons import Verdict
    from gemini_batch.store.state_folder import RunFolder

#: Raw files that are open at a time.
_MOST = 64
#: A group has at most so many rows, and about so many bytes of answers: some milliseconds of work.
_GROUP, _GROUP_BYTES = 1000, 256 * 1024
#: The verdict of a row that is not sent.
SKIPPED: Verdict = "skipped"


class RawFiles:
    """Raw files of a run by name, at most 64 of them open at a time. Use as a context manager."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._open: dict[str, IO[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def __getitem__(self, name: str) -> IO[bytes]:
        """The file of that name, open for reading. Raises OSError."""
        file = self._open.pop(name, None)
        if file is None:
            if len(self._open) >= _MOST:
                self._open.pop(next(iter(self._open))).close()  # the one that was asked for longest ago
            file = self.folder.answers(name).open("rb")
        self._open[name] = file
        return file


class Outcome(NamedTuple):
    """One request with its final answer. ``data``: the service's own line, None without an answer.

    ``reason``, ``code`` and ``message`` say what is wrong; all None if it succeeded.
    """

    row: FinalRow
    verdict: Verdict
    data: bytes | None = None
    response: bytes | None = None
    reason: str | None = None
    code: int | None = None
    message: str | None = None

    @property
    def seq(self) -> int:
        """The position of the request in the input."""
        return self.row.seq

    @property
    def problem(self) -> str | None:
        """What is wrong, as a sentence; None if nothing is."""
        return None if self.verdict == "succeeded" else why(self.verdict, self.reason, self.message)[1]

    def line(self, method: Method, media: MediaWriter | None, *, details: Mapping[str, object] | None = None) -> bytes:
        """The result line (docs/result-line.md), with ``details`` if they are given.

        Raises OSError where a media file cannot be written.
        """
        return result_line(
            self.row.key,
            self.verdict,
            reason=self.reason,
            code=self.code,
            message=self.message,
            response=self.response,
            method=method,
            attempt=self.row.attempt,
            copied_from=self.row.copied_from,
            parsed=self.verdict == "succeeded" and self.row.expects_json,
            media=media,
            details=details,
        )


def outcome_of(row: FinalRow, files: RawFiles, method: Method) -> Outcome:
    """What became of a request. Raises StateError where what was collected has changed, OSError."""
    if row.file is None:
        return Outcome(row, "missing", reason=row.missing_reason)
    file = files[row.file]
    data = read_at(file, row.offset, row.length)
    if row.verdict == "succeeded":  # there are no words to find for it, so it is not judged a second time
        response = response_in(data)
        if response is None:
            raise _changed(file, files)
        return Outcome(row, "succeeded", data, response)
    answer = parse_line(data)
    if not isinstance(answer, Answer):
        raise _changed(file, files)
    checker = checker_of(row.schema)
    judged = judge(answer, method=method, expects_json=row.expects_json, checker=checker, dimension=row.dimension)
    own_limit = row.reason == MODEL_LIMIT  # the answer alone does not tell
    return Outcome(
        row,
        judged.verdict,
        data,
        answer.response,
        row.reason if own_limit else judged.reason,
        judged.code,
        None if own_limit else judged.message,
    )


def _changed(file: IO[bytes], files: RawFiles) -> StateError:
    """A line was an answer when it was judged, and raw files never change."""
    return StateError(f"An answer file was changed: {file.name}.", file=files.folder.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForm:
    """Which lines are written of the requests in ``folder``.

    ``raw``: the service's own, unchanged; a request that it did not answer has none. ``media``: writes images and
    sound to files. ``details``: tells what stands in that field of a result line.
    """

    folder: RunFolder
    method: Method
    raw: bool = False
    media: MediaWriter | None = None
    details: Callable[[Outcome], Mapping[str, object] | None] | None = None


class Group(list["FinalRow | SkippedRow"]):
    """Requests, and rows that are not sent."""

    def __reduce__(self) -> tuple[Any, ...]:
        """As plain tuples: to pickle the type of each row takes a third as long as to make its line."""
        return _group, ([tuple(one) if isinstance(one, FinalRow) else one for one in self],)


def _group(rows: Iterable[tuple[Any, ...] | SkippedRow]) -> Group:
    return Group(one if isinstance(one, SkippedRow) else FinalRow._make(one) for one in rows)


def groups(rows: Iterable[FinalRow | SkippedRow], most: int | None) -> Iterator[Group]:
    """The same in groups, each of at most ``most``, and of a thousand."""
    most = min(most or _GROUP, _GROUP)
    group, size = Group(), 0
    for one in rows:
        group.append(one)
        if isinstance(one, FinalRow):
            size += one.length
        if len(group) >= most or size >= _GROUP_BYTES:
            yield group
            group, size = Group(), 0
    if group:
        yield group


class Lines(NamedTuple):
    """How many lines there are, and all of them, each with its line ending."""

    number: int
    data: bytes


def lines_of(form: LineForm, group: Group) -> Lines:
    """The lines of a group.

    Without a media writer, this is a pure function, so that several cores can do it. Raises StateError where what was
    collected has changed, OSError.
    """
    lines: list[bytes] = []
    with RawFiles(form.folder) as files:
        for one in group:
            if isinstance(one, SkippedRow):
                lines.append(_skipped_line(one))
            elif (line := _line(form, outcome_of(one, files, form.method))) is not None:
                lines.append(line)
    lines.append(b"")
    return Lines(len(lines) - 1, b"\n".join(lines))


def _line(form: LineForm, outcome: Outcome) -> bytes | None:
    if not form.raw:
        details = None if form.details is None else form.details(outcome)
        return outcome.line(form.method, form.media, details=details)
    if outcome.data is None or outcome.row.copied_from is not None:
        return None
    if form.media is not None and outcome.response is not None:
        form.media.move_out(outcome.row.key, outcome.response)
    return outcome.data


def _skipped_line(row: SkippedRow) -> bytes:
    """The result line of a row that is not sent; without a key of its own, its number stands for it."""
    key = row.key or f"row-{row.row}"
    return result_line(key, SKIPPED, reason=row.reason, message=row.message, method=Method.GENERATE, attempt=0)
