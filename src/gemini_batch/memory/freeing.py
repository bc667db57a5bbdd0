"""Which runs can be freed, and the record of it: a run goes only with, or after, all runs that use its answers.

Runs may use answers of each other, so some can only be freed together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping

    from gemini_batch.store.ledger.ledger import Ledger

_LOANS = "SELECT lender, borrower FROM loans JOIN runs ON id = borrower WHERE freed_at IS NULL"


def groups(users: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The runs that can be freed, in this order; those of one group at once.

    ``users``: for each run that is old enough, the kept runs that use its answers. A run that is used by one that
    stays is in no group.
    """
    left = {run: set(theirs) for run, theirs in users.items()}
    while staying := [run for run, theirs in left.items() if not theirs <= left.keys()]:
        for run in staying:
            del left[run]
    found: list[list[str]] = []
    while left:
        group = _first(left)
        found.append(sorted(group))
        left = {run: theirs - group for run, theirs in left.items() if run not in group}
    return found


def _first(users: Mapping[str, Collection[str]]) -> set[str]:
    """The smallest set of these runs whose answers no other one uses."""
    smallest: set[str] = set()
    for run in users:
        group, new = {run}, [run]
        while new:
            more = set(users[new.pop()]) - group
            group |= more
            new.extend(more)
        if len(group) == 1:
            return group
        if not smallest or len(group) < len(smallest):
            smallest = group
    return smallest


def borrowers(ledger: Ledger) -> dict[str, set[str]]:
    """For each run, the runs that use its answers and were not freed. Raises StateError."""
    with explained(ledger.path, "ledger"):
        return _borrowers(ledger.connection)


def _borrowers(db: sqlite3.Connection) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for lender, borrower in db.execute(_LOANS):
        found.setdefault(lender, set()).add(borrower)
    return found


def free(ledger: Ledger, runs: Collection[str], *, at: float) -> bool:
    """Record that the answers of these runs are deleted; False if another run that is kept uses them.

    From then on no run can take them. Raises StateError.
    """
    with explained(ledger.path, "ledger"), transaction(ledger.connection) as db:
        users = _borrowers(db)
        if any(users.get(run, set()) - set(runs) for run in runs):
            return False
        for run in runs:
            db.execute("UPDATE runs SET freed_at = coalesce(freed_at, ?) WHERE id = ?", (at, run))
            db.execute("INSERT INTO events (at, run, what) VALUES (?, ?, 'answers freed')", (at, run))
        return True
