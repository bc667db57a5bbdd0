"""The answers of a run as new columns of its table: every row of the table once, in its order."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gemini_batch.answers import shapes
from gemini_batch.answers.usage import UNKNOWN, usage_of_embedded, usage_of_generated
from gemini_batch.answers.verdict import text_in
from gemini_batch.catalog import Method
from gemini_batch.errors import UsageError
from gemini_batch.objects.address import is_table
from gemini_batch.objects.bigquery.policy import check_names
from gemini_batch.objects.names import named, said
from gemini_batch.report.money import Meter
from gemini_batch.report.outcome import SKIPPED, Outcome
from gemini_batch.store.rows.row_records import FinalRow
from gemini_batch.tables.note import SkippedRow, new_columns
from gemini_batch.tables.outputs.cells import Cells, Filler
from gemini_batch.tables.outputs.columns import DETAILS, KEY, Column, answer_columns
from gemini_batch.tables.outputs.write import check_format, format_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gemini_batch.answers.media import MediaWriter
    from gemini_batch.answers.response_types import Candidate
    from gemini_batch.answers.usage import Usage
    from gemini_batch.money.book import PriceBook
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.tables.note import Table, TableNote

_LEFT_OUT = Cells(None, keep=False)
#: A request, before or after its answer was read.
_Request = TypeVar("_Request", FinalRow, Outcome)


def check_columns(
    note: TableNote | None, method: Method, output: Path | None, *, details: bool, all_rows: bool = False
) -> None:
    """Refuse, before anything is sent, a table that cannot be written to ``output`` afterwards. Raises UsageError.

    ``note``: what is known of the user's table, if there is one. ``details``: with those columns. ``all_rows``: all of
    its rows are wanted.
    """
    if note is None:
        return
    columns = new_columns(note, method, details=details)
    if output is not None and note.media:
        check_media(output)
    if output is not None and (form := format_of(output)) is not None:
        check_format(form, rows=note.rows if all_rows else 0, columns=len(note.columns) + len(columns))
        if is_table(named(output)):
            check_names([*note.columns, *(column.name for column in columns)])


def check_media(output: Path) -> None:
    """Refuse a table of BigQuery for images and speech: it would have paths of files, and no place for these. Raises
    UsageError."""
    if is_table(named(output)):
        raise UsageError(
            "Images and speech are written to files, and a table of BigQuery has no place for them.",
            file=output,
            field="--output",
            code="bad_output",
            next="Name a table in a file or in a bucket: -o results.parquet. The files go to a folder next to it.",
        )


@dataclass(frozen=True, slots=True)
class TableView:
    """What is written of a run as a table. ``table``: the table that it was made of, if it was.

    ``partial``: rows that are never sent are left out, as those are that were not sent yet. ``details``: with tokens,
    cost, finish reason, model and attempt. ``media``: writes images and sound to files. ``prefix``: what the names of
    the new columns begin with; by default, as the run was entered. ``folder``: that of the file to write, to which
    paths of media are relative; by default, the working folder.
    """

    run: Run
    jobs: Sequence[Job]
    prices: PriceBook
    table: Table | None
    partial: bool
    details: bool = False
    media: MediaWriter | None = None
    prefix: str | None = None
    folder: Path = Path()

    @property
    def snapshot(self) -> Path | None:
        """The rows of the table."""
        return None if self.table is None else self.table.snapshot

    def columns(self) -> tuple[Column, ...]:
        """The new columns. Raises UsageError if one has the name of a column of the table."""
        details, media, method = self.details, self.media is not None, self.run.method
        if self.table is not None:
            return new_columns(self.table.note, method, details=details, media=media, prefix=self.prefix)
        kind: Literal["embed", "generate"] = "embed" if method is Method.EMBED else "generate"
        found = answer_columns(None, method=kind, media=media, details=details, prefix=self.prefix, taken=[KEY.name])
        return (KEY, *found)

    def cells(self, outcomes: Iterable[Outcome], columns: Sequence[Column]) -> Iterator[Cells]:
        """The new cells of every row of the table. Raises OSError where a media file cannot be written."""
        fill = Filler(columns)
        facts = _Facts(self.run, self._meter, self.media, self.folder)
        for one in outcomes if self.table is None else self._rows(outcomes, self.table):
            if one is None:
                yield _LEFT_OUT
            elif isinstance(one, SkippedRow):
                yield fill({"key": one.key, "verdict": SKIPPED, "problem": one.message})
            else:
                yield fill(*facts.of(one))

    def details_of(self) -> Callable[[Outcome], dict[str, Any] | None] | None:
        """What tells the details of an answer, if they are wanted."""
        return _Facts(self.run, self._meter, None, self.folder).details if self.details else None

    @property
    def _meter(self) -> Meter | None:
        return Meter(self.run, self.jobs, self.prices) if self.details else None

    def with_skipped(self, requests: Iterable[FinalRow]) -> Iterator[FinalRow | SkippedRow]:
        """The requests, with the rows that are never sent in their places."""
        if self.table is None or self.partial:
            yield from requests
        else:
            yield from (one for one in self._rows(requests, self.table) if one is not None)

    def _rows(self, requests: Iterable[_Request], table: Table) -> Iterator[_Request | SkippedRow | None]:
        """Every row of the table; None for one that is left out."""
        following, skipped = iter(requests), table.skipped()
        coming, apart, seq = next(following, None), next(skipped, None), 0
        for number in range(1, table.note.rows + 1):
            if apart is not None and apart.row == number:
                yield None if self.partial else apart
                apart = next(skipped, None)
                continue
            if coming is not None and coming.seq == seq:
                yield coming
                coming = next(following, None)
            else:
                yield None
            seq += 1


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of an answer, by the names of the columns. ``meter``: tells its cost, if details are wanted."""

    run: Run
    meter: Meter | None
    media: MediaWriter | None
    folder: Path

    def of(self, outcome: Outcome) -> tuple[dict[str, Any], str | None]:
        """The facts, and the text of an answer that succeeded. Raises OSError where a media file cannot be written."""
        facts: dict[str, Any] = {
            "key": outcome.row.key,
            "verdict": outcome.verdict,
            "problem": outcome.problem,
            "attempt": outcome.row.attempt,
        }
        text = None
        if outcome.response is not None:
            if self.run.method is Method.EMBED:
                self._embedded(facts, outcome)
            else:
                text = self._generated(facts, outcome)
        return facts, text

    def details(self, outcome: Outcome) -> dict[str, Any] | None:
        """The details of an answer; null stands for what it does not tell. None if there is no response."""
        if outcome.response is None:
            return None
        facts: dict[str, Any] = {}
        if self.run.method is Method.EMBED:
            self._embedded(facts, outcome)
        else:
            self._first(facts, outcome)
        return {name: facts.get(name) for name, _ in DETAILS if name != "attempt"}

    def _embedded(self, facts: dict[str, Any], outcome: Outcome) -> None:
        assert outcome.response is not None
        try:
            found, values = shapes.read_embedded(outcome.response)
        except shapes.Unreadable:
            return
        if outcome.verdict == "succeeded":
            facts["embedding"] = values
        self._spent(facts, outcome.row, usage_of_embedded(found), found.model_version)

    def _first(self, facts: dict[str, Any], outcome: Outcome) -> Candidate | None:
        """The first candidate of an answer, whose details are added to the facts."""
        assert outcome.response is not None
        try:
            found, _ = shapes.read_generated(outcome.response)
        except shapes.Unreadable:
            return None
        first = found.candidates[0] if found.candidates else None
        facts["finish_reason"] = first.finish_reason if first is not None else None
        self._spent(facts, outcome.row, usage_of_generated(found), found.model_version)
        return first

    def _generated(self, facts: dict[str, Any], outcome: Outcome) -> str | None:
        assert outcome.response is not None
        first = self._first(facts, outcome)
        if outcome.verdict != "succeeded" or first is None:
            return None
        if self.media is not None:
            paths = self.media.move_out(outcome.row.key, outcome.response)[1]
            facts["media"] = [_seen_from(self.folder, path) for path in paths]
        text = text_in(first)
        facts["text"] = text
        return text

    def _spent(self, facts: dict[str, Any], row: FinalRow, usage: Usage, model: str | None) -> None:
        """The tokens of an answer, and what it cost here: nothing if it was paid for in another place."""
        facts["model"] = model
        if self.meter is None or usage is UNKNOWN:
            return
        elsewhere = row.copied_from is not None or (row.answered_by or 0) < 0
        usd = 0.0 if elsewhere else self.meter.answer(usage, model, row.answered_by, standard=row.standard).exact
        facts |= {
            "tokens_input": usage.input,
            "tokens_output": usage.output,
            "tokens_thoughts": usage.thoughts,
            "usd": None if usd is None else float(usd),
        }


def _seen_from(folder: Path, path: str) -> str:
    """A path as it is written in a file in ``folder``: relative to it, unless it is absolute and stays there."""
    if os.path.isabs(path) and said(path) == path:  # noqa: PTH117 - texts, as they are written
        return path
    found = Path(path)
    if not found.is_relative_to(folder):
        folder, found = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    return Path(os.path.relpath(found, folder)).as_posix()
