"""``run --shards``: works off the shards of a manifest, each as a run of its own whose requests stay where they are.

A shard is open only while there is something to do for it on this machine: while it is checked and sent, and when one
of its jobs has ended. In between, only the ledger knows it. So few row databases are open, however many shards there
are.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.backend import address_of, key_of
from gemini_batch.commands.finished_shards import finished, give_back, known_run, refuse_foreign
from gemini_batch.commands.late_answers import refuse_late
from gemini_batch.commands.objects import Objects, shown
from gemini_batch.commands.remembering import check_visible
from gemini_batch.commands.run import finish, work_off
from gemini_batch.commands.shard_objects import answers_folder, check_results, source_of
from gemini_batch.engine.backoff import PollBackoff, room_at
from gemini_batch.engine.collector import lose
from gemini_batch.engine.poller import Poller
from gemini_batch.engine.resend import next_sending
from gemini_batch.engine.telling import GONE, lost
from gemini_batch.errors import Error, InvalidInput, Next, NotFinished
from gemini_batch.events import Event, Notice, RunProgress, in_thread
from gemini_batch.intake.submission import check_submission, enter_run
from gemini_batch.intake.terms import check_possible
from gemini_batch.memory.freeing import free
from gemini_batch.objects.address import is_address, parse
from gemini_batch.objects.names import rename_error
from gemini_batch.report.shards.answers import ShardAnswers, ShardsSummary, Tally, retry_of
from gemini_batch.report.timeouts import check_timeout
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import Selection, kept_options
from gemini_batch.store.shard_manifest import check_present, read_manifest
from gemini_batch.transcript.sizes import counted, span
from gemini_batch.world import Tasks

if TYPE_CHECKING:
    from gemini_batch.intake.submission import Submission
    from gemini_batch.report.shards.folder import AnswersFolder
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.ledger.run_options import RunOptions
    from gemini_batch.store.shard_manifest import Shard, ShardManifest

#: So many shards are checked and sent at a time. One is collected and written (`room_at`).
MAKERS = 4
_THERE = {JobStage.CREATED, JobStage.ENDED}


async def run_shards(
    session: Session,
    manifest: str | Path,
    submission: Submission,
    options: RunOptions,
    *,
    output: str | Path,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and on the world's clock
) -> ShardsSummary:
    """Work off every shard of a manifest, and write the results of each to the folder ``output``. Both may be
    addresses.

    ``submission``: what holds for each shard, whose file stands in place of its own. Whatever ends it, the same call
    goes on where it stopped. Raises as :func:`gemini_batch.commands.run.run`.
    """
    check_timeout(timeout)
    check_submission(submission)
    deadline = session.world.deadline(timeout)
    async with Objects(lambda: session, session.emit) as objects:
        at = parse(str(manifest), field="--shards") if is_address(manifest) else None
        file = Path(manifest if at is None else await objects.read(str(at), field="--shards"))
        shards = read_manifest(file, at)
        key_of(session.settings)
        session.name_blank_address()
        session.ledger()
        with session.state_folder.shards():
            folder = await answers_folder(session, objects, str(output))
            fleet = _Fleet(session, shards, replace(submission, source=file), options, folder)
            try:
                await deadline.bound(fleet.work())
            except TimeoutError:
                raise fleet.whole(fleet.error or fleet.not_finished(deadline.seconds)) from None
        return shown(fleet.summary())


class _Fleet:
    """The shards of one manifest, and how far each is. A shard is known by its line in the manifest."""

    def __init__(
        self,
        session: Session,
        manifest: ShardManifest,
        submission: Submission,
        options: RunOptions,
        folder: AnswersFolder,
    ) -> None:
        self._session, self._manifest, self._submission = session, manifest, submission
        self._folder, self._ledger = folder, session.ledger()
        self._options = options.over(type(options)(selection=Selection()))
        self._shards = {shard.line: shard for shard in manifest.shards}
        self._tasks = Tasks(session.world)
        #: The runs of shards that are entered; those of which all jobs are at the service; when requests are resent.
        self._runs: dict[int, Run] = {}
        self._away: dict[str, int] = {}
        self._later: dict[int, float] = {}
        #: What is to be begun; what more is to be sent of; what has ended and is to be collected, what is here first.
        self._new, self._again, self._ended = deque[int](), deque[int](), deque[int]()
        #: What is being collected, and since when; what an error has stopped, so that nothing more of it is sent.
        self._finishing: dict[int, float] = {}
        self._stopped: set[int] = set()
        self._done: dict[int, ShardAnswers] = {}
        self._tally = Tally()
        #: Whether a job was sent since the last poll.
        self._sent = False
        #: What a limit of money says that has no room until a shard is collected.
        self._poor: Error | None = None
        self.error: Error | None = None
        #: Held while results are written, for a table takes memory.
        self._alone = asyncio.Lock()
        self._began = session.world.monotonic()

    async def work(self) -> None:
        """Do it all. Raises the first error that kept a shard from being finished, after the others are collected."""
        absent = await self._find()
        await in_thread(lambda _: check_present(self._manifest, absent), self._session.emit)
        self._folder.make()
        for run in list(self._away):  # a job that another key created is not gone
            await check_visible(self._session, self._ledger.jobs_of(run))
        world, service = self._session.world, (await self._session.backend()).service
        poller = Poller(self._session, service, None, PollBackoff.of(self._session.settings, world.monotonic()))
        try:
            while True:
                if self._sent:
                    self._sent = False
                    poller.soon()
                living = self._living()
                self._start()
                if not self._tasks.numbers and not living and not self._later:
                    break
                if living and world.monotonic() >= poller.due:
                    await self._poll(poller, living)
                    continue
                self._tell()
                room = [room_at(self._finishing.values())] if self._ended else []
                await self._tasks.pause(min([poller.due if living else math.inf, *room, *self._later.values()]))
                await self._tasks.reap()
        except BaseException:
            await self._tasks.stop()
            with contextlib.suppress(Error):  # what ended it is said
                self._put_manifest()
            raise
        self._put_manifest()
        if error := self.error or (self._poor if self._new else None):
            raise self.whole(error)

    async def _find(self) -> list[Shard]:
        """Find what is done already; returns the shards of which nothing is known. Raises UsageError."""
        absent = []
        for shard in self._manifest.shards:
            run = None if self._submission.new else known_run(self._session, self._submission, shard)
            if run is None:
                if not self._submission.new:
                    refuse_foreign(self._session, self._folder, shard)
                absent.append(shard)
                self._new.append(shard.line)
                continue
            self._runs[shard.line] = run = self._named(run)
            if run.freed_at is not None:
                self._note(shard, await finished(self._session, self._folder, shard, run))
                continue
            await check_results(self._session, self._folder, shard, run)
            jobs = self._ledger.jobs_of(run.id)
            if all(job.stage.made for job in jobs) and sum(job.requests for job in jobs) >= run.requests:
                self._away[run.id] = shard.line
            else:
                self._new.append(shard.line)
        return absent

    def _named(self, run: Run) -> Run:
        ours = self._manifest.id
        return run if run.shards == ours else self._ledger.set_shards(run, ours, at=self._session.world.now())

    # Doing -----------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Begin what there is room for. What collects sends nothing, so it never waits for room in a queue."""
        now = self._session.world.monotonic()
        for number in [number for number, due in self._later.items() if due <= now]:
            del self._later[number]
            self._again.append(number)
        while self._ended and room_at(self._finishing.values()) <= now:
            number = self._ended.popleft()
            self._finishing[number] = now
            self._tasks.start(number, self._drive(self._shards[number], collects=True))
        making = len(self._tasks.numbers) - len(self._finishing)
        begins = self.error is None and self._poor is None
        while making < MAKERS and (waiting := self._again or (begins and self._new)):
            self._tasks.start(number := waiting.popleft(), self._drive(self._shards[number], collects=False))
            making += 1

    async def _drive(self, shard: Shard, *, collects: bool) -> None:
        """Go on with a shard: until it is at the service, or what has ended of it is collected."""
        run = self._runs.get(shard.line)
        try:
            session = self._session.telling(self._hear)
            if run is None:
                run = self._runs[shard.line] = await self._enter(session, shard)
            await work_off(session, run, self._options, until="collected" if collects else "sent")
            if self._put_away(run, shard):
                return
            most = kept_options(self._ledger.run(run.id) or run).most_attempts
            if (due := next_sending(session, run, most)) is None:
                await self._finish(session, shard, run)
            elif shard.line not in self._stopped:
                self._later[shard.line] = due
        except Error as error:
            self._stumble(shard, None if collects else run, error)
        finally:
            if collects:
                self._finishing.pop(shard.line, None)
                if shard.line not in self._new:
                    self._poor = None

    def _stumble(self, shard: Shard, sending: Run | None, error: Error) -> None:
        """Decide what an error means for a shard; ``sending``: its run, if it was just being sent."""
        if sending is not None and self._put_away(sending, shard):
            if error.reason_code != "budget_reached":
                self._fail(shard, error)
        elif error.reason_code == "budget_reached" and self._has_others():
            self._new.appendleft(shard.line)
            self._poor = error
        else:
            self._fail(shard, error)

    def _has_others(self) -> bool:
        return bool(self._away or self._later or self._again or self._ended) or len(self._tasks.numbers) > 1

    def _put_away(self, run: Run, shard: Shard) -> bool:
        """Wait for the jobs of a shard, if it has any at the service."""
        if not any(job.stage in _THERE for job in self._ledger.jobs_of(run.id)):
            return False
        self._away[run.id], self._sent = shard.line, True
        return True

    async def _enter(self, session: Session, shard: Shard) -> Run:
        async def check(_: Session, new: Run, again: bool) -> None:
            check_possible(new, via=self._options.via)
            await refuse_late(session, new, again)

        try:
            async with source_of(session, shard) as (file, remote):
                submission = replace(self._submission, source=file, shard=(self._manifest, shard), remote=remote)
                return self._named((await enter_run(session, submission, self._options, before_new=check)).run)
        except InvalidInput as error:
            error.message = error.message.replace("nothing was sent", "this shard was not sent")
            error.next = "Fix it, write its line of the manifest anew, and run the same command again."
            raise

    async def _finish(self, session: Session, shard: Shard, run: Run) -> None:
        """Write the results of a shard; then its answers are needed here no more, if all requests succeeded."""
        found, jobs = await finish(session, run, None), self._ledger.jobs_of(run.id)
        async with self._alone:
            line = await in_thread(lambda _: self._folder.write(found, shard, run, jobs), session.emit)
        self._note(shard, line)
        place = self._session.state_folder.run(run.id)
        if found.summary.all_succeeded and place.shard is not None:
            with place.lock(wait=0.0):
                if free(self._ledger, [run.id], at=session.world.now()):
                    give_back(place)

    def _note(self, shard: Shard, line: ShardAnswers) -> None:
        self._done[shard.line] = line
        self._tally.add(line)

    def _fail(self, shard: Shard, error: Error) -> None:
        """Begin no further shard, and send nothing more of this one; what is at the service is collected."""
        self._stopped.add(shard.line)
        if self.error is None:
            self.error = rename_error(error)
            if error.file is None:
                error.message = f"{shard.uri}: {error.message}"
            if (run := self._runs.get(shard.line)) is not None and isinstance(error.next, Next):
                error.next = error.next.writing_to(str(self._folder.files(shard, run)[0]))
            if self._has_others():
                then = "Finishing the shards that were sent; no other is begun."
                self._session.emit(Notice(error.then(then), "warning"))

    # Waiting ---------------------------------------------------------------------------------------------------------

    def _living(self) -> list[Job]:
        """The living jobs of shards that are at the service only; a shard of which one has ended is taken up again."""
        living: list[Job] = []
        for run, number in list(self._away.items()):
            jobs = [job for job in self._ledger.jobs_of(run) if job.stage in _THERE]
            if jobs and all(job.stage is JobStage.CREATED for job in jobs):
                living += jobs
            else:
                del self._away[run]
                self._ended.insert(0 if self._session.state_folder.run(run).has_answers else len(self._ended), number)
        return living

    async def _poll(self, poller: Poller, jobs: list[Job]) -> None:
        polled = await poller.poll(jobs)
        for job in polled.gone:
            await self._gone(job)
        for job, error in polled.given_up:
            self._give_up(job, error)

    async def _gone(self, job: Job) -> None:
        run, session = self._ledger.run_of(job), self._session
        session.emit(lost(run, GONE.format(job.batch)))
        try:
            with session.state_folder.run(run.id).lock(wait=0.0):
                await lose(session, KnownJob(run, job, session.settings.offline), "JOB_GONE")
        except Error as error:
            self._give_up(job, error)

    def _give_up(self, job: Job, error: Error) -> None:
        if (number := self._away.pop(job.run, None)) is not None:
            self._fail(self._shards[number], error)

    # Telling ---------------------------------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        """What is said about one shard: only what is worth a word among many."""
        if isinstance(event, Notice) and event.level == "warning":
            self._session.say_once(event)

    def _tell(self) -> None:
        done, tally = self._tally.requests, self._tally
        runs = [run for number, run in self._runs.items() if number not in self._done]
        sent = [job for run in runs for job in self._ledger.jobs_of(run.id) if job.stage.made]
        succeeded = sum(min(job.requests, job.succeeded or 0) for job in sent)
        waiting = self._manifest.requests - done - sum(job.requests for job in sent)
        self._session.emit(
            RunProgress(
                run=self._manifest.path.name,
                requests=self._manifest.requests,
                done=done + succeeded,
                uncollected_succeeded=succeeded,
                uncollected_failed=sum(job.failed or 0 for job in sent),
                verdicts=tally.verdicts,
                waiting=max(0, waiting),
                jobs=len(self._runs),
                alive=sum(job.stage is JobStage.CREATED for job in sent),
                collected=len(self._done),
                tokens=0,
                usd=tally.usd,
                offline=self._session.settings.offline,
                elapsed=self._session.world.monotonic() - self._began,
                why="checking, sending and writing shards" if self._tasks.numbers else "the service is working",
            )
        )

    def _put_manifest(self) -> None:
        """Write the manifest of answers: the finished shards, in the order of the manifest. Raises StateError."""
        self._folder.put_manifest([self._done[number] for number in self._shards if number in self._done])

    def not_finished(self, seconds: float) -> NotFinished:
        """How it stands when the time is over."""
        without = " without --new" if self._submission.new else ""
        return NotFinished(
            f"Finished after {span(seconds)}: {len(self._done):,} of {counted(len(self._shards), 'shard')}; "
            f"{len(self._away):,} are at the service. Nothing was cancelled.",
            job="",
            state="RUNNING",
            code="timeout",
            next=f"Run the same command again{without}: it continues.",
        )

    def whole(self, error: Error) -> Error:
        """An error that ends the command, with what ``--new`` has not come to, for nothing remembers that."""
        if self._submission.new and (left := sum(number not in self._runs for number in self._shards)):
            error.message += f" --new had not come to {counted(left, 'shard')}, whose earlier answers count without it."
        return error

    def summary(self) -> ShardsSummary:
        """What came of it."""
        lines = [self._done[number] for number in self._shards if number in self._done]
        failed = next((line for line in lines if line.verdicts.get("succeeded", 0) < line.requests), None)
        return ShardsSummary(
            shards=len(self._shards),
            finished=len(lines),
            requests=self._manifest.requests,
            verdicts=self._tally.verdicts,
            usd=self._tally.usd,
            offline=self._session.settings.offline,
            backend=address_of(self._session.settings),
            folder=str(self._folder.path),
            manifest=str(self._folder.manifest),
            next=None if failed is None else retry_of(failed, self._folder.path, self._ledger.run(failed.run)),
        )
