"""Polls one job, polls all active jobs of a run, and waits for the end of one job.

What always holds: a poll costs a bounded number of calls, however many jobs are alive; a job that the service cannot
return in time is looked up in the list; absence from the list means nothing; a job is gone only after the service
itself has repeatedly said so of that very job.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.api.error_answers import discarded
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.engine.backoff import (
    ABSENT_TIMES,
    WAIT_SECONDS,
    Backoff,
    Disappearance,
    Output,
    output_of,
)
from gemini_batch.errors import ApiError, ServiceError
from gemini_batch.events import JobSeen, Notice
from gemini_batch.report.money import is_another
from gemini_batch.report.next_steps import explain_unknown
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.store.ledger.records import CALLS
from gemini_batch.wire import contradiction, remote_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from gemini_batch.backend import Service
    from gemini_batch.engine.backoff import PollBackoff
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.wire import Operation, RemoteJob


#: Seconds that the service may take for a large inline answer; its own default is 60.
_INLINE_SERVER_TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the service returned it. ``listed``: only from its list, which omits inline answers."""

    operation: Operation
    job: RemoteJob
    listed: bool = False


# One job -------------------------------------------------------------------------------------------------------------


async def poll_job(session: Session, target: KnownJob | UnknownJob, *, with_answers: bool = False) -> Seen:
    """Poll one job once, and record its state in the ledger if it is known there.

    A job that holds gigabytes of inline answers was observed to answer 503 after a minute, every time. The list omits
    answers and stays fast, so the job is taken from there; ``with_answers`` then asks for the job itself again and
    allows the service more time. Raises ServiceError; for an absent job, an ApiError that says what to do next.
    """
    service = (await session.backend()).service
    known = target.job if isinstance(target, KnownJob) else None
    listed = False
    try:
        operation = await _ask_explained(session, target)
    except ServiceError as error:
        if meaning(error) is not Trouble.PASSING:
            raise
        if with_answers:
            session.emit(Notice("The service timed out on this job; polling again with a longer timeout."))
            operation = await _ask_explained(session, target, server_timeout=_INLINE_SERVER_TIMEOUT)
        else:
            found = await _find_in_list(service, target.name)
            if found is None or (known is not None and _contradiction(known, remote_job(found)) is not None):
                raise
            operation, listed = found, True
    job = remote_job(operation)
    if known is not None:
        record_seen(session, known, job)
    return Seen(operation, job, listed)


def record_seen(session: Session, job: Job, remote: RemoteJob) -> Job:
    """Record what the service says of a job; warn, once, if it states another model than the one that was asked.

    The job is ours all the same: it reads our file. Raises StateError.
    """
    if is_another(remote.model, job.model):
        what = f"{job.batch or remote.name} was created for {job.model}, but the service states {remote.model}."
        why = "Answers that name no model count at the price of the stated one; check the answers before you send more."
        session.say_once(Notice(what, "warning", why))
    if job.key_fingerprint != (key := session.key_fingerprint()):
        session.ledger().update_job(job, "seen with another key", at=session.world.now(), key_fingerprint=key)
    return session.ledger().seen(job, remote, at=session.world.now())


async def ask(service: Service, name: str, job: Job | None = None, *, server_timeout: int | None = None) -> Operation:
    """Get the job with that name, which is ``job`` if the ledger knows it.

    Raises ServiceError, also for an answer that contradicts what is known: it is another job's, whatever it says, and
    its answers would be taken for this one's.
    """
    if name.startswith(CALLS):
        raise ApiError(
            f"The service has no job for the calls of {name}; what is not here of their answers is lost.",
            status=404,
            reason="NOT_FOUND",
        )
    operation = await service.get(name, server_timeout=server_timeout)
    remote = remote_job(operation)
    what = f"{remote.name or 'no job'}" if remote.name != name else None
    if what is None and job is not None and (differs := _contradiction(job, remote)) is not None:
        what = f"a job that {differs}"
    if what is not None:
        raise discarded(f"The service was asked for {name} and answered with {what}.")
    return operation


def _contradiction(job: Job, remote: RemoteJob) -> str | None:
    return contradiction(remote, file=job.file if job.input_kind == "file" else None, model=job.model)


async def _ask_explained(
    session: Session, target: KnownJob | UnknownJob, *, server_timeout: int | None = None
) -> Operation:
    """The same; an absent job is an ApiError that says what to do next."""
    service, known = (await session.backend()).service, target.job if isinstance(target, KnownJob) else None
    try:
        return await ask(service, target.name, known, server_timeout=server_timeout)
    except ApiError as error:
        explained = explain_unknown(session, target, session.explain_absence(error, target))
        if explained is error:
            raise
        raise explained from error


