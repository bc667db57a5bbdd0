"""``rows.db``: one row a request of a run, and one a received answer: places and verdicts, never contents.

What always holds:

- ``seq`` counts the requests of a run from 0, in the order of the input; ``requests.answer`` points at the answer that
  is final at this moment, NULL where there is none.
- Everything that a raw file holds is written in one transaction, and can be written again: the same file gives the
  same rows.
- An answer line whose key is missing or not ours is in ``quarantine``, never given to a request.

Keys are found by a 64-bit hash, indexed after loading, and then compared; memory does not grow with the file.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.runs.sqlite import connect, explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MIGRATIONS = (
    """
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY, line INTEGER NOT NULL, key TEXT NOT NULL, hash INTEGER NOT NULL,
    offset INTEGER NOT NULL, length INTEGER NOT NULL, expects_json INTEGER NOT NULL, dimension INTEGER,
    answer INTEGER
) STRICT;
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, job TEXT NOT NULL UNIQUE, attempt INTEGER NOT NULL, file TEXT NOT NULL,
    bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, lines INTEGER NOT NULL, missing_reason TEXT NOT NULL
) STRICT;
CREATE TABLE answers (
    id INTEGER PRIMARY KEY, seq INTEGER NOT NULL REFERENCES requests (seq), source INTEGER NOT NULL,
    attempt INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    verdict TEXT NOT NULL, reason TEXT, usage_known INTEGER NOT NULL, input INTEGER NOT NULL, cached INTEGER NOT NULL,
    output INTEGER NOT NULL, thoughts INTEGER NOT NULL, tool_use INTEGER NOT NULL, audio_input INTEGER NOT NULL,
    image_output INTEGER NOT NULL
) STRICT;
CREATE TABLE quarantine (
    source INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE VIEW results AS
    SELECT requests.seq, requests.key, coalesce(answers.verdict, 'missing') AS verdict, answers.reason,
           answers.attempt, answers.input, answers.cached, answers.output, answers.thoughts
    FROM requests LEFT JOIN answers ON answers.id = requests.answer ORDER BY requests.seq;
""",
)

_BATCH = 5000
_INSERT_REQUEST = (
    "INSERT INTO requests (seq, line, key, hash, offset, length, expects_json, dimension) VALUES (?,?,?,?,?,?,?,?)"
)


class RequestRow(NamedTuple):
    """One request as loaded; ``line`` is its number in the user's own file."""

    seq: int
    line: int
    key: str
    offset: int
    length: int
    expects_json: bool
    dimension: int | None


class Wanted(NamedTuple):
    """What judging an answer needs to know of its request."""

    seq: int
    expects_json: bool
    dimension: int | None


class AnswerRow(NamedTuple):
    """One judged answer; the counts are tokens."""

    seq: int
    offset: int
    length: int
    verdict: str
    reason: str | None
    usage_known: bool
    input: int
    cached: int
    output: int
    thoughts: int
    tool_use: int
    audio_input: int
    image_output: int


class FinalRow(NamedTuple):
    """One request with its final answer: where it stands, or the reason why there is none."""

    seq: int
    key: str
    expects_json: bool
    dimension: int | None
    file: str | None
    offset: int
    length: int
    attempt: int
    verdict: str | None
    missing_reason: str


def key_hash(key: str) -> int:
    """A signed 64-bit hash of a key."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Rows:
    """The database of one run folder, opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = connect(path, MIGRATIONS, what="run's row database")

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def load(self, rows: Iterable[RequestRow]) -> None:
        """Write all requests in one transaction, then index their hashes."""
        with explained(self.path, "run's row database"), transaction(self._db):
            source = iter(rows)
            while batch := list(islice(source, _BATCH)):
                self._db.executemany(
                    _INSERT_REQUEST,
                    [(r.seq, r.line, r.key, key_hash(r.key), *r[3:]) for r in batch],
                )
            self._db.execute("CREATE INDEX IF NOT EXISTS requests_hash ON requests (hash)")

    def duplicates(self, limit: int) -> Iterator[tuple[str, int, int]]:
        """``(key, line, line of its first use)`` for keys that are used again, in file order, at most ``limit``."""
        sql = (
            "WITH firsts AS MATERIALIZED (SELECT key, min(line) AS first FROM requests WHERE hash IN "
            "(SELECT hash FROM requests GROUP BY hash HAVING count(*) > 1) GROUP BY key HAVING count(*) > 1) "
            "SELECT r.key, r.line, firsts.first FROM requests r CROSS JOIN firsts ON firsts.key = r.key "
            "WHERE r.line > firsts.first ORDER BY r.seq LIMIT ?"
        )
        with explained(self.path, "run's row database"):
            for row in self._db.execute(sql, (limit,)):
                yield row["key"], row["line"], row["first"]

    def count_duplicates(self) -> int:
        """How many requests use a key that an earlier one has used."""
        sql = (
            "SELECT coalesce(sum(uses - 1), 0) FROM (SELECT count(*) AS uses FROM requests WHERE hash IN "
            "(SELECT hash FROM requests GROUP BY hash HAVING count(*) > 1) GROUP BY key)"
        )
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql).fetchone()[0])

    def places(self, first: int, end: int) -> Iterator[tuple[str, int, int]]:
        """``(key, offset, length)`` of the requests with first ≤ seq < end."""
        sql = "SELECT key, offset, length FROM requests WHERE seq >= ? AND seq < ? ORDER BY seq"
        with explained(self.path, "run's row database"):
            for row in self._db.execute(sql, (first, end)):
                yield row["key"], row["offset"], row["length"]

    def count(self) -> int:
        """How many requests there are."""
        return int(self._db.execute("SELECT count(*) FROM requests").fetchone()[0])

    # Collecting ------------------------------------------------------------------------------------------------------

    def wanted_from(self, seq: int, count: int) -> dict[str, Wanted]:
        """The next ``count`` requests from ``seq`` on, by key: answers usually come in that order."""
        sql = "SELECT seq, key, expects_json, dimension FROM requests WHERE seq >= ? ORDER BY seq LIMIT ?"
        return {
            r["key"]: Wanted(r["seq"], bool(r["expects_json"]), r["dimension"])
            for r in self._db.execute(sql, (seq, count))
        }

    def wanted(self, key: str) -> Wanted | None:
        """The request with that key, wherever it stands."""
        sql = "SELECT seq, expects_json, dimension FROM requests WHERE hash = ? AND key = ?"
        row = self._db.execute(sql, (key_hash(key), key)).fetchone()
        return None if row is None else Wanted(row["seq"], bool(row["expects_json"]), row["dimension"])

    def begin_source(
        self, job: str, *, attempt: int, file: str, size: int, sha256: str, missing_reason: str
    ) -> SourceWriter:
        """Start writing what one job answered; anything written for that job before is replaced."""
        return SourceWriter(self, self._db, (job, attempt, file, size, sha256, missing_reason))

    # Reading ---------------------------------------------------------------------------------------------------------

    def sources(self) -> list[sqlite3.Row]:
        """The raw files that were collected."""
        return self._db.execute("SELECT * FROM sources ORDER BY attempt, id").fetchall()

    def final(self) -> Iterator[FinalRow]:
        """Every request with its final answer, in the order of the input."""
        sql = (
            "SELECT r.seq, r.key, r.expects_json, r.dimension, s.file, coalesce(a.offset, 0), coalesce(a.length, 0), "
            "coalesce(a.attempt, (SELECT max(attempt) FROM sources), 1), a.verdict, "
            "coalesce((SELECT missing_reason FROM sources ORDER BY attempt DESC, id DESC LIMIT 1), 'NO_LINE') "
            "FROM requests r LEFT JOIN answers a ON a.id = r.answer LEFT JOIN sources s ON s.id = a.source "
            "ORDER BY r.seq"
        )
        with explained(self.path, "run's row database"):
            for row in self._db.execute(sql):
                yield FinalRow(row[0], row[1], bool(row[2]), *row[3:])

    def counts(self) -> dict[str, int]:
        """How many requests have each verdict."""
        sql = (
            "SELECT coalesce(a.verdict, 'missing') AS verdict, count(*) AS n "
            "FROM requests r LEFT JOIN answers a ON a.id = r.answer GROUP BY 1"
        )
        with explained(self.path, "run's row database"):
            return {row["verdict"]: row["n"] for row in self._db.execute(sql)}

    def reasons(self) -> list[tuple[str, str, int, list[str]]]:
        """``(verdict, reason, how many, the first three keys)`` of everything that did not succeed, most first."""
        sql = (
            "SELECT coalesce(a.verdict, 'missing') AS v, coalesce(a.reason, CASE WHEN a.id IS NULL THEN "
            "(SELECT missing_reason FROM sources ORDER BY attempt DESC, id DESC LIMIT 1) END, 'NO_LINE') AS why, "
            "count(*) AS n FROM requests r LEFT JOIN answers a ON a.id = r.answer "
            "WHERE coalesce(a.verdict, 'missing') <> 'succeeded' GROUP BY 1, 2 ORDER BY n DESC, 1, 2"
        )
        keys = (
            "SELECT r.key FROM requests r LEFT JOIN answers a ON a.id = r.answer "
            "WHERE coalesce(a.verdict, 'missing') = ? AND (a.id IS NULL OR a.reason IS ?) ORDER BY r.seq LIMIT 3"
        )
        with explained(self.path, "run's row database"):
            found = self._db.execute(sql).fetchall()
            return [
                (row["v"], row["why"], row["n"], [k["key"] for k in self._db.execute(keys, (row["v"], row["why"]))])
                for row in found
            ]

    def usage(self, long_prompt: int) -> list[sqlite3.Row]:
        """Token sums of all answers received; prompts over ``long_prompt`` tokens (``long`` = 1) apart."""
        sql = (
            "SELECT input > ? AS long, sum(input) AS input, sum(cached) AS cached, sum(output) AS output, "
            "sum(thoughts) AS thoughts, sum(tool_use) AS tool_use, sum(audio_input) AS audio_input, "
            "sum(image_output) AS image_output, count(*) AS answers, sum(usage_known) AS known "
            "FROM answers GROUP BY 1 ORDER BY 1"
        )
        with explained(self.path, "run's row database"):
            return self._db.execute(sql, (long_prompt,)).fetchall()

    def quarantined(self) -> dict[str, int]:
        """Answer lines that belong to no request, by reason."""
        sql = "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY n DESC"
        return {row["reason"]: row["n"] for row in self._db.execute(sql)}

    def repeated(self) -> int:
        """Answers beyond the first of a request within one job: the service sent a line twice."""
        sql = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM answers GROUP BY seq, source)"
        return int(self._db.execute(sql).fetchone()[0])


