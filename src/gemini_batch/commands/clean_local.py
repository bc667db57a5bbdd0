"""``clean --local``: delete requests and answers of finished runs on this machine, to make room.

Verdicts, token counts and cost are always kept. Answers that a kept run uses stay, whichever run received them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gemini_batch.commands.clean import Cleaned, Kept
from gemini_batch.errors import StateError, UsageError
from gemini_batch.memory.claims import borrowers, free
from gemini_batch.memory.recall import open_index
from gemini_batch.report.job_view import run_facts
from gemini_batch.store.records import JobStage
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.session import Session
    from gemini_batch.store.records import Run

#: Days after which a finished run is old enough, unless the user says otherwise.
OLDER_THAN = 90 * 86_400.0


def clean_local(
    session: Session, *, dry_run: bool, older_than: float | None = None, keep_results: bool = False
) -> Cleaned:
    """Delete what is not needed of runs that finished more than ``older_than`` seconds ago (90 days).

    ``keep_results``: delete only copies that no result needs. Otherwise the answers are forgotten: their rows would be
    sent and paid for again. Needs no key. Raises UsageError, StateError.
    """
    if older_than is not None and older_than < 0:
        raise UsageError("--older-than must not be negative.", field="--older-than", code="bad_argument")
    before = session.world.now() - (OLDER_THAN if older_than is None else older_than)
    freed: list[str] = []
    lent: list[Kept] = []
    size = forgotten = 0
    if session.state_folder.exists():
        gone: set[str] = set()
        for run in session.ledger().runs():  # newest first, so that a run is gone before those whose answers it uses
            folder = session.state_folder.run(run.id)
            files = folder.spare(keep_results=keep_results)
            try:
                count = _succeeded(session, run, before)
            except StateError:  # damaged, or of an earlier version that is in use
                continue
            if count is None or not files:
                continue
            users = [one for one in borrowers(session.ledger(), run.id) if one not in gone]
            if users and not keep_results:
                lent.append(Kept(run.id, users))
                continue
            bytes_here = sum(path.stat().st_size for path in files)
            if not dry_run and not _delete(session, run, files, keep_results=keep_results):
                continue
            gone.add(run.id)
            freed.append(run.id)
            size += bytes_here
            forgotten += 0 if keep_results or run.freed_at is not None else count
    return Cleaned(
        dry_run=dry_run,
        deleted=[],
        gone=[],
        kept={},
        bytes=0,
        not_created=[],
        forgotten=[],
        freed=freed,
        freed_bytes=size,
        forgotten_answers=forgotten,
        lent=lent,
    )


def _succeeded(session: Session, run: Run, before: float) -> int | None:
    """How many answers of its own a run holds that could be used again; None if it is too new or has not finished."""
    ledger = session.ledger()
    jobs = ledger.jobs_of(run.id)
    ended = max((job.collected_at or 0.0 for job in jobs), default=run.created_at)
    if ended > before or any(job.stage is not JobStage.COLLECTED for job in jobs) or run.forgotten_at is not None:
        return None
    if not session.state_folder.run(run.id).path.is_dir():
        return None
    if run.freed_at is not None:
        return 0  # a process ended while it deleted the files
    facts = run_facts(session, run)
    if facts.waiting or (not jobs and not facts.answered):
        return None
    with session.state_folder.run(run.id).rows() as rows:
        return rows.succeeded_here()


def _delete(session: Session, run: Run, files: Sequence[Path], *, keep_results: bool) -> bool:
    """Note it in the ledger, then delete the files. False if another process or another run uses them."""
    folder = session.state_folder.run(run.id)
    try:
        with folder.lock(wait=0.0):
            if not keep_results:
                if not free(session.ledger(), run.id, at=session.world.now()):
                    return False
                if session.state_folder.memory.exists():
                    with open_index(session.state_folder) as index:
                        index.forget_run(run.id)
            for path in files:
                try:
                    with contextlib.suppress(FileNotFoundError):
                        path.unlink()
                except OSError as error:
                    raise state_error(error, path, "run folder") from error
            return True
    except StateError as error:
        if error.reason_code != "locked":
            raise
        return False
