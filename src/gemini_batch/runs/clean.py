"""``clean``: delete input files at the service that this home uploaded and that no living job needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import ApiError
from gemini_batch.runs.ledger import InputFile, Job, Life
from gemini_batch.runs.session import Target
from gemini_batch.runs.status import observe

if TYPE_CHECKING:
    from gemini_batch.runs.session import Session


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """Files by what became (or, in a dry run, would become) of them; ``bytes`` is the room that this makes."""

    dry_run: bool
    deleted: list[str]
    gone: list[str]
    kept: dict[str, str]
    bytes: int


async def clean(session: Session, *, dry_run: bool) -> Cleaned:
    """Delete what the ledger owns and no living job needs. A file that is missing already counts as ``gone``.

    Only files that this ledger says it uploaded, with this key and to this address, are touched.
    """
    deleted: list[str] = []
    gone: list[str] = []
    kept: dict[str, str] = {}
    freed = 0
    if session.home.exists():
        ledger = session.ledger()
        for file in ledger.files():
            why = await _needed(session, file)
            if why is not None:
                kept[file.name] = why
                continue
            now = session.world.now()
            if file.expires_at is not None and file.expires_at <= now:
                gone.append(file.name)
                if not dry_run:
                    ledger.file_gone(file, at=now, why="expired")
                continue
            if not dry_run and not await _delete(session, file):
                gone.append(file.name)
                continue
            deleted.append(file.name)
            freed += file.bytes
    return Cleaned(dry_run=dry_run, deleted=deleted, gone=gone, kept=kept, bytes=freed)


async def _needed(session: Session, file: InputFile) -> str | None:
    """Why a file must stay; None where nothing needs it."""
    ledger = session.ledger()
    job = ledger.job(file.job)
    run = ledger.run(job.run)
    assert run is not None
    if run.key_print != session.key_print():
        return "uploaded with another key"
    target = Target(job.batch or run.id, session.home, run, job)
    if job.life in {Life.PLANNED, Life.UPLOADED, Life.INTENDED}:
        return "its job is not created yet"
    if job.life is Life.CREATED:
        session.check_bound(target)
        try:
            job = await _looked_at(session, target, job)
        except ApiError as error:
            return f"its job cannot be seen now ({error.status})"
    if job.life is Life.CREATED:
        return f"its job is alive ({job.state})"
    return None


async def _looked_at(session: Session, target: Target, job: Job) -> Job:
    await observe(session, target)
    return session.ledger().job(job.id)


async def _delete(session: Session, file: InputFile) -> bool:
    """Delete one file; False where the service does not have it any more."""
    there = True
    try:
        await (await session.backend()).service.delete_file(file.name)
    except ApiError as error:
        if error.status not in {403, 404}:
            raise
        there = False
    session.ledger().file_gone(file, at=session.world.now(), why="deleted" if there else "was gone")
    return there
