"""Every key of a run with its one answer, in the order of the input."""

from __future__ import annotations

import functools
import os
import stat
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gemini_batch import workers
from gemini_batch.answers import media_folder
from gemini_batch.answers.media import MediaWriter
from gemini_batch.answers.typed import ResultRow, row_of
from gemini_batch.errors import StateError
from gemini_batch.jsonl import atomic_write, loads
from gemini_batch.report.outcome import LineForm, Lines, Outcome, RawFiles, groups, lines_of, outcome_of
from gemini_batch.report.output_files import Recorded, check_not_fewer, check_output, record, refuse_raw
from gemini_batch.report.table_file import TableView, check_media
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.note import table_of
from gemini_batch.tables.outputs.arrow import to_arrow, to_pandas, to_polars
from gemini_batch.tables.outputs.folder import TextFolder
from gemini_batch.tables.outputs.write import format_of, write_table
from gemini_batch.workers import in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from gemini_batch.money.book import PriceBook
    from gemini_batch.report.summary import Summary
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder, StateFolder
    from gemini_batch.tables.outputs.cells import Cells
    from gemini_batch.tables.outputs.columns import Column
    from gemini_batch.tables.outputs.write import Format

T = TypeVar("T")
#: Answers of more bytes, on average, are long.
_LONG = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStyle:
    """How results become a table.

    ``details``: with tokens, cost, finish reason, model and attempt, also in result lines. ``spreadsheet``: CSV that
    spreadsheets open safely. ``prefix``: what the names of the new columns begin with; by default, as the run was
    entered.
    """

    details: bool = False
    spreadsheet: bool = False
    prefix: str | None = None

    @property
    def words(self) -> list[str]:
        """The options of a command that writes in the same way; the prefix is kept with the run."""
        return ["--details"] * self.details + ["--spreadsheet"] * self.spreadsheet


def together(items: Iterable[T], files: MediaWriter | TextFolder | None) -> Generator[T]:
    """The same items. The files that are written for them appear in groups; all are there after the last item."""
    with nullcontext() if files is None else files.together():
        yield from items


