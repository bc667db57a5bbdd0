"""Makes the requests of a whole table: one pass over its snapshot."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import InvalidInput, Problem, UsageError
from gemini_batch.jsonl import private_open
from gemini_batch.safe_text import printable
from gemini_batch.tables.making.builder import RowError, Skipped
from gemini_batch.tables.making.keys import DIGITS, derived, from_columns
from gemini_batch.tables.making.template import RenderError
from gemini_batch.tables.note import SkippedRow
from gemini_batch.tables.sources import duck
from gemini_batch.used_keys import UsedKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from gemini_batch.tables.making.builder import Builder
    from gemini_batch.tables.sources.snapshot import Snapshot

#: Problems that are kept for the report; more are only counted.
_KEPT = 1000
#: Characters of the message of a skipped row that are shown.
_SHOWN = 300
#: What to do if no row can be sent, by the beginning of the reason of most rows.
_REMEDIES = {
    "EMPTY_PROMPT": "Check that the prompt uses the right columns.",
    "EARLIER_PROBLEM": "This table is the output of an earlier step. Resend there what did not succeed, with `retry`, "
    "and then run this step again.",
    "ATTACHMENT_": "Check --attach. Paths are relative to the table's folder.",
}
_CALCULATING = "The cells of a CSV file are text; `{{ column | float }}` makes a number of one."
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of a table: ``path`` holds one line for each row but those in ``skipped``, in order.

    ``reasons``: how many rows are not sent, by reason code. ``notes``: what the user should know, as sentences.
    """

    path: Path
    skipped: Path
    count: int
    reasons: dict[str, int]
    notes: tuple[str, ...]


def make_requests(
    snapshot: Snapshot,
    builder: Builder,
    scratch: Path,
    *,
    name: str,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    may_be_empty: bool = False,
) -> Requests:
    """Write the request of every row of ``snapshot`` to a file in ``scratch``, and which rows have none to another.

    ``builder`` is for all columns of the table. ``name``: of the table, for errors. ``progress`` is called with the
    number of rows done, and of all. ``may_be_empty``: these are not all rows, so it is no error if none can be sent.
    Raises UsageError, InvalidInput with the rows from which no request can be made.
    """
    narrow = builder.narrowed()
    path, skipped_path = scratch / "made.jsonl", scratch / "skipped.jsonl"
    work = _Work(narrow, name)
    with (
        UsedKeys.on_disk(scratch, snapshot.rows) as keys,
        private_open(path, "wb") as file,
        private_open(skipped_path, "wb") as skipped,
        duck.duckdb(scratch) as db,
    ):
        number = 1
        for rows in _batches(db, snapshot, narrow):
            made = work.requests(number, rows, keys)
            file.writelines(line for line in made if type(line) is bytes)
            if len(made) != len(rows) or work.reasons:
                skipped.writelines(_encode(row) + b"\n" for row in made if type(row) is SkippedRow)
            number += len(rows)
            progress(number - 1, snapshot.rows)
        for one in (file, skipped):
            one.flush()
            os.fsync(one.fileno())
    progress(snapshot.rows, snapshot.rows)
    work.check(may_be_empty=may_be_empty)
    return Requests(path, skipped_path, work.made, dict(work.reasons), tuple(work.notes()))


