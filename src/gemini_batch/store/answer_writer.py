"""Writes one job's answers to ``rows.db``: all of one raw file, or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING

from gemini_batch.store.row_records import INSERT_REQUEST, key_hash
from gemini_batch.store.sqlite import explained

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_batch.store.row_records import AnswerRow, RequestRow


#: So many characters of a message are kept, and so many different messages for one reason and for all of a run. A
#: message that holds an id is a new one for each row.
_LONGEST_MESSAGE = 300
MESSAGES_PER_REASON = 20
MESSAGES_IN_ALL = 200


class AnswerWriter:
    """Writes the answers of one raw file; all of them appear at :meth:`finish`, or none."""

    def __init__(self, path: Path, db: sqlite3.Connection, source: tuple[int, str, str, int, str, str]) -> None:
        self._path, self._db, self._answer_file = path, db, source[0]
        self._ended = False
        with explained(path, "run's row database"):
            db.execute("BEGIN IMMEDIATE")
            # An adopted run has no requests yet; without the index, each new key would be searched for among all.
            db.execute("CREATE INDEX IF NOT EXISTS requests_hash ON requests (hash)")
            db.execute(
                "UPDATE requests SET answer = NULL WHERE answer IN (SELECT id FROM answers WHERE answer_file = ?)",
                (self._answer_file,),
            )
            again = db.execute("SELECT EXISTS (SELECT 1 FROM answers WHERE answer_file = ?)", source[:1]).fetchone()[0]
            for table, column in (("answers", "answer_file"), ("quarantine", "answer_file"), ("answer_files", "id")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (self._answer_file,))  # noqa: S608 - names are our own
            db.execute(
                "INSERT INTO answer_files (id, job, file, bytes, sha256, missing_reason, lines) VALUES (?,?,?,?,?,?,0)",
                source,
            )
            if again:  # what only the replaced answers said makes room
                db.execute("DELETE FROM messages WHERE id NOT IN (SELECT message FROM answers WHERE message NOT NULL)")
            kept = db.execute("SELECT reason, text, id FROM messages").fetchall()
        self._messages: dict[tuple[str, str], int] = {(row[0], row[1]): row[2] for row in kept}
        self._by_reason = Counter(reason for reason, _ in self._messages)

    def __enter__(self) -> AnswerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back already; the first error counts
                self._db.execute("ROLLBACK")

    def add_request(self, row: RequestRow) -> None:
        """Add a request that is known only by its answer: the job was created elsewhere."""
        self._db.execute(
            INSERT_REQUEST,
            (row.seq, row.line, row.key, key_hash(row.key), *row[3:], self._answer_file, 1),
        )

    def message(self, reason: str, text: str) -> int | None:
        """The id of a message of the service, for :class:`AnswerRow`; None if there are too many different ones."""
        if len(text) > _LONGEST_MESSAGE:
            text = text[: _LONGEST_MESSAGE - 1] + "…"
        known = self._messages.get((reason, text))
        if known is not None:
            return known
        if self._by_reason[reason] >= MESSAGES_PER_REASON or len(self._messages) >= MESSAGES_IN_ALL:
            return None
        new = max(self._messages.values(), default=0) + 1
        self._db.execute("INSERT INTO messages (id, reason, text) VALUES (?, ?, ?)", (new, reason, text))
        self._messages[reason, text] = new
        self._by_reason[reason] += 1
        return new

    def add(self, answers: Iterable[AnswerRow]) -> None:
        """Write judged answers."""
        self._db.executemany(
            "INSERT INTO answers (answer_file, seq, attempt, offset, length, verdict, reason, message, usage_known, "
            "input, cached, output, thoughts, tool_use, audio_input, image_output) "
            "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [(self._answer_file, *row) for row in answers],
        )

    def quarantine(self, offset: int, length: int, reason: str) -> None:
        """Record an answer line that belongs to no request."""
        self._db.execute("INSERT INTO quarantine VALUES (?, ?, ?, ?)", (self._answer_file, offset, length, reason))

    def finish(self, lines: int) -> None:
        """Choose the final answer of every request that has one, and commit.

        A success takes precedence over everything else; otherwise, a later attempt takes precedence over an earlier
        one, and within one file the first line counts.
        """
        with explained(self._path, "run's row database"):
            self._db.execute("UPDATE answer_files SET lines = ? WHERE id = ?", (lines, self._answer_file))
            self._db.execute("CREATE INDEX IF NOT EXISTS answers_seq ON answers (seq)")
            self._db.execute(
                "UPDATE requests SET answer = (SELECT id FROM answers a WHERE a.seq = requests.seq "
                "ORDER BY (a.verdict = 'succeeded') DESC, a.attempt DESC, a.id LIMIT 1) "
                "WHERE seq IN (SELECT seq FROM answers WHERE answer_file = ?) "
                # An answer that this file gave before may be gone now; then the answer of another job counts.
                "OR (answer IS NULL AND seq IN (SELECT seq FROM answers))",
                (self._answer_file,),
            )
            self._db.execute("COMMIT")
        self._ended = True
