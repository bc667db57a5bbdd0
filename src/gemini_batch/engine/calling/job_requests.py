"""The requests of a job that is sent as calls, in ``rows.db``: in order, answered, and let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemini_batch.store.rows import Rows

_WHAT = "run's row database"
_GIVEN = "EXISTS (SELECT 1 FROM answers a WHERE a.seq = requests.seq AND a.answer_file = ?1)"


def requests_in(rows: Rows, ordinal: int) -> Iterator[tuple[int, int]]:
    """``(seq, estimated tokens)`` of the requests in a job, in order."""
    with explained(rows.path, _WHAT):
        for row in rows.connection.execute("SELECT seq, tokens FROM requests WHERE job = ? ORDER BY seq", (ordinal,)):
            yield tuple(row)


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


def let_go(rows: Rows, ordinal: int, *, keep: frozenset[int]) -> int:
    """Let the requests of a job that it did not answer wait again, as if never in it, apart from those to ``keep``.

    Returns how many requests stay in the job or have an answer from it.
    """
    with explained(rows.path, _WHAT), transaction(rows.connection) as db:
        unanswered = db.execute(f"SELECT seq FROM requests WHERE job = ?1 AND NOT {_GIVEN}", (ordinal,)).fetchall()  # noqa: S608 - no value
        going = [row for row in unanswered if row[0] not in keep]
        db.executemany("UPDATE requests SET job = NULL, attempts = attempts - 1 WHERE seq = ?", going)
    return rows.accounted(ordinal)
