"""Keys of rows: from columns, or from the request itself; each is used once."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import TYPE_CHECKING, Any

from gemini_batch.tables.making.template import RenderError, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: What stands between the values of several key columns.
JOINT = "|"
#: Hexadecimal digits of a derived key: 80 bits, so that a billion rows do not meet by chance.
_DIGITS = 20


class Keys:
    """Remembers which keys were given, on disk, so that memory does not grow with the table."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = MEMORY")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA cache_size = -32768")
        self._db.execute("CREATE TABLE used (key TEXT PRIMARY KEY, row INTEGER, count INTEGER) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def first(self, key: str, row: int) -> int | None:
        """Note that a row uses a key; returns the row that used it before, or None."""
        given = self._db.execute("INSERT OR IGNORE INTO used VALUES (?, ?, 1)", (key, row)).rowcount
        if given == 1:
            return None
        found: int = self._db.execute("SELECT row FROM used WHERE key = ?", (key,)).fetchone()[0]
        return found

    def all_new(self, keys: Sequence[tuple[str, int]]) -> bool:
        """Note these keys with their rows, if each of them is used for the first time; else note none."""
        self._db.execute("SAVEPOINT several")
        new = self._db.executemany("INSERT OR IGNORE INTO used VALUES (?, ?, 1)", keys).rowcount == len(keys)
        if not new:
            self._db.execute("ROLLBACK TO several")
        self._db.execute("RELEASE several")
        return new

    def numbered(self, key: str, row: int) -> str:
        """A key that no row before has: the same, or followed by ``-2``, ``-3`` and so on."""
        wanted = key
        while self.first(wanted, row) is not None:
            self._db.execute("UPDATE used SET count = count + 1 WHERE key = ?", (key,))
            count = self._db.execute("SELECT count FROM used WHERE key = ?", (key,)).fetchone()[0]
            wanted = f"{key}-{count}"
        return wanted


def derived(body: bytes) -> str:
    """The key of a request whose row has none of its own: a hash of the request."""
    return hashlib.sha256(body).hexdigest()[:_DIGITS]


def from_columns(row: Sequence[Any], places: Sequence[int]) -> str:
    """The key of a row, from its key columns. Raises RenderError where it has none."""
    if len(places) == 1 and type(row[places[0]]) is str and row[places[0]]:
        return row[places[0]]  # type: ignore[no-any-return]
    values = [row[at] for at in places]
    if any(value is None or value == "" for value in values):
        raise RenderError("it is empty")
    return JOINT.join(map(shown, values))
