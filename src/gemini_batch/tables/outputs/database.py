"""A table as an SQLite database.

Whole numbers of 64 bits, floating-point numbers, bytes and text keep their types; truth values become 0 and 1. Larger
whole numbers, decimals, times and nested values are text (:mod:`~gemini_batch.tables.outputs.texts`).
"""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import UsageError
from gemini_batch.tables.outputs.texts import FLOATS, WHOLE, as_text, type_id
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from gemini_batch.tables.outputs.join import Joined

#: The name of the table.
TABLE = "results"
_ROWS = 1024
#: SQLite's own limits, as it is usually built.
_COLUMNS = 2000


def check_database(columns: int) -> None:
    """Refuse more columns than SQLite can hold. Raises UsageError."""
    if columns > _COLUMNS:
        raise UsageError(
            f"The table has {columns:,} columns; a table of SQLite has at most {_COLUMNS:,}.",
            field="--output",
            code="too_large_for_format",
            next="Choose a file that ends in .parquet or .csv.",
        )


def write_sqlite(table: Joined, path: str) -> None:
    """Write the table into an empty file. Raises UsageError for what SQLite cannot hold, ``OSError``."""
    check_database(len(table.columns))
    declared, chosen, floats = [], [], []
    for at, (column, kind) in enumerate(zip(table.columns, table.types, strict=True)):
        affinity, value = _stored(duck.name(column), kind)
        declared.append(f"{duck.name(column)} {affinity}")
        chosen.append(value)
        if type_id(kind) in FLOATS:
            floats.append(at)
    marks = ", ".join("?" * len(chosen))
    # The file is new and becomes visible when it is complete, so it needs neither a journal nor locks.
    try:
        with contextlib.closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?nolock=1", uri=True)) as db:
            db.isolation_level = None
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN")
            db.execute(f"CREATE TABLE {duck.name(TABLE)} ({', '.join(declared)})")
            found = table.db.execute(f"SELECT {', '.join(chosen)} FROM ({table.query})")
            while rows := found.fetchmany(min(_ROWS, table.group)):
                written = [_with_words(row, floats) for row in rows] if floats else rows
                db.executemany(f"INSERT INTO {duck.name(TABLE)} VALUES ({marks})", written)
            db.execute("COMMIT")
    except sqlite3.DataError as error:  # a text of a gigabyte
        raise UsageError(
            f"SQLite cannot hold a value of this table ({error}).",
            field="--output",
            code="too_large_for_format",
            next="Choose a file that ends in .parquet or .csv.",
        ) from error
    except sqlite3.OperationalError as error:
        full = "full" in str(error)
        raise OSError(errno.ENOSPC if full else errno.EIO, "No space left on device" if full else str(error)) from error


def _stored(value: str, kind: Any) -> tuple[str, str]:
    name = type_id(kind)
    if name in WHOLE:
        return "INTEGER", value
    if name == "boolean":
        return "INTEGER", f"CAST({value} AS TINYINT)"
    if name in FLOATS:
        return "REAL", value
    return ("BLOB", value) if name == "blob" else ("TEXT", as_text(value, kind))


def _with_words(row: tuple[Any, ...], floats: list[int]) -> tuple[Any, ...]:
    """The same row, with the text ``NaN`` for what SQLite would turn into null."""
    if not any(row[at] != row[at] for at in floats):
        return row
    return tuple("NaN" if value != value else value for value in row)  # noqa: PLR0124 - NaN differs from itself
