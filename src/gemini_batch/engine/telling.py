"""Tells whoever waits for a run how far it is, and once of a job that takes long."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import Next
from gemini_batch.events import Notice, ignore_events, in_thread
from gemini_batch.report.next_steps import costing
from gemini_batch.report.stragglers import oldest
from gemini_batch.report.summary import Progress
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    from gemini_batch.engine.calling.caller import Pause, Tally
    from gemini_batch.events import EventHandler
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder

#: What is said of a job that the service certainly no longer has.
GONE = "The service no longer has {}; someone else may have deleted it."
#: Seconds between what is told of calls.
AGAIN = 1.0


def lost(run: Run, message: str) -> Notice:
    """What to say of a job whose answers are lost; ``message``: how."""
    again = Next("retry", run.id, "--only", "missing", why=costing(run, "resends its requests"))
    return Notice(f"{message} Its requests remain unanswered.", "warning", again)


class Teller:
    """Tells of one run, from the moment at which it is made."""

    def __init__(self, session: Session, run: Run, folder: RunFolder) -> None:
        self._session, self._run, self._folder, self._ledger = session, run, folder, session.ledger()
        self._clock, self._now, self._emit = session.world.monotonic, session.world.now, session.emit
        self._began = self._clock()
        self._progress = Progress(session.prices)
        self._stuck = set[str]()
        #: What became of the calls of each job that this process sends, by ordinal; and what was told last, and when.
        self._calls: dict[int, Tally] = {}
        self._last: Callable[[], None] | None = None
        self._told = self._began
        self._pause: Pause | None = None

    def called(self, job: Job, tally: Tally) -> None:
        """Note what became of a job's calls so far, and tell of it now and then, and when a pause begins or ends."""
        self._calls[job.ordinal] = tally
        turns = (tally.pause is None) != (self._pause is None)
        self._pause = tally.pause
        if self._last is not None and (turns or self._clock() - self._told >= AGAIN):
            self._last()

    def forget(self) -> None:
        """Count all rows the next time: some took an answer from another run."""
        self._progress.forget()

    async def count(self, jobs: tuple[Job, ...], *, busy: AbstractSet[int]) -> None:
        """Count what is told from now on. ``busy`` as for :meth:`Progress.count`.

        In a thread, because uploads and downloads go on while the rows of jobs that came in are counted.
        """
        if self._progress.is_current(jobs, busy):
            return

        def counted(_: EventHandler) -> None:
            with self._folder.rows() as rows:
                self._progress.read(rows, self._run, jobs, busy)

        await in_thread(counted, ignore_events)

    def tell(self, jobs: tuple[Job, ...], why: str, *, waiting: int) -> None:
        """Tell how far the run is. ``waiting``: requests to be sent."""
        self._last = partial(self.tell, jobs, why, waiting=waiting)
        self._told = self._clock()
        old = oldest(self._ledger, jobs, self._now())
        jobs = tuple(self._with_calls(job) for job in jobs)
        if old is not None and old.is_stuck and old.job.id not in self._stuck:
            self._stuck.add(old.job.id)
            self._emit(old.notice())
        self._emit(
            self._progress.event(
                self._run,
                jobs,
                waiting=waiting,
                offline=self._session.settings.offline,
                elapsed=self._clock() - self._began,
                why=why if self._pause is None else self._pause.why,
                old=old,
                refused=sum(tally.refused for tally in self._calls.values()),
                goes_on_in=None if self._pause is None else max(0.0, self._pause.until - self._clock()),
            )
        )

    def _with_calls(self, job: Job) -> Job:
        tally = self._calls.get(job.ordinal)
        if tally is None or job.stage.made:
            return job
        counts = {"total": job.requests, "succeeded": tally.answered, "failed": tally.errors}
        return msgspec.structs.replace(job, stage=JobStage.CREATED, **counts)