async def _find_in_list(service: Service, name: str) -> Operation | None:
    """The job as the list shows it; None if it is not listed, or the list cannot be read."""
    try:
        found = [operation async for operation in _read_list(service, [name])]
    except ServiceError:
        return None
    return found[0] if found else None


async def _read_list(
    service: Service, names: Iterable[str], *, most_pages: float = math.inf
) -> AsyncIterator[Operation]:
    """The jobs with these names in the list; it is read until all are found, or for ``most_pages``."""
    left, pages = set(names), 0
    async for page in service.listing():
        pages += 1
        for operation in page:
            if operation.name in left:
                left.remove(operation.name)
                yield operation
        if not left or pages >= most_pages:
            return


def ended_for(session: Session, target: KnownJob | UnknownJob, job: RemoteJob, watched: float) -> float:
    """Seconds since a job's end, by the service or else the ledger; at least as long as this process ``watched``."""
    known = session.ledger().job(target.job.id).ended_at if isinstance(target, KnownJob) else None
    ended = job.end_time or known
    return watched if ended is None else max(watched, session.world.now() - ended)


async def wait(session: Session, target: KnownJob | UnknownJob, backoff: PollBackoff) -> RemoteJob:
    """Poll a job until it has ended and its output is available or, by ``output_of``, no longer expected.

    Returns the last state seen. Temporary failures are tolerated for an hour. Raises ServiceError.
    """
    clock = session.world.monotonic
    failures = Backoff(seconds=WAIT_SECONDS, tries=1)
    failures.worked(clock())
    absence: Disappearance | None = None
    ended_at: float | None = None
    while True:
        seen: Seen | None = None
        try:
            seen = await poll_job(session, target)
        except ServiceError as error:
            trouble, now = meaning(error), clock()
            failures.failed(now)
            if trouble is Trouble.ABSENT:
                times = ABSENT_TIMES if isinstance(target, KnownJob) else 1
                absence = absence or Disappearance(now, times=times, seconds=0.0)
                absence.said()
            gone = absence is not None and absence.is_certain(now)
            if gone or not trouble.passes or failures.is_over(now):
                raise
            session.emit(Notice(error.then("Still waiting."), "warning"))
        else:
            failures.worked(clock())
            absence = None
            if seen.job.phase.ended:
                ended_at = clock() if ended_at is None else ended_at
                since = ended_for(session, target, seen.job, clock() - ended_at)
                if seen.listed or output_of(seen.operation, since) is not Output.LATE:
                    return seen.job
        waited = backoff.waited(clock())
        pause = backoff.pause(clock())
        if seen is not None:
            session.emit(JobSeen(seen.job, waited, pause))
        await session.world.sleep(pause * session.world.uniform(0.9, 1.1))


# The jobs of a run ---------------------------------------------------------------------------------------------------

