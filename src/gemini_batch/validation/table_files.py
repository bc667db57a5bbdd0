"""Tables in the place of a request file: how they are recognised, and the command that asks about their rows."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sqlite3
from typing import TYPE_CHECKING

from gemini_batch.errors import Next, UsageError

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS = {
    ".csv": "a table",
    ".tsv": "a table",
    ".xlsx": "a spreadsheet",
    ".parquet": "a table",
}
_DELIMITERS = ",\t;|"
#: Rows that are read to tell a table from other text.
_ROWS = 20
#: What the name of a column can look like in a file that is no JSON.
_NAME = re.compile(r"[^\x00-\x1f{}\[\]\"':]{1,80}")


def columns(head: bytes, *, whole: bool) -> list[tuple[str, int]] | None:
    """The columns of a table in text, each with the length of its longest cell; None if the text is no table.

    ``head``: the beginning of the file; ``whole``: it is all of it. A table has a header of at least two different
    names, and rows with as many cells.
    """
    text = head.decode("utf-8", "replace").lstrip("\ufeff")
    if text.lstrip()[:1] in ("{", "[", ""):
        return None
    for delimiter in _DELIMITERS:
        rows = _rows(text, delimiter, whole=whole)
        if rows is None or len(rows) < 2 or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
            continue
        names = [name.strip() for name in rows[0]]
        if len(set(names)) == len(names) and all(map(_NAME.fullmatch, names)):
            return [(name, max(len(row[place]) for row in rows[1:])) for place, name in enumerate(names)]
    return None


def _rows(text: str, delimiter: str, *, whole: bool) -> list[list[str]] | None:
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if len(rows) > _ROWS:
                break
            if row:
                rows.append(row)
        else:
            if not whole:  # the last row may be cut off
                rows = rows[:-1]
    except csv.Error:
        return rows[:-1] if rows and not whole else None
    return rows


def _of_database(path: Path) -> tuple[str, list[tuple[str, int]] | None]:
    """How the first table of a database is named after its file, and the columns of the table, if they can be read."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            (table,) = db.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'"
                " ORDER BY name"
            ).fetchone() or ("TABLE",)
            kinds = db.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    except sqlite3.Error:
        return "::TABLE", None
    return f"::{table}", [(name, int(kind.upper() in ("TEXT", "VARCHAR", ""))) for name, kind in kinds] or None


def refusal(path: Path, what: str, expected: str, head: bytes, *, whole: bool, offline: bool) -> UsageError:
    """The error for a table: the command that makes a request of each row, with one of its columns, if they are known.

    ``what``: why it is a table.
    """
    part, found = "", columns(head, whole=whole)
    if head.startswith(b"SQLite format 3\x00"):
        part, found = _of_database(path)
    name = max(found, key=lambda column: column[1])[0] if found else "COLUMN"
    column = name if name.isidentifier() else f'row["{name}"]'
    why = "sends a request for each row" if found else "sends a request for each row; COLUMN is one of its columns"
    return UsageError(
        f"{what} {expected}",
        file=path,
        next=Next(
            "run",
            f"{path}{part}",
            "--prompt",
            f"… {{{{ {column} }}}} …",
            *(["--offline"] if offline else []),
            why=why if offline else f"{why}; this costs money",
        ),
        code="not_jsonl",
    )
