"""What ``rows.db`` holds of a run's requests and answers, as it is read."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

from gemini_batch.money.limits import PICO
from gemini_batch.money.row_bounds import UNBOUNDED
from gemini_batch.store.rows import conditions
from gemini_batch.store.rows.row_counts import RowCounts
from gemini_batch.store.rows.row_records import (
    FailureRow,
    FinalRow,
    Most,
    PlacedRow,
    Reason,
    grouped,
    key_hash,
)
from gemini_batch.store.sqlite import Alone, explained

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.money.limits import RowPrices


#: An odd factor near the golden section of 2**32: it scatters consecutive numbers.
_SHUFFLE, _SHUFFLED = 2_654_435_761, 2**32
#: So many schemas are in memory at a time.
_MOST_SCHEMAS = 64


class RowReader(RowCounts):
    """The open database of one run folder, for reading."""

    def __init__(self, path: Path, *, alone: Alone = nullcontext) -> None:
        super().__init__(path, alone=alone)
        self._schemas: dict[int, bytes] = {}

    # The requests ----------------------------------------------------------------------------------------------------

    def most(
        self,
        prices: RowPrices,
        ordinal: int | None = None,
        *,
        without: Literal["answer", "usage"] | None = None,
    ) -> Most:
        """What the requests that wait, or those of a job, cost at most, and how many of them nothing bounds.

        ``without``: only the requests of the job without an answer from it, or without one that says what it used.
        """
        where, values = ("job IS NULL", ()) if ordinal is None else ("job = ?4", (ordinal,))
        if without is not None:
            known = " AND a.usage_known" if without == "usage" else ""
            answer = f"SELECT 1 FROM answers a WHERE a.seq = requests.seq AND a.answer_file = ?4{known}"  # noqa: S608
            where += f" AND NOT EXISTS ({answer})"
        sql = (
            "SELECT bound_kind, count(*), sum(min(coalesce(bound_prompt, ?1), coalesce(?1, bound_prompt))), "  # noqa: S608 - no value
            "sum(iif(bound_answer = 0, 0, coalesce(?2, bound_answer, ?3))) FROM requests "
            f"WHERE {where} GROUP BY bound_kind, bound_prompt IS NULL, bound_answer IS NULL"
        )
        asked = (prices.prompt_limit, prices.answer, prices.answer_limit, *values)
        with explained(self.path, "run's row database"):
            sums = self._db.execute(sql, asked).fetchall()
        costs = [(prices.cost(kind, prompt, answer), count) for kind, count, prompt, answer in sums]
        pico = sum(cost for cost, _ in costs if cost is not None)
        return Most(-(-pico // PICO), sum(count for cost, count in costs if cost is None))

    def next_bound(self) -> tuple[int, int | None, int | None] | None:
        """The bound of the next request that waits: its kind, and the most tokens of its prompt and of its answer."""
        sql = "SELECT bound_kind, bound_prompt, bound_answer FROM requests WHERE job IS NULL ORDER BY seq LIMIT 1"
        with explained(self.path, "run's row database"):
            row = self._db.execute(sql).fetchone()
        return None if row is None else tuple(row)

    def some_waiting(self, count: int) -> list[tuple[int, int, int]]:
        """``(offset, length, estimated tokens)`` of so many waiting requests, always the same random ones.

        They are those with the smallest shuffled numbers; only the numbers that may be among these are sorted.
        """
        sql = (
            "SELECT offset, length, tokens FROM requests WHERE job IS NULL "  # noqa: S608 - a number
            f"AND (seq * {_SHUFFLE}) % {_SHUFFLED} < ? ORDER BY (seq * {_SHUFFLE}) % {_SHUFFLED} LIMIT ?"
        )
        waiting = self._count("job IS NULL")
        likely = _SHUFFLED * (count + count // 8 + 64) // max(1, waiting)
        with explained(self.path, "run's row database"):
            found = self._db.execute(sql, (likely, count)).fetchall()
            if len(found) < min(count, waiting):
                found = self._db.execute(sql, (_SHUFFLED, count)).fetchall()
            return [tuple(row) for row in found]

    def prompts_counted(self, count: int) -> list[tuple[int, int, int]]:
        """``(offset, length, tokens that the service counted)`` of so many prompts that were answered here."""
        sql = (
            "SELECT r.offset, r.length, max(a.input) FROM answers a JOIN requests r USING (seq) WHERE a.usage_known "  # noqa: S608 - a number
            f"AND a.input > 0 AND a.answer_file > 0 GROUP BY seq ORDER BY (seq * {_SHUFFLE}) % 4294967296 LIMIT ?"
        )
        with explained(self.path, "run's row database"):
            return [tuple(row) for row in self._db.execute(sql, (count,))]

    def most_tokens(self, *, answer: int | None, answer_limit: int | None) -> tuple[int | None, int | None]:
        """The most tokens of all waiting prompts, and of the answers to them; None if nothing bounds them.

        ``answer``: what every answer may have, if that was changed for all; ``answer_limit``: what the model allows.
        """
        sql = (
            "SELECT sum(bound_prompt), count(*) - count(bound_prompt), "  # noqa: S608 - a number
            "sum(iif(bound_answer = 0, 0, coalesce(?1, bound_answer, ?2))), "
            f"count(*) FILTER (WHERE bound_kind = {UNBOUNDED} OR coalesce(?1, bound_answer, ?2) IS NULL) "
            "FROM requests WHERE job IS NULL"
        )
        with explained(self.path, "run's row database"):
            prompts, open_prompts, answers, open_answers = self._db.execute(sql, (answer, answer_limit)).fetchone()
        return None if open_prompts else prompts or 0, None if open_answers else answers or 0

    def answer_lengths(self) -> tuple[int, int, int]:
        """How many usable answers this run received, the sum of their tokens with thoughts, and that of the squares."""
        sql = (
            "SELECT count(*), coalesce(sum(output + thoughts), 0), "
            "coalesce(sum((output + thoughts) * (output + thoughts)), 0) "
            "FROM answers WHERE verdict IN ('succeeded', 'truncated') AND usage_known AND answer_file > 0"
        )
        with explained(self.path, "run's row database"):
            return tuple(self._db.execute(sql).fetchone())

    def without_bounds(self) -> list[tuple[int, int, int]]:
        """``(seq, offset, length)`` of the requests that an earlier version entered: their bounds are not noted."""
        with explained(self.path, "run's row database"):
            rows = self._db.execute("SELECT seq, offset, length FROM requests WHERE bound_kind IS NULL ORDER BY seq")
            return [tuple(row) for row in rows]

    def fingerprints(self, ordinal: int) -> Iterator[bytes]:
        """The fingerprints of the requests in a job, sorted; one that is not recorded is left out."""
        sql = "SELECT fingerprint FROM requests WHERE job = ? AND fingerprint IS NOT NULL ORDER BY fingerprint"
        with explained(self.path, "run's row database"):
            for row in self._db.execute(sql, (ordinal,)):
                yield row[0]

    def answers_with(self, ordinal: int, reason: str, *, limit: int) -> list[tuple[str, int, int]]:
        """``(file, offset, length)`` of the first answers of a job with that reason."""
        sql = (
            "SELECT f.file, a.offset, a.length FROM answers a JOIN answer_files f ON f.id = a.answer_file "
            "WHERE a.answer_file = ? AND a.reason = ? LIMIT ?"
        )
        with explained(self.path, "run's row database"):
            return [tuple(row) for row in self._db.execute(sql, (ordinal, reason, limit))]

    def keys_waiting(self, limit: int) -> list[str]:
        """The keys of the first requests that wait and were never sent."""
        sql = "SELECT key FROM requests WHERE job IS NULL AND attempts = 0 ORDER BY seq LIMIT ?"
        with explained(self.path, "run's row database"):
            return [row["key"] for row in self._db.execute(sql, (limit,))]

    def foreign(self, limit: int) -> list[tuple[str, int, int]]:
        """``(file, offset, length)`` of the first answer lines whose key belongs to no request."""
        sql = (
            "SELECT f.file, q.offset, q.length FROM quarantine q JOIN answer_files f ON f.id = q.answer_file "
            "WHERE q.reason = 'FOREIGN_KEY' LIMIT ?"
        )
        with explained(self.path, "run's row database"):
            return [tuple(row) for row in self._db.execute(sql, (limit,))]

    def members(self, ordinal: int) -> Iterator[tuple[str, int, int]]:
        """``(key, offset, length)`` of the requests in a job, in order."""
        sql = "SELECT key, offset, length FROM requests WHERE job = ? ORDER BY seq"
        with explained(self.path, "run's row database"):
            for row in self._db.execute(sql, (ordinal,)):
                yield row["key"], row["offset"], row["length"]

    def schema(self, number: int | None) -> bytes | None:
        """The JSON Schema with this id, as JSON; None for None. The last ones that were read are kept in memory."""
        if number is None:
            return None
        found = self._schemas.get(number)
        if found is None:
            if len(self._schemas) >= _MOST_SCHEMAS:
                self._schemas.clear()
            with explained(self.path, "run's row database"):
                found = self._db.execute("SELECT json FROM schemas WHERE id = ?", (number,)).fetchone()[0]
            self._schemas[number] = found
        return found

    # The answers -----------------------------------------------------------------------------------------------------

    def answer_files(self) -> list[sqlite3.Row]:
        """The raw files that were collected."""
        return self._db.execute("SELECT * FROM answer_files ORDER BY id").fetchall()

    def final(self) -> Iterator[FinalRow]:
        """Every request with its final answer, in input order."""
        sql = (
            "SELECT r.seq, r.key, r.expects_json, r.dimension, "
            "CASE WHEN a.verdict = 'succeeded' THEN NULL ELSE r.schema END AS schema, s.file, coalesce(a.offset, 0), "
            "coalesce(a.length, 0), coalesce(a.attempt, max(r.attempts, 1)), a.verdict, "
            "coalesce(last.missing_reason, 'TO_BE_RESENT'), a.reason, leader.key, a.answer_file, "
            "coalesce(a.standard, 0) FROM requests r LEFT JOIN answers a "
            "ON a.id = r.answer LEFT JOIN answer_files s ON s.id = a.answer_file "
            "LEFT JOIN answer_files last ON last.id = r.job "
            "LEFT JOIN main.requests leader ON leader.seq = r.copy_of ORDER BY r.seq"
        )
        with explained(self.path, "run's row database"):
            for found in self._db.execute(sql):
                row = FinalRow._make(found)
                yield row if row.schema is None else row._replace(schema=self.schema(found["schema"]))

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

    def reasons(self) -> list[Reason]:
        """The requests that did not succeed, by verdict, reason and message, most frequent first."""
        return grouped(self.failures())
