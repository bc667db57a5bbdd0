"""Claims and loans, in the ledger: which rows are in jobs, and which runs use the answers of others.

A job claims its rows while it is being sent, is alive, or is not collected yet. Claims are taken in the ledger's
transaction that writes the intent, so two processes never send the same row: whoever comes second finds the claim or,
once the job is collected, the answer.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from itertools import islice, repeat
from typing import TYPE_CHECKING

from gemini_batch.memory.fingerprint import SIZE
from gemini_batch.store.ledger.records import job_of
from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

    from gemini_batch.memory.index import Index
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job
    from gemini_batch.store.rows.row_reading import RowReader

#: A job that may still answer its rows. One that ended and left nothing holds nobody up.
_MAY_ANSWER = (
    "(jobs.stage <> 'ended' OR jobs.phase = 'succeeded' OR jobs.output_file IS NOT NULL OR jobs.succeeded > 0 "
    "OR jobs.lost IS NOT NULL)"
)
_OF_OTHERS = (
    f"SELECT claims.job, claims.fingerprints FROM claims JOIN jobs ON jobs.id = claims.job AND {_MAY_ANSWER} "  # noqa: S608 - no value
    "WHERE jobs.run <> ? ORDER BY 1, claims.part"
)
_COLLECTED = "FROM jobs WHERE stage = 'collected' AND sha256 IS NOT NULL"
_UNCLAIMED = (
    "SELECT * FROM jobs WHERE stage IN ('intended', 'created', 'ended') AND dropped_at IS NULL AND sha256 IS NOT NULL "
    "AND NOT EXISTS (SELECT 1 FROM claims WHERE claims.job = jobs.id)"
)
_CLAIM = "INSERT OR REPLACE INTO claims VALUES (?, ?, ?)"
#: So many fingerprints are one value: a job may have millions of rows.
_PART = 65_536


class BehindError(Exception):
    """Jobs were collected since the index was brought up to date. Nothing was recorded."""


class TakenError(Exception):
    """Some rows of a job are in another run's job, or have been answered there. Nothing was recorded."""


def claiming(
    rows: RowReader, job: Job, index: Index | None, *, unread: frozenset[str] = frozenset()
) -> Callable[[sqlite3.Connection], None]:
    """Claims the rows of a job in a transaction of the ledger.

    Raises TakenError there if any of them is claimed by another run, or answered there by the ``index``, and
    BehindError if the index lacks jobs that were collected since, apart from those that cannot be read (``unread``).
    Without an index, the rows are sent whatever other runs have. The index is searched here, before the transaction,
    because that takes as long as everything else; it is searched again only if answers have been entered since.
    """
    known = None if index is None else index.jobs()
    answered = index is not None and index.holds_any(rows.fingerprints(job.ordinal))

    def claim(ledger: sqlite3.Connection) -> None:
        _write(ledger, job, rows.fingerprints(job.ordinal))
        if index is None:
            return
        mine = zip(rows.fingerprints(job.ordinal), repeat(0))
        if next(claimed_by_others(ledger, job.run, mine), None) is not None:
            raise TakenError
        # No job can become collected while this transaction lasts. So what other runs have sent is claimed or in the
        # index. No row of this run is the same as another one.
        held = dict(ledger.execute(f"SELECT id, collected_at {_COLLECTED} AND run <> ?", (job.run,)).fetchall())
        if not index.covers({one: at for one, at in held.items() if one not in unread}):
            raise BehindError
        if any(one.id not in unread and one.run != job.run for one in _unclaimed(ledger)):
            raise BehindError
        found = answered if index.jobs() == known else index.holds_any(rows.fingerprints(job.ordinal))
        if found:
            raise TakenError

    return claim


def claimed_by_others(
    ledger: sqlite3.Connection, run: str, wanted: Iterable[tuple[bytes, int]]
) -> Iterator[tuple[int, str]]:
    """Which rows jobs of other runs may still answer, as ``(seq, job)``; ``wanted``: ``(fingerprint, seq)``, sorted."""
    if ledger.execute(_OF_OTHERS, (run,)).fetchone() is None:
        return
    source = iter(wanted)
    while batch := dict(islice(source, _PART)):
        first, last = min(batch), max(batch)
        for job, part in ledger.execute(_OF_OTHERS, (run,)):
            for fingerprint in _between(part, first, last):
                if (seq := batch.get(fingerprint)) is not None:
                    yield seq, job


def _between(part: bytes, first: bytes, last: bytes) -> Iterator[bytes]:
    """The fingerprints in a part from ``first`` to ``last``: it is sorted, so the others need not be compared."""

    def at(number: int) -> bytes:
        return part[number * SIZE : (number + 1) * SIZE]

    numbers = range(len(part) // SIZE)
    begin, end = bisect_left(numbers, first, key=at), bisect_right(numbers, last, key=at)
    return (fingerprint for (fingerprint,) in struct.iter_unpack(f"{SIZE}s", part[begin * SIZE : end * SIZE]))


def _write(ledger: sqlite3.Connection, job: Job, fingerprints: Iterable[bytes]) -> None:
    ledger.executemany(_CLAIM, ((job.id, number, part) for number, part in enumerate(_parts(fingerprints))))


def _parts(fingerprints: Iterable[bytes]) -> Iterator[bytes]:
    source = iter(fingerprints)
    while batch := list(islice(source, _PART)):
        yield b"".join(batch)


def collected(ledger: Ledger) -> list[Job]:
    """The collected jobs whose requests are known, in the order of their collection. Raises StateError."""
    with explained(ledger.path, "ledger"):
        sql = f"SELECT * {_COLLECTED} ORDER BY collected_at, rowid"
        return [job_of(row) for row in ledger.connection.execute(sql)]


def unclaimed(ledger: Ledger) -> list[Job]:
    """The jobs that were sent, are not collected, and claim no rows: an earlier version sent them, or they were lost
    and the service shows them again. Raises StateError."""
    with explained(ledger.path, "ledger"):
        return _unclaimed(ledger.connection)


def _unclaimed(ledger: sqlite3.Connection) -> list[Job]:
    return [job_of(row) for row in ledger.execute(_UNCLAIMED)]


def claim_later(ledger: Ledger, job: Job, fingerprints: Iterable[bytes]) -> None:
    """Claim the rows of such a job, if it is not collected by now. Raises StateError."""
    with explained(ledger.path, "ledger"), transaction(ledger.connection) as db:
        if db.execute(f"{_UNCLAIMED} AND id = ?", (job.id,)).fetchone() is not None:
            db.execute(_CLAIM, (job.id, 0, b""))  # also without rows, or it would be looked at again and again
            _write(db, job, fingerprints)


def lend(ledger: Ledger, *, lender: str, borrower: str) -> bool:
    """Record that a run uses answers of another one; False if these were deleted. Raises StateError."""
    with explained(ledger.path, "ledger"), transaction(ledger.connection) as db:
        kept = db.execute("SELECT 1 FROM runs WHERE id = ? AND freed_at IS NULL", (lender,)).fetchone()
        if kept is not None:
            db.execute("INSERT OR IGNORE INTO loans (borrower, lender) VALUES (?, ?)", (borrower, lender))
        return kept is not None
