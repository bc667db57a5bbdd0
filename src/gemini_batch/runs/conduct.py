"""Conducts a run: asks ``schedule`` what to do, does it beside each other, writes down what came of it, asks again.

What always holds: one process conducts a run (its lock); everything that is decided is decided from what is written
down, so a killed process loses nothing but its place; only creates that were planned here are sent.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

from gemini_batch.errors import ApiError, Error, JobError, NetworkError, NotFinished, ServiceError
from gemini_batch.runs import schedule as s
from gemini_batch.runs.collect import gather_ended, judge_file
from gemini_batch.runs.decide import poll_wait
from gemini_batch.runs.drive import Driver
from gemini_batch.runs.events import Said, Went
from gemini_batch.runs.ledger import Ceiling, Job, Life
from gemini_batch.runs.plan import plan_job, reconcile
from gemini_batch.runs.results import LONG_PROMPT, money
from gemini_batch.runs.session import Target
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from gemini_batch.backend import Service
    from gemini_batch.runs.home import Home
    from gemini_batch.runs.ledger import InputFile, Run
    from gemini_batch.runs.rows import Rows
    from gemini_batch.runs.session import Session

#: Living jobs up to this number are asked for one by one; more are found in the list, which has 100 a page.
ONE_BY_ONE = 4
#: Pages of the list that one look reads at most, and jobs asked for by themselves because the list did not show them.
MOST_PAGES, MOST_GETS = 5, 5
#: A ceiling that was learned is forgotten after a day: tiers grow.
_MEMORY = 86_400.0
#: The service may be away for so long, in seconds, before a run gives up (and can be started again).
_PATIENCE = 6 * 3600.0
_OFFLINE_LOOK = 0.25
#: A job that is older has ended or expired (48 hours), and two hours for clocks that differ.
_LONGEST_LIFE = 50 * 3600.0


class Conductor:
    """Conducts one run to its end. The caller holds the run's lock."""

    def __init__(
        self,
        session: Session,
        service: Service,
        home: Home,
        run: Run,
        *,
        limits: s.Limits,
        attempts: int,
        display_name: str,
        change: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._session, self._service, self._home, self._run = session, service, home, run
        self._ledger, self._folder = session.ledger(home), home.run(run.id)
        self._limits, self._attempts, self._name, self._change = limits, attempts, display_name, change
        self._now, self._tell = session.world.now, session.tell
        self._tasks: dict[asyncio.Task[None], int] = {}
        self._hold_until = 0.0
        self._refusals = 0
        self._store_full = False
        self._troubles = 0
        self._trouble_since: float | None = None
        self._looks = 0
        self._look_at = 0.0
        self._waiting_since = self._now()
        self._unseen: dict[str, int] = {}
        self._counted = -1
        self._verdicts: dict[str, int] = {}
        self._tokens = 0
        self._usd: float | None = None

    async def conduct(self) -> None:
        """Plan, send, watch, collect and send again, until every request has had its attempts.

        Raises ServiceError where the service refuses for good, StateError, and the cancellation of the caller; the
        work that was begun is stopped then, and nothing of it is lost.
        """
        with self._folder.rows() as rows:
            reconcile(self._ledger, rows, self._run)
            try:
                while await self._step(rows):
                    pass
            finally:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _step(self, rows: Rows) -> bool:
        """One round of decisions; False when the run is finished."""
        jobs = tuple(self._ledger.jobs_of(self._run.id))
        facts = s.Facts(
            waiting=rows.waiting(),
            jobs=jobs,
            busy=frozenset(self._tasks.values()),
            queued=self._queued(),
            living=self._living(),
            ceiling=self._ceiling(),
            hold_until=self._hold_until,
            look_at=self._look_at,
        )
        by_ordinal = {job.ordinal: job for job in jobs}
        for action in s.schedule(facts, self._limits, self._now()):
            match action:
                case s.Plan(tokens):
                    self._plan(rows, tokens)
                case s.Make(ordinal):
                    self._start(ordinal, self._make(rows, by_ordinal[ordinal]))
                case s.Collect(ordinal):
                    self._start(ordinal, self._collect(rows, by_ordinal[ordinal]))
                case s.LookAt(ordinals):
                    await self._look([by_ordinal[n] for n in ordinals])
                case s.Wait(until, why):
                    self._report(rows, jobs, why)
                    await self._wait(until)
                case s.Finished():
                    self._report(rows, jobs, "finished")
                    return False
                case never:
                    assert_never(never)
        await self._reap()
        return True

    # Tasks -----------------------------------------------------------------------------------------------------------

    def _start(self, ordinal: int, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[asyncio.ensure_future(work)] = ordinal

    async def _reap(self) -> None:
        """Take finished tasks away; the first error among them is raised."""
        await asyncio.sleep(0)
        for task in [task for task in self._tasks if task.done()]:
            del self._tasks[task]
            task.result()

    async def _wait(self, until: float) -> None:
        """Until then, or until something that is being done ends."""
        pause = asyncio.ensure_future(self._session.world.sleep(max(0.0, until - self._now())))
        try:
            await asyncio.wait({pause, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()
            await asyncio.gather(pause, return_exceptions=True)

    # Planning and making ---------------------------------------------------------------------------------------------

    def _plan(self, rows: Rows, tokens: int | None) -> None:
        plan_job(
            self._ledger,
            rows,
            self._folder,
            self._run,
            self._limits,
            tokens=tokens,
            display_name=self._name,
            at=self._now(),
            change=self._change,
        )

    async def _make(self, rows: Rows, job: Job) -> None:
        driver = Driver(self._session, self._service, self._ledger, self._run, self._folder)
        # Asked before the upload: jobs that end meanwhile are still in the books, and would make an accepted sum look
        # larger than it was.
        queued = self._queued()
        if job.life is Life.INTENDED:
            queued = max(0, queued - job.tokens)
        try:
            await driver.make(job)
        except ServiceError as error:
            if error.reason_code in {"over_quota", "storage_full"}:
                await self._refused(rows, self._ledger.job(job.id), queued, error)
            elif _passes(error):
                self._trouble(error)
            else:
                raise
            return
        self._refusals = self._troubles = 0
        self._trouble_since = None
        self._learn(s.learned(self._ceiling(), queued=queued, tokens=job.tokens, accepted=True))
        self._looks, self._look_at = 0, self._now()

    async def _refused(self, rows: Rows, job: Job, queued: int, error: ServiceError) -> None:
        """No room for this job: its requests wait again and are cut smaller, or the store is full and it waits."""
        self._refusals += 1
        pause = s.PAUSES[min(self._refusals, len(s.PAUSES)) - 1]
        living = self._living()
        if error.reason_code == "storage_full":
            self._store_full = True
            freed = await self._free_store()
            self._hold_until = self._now() + (0.0 if freed else pause)
            then = f"{freed} input files of jobs that have ended were deleted" if freed else f"again in {pause:.0f} s"
            self._tell(Said(f"The service's file store is full; {then}.", "warning"))
            return
        if job.requests == 1 and living == 0 and self._refusals > len(s.PAUSES):
            raise ServiceError(
                "The service refuses even a single request, with nothing else in its queue.",
                code="refused_at_all",
                next="Look at the project's billing, its tier, and whether the model is served to it. " + error.message,
            )
        if living == 0 or queued:
            self._learn(s.learned(self._ceiling(), queued=queued, tokens=job.tokens, accepted=False))
        self._ledger.update_job(job, "dropped", at=self._now(), dropped_at=self._now())
        rows.release(job.ordinal)
        await self._forget_file(job)
        # With nothing else in the queue a smaller job may fit at once; else room appears when a job ends.
        self._hold_until = self._now() + (pause if living or job.requests == 1 else 0.0)
        self._tell(
            Said(f"The service has no room for a job of about {job.tokens:,} tokens; its requests are planned again.")
        )

    async def _forget_file(self, job: Job) -> None:
        """The input file of a job that will not be made, or has ended, is of no use to anybody."""
        for file in self._ledger.files():
            if file.job == job.id:
                await self._delete(file)

    async def _free_store(self) -> int:
        """Delete what this ledger uploaded with this key for jobs that have ended; returns how many files."""
        freed = 0
        for file in self._ledger.files():
            job = self._ledger.job(file.job)
            run = self._ledger.run(job.run)
            ours = run is not None and (run.key_print, run.backend) == (self._run.key_print, self._run.backend)
            if ours and job.life in {Life.ENDED, Life.COLLECTED}:
                freed += await self._delete(file)
        return freed

    async def _delete(self, file: InputFile) -> bool:
        """Delete an input file; False where it cannot be done now, or somebody else has done it."""
        try:
            await self._service.delete_file(file.name)
        except ServiceError as error:
            if isinstance(error, ApiError) and error.status in {403, 404}:
                self._ledger.file_gone(file, at=self._now(), why="was gone")
            return False
        self._ledger.file_gone(file, at=self._now(), why="deleted")
        return True

    def _trouble(self, error: ServiceError) -> None:
        """The service is away: try again later, for as long as is reasonable."""
        now = self._now()
        self._trouble_since = now if self._trouble_since is None else self._trouble_since
        if now - self._trouble_since > _PATIENCE:
            raise error
        self._troubles += 1
        pause = s.PAUSES[min(self._troubles, len(s.PAUSES)) - 1]
        self._hold_until = now + pause
        self._tell(Said(f"{error.message} Trying again in {pause:.0f} s.", "warning"))

    def _queued(self) -> int:
        since = self._now() - _LONGEST_LIFE
        return self._ledger.queued_tokens(self._run.key_print, self._run.model, since=since)

    def _living(self) -> int:
        return self._ledger.living(self._run.key_print, since=self._now() - _LONGEST_LIFE)

    def _ceiling(self) -> Ceiling:
        return self._ledger.ceiling(self._run.key_print, self._run.model, since=self._now() - _MEMORY)

    def _learn(self, ceiling: Ceiling) -> None:
        if ceiling != self._ceiling():
            self._ledger.learn(self._run.key_print, self._run.model, ceiling, at=self._now())

    # Watching --------------------------------------------------------------------------------------------------------

    async def _look(self, jobs: list[Job]) -> None:
        """Look at living jobs: one by one if they are few, else through the list, with a bounded number of calls."""
        try:
            if len(jobs) <= ONE_BY_ONE:
                await self._look_one_by_one(jobs)
            else:
                await self._look_through_list({job.batch: job for job in jobs if job.batch})
            self._trouble_since = None
        except ServiceError as error:
            if not _passes(error):
                raise
            self._trouble_since = self._now() if self._trouble_since is None else self._trouble_since
            if self._now() - self._trouble_since > _PATIENCE:
                raise
            self._tell(Said(f"{error.message} Still waiting.", "warning"))
        fixed = self._session.settings.poll
        if fixed is None and self._session.settings.offline:
            fixed = _OFFLINE_LOOK
        pause = poll_wait(self._looks, self._now() - self._waiting_since, fixed=fixed)
        self._looks += 1
        self._look_at = self._now() + pause * self._session.world.uniform(0.9, 1.1)

    async def _look_one_by_one(self, jobs: list[Job]) -> None:
        """Every job is asked for, also where one before it cannot be seen; then the first error is raised."""
        first: ServiceError | None = None
        for job in jobs:
            try:
                await self._get(job)
            except (ApiError, NetworkError) as error:
                first = first or error
        if first is not None:
            raise first

    async def _look_through_list(self, wanted: dict[str, Job]) -> None:
        """Absence from the list means nothing: jobs that it does not show are asked for, a few at each look."""
        left = dict(wanted)
        pages = 0
        async for page in self._service.listing():
            pages += 1
            for operation in page:
                job = left.pop(operation.name, None)
                if job is not None:
                    self._ledger.seen(job, remote_job(operation), at=self._now())
            if not left or pages >= MOST_PAGES:
                break
        # Those that have gone unseen for longest come first.
        for job in sorted(left.values(), key=lambda job: job.seen_at or 0.0)[:MOST_GETS]:
            await self._get(job)

    async def _get(self, job: Job) -> None:
        assert job.batch is not None
        try:
            operation = await self._service.get(job.batch)
        except ApiError as error:
            absences = self._unseen.get(job.id, 0) + 1
            self._unseen[job.id] = absences
            if error.status == 404 and absences < 3:
                return
            target = Target(job.batch, self._home, self._run, job)
            raise self._session.explain_absence(error, target) from error
        self._unseen.pop(job.id, None)
        self._ledger.seen(job, remote_job(operation), at=self._now())

    # Collecting ------------------------------------------------------------------------------------------------------

    async def _collect(self, rows: Rows, job: Job) -> None:
        """Bring an ended job's answers here, however long the service takes to hand them out."""
        assert job.batch is not None
        target = Target(job.batch, self._home, self._run, job)
        since, tries = self._now(), 0
        while True:
            try:
                job = await gather_ended(self._session, target)
                break
            except JobError as error:
                job = self._lost(job, error)
                break
            except (ServiceError, NotFinished) as error:
                if not _passes(error) or self._now() - since > _PATIENCE:
                    raise
                pause = s.PAUSES[min(tries, len(s.PAUSES) - 1)]
                tries += 1
                self._tell(Said(f"{error.message} Trying again in {pause:.0f} s.", "warning"))
                await self._session.world.sleep(pause)
        self._requeue(rows, job)
        if self._store_full:
            await self._forget_file(job)
        # A job's end makes room: whatever waited for it may go now.
        self._hold_until = 0.0

    def _lost(self, job: Job, error: JobError) -> Job:
        """Results that the service no longer has are missing for good; the other jobs' are not.

        They were paid for once: nothing of this job is sent again but by the user's own word.
        """
        self._tell(
            Said(error.message, "warning", "Its requests stay without an answer; `retry --only missing` sends them.")
        )
        raw = self._folder.raw(job.id)
        raw.parent.mkdir(exist_ok=True)
        raw.touch()
        judge_file(self._tell, self._folder, self._run, job, "RESULTS_GONE")
        now = self._now()
        return self._ledger.update_job(
            job, "results gone", at=now, life=Life.COLLECTED, collected_at=now, cancelled_at=job.cancelled_at or now
        )

    def _requeue(self, rows: Rows, job: Job) -> None:
        rule = s.resend(job, self._attempts)
        again = rows.requeue(job.ordinal, reasons=rule.reasons, missing=rule.missing, most=rule.most)
        if again:
            self._tell(Said(f"{again:,} requests of {job.batch} had no lasting answer; they are sent again."))

    def _report(self, rows: Rows, jobs: tuple[Job, ...], why: str) -> None:
        counted = [job for job in jobs if job.dropped_at is None]
        done = sum(job.life is Life.COLLECTED for job in counted)
        if done != self._counted:
            # Counting reads every row, so it is done when a job has come in, and not at each look.
            self._counted = done
            usage = rows.usage(LONG_PROMPT)
            self._verdicts = {v: n for v, n in rows.counts().items() if v != "missing"}
            self._tokens = sum(u["input"] + u["output"] + u["thoughts"] + u["tool_use"] for u in usage)
            self._usd = money(self._run, counted, usage).batch
        self._tell(
            Went(
                run=self._run.id,
                requests=self._run.requests,
                verdicts=self._verdicts,
                waiting=rows.waiting().requests,
                jobs=len(counted),
                alive=sum(job.life is Life.CREATED for job in counted),
                done=done,
                tokens=self._tokens,
                usd=self._usd,
                elapsed=self._now() - self._waiting_since,
                why=why,
            )
        )


def _passes(error: Error) -> bool:
    """Whether the service may be well again later, so that a run should wait and not end."""
    if isinstance(error, (NetworkError, NotFinished)):
        return True
    if isinstance(error, ApiError):
        return (error.status in {404, 408, 409, 429} and error.reason_code != "model_refused") or error.status >= 500
    return error.reason_code in {"create_unanswered", "unreadable_answer", "upload_failed"}
