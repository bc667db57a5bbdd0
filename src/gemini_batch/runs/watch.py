"""Watching: a run's living jobs are looked at with few calls, patiently, and one that is gone is found to be gone.

What always holds: a look costs a bounded number of calls, however many jobs live; absence from the list means nothing;
a job is gone only after the service has said so itself, of that very job, again and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.runs.decide import poll_wait
from gemini_batch.runs.events import Said
from gemini_batch.runs.patience import Patience
from gemini_batch.runs.session import Target
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.backend import Service
    from gemini_batch.runs.home import Home
    from gemini_batch.runs.records import Job, Run
    from gemini_batch.runs.session import Session
    from gemini_batch.wire import Operation

#: Living jobs up to this number are asked for one by one; more are found in the list, which has 100 a page.
ONE_BY_ONE = 4
#: Pages of the list that one look reads at most, and jobs asked for by themselves because the list did not show them.
MOST_PAGES, MOST_GETS = 5, 5
#: A job is gone after so many answers of 404, over so many seconds: right after its create it may not be found yet.
GONE_AFTER, GONE_SECONDS = 5, 900.0
_OFFLINE_LOOK = 0.25


@dataclass(slots=True)
class _Absence:
    since: float
    times: int


class Watch:
    """Looks at the living jobs of one run; ``due`` is when the next look is."""

    def __init__(
        self, session: Session, service: Service, home: Home, run: Run, passes: Callable[[ServiceError], bool]
    ) -> None:
        self._session, self._service, self._home, self._run, self._passes = session, service, home, run, passes
        self._ledger, self._now = session.ledger(home), session.world.now
        self.due = 0.0
        self._pause = 0.0
        self._since = self._now()
        self._looks = 0
        self._troubles = Patience()
        self._absences: dict[str, _Absence] = {}

    def soon(self) -> None:
        """There is a new job: look at once, and then ever less often again."""
        self._looks, self.due = 0, self._now()

    def mind_the_clock(self) -> None:
        """A clock that was set back: the next look is no further away than it may be."""
        now = self._now()
        self.due = min(self.due, now + self._pause)
        self._since = min(self._since, now)
        for absence in self._absences.values():
            absence.since = min(absence.since, now)

    async def look(self, jobs: list[Job]) -> list[Job]:
        """Look at living jobs and write down what they are; returns those that the service no longer has.

        One by one if they are few, else through the list. Raises ServiceError where the service refuses for good or
        has been away for longer than is reasonable.
        """
        try:
            if len(jobs) <= ONE_BY_ONE:
                await self._each(jobs)
            else:
                await self._through_list({job.batch: job for job in jobs if job.batch})
            self._troubles = Patience()
        except ServiceError as error:
            if not self._passes(error):
                raise
            self._troubles.failed(self._now())
            if self._troubles.is_over(self._now()):
                raise
            self._session.tell(Said(f"{error.message} Still waiting.", "warning"))
        fixed = self._session.settings.poll
        if fixed is None and self._session.settings.offline:
            fixed = _OFFLINE_LOOK
        pause = poll_wait(self._looks, self._now() - self._since, fixed=fixed)
        self._pause = pause * self._session.world.uniform(0.9, 1.1)
        self._looks += 1
        self.due = self._now() + self._pause
        return [job for job in jobs if self._is_gone(job)]

    async def _each(self, jobs: list[Job]) -> None:
        """Every job is asked for, also where one before it cannot be seen; then the first error is raised."""
        first: ServiceError | None = None
        for job in jobs:
            try:
                await self._one(job)
            except (ApiError, NetworkError) as error:
                first = first or error
        if first is not None:
            raise first

    async def _through_list(self, wanted: dict[str, Job]) -> None:
        left = dict(wanted)
        pages = 0
        async for page in self._service.listing():
            pages += 1
            for operation in page:
                job = left.pop(operation.name, None)
                if job is not None:
                    self._saw(job, operation)
            if not left or pages >= MOST_PAGES:
                break
        # Those that have gone unseen for longest come first, and the same one is not asked for before the others were.
        unseen = sorted(left.values(), key=lambda job: (self._times(job), job.seen_at or 0.0))
        for job in unseen[:MOST_GETS]:
            await self._one(job)

    async def _one(self, job: Job) -> None:
        assert job.batch is not None
        try:
            operation = await self._service.get(job.batch)
        except ApiError as error:
            if error.status == 404:
                self._absent(job)
                return
            raise self._session.explain_absence(error, Target(job.batch, self._home, self._run, job)) from error
        self._saw(job, operation)

    def _saw(self, job: Job, operation: Operation) -> None:
        self._absences.pop(job.id, None)
        self._ledger.seen(job, remote_job(operation), at=self._now())

    def _absent(self, job: Job) -> None:
        if job.id not in self._absences:
            self._absences[job.id] = _Absence(self._now(), 0)
            self._session.tell(Said(f"The service does not find {job.batch}; it is asked again.", "warning"))
        self._absences[job.id].times += 1

    def _times(self, job: Job) -> int:
        absence = self._absences.get(job.id)
        return absence.times if absence else 0

    def _is_gone(self, job: Job) -> bool:
        absence = self._absences.get(job.id)
        return absence is not None and absence.times >= GONE_AFTER and self._now() - absence.since >= GONE_SECONDS
