"""``clean``: delete files at the service that no active job needs, and forget runs that were never sent.

Only what this home has put there is touched. A run is forgotten only when asked for, and never while it is in doubt
whether its job exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.backend import address_of
from gemini_batch.engine.creating.planner import drop
from gemini_batch.engine.poller import poll_job
from gemini_batch.engine.uploads.attachments import delete_attachment
from gemini_batch.engine.uploads.held import HeldAttachments
from gemini_batch.engine.uploads.input_files import delete_input
from gemini_batch.errors import ApiError, ServiceError, StateError, UsageError
from gemini_batch.report.job_view import run_facts
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import InputFile, JobStage

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run


class Kept(msgspec.Struct, frozen=True):
    """A run whose answers are kept because other runs use them."""

    run: str
    """Id of the run, `run-…`."""
    used_by: list[str]
    """Ids of the runs that use its answers."""


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted and forgotten, or in a dry run what would be.

    Without `--local`, everything on this machine stays.
    """

    dry_run: bool
    """True if nothing was deleted."""
    deleted: list[str]
    """Input files and attachments that were deleted at the service, `files/…`, or at Vertex AI `gs://…`."""
    gone: list[str]
    """Those that the service had deleted already."""
    kept: dict[str, str]
    """Those that are still needed, and with `--local` runs that are in use or damaged, with the reason."""
    bytes: int
    """Size of the deleted files."""
    not_created: list[str]
    """Runs whose job was never created, by id."""
    forgotten: list[str]
    """Those of `not_created` that are no longer listed."""
    freed: list[str] = []
    """With `--local`: runs of which files were deleted on this machine."""
    freed_bytes: int = 0
    """Size of these files."""
    forgotten_answers: int = 0
    """Rows that no run remembers any more: they would be sent and paid for again."""
    lent: list[Kept] = []
    """Runs that were kept because other runs use their answers."""


def check_options(*, not_created: bool, local: bool, older_than: float | None, keep_results: bool) -> None:
    """Raises UsageError for options that do not go together: none is ignored silently."""
    if not local and (older_than is not None or keep_results):
        what = "--older-than and --keep-results have no effect without --local."
        raise UsageError(what, field="--local", code="bad_argument")
    if local and not_created:
        raise UsageError("--local and --not-created exclude each other.", field="--local", code="bad_argument")
    if older_than is not None and not older_than >= 0:
        raise UsageError("--older-than must not be negative.", field="--older-than", code="bad_argument")


async def clean(session: Session, *, dry_run: bool, not_created: bool = False) -> Cleaned:
    """Delete what the ledger owns and no active job needs. A file that is missing already counts as ``gone``.

    Only files that this ledger says it uploaded, with this key and to this address, are touched. ``not_created``: also
    forget runs whose job was certainly not made; the same ``create`` or ``run`` makes it after all. Raises ServiceError
    where a file cannot be deleted, UsageError without a key, StateError.
    """
    deleted: list[str] = []
    gone: list[str] = []
    kept: dict[str, str] = {}
    freed = 0
    waiting: list[Run] = []
    forgotten: list[Run] = []
    if session.state_folder.exists():
        ledger = session.ledger()
        waiting = [run for run in ledger.runs() if _was_never_sent(session, run)]
        if not_created:
            forgotten = [run for run in waiting if _forget(session, run, dry_run=dry_run)]
        dropped = {job.id for run in forgotten for job in ledger.all_jobs_of(run.id)}
        for file in ledger.files():
            why = await _needed(session, file, dropped)
            if why is not None:
                kept[file.name] = why
                continue
            now = session.world.now()
            if file.expires_at is not None and file.expires_at <= now:
                gone.append(file.name)
                if not dry_run:
                    ledger.file_gone(file, at=now, why="expired")
                continue
            if not dry_run and not await delete_input((await session.backend()).service, ledger, file, at=now):
                gone.append(file.name)
                continue
            deleted.append(file.name)
            freed += file.bytes
        freed += await _clean_attachments(session, deleted, gone, kept, dry_run=dry_run)
    return Cleaned(
        dry_run=dry_run,
        deleted=deleted,
        gone=gone,
        kept=kept,
        bytes=freed,
        not_created=[run.id for run in waiting],
        forgotten=[run.id for run in forgotten],
    )


async def _clean_attachments(
    session: Session, deleted: list[str], gone: list[str], kept: dict[str, str], *, dry_run: bool
) -> int:
    """Delete the attachments that no job needs, as far as is known after the jobs were polled; returns their bytes."""
    address, ledger, now, freed = address_of(session.settings), session.ledger(), session.world.now(), 0
    records = HeldAttachments(ledger, backend=address, key_fingerprint=session.key_fingerprint())
    for held, used in records.all():
        if not records.is_ours(held):
            elsewhere = held.backend != address
            kept[held.name] = f"uploaded to {held.backend}" if elsewhere else "uploaded with another key"
        elif used:
            kept[held.name] = "a job needs it"
        elif held.expires_at is not None and held.expires_at <= now:
            gone.append(held.name)
            if not dry_run:
                records.gone(held, at=now, why="expired")
        else:
            there: bool | None = True
            if not dry_run:
                there = await delete_attachment((await session.backend()).service, records, held, at=now)
            if there is None:
                kept[held.name] = "a job needs it"
                continue
            (deleted if there else gone).append(held.name)
            freed += held.bytes if there else 0
    return freed


def _was_never_sent(session: Session, run: Run) -> bool:
    """Whether no job of a run was created, as far as is known here, and no other run has answered its requests."""
    if run.origin == "adopted" or run.forgotten_at is not None:
        return False
    jobs = session.ledger().jobs_of(run.id)
    if any(job.stage.made or job.is_calling for job in jobs):
        return False
    try:
        return bool(jobs) or not run_facts(session, run).answered
    except StateError:
        return True


def _forget(session: Session, run: Run, *, dry_run: bool) -> bool:
    """Forget a run that was certainly not sent; False if that is in doubt, or its folder is in use, damaged or gone."""
    folder, ledger, now = session.state_folder.run(run.id), session.ledger(), session.world.now()
    try:
        with folder.lock(wait=0.0):
            jobs = ledger.jobs_of(run.id)
            if any(job.stage not in {JobStage.PLANNED, JobStage.UPLOADED} for job in jobs):
                return False
            if not dry_run:
                with folder.rows() as rows:
                    for job in jobs:
                        drop(ledger, rows, job, at=now)
                ledger.set_forgotten(run, at=now, forgotten=True)
            return True
    except StateError as error:
        if error.reason_code not in {"locked", "run_folder_gone", "damaged"}:
            raise
        return False


async def _needed(session: Session, file: InputFile, dropped: set[str]) -> str | None:
    """Why a file must stay; None where nothing needs it. ``dropped``: jobs that count as dropped already."""
    ledger = session.ledger()
    job = ledger.job(file.job)
    run = ledger.run(job.run)
    assert run is not None
    if run.backend != address_of(session.settings):
        return f"uploaded to {run.backend}"
    if job.key_fingerprint != session.key_fingerprint():
        return "uploaded with another key"
    if job.dropped_at is not None or job.id in dropped:
        return None
    if not job.stage.made:
        return "its job has not been created yet"
    if job.stage is JobStage.CREATED:
        try:
            await poll_job(session, KnownJob(run, job, session.settings.offline))
        except ServiceError as error:
            seen = error.status if isinstance(error, ApiError) else error.message
            return f"its job cannot be polled now ({seen})"
        job = ledger.job(job.id)
    if job.stage is JobStage.CREATED:
        return f"its job is alive ({job.state})"
    return None