class _Work:
    """The requests so far."""

    def __init__(self, builder: Builder, name: str) -> None:
        self._builder, self._name = builder, name
        self._problems: list[Problem] = []
        self._count = 0
        self.made = 0
        self.reasons: Counter[str] = Counter()
        self._first: dict[str, SkippedRow] = {}

    def requests(self, number: int, rows: Sequence[Sequence[Any]], keys: UsedKeys) -> list[bytes | SkippedRow]:
        """The lines of rows from ``number`` on, with their line endings; what is wrong with rows is noted.

        The last two values of each row are the hash of its request and the request as JSON, if duckdb made them.
        """
        made: list[bytes | SkippedRow] = []
        for at, row in enumerate(rows, number):
            try:
                own = self._builder.key(row)
                request_hash, request = row[-2], row[-1]
                body = self._builder.body(row) if request is None else request
            except RowError as error:
                hint = _CALCULATING if "TypeError" in str(error) else None
                self._add(Problem(message=f"Row {at:,}: {str(error).rstrip('.')}.", field=error.field, next=hint))
                continue
            key = None
            if own is not None and (key := self._own(own, at, keys)) is None:
                continue
            if type(body) is not bytes:
                assert isinstance(body, Skipped)
                self.reasons[body.reason] += 1
                skipped = SkippedRow(at, key, *body)
                made.append(skipped)
                self._first.setdefault(body.reason, skipped)
                continue
            self.made += 1
            made.append(_line(key or keys.numbered(request_hash or derived(body), at), body))
        return made

    def _own(self, key: str, at: int, keys: UsedKeys) -> str | None:
        """The key of a row, from its key columns; None if another row has it, which is noted."""
        if self._builder.recipe.number_duplicates:
            return keys.numbered(key, at)
        first = keys.first(key, at)
        if first is None:
            return key
        self._add(
            Problem(
                message=f"Rows {first:,} and {at:,} have the same key {key!r}.",
                field="--key",
                next="Use another column, several of them, or --key-duplicates number.",
            )
        )
        return None

    def _add(self, problem: Problem) -> None:
        self._count += 1
        if len(self._problems) < _KEPT:
            self._problems.append(problem)

    def check(self, *, may_be_empty: bool) -> None:
        """Raise what is wrong with the rows, if anything is."""
        if self._count:
            raise InvalidInput(self._name, self._problems, total=self._count, unit="row")
        if not self.made and not may_be_empty:
            most = self.reasons.most_common(1)[0][0]
            raise UsageError(
                f"No row can be sent. {' '.join(self._skipped())}",
                file=self._name,
                code="nothing_to_send",
                next=next((step for start, step in _REMEDIES.items() if most.startswith(start)), None),
            )

    def notes(self) -> Iterator[str]:
        """What was done with rows that lack something."""
        for column, count in self._builder.nulls.items():
            rows = "1 row has" if count == 1 else f"{count:,} rows have"
            yield f"{rows} no value in `{column}`; the prompt says nothing there."
        yield from self._skipped()

    def _skipped(self) -> Iterator[str]:
        """Which rows are not sent and why: a sentence for each reason, about the first of its rows."""
        for reason, count in self.reasons.most_common():
            first = self._first[reason]
            which = f"Row {first.row:,} is" if count == 1 else f"{count:,} rows are"
            where = "" if count == 1 else f", the first is row {first.row:,}"
            yield f"{which} skipped ({reason}){where}: {_shown(first.message)}"


def _shown(message: str) -> str:
    text = printable(message)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _line(key: str, body: bytes) -> bytes:
    return b'{"key":' + _encode(key) + b',"request":' + body + b"}\n"


def _batches(db: Any, snapshot: Snapshot, builder: Builder) -> Iterator[Sequence[Sequence[Any]]]:
    """The rows of a snapshot, in order, with the columns of the builder, and the request if duckdb can make it.

    JSON is decoded. A row whose request is made has its key only: values that nobody asks for cost time.
    """
    names, kept = builder.columns, builder.recipe.key
    request = builder.expression(snapshot.columns) or "NULL"
    theirs, made = {name.casefold() for name in snapshot.columns}, "made"
    while made in theirs:
        made += "_"
    values = [(name, _value(name, snapshot.columns[name])) for name in names]
    asked = [value if name in kept else f"CASE WHEN {made} IS NULL THEN {value} END" for name, value in values]
    derived = "NULL" if kept else f"left(sha256({made}), {DIGITS})"
    # duckdb hashes in all threads, and bytes are fetched faster than text
    db.execute(
        f"SELECT {', '.join([*asked, derived, f'encode({made})'])}"
        f" FROM (SELECT *, {request} AS {made} FROM {duck.own_parquet(snapshot.path)})"
    )
    packed = [at for at, name in enumerate(names) if snapshot.columns[name] == "JSON"]
    while batch := db.fetchmany(duck.FETCHED):
        yield [_unpacked(row, packed) for row in batch] if packed else batch


def keys_of(snapshot: Snapshot, key: Sequence[str], scratch: Path) -> list[str | None]:
    """The keys of all rows, as their requests have them; None where a row has none."""
    kinds, found = [snapshot.columns[name] for name in key], list[str | None]()
    packed = [at for at, kind in enumerate(kinds) if kind == "JSON"]
    with duck.duckdb(scratch) as db:
        db.execute(f"SELECT {', '.join(map(_value, key, kinds))} FROM {duck.own_parquet(snapshot.path)}")
        for row in db.fetchall():
            try:
                found.append(from_columns(_unpacked(row, packed), range(len(key))))
            except RenderError:
                found.append(None)
    return found


def _value(name: str, kind: str) -> str:
    """A column, as Python has its values: a number of 32 bits is the decimal that it is written as."""
    quoted = duck.name(name)
    return f"CAST(CAST({quoted} AS VARCHAR) AS DOUBLE)" if kind == "FLOAT" else quoted


def _unpacked(row: Sequence[Any], packed: Sequence[int]) -> list[Any]:
    values = list(row)
    for at in packed:
        if values[at] is not None:
            values[at] = duck.decoded(values[at])
    return values
