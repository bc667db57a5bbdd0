"""The requests of a job that is sent as calls, in ``rows.db``: in order, answered, and let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemini_batch.store.rows.rows import Rows

_WHAT = "run's row database"
#: A request whose call broke is sent again if it has been in fewer jobs than this.
MOST_BROKEN = 2
_GIVEN = "EXISTS (SELECT 1 FROM answers a WHERE a.seq = requests.seq AND a.answer_file = ?1)"


def requests_in(rows: Rows, ordinal: int) -> Iterator[tuple[int, int]]:
    """``(seq, estimated tokens)`` of the requests in a job, in order."""
    with explained(rows.path, _WHAT):
        for row in rows.connection.execute("SELECT seq, tokens FROM requests WHERE job = ? ORDER BY seq", (ordinal,)):
            yield tuple(row)


def longest(rows: Rows) -> int:
    """The bytes of the largest request that waits, or has no answer from its job yet; 0 if there is none."""
    sql = "SELECT coalesce(max(length), 0) FROM requests WHERE job IS NULL OR (job > 0 AND answer IS NULL)"
    with explained(rows.path, _WHAT):
        return int(rows.connection.execute(sql).fetchone()[0])


def answered_by(rows: Rows, ordinal: int) -> frozenset[int]:
    """The requests that a job answered, by ``seq``."""
    with explained(rows.path, _WHAT):
        found = rows.connection.execute("SELECT seq FROM answers WHERE answer_file = ?", (ordinal,))
        return frozenset(row[0] for row in found)


def bounds_of(rows: Rows, seqs: Iterable[int]) -> Iterator[tuple[int, int | None, int | None]]:
    """The bound of each of these requests: its kind, and the most tokens of its prompt and of its answer."""
    sql = "SELECT bound_kind, bound_prompt, bound_answer FROM requests WHERE seq = ?"
    with explained(rows.path, _WHAT):
        for seq in seqs:
            yield tuple(rows.connection.execute(sql, (seq,)).fetchone())


def let_go(rows: Rows, ordinal: int, *, broken: frozenset[int]) -> frozenset[int]:
    """Let the requests of a job that it did not answer wait again: as if never in it, or those that are ``broken`` once
    more. Returns those that stay without an answer: a broken one that has been in another job.
    """
    with explained(rows.path, _WHAT), transaction(rows.connection) as db:
        sql = f"SELECT seq, attempts - attempts_excused FROM requests WHERE job = ?1 AND NOT {_GIVEN}"  # noqa: S608 - no value
        unanswered = db.execute(sql, (ordinal,)).fetchall()
        left = frozenset(seq for seq, attempts in unanswered if seq in broken and attempts >= MOST_BROKEN)
        db.executemany(
            "UPDATE requests SET job = NULL, attempts = attempts - ? WHERE seq = ?",
            ((seq not in broken, seq) for seq, _ in unanswered if seq not in left),
        )
    return left
