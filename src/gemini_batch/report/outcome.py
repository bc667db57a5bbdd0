"""What became of one request: its final answer, read from the raw files and judged, and what is wrong with it."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, NamedTuple, Self

from gemini_batch.answers.parse import Answer, parse_line, response_in
from gemini_batch.answers.reasons import MODEL_LIMIT
from gemini_batch.answers.result_line import result_line, why
from gemini_batch.answers.verdict import judge
from gemini_batch.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gemini_batch.answers.media import MediaWriter
    from gemini_batch.answers.reasons import Verdict
    from gemini_batch.catalog import Method
    from gemini_batch.protocol.schema_checker import Checker
    from gemini_batch.store.rows.row_records import FinalRow
    from gemini_batch.store.state_folder import RunFolder

#: Raw files that are open at a time.
_MOST = 64


class RawFiles:
    """Raw files of a run by name, at most 64 of them open at a time. Use as a context manager."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
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
            file = self._folder.answers(name).open("rb")
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


def outcome_of(
    row: FinalRow, file: IO[bytes] | None, method: Method, folder: Path, *, checker: Checker | None
) -> Outcome:
    """What became of a row whose answer is in ``file``; ``checker`` has the schema of one that did not succeed.

    Raises StateError where what was collected has changed.
    """
    if file is None:
        return Outcome(row, "missing", reason=row.missing_reason)
    file.seek(row.offset)
    data = file.read(row.length)
    if row.verdict == "succeeded":  # there are no words to find for it, so it is not judged a second time
        response = response_in(data)
        if response is None:
            raise _changed(file, folder)
        return Outcome(row, "succeeded", data, response)
    answer = parse_line(data)
    if not isinstance(answer, Answer):
        raise _changed(file, folder)
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


def _changed(file: IO[bytes], folder: Path) -> StateError:
    """A line was an answer when it was judged, and raw files never change."""
    return StateError(f"An answer file was changed: {file.name}.", file=folder)
