"""What a database holds, read without this program; and the copies that are next to it."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.store.migrations import LEDGER, ROWS
from gemini_batch.store.sqlite import connect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.store.sqlite import Migration

#: What 1.0.0 calls the tables that have another name now.
RENAMED = {"ceilings": "quota_bounds", "sources": "answer_files"}
#: Indexes that every version makes when it needs them.
MADE_LATER = {"requests_hash", "answers_seq"}
BOTH = pytest.mark.parametrize("migrations", [LEDGER, ROWS], ids=["ledger", "rows"])


def schema(path: Path) -> list[tuple[str, str, str]]:
    """Tables, indexes and views, without quotation marks and line ends."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name").fetchall()
    return [(kind, name, re.sub(r"\s+", " ", sql.replace('"', "")).strip()) for kind, name, sql in found]


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of all tables, by the tables' current names; kept options as documents."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        found = {RENAMED.get(table, table): db.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
    if "runs" in found:
        found["runs"] = [(*row[:-1], as_current(row[-1])) for row in found["runs"]]
    return found


def as_current(options: str | None) -> Any:
    """Kept options, with the name that overrides have now."""
    document = json.loads(options or "null")
    if document and (change := document.pop("change", None)) is not None:
        document["overrides"] = change
    if document and document.get("overrides") is None:
        document.pop("overrides", None)
    return document


def version(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def opened(path: Path, migrations: Sequence[Migration], **named: Any) -> None:
    connect(path, migrations, what="ledger", **named).close()


def copies(folder: Path) -> list[str]:
    """Copies, whole or not, in a folder."""
    return sorted(path.name for path in folder.iterdir() if ".v" in path.name)
