"""The keys of a file or table that were given already. They are on disk, so that memory does not grow with them."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

KeyDuplicates = Literal["error", "number", "first"]
"""What to do with a key that is used twice."""

_SETUP = (
    "PRAGMA journal_mode = MEMORY",  # without one, nothing can be taken back
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -32768",
    "CREATE TABLE used (key BLOB PRIMARY KEY, place INTEGER, last INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID",
    "BEGIN",
)
_ADD = "INSERT OR IGNORE INTO used (key, place) VALUES (?, ?)"


class UsedKeys:
    """All keys that were given, each with the place of its first use: the number of a row, for example."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @classmethod
    @contextmanager
    def on_disk(cls, path: Path) -> Iterator[Self]:
        """Keep the keys in a new file, which is for this process alone."""
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for statement in _SETUP:
                db.execute(statement)
            yield cls(db)
        finally:
            db.close()

    def first(self, key: str, place: int = 0) -> int | None:
        """Note that a key is used at a place; returns the place of its first use, or None if this is it."""
        data = key.encode()
        if self._db.execute(_ADD, (data, place)).rowcount == 1:
            return None
        found: int = self._db.execute("SELECT place FROM used WHERE key = ?", (data,)).fetchone()[0]
        return found

    def all_new(self, keys: Sequence[tuple[str, int]]) -> bool:
        """Note these keys with their places, if each of them is used for the first time; else note none."""
        self._db.execute("SAVEPOINT several")
        new = self._db.executemany(_ADD, [(key.encode(), place) for key, place in keys]).rowcount == len(keys)
        if not new:
            self._db.execute("ROLLBACK TO several")
        self._db.execute("RELEASE several")
        return new

    def numbered(self, key: str, place: int = 0) -> str:
        """A key that was not used before: the same, or followed by ``-2``, ``-3`` and so on. It is noted."""
        wanted = key
        while self.first(wanted, place) is not None:
            data = key.encode()
            self._db.execute("UPDATE used SET last = last + 1 WHERE key = ?", (data,))
            last = self._db.execute("SELECT last FROM used WHERE key = ?", (data,)).fetchone()[0]
            wanted = f"{key}-{last}"
        return wanted
