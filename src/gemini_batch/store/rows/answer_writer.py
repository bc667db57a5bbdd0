"""Writes one job's answers to ``rows.db``: all of one raw file, or nothing."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from gemini_batch.jsonl import utf8_text
from gemini_batch.safe_text import printable
from gemini_batch.store.rows.conditions import ANSWER_COPIES, COUNTS, RANK
from gemini_batch.store.rows.migrations import INDEXES_OF_ANSWERS
from gemini_batch.store.rows.row_records import INSERT_REQUEST
from gemini_batch.store.sqlite import explained, run_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from gemini_batch.answers.verdict import Judged
    from gemini_batch.store.rows.row_records import RequestRow


#: Answers are written in groups of this size.
_BATCH = 2000
#: So many model names are kept for a run, of so many characters; anything beyond counts as one unknown model.
_MOST_NAMES, _LONGEST_NAME = 100, 200
#: The name of an unknown model, which no model has.
_UNKNOWN_NAME = "?"
#: So many characters of a message are kept, and so many different messages for one reason and for all of a run. A
#: message that holds an id is a new one for each row.
_LONGEST_MESSAGE = 300
MESSAGES_PER_REASON = 20
MESSAGES_IN_ALL = 200
_COLUMNS = (
    *("answer_file", "seq", "attempt", "offset", "length", "verdict", "reason", "message"),
    *COUNTS,
    *("usage_known", "standard", "model_version"),
)
_INSERT_ANSWER = f"INSERT INTO answers ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - ours


def entry(judged: Judged, attempt: int, offset: int, length: int, *, standard: bool) -> tuple[Any, ...]:
    """What :meth:`AnswerWriter.add` takes for a judged answer; ``offset`` and ``length`` are those of its line.

    ``standard``: it was charged as a standard call.
    """
    usage = judged.usage
    return (
        attempt,
        offset,
        length,
        judged.verdict,
        judged.reason,
        judged.said,
        *astuple(usage)[:-1],
        usage.known or not judged.has_response,  # an error without a response has used no tokens
        standard,
        judged.model_version,
        judged.has_response,
    )


#: Where an entry has them.
_REASON, _SAID = 4, 5


class AnswerWriter:
    """Writes the answers of one raw file; all of them appear at :meth:`finish`, or none."""

    def __init__(self, path: Path, db: sqlite3.Connection, source: tuple[int, str, str, int, str, str]) -> None:
        self._path, self._db, self._answer_file = path, db, source[0]
        self._ended = False
        self._rows: list[tuple[object, ...]] = []
        #: The ids of models, by what the answers say.
        self._models: dict[str, int | None] = {}
        with explained(path, "run's row database"):
            db.execute("BEGIN IMMEDIATE")
            self._again = db.execute(
                "SELECT EXISTS (SELECT 1 FROM answers WHERE answer_file = ?)", source[:1]
            ).fetchone()[0]
            if self._again:
                db.execute(
                    "UPDATE requests SET answer = NULL WHERE answer IN (SELECT id FROM answers WHERE answer_file = ?)",
                    source[:1],
                )
            for table, column in (("answers", "answer_file"), ("quarantine", "answer_file"), ("answer_files", "id")):
                db.execute(f"DELETE FROM {table} WHERE {column} = ?", (self._answer_file,))  # noqa: S608 - names are our own
            db.execute(
                "INSERT INTO answer_files (id, job, file, bytes, sha256, missing_reason, lines) VALUES (?,?,?,?,?,?,0)",
                source,
            )
            if self._again:  # what only the replaced answers said makes room
                db.execute("DELETE FROM messages WHERE id NOT IN (SELECT message FROM answers WHERE message NOT NULL)")
            kept = db.execute("SELECT reason, text, id FROM messages").fetchall()
            #: The last answer of other files: those of this one come after it.
            self._before = db.execute("SELECT coalesce(max(id), 0) FROM answers").fetchone()[0]
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
        self._db.execute(INSERT_REQUEST, (*row, self._answer_file, 1))

    def _message(self, reason: str, text: str) -> int | None:
        """The id of a message of the service; None if there are too many different ones."""
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

    def add(self, seq: int, answer: tuple[Any, ...], *, stated: str | None) -> None:
        """Add the judged answer, an :func:`entry`, to a request.

        ``stated``: the model that counts if the answer names none.
        """
        *_, model, has_response = answer
        reason, said = answer[_REASON], answer[_SAID]
        self._rows.append(
            (
                self._answer_file,
                seq,
                *answer[:_SAID],
                None if said is None else self._message(reason or "", said),
                *answer[_SAID + 1 : -2],
                self._model(model) or (self._model(stated) if has_response else None),
            )
        )
        if len(self._rows) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._db.executemany(_INSERT_ANSWER, self._rows)
        self._rows.clear()

    def _model(self, stated: str | None) -> int | None:
        """The id of the model that an answer names, which is entered at its first use; None if it names none."""
        if not stated:
            return None
        known = self._models.get(stated)
        if known is None and stated not in self._models:
            known = self._entered(stated)
            if len(self._models) < _MOST_NAMES:
                self._models[stated] = known
        return known

    def _entered(self, stated: str) -> int | None:
        """The name is kept without its prefix, and as text that SQLite takes."""
        name = utf8_text(printable(stated)).strip().removeprefix("models/")
        if not name:
            return None
        (kept,) = self._db.execute("SELECT count(*) FROM model_versions").fetchone()
        found = self._id_of(name)
        if found is None and (len(name) > _LONGEST_NAME or kept >= _MOST_NAMES):
            name = _UNKNOWN_NAME
            found = self._id_of(name)
        if found is None:
            found = self._db.execute("INSERT INTO model_versions (name) VALUES (?)", (name,)).lastrowid
        return found

    def _id_of(self, name: str) -> int | None:
        row = self._db.execute("SELECT id FROM model_versions WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def quarantine(self, offset: int, length: int, reason: str) -> None:
        """Record an answer line that belongs to no request."""
        self._db.execute("INSERT INTO quarantine VALUES (?, ?, ?, ?)", (self._answer_file, offset, length, reason))

    def cut_off(self) -> Iterator[tuple[int, str, int, int]]:
        """``(answer, key, offset, length)`` of the answers that ended with MAX_TOKENS; the place is the request's."""
        self._flush()
        sql = (
            "SELECT a.id, r.key, r.offset, r.length FROM answers a JOIN requests r ON r.seq = a.seq "
            "WHERE a.answer_file = ? AND a.reason = 'MAX_TOKENS' ORDER BY r.seq, a.id"
        )
        for row in self._db.execute(sql, (self._answer_file,)):
            yield tuple(row)

    def explain(self, answers: Iterable[int], reason: str) -> None:
        """Give answers a more exact reason."""
        self._db.executemany("UPDATE answers SET reason = ? WHERE id = ?", ((reason, one) for one in answers))

    def finish(self, lines: int) -> None:
        """Choose the final answer of every request that has one here, and commit."""
        with explained(self._path, "run's row database"):
            self._flush()
            self._db.execute("UPDATE answer_files SET lines = ? WHERE id = ?", (lines, self._answer_file))
            run_all(self._db, INDEXES_OF_ANSWERS)
            affected = "seq IN (SELECT seq FROM answers WHERE id > ?)"
            if self._again:  # an answer that this file gave before may be gone now; then that of another job counts
                affected += " OR seq IN (SELECT seq FROM requests WHERE answer IS NULL)"
            self._db.execute(
                f"UPDATE requests SET answer = best.id FROM (SELECT seq, id, max({RANK}) FROM answers "  # noqa: S608 - ours
                f"WHERE {affected} GROUP BY seq) best WHERE best.seq = requests.seq",
                (self._before,),
            )
            self._db.execute(ANSWER_COPIES)
            self._db.execute("COMMIT")
        self._ended = True
