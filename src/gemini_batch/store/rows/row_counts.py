"""How many of a run's requests are where, and what became of them, in numbers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from gemini_batch.store.rows import conditions, migrations
from gemini_batch.store.rows.census import Census
from gemini_batch.store.rows.conditions import ELSEWHERE, HELD, REMEMBERED
from gemini_batch.store.rows.row_records import (
    Answered,
    Leftover,
    Waiting,
)
from gemini_batch.store.sqlite import Alone, Database, explained

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gemini_batch.store.ledger.run_options import Selection


class RowCounts(Database):
    """The open database of one run folder, for counting."""

    def __init__(self, path: Path, *, alone: Alone = nullcontext) -> None:
        super().__init__(path, migrations.ROWS, what="run's row database", alone=alone)

    def compact(self) -> None:
        """Give back the room of what finds a request or an answer: of a run whose answers are deleted, only sums are
        asked."""
        with explained(self.path, "run's row database"):
            named = self._db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            ).fetchall()
            for (name,) in named:
                self._db.execute(f"DROP INDEX {name}")
            self._db.execute(
                "UPDATE requests SET key = '', hash = 0, line = 0, offset = 0, length = 0, tokens = 0, body = NULL, "
                "bound_kind = NULL, bound_prompt = NULL, bound_answer = NULL"
            )
            self._db.execute("UPDATE answers SET offset = 0, length = 0")
            self._db.execute("VACUUM")

    def waiting(self) -> Waiting:
        """The totals of the requests that wait to be sent."""
        sql = "SELECT count(*), coalesce(sum(length + 1), 0), coalesce(sum(tokens), 0) FROM requests WHERE job IS NULL"
        with explained(self.path, "run's row database"):
            return Waiting(*self._db.execute(sql).fetchone())

    def accounted(self, ordinal: int) -> int:
        """How many requests are in a job, or have an answer from it."""
        sql = (
            "SELECT (SELECT count(*) FROM requests WHERE job = ?1) + (SELECT count(DISTINCT a.seq) FROM answers a "
            "JOIN requests r ON r.seq = a.seq WHERE a.answer_file = ?1 AND r.job IS NOT ?1)"
        )
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql, (ordinal,)).fetchone()[0])

    def census(self, places: Iterable[int] | None = None) -> Census:
        """How many requests are where, with which verdict; with ``places``, only those that are in one of them."""
        where = "TRUE" if places is None else f"job IN ({conditions.numbers(places)})"
        sql = (
            "SELECT job, coalesce(a.verdict, 'missing'), count(*) FROM requests r LEFT JOIN answers a "  # noqa: S608 - numbers
            f"ON a.id = r.answer WHERE {where} GROUP BY 1, 2"
        )
        with explained(self.path, "run's row database"):
            return Census({(place, verdict): count for place, verdict, count in self._db.execute(sql)})

    def unsent(self, sent: Sequence[int]) -> int:
        """How many requests were never sent and have no answer from another run.

        ``sent`` holds the jobs that were created, or may have been.
        """
        done, result = conditions.numbers((REMEMBERED, *sent)), conditions.has_result(sent)
        # Place by place: with OR, SQLite keeps the numbers of all requests that are there.
        places = ("IS NULL", f"IN (SELECT DISTINCT job FROM main.requests WHERE job NOT IN ({done}))")  # noqa: S608 - numbers
        counts = (f"(SELECT count(*) FROM requests WHERE job {place} AND NOT {result})" for place in places)  # noqa: S608
        with explained(self.path, "run's row database"):
            return int(self._db.execute(f"SELECT {' + '.join(counts)}").fetchone()[0])

    def places(self) -> set[int | None]:
        """Where requests are: the ordinals of jobs, None, and places of :mod:`gemini_batch.store.rows.conditions`."""
        with explained(self.path, "run's row database"):
            return {row[0] for row in self._db.execute("SELECT DISTINCT job FROM main.requests")}

    def at(self, place: int) -> int:
        """How many requests are in one of the places of :mod:`gemini_batch.store.rows.conditions`, or in a job."""
        return self._count(f"job = {int(place)}", "main.requests")

    def never_sent(self) -> int:
        """How many of the requests that wait were never sent."""
        return self._count("job IS NULL AND attempts = 0")

    def unselected(self, selection: Selection) -> int:
        """How many requests that were never sent, and are not waiting to be, ``selection`` would let wait."""
        with explained(self.path, "run's row database"):
            wanted = conditions.selected(self._db, selection)
        return self._count(f"attempts = 0 AND job IN ({HELD}, {ELSEWHERE}) AND {wanted}")

    def identical(self) -> int:
        """How many requests have the same body as an earlier one; 0 if bodies were not recorded."""
        with explained(self.path, "run's row database"):
            # Grouping sorts the bodies; count(DISTINCT) would look each of them up, which takes three times as long.
            sql = "SELECT coalesce(sum(uses - 1), 0) FROM (SELECT count(body) AS uses FROM main.requests GROUP BY body)"
            return int(self._db.execute(f"{sql} WHERE uses > 1").fetchone()[0])

    def _count(self, condition: str, table: str = "requests") -> int:
        sql = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608 - our own numbers and names
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql).fetchone()[0])

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
            return tuple(self._db.execute(conditions.STOPPED, (ordinal,)).fetchone())

    def answered_in(self, ordinal: int) -> int:
        """How many requests a job has answered."""
        sql = "SELECT count(DISTINCT seq) FROM answers WHERE answer_file = ?"
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql, (ordinal,)).fetchone()[0])

    def succeeded_here(self) -> int:
        """How many requests have a succeeded answer that this run received itself."""
        sql = (
            "SELECT count(*) FROM main.requests r JOIN main.answers a ON a.id = r.answer "
            "WHERE a.answer_file > 0 AND a.verdict = 'succeeded'"
        )
        with explained(self.path, "run's row database"):
            return int(self._db.execute(sql).fetchone()[0])

    def count(self) -> int:
        """How many requests there are."""
        return self._count("TRUE")

    def usage(
        self, long_prompt: int, *, seq: int | None = None, job: int | None = None, by_use: bool = True
    ) -> list[sqlite3.Row]:
        """What the answers that this run received used, in sums: all, or those to one request or of one job.

        Sums by job, by ``model`` (the one that the answers name, or NULL), by ``long`` (1: prompts over ``long_prompt``
        tokens) and, with ``by_use``, by ``use``: the verdict of answers that count, else ``duplicate`` or ``retried``.
        ``searched``: how many answers made searches; ``uncounted``: those whose searches an earlier version did not
        count.
        """
        sql = conditions.usage(seq=seq, job=job, by_use=by_use)
        with explained(self.path, "run's row database"):
            return self._db.execute(sql, (long_prompt,)).fetchall()

    def tokens(self) -> dict[str, int]:
        """The tokens of all answers that this run received, by kind; empty without answers."""
        kinds = ("input", "cached", "output", "thoughts", "tool_use")
        sums = ", ".join(f"sum({kind})" for kind in kinds)
        sql = f"SELECT {sums} FROM answers WHERE answer_file > 0"  # noqa: S608 - our own names
        with explained(self.path, "run's row database"):
            found = self._db.execute(sql).fetchone()
        return {} if found[0] is None else dict(zip(kinds, found, strict=True))

    def quarantined(self) -> dict[str, int]:
        """Answer lines that belong to no request, by reason."""
        sql = "SELECT reason, count(*) AS n FROM quarantine GROUP BY reason ORDER BY n DESC"
        return {row["reason"]: row["n"] for row in self._db.execute(sql)}

    def by_file(self) -> dict[int, Answered]:
        """What each job has answered; jobs of other runs have negative numbers."""
        sql = "SELECT answer_file, count(DISTINCT seq), count(*) FROM answers GROUP BY answer_file"
        with explained(self.path, "run's row database"):
            return {file: Answered(requests, answers) for file, requests, answers in self._db.execute(sql)}

    def attempts(self) -> int:
        """How often a request was in a job."""
        return int(self._db.execute("SELECT coalesce(sum(attempts), 0) FROM requests").fetchone()[0])
