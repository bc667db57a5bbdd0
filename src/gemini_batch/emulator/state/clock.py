"""The emulator's time: the real clock plus an offset that can be increased.

The offset is stored in the database, so all processes on one data folder have the same time. Times are whole
nanoseconds since 1970, because the service prints nine digits.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.emulator.state.store import Store

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR


class Clock:
    """``now()`` in nanoseconds; ``advance()`` moves it forward for all processes on the data folder."""

    def __init__(self, store: Store, base: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._base = base
        self._offset = 0

    def now(self) -> int:
        """Nanoseconds since 1970, offset included."""
        row = self._store.row("SELECT value FROM meta WHERE name = 'clock_offset'")
        self._offset = 0 if row is None else int(row[0])
        return self.seen()

    def seen(self) -> int:
        """The same, without reading the database: an advance by another process counts from the next :meth:`now`."""
        return self._base() + self._offset

    def advance(self, seconds: float) -> int:
        """Move the clock forward by ``seconds``; returns the new time. Raises ``ValueError`` for negative seconds."""
        if not seconds >= 0:
            raise ValueError(f"the clock moves only forward, not by {seconds} seconds")
        with self._store.transaction() as db:
            db.execute(
                "INSERT INTO meta VALUES ('clock_offset', ?) ON CONFLICT (name) DO UPDATE SET value = value + ?",
                (step := round(seconds * SECOND), step),
            )
        return self.now()


def rfc3339(moment: int) -> str:
    """A time as the service prints it: UTC, nine fractional digits."""
    seconds, rest = divmod(moment, SECOND)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
