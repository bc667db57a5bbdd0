"""``list``: the jobs that this home knows, and on request those that the service knows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from gemini_batch.engine.poller import observe
from gemini_batch.errors import ServiceError
from gemini_batch.events import Notice
from gemini_batch.report.job_view import Status, describe, not_created
from gemini_batch.session import Target
from gemini_batch.store.records import JobStage
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs are wanted; everything that is given must hold. ``name`` and ``model`` are parts of the text."""

    alive: bool = False
    state: str | None = None
    name: str | None = None
    model: str | None = None
    limit: int | None = None

    def admits(self, one: Status) -> bool:
        """Whether this job is wanted."""
        return (
            (not self.alive or one.alive)
            and (self.state is None or self.state.upper().removeprefix("JOB_STATE_") in one.state)
            and (self.name is None or self.name.lower() in one.name.lower())
            and (self.model is None or self.model.lower() in one.model.lower())
        )


async def listing(session: Session, wanted: Filter, *, refresh: bool = False, remote: bool = False) -> list[Status]:
    """Jobs, newest first: as last seen, without any call, or (``refresh``) with a look at each that may be alive.

    ``remote``: all jobs of the key's project that this home does not know as well. A job's absence from the service's
    list means nothing, so nothing is concluded from it.
    """
    found: list[tuple[float, Status]] = []
    if session.state_folder.exists() or remote:
        known = [(run, job) for run, job in session.ledger().jobs() if job.dropped_at is None]
        for run, job in sorted(known, key=_begun, reverse=True):
            one = await _local(session, run, job, refresh=refresh)
            if wanted.admits(one):
                found.append((_begun((run, job)), one))
            if wanted.limit is not None and len(found) >= wanted.limit and not remote:
                break
    if remote:
        found += [(_seconds(one.created), one) for one in await unknown(session) if wanted.admits(one)]
        found.sort(key=itemgetter(0), reverse=True)
    return [one for _, one in found[: wanted.limit]]


def _begun(entry: tuple[Run, Job]) -> float:
    """When a job was made or, where none was, its run: what was not created stands among the others at its time."""
    run, job = entry
    return job.created_at or run.created_at


def _seconds(created: str | None) -> float:
    return 0.0 if created is None else dt.datetime.fromisoformat(created).timestamp()


async def _local(session: Session, run: Run, job: Job, *, refresh: bool) -> Status:
    target = Target(job.batch or run.id, session.state_folder, run, job)
    if job.batch is None:
        return not_created(session, target, job)
    seen = None
    if refresh and job.stage is JobStage.CREATED and run.key_fingerprint == session.key_fingerprint():
        try:
            session.check_bound(target)
            seen = await observe(session, target)
            job = session.ledger().job(job.id)
        except ServiceError as error:
            session.emit(Notice(f"{job.batch}: {error.message}", "warning"))
    return describe(session, target, job, seen, usual=False)


async def unknown(session: Session) -> list[Status]:
    """The jobs in the service's list that this home does not know."""
    backend = await session.backend()
    known = {job.batch for _, job in session.ledger().jobs()}  # and, as they come, those that stand on two pages
    found = []
    async for page in backend.service.listing():
        for operation in page:
            seen = remote_job(operation)
            if seen.name and seen.name not in known:
                known.add(seen.name)
                target = Target(seen.name, session.state_folder, None, None)
                found.append(describe(session, target, None, seen, usual=False))
    return found
