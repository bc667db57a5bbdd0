"""Every key of a run with its one answer, in the order of the input."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.reasons import MODEL_LIMIT
from gemini_batch.answers.result_line import result_line
from gemini_batch.answers.verdict import judge
from gemini_batch.errors import StateError
from gemini_batch.jsonl import atomic_write, loads
from gemini_batch.protocol.schema_checker import checker_of
from gemini_batch.report.output_files import Recorded, check_not_fewer, check_output
from gemini_batch.report.raw_files import RawFiles
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.answers.media import MediaWriter
    from gemini_batch.report.summary import Summary
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.row_records import FinalRow
    from gemini_batch.store.state_folder import RunFolder, StateFolder


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one run, held on this machine; reading them needs no network."""

    _run: Run
    _jobs: Sequence[Job]
    _state_folder: StateFolder
    summary: Summary
    #: The job whose own answers these are; None for those of the run.
    _part: Job | None = None
    #: Writes pictures and sound of every line that is read into files; None leaves them in the lines.
    _media: MediaWriter | None = None
    #: Lines are the service's own, unchanged; a request without an answer has none.
    _raw: bool = False

    @property
    def _folder(self) -> RunFolder:
        return self._state_folder.run(self._run.id)

    def lines(self, *, limit: int | None = None) -> Iterator[bytes]:
        """The result lines (docs/result-line.md) without line ends, in input order, one a key, at most ``limit``.

        If ``raw``: the service's own lines, unchanged, of the requests that have an answer.

        Raises StateError where what was collected has changed, OSError where a media file cannot be written, and
        UsageError, before any file is written, where one would replace a file of the user's.
        """
        if self._media is not None and (checker := self._media.checker()):
            for _ in self._lines(limit, checker):
                pass
        return self._lines(limit, self._media)

    def _lines(self, limit: int | None, media: MediaWriter | None) -> Iterator[bytes]:
        folder = self._folder
        with contextlib.ExitStack() as stack:
            rows = stack.enter_context(open_rows(folder, self._jobs, only=self._part))
            raw = stack.enter_context(RawFiles(folder))
            wanted = (
                row for row in rows.final() if not self._raw or (row.file is not None and row.copied_from is None)
            )
            for number, row in enumerate(wanted):
                if limit is not None and number >= limit:
                    return
                file = None if row.file is None else raw[row.file]
                yield self._line(row, file, rows.schema(row.schema) if row.verdict != "succeeded" else None, media)

    def _line(self, row: FinalRow, file: IO[bytes] | None, schema: bytes | None, media: MediaWriter | None) -> bytes:
        if file is None:
            return result_line(
                row.key,
                "missing",
                reason=row.missing_reason,
                method=self._run.method,
                attempt=row.attempt,
                copied_from=row.copied_from,
            )
        file.seek(row.offset)
        data = file.read(row.length)
        answer = parse_line(data)
        if not isinstance(answer, Answer):  # it was one when it was judged, and raw files never change
            raise StateError(f"An answer file was changed: {file.name}.", file=self._folder.path)
        if self._raw:
            if media is not None and answer.response is not None:
                media.move_out(row.key, answer.response)
            return data
        if row.verdict == "succeeded":  # there are no words to find for it, so it is not judged a second time
            return result_line(
                row.key,
                "succeeded",
                response=answer.response,
                method=self._run.method,
                attempt=row.attempt,
                copied_from=row.copied_from,
                parsed=row.expects_json,
                media=media,
            )
        judged = judge(
            answer,
            method=self._run.method,
            expects_json=row.expects_json,
            checker=checker_of(schema),
            dimension=row.dimension,
        )
        own_limit = row.reason == MODEL_LIMIT  # the answer alone does not tell
        return result_line(
            row.key,
            judged.verdict,
            reason=row.reason if own_limit else judged.reason,
            code=judged.code,
            message=None if own_limit else judged.message,
            response=None if answer.response is None else bytes(answer.response),
            method=self._run.method,
            attempt=row.attempt,
            copied_from=row.copied_from,
            media=media,
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The same as decoded objects."""
        decode = loads if self._raw else msgspec.json.decode  # the service's JSON is not always strict
        for line in self.lines():
            yield decode(line)

    def __len__(self) -> int:
        return self.summary.answered if self._raw else self.summary.requests

    def write(self, path: Path) -> int:
        """Write all result lines to ``path``: complete or not at all; returns how many.

        Raises UsageError where the file is one that must not be replaced, StateError where it cannot be written.
        """
        state, succeeded = self._state_folder, self.summary.verdicts.get("succeeded", 0)
        check_output(state, path, failures=False)
        damaged = any(failure.reason == "RESULTS_DAMAGED" for failure in self.summary.failures)
        try:
            # Asked of the name itself: what /dev/stdout or a shell's >(…) leads to has no name that could be renamed.
            regular = not path.exists() or stat.S_ISREG(path.stat().st_mode)
            check_not_fewer(state, path, self._run, succeeded, damaged=damaged)
            with atomic_write(Path(os.path.realpath(path))) if regular else path.open("wb") as opened:
                file, count = Recorded(opened), 0
                for line in self.lines():
                    file.write(line + b"\n")
                    count += 1
                if self._run.requests_known and count != len(self):
                    # Raised before the file takes its place: no good results are replaced by fewer.
                    raise StateError(
                        f"Only {count:,} of {len(self):,} results are stored here.", file=self._folder.path
                    )
                if regular:
                    file.record(state, path, self._run, "results", succeeded)
        except OSError as error:
            raise state_error(error, path, "results file") from error
        return count
