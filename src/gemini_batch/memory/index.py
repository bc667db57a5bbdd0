"""``memory.db``: which rows have been answered, and in which run. It is an index of the run folders, made from them.

Deleting it loses nothing: it is made again when rows are next looked up. An entry only says where to look; whether the
answer is still there is decided by the run that holds it.
"""

from __future__ import annotations

import contextlib
from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from gemini_batch.store.rows.conditions import numbers
from gemini_batch.store.sqlite import INDEX, connect, explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job
    from gemini_batch.store.rows.row_reading import RowReader

#: So many rows are looked up by one statement.
_BATCH = 500
_SCHEMA = (
    "CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE jobs (id TEXT PRIMARY KEY, collected_at REAL) STRICT, WITHOUT ROWID",
    """
CREATE TABLE answered (
    fingerprint BLOB PRIMARY KEY, run INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID
""",
)
#: The succeeded answers of some jobs, in the order of the index, so that its pages are written one after another.
_ANSWERS_OF = (
    "SELECT r.fingerprint, ?, r.seq FROM requests r JOIN answers a ON a.id = r.answer WHERE a.answer_file IN ({}) "
    "AND a.verdict = 'succeeded' AND r.fingerprint IS NOT NULL ORDER BY r.fingerprint"
)
_MOVE = "UPDATE answered SET run = ?, seq = ? WHERE fingerprint = ? AND run IN (SELECT run FROM temp.gone)"


class _UndoneError(Exception):
    """What was done in a transaction is to be undone."""


def _first(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        db.execute(statement)


class Index:
    """The open index. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path, (_first,), what=INDEX)

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def jobs(self) -> dict[str, float | None]:
        """The jobs whose answers are in the index, with the time at which each was collected."""
        with explained(self.path, INDEX):
            return dict(self._db.execute("SELECT id, collected_at FROM jobs").fetchall())

    def covers(self, collected: Mapping[str, float | None]) -> bool:
        """Whether the answers of all these jobs are in the index as they were collected last."""
        known = self.jobs()
        return all(known.get(job, ...) == at for job, at in collected.items())

    def add(self, run: str, job: Job, answers: Iterable[tuple[bytes, int]]) -> None:
        """Enter answered rows of a run's job, as ``(fingerprint, seq)``; the newest answer to a row counts."""
        with self._adding([job]) as db:
            number = self._number(run)
            rows = ((fingerprint, number, seq) for fingerprint, seq in answers)
            db.executemany("INSERT OR REPLACE INTO answered VALUES (?, ?, ?)", rows)

    def add_jobs(self, run: str, jobs: Sequence[Job], rows: RowReader) -> None:
        """Enter all succeeded answers of some jobs of a run, from its open rows.

        Even a small job changes most pages of a large index, so all of them are entered at once.
        """
        ordinals = numbers(job.ordinal for job in jobs)
        with self._adding(jobs) as db, closing(rows.connection.cursor()) as found:
            found.execute(_ANSWERS_OF.format(ordinals), (self._number(run),))
            db.executemany("INSERT OR REPLACE INTO answered VALUES (?, ?, ?)", found)

    def skip(self, jobs: Iterable[Job]) -> None:
        """Enter jobs without answers, which cannot be used again."""
        with self._adding(jobs):
            pass

    @contextmanager
    def _adding(self, jobs: Iterable[Job]) -> Iterator[sqlite3.Connection]:
        with explained(self.path, INDEX), transaction(self._db) as db:
            yield db
            db.executemany("INSERT OR REPLACE INTO jobs VALUES (?, ?)", [(job.id, job.collected_at) for job in jobs])

    def _number(self, run: str) -> int:
        self._db.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (run,))
        return int(self._db.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()[0])

    def holds_any(self, fingerprints: Iterable[bytes]) -> bool:
        """Whether any of these rows is in the index."""
        source = iter(fingerprints)
        with explained(self.path, INDEX):
            while batch := list(islice(source, _BATCH)):
                marks = ", ".join("?" * len(batch))
                sql = f"SELECT 1 FROM answered WHERE fingerprint IN ({marks}) LIMIT 1"  # noqa: S608 - marks only
                if self._db.execute(sql, batch).fetchone() is not None:
                    return True
        return False

    def forget(self, fingerprints: Iterable[bytes]) -> None:
        """Remove entries whose answers are not there any more."""
        with explained(self.path, INDEX), transaction(self._db) as db:
            db.executemany("DELETE FROM answered WHERE fingerprint = ?", ((one,) for one in fingerprints))

    def clear(self) -> None:
        """Forget which jobs are entered: all are entered anew when the index is next brought up to date."""
        with explained(self.path, INDEX), transaction(self._db) as db:
            db.execute("DELETE FROM jobs")

    def forget_runs(
        self, runs: Iterable[str], held: Iterable[tuple[str, RowReader, int]] = (), *, dry_run: bool = False
    ) -> int:
        """Remove all entries of runs whose answers were deleted; returns how many, with ``dry_run`` without doing it.

        ``held``: jobs of other runs, newest first, as ``(run, open rows, ordinal)``. A row that one of them has
        answered leads there from now on.
        """
        count = 0
        with explained(self.path, INDEX), contextlib.suppress(_UndoneError), transaction(self._db) as db:
            db.execute("CREATE TEMP TABLE gone (run INTEGER PRIMARY KEY)")
            db.executemany("INSERT OR IGNORE INTO gone SELECT number FROM runs WHERE id = ?", ((run,) for run in runs))
            for run, rows, ordinal in held:
                with closing(rows.connection.cursor()) as found:
                    found.execute(_ANSWERS_OF.format(int(ordinal)), (self._number(run),))
                    mine = ((number, seq, fingerprint) for fingerprint, number, seq in found)
                    db.executemany(_MOVE, mine)
            count = db.execute("DELETE FROM answered WHERE run IN (SELECT run FROM gone)").rowcount
            db.execute("DROP TABLE gone")
            if dry_run:
                raise _UndoneError
        return count
