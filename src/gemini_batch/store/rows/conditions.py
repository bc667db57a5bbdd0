"""Where the requests in ``rows.db`` are, and conditions on them as SQL: which were sent, which are to be resent.

``requests.job`` is the ordinal of the job that a request is in, from 1; NULL while it waits to be sent; or one of the
places that are not jobs of the run.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from gemini_batch.answers.usage import Usage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from gemini_batch.store.ledger.run_options import Selection

#: It took an answer from another run, where it had been answered before.
REMEMBERED = 0
#: It is in a job of another run that has not ended; this run waits for that answer.
ELSEWHERE = -1
#: ``--limit`` or ``--sample`` left it out.
HELD = -2
#: It is the same as another request of the run (``copy_of``), whose answer it gets.
COPY = -3

_FINAL = "(SELECT {} FROM answers WHERE id = requests.answer)"
_GIVEN = "SELECT 1 FROM answers a WHERE a.seq = requests.seq AND a.answer_file = requests.job"
#: How many of the requests that are still in a job got no line from it.
WITHOUT_LINE = f"SELECT count(*) FROM requests WHERE job = ? AND NOT EXISTS ({_GIVEN})"  # noqa: S608 - no value


#: Each copy has the answer of its original, whatever that is.
ANSWER_COPIES = (
    "UPDATE requests SET answer = (SELECT answer FROM requests leader WHERE leader.seq = requests.copy_of) "
    "WHERE copy_of IS NOT NULL"
)


def numbers(places: Iterable[int]) -> str:
    """Places or ordinals as a list in SQL."""
    return ", ".join(str(int(place)) for place in places)


def was_sent(sent: Sequence[int], name: str = "requests") -> str:
    """In more than one job; or in one that was ``sent``, or was and now waits to be resent."""
    places = numbers((REMEMBERED, ELSEWHERE, *sent))
    return f"({name}.attempts > 1 OR ({name}.attempts = 1 AND ({name}.job IS NULL OR {name}.job IN ({places}))))"


def has_result(sent: Sequence[int]) -> str:
    """Sent, or with an answer from another run, or a copy of one of these."""
    leader = f"(leader.job IS {REMEMBERED} OR {was_sent(sent, 'leader')})"
    return (
        f"({was_sent(sent)} OR requests.job IS {REMEMBERED} OR (requests.job IS {COPY} AND EXISTS "  # noqa: S608 - numbers
        f"(SELECT 1 FROM main.requests leader WHERE leader.seq = requests.copy_of AND {leader})))"
    )


def selected(db: sqlite3.Connection, selection: Selection) -> str:
    """Among the first ``limit`` requests, or among ``sample`` of them that ``seed`` chooses; every one by default.

    A larger sample with the same seed contains the smaller one.
    """
    if selection.limit is not None:
        return f"seq < {int(selection.limit)}"
    if selection.sample is None:
        return "TRUE"

    def rank(seq: int) -> bytes:
        return hashlib.blake2b(f"{selection.seed}:{seq}".encode(), digest_size=8).digest()

    db.create_function("rank_of", 1, rank, deterministic=True)
    db.execute("DROP TABLE IF EXISTS temp.sampled")
    db.execute("CREATE TEMP TABLE sampled (seq INTEGER PRIMARY KEY)")
    db.execute("INSERT INTO sampled SELECT seq FROM requests ORDER BY rank_of(seq) LIMIT ?", (selection.sample,))
    return "seq IN (SELECT seq FROM temp.sampled)"


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
#: Requests as ``PlacedRow``: where each is, where its line is, and its final answer.
PLACED = (
    "SELECT r.seq, r.key, r.offset, r.length, r.expects_json, r.dimension, r.job, r.attempts, a.answer_file, "
    "s.file, coalesce(a.offset, 0), coalesce(a.length, 0), a.verdict, a.reason, last.missing_reason, v.name, "
    "leader.key, r.schema FROM requests r LEFT JOIN answers a ON a.id = r.answer "
    "LEFT JOIN answer_files s ON s.id = a.answer_file "
    "LEFT JOIN answer_files last ON last.id = r.job LEFT JOIN model_versions v ON v.id = a.model_version "
    "LEFT JOIN requests leader ON leader.seq = r.copy_of"
)
#: The final answer of a request is the one of the highest rank: a success takes precedence over everything else;
#: otherwise, a later attempt takes precedence over an earlier one, and within one file the first line counts.
RANK = "((verdict = 'succeeded') << 60) + (attempt << 44) - id"
#: What :func:`usage` sums up: the counts of ``Usage``, whose last field, ``known``, is none.
COUNTS = Usage.__struct_fields__[:-1]


def usage(*, seq: int | None, job: int | None, by_use: bool) -> str:
    """What answers used, as ``RowReader.usage`` explains it; the threshold of long prompts is its parameter."""
    sums = ", ".join(f"coalesce(sum(a.{kind}), 0) AS {kind}" for kind in COUNTS)
    which = "" if seq is None else f" AND a.seq = {int(seq)}"
    which += "" if job is None else f" AND a.answer_file = {int(job)}"
    # What most answers do not need is looked up for the others only: there may be millions.
    use, requests = "''", ""
    model = "(SELECT name FROM model_versions WHERE id = a.model_version)"
    final_file = "(SELECT answer_file FROM answers WHERE id = r.answer)"
    if by_use:
        requests = "LEFT JOIN requests r ON r.seq = a.seq "
        use = "CASE WHEN a.id = r.answer THEN a.verdict "
        use += f"WHEN a.answer_file = {final_file} THEN 'duplicate' ELSE 'retried' END"
    may_search = "(SELECT outside OR fingerprint IS NULL FROM main.requests q WHERE q.seq = a.seq)"
    return (
        f"SELECT a.answer_file, {model} AS model, a.input > ? AS long, a.standard, "  # noqa: S608 - numbers and our own names
        f"{use} AS use, {sums}, count(*) AS answers, sum(a.usage_known) AS known, "
        "sum(coalesce(a.searches, 0) > 0) AS searched, "
        f"sum(CASE WHEN a.searches IS NULL THEN {may_search} ELSE 0 END) AS uncounted "
        f"FROM answers a {requests}WHERE a.answer_file > 0{which} "
        "GROUP BY 1, a.model_version, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
    )