#: Up to this many active jobs are polled one by one; more are read from the list, which has 100 jobs on a page.
ONE_BY_ONE = 4
#: Seconds between two polls, whatever is announced.
HASTE = 1.0
#: The most pages of the list that one poll reads, and the most jobs it asks for because the list did not show them.
MOST_PAGES, MOST_GETS = 5, 5


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll found, apart from what it recorded.

    ``gone``: jobs that the service certainly no longer has. ``given_up``: jobs that could not be polled for hours, each
    with the last error.
    """

    gone: list[Job]
    given_up: list[tuple[Job, ServiceError]]


class Poller:
    """Polls the active jobs of one run, or of several (``run`` None).

    ``due`` is the time of the next poll, by the monotonic clock.
    """

    def __init__(self, session: Session, service: Service, run: Run | None, backoff: PollBackoff) -> None:
        self._session, self._service, self._run, self._backoff = session, service, run, backoff
        self._ledger, self._clock = session.ledger(), session.world.monotonic
        self.due = -math.inf
        self._polled_at = -math.inf
        self._disappearances: dict[str, Disappearance] = {}
        self._failures: dict[str, Backoff] = {}
        self._said = ""

    def soon(self) -> None:
        """Poll at once, because there is a new job, and then back off again."""
        self.due = -math.inf
        self._backoff.restart(self._clock())

    def hasten(self) -> None:
        """Poll at once, because the service announced the end of a job, and then back off again.

        Announcements, however many, cause no more than one poll in a second.
        """
        self.due = min(self.due, self._polled_at + HASTE)
        self._backoff.restart(self._clock())

    async def poll(self, jobs: list[Job]) -> Polled:
        """Poll active jobs and record their states: one by one if there are few, else through the list.

        A problem with one job does not hold back the others. Raises ServiceError if the key is refused.
        """
        asked = {job.id for job in jobs}
        few = len(jobs) <= ONE_BY_ONE
        unseen = jobs if few else await self._through_list(jobs)
        # The jobs not seen for longest come first, and none is asked for twice before the others were.
        unseen = sorted(unseen, key=lambda job: (self._times(job), job.seen_at or 0.0))
        failed: dict[str, tuple[Job, ServiceError]] = {}
        for job in unseen[: max(MOST_GETS, ONE_BY_ONE)]:
            try:
                await self._one(job)
            except ServiceError as error:
                failed[job.id] = job, error
        if few and any(meaning(error) is Trouble.PASSING for _, error in failed.values()):
            # One reading of the list serves all jobs that timed out; `poll_job` reads it for each.
            left = {job.id for job in await self._through_list([job for job, _ in failed.values()])}
            failed = {job: trouble for job, trouble in failed.items() if job in left}
        given_up = [(job, error) for job, error in failed.values() if self._failed(job, error)]
        now = self._polled_at = self._clock()
        self.due = now + self._backoff.pause(now) * self._session.world.uniform(0.9, 1.1)
        self._disappearances = {job: one for job, one in self._disappearances.items() if job in asked}
        gone = [job for job in jobs if job.id in self._disappearances and self._disappearances[job.id].is_certain(now)]
        return Polled(gone, given_up)

    async def poll_others(self) -> None:
        """Poll jobs of other runs, which the ledger still counts in the queue and which may have ended since.

        One bounded reading of the list; a job that it does not show is left for the next poll.
        """
        living = self._ledger.living_jobs(self._session.key_fingerprint())
        with contextlib.suppress(ServiceError):
            await self._see_listed([job for job in living if self._run is None or job.run != self._run.id])

    async def _through_list(self, jobs: list[Job]) -> list[Job]:
        """Search the list for jobs; returns those that it did not show. A list that cannot be read shows none."""
        shown: set[str] = set()
        try:
            await self._see_listed(jobs, shown)
        except ServiceError as error:
            self._say(error)
        return [job for job in jobs if job.id not in shown]

    async def _see_listed(self, jobs: list[Job], shown: set[str] | None = None) -> None:
        """Record what the list shows of these jobs, and add their ids to ``shown``."""
        by_name = {job.batch: job for job in jobs if job.batch is not None}
        async for operation in _read_list(self._service, by_name, most_pages=MOST_PAGES):
            job = by_name[operation.name]
            if _contradiction(job, remote_job(operation)) is not None:
                continue  # another job under this name: this one is asked for as if it were not listed
            self._saw(job, operation)
            if shown is not None:
                shown.add(job.id)

    async def _one(self, job: Job) -> None:
        target = KnownJob(self._run or self._ledger.run_of(job), job)
        try:
            operation = await ask(self._service, target.name, job)
        except ApiError as error:
            if meaning(error) is Trouble.ABSENT:
                self._absent(job)
                return
            raise self._session.explain_absence(error, target) from error
        self._saw(job, operation)

    def _saw(self, job: Job, operation: Operation) -> None:
        self._disappearances.pop(job.id, None)
        self._failures.pop(job.id, None)
        record_seen(self._session, job, remote_job(operation))

    def _absent(self, job: Job) -> None:
        if job.id not in self._disappearances:
            self._disappearances[job.id] = Disappearance(self._clock())
            self._session.emit(Notice(f"The service cannot find {job.batch}; asking again.", "warning"))
        self._disappearances[job.id].said()

    def _failed(self, job: Job, error: ServiceError) -> bool:
        """Count one more failure; returns whether to stop polling the job for now, after hours of failures.

        Raises ``error`` if the key is refused.
        """
        if meaning(error) is Trouble.KEY:
            raise error
        failures = self._failures.setdefault(job.id, Backoff())
        failures.failed(self._clock())
        self._say(error)
        return failures.is_over(self._clock())

    def _say(self, error: ServiceError) -> None:
        if error.message != self._said:
            self._said = error.message
            self._session.emit(Notice(error.then("Still waiting."), "warning"))

    def _times(self, job: Job) -> int:
        disappearance, failures = self._disappearances.get(job.id), self._failures.get(job.id)
        return (disappearance.times if disappearance else 0) + (failures.tries if failures else 0)
