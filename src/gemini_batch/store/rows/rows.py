"""``rows.db``: one row for each request of a run and for each received answer. Positions and verdicts, never contents.
The service's messages about requests that did not succeed are kept, shortened; their number is bounded.

What always holds:

- ``seq`` counts the requests of a run from 0, in input order. ``requests.job`` is the ordinal of the job that a request
  is in, NULL while it waits to be sent (again), or one of the places in ``store/rows/conditions.py`` that are not jobs
  of the run. ``requests.attempts`` counts the jobs it has been in,
  ``attempts_excused`` those before the user last asked for it again.
  ``requests.answer`` points to the answer that is final at this moment, NULL if there is none.
- Everything in a raw file is written in one transaction, which can be repeated: the same file gives the same rows.
- Answer files with negative numbers lie in other runs; the answers in them were paid for there.
- An answer line whose key is missing or unknown goes to ``quarantine``, never to a request.

Keys are found by a 64-bit hash, indexed from the first answers on, and then compared. Memory does not grow with the
file.
"""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import TYPE_CHECKING

from gemini_batch.money.limits import PICO
from gemini_batch.store.rows import conditions
from gemini_batch.store.rows.answer_writer import AnswerWriter
from gemini_batch.store.rows.conditions import COPY, ELSEWHERE, HELD, REMEMBERED
from gemini_batch.store.rows.labels import hash_in, label_of
from gemini_batch.store.rows.row_reading import RowReader
from gemini_batch.store.rows.row_records import INSERT_REQUEST, Chunk, RequestRow, Wanted, key_hash
from gemini_batch.store.sqlite import explained, transaction, use_wal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gemini_batch.money.limits import Purse
    from gemini_batch.money.row_bounds import RowBound
    from gemini_batch.store.ledger.run_options import Selection


_BATCH = 5000
#: So many ids of schemas are remembered while requests are loaded; each request may have a schema of its own.
_REMEMBERED = 1000


