"""Drives a run: asks ``schedule`` what to do, does it concurrently, records the outcome, and asks again.

What always holds: one process drives a run (its lock); every decision is made from what is recorded, so a killed
process loses only its place; only creates that were planned here are sent; a problem with one job does not hold back
the answers of the others.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from gemini_batch.api.trouble import Trouble, meaning, too_large
from gemini_batch.engine import scheduler as s
from gemini_batch.engine.backoff import Backoff, Disappearances, PollBackoff
from gemini_batch.engine.calling.flex_jobs import FlexJobs, Manner
from gemini_batch.engine.collector import gather_ended, lose
from gemini_batch.engine.creating.budget import OverBudgetError
from gemini_batch.engine.creating.planner import drop, plan_job, reconcile
from gemini_batch.engine.creating.submitter import Submitter
from gemini_batch.engine.poller import Poller
from gemini_batch.engine.quota import Limits, QueueQuota
from gemini_batch.engine.resend import Resender, stopped_by_others
from gemini_batch.engine.telling import GONE, Teller, lost
from gemini_batch.engine.uploads.attachments import JobAttachments
from gemini_batch.engine.uploads.input_files import forget_inputs, inputs_of
from gemini_batch.engine.uploads.room import make_room
from gemini_batch.errors import Error, JobError, Next, NotFinished, ServiceError, UsageError
from gemini_batch.events import Notice, in_thread
from gemini_batch.memory.claims import TakenError
from gemini_batch.memory.recall import recall
from gemini_batch.report.leftovers import unsucceeded
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import Job, JobStage
from gemini_batch.transcript.sizes import counted
from gemini_batch.world import Tasks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.backend import Service
    from gemini_batch.engine.creating.budget import Budget
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.ledger.run_options import RequestOverrides
    from gemini_batch.store.rows.row_records import Waiting
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.world import Bell


class Runner:
    """Drives one run to its end. The caller holds the run's lock."""

    def __init__(
        self,
        session: Session,
        service: Service,
        run: Run,
        *,
        limits: Limits,
        budget: Budget,
        attempts: int,
        display_name: str,
        overrides: RequestOverrides | None = None,
        leftovers: Sequence[Job] = (),
        stopper: Error | None = None,
        webhook_url: str | None = None,
        bell: Bell[Notice] | None = None,
        manner: Manner | None = None,
        until: s.Until = "finished",
    ) -> None:
        """``leftovers``: jobs collected earlier, of which requests may be resent. ``stopper``: send nothing; collect,
        then raise it. ``webhook_url``: where the service announces the ends of jobs. ``bell``: rings for each such
        announcement. ``manner``: how requests are sent. ``until``: when to end.
        """
        self._session, self._service, self._run = session, service, run
        self._ledger, self._folder = session.ledger(), session.state_folder.run(run.id)
        self._limits, self._name, self._overrides, self._leftovers = limits, display_name, overrides, leftovers
        self._budget, self._poor, self._key = budget, False, session.key_fingerprint()
        self._model = (overrides and overrides.model) or run.model
        self._now, self._clock, self._emit = session.world.now, session.world.monotonic, session.emit
        self._quota = QueueQuota(self._ledger, self._key, self._model, limits, session.world)
        self._poller = Poller(session, service, run, PollBackoff.of(session.settings, self._clock()))
        self._poll_others_at = -math.inf
        self._tasks, self._bell, self._webhook_url = Tasks(session.world, bell), bell, webhook_url
        #: Held while writing to ``rows.db``: SQLite permits one writer, and waiting for it would block the event loop.
        self._writing = asyncio.Lock()
        self._later: dict[int, float] = {}
        self._backoffs: defaultdict[int, Backoff] = defaultdict(Backoff)
        self._disappearances = Disappearances()
        self._resender = Resender(session, self._folder, attempts)
        self._stopper, self._closed, self._until = stopper, stopper is not None, until
        self._store_full = False
        self._attachments = JobAttachments(session, service, self._ledger, run, self._folder)
        self._waiting: Waiting | None = None
        self._teller = Teller(session, run, self._folder)
        self._flex = FlexJobs(
            *(session, service, run, budget, self._attachments),
            model=self._model,
            manner=manner or Manner(),
            told=self._teller.called,
        )

    async def drive(self) -> None:
        """Plan, send, poll, collect and resend until every request has had its attempts.

        Raises ServiceError if the service refuses for good, after existing jobs have been collected. Raises StateError.
        A cancelled caller stops the work in progress; nothing of it is lost.
        """
        with self._folder.rows() as rows:
            reconcile(self._ledger, rows, self._run)
            for job in () if self._closed else self._leftovers:
                self._note_leftovers(rows, job)
            try:
                while await self._step(rows):
                    pass
            finally:
                await self._tasks.stop()
        if self._stopper is not None:
            raise self._stopper

    async def _step(self, rows: Rows) -> bool:
        """One round of decisions; False when there is nothing left to do."""
        jobs, living = tuple(self._ledger.jobs_of(self._run.id)), self._quota.living()
        facts = s.Facts(
            waiting=self._waits(rows),
            jobs=jobs,
            busy=self._tasks.numbers,
            queued=self._quota.queued(),
            living=living,
            quota_bounds=self._quota.quota_bounds(),
            hold_until=self._quota.hold_until,
            hold_why=self._quota.hold_why,
            poll_at=self._poller.due,
            others=living > sum(job.stage in {JobStage.INTENDED, JobStage.CREATED} for job in jobs),
            poll_others_at=self._poll_others_at,
            later=self._later,
            closed=self._closed,
            resend=self._resender.due,
            one_at_a_time=self._quota.is_doubtful,
            poor=self._poor,
            via=self._flex.way(self._waits(rows)),
            until=self._until,
        )
        by_ordinal = {job.ordinal: job for job in jobs}
        for action in s.schedule(facts, self._limits, self._clock()):
            match action:
                case s.Plan(tokens):
                    await self._plan(rows, tokens)
                case s.Make(ordinal):
                    self._tasks.start(ordinal, self._make(rows, by_ordinal[ordinal]))
                case s.Collect(ordinal):
                    self._tasks.start(ordinal, self._collect(rows, by_ordinal[ordinal]))
                case s.Poll(ordinals):
                    await self._poll([by_ordinal[n] for n in ordinals])
                case s.PollOthers():
                    await self._poller.poll_others()
                    self._poll_others_at = self._clock() + s.POLL_OTHERS_EVERY
                case s.Release(ordinal):
                    async with self._writing:
                        self._waiting, self._poor = None, False
                        self._resender.release(rows, by_ordinal[ordinal])
                case s.Wait(until, why):
                    await self._report(rows, jobs, why)
                    if await self._tasks.pause(until):
                        self._poller.hasten()
                    for news in self._bell.news() if self._bell else ():
                        self._emit(news)
                case s.Finished():
                    await self._finish(rows, jobs)
                    return False
                case never:
                    assert_never(never)
        await self._tasks.reap()
        return True

    def _waits(self, rows: Rows) -> Waiting:
        if self._waiting is None:  # counting a million rows takes time, so it is done only after a change
            self._waiting = rows.waiting()
        return self._waiting

    # Planning and creating -------------------------------------------------------------------------------------------

    async def _plan(self, rows: Rows, tokens: int | None) -> None:
        async with self._writing:
            before = self._waits(rows)
            via, self._waiting = self._flex.way(before), None
            try:
                purse = self._budget.purse(rows)
            except UsageError as error:  # nothing bounds the cost of a job that another process has sent since
                self._close(error)
                return
            planned = await plan_job(
                *(self._ledger, self._folder, self._run, self._limits),
                tokens=tokens,
                model=self._model,
                display_name=self._name,
                key_fingerprint=self._key,
                now=self._now,
                overrides=self._overrides,
                purse=purse,
                via=via,
                standard=self._flex.standard,
            )
            if planned is not None and planned.part is None:
                self._waiting = before.less(planned.requests, planned.bytes, planned.tokens)
        self._poor = planned is None and purse is not None

    async def _make(self, rows: Rows, job: Job) -> None:
        maker = self._flex if job.via == "flex" else self._submitter()
        try:
            made = await maker.make(job)
        except TakenError:
            await self._recall(rows, self._ledger.job(job.id))
            return
        except OverBudgetError:  # another process has reserved what was left; a smaller job may fit
            await self._split(rows, self._ledger.job(job.id))
            return
        except UsageError as error:  # an attached file is not what it was
            self._close(error)
            return
        except ServiceError as error:
            try:
                await self._not_made(rows, self._ledger.job(job.id), error)
            except ServiceError as end:
                self._close(end)
            return
        if job.via == "flex":
            self._waiting = None
            if self._flex.stopper is not None:
                self._close(self._flex.stopper)
            return
        if not made.stage.made:  # other jobs have filled the queue meanwhile; this one waits
            return
        self._quota.accepted(job)
        self._poller.soon()

    def _submitter(self) -> Submitter:
        return Submitter(
            *(self._session, self._service, self._ledger, self._run, self._folder),
            budget=self._budget,
            attachments=self._attachments,
            may_send=self._quota.may_send,
            webhook_url=self._webhook_url,
        )

    async def _not_made(self, rows: Rows, job: Job, error: ServiceError) -> None:
        trouble = meaning(error)
        if trouble is Trouble.STORE_FULL:
            self._store_full = True
            freed = await make_room(
                self._service, self._ledger, key_fingerprint=self._key, backend=self._run.backend, at=self._now()
            )
            pause = self._quota.store_full(freed, error)
            then = f"deleted {counted(freed, 'unneeded file')}" if freed else f"trying again in {pause:.0f} s"
            self._emit(Notice(f"The file store is full; {then}.", "warning"))
        elif error.reason_code == "over_quota":  # the create itself; a 429 of another call passes
            if not self._quota.refused(job, error):
                waiting = f"{counted(job.requests, 'request')} {'is' if job.requests == 1 else 'are'}"
                self._emit(Notice(f"{self._quota.refusal}; {waiting} waiting."))
                return
            await self._split(rows, job)
            self._emit(
                Notice(f"The queue has no room (429) for a job of about {job.tokens:,} tokens; planning smaller jobs.")
            )
        elif too_large(error) and job.requests > 1:
            self._limits = replace(self._limits, bytes=job.bytes // 2)
            await self._split(rows, job)
            self._emit(Notice(f"The service refuses {job.bytes:,} bytes as too large (413); planning smaller jobs."))
        elif trouble.passes:
            pause = self._quota.away(error)
            self._emit(Notice(error.then(f"Trying again in {pause:.0f} s."), "warning"))
        else:
            self._close(error)

    async def _recall(self, rows: Rows, job: Job) -> None:
        """Drop a job of which another run has sent or answered requests meanwhile, and look them all up again."""
        await self._split(rows, job, taken=True)
        self._teller.forget()
        self._emit(Notice("Another run sent some of these requests meanwhile; they are not sent twice."))

    async def _split(self, rows: Rows, job: Job, *, taken: bool = False) -> None:
        """Drop a job that was not created: its requests wait again, for smaller jobs or other answers."""
        async with self._writing:
            self._waiting = None
            drop(self._ledger, rows, job, at=self._now())
            if taken:  # before a plan that waits meanwhile takes them once more, to be refused once more
                await in_thread(lambda emit: recall(self._session.state_folder, self._run.id, emit=emit), self._emit)
        await self._forget_input(job)

    def _close(self, error: Error) -> None:
        """Send nothing more, because the service refuses for good or someone cancelled; existing jobs are collected."""
        if self._stopper is None:
            jobs = [job for job in self._ledger.jobs_of(self._run.id) if job.via == "batch"]
            there = sum(job.stage in {JobStage.CREATED, JobStage.ENDED} for job in jobs)
            if there:
                said = error.then(f"Collecting {counted(there, 'existing job')}; nothing more is sent.")
                self._emit(Notice(said, "warning"))
            self._stopper = error
        self._closed = True

    async def _forget_input(self, job: Job) -> None:
        await forget_inputs(self._service, self._ledger, inputs_of(self._ledger, job), at=self._now())

    # Polling ---------------------------------------------------------------------------------------------------------

    async def _poll(self, jobs: list[Job]) -> None:
        polled = await self._poller.poll(jobs)
        for job in polled.gone:
            await self._gone(job)
        for job, error in polled.given_up:
            self._set_aside(job, error)

    # Collecting ------------------------------------------------------------------------------------------------------

    async def _collect(self, rows: Rows, job: Job) -> None:
        """Collect an ended job's answers; if that is not possible now, try again later."""
        target = KnownJob(self._run, job)
        try:
            job = await gather_ended(self._session, target, writing=self._writing)
            self._waiting = None  # what calls did not answer waits again
        except JobError as error:
            # Late results are waited for longer than results that the service says are gone.
            gone = error.reason_code == "results_gone" and self._disappearances.certain(job.ordinal, self._clock())
            if not gone and not self._backoffs[job.ordinal].is_over(self._clock()):
                self._postpone(job, error)
                return
            # They were paid for once: only the user may send requests of this job again.
            await self._lose(job, "RESULTS_GONE", error.message)
        except (ServiceError, NotFinished) as error:
            absent = meaning(error) is Trouble.ABSENT
            if not (absent and self._disappearances.certain(job.ordinal, self._clock())):
                self._postpone(job, error)
                return
            await self._gone(job)
        else:
            if left := unsucceeded(rows, [job]):
                if (stopper := stopped_by_others(rows, self._run, left)) is not None:
                    self._close(stopper)
                else:
                    self._note_leftovers(rows, job)
        if self._store_full:
            await self._forget_input(job)
        self._quota.freed()
        self._poor = False

    def _postpone(self, job: Job, error: Error) -> None:
        """Retry temporary errors, with backoff; set the job aside for any other error, or after too long."""
        backoff = self._backoffs[job.ordinal]
        backoff.failed(self._clock())
        if isinstance(error, NotFinished):
            backoff.excused(self._clock())  # `output_of` decides how long to wait for late output
        # A right can be restored, and the answers are paid for.
        waits = meaning(error).passes or meaning(error) is Trouble.WITHDRAWN
        if error.reason_code == "output_incomplete" and isinstance(error.next, Next):
            waits = False  # for a day already; what to do about it is for the user to say
        if not waits or backoff.is_over(self._clock()):
            self._set_aside(job, error)
            return
        pause = backoff.pause(error)
        self._later[job.ordinal] = self._clock() + pause
        self._emit(Notice(error.then(f"Trying again in {pause:.0f} s."), "warning"))

    def _set_aside(self, job: Job, error: Error) -> None:
        """Stop work on a job in this process; the other jobs are collected, then the run ends with the error."""
        self._later[job.ordinal] = math.inf
        # It comes before a cancel by someone else: `retry` resends nothing of that before every job is collected.
        if self._stopper is None or self._stopper.reason_code == "cancelled_elsewhere":
            self._stopper = error

    async def _gone(self, job: Job) -> None:
        await self._lose(job, "JOB_GONE", GONE.format(job.batch))
        self._quota.freed()

    async def _lose(self, job: Job, reason: str, message: str) -> None:
        """Mark a job's requests as missing for good; the answers of other jobs are unaffected."""
        self._emit(lost(self._run, message))
        await lose(self._session, KnownJob(self._run, job), reason, writing=self._writing)

    def _note_leftovers(self, rows: Rows, job: Job) -> None:
        if (said := self._resender.note(rows, job)) is not None:
            self._emit(said)

    async def _finish(self, rows: Rows, jobs: tuple[Job, ...]) -> None:
        if self._poor and self._stopper is None and self._waits(rows).requests:
            self._stopper = self._budget.reached(rows)
        await self._report(rows, jobs, "finished")

    # Reporting -------------------------------------------------------------------------------------------------------

    async def _report(self, rows: Rows, jobs: tuple[Job, ...], why: str) -> None:
        await self._teller.count(jobs, busy=self._tasks.numbers | self._resender.due.keys())
        self._teller.tell(jobs, why, waiting=self._waits(rows).requests)