class SourceWriter:
    """Writes the answers of one raw file; everything appears at :meth:`finish`, or nothing does."""

    def __init__(self, rows: Rows, db: sqlite3.Connection, source: tuple[str, int, str, int, str, str]) -> None:
        job, attempt = source[:2]
        self._rows, self._db, self._attempt = rows, db, attempt
        self._ended = False
        with explained(rows.path, "run's row database"):
            db.execute("BEGIN IMMEDIATE")
            # An adopted run has no requests yet; without the index each key it learns would be sought among all.
            db.execute("CREATE INDEX IF NOT EXISTS requests_hash ON requests (hash)")
            old = db.execute("SELECT id FROM sources WHERE job = ?", (job,)).fetchone()
            if old:
                db.execute(
                    "UPDATE requests SET answer = NULL WHERE answer IN (SELECT id FROM answers WHERE source = ?)",
                    (old["id"],),
                )
                for table, column in (("answers", "source"), ("quarantine", "source"), ("sources", "id")):
                    db.execute(f"DELETE FROM {table} WHERE {column} = ?", (old["id"],))  # noqa: S608 - names are our own
            cursor = db.execute(
                "INSERT INTO sources (job, attempt, file, bytes, sha256, lines, missing_reason) VALUES (?,?,?,?,?,0,?)",
                source,
            )
            assert cursor.lastrowid is not None
            self._source = cursor.lastrowid

    def __enter__(self) -> SourceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended:
            self._db.execute("ROLLBACK")

    def add_request(self, row: RequestRow) -> None:
        """A request that is only known by its answer: the job was made elsewhere."""
        self._db.execute(
            _INSERT_REQUEST,
            (row.seq, row.line, row.key, key_hash(row.key), *row[3:]),
        )

    def add(self, answers: Iterable[AnswerRow]) -> None:
        """Write judged answers."""
        self._db.executemany(
            "INSERT INTO answers (source, attempt, seq, offset, length, verdict, reason, usage_known, input, cached, "
            "output, thoughts, tool_use, audio_input, image_output) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [(self._source, self._attempt, *row) for row in answers],
        )

    def quarantine(self, offset: int, length: int, reason: str) -> None:
        """Note an answer line that belongs to no request."""
        self._db.execute("INSERT INTO quarantine VALUES (?, ?, ?, ?)", (self._source, offset, length, reason))

    def finish(self, lines: int) -> None:
        """Choose the final answer of every request that got one, and commit.

        A success beats everything; among the rest a later attempt beats an earlier one, and within one file the first
        line wins.
        """
        with explained(self._rows.path, "run's row database"):
            self._db.execute("UPDATE sources SET lines = ? WHERE id = ?", (lines, self._source))
            self._db.execute("CREATE INDEX IF NOT EXISTS answers_seq ON answers (seq)")
            self._db.execute(
                "UPDATE requests SET answer = (SELECT id FROM answers a WHERE a.seq = requests.seq "
                "ORDER BY (a.verdict = 'succeeded') DESC, a.attempt DESC, a.id LIMIT 1) "
                "WHERE seq IN (SELECT seq FROM answers WHERE source = ?)",
                (self._source,),
            )
            self._db.execute("COMMIT")
        self._ended = True
