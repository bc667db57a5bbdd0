"""Brings the index up to date with the ledger: answers that were collected since, and runs of earlier versions.

Answers are entered when rows are next looked up, not when they are collected: collecting paid answers must not fail
because an index cannot be written.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import StateError
from gemini_batch.events import EventHandler, Notice, Transfer
from gemini_batch.memory.claims import claim_later, collected, unclaimed
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.store.sqlite import explained, state_error, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gemini_batch.memory.fingerprint import Marks
    from gemini_batch.memory.index import Index
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder, StateFolder

_BATCH = 5000


def catch_up(state_folder: StateFolder, ledger: Ledger, index: Index, emit: EventHandler) -> frozenset[str]:
    """Enter what was collected since, and claim the rows of jobs that an earlier version sent.

    Returns the jobs (ids) whose answers cannot be read now. They are not remembered, and are tried again the next time;
    they keep nothing else from being sent. Raises StateError where trying again may help at once: a folder that is in
    use, a full disk.
    """
    known, unread = index.jobs(), set[str]()
    for jobs in _by_run(job for job in collected(ledger) if known.get(job.id, ...) != job.collected_at):
        run = ledger.run_of(jobs[0])
        with _tolerant(run, emit, unread, jobs):
            _enter(state_folder.run(run.id), index, ledger, jobs, emit)
    for job in unclaimed(ledger):
        run = ledger.run_of(job)
        folder = state_folder.run(run.id)
        with _tolerant(run, emit, unread, [job]):
            if folder.row_database.exists():
                with folder.rows() as rows:
                    fill(folder, ledger, run, rows, emit)
                    claim_later(ledger, job, rows.fingerprints(job.ordinal))
            else:
                unread.add(job.id)
    return frozenset(unread)


@contextmanager
def _tolerant(run: Run, emit: EventHandler, unread: set[str], jobs: Iterable[Job]) -> Iterator[None]:
    """What cannot be read of a run is said, and noted in ``unread``."""
    try:
        yield
    except StateError as error:
        if error.reason_code in {"locked", "disk_full"}:
            raise
        emit(Notice(f"The answers of {run.id} cannot be used again: {error.message}", "warning", error.next))
        unread.update(job.id for job in jobs)


def _by_run(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each run; the run with the newest answers comes last, because these count."""
    runs: dict[str, list[Job]] = {}
    for job in jobs:
        runs[job.run] = [*runs.pop(job.run, ()), job]
    return list(runs.values())


def _enter(folder: RunFolder, index: Index, ledger: Ledger, jobs: Sequence[Job], emit: EventHandler) -> None:
    run = ledger.run_of(jobs[0])
    if run.freed_at is not None or run.in_place:
        index.skip(jobs)
        return
    if not folder.row_database.exists():
        raise StateError("its folder is gone.", file=folder.path, code="run_folder_gone")
    with folder.rows() as rows:
        fill(folder, ledger, run, rows, emit)
        index.add_jobs(run.id, [job for job in jobs if job.model == run.model], rows)
        for job in jobs:
            if job.model != run.model:
                index.add(run.id, job, _of_another_model(folder, run, job, rows))


def _of_another_model(folder: RunFolder, run: Run, job: Job, rows: Rows) -> Iterator[tuple[bytes, int]]:
    """The succeeded answers of a job that ``retry`` sent to another model: they answer rows for that model."""
    origin = Origin(run.backend, job.key_fingerprint, job.model)
    sql = (
        "SELECT r.seq, r.offset, r.length FROM requests r JOIN answers a ON a.id = r.answer "
        "WHERE a.answer_file = ? AND a.verdict = 'succeeded' AND r.length > 0 ORDER BY r.seq"
    )
    with explained(rows.path, "run's row database"), folder.open_requests() as file:
        for seq, offset, length in rows.connection.execute(sql, (job.ordinal,)):
            file.seek(offset)
            yield _marks(origin, file.read(length), run, folder).fingerprint, seq


def _marks(origin: Origin, line: bytes, run: Run, folder: RunFolder) -> Marks:
    try:
        return origin.marks(line, run.method)
    except msgspec.DecodeError as error:
        raise StateError(f"Its requests were changed: {error}.", file=folder.requests, code="damaged") from error


def fill(folder: RunFolder, ledger: Ledger, run: Run, rows: Rows, emit: EventHandler) -> None:
    """Record the fingerprints of a run's requests where an earlier version has not. Raises StateError."""
    db = rows.connection
    with explained(rows.path, "run's row database"):
        if run.sha256 is None or not db.execute("SELECT 1 FROM requests WHERE fingerprint IS NULL LIMIT 1").fetchone():
            return
        jobs = ledger.all_jobs_of(run.id)
        origin = Origin(run.backend, jobs[0].key_fingerprint if jobs else "", run.model)
        sql = "SELECT seq, offset, length FROM requests WHERE seq > ? AND fingerprint IS NULL ORDER BY seq LIMIT ?"
        try:
            with transaction(db), folder.open_requests() as file:
                last = -1
                while batch := db.execute(sql, (last, _BATCH)).fetchall():
                    last, marks = batch[-1]["seq"], []
                    for seq, offset, length in batch:
                        file.seek(offset)
                        marks.append((*_marks(origin, file.read(length), run, folder)[:3], seq))
                    db.executemany("UPDATE requests SET fingerprint = ?, body = ?, outside = ? WHERE seq = ?", marks)
                    emit(Transfer("reading", file.tell(), run.bytes))
        except OSError as error:
            raise state_error(error, folder.requests, "run's requests") from error
