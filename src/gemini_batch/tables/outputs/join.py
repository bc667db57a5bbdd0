"""The user's rows with the new cells next to them: the n-th row of the table gets the n-th cells.

The cells are written to a spool as they come; then the engine reads the snapshot and the spool side by side. Nothing
grows with the number of rows but the spool. The rows are counted before anything is joined, so that no row can get the
cells of another.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import StateError
from gemini_batch.jsonl import dumps, part_of
from gemini_batch.tables.outputs.engine import MEGABYTE, MEMORY, connected, reading
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gemini_batch.tables.outputs.cells import Cells
    from gemini_batch.tables.outputs.columns import Column

_KEEP = "keep"
#: The reader of the spool holds some of the longest lines at once.
_LINES_HELD = 12
#: Bytes in memory for one group of rows of a Parquet file, and the rows of a group.
_GROUP, _FEWEST, _MOST = 64 * MEGABYTE, 2048, 122_880


@dataclass(frozen=True, slots=True)
class Joined:
    """The joined table, to be read while the join is open."""

    db: Any
    """The duckdb connection."""
    query: str
    """What selects the table, in SQL."""
    columns: tuple[str, ...]
    """The names of the columns."""
    types: tuple[Any, ...]
    """Their types, as duckdb describes them."""
    rows: int
    """The number of rows."""
    group: int
    """Rows to be held in memory at a time."""


@contextlib.contextmanager
def joined(
    snapshot: Path | None, answers: Iterable[Cells], columns: Sequence[Column], near: Path, *, memory: int = MEMORY
) -> Iterator[Joined]:
    """The rows of ``snapshot``, a Parquet file, with the new ``columns``; of the new columns alone if it is None.

    ``answers``: one :class:`Cells` for each row, in order. ``near``: the spool is a hidden file next to this path.
    ``memory``: bytes that the engine may hold; long answers need more. Raises StateError if there are not as many
    answers as rows, ``OSError`` from the file system.
    """
    with part_of(near, private=True) as file:
        spool = _spooled(file, answers, columns)
        path = Path(file.name)
        with connected(path.with_name(f"{path.name}.tmp"), memory=max(memory, _LINES_HELD * spool.longest)) as db:
            source = None if snapshot is None else _Source.of(db, snapshot)
            if source is not None and source.rows != spool.rows:
                raise StateError(
                    f"The table has {source.rows:,} rows, but there are answers for {spool.rows:,}. Nothing was "
                    "written.",
                    file=snapshot,
                    code="rows_do_not_match",
                )
            query = _query(source, columns, spool, path)
            found = db.sql(query)
            size = (spool.bytes + (source.bytes if source else 0)) // max(1, spool.rows)
            group = min(_MOST, max(_FEWEST, _GROUP // max(1, size)))
            try:
                yield Joined(db, query, tuple(found.columns), tuple(found.types), spool.kept, group)
            except _damage() as error:
                raise _unreadable(snapshot, error) from error


def _damage() -> tuple[type[Exception], ...]:
    """What the engine raises where a file is not what it was when it was opened."""
    import duckdb

    return duckdb.InvalidInputException, duckdb.SerializationException, duckdb.ConversionException


def _unreadable(snapshot: Path | None, error: Exception) -> StateError:
    return StateError(f"The copy of the table cannot be read ({duck.said(error)}).", file=snapshot)


@dataclass(frozen=True, slots=True)
class _Spool:
    rows: int
    kept: int
    longest: int
    bytes: int


def _spooled(file: IO[bytes], answers: Iterable[Cells], columns: Sequence[Column]) -> _Spool:
    """Write the cells as lines of JSON: what has no value is left out."""
    names = [f"c{at}" for at in range(len(columns))]
    fields = [(name, Any, None) for name in names]
    line_of = msgspec.defstruct("_Line", [*fields, (_KEEP, bool, True)], omit_defaults=True)
    encode = msgspec.json.Encoder().encode
    rows = kept = longest = size = 0
    for values, keep in answers:
        try:
            line = encode(line_of(*(values or ()), keep=keep))
        except UnicodeEncodeError:  # half a surrogate pair
            line = dumps({**dict(zip(names, values or (), strict=False)), _KEEP: keep})
        file.write(line + b"\n")
        rows += 1
        kept += keep
        longest = max(longest, len(line))
        size += len(line)
    file.flush()
    return _Spool(rows, kept, longest, size)


@dataclass(frozen=True, slots=True)
class _Source:
    sql: str
    columns: tuple[str, ...]
    rows: int
    bytes: int

    @classmethod
    def of(cls, db: Any, snapshot: Path) -> _Source:
        """What a snapshot holds. Raises StateError if it cannot be read."""
        import duckdb

        if not snapshot.is_file():
            raise StateError("The copy of the table is gone.", file=snapshot)
        try:
            # The folders above it may be called key=value: that is not a part of the table.
            sql = f"read_parquet({reading(snapshot)}, hive_partitioning = false)"
            columns = tuple(db.sql(f"FROM {sql}").columns)
            (rows, size), *_ = db.execute(
                f"SELECT (SELECT count(*) FROM {sql}), sum(total_uncompressed_size) FROM parquet_metadata({reading(snapshot)})"  # noqa: E501
            ).fetchall()
        except duckdb.Error as error:
            raise _unreadable(snapshot, error) from error
        return cls(sql, columns, rows, int(size or 0))


def _query(source: _Source | None, columns: Sequence[Column], spool: _Spool, path: Path) -> str:
    types = {f"c{at}": column.kind.sql(json="VARCHAR") for at, column in enumerate(columns)} | {_KEEP: "BOOLEAN"}
    listed = ", ".join(f"{name}: '{kind.replace(chr(39), chr(39) * 2)}'" for name, kind in types.items())
    room = max(MEGABYTE, 2 * spool.longest)
    cells = (
        f"read_json({reading(path)}, format = 'newline_delimited', compression = 'none', "
        f"maximum_object_size = {room}, columns = {{{listed}}})"
    )
    chosen = [] if source is None else [f"s.{duck.name(name)}" for name in source.columns]
    for at, column in enumerate(columns):
        value = f"CAST(a.c{at} AS {column.kind.sql()})" if column.kind.holds_json else f"a.c{at}"
        chosen.append(f"{value} AS {duck.name(column.name)}")
    tables = f"{cells} a" if source is None else f"{source.sql} s POSITIONAL JOIN {cells} a"
    where = "" if spool.kept == spool.rows else f" WHERE coalesce(a.{_KEEP}, true)"
    return f"SELECT {', '.join(chosen)} FROM {tables}{where}"
