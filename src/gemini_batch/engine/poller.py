"""Polling: how one job stands at the service, how all living jobs of a run do, and waiting for the end of one.

What always holds: a poll costs a bounded number of calls, however many jobs live; a job that cannot be shown in time is
looked up in the list; absence from the list means nothing; a job is gone only after the service itself has said so, of
that very job, again and again.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
from gemini_batch.report.next_steps import explain_unknown
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from gemini_batch.backend import Service
    from gemini_batch.engine.backoff import PollBackoff
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run
    from gemini_batch.wire import Operation, RemoteJob


#: Seconds that the service is granted for a large inline answer; its own default is 60.
_INLINE_SERVER_TIMEOUT = 600


@dataclass(frozen=True, slots=True)
class Seen:
    """A job as the service showed it. ``listed``: in its list only, which leaves inline answers out."""

    operation: Operation
    job: RemoteJob
    listed: bool = False


# One job -------------------------------------------------------------------------------------------------------------


async def poll_job(session: Session, target: KnownJob | UnknownJob, *, with_answers: bool = False) -> Seen:
    """Ask for one job once, and write what it is into the ledger if it is known there.

    A job that holds gigabytes of inline answers has been seen to answer 503 after a minute, every time. The list leaves
    answers out and stays quick, so the job is taken from there; ``with_answers`` asks for the job itself once more and
    grants the service more time. Raises ServiceError; a job that is absent is an ApiError with what to do next.
    """
    service = (await session.backend()).service
    listed = False
    try:
        operation = await _shown(service, target.name)
    except ServiceError as error:
        if meaning(error) is not Trouble.PASSING:
            raise _explained(session, target, error) from error.__cause__
        if with_answers:
            session.emit(Notice("The service needs long for this job; asking again with more time."))
            operation = await _shown(service, target.name, server_timeout=_INLINE_SERVER_TIMEOUT)
        else:
            found = await _find_in_list(service, target.name)
            if found is None:
                raise
            operation, listed = found, True
    job = remote_job(operation)
    if isinstance(target, KnownJob):
        session.ledger().seen(target.job, job, at=session.world.now())
    return Seen(operation, job, listed)


async def _shown(service: Service, name: str, *, server_timeout: int | None = None) -> Operation:
    """The job of that name. Raises ServiceError, also where the answer is another job."""
    operation = await service.get(name, server_timeout=server_timeout)
    if operation.name not in {name, ""}:
        raise ServiceError(
            f"The service was asked for {name} and answered with {operation.name}.",
            code="unreadable_answer",
            next="Nothing of that answer was used. Run the same command again later.",
        )
    return operation


def _explained(session: Session, target: KnownJob | UnknownJob, error: ServiceError) -> ServiceError:
    if not isinstance(error, ApiError):
        return error
    return explain_unknown(session, target, session.explain_absence(error, target))


async def _find_in_list(service: Service, name: str) -> Operation | None:
    """The job as the list shows it; None where it does not, or cannot be read."""
    try:
        found = [operation async for operation in _read_list(service, [name])]
    except ServiceError:
        return None
    return found[0] if found else None


async def _read_list(
    service: Service, names: Iterable[str], *, most_pages: float = math.inf
) -> AsyncIterator[Operation]:
    """The jobs of these names that the list shows; it is read until all were found, or ``most_pages``."""
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
    """Seconds since a job's end: by the service, else by the ledger; at least those ``watched`` by this process."""
    known = session.ledger().job(target.job.id).ended_at if isinstance(target, KnownJob) else None
    ended = job.end_time or known
    return watched if ended is None else max(watched, session.world.now() - ended)


async def wait(session: Session, target: KnownJob | UnknownJob, backoff: PollBackoff) -> RemoteJob:
    """Poll a job until it has ended and its output is there or, by ``output_of``, not waited for any more.

    Returns what was seen last. Failures that pass are waited out for an hour. Raises ServiceError.
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
            session.emit(Notice(f"{error.message} Still waiting.", "warning"))
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

#: Living jobs up to this number are asked for one by one; more are found in the list, which has 100 a page.
ONE_BY_ONE = 4
#: Pages of the list that one poll reads at most, and jobs asked for by themselves because the list did not show them.
MOST_PAGES, MOST_GETS = 5, 5


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll has found besides what it wrote down.

    ``gone``: jobs that the service certainly no longer has. ``given_up``: jobs that could not be seen for hours, each
    with the last error.
    """

    gone: list[Job]
    given_up: list[tuple[Job, ServiceError]]