def _helping(rows: Rows) -> int:
    """How many workers are of use for the lines of these answers."""
    files = rows.answer_files()
    size, lines = (sum(file[name] or 0 for file in files) for name in ("bytes", "lines"))
    # The work for a long answer is to copy it, and to copy it from a worker takes longer.
    return 0 if size > _LONG * lines else workers.worth(size)


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one run, held on this machine; reading them needs no network."""

    _run: Run
    _jobs: Sequence[Job]
    _state_folder: StateFolder
    summary: Summary
    _prices: PriceBook
    #: The job whose own answers these are; None for those of the run.
    _part: Job | None = None
    #: Writes pictures and sound of every line that is read into files; None leaves them in the lines.
    _media: MediaWriter | None = None
    #: Lines are the service's own, unchanged; a request without an answer has none.
    _raw: bool = False
    #: How tables are written.
    _style: TableStyle = TableStyle()
    #: The class of the answers, for rows.
    _model: Any = None

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in self.summary.verdicts.items())
        return f"<Results of {self._run.id}: {verdicts or 'none'}>"

    @property
    def of_table(self) -> bool:
        """Whether the requests were made of a table."""
        return self._run.of_table

    @property
    def _folder(self) -> RunFolder:
        return self._state_folder.run(self._run.id)

    def lines(self, *, limit: int | None = None) -> Generator[bytes]:
        """The result lines (docs/result-line.md) without line ends, in input order, one a key, at most ``limit``.

        If ``raw``: the service's own lines, unchanged, of the requests that have an answer.

        Raises StateError where what was collected has changed, OSError where a media file cannot be written, and
        UsageError, before any file is written, where one would replace a file of the user's.
        """
        return self._split(self._checked_blocks(one_by_one=limit is not None), limit)

    @staticmethod
    def _split(blocks: Generator[Lines], limit: int | None) -> Generator[bytes]:
        with closing(blocks):
            yield from islice((line for block in blocks for line in block.data.split(b"\n")[:-1]), limit)

    def _checked_blocks(self, *, one_by_one: bool = False) -> Generator[Lines]:
        """The lines in blocks; media files are checked before the first block is asked for.

        ``one_by_one``: in blocks of one line each, because perhaps not all of them are wanted.
        """
        if self._media is not None and (checker := self._media.checker()):
            for _ in self._blocks(checker, one_by_one=one_by_one):
                pass
        return self._blocks(self._media, one_by_one=one_by_one)

    def _blocks(self, media: MediaWriter | None, *, one_by_one: bool) -> Generator[Lines]:
        view = self._view()
        details = view.details_of()
        form = LineForm(folder=self._folder, method=self._run.method, raw=self._raw, media=media, details=details)
        with open_rows(self._folder, self._jobs, only=self._part) as rows:
            final = rows.final()
            todo = groups(final if self._raw else view.with_skipped(final), 1 if one_by_one else None)
            # Media files are written in order, and here; what tells the details cannot be given to a worker.
            alone = one_by_one or media is not None or details is not None
            helping = 0 if alone else _helping(rows)
            with closing(in_order(functools.partial(lines_of, form), todo, workers=helping)) as blocks:
                yield from blocks

    def _outcomes(self) -> Generator[Outcome]:
        with open_rows(self._folder, self._jobs, only=self._part) as rows, RawFiles(self._folder) as files:
            for row in rows.final():
                yield outcome_of(row, files, self._run.method)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The same as decoded objects."""
        decode = loads if self._raw else msgspec.json.decode  # the service's JSON is not always strict
        with closing(self.lines()) as lines:
            yield from map(decode, lines)

    def write_texts(self, folder: Path, *, markdown: bool = False) -> int:
        """Write the text of each answer that succeeded to a file of its own, named by its key; returns how many.

        ``markdown``: the files end in ``.md`` instead of ``.txt``. Files that gemini-batch did not write are never
        replaced. Raises UsageError, before any file is written, StateError.
        """
        texts = TextFolder(folder, ending="md" if markdown else "txt", run=self._run.id)
        texts.check_place()
        try:
            for writer in (texts.checker(), texts):
                if writer is None:
                    continue
                for row in together(self.rows(), writer):
                    if row.verdict == "succeeded" and row.text is not None:
                        writer.write(row.key, row.text)
        except OSError as error:
            raise state_error(error, folder, "folder for the texts") from error
        return texts.files

    def rows(self, model: Any = None) -> Iterator[ResultRow]:
        """The same as rows, with the answer as ``value``.

        ``model``: a class whose instances the values are (pydantic, a dataclass, a TypedDict, a msgspec Struct); by
        default, the one that ``run`` was given as ``schema``, or none: the value is then decoded JSON, text or a
        vector.
        """
        for line in replace(self, _raw=False):
            yield row_of(line, model if model is not None else self._model)

    def to_arrow(self) -> pa.Table:
        """The table of the run with its answers, for pyarrow. Raises UsageError if pyarrow is not installed."""
        return self._as_frame(to_arrow)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a ``pandas.DataFrame`` with Arrow types. Raises UsageError if pandas is not installed."""
        return self._as_frame(to_pandas)

    def to_polars(self) -> pl.DataFrame:
        """The same as a ``polars.DataFrame``. Raises UsageError if polars is not installed."""
        return self._as_frame(to_polars)

    def _as_frame(self, convert: Callable[[Path | None, Iterable[Cells], Sequence[Column], Path], T]) -> T:
        view = self._view()
        columns = view.columns()
        with TemporaryDirectory(prefix="gemini-batch-") as folder:
            return convert(view.snapshot, view.cells(self._outcomes(), columns), columns, Path(folder))

    def __len__(self) -> int:
        return self.summary.answered if self._raw else self.summary.requests + sum(self.summary.skipped.values())

    def check(self, path: Path) -> None:
        """Refuse a file that :meth:`write` would refuse to replace. Raises UsageError, StateError."""
        table = format_of(path) is not None
        damaged = not table and any(failure.reason == "RESULTS_DAMAGED" for failure in self.summary.failures)
        check_output(self._state_folder, path, failures=False)
        try:
            check_not_fewer(self._state_folder, path, self._run, self._succeeded, damaged=damaged)
        except OSError as error:
            raise state_error(error, path, "table" if table else "results file") from error

    def write(self, path: Path) -> int:
        """Write all results to ``path``: complete or not at all; returns how many.

        The end of the name says what is written: a table for ``.parquet``, ``.csv``, ``.tsv``, ``.ndjson``, ``.db`` and
        ``.xlsx``, result lines for any other. Raises UsageError where the file is one that must not be replaced,
        StateError where it cannot be written.
        """
        self.check(path)
        if self._raw:
            refuse_raw(path, details=self._style.details)
        if (form := format_of(path)) is not None:
            return self._write_table(path, form)
        try:
            # Asked of the name itself: what /dev/stdout or a shell's >(…) leads to has no name that could be renamed.
            regular = not path.exists() or stat.S_ISREG(path.stat().st_mode)
            with (
                atomic_write(Path(os.path.realpath(path))) if regular else path.open("wb") as opened,
                closing(together(self._checked_blocks(), self._media)) as blocks,
            ):
                file, count = Recorded(opened), 0
                for block in blocks:
                    file.write_all(block.data)
                    count += block.number
                if self._run.requests_known and count != len(self):
                    # Raised before the file takes its place: no good results are replaced by fewer.
                    raise StateError(
                        f"Only {count:,} of {len(self):,} results are stored here.", file=self._folder.path
                    )
                if regular:
                    file.record(self._state_folder, path, self._run, "results", self._succeeded)
        except OSError as error:
            raise state_error(error, path, "results file") from error
        return count

    def _write_table(self, path: Path, form: Format) -> int:
        state, style = self._state_folder, self._style
        view = self._view(path)
        columns = view.columns()
        try:
            if view.media is not None and (checker := view.media.checker()):
                for outcome in self._outcomes():
                    if outcome.response is not None:
                        checker.move_out(outcome.row.key, outcome.response)
            return write_table(
                view.snapshot,
                together(view.cells(self._outcomes(), columns), view.media),
                columns,
                Path(os.path.realpath(path)) if path.is_file() else path,
                spreadsheet=style.spreadsheet,
                as_format=form,
                record=lambda sha256: record(
                    state, path, self._run, "results", sha256=sha256, succeeded=self._succeeded
                ),
            )
        except OSError as error:
            raise state_error(error, path, "table") from error

    def _view(self, path: Path | None = None) -> TableView:
        """What is written of these results as a table, to ``path``."""
        summary, table, media = self.summary, table_of(self._folder.path), self._media
        if path is not None and (media is not None or (table is not None and table.note.media)):
            check_media(path)
        if media is None and path is not None and table is not None and table.note.media:
            media = MediaWriter(media_folder.folder_of(path), run=self._run.id)
        return TableView(
            self._run,
            self._jobs,
            self._prices,
            table,
            partial=not summary.skipped,
            details=self._style.details,
            media=media,
            prefix=self._style.prefix,
            folder=Path() if path is None else path.parent,
        )

    @property
    def _succeeded(self) -> int:
        return self.summary.verdicts.get("succeeded", 0)
