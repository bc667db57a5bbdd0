"""Watching: a run's living jobs are looked at with few calls, patiently, and one that is gone is found to be gone.

What always holds: a look costs a bounded number of calls, however many jobs live; absence from the list means nothing;
a job is gone only after the service has said so itself, of that very job, again and again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.engine.backoff import Backoff, Disappearance, is_absence
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.events import JobSeen, Notice
from gemini_batch.report.next_steps import explain_unknown
from gemini_batch.session import KnownJob, UnknownJob
from gemini_batch.wire import Phase, RemoteJob, remote_job

if TYPE_CHECKING:
    from gemini_batch.backend import Service
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run
    from gemini_batch.wire import Operation


_POLL_FIRST, _POLL_GROWTH, _POLL_MOST, _POLL_LATE = 1.0, 1.5, 60.0, 300.0


def poll_wait(polls: int, waited: float, *, fixed: float | None) -> float:
    """Seconds until the next look at a living job: 1 s growing by half to 60 s, and 300 s after an hour."""
    if fixed is not None:
        return fixed
    if waited >= 3600.0:
        return _POLL_LATE
    # The exponent is bounded: the wait has long reached its ceiling by then.
    return min(_POLL_MOST, _POLL_FIRST * _POLL_GROWTH ** min(polls, 20))


#: Living jobs up to this number are asked for one by one; more are found in the list, which has 100 a page.
ONE_BY_ONE = 4
#: Pages of the list that one look reads at most, and jobs asked for by themselves because the list did not show them.
MOST_PAGES, MOST_GETS = 5, 5
_OFFLINE_LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Polled:
    """What a look has found besides what it wrote down: jobs that are gone, and those that nothing can be seen of."""

    gone: list[Job]
    hopeless: list[tuple[Job, ServiceError]]


class Poller:
    """Looks at the living jobs of one run; ``due`` is when the next look is."""

    def __init__(self, session: Session, service: Service, run: Run) -> None:
        self._session, self._service, self._run = session, service, run
        self._ledger, self._now = session.ledger(), session.world.now
        self.due = 0.0
        self._pause = 0.0
        self._since = self._now()
        self._looks = 0
        self._disappearances: dict[str, Disappearance] = {}
        self._troubles: dict[str, Backoff] = {}
        self._said = ""

    def soon(self) -> None:
        """There is a new job: look at once, and then ever less often again."""
        self._looks, self.due, self._since = 0, self._now(), self._now()

    def mind_the_clock(self) -> None:
        """A clock that was set back: the next look is no further away than it may be."""
        now = self._now()
        self.due = min(self.due, now + self._pause)
        self._since = min(self._since, now)

    async def look(self, jobs: list[Job]) -> Polled:
        """Look at living jobs and write down what they are: one by one if they are few, else through the list.

        Trouble with one of them does not keep the others from being seen. Raises ServiceError where the key is refused.
        """
        before = {job.id for job in jobs}
        unseen = jobs if len(jobs) <= ONE_BY_ONE else await self._through_list(jobs)
        # Those that have gone unseen for longest come first, and the same one is not asked for before the others were.
        unseen = sorted(unseen, key=lambda job: (self._times(job), job.seen_at or 0.0))
        failed: dict[str, tuple[Job, ServiceError]] = {}
        for job in unseen[: max(MOST_GETS, ONE_BY_ONE)]:
            try:
                await self._one(job)
            except ServiceError as error:
                failed[job.id] = job, error
        if len(jobs) <= ONE_BY_ONE and any(_took_too_long(error) for _, error in failed.values()):
            # A job with gigabytes of inline answers cannot be shown in time; the list, which leaves them out, can be.
            left = {job.id for job in await self._through_list([job for job, _ in failed.values()])}
            failed = {job: trouble for job, trouble in failed.items() if job in left}
        hopeless = [(job, error) for job, error in failed.values() if self._trouble(job, error)]
        fixed = self._session.settings.poll
        if fixed is None and self._session.settings.offline:
            fixed = _OFFLINE_LOOK
        pause = poll_wait(self._looks, self._now() - self._since, fixed=fixed)
        self._pause = pause * self._session.world.uniform(0.9, 1.1)
        self._looks += 1
        self.due = self._now() + self._pause
        self._disappearances = {
            job: disappearance for job, disappearance in self._disappearances.items() if job in before
        }
        now = self._now()
        gone = [job for job in jobs if job.id in self._disappearances and self._disappearances[job.id].is_certain(now)]
        return Polled(gone, hopeless)

    async def poll_others(self) -> None:
        """Look at jobs of other runs, which take room by the books and may have ended since somebody last looked.

        One bounded reading of the list; what cannot be seen now is seen another time.
        """
        others = {
            job.batch: job for job in self._ledger.living_jobs(self._run.key_fingerprint) if job.run != self._run.id
        }
        with contextlib.suppress(ServiceError):
            await self._read_list(others)

    async def _through_list(self, jobs: list[Job]) -> list[Job]:
        """Look through the list; returns the jobs that it did not show. One that cannot be read shows none."""
        wanted = {job.batch: job for job in jobs}
        try:
            await self._read_list(wanted)
        except ServiceError as error:
            self._say(error)
        return list(wanted.values())

    async def _read_list(self, wanted: dict[str | None, Job]) -> None:
        """Write down what the list shows, and take it out of ``wanted``."""
        pages = 0
        async for page in self._service.listing():
            pages += 1
            for operation in page:
                job = wanted.pop(operation.name, None)
                if job is not None:
                    self._saw(job, operation)
            if not wanted or pages >= MOST_PAGES:
                break

    async def _one(self, job: Job) -> None:
        assert job.batch is not None
        try:
            operation = await self._service.get(job.batch)
        except ApiError as error:
            if error.status == 404 and is_absence(error):
                self._absent(job)
                return
            raise self._session.explain_absence(error, KnownJob(self._run, job)) from error
        self._saw(job, operation)

    def _saw(self, job: Job, operation: Operation) -> None:
        self._disappearances.pop(job.id, None)
        self._troubles.pop(job.id, None)
        self._ledger.seen(job, remote_job(operation), at=self._now())

    def _absent(self, job: Job) -> None:
        if job.id not in self._disappearances:
            self._disappearances[job.id] = Disappearance(self._now())
            self._session.emit(Notice(f"The service does not find {job.batch}; it is asked again.", "warning"))
        self._disappearances[job.id].said(self._now())

    def _trouble(self, job: Job, error: ServiceError) -> bool:
        """Whether to give a job up for now: nothing of it can be seen for hours. Raises where the key is refused."""
        if error.reason_code == "api_key_refused":
            raise error
        backoff = self._troubles.setdefault(job.id, Backoff())
        backoff.failed(self._now())
        self._say(error)
        return backoff.is_over(self._now())

    def _say(self, error: ServiceError) -> None:
        if error.message != self._said:
            self._said = error.message
            self._session.emit(Notice(f"{error.message} Still waiting.", "warning"))

    def _times(self, job: Job) -> int:
        disappearance, backoff = self._disappearances.get(job.id), self._troubles.get(job.id)
        return (disappearance.times if disappearance else 0) + (backoff.tries if backoff else 0)


def _took_too_long(error: ServiceError) -> bool:
    if isinstance(error, NetworkError):
        return error.sent
    return isinstance(error, ApiError) and error.status in {503, 504}


#: A job that is known here and suddenly unknown there has been seen to be back a moment later.
_ABSENCES = 3
#: Waiting goes on through failures of the service for so many seconds without one good answer.
_PATIENCE = 3600.0
#: Jobs have been seen as SUCCEEDED before their output was there.
_OUTPUT_PATIENCE = 600.0
#: Offline a job moves on only while it is asked for, so that long waits between two looks would only make it late.
_OFFLINE_POLL = 0.25


async def observe(session: Session, target: KnownJob | UnknownJob) -> RemoteJob:
    """Ask the service for a job once, and write what it says into the ledger if the job is known there."""
    batch = target.name
    backend = await session.backend()
    try:
        remote = remote_job(await backend.service.get(batch))
    except (ApiError, NetworkError) as error:
        listed = await _listed(backend.service, batch, error)
        if listed is None:
            if isinstance(error, NetworkError):
                raise
            raise explain_unknown(session, target, session.explain_absence(error, target)) from error
        remote = listed
    if isinstance(target, KnownJob):
        session.ledger().seen(target.job, remote, at=session.world.now())
    return remote


async def _listed(service: Service, batch: str, error: ApiError | NetworkError) -> RemoteJob | None:
    """How a job stands by the list, where the service cannot show the job itself in time; None where that is no help.

    A job that holds gigabytes of inline answers has been seen to answer 503 after a minute, every time, while the
    list, which leaves answers out, stays quick.
    """
    if not (error.sent if isinstance(error, NetworkError) else error.status in {503, 504}):
        return None
    try:
        async for page in service.listing():
            for operation in page:
                if operation.name == batch:
                    return remote_job(operation)
    except ServiceError:
        return None
    return None


async def wait(session: Session, target: KnownJob | UnknownJob) -> RemoteJob:
    """Poll a job until it has ended and its output is there; returns what was seen last. Raises ServiceError."""
    now = session.world.now
    began = last_good = now()
    ended_at: float | None = None
    polls = absences = 0
    fixed = session.settings.poll
    if fixed is None and session.settings.offline:
        fixed = _OFFLINE_POLL
    while True:
        remote: RemoteJob | None = None
        try:
            remote = await observe(session, target)
            last_good, absences = now(), 0
        except ServiceError as error:
            absences += isinstance(error, ApiError) and error.status == 404
            if not _worth_waiting(error, absences, known=isinstance(target, KnownJob)) or now() - last_good > _PATIENCE:
                raise
            session.emit(Notice(f"{error.message} Still waiting.", "warning"))
        if remote is not None and remote.phase.ended:
            ended_at = ended_at if ended_at is not None else now()
            complete = remote.has_output or remote.phase is not Phase.SUCCEEDED
            if complete or now() - ended_at > _OUTPUT_PATIENCE:
                return remote
        waited = now() - began
        pause = poll_wait(polls, waited, fixed=fixed)
        polls += 1
        if remote is not None:
            session.emit(JobSeen(remote, waited, pause))
        await session.world.sleep(pause * session.world.uniform(0.9, 1.1))


def _worth_waiting(error: ServiceError, absences: int, *, known: bool) -> bool:
    if isinstance(error, NetworkError):
        return True
    if isinstance(error, ApiError):
        if error.status == 404:
            return known and absences < _ABSENCES and error.reason_code != "other_key"
        return error.status in {408, 429} or error.status >= 500
    # Something between here and the service has answered in its place, or has cut its answer short.
    return error.reason_code == "unreadable_answer"
