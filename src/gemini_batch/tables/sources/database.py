"""The rows of a table in an SQLite database."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from gemini_batch.errors import UsageError
from gemini_batch.tables.sources.source import part_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_table(path: Path, table: str | None) -> Iterator[dict[str, object]]:
    """The rows of a table or view, in the database's own order; by default, of the only one. Raises UsageError."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            table = _chosen(db, path, table)
            quoted = '"' + table.replace('"', '""') + '"'
            cursor = db.execute(f"SELECT * FROM {quoted}")
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))
    except sqlite3.Error as error:
        raise UsageError(
            f"The database cannot be read: {error}.", file=path, code="not_a_table", next="Check the file."
        ) from error


def _chosen(db: sqlite3.Connection, path: Path, table: str | None) -> str:
    sql = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name"
    names = [row[0] for row in db.execute(sql) if not row[0].startswith("sqlite_")]
    if table in names or (table is None and len(names) == 1):
        return table or names[0]
    what = f"The database has no table {table!r}." if table is not None else "The database has several tables."
    raise UsageError(
        f"{what} It has: {', '.join(names[:20]) or 'none'}.",
        file=path,
        code="not_a_table",
        next=f"Name one of them: {part_of(path, table, names)}" if names else "Name another file.",
    )
