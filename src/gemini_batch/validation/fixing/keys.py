"""Keys for lines without one, and for lines whose key another line has. The keys are on disk, not in memory."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KeyDuplicates = Literal["error", "number", "first"]

_TABLE = "CREATE TABLE keys (key BLOB PRIMARY KEY, last INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID"
_ADD = "INSERT OR IGNORE INTO keys (key) VALUES (?)"


class Keys:
    """All keys of a file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @classmethod
    @contextmanager
    def on_disk(cls, path: Path) -> Iterator[Self]:
        """Keep the keys in a new file, which is for this process alone."""
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for statement in ("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", _TABLE, "BEGIN"):
                db.execute(statement)
            yield cls(db)
        finally:
            db.close()

    def add(self, key: str) -> bool:
        """Add a key. False if it is there already."""
        return self._db.execute(_ADD, (key.encode(),)).rowcount == 1

    def numbered(self, key: str) -> str:
        """A key that no line has, made of one that is there: ``a`` becomes ``a-2``, then ``a-3``. It is added."""
        (last,) = self._db.execute("SELECT last FROM keys WHERE key = ?", (key.encode(),)).fetchone()
        while True:
            last += 1
            if self.add(found := f"{key}-{last}"):
                self._db.execute("UPDATE keys SET last = ? WHERE key = ?", (last, key.encode()))
                return found

    def new(self, key: str) -> str:
        """The key itself if no line has it, else a numbered one. It is added."""
        return key if self.add(key) else self.numbered(key)
