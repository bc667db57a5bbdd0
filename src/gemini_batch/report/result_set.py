"""Every key of a run with its one answer, in the order of the input."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import StateError
from gemini_batch.jsonl import atomic_write, loads
from gemini_batch.report.outcome import Outcome, RawFiles, outcome_of
from gemini_batch.report.output_files import Recorded, check_not_fewer, check_output
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from gemini_batch.answers.media import MediaWriter
    from gemini_batch.report.summary import Summary
    from gemini_batch.store.records import Job, Run
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
        method = self._run.method
        with closing(self._outcomes()) as outcomes:
            wanted = (
                one for one in outcomes if not self._raw or (one.data is not None and one.row.copied_from is None)
            )
            for one in islice(wanted, limit):
                if not self._raw:
                    yield one.line(method, media)
                    continue
                assert one.data is not None
                if media is not None and one.response is not None:
                    media.move_out(one.row.key, one.response)
                yield one.data

    def _outcomes(self) -> Generator[Outcome]:
        folder, method = self._folder, self._run.method
        with open_rows(folder, self._jobs, only=self._part) as rows, RawFiles(folder) as raw:
            for row in rows.final():
                yield outcome_of(row, None if row.file is None else raw[row.file], method, folder.path)

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
