"""Conditions on requests in ``rows.db``, as SQL: which were sent, which did not succeed, which are to be resent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_FINAL = "(SELECT {} FROM answers WHERE id = requests.answer)"
_GIVEN = "SELECT 1 FROM answers a WHERE a.seq = requests.seq AND a.answer_file = requests.job"
#: How many of the requests that are still in a job got no line from it.
WITHOUT_LINE = f"SELECT count(*) FROM requests WHERE job = ? AND NOT EXISTS ({_GIVEN})"  # noqa: S608 - no value


def was_sent(sent: Sequence[int]) -> str:
    """In more than one job; or in one that was ``sent``, or was and now waits to be resent."""
    numbers = ", ".join(str(int(ordinal)) for ordinal in sent)
    return f"(attempts > 1 OR (attempts = 1 AND (job IS NULL OR job IN ({numbers}))))"


def unlasting(
    ordinal: int, reasons: Sequence[str], most: int, most_unanswered: int
) -> tuple[str, tuple[int | str, ...]]:
    """In the job ``ordinal``, which gave no answer, or an error that another attempt may not get again."""
    marks = ", ".join("?" * len(reasons))
    sql = (
        f"job = ? AND coalesce({_FINAL.format('verdict')}, '') <> 'succeeded' "
        f"AND ((attempts - attempts_excused < ? AND NOT EXISTS ({_GIVEN})) OR (attempts - attempts_excused < ? "
        f"AND EXISTS ({_GIVEN} AND a.verdict = 'failed' AND a.reason IN ({marks}))))"
    )
    return sql, (ordinal, most_unanswered, most, *reasons)


#: Of the requests that are still in a job: how many have no answer at all, and how many were cancelled.
STOPPED = (
    f"SELECT coalesce(sum(answer IS NULL), 0), coalesce(sum({_FINAL.format('reason')} = 'CANCELLED'), 0) "  # noqa: S608
    "FROM requests WHERE job = ?"
)
#: What a set of requests that are to be resent needs to be told: count, attempts so far, and whether a quota was full.
LEFTOVER = (
    "SELECT count(*), coalesce(max(attempts - attempts_excused), 0), "  # noqa: S608 - no value
    f"coalesce(sum({_FINAL.format('reason')} = 'RESOURCE_EXHAUSTED'), 0) FROM requests WHERE "
)
#: The requests that did not succeed, in input order, as ``FailureRow``.
FAILURES = (
    "SELECT r.key, r.offset, r.length, coalesce(a.verdict, 'missing'), "
    "coalesce(a.reason, last.missing_reason, CASE WHEN a.id IS NULL THEN 'TO_BE_RESENT' ELSE '' END), m.text, "
    "a.answer_file, s.file, a.offset, a.length FROM requests r LEFT JOIN answers a ON a.id = r.answer "
    "LEFT JOIN messages m ON m.id = a.message LEFT JOIN answer_files s ON s.id = a.answer_file "
    "LEFT JOIN answer_files last ON last.id = r.job AND a.id IS NULL "
    "WHERE coalesce(a.verdict, 'missing') <> 'succeeded' ORDER BY r.seq"
)
#: Every request with its final answer, in input order, as ``FinalRow``.
FINAL = (
    "SELECT r.seq, r.key, r.expects_json, r.dimension, s.file, coalesce(a.offset, 0), coalesce(a.length, 0), "
    "coalesce(a.attempt, max(r.attempts, 1)), a.verdict, coalesce(last.missing_reason, 'TO_BE_RESENT'), "
    "a.reason FROM requests r LEFT JOIN answers a ON a.id = r.answer "
    "LEFT JOIN answer_files s ON s.id = a.answer_file "
    "LEFT JOIN answer_files last ON last.id = r.job ORDER BY r.seq"
)
#: Requests as ``PlacedRow``: where each is, where its line is, and its final answer.
PLACED = (
    "SELECT r.seq, r.key, r.offset, r.length, r.expects_json, r.dimension, r.job, r.attempts, a.answer_file, s.file, "
    "coalesce(a.offset, 0), coalesce(a.length, 0), a.verdict, a.reason, last.missing_reason, v.name "
    "FROM requests r LEFT JOIN answers a ON a.id = r.answer LEFT JOIN answer_files s ON s.id = a.answer_file "
    "LEFT JOIN answer_files last ON last.id = r.job LEFT JOIN model_versions v ON v.id = a.model_version"
)
