"""Watching: a run's living jobs are looked at with few calls, patiently, and one that is gone is found to be gone.

What always holds: a look costs a bounded number of calls, however many jobs live; absence from the list means nothing;
a job is gone only after the service has said so itself, of that very job, again and again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.runs.decide import poll_wait
from gemini_batch.runs.events import Said
from gemini_batch.runs.patience import Absence, Patience, is_absence
from gemini_batch.runs.session import Target
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from gemini_batch.backend import Service
    from gemini_batch.runs.home import Home
    from gemini_batch.runs.records import Job, Run
    from gemini_batch.runs.session import Session
    from gemini_batch.wire import Operation

#: Living jobs up to this number are asked for one by one; more are found in the list, which has 100 a page.
ONE_BY_ONE = 4
#: Pages of the list that one look reads at most, and jobs asked for by themselves because the list did not show them.
MOST_PAGES, MOST_GETS = 5, 5
_OFFLINE_LOOK = 0.25


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look has found besides what it wrote down: jobs that are gone, and those that nothing can be seen of."""

    gone: list[Job]
    hopeless: list[tuple[Job, ServiceError]]


class Watch:
    """Looks at the living jobs of one run; ``due`` is when the next look is."""

    def __init__(self, session: Session, service: Service, home: Home, run: Run) -> None:
        self._session, self._service, self._home, self._run = session, service, home, run
        self._ledger, self._now = session.ledger(home), session.world.now
        self.due = 0.0
        self._pause = 0.0
        self._since = self._now()
        self._looks = 0
        self._absences: dict[str, Absence] = {}
        self._troubles: dict[str, Patience] = {}
        self._said = ""

    def soon(self) -> None:
        """There is a new job: look at once, and then ever less often again."""
        self._looks, self.due, self._since = 0, self._now(), self._now()

    def mind_the_clock(self) -> None:
        """A clock that was set back: the next look is no further away than it may be."""
        now = self._now()
        self.due = min(self.due, now + self._pause)
        self._since = min(self._since, now)

    async def look(self, jobs: list[Job]) -> Looked:
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
        self._absences = {job: absence for job, absence in self._absences.items() if job in before}
        now = self._now()
        gone = [job for job in jobs if job.id in self._absences and self._absences[job.id].is_certain(now)]
        return Looked(gone, hopeless)

    async def look_around(self) -> None:
        """Look at jobs of other runs, which take room by the books and may have ended since somebody last looked.

        One bounded reading of the list; what cannot be seen now is seen another time.
        """
        others = {job.batch: job for job in self._ledger.living_jobs(self._run.key_print) if job.run != self._run.id}
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
            raise self._session.explain_absence(error, Target(job.batch, self._home, self._run, job)) from error
        self._saw(job, operation)

    def _saw(self, job: Job, operation: Operation) -> None:
        self._absences.pop(job.id, None)
        self._troubles.pop(job.id, None)
        self._ledger.seen(job, remote_job(operation), at=self._now())

    def _absent(self, job: Job) -> None:
        if job.id not in self._absences:
            self._absences[job.id] = Absence(self._now())
            self._session.tell(Said(f"The service does not find {job.batch}; it is asked again.", "warning"))
        self._absences[job.id].said(self._now())

    def _trouble(self, job: Job, error: ServiceError) -> bool:
        """Whether to give a job up for now: nothing of it can be seen for hours. Raises where the key is refused."""
        if error.reason_code == "api_key_refused":
            raise error
        patience = self._troubles.setdefault(job.id, Patience())
        patience.failed(self._now())
        self._say(error)
        return patience.is_over(self._now())

    def _say(self, error: ServiceError) -> None:
        if error.message != self._said:
            self._said = error.message
            self._session.tell(Said(f"{error.message} Still waiting.", "warning"))

    def _times(self, job: Job) -> int:
        absence, patience = self._absences.get(job.id), self._troubles.get(job.id)
        return (absence.times if absence else 0) + (patience.tries if patience else 0)


def _took_too_long(error: ServiceError) -> bool:
    if isinstance(error, NetworkError):
        return error.sent
    return isinstance(error, ApiError) and error.status in {503, 504}