class Poller:
    """Polls the living jobs of one run; ``due`` is when it does so next, by the monotonic clock."""

    def __init__(self, session: Session, service: Service, run: Run, backoff: PollBackoff) -> None:
        self._session, self._service, self._run, self._backoff = session, service, run, backoff
        self._ledger, self._clock = session.ledger(), session.world.monotonic
        self.due = -math.inf
        self._disappearances: dict[str, Disappearance] = {}
        self._failures: dict[str, Backoff] = {}
        self._said = ""

    def soon(self) -> None:
        """There is a new job: poll at once, and then ever less often again."""
        self.due = -math.inf
        self._backoff.restart(self._clock())

    async def poll(self, jobs: list[Job]) -> Polled:
        """Poll living jobs and write down what they are: one by one if they are few, else through the list.

        A problem with one job does not hold back the others. Raises ServiceError where the key is refused.
        """
        asked = {job.id for job in jobs}
        few = len(jobs) <= ONE_BY_ONE
        unseen = jobs if few else await self._through_list(jobs)
        # Those that have gone unseen for longest come first, and the same one is not asked for before the others were.
        unseen = sorted(unseen, key=lambda job: (self._times(job), job.seen_at or 0.0))
        failed: dict[str, tuple[Job, ServiceError]] = {}
        for job in unseen[: max(MOST_GETS, ONE_BY_ONE)]:
            try:
                await self._one(job)
            except ServiceError as error:
                failed[job.id] = job, error
        if few and any(meaning(error) is Trouble.PASSING for _, error in failed.values()):
            # One list for all that could not be shown in time, where `poll_job` reads one for each.
            left = {job.id for job in await self._through_list([job for job, _ in failed.values()])}
            failed = {job: trouble for job, trouble in failed.items() if job in left}
        given_up = [(job, error) for job, error in failed.values() if self._has_failed_for_hours(job, error)]
        now = self._clock()
        self.due = now + self._backoff.pause(now) * self._session.world.uniform(0.9, 1.1)
        self._disappearances = {job: one for job, one in self._disappearances.items() if job in asked}
        gone = [job for job in jobs if job.id in self._disappearances and self._disappearances[job.id].is_certain(now)]
        return Polled(gone, given_up)

    async def poll_others(self) -> None:
        """Poll jobs of other runs, which take room by the ledger and may have ended since someone last asked.

        One bounded reading of the list; what cannot be seen now is seen another time.
        """
        living = self._ledger.living_jobs(self._run.key_fingerprint)
        with contextlib.suppress(ServiceError):
            await self._see_listed([job for job in living if job.run != self._run.id])

    async def _through_list(self, jobs: list[Job]) -> list[Job]:
        """Look for jobs in the list; returns those that it did not show. One that cannot be read shows none."""
        shown: set[str] = set()
        try:
            await self._see_listed(jobs, shown)
        except ServiceError as error:
            self._say(error)
        return [job for job in jobs if job.id not in shown]

    async def _see_listed(self, jobs: list[Job], shown: set[str] | None = None) -> None:
        """Write down what the list shows of these jobs, and add their ids to ``shown``."""
        by_name = {job.batch: job for job in jobs if job.batch is not None}
        async for operation in _read_list(self._service, by_name, most_pages=MOST_PAGES):
            job = by_name[operation.name]
            self._saw(job, operation)
            if shown is not None:
                shown.add(job.id)

    async def _one(self, job: Job) -> None:
        target = KnownJob(self._run, job)
        try:
            operation = await _shown(self._service, target.name)
        except ApiError as error:
            if meaning(error) is Trouble.ABSENT:
                self._absent(job)
                return
            raise self._session.explain_absence(error, target) from error
        self._saw(job, operation)

    def _saw(self, job: Job, operation: Operation) -> None:
        self._disappearances.pop(job.id, None)
        self._failures.pop(job.id, None)
        self._ledger.seen(job, remote_job(operation), at=self._session.world.now())

    def _absent(self, job: Job) -> None:
        if job.id not in self._disappearances:
            self._disappearances[job.id] = Disappearance(self._clock())
            self._session.emit(Notice(f"The service does not find {job.batch}; it is asked again.", "warning"))
        self._disappearances[job.id].said()

    def _has_failed_for_hours(self, job: Job, error: ServiceError) -> bool:
        """Whether to give a job up for now: nothing of it can be seen for hours. Raises where the key is refused."""
        if meaning(error) is Trouble.KEY:
            raise error
        failures = self._failures.setdefault(job.id, Backoff())
        failures.failed(self._clock())
        self._say(error)
        return failures.is_over(self._clock())

    def _say(self, error: ServiceError) -> None:
        if error.message != self._said:
            self._said = error.message
            self._session.emit(Notice(f"{error.message} Still waiting.", "warning"))

    def _times(self, job: Job) -> int:
        disappearance, failures = self._disappearances.get(job.id), self._failures.get(job.id)
        return (disappearance.times if disappearance else 0) + (failures.tries if failures else 0)
