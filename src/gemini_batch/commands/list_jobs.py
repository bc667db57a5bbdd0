"""``list``: the jobs of this state folder, and on request those that the service knows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.engine.poller import poll_job
from gemini_batch.errors import ServiceError, StateError, UsageError
from gemini_batch.events import Notice
from gemini_batch.prices import LONG_PROMPT
from gemini_batch.report.job_view import JobStatus, RunState, describe, not_created, run_facts
from gemini_batch.report.money import Meter, at_most
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which jobs are wanted; everything that is given must hold. ``name`` and ``model`` are parts of the text."""

    alive: bool = False
    state: str | None = None
    name: str | None = None
    model: str | None = None
    limit: int | None = None

    def admits(self, one: JobStatus) -> bool:
        """Whether this job is wanted."""
        return (
            (not self.alive or one.alive)
            and (self.state is None or self.state.upper().removeprefix("JOB_STATE_") in one.state)
            and (self.name is None or self.name.lower() in one.name.lower())
            and (self.model is None or self.model.lower() in one.model.lower())
        )


async def list_jobs(
    session: Session, wanted: Filter, *, refresh: bool = False, remote: bool = False, long: bool = False
) -> list[JobStatus]:
    """Jobs, newest first: as last seen, without any call, or (``refresh``) by asking for each that may be alive.

    Requests of a run that no job was created for yet stand in one entry of their own, under the run's id. ``remote``:
    also all jobs of the key's project that are not in the ledger. A job's absence from the service's list means
    nothing, so nothing is concluded from it. ``long``: with the size of each run's folder and
    the cost of each job.
    """
    found: list[tuple[float, JobStatus]] = []
    session.name_empty_state_folder()
    if session.state_folder.exists():
        entries = _entries(session)
        for begun, run, job in sorted(entries, key=itemgetter(0), reverse=True):
            one = _unsent(session, run) if job is None else await _one(session, run, job, refresh=refresh)
            if one is not None and wanted.admits(one):
                found.append((begun, _at_length(session, run, job, one) if long else one))
            if wanted.limit is not None and len(found) >= wanted.limit and not remote:
                break
    if remote:
        found += [(_seconds(one.created), one) for one in await unknown(session) if wanted.admits(one)]
        found.sort(key=itemgetter(0), reverse=True)
    return [one for _, one in found[: wanted.limit]]


def _entries(session: Session) -> list[tuple[float, Run, Job | None]]:
    """``(when it began, run, job)`` for every job that was created, and once, without a job, for each run's rest."""
    entries: list[tuple[float, Run, Job | None]] = []
    ledger = session.ledger()
    for run in ledger.runs():
        jobs = ledger.jobs_of(run.id)
        entries += [(job.created_at or run.created_at, run, job) for job in jobs if job.batch is not None]
        created = sum(job.requests for job in jobs if job.batch is not None)
        # What was resent counts twice, so that the sum says nothing of a run of several jobs.
        may_have_more = created < run.requests or len(jobs) > 1
        if run.forgotten_at is None and run.requests_known and may_have_more:
            entries.append((run.created_at, run, None))
    return entries


def _unsent(session: Session, run: Run) -> JobStatus | None:
    """The requests of a run that were never sent; None where there are none, or where the run cannot be read."""
    try:
        facts = run_facts(session, run)
    except StateError as error:  # it costs its own rest only, and not the list
        session.emit(Notice(f"{run.id}: {error.message}", "warning", error.next))
        return None
    jobs = [job for job in facts.jobs if job.batch is None]
    in_doubt = sum(job.requests for job in jobs if job.stage is JobStage.INTENDED)
    count = facts.unsent + in_doubt
    if facts.lost and facts.state is RunState.NOT_CREATED:  # which requests are left is not known, but none was sent
        count = run.requests
    return not_created(session, run, jobs, count) if count else None


def _at_length(session: Session, run: Run, job: Job | None, one: JobStatus) -> JobStatus:
    """An entry with the size of its run's folder, and with what it cost and may have cost, if it is collected."""
    folder = session.state_folder.run(run.id)
    usd = possibly_paid = None
    if job is not None and job.stage is JobStage.COLLECTED and folder.row_database.exists():
        try:
            with folder.rows() as rows:
                unanswered = max(0, job.requests - rows.answered_in(job.ordinal)) + job.doubtful
                possibly_paid = at_most([(unanswered, job.possible)])
                usd = Meter(run, [job], session.prices).money(rows.usage(LONG_PROMPT, job=job.ordinal))
        except StateError as error:  # as above
            session.emit(Notice(f"{run.id}: {error.message}", "warning", error.next))
    return msgspec.structs.replace(one, size=folder.size(), usd=usd, possibly_paid=possibly_paid)


def _seconds(created: str | None) -> float:
    return 0.0 if created is None else dt.datetime.fromisoformat(created).timestamp()


async def _one(session: Session, run: Run, job: Job, *, refresh: bool) -> JobStatus:
    target = KnownJob(run, job, session.settings.offline)
    seen = None
    if refresh and job.stage is JobStage.CREATED and job.key_fingerprint == session.key_fingerprint():
        try:
            session.check_bound(target)
            seen = (await poll_job(session, target)).job
        except (ServiceError, UsageError) as error:  # one that lives at another address ends nothing
            session.emit(Notice(f"{job.batch}: {error.message}", "warning"))
    return describe(session, target, seen, usual=False)


async def unknown(session: Session) -> list[JobStatus]:
    """The jobs in the service's list that are not in the ledger."""
    backend = await session.backend()
    # And, as they come, those that stand on two pages.
    known = {job.batch for _, job in session.ledger().jobs()} if session.state_folder.exists() else set()
    found: list[JobStatus] = []
    try:
        async for page in backend.service.listing():
            for operation in page:
                seen = remote_job(operation)
                if seen.name and seen.name not in known:
                    known.add(seen.name)
                    found.append(describe(session, UnknownJob(seen.name), seen, usual=False))
    except ServiceError as error:
        if error.reason_code != "endless_list":
            raise
        session.emit(Notice(error.then("There may be more jobs than these."), "warning"))
    return found
