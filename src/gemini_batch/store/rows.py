"""``rows.db``: one row for each request of a run and for each received answer. Positions and verdicts, never contents.
The service's messages about requests that did not succeed are kept, shortened; their number is bounded.

What always holds:

- ``seq`` counts the requests of a run from 0, in input order. ``requests.job`` is the ordinal of the job that a request
  is in, NULL while it waits to be sent (again). ``requests.attempts`` counts the jobs it has been in,
  ``attempts_excused`` those before the user last asked for it again.
  ``requests.answer`` points to the answer that is final at this moment, NULL if there is none.
- Everything in a raw file is written in one transaction, which can be repeated: the same file gives the same rows.
- An answer line whose key is missing or unknown goes to ``quarantine``, never to a request.

Keys are found by a 64-bit hash, indexed after loading, and then compared. Memory does not grow with the file.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING

from gemini_batch.store import conditions, migrations
from gemini_batch.store.answer_writer import AnswerWriter
from gemini_batch.store.row_records import (
    INSERT_REQUEST,
    Chunk,
    FailureRow,
    FinalRow,
    Leftover,
    PlacedRow,
    Reason,
    RequestRow,
    Waiting,
    Wanted,
    grouped,
    key_hash,
)
from gemini_batch.store.sqlite import Alone, connect, explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path


_BATCH = 5000


class Rows:
    """The open database of one run folder."""

    def __init__(self, path: Path, *, alone: Alone = nullcontext) -> None:
        self.path = path
        self._db = connect(path, migrations.ROWS, what="run's row database", alone=alone)

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def load(self, rows: Iterable[RequestRow]) -> None:
        """Insert all requests in one transaction, then index their hashes."""
        with explained(self.path, "run's row database"), transaction(self._db):
            source = iter(rows)
            while batch := list(islice(source, _BATCH)):
                self._db.executemany(
                    INSERT_REQUEST,
                    [(r.seq, r.line, r.key, key_hash(r.key), *r[3:], None, 0) for r in batch],
                )
            self._db.execute("CREATE INDEX IF NOT EXISTS requests_hash ON requests (hash)")

    def duplicates(self, limit: int) -> Iterator[tuple[str, int, int]]:
        """``(key, line, line of its first use)`` for repeated keys, in file order, at most ``limit``."""
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
        """How many requests repeat the key of an earlier one."""
        sql = (
            "SELECT coalesce(sum(uses - 1), 0) FROM (SELECT count(*) AS uses FROM requests WHERE hash IN "
            "(SELECT hash FROM requests GROUP BY hash HAVING count(*) > 1) GROUP BY key)"
        )
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql).fetchone()[0])

    # Planning --------------------------------------------------------------------------------------------------------

    def waiting(self) -> Waiting:
        """The totals of the requests that wait to be sent."""
        sql = "SELECT count(*), coalesce(sum(length + 1), 0), coalesce(sum(tokens), 0) FROM requests WHERE job IS NULL"
        with explained(self.path, "run's row database"):
            return Waiting(*self._db.execute(sql).fetchone())

    def to_send(self, sent: Sequence[int]) -> int:
        """How many requests are still to be sent, for the first time or again; ``sent`` as for :meth:`unsent`."""
        numbers = ", ".join(str(int(ordinal)) for ordinal in sent)
        sql = f"SELECT count(*) FROM requests WHERE job IS NULL OR job NOT IN ({numbers})"  # noqa: S608 - numbers only
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql).fetchone()[0])

    def unsent(self, sent: Sequence[int]) -> int:
        """How many requests were never sent; ``sent`` holds the jobs that were created, or may have been."""
        sql = f"SELECT count(*) FROM requests WHERE NOT {conditions.was_sent(sent)}"  # noqa: S608 - numbers only
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql).fetchone()[0])

    def take(self, ordinal: int, *, requests: int, bytes: int, tokens: int | None) -> Chunk | None:  # noqa: A002 - units
        """Put the next waiting requests in job ``ordinal``: as many as the limits allow, and at least one."""
        with explained(self.path, "run's row database"), transaction(self._db):
            chunk, last = self._all_waiting()
            if chunk is not None and (
                chunk.requests > requests or chunk.bytes > bytes or (tokens is not None and chunk.tokens > tokens)
            ):
                chunk, last = self._first_waiting(requests, bytes, tokens)
            if chunk is not None:
                self._db.execute(
                    "UPDATE requests SET job = ?, attempts = attempts + 1 WHERE job IS NULL AND seq <= ?",
                    (ordinal, last),
                )
            return chunk

    def _all_waiting(self) -> tuple[Chunk | None, int]:
        """All waiting requests and the last of them; the database counts them, however many there are."""
        sql = (
            "SELECT count(*), sum(length + 1), sum(tokens), min(offset), max(offset + length + 1), max(seq) "
            "FROM requests WHERE job IS NULL"
        )
        count, size, tokens, begin, end, last = self._db.execute(sql).fetchone()
        return (Chunk(count, size, tokens, begin, end - begin == size), last) if count else (None, -1)

    def _first_waiting(self, requests: int, most_bytes: int, tokens: int | None) -> tuple[Chunk | None, int]:
        """As many of the first waiting requests as the limits allow, at least one, and the last of them."""
        count = size = sum_tokens = 0
        first_offset = last_seq = expected = -1
        whole = True
        sql = "SELECT seq, offset, length, tokens FROM requests WHERE job IS NULL ORDER BY seq"
        for row in self._db.execute(sql):
            grown = size + row["length"] + 1
            full = (
                count >= requests or grown > most_bytes or (tokens is not None and sum_tokens + row["tokens"] > tokens)
            )
            if count and full:
                break
            if not count:
                first_offset = row["offset"]
            whole = whole and (expected in {-1, row["offset"]})
            expected = row["offset"] + row["length"] + 1
            count, size, sum_tokens, last_seq = count + 1, grown, sum_tokens + row["tokens"], row["seq"]
        return Chunk(count, size, sum_tokens, first_offset, whole), last_seq

    def release(self, ordinal: int) -> None:
        """Let the requests of job ``ordinal``, which will not be created, wait again as if never in it."""
        with explained(self.path, "run's row database"), transaction(self._db):
            self._db.execute("UPDATE requests SET job = NULL, attempts = attempts - 1 WHERE job = ?", (ordinal,))

    def requeue(self, ordinal: int, *, reasons: Sequence[str], most: int, most_unanswered: int) -> int:
        """Let a collected job's requests wait again that failed for one of ``reasons`` or got no answer.

        Only requests that have been in fewer than ``most`` (``most_unanswered``) jobs since the user asked for them,
        and that have not succeeded in any job. Returns how many.
        """
        sql, values = conditions.unlasting(ordinal, reasons, most, most_unanswered)
        with explained(self.path, "run's row database"), transaction(self._db):
            return self._db.execute(f"UPDATE requests SET job = NULL WHERE {sql}", values).rowcount  # noqa: S608 - marks only

    def leftover(self, ordinal: int, *, reasons: Sequence[str], most: int, most_unanswered: int) -> Leftover:
        """The requests that :meth:`requeue` would let wait again; changes nothing."""
        sql, values = conditions.unlasting(ordinal, reasons, most, most_unanswered)
        with explained(self.path, "run's row database"):
            return Leftover(*self._db.execute(conditions.LEFTOVER + sql, values).fetchone())

    def without_line(self, ordinal: int) -> int:
        """How many of the requests in a job got no line from it."""
        with explained(self.path, "run's row database"):
            return int(self._db.execute(conditions.WITHOUT_LINE, (ordinal,)).fetchone()[0])

    def stopped(self, ordinal: int) -> tuple[int, int]:
        """Of the requests in a job: how many have no answer, and how many ended as CANCELLED."""
        with explained(self.path, "run's row database"):
            unanswered, cancelled = self._db.execute(conditions.STOPPED, (ordinal,)).fetchone()
        return unanswered, cancelled

    def answers_with(self, ordinal: int, reason: str, *, limit: int) -> list[tuple[str, int, int]]:
        """``(file, offset, length)`` of the first answers of a job with that reason."""
        sql = (
            "SELECT f.file, a.offset, a.length FROM answers a JOIN answer_files f ON f.id = a.answer_file "
            "WHERE a.answer_file = ? AND a.reason = ? LIMIT ?"
        )
        with explained(self.path, "run's row database"):
            return [tuple(row) for row in self._db.execute(sql, (ordinal, reason, limit))]

    def choose(self, verdicts: Sequence[str], collected: Sequence[int]) -> int:
        """Let requests of ``collected`` jobs with one of these final verdicts wait again; returns how many."""
        marks = ", ".join("?" * len(verdicts))
        jobs = ", ".join(str(int(ordinal)) for ordinal in collected)
        sql = (
            f"UPDATE requests SET job = NULL, attempts_excused = attempts WHERE job IN ({jobs}) AND coalesce("  # noqa: S608 - numbers and marks only
            f"(SELECT verdict FROM answers WHERE id = requests.answer), 'missing') IN ({marks})"
        )
        with explained(self.path, "run's row database"), transaction(self._db):
            return self._db.execute(sql, tuple(verdicts)).rowcount

    def answered(self) -> int:
        """How many requests have an answer of any kind."""
        with explained(self.path, "run's row database"):
            return int(self._db.execute("SELECT count(*) FROM requests WHERE answer IS NOT NULL").fetchone()[0])

    def answered_by_job(self) -> dict[int | None, int]:
        """How many requests have an answer of any kind, by the job they are in now; None: waiting."""
        sql = "SELECT job, count(*) FROM requests WHERE answer IS NOT NULL GROUP BY job"
        with explained(self.path, "run's row database"):
            return dict(self._db.execute(sql).fetchall())

    def ordinals(self) -> set[int]:
        """The ordinals of the jobs that requests are in."""
        return {row[0] for row in self._db.execute("SELECT DISTINCT job FROM requests WHERE job IS NOT NULL")}

    def members(self, ordinal: int) -> Iterator[tuple[str, int, int]]:
        """``(key, offset, length)`` of the requests in a job, in order."""
        sql = "SELECT key, offset, length FROM requests WHERE job = ? ORDER BY seq"
        with explained(self.path, "run's row database"):
            for row in self._db.execute(sql, (ordinal,)):
                yield row["key"], row["offset"], row["length"]

    def count(self) -> int:
        """How many requests there are."""
        return int(self._db.execute("SELECT count(*) FROM requests").fetchone()[0])

    # Collecting ------------------------------------------------------------------------------------------------------

    def wanted_from(self, seq: int, count: int, ordinal: int) -> dict[str, Wanted]:
        """The next ``count`` requests of a job from ``seq``, by key: answers usually come in that order."""
        sql = (
            "SELECT seq, key, expects_json, dimension, attempts FROM requests WHERE seq >= ? AND job = ? "
            "ORDER BY seq LIMIT ?"
        )
        return {
            r["key"]: Wanted(r["seq"], bool(r["expects_json"]), r["dimension"], r["attempts"])
            for r in self._db.execute(sql, (seq, ordinal, count))
        }

    def wanted(self, key: str, ordinal: int) -> Wanted | None:
        """The request with this key, if it is in this job."""
        sql = "SELECT seq, expects_json, dimension, attempts FROM requests WHERE hash = ? AND key = ? AND job = ?"
        row = self._db.execute(sql, (key_hash(key), key, ordinal)).fetchone()
        return None if row is None else Wanted(row["seq"], bool(row["expects_json"]), row["dimension"], row["attempts"])

    def begin_answers(
        self, ordinal: int, job: str, *, file: str, size: int, sha256: str, missing_reason: str
    ) -> AnswerWriter:
        """Start writing the answers of job ``ordinal``; anything written for it before is replaced."""
        return AnswerWriter(self.path, self._db, (ordinal, job, file, size, sha256, missing_reason))

    def narrow(self, ordinal: int, *, offset: int, size: int, keys: Iterable[str] | None = None) -> None:
        """Restrict this connection to what job ``ordinal`` carried and answered, whatever came later.

        The job carried the requests in a range of the requests file, or those with the given ``keys``. Temporary tables
        of this connection hide those of the database, which stay unchanged.
        """
        number = int(ordinal)
        with explained(self.path, "run's row database"):
            self._find_members(offset, size, keys)
            # A request without an answer here that was resent since: its attempt is counted from earlier answers.
            self._db.execute(
                "CREATE TEMP TABLE requests AS SELECT seq, line, key, hash, offset, length, expects_json, dimension, "
                "tokens, ?1 AS job, CASE job WHEN ?1 THEN attempts ELSE 1 + (SELECT count(*) FROM main.answers a "
                "WHERE a.seq = r.seq AND a.answer_file < ?1) END AS attempts, (SELECT id FROM main.answers a WHERE "
                "a.seq = r.seq AND a.answer_file = ?1 ORDER BY (a.verdict = 'succeeded') DESC, a.id LIMIT 1) AS answer "
                "FROM main.requests r JOIN members USING (seq) ORDER BY seq",
                (number,),
            )
            self._db.execute("CREATE INDEX temp.requests_of_job ON requests (hash)")
            for table, column in (("answers", "answer_file"), ("quarantine", "answer_file")):
                self._db.execute(
                    f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE {column} = {number}"  # noqa: S608 - ours
                )

    def take_back(self, ordinal: int, *, offset: int, size: int, keys: Iterable[str] | None = None) -> int:
        """Put waiting requests that job ``ordinal`` carried in that job again; returns how many. See :meth:`narrow`."""
        with explained(self.path, "run's row database"):
            self._find_members(offset, size, keys)
            waiting = "job IS NULL AND attempts > 0 AND seq IN (SELECT seq FROM members)"
            found = self._db.execute(f"UPDATE requests SET job = ? WHERE {waiting}", (ordinal,))  # noqa: S608 - no value
            self._db.execute("DROP TABLE members")
            return found.rowcount

    def _find_members(self, offset: int, size: int, keys: Iterable[str] | None) -> None:
        self._db.execute("CREATE TEMP TABLE members (seq INTEGER PRIMARY KEY)")
        if keys is None:
            place = (offset, offset + size)
            self._db.execute("INSERT INTO members SELECT seq FROM requests WHERE offset >= ? AND offset < ?", place)
        else:
            self._db.executemany(
                "INSERT OR IGNORE INTO members SELECT seq FROM requests WHERE hash = ? AND key = ?",
                ((key_hash(key), key) for key in keys),
            )

    def hide_unsent(self, sent: Sequence[int]) -> None:
        """Restrict this connection to requests that were sent, as :meth:`unsent` counts them.

        One that is planned to be resent has been in one job less.
        """
        if self.to_send(sent):
            numbers = ", ".join(str(int(ordinal)) for ordinal in sent)
            sql = (
                "CREATE TEMP VIEW requests AS SELECT seq, line, key, hash, offset, length, expects_json, dimension, "  # noqa: S608 - numbers only
                f"tokens, job, attempts - (job IS NOT NULL AND job NOT IN ({numbers})) AS attempts, answer "
                f"FROM main.requests WHERE {conditions.was_sent(sent)}"
            )
            with explained(self.path, "run's row database"):
                self._db.execute(sql)

    # Reading ---------------------------------------------------------------------------------------------------------

    def answer_files(self) -> list[sqlite3.Row]:
        """The raw files that were collected."""
        return self._db.execute("SELECT * FROM answer_files ORDER BY id").fetchall()

    def final(self) -> Iterator[FinalRow]:
        """Every request with its final answer, in input order."""
        with explained(self.path, "run's row database"):
            for row in self._db.execute(conditions.FINAL):
                yield FinalRow(row[0], row[1], bool(row[2]), *row[3:])

    def placed(self, key: str | None = None) -> Iterator[PlacedRow]:
        """Every request, sent or not, with its place and its final answer, in input order; with ``key``, that one."""
        which = "" if key is None else "WHERE r.hash = ?1 AND r.key = ?2 "
        values = () if key is None else (key_hash(key), key)
        with explained(self.path, "run's row database"):
            yield from map(PlacedRow._make, self._db.execute(f"{conditions.PLACED} {which}ORDER BY r.seq", values))

    def failures(self) -> Iterator[FailureRow]:
        """The requests that did not succeed, in input order."""
        with explained(self.path, "run's row database"):
            for row in self._db.execute(conditions.FAILURES):
                yield FailureRow(*row)

    def counts(self) -> dict[str, int]:
        """How many requests have each verdict."""
        sql = (
            "SELECT coalesce(a.verdict, 'missing') AS verdict, count(*) AS n "
            "FROM requests r LEFT JOIN answers a ON a.id = r.answer GROUP BY 1"
        )
        with explained(self.path, "run's row database"):
            return {row["verdict"]: row["n"] for row in self._db.execute(sql)}

    def reasons(self) -> list[Reason]:
        """The requests that did not succeed, by verdict, reason and message, most frequent first."""
        return grouped(self.failures())

    def usage(self, long_prompt: int, *, seq: int | None = None) -> list[sqlite3.Row]:
        """Token sums of all answers received, or of those to one request, by job (``answer_file``) and ``model``.

        ``model`` is the one that the answers name, or NULL. Prompts over ``long_prompt`` tokens are summed separately
        (``long`` = 1).
        """
        which = "" if seq is None else f"WHERE seq = {int(seq)} "
        sql = (
            "SELECT answer_file, m.name AS model, input > ? AS long, sum(input) AS input, sum(cached) AS cached, "  # noqa: S608 - a number
            "sum(output) AS output, sum(thoughts) AS thoughts, sum(tool_use) AS tool_use, "
            "sum(audio_input) AS audio_input, sum(image_output) AS image_output, count(*) AS answers, "
            "sum(usage_known) AS known FROM answers LEFT JOIN model_versions m ON m.id = model_version "
            f"{which}GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        with explained(self.path, "run's row database"):
            return self._db.execute(sql, (long_prompt,)).fetchall()

    def quarantined(self) -> dict[str, int]:
        """Answer lines that belong to no request, by reason."""
        sql = "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY n DESC"
        return {row["reason"]: row["n"] for row in self._db.execute(sql)}

    def unanswered(self) -> int:
        """How often a request was in a job and got no answer from it."""
        sql = (
            "SELECT (SELECT coalesce(sum(attempts), 0) FROM requests) "
            "- (SELECT count(*) FROM (SELECT DISTINCT seq, answer_file FROM answers))"
        )
        return int(self._db.execute(sql).fetchone()[0])

    def repeated(self) -> int:
        """Answers beyond the first for a request within one job: the service sent a line twice."""
        sql = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM answers GROUP BY seq, answer_file)"
        return int(self._db.execute(sql).fetchone()[0])
