"""What was expected before requests were sent, compared with what the jobs that followed have cost.

Each sending has an estimate: the first one of a run, a trial that is extended, a retry. It is about the jobs that
follow, until the next one. One that is made again before any job has followed takes the place of the one before it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gemini_batch.report.billing import usd
from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_batch.prices import Spend
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Run

_NANO = 10**9


class Sending(NamedTuple):
    """What was expected before jobs were sent, in USD; None: not known. ``after``: the newest job there was, or 0."""

    after: int
    low: float | None
    expected: float | None
    high: float | None


class Estimated(msgspec.Struct, frozen=True, kw_only=True):
    """What was expected of jobs before they were sent, and what they have cost; both of tokens alone, in USD."""

    low: float | None
    """The least that was expected."""
    expected: float
    """What was expected."""
    high: float | None
    """The most that was expected; null if nothing bounded it."""
    actual: float
    """What the answers of these jobs cost."""
    at_least: bool
    """True if `actual` leaves something out."""
    jobs: int
    """Number of these jobs."""
    of_jobs: int
    """Number of jobs that have answers: of the others, nothing was expected."""


def keep_sending(ledger: Ledger, run: Run, found: Sending, *, at: float) -> None:
    """Record what is expected of the jobs that are about to be sent. Raises StateError."""
    amounts = (None if one is None else round(one * _NANO) for one in found[1:])
    with explained(ledger.path, "ledger"), transaction(ledger.connection) as db:
        db.execute("INSERT OR REPLACE INTO estimates VALUES (?, ?, ?, ?, ?, ?)", (run.id, found.after, at, *amounts))


def sendings(ledger: Ledger, run: Run) -> list[Sending]:
    """What was expected of a run, oldest first. Raises StateError."""
    sql = "SELECT after, low, expected, high FROM estimates WHERE run = ? ORDER BY after"
    with explained(ledger.path, "ledger"):
        rows = ledger.connection.execute(sql, (run.id,)).fetchall()
    return [Sending(row[0], *(None if nano is None else nano / _NANO for nano in row[1:])) for row in rows]


def compare(before: Sequence[Sending], answers: Iterable[tuple[int, Spend]]) -> Estimated | None:
    """What was expected, and what it cost: of each job, what its answers cost. None if there is nothing to compare.

    Left out on both sides are jobs of which nothing was expected, and sendings without any answer.
    """
    actual, least, followed = Decimal(0), False, set[Sending]()
    jobs, others = set[int](), set[int]()
    for job, spend in answers:
        last = next((one for one in reversed(before) if one.after < job), None)
        if last is None or last.expected is None:
            others.add(job)
            continue
        followed.add(last)
        jobs.add(job)
        actual += spend.priced
        least = least or spend.at_least
    lows, highs = [one.low for one in followed], [one.high for one in followed]
    if not followed:
        return None
    return Estimated(
        low=None if None in lows else sum(one for one in lows if one is not None),
        expected=sum(one.expected for one in followed if one.expected is not None),
        high=None if None in highs else sum(one for one in highs if one is not None),
        actual=float(actual),
        at_least=least,
        jobs=len(jobs),
        of_jobs=len(jobs) + len(others),
    )


def compared(found: Estimated) -> str:
    """``estimated: $0.41 ($0.3 to $0.55), actual: $0.39``; ``estimated for 4 of 5 jobs: …``."""
    span = ""
    if found.low is not None and found.high is not None:
        span = f" (${usd(found.low)} to ${usd(found.high)})"
    least = "at least " if found.at_least else ""
    part = "" if found.jobs == found.of_jobs else f" for {found.jobs:,} of {found.of_jobs:,} jobs"
    return f"estimated{part}: ${usd(found.expected)}{span}, actual: {least}${usd(found.actual)}"