class Rows(RowReader):
    """The open database of one run folder."""

    def __enter__(self) -> Rows:
        return self

    def load(self, rows: Iterable[RequestRow]) -> None:
        """Insert all requests of a new run in one transaction.

        As nothing refers to a run before it is whole, what is written needs no second copy that survives a crash.
        """
        with explained(self.path, "run's row database"):
            self._db.execute("PRAGMA journal_mode = MEMORY")
            with transaction(self._db):
                schemas = _SchemaIds(self._db)
                source = (schemas.entered(row) for row in rows)
                while batch := list(islice(source, _BATCH)):
                    self._db.executemany(INSERT_REQUEST, batch)
            use_wal(self._db)

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

    def take(
        self,
        ordinal: int,
        *,
        requests: int,
        bytes: int,  # noqa: A002 - units
        tokens: int | None,
        purse: Purse | None = None,
    ) -> Chunk | None:
        """Put the next waiting requests in job ``ordinal``: as many as the limits allow, and at least one.

        ``purse``: what they may cost. None if nothing waits, or if the first request costs more.
        """
        with explained(self.path, "run's row database"), transaction(self._db):
            chunk, last = self._all_waiting(requests)
            if chunk is not None and (
                chunk.requests > requests
                or chunk.bytes > bytes
                or (tokens is not None and chunk.tokens > tokens)
                or (purse is not None and not self._affords_all(purse))
            ):
                chunk, last = self._first_waiting(requests, bytes, tokens, purse)
            if chunk is not None:
                self._db.execute(
                    "UPDATE requests SET job = ?, attempts = attempts + 1 WHERE job IS NULL AND seq <= ?",
                    (ordinal, last),
                )
            return chunk

    def _all_waiting(self, most: int) -> tuple[Chunk | None, int]:
        """All waiting requests and the last of them; if there are more than ``most``, one more than that."""
        sql = (
            "SELECT count(*), sum(length + 1), sum(tokens), min(offset), max(offset + length + 1), max(seq) "
            "FROM (SELECT * FROM requests WHERE job IS NULL ORDER BY seq LIMIT ?)"
        )
        count, size, tokens, begin, end, last = self._db.execute(sql, (most + 1,)).fetchone()
        return (Chunk(count, size, tokens, begin, end - begin == size), last) if count else (None, -1)

    def _affords_all(self, purse: Purse) -> bool:
        cost = self.most(purse.prices)
        return (cost.unknown == 0 or purse.unknown) and cost.nano <= purse.room

    def _first_waiting(
        self, requests: int, most_bytes: int, tokens: int | None, purse: Purse | None
    ) -> tuple[Chunk | None, int]:
        """As many of the first waiting requests as the limits allow, at least one, and the last of them."""
        count = size = sum_tokens = cost = 0
        first_offset = last_seq = expected = -1
        whole = True
        sql = (
            "SELECT seq, offset, length, tokens, bound_kind, bound_prompt, bound_answer FROM requests "
            "WHERE job IS NULL ORDER BY seq"
        )
        for seq, offset, length, its_tokens, *bound in self._db.execute(sql):
            grown = size + length + 1
            full = count >= requests or grown > most_bytes or (tokens is not None and sum_tokens + its_tokens > tokens)
            if count and full:
                break
            if purse is not None:
                most = purse.prices.most(*bound)
                cost += most or 0
                if cost > purse.room * PICO or (most is None and not purse.unknown):
                    break
            if not count:
                first_offset = offset
            whole = whole and (expected in {-1, offset})
            expected = offset + length + 1
            count, size, sum_tokens, last_seq = count + 1, grown, sum_tokens + its_tokens, seq
        return (Chunk(count, size, sum_tokens, first_offset, whole), last_seq) if count else (None, -1)

    def set_bounds(self, bounds: Iterable[tuple[RowBound, int]]) -> None:
        """Note the bounds of requests, by ``seq``."""
        sql = "UPDATE requests SET bound_kind = ?, bound_prompt = ?, bound_answer = ? WHERE seq = ?"
        with explained(self.path, "run's row database"), transaction(self._db):
            self._db.executemany(sql, ((*bound, seq) for bound, seq in bounds))

    def select(self, selection: Selection) -> None:
        """Hold back the requests that were never sent and are not in ``selection``; let the others wait."""
        with explained(self.path, "run's row database"), transaction(self._db):
            wanted = conditions.selected(self._db, selection)
            placed = f"CASE WHEN {wanted} THEN NULL ELSE {HELD} END"
            # Where one condition names several places, SQLite keeps the numbers of all requests that are there.
            for place in ("IS NULL", f"= {HELD}", f"= {ELSEWHERE}", f"= {COPY}"):
                self._db.execute(
                    f"UPDATE requests SET job = {placed}, copy_of = NULL WHERE job {place} AND attempts = 0 "  # noqa: S608 - numbers only
                    f"AND answer IS NULL AND job IS NOT {placed}"
                )

    def answer_copies(self) -> None:
        """Give each copy the answer that its original has now."""
        with explained(self.path, "run's row database"), transaction(self._db):
            self._db.execute(conditions.ANSWER_COPIES)

    def put_all_in(self, ordinal: int) -> None:
        """Put every request in job ``ordinal``: it was created elsewhere, of these requests."""
        with explained(self.path, "run's row database"), transaction(self._db):
            self._db.execute("UPDATE requests SET job = ?, attempts = 1", (ordinal,))

    def never_in(self, ordinal: int) -> int:
        """Let the requests of a job without any answer wait, as if they had never been in it; returns how many."""
        sql = (
            "UPDATE requests SET job = NULL, attempts = 0 WHERE job = ? AND attempts = 1 "
            "AND NOT EXISTS (SELECT 1 FROM answers a WHERE a.seq = requests.seq)"
        )
        with explained(self.path, "run's row database"), transaction(self._db):
            return self._db.execute(sql, (ordinal,)).rowcount

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

    def choose(
        self, verdicts: Sequence[str], collected: Sequence[int], *, check: Callable[[], None] | None = None
    ) -> int:
        """Let requests of ``collected`` jobs with one of these final verdicts wait again; returns how many.

        ``check`` is called when they wait: what it raises undoes that.
        """
        marks = ", ".join("?" * len(verdicts))
        jobs = conditions.numbers(collected)
        sql = (
            f"UPDATE requests SET job = NULL, attempts_excused = attempts WHERE job IN ({jobs}) AND coalesce("  # noqa: S608 - numbers and marks only
            f"(SELECT verdict FROM answers WHERE id = requests.answer), 'missing') IN ({marks})"
        )
        with explained(self.path, "run's row database"), transaction(self._db):
            count = self._db.execute(sql, tuple(verdicts)).rowcount
            if check is not None:
                check()
            return count

    # Collecting ------------------------------------------------------------------------------------------------------

    def wanted_from(self, seq: int, count: int, ordinal: int) -> dict[str, Wanted]:
        """The next ``count`` requests of a job from ``seq``, by key: answers usually come in that order."""
        sql = (
            "SELECT key, seq, expects_json, dimension, attempts, schema FROM requests WHERE seq >= ? AND job = ? "
            "ORDER BY seq LIMIT ?"
        )
        found = self._db.execute(sql, (seq, ordinal, count))
        return {
            key: Wanted(seq, bool(expects_json), dimension, attempt, schema)
            for key, seq, expects_json, dimension, attempt, schema in found
        }

    def index_keys(self) -> None:
        """Make the index by which requests are found by their keys, unless it is there.

        As long as there are no answers, it would only take room. Not in a transaction: workers have to see it.
        """
        with explained(self.path, "run's row database"):
            self._db.execute("CREATE INDEX IF NOT EXISTS main.requests_hash ON requests (hash)")

    def wanted(self, key: str, ordinal: int) -> Wanted | None:
        """The request with this key, if it is in this job."""
        sql = (  # the sign keeps SQLite from searching all of the job
            "SELECT seq, expects_json, dimension, attempts, schema FROM requests WHERE hash = ? AND key = ? "
            "AND +job = ?"
        )
        row = self._db.execute(sql, (key_hash(key), key, ordinal)).fetchone()
        return None if row is None else Wanted(row[0], bool(row[1]), *row[2:])

    def labelled(self, label: str, ordinal: int) -> Wanted | None:
        """The request whose key this label stands for, if it is in this job."""
        if (hashed := hash_in(label)) is None:
            return None
        sql = "SELECT key, seq, expects_json, dimension, attempts, schema FROM requests WHERE hash = ? AND +job = ?"
        for key, seq, expects_json, *rest in self._db.execute(sql, (hashed, ordinal)):
            if label_of(key) == label:
                return Wanted(seq, bool(expects_json), *rest)
        return None

    def begin_answers(
        self, ordinal: int, job: str, *, file: str, size: int, sha256: str, missing_reason: str
    ) -> AnswerWriter:
        """Start writing the answers of job ``ordinal``; anything written for it before is replaced."""
        self.index_keys()
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
                "schema, tokens, ?1 AS job, CASE job WHEN ?1 THEN attempts ELSE 1 + (SELECT count(*) FROM "
                "main.answers a WHERE a.seq = r.seq AND a.answer_file > 0 AND a.answer_file < ?1) END AS attempts, "
                "(SELECT id FROM main.answers a WHERE a.seq = r.seq AND a.answer_file = ?1 "
                "ORDER BY (a.verdict = 'succeeded') DESC, "
                "a.id LIMIT 1) AS answer, NULL AS copy_of FROM main.requests r JOIN members USING (seq) ORDER BY seq",
                (number,),
            )
            self._db.execute("CREATE INDEX temp.requests_of_job ON requests (hash)")
            self._db.execute("CREATE UNIQUE INDEX temp.requests_in_order ON requests (seq)")
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
            # All at once: before the first answers, there is no index to find one by.
            self._db.execute("CREATE TEMP TABLE asked (hash INTEGER, key TEXT, PRIMARY KEY (hash, key)) WITHOUT ROWID")
            self._db.executemany("INSERT OR IGNORE INTO asked VALUES (?, ?)", ((key_hash(key), key) for key in keys))
            self._db.execute("INSERT INTO members SELECT r.seq FROM requests r JOIN asked USING (hash, key)")
            self._db.execute("DROP TABLE asked")

    def hide_unsent(self, sent: Sequence[int]) -> None:
        """Restrict this connection to requests that have a result, as :meth:`unsent` counts them.

        One that is planned to be resent has been in one job less. A copy is shown in the job of the request that was
        sent for it.
        """
        numbers = conditions.numbers(sent)
        sql = (
            "CREATE TEMP VIEW requests AS SELECT seq, line, key, hash, offset, length, expects_json, dimension, "  # noqa: S608 - numbers only
            f"schema, tokens, CASE job WHEN {COPY} THEN (SELECT job FROM main.requests leader WHERE leader.seq = "
            "requests.copy_of) ELSE job END AS job, "
            f"attempts - (coalesce(job, 0) > 0 AND job NOT IN ({numbers})) AS attempts, "
            f"answer, copy_of FROM main.requests WHERE {conditions.has_result(sent)}"
        )
        with explained(self.path, "run's row database"):
            if self.places() - {REMEMBERED, *sent}:
                self._db.execute(sql)


class _SchemaIds:
    """The ids of the distinct schemas of a run; a new one is entered."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[bytes, int] = {}
        self._last: tuple[bytes, int] = (b"", 0)

    def entered(self, row: RequestRow) -> tuple[object, ...]:
        """The values of :data:`INSERT_REQUEST` for a request that waits; its schema is entered if it is new."""
        if row.schema is None:
            return (*row, None, 0)
        if row.schema is not self._last[0]:  # most requests of a file have the same
            self._last = (row.schema, self._id(row.schema))
        return (*row[:9], self._last[1], *row[10:], None, 0)

    def _id(self, schema: bytes) -> int:
        digest = hashlib.sha256(schema).digest()
        if digest not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._db.execute("INSERT OR IGNORE INTO schemas (hash, json) VALUES (?, ?)", (digest, schema))
            found = self._db.execute("SELECT id FROM schemas WHERE hash = ?", (digest,)).fetchone()
            self._known[digest] = int(found[0])
        return self._known[digest]
