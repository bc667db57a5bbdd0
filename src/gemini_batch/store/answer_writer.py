"""Writing what one job answered into ``rows.db``: everything of one raw file, or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from gemini_batch.store.row_records import INSERT_REQUEST, key_hash
from gemini_batch.store.sqlite import explained

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_batch.store.row_records import AnswerRow, RequestRow


class AnswerWriter:
    """Writes the answers of one raw file; everything appears at :meth:`finish`, or nothing does."""

    def __init__(self, path: Path, db: sqlite3.Connection, source: tuple[int, str, str, int, str, str]) -> None:
        self._path, self._db, self._answer_file = path, db, source[0]
        self._ended = False
        with explained(path, "run's row database"):
            db.execute("BEGIN IMMEDIATE")
            # An adopted run has no requests yet; without the index each key it learns would be sought among all.
            db.execute("CREATE INDEX IF NOT EXISTS requests_hash ON requests (hash)")
            db.execute(
                "UPDATE requests SET answer = NULL WHERE answer IN (SELECT id FROM answers WHERE answer_file = ?)",
                (self._answer_file,),
            )
            for table, column in (("answers", "answer_file"), ("quarantine", "answer_file"), ("answer_files", "id")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (self._answer_file,))  # noqa: S608 - names are our own
            db.execute(
                "INSERT INTO answer_files (id, job, file, bytes, sha256, missing_reason, lines) VALUES (?,?,?,?,?,?,0)",
                source,
            )

    def __enter__(self) -> AnswerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself; the first error counts
                self._db.execute("ROLLBACK")

    def add_request(self, row: RequestRow) -> None:
        """A request that is only known by its answer: the job was made elsewhere."""
        self._db.execute(
            INSERT_REQUEST,
            (row.seq, row.line, row.key, key_hash(row.key), *row[3:], self._answer_file, 1),
        )

    def add(self, answers: Iterable[AnswerRow]) -> None:
        """Write judged answers."""
        self._db.executemany(
            "INSERT INTO answers (answer_file, seq, attempt, offset, length, verdict, reason, usage_known, input, "
            "cached, output, thoughts, tool_use, audio_input, image_output) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [(self._answer_file, *row) for row in answers],
        )

    def quarantine(self, offset: int, length: int, reason: str) -> None:
        """Note an answer line that belongs to no request."""
        self._db.execute("INSERT INTO quarantine VALUES (?, ?, ?, ?)", (self._answer_file, offset, length, reason))

    def finish(self, lines: int) -> None:
        """Choose the final answer of every request that got one, and commit.

        A success beats everything; among the rest a later attempt beats an earlier one, and within one file the first
        line wins.
        """
        with explained(self._path, "run's row database"):
            self._db.execute("UPDATE answer_files SET lines = ? WHERE id = ?", (lines, self._answer_file))
            self._db.execute("CREATE INDEX IF NOT EXISTS answers_seq ON answers (seq)")
            self._db.execute(
                "UPDATE requests SET answer = (SELECT id FROM answers a WHERE a.seq = requests.seq "
                "ORDER BY (a.verdict = 'succeeded') DESC, a.attempt DESC, a.id LIMIT 1) "
                "WHERE seq IN (SELECT seq FROM answers WHERE answer_file = ?) "
                # An answer that this source had given before may be gone now; the one of another job stands then.
                "OR (answer IS NULL AND seq IN (SELECT seq FROM answers))",
                (self._answer_file,),
            )
            self._db.execute("COMMIT")
        self._ended = True
