"""``--dedupe``: identical requests of a run are sent once, and each of them gets the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.memory.fingerprint import same_body
from gemini_batch.store.rows.conditions import COPY, REMEMBERED
from gemini_batch.store.sqlite import explained, state_error, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

#: For each body of which several requests are to be answered: one that has been sent or answered, else the first.
_LEADERS = (
    f"SELECT body, coalesce(min(CASE WHEN job IS NOT NULL THEN seq END), min(seq)) AS seq FROM requests "  # noqa: S608 - numbers only
    f"WHERE body IS NOT NULL AND (job IS NULL OR job >= {REMEMBERED}) GROUP BY body "
    "HAVING count(*) > 1 AND sum(job IS NULL AND attempts = 0) > 0"
)
_PAIRS = (
    "SELECT r.seq, r.offset, r.length, l.seq AS leader, l.offset AS at, l.length AS size FROM requests r "
    "JOIN temp.leaders ON leaders.body = r.body JOIN requests l ON l.seq = leaders.seq "
    "WHERE r.job IS NULL AND r.attempts = 0 AND r.seq <> l.seq ORDER BY l.seq, r.seq"
)


def copy_identical(folder: RunFolder, rows: Rows) -> int:
    """Let each waiting request that equals another one of the run wait for that one's answer; returns how many.

    Raises StateError.
    """
    db = rows.connection
    with explained(rows.path, "run's row database"), transaction(db):
        db.execute("CREATE TEMP TABLE IF NOT EXISTS leaders (body INTEGER PRIMARY KEY, seq INTEGER)")
        db.execute("CREATE TEMP TABLE IF NOT EXISTS copies (seq INTEGER PRIMARY KEY, leader INTEGER)")
        for table in ("leaders", "copies"):
            db.execute(f"DELETE FROM temp.{table}")  # noqa: S608 - our own name
        db.execute(f"INSERT INTO temp.leaders {_LEADERS}")
        db.executemany("INSERT INTO temp.copies VALUES (?, ?)", _verified(folder.requests, db.execute(_PAIRS)))
        return db.execute(
            f"UPDATE requests SET job = {COPY}, copy_of = c.leader, "  # noqa: S608 - numbers only
            "answer = (SELECT l.answer FROM requests l WHERE l.seq = c.leader) "
            "FROM temp.copies c WHERE c.seq = requests.seq"
        ).rowcount


def _verified(requests: Path, pairs: Iterable[sqlite3.Row]) -> Iterator[tuple[int, int]]:
    """``(copy, leader)`` of the pairs that really are the same request; a hash of 64 bits is no proof."""
    try:
        with requests.open("rb") as file:

            def line(offset: int, length: int) -> bytes:
                file.seek(offset)
                return file.read(length)

            for pair in pairs:
                if same_body(line(pair["offset"], pair["length"]), line(pair["at"], pair["size"])):
                    yield pair["seq"], pair["leader"]
    except OSError as error:
        raise state_error(error, requests, "run's requests") from error
