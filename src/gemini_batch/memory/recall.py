"""Looks up the rows of a run that wait to be sent: what has been answered before, and what another run has sent."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gemini_batch.events import EventHandler, Notice, ignore_events
from gemini_batch.memory.borrowing import borrow
from gemini_batch.memory.catching_up import catch_up, fill
from gemini_batch.memory.claims import claimed_by_others, lend
from gemini_batch.memory.copies import copy_identical
from gemini_batch.memory.index import Index
from gemini_batch.store.ledger.run_options import kept_options
from gemini_batch.store.rows.conditions import COPY, ELSEWHERE, HELD, REMEMBERED
from gemini_batch.store.sqlite import INDEX, explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import StateFolder

_WHAT = "run's row database"
_CLAIMED = "seq IN (SELECT seq FROM temp.claimed)"
_FIND = (
    "INSERT INTO temp.found SELECT a.run, w.seq, a.seq, w.fingerprint FROM temp.wanted w CROSS JOIN memory.answered a "
    "ON a.fingerprint = w.fingerprint ORDER BY 1, 2"
)
_LENDERS = (
    "SELECT f.run, r.id, count(*) FROM temp.found f JOIN memory.runs r ON r.number = f.run GROUP BY 1, 2 ORDER BY 1"
)
#: Entries of the index that lead to no answer any more.
_STALE = (
    "SELECT w.fingerprint FROM temp.found f JOIN temp.wanted w USING (seq) JOIN requests r USING (seq) "  # noqa: S608 - number
    f"WHERE r.job IS NOT {REMEMBERED}"
)
_OUTSIDE = (
    "SELECT count(*) FROM temp.wanted w JOIN requests r USING (seq) "  # noqa: S608 - numbers only
    f"WHERE w.outside AND r.job = {REMEMBERED}"
)
_PLACE = (
    f"UPDATE requests SET job = CASE WHEN {_CLAIMED} THEN {ELSEWHERE} END "  # noqa: S608 - numbers only
    f"WHERE job = {ELSEWHERE} OR (job IS NULL AND {_CLAIMED})"
)
_SENT = (
    f"UPDATE requests SET job = {REMEMBERED} WHERE job IS NULL AND seq IN (SELECT seq FROM known.requests "  # noqa: S608 - numbers only
    "WHERE job > 0)"
)
_JOBS = (
    "SELECT DISTINCT c.job FROM temp.claimed c JOIN requests r USING (seq) "  # noqa: S608 - numbers only
    f"WHERE r.job = {ELSEWHERE} ORDER BY 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalled:
    """What was found for the waiting rows of a run.

    ``remembered`` rows took an answer; those of ``outside`` among them depended on a search, on pages of the web or on
    files elsewhere. ``elsewhere`` rows are in ``jobs`` of other runs (ids), which have not been collected.
    """

    remembered: int = 0
    outside: int = 0
    elsewhere: int = 0
    jobs: tuple[str, ...] = ()
    #: Whether answers were found in runs whose folders are gone, or were freed.
    gone: bool = False


def recalls(run: Run) -> bool:
    """Whether a run takes answers of other runs: not one made with ``--new``, nor while ``retry`` changes requests.

    Shards are remembered whole.
    """
    return run.sha256 is not None and not run.anew and not run.in_place and kept_options(run).overrides is None


def open_index(state_folder: StateFolder) -> Index:
    """The index of answered rows, made if it does not exist. Raises StateError."""
    return Index(state_folder.memory)


def update_index(state_folder: StateFolder, emit: EventHandler = ignore_events) -> frozenset[str]:
    """Enter what was collected since; returns the jobs whose answers cannot be read now. Raises StateError."""
    with state_folder.ledger() as ledger, open_index(state_folder) as index:
        return catch_up(state_folder, ledger, index, emit)


def recall(state_folder: StateFolder, run_id: str, *, emit: EventHandler = ignore_events) -> Recalled:
    """Give every waiting row the answer that it has in another run, or the place of the job that is to answer it.

    With ``dedupe``, rows with the same request are put together after that. The caller holds the run's lock. Raises
    StateError.
    """
    with state_folder.ledger() as ledger:
        run = ledger.run(run_id)
        assert run is not None
        folder, options = state_folder.run(run_id), kept_options(run)
        with folder.rows() as rows:
            found = Recalled()
            if not recalls(run):
                _release(rows)
            elif _may_send(ledger, run, rows):
                with open_index(state_folder) as index:
                    fill(folder, ledger, run, rows, emit)
                    catch_up(state_folder, ledger, index, emit)
                    found = _look_up(state_folder, ledger, run, rows=rows, index=index, emit=emit)
                    if found.gone:  # an earlier run may hold the same answers
                        index.clear()
                        catch_up(state_folder, ledger, index, ignore_events)
                        again = _look_up(state_folder, ledger, run, rows=rows, index=index, emit=emit)
                        found = replace(again, remembered=found.remembered + again.remembered)
            if options.dedupe:
                copy_identical(folder, rows)
            rows.answer_copies()
            return found


def _may_send(ledger: Ledger, run: Run, rows: Rows) -> bool:
    """Whether any request may still be sent: one that waits, or that is in a job which is not created."""
    made = {job.ordinal for job in ledger.jobs_of(run.id) if job.stage.made}
    return bool(rows.places() - {REMEMBERED, HELD, COPY, *made})


def _release(rows: Rows) -> None:
    with explained(rows.path, _WHAT), transaction(rows.connection) as db:
        db.execute("UPDATE requests SET job = NULL WHERE job = ?", (ELSEWHERE,))


def _look_up(
    state_folder: StateFolder, ledger: Ledger, run: Run, *, rows: Rows, index: Index, emit: EventHandler
) -> Recalled:
    db = rows.connection
    lenders = _found(ledger, run.id, rows=rows, index=index)
    if lenders is None:
        return Recalled()
    remembered, gone = 0, False
    for number, lender, count in lenders:
        folder, theirs = state_folder.run(lender), ledger.run(lender)
        if lender == run.id:
            continue
        if not folder.row_database.exists():
            gone = True
            emit(Notice(f"Answers to {count:,} of these requests are gone with the folder of {lender}.", "warning"))
        elif theirs is None or not lend(ledger, lender=lender, borrower=run.id):
            gone = True
        else:
            remembered += borrow(rows, folder, number, method=run.method, exactly=theirs.model == run.model)
    with explained(rows.path, _WHAT):
        index.forget(row[0] for row in db.execute(_STALE).fetchall())
        with transaction(db):
            db.execute(_PLACE)
        outside = db.execute(_OUTSIDE).fetchone()[0]
        jobs = tuple(row[0] for row in db.execute(_JOBS))
    elsewhere = rows.at(ELSEWHERE)
    return Recalled(remembered=remembered, outside=outside, elsewhere=elsewhere, jobs=jobs, gone=gone)


def foresee(state_folder: StateFolder, rows: Rows, known: Run | None) -> None:
    """Place the rows of requests that no run was made of: those that were answered, and those in jobs of other runs.

    ``known``: the run of the same requests, which would go on; what it has sent is not sent again, whatever came of it.
    No answer is taken; a run checks once more what it would take. Raises StateError.
    """
    if known is not None and (path := state_folder.run(known.id).row_database).exists():
        with explained(rows.path, _WHAT), _attached(rows.connection, known=path):
            rows.connection.execute(_SENT)
    with state_folder.ledger() as ledger, open_index(state_folder) as index:
        catch_up(state_folder, ledger, index, ignore_events)
        if _found(ledger, "", rows=rows, index=index) is not None:
            with explained(rows.path, _WHAT), transaction(rows.connection) as db:
                db.execute(f"UPDATE requests SET job = {REMEMBERED} WHERE seq IN (SELECT seq FROM temp.found)")  # noqa: S608 - a number
                db.execute(_PLACE)


def _found(ledger: Ledger, run: str, *, rows: Rows, index: Index) -> list[tuple[int, str, int]] | None:
    """Note in temporary tables where the waiting rows were answered, and which jobs of other runs claim them.

    Returns the runs with answers: number, id, how many; None if nothing waits.
    """
    db = rows.connection
    if not _want(rows):
        return None
    with explained(index.path, INDEX), _attached(db, memory=index.path):
        db.execute(_FIND)
        lenders = db.execute(_LENDERS).fetchall()
    with explained(ledger.path, "ledger"):
        wanted = db.execute("SELECT fingerprint, seq FROM temp.wanted ORDER BY rowid")
        claimed = claimed_by_others(ledger.connection, run, wanted)
        db.executemany("INSERT OR IGNORE INTO temp.claimed VALUES (?, ?)", claimed)
    return [tuple(row) for row in lenders]


@contextmanager
def _attached(db: sqlite3.Connection, **paths: os.PathLike[str]) -> Iterator[None]:
    """Other databases, to be read only: no transaction is begun, so none of them is locked for writing."""
    for name, path in paths.items():
        db.execute(f"ATTACH CAST(? AS TEXT) AS {name}", (os.fsencode(path),))
    try:
        yield
    finally:
        for name in paths:
            db.execute(f"DETACH {name}")


def _want(rows: Rows) -> int:
    """Make the temporary tables, and fill ``temp.wanted`` with the waiting rows, in the order of the index.

    So each page of the index is read once. Returns how many rows wait.
    """
    db = rows.connection
    with explained(rows.path, _WHAT):
        for statement in (
            *(f"DROP TABLE IF EXISTS temp.{table}" for table in ("wanted", "found", "claimed")),
            "CREATE TEMP TABLE wanted (fingerprint BLOB NOT NULL, seq INTEGER NOT NULL, outside INTEGER NOT NULL)",
            "CREATE TEMP TABLE found (run INTEGER, seq INTEGER, theirs INTEGER, fingerprint BLOB)",
            "CREATE UNIQUE INDEX temp.found_by_run ON found (run, seq)",
            "CREATE TEMP TABLE claimed (seq INTEGER, job TEXT, PRIMARY KEY (seq, job)) WITHOUT ROWID",
        ):
            db.execute(statement)
        some = "SELECT fingerprint, seq, outside FROM requests WHERE job {} AND fingerprint IS NOT NULL"
        # With OR, SQLite keeps the numbers of all these rows.
        both = f"{some.format('IS NULL')} UNION ALL {some.format(f'= {ELSEWHERE}')}"
        return db.execute(f"INSERT INTO temp.wanted {both} ORDER BY fingerprint").rowcount
