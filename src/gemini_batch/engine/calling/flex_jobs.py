"""Jobs whose requests are sent as calls. Such a job lasts as long as the process that sends it.

What always holds: the job is recorded as intended, with its claims and what it may cost, before its first call goes
out. When its calls are over, or their process has died, the job has ended: what was answered is collected from its
journal as from a downloaded file, and its other requests wait again, for another job. So nothing is continued.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from gemini_batch.api.trouble import lacks_flex
from gemini_batch.catalog import Method
from gemini_batch.engine.calling.caller import Asked, Caller
from gemini_batch.engine.calling.choose import Auto, Choice, too_large, way
from gemini_batch.engine.calling.job_requests import answered_by, bounds_of, let_go, longest, requests_in
from gemini_batch.engine.calling.journal import Calls, Journal, cut_to_lines, read_calls
from gemini_batch.engine.calling.pace import Pace
from gemini_batch.engine.calling.rates import rate_of, set_rate
from gemini_batch.engine.creating.intent import intend
from gemini_batch.errors import Next, NotFinished, ServiceError, StateError, UsageError
from gemini_batch.events import Notice
from gemini_batch.jsonl import read_lines
from gemini_batch.money.limits import PICO, row_prices
from gemini_batch.objects.lock import check_locks
from gemini_batch.report.stragglers import typical
from gemini_batch.stopping import hurried, patience
from gemini_batch.store.ledger.records import CALLS, JobStage
from gemini_batch.store.sqlite import state_error
from gemini_batch.transcript.sizes import counted
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gemini_batch.api.calls import Called
    from gemini_batch.backend import Service
    from gemini_batch.engine.calling.caller import Tally
    from gemini_batch.engine.creating.budget import Budget
    from gemini_batch.engine.uploads.attachments import JobAttachments
    from gemini_batch.errors import Error
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run, Via
    from gemini_batch.store.ledger.run_options import Route
    from gemini_batch.store.rows.row_records import Waiting
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

#: What is said of a job whose requests all wait again, or were sent in another one.
_NO_ANSWER = "None of its calls was answered."
#: Calls in flight at once, at most.
CONCURRENCY = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How requests are sent, and how calls are made. ``standard``: go on when these are served, and charged, as
    standard ones."""

    route: Route = "batch"
    auto: Auto = field(default_factory=Auto)
    concurrency: int = CONCURRENCY
    standard: bool = False


def check_sizes(run: Run, manner: Manner, rows: Rows) -> None:
    """Refuse requests that may be sent and are too large for a call. Raises UsageError."""
    if manner.route == "flex" and too_large(largest := longest(rows)):
        raise UsageError(
            f"The largest request of {run.id} has {largest:,} bytes, and a call can have 20 MB at most.",
            field="--via",
            code="too_large_for_call",
            next=Next("run", run.id, "--via", "batch"),
        )


def check_manner(run: Run, manner: Manner) -> None:
    """Refuse calls that have no tier. Raises UsageError."""
    if manner.route == "flex" and run.method is Method.EMBED and not manner.standard:
        raise UsageError(
            "Embeddings have no service tier flex: calls are charged as standard ones, at twice the price of a batch.",
            field="--via",
            code="no_flex",
            next="Send them in batches, or add --allow-standard.",
        )


class FlexJobs:
    """Sends the requests of a run's jobs. The caller holds the run's lock; one job is sent at a time."""

    def __init__(
        self,
        session: Session,
        service: Service,
        run: Run,
        budget: Budget,
        attachments: JobAttachments,
        *,
        model: str,
        manner: Manner,
        told: Callable[[Job, Tally], None],
    ) -> None:
        self._session, self._service, self._run, self._manner, self._told = session, service, run, manner, told
        self._folder, self._budget, self._attachments = session.state_folder.run(run.id), budget, attachments
        self._model, self._refused = model, False
        self._longest: int | None = None
        self._chosen: Choice | None = None
        #: Why nothing more is to be sent.
        self.stopper: Error | None = None

    @property
    def standard(self) -> bool:
        """Whether to go on when calls are served, and charged, as standard ones."""
        return self._manner.standard

    async def make(self, job: Job) -> Job:
        """Send the requests of a planned job, each once more if its connection breaks, and end the job. A job that is
        intended already belongs to a process that has died; it is only ended.

        ``stopper`` says why, if the service would refuse the rest. Raises TakenError, OverBudgetError, UsageError or
        ServiceError with the job as it was, StateError.
        """
        session, key = self._session, self._session.key_fingerprint()
        if job.stage is JobStage.INTENDED:
            return end_if_calls(session, job)
        job = await self._attachments.fill(job)
        if job.key_fingerprint != key:
            job = session.ledger().update_job(job, "another key", at=session.world.now(), key_fingerprint=key)
        job = intend(session, self._folder, self._run, job, self._budget)
        world = session.world
        known = rate_of(session.ledger(), key, job.model, at=world.now())
        pace = Pace(self._manner.concurrency, known, world.monotonic())
        try:
            with closing(Journal(calls_of(self._folder, job), self._folder.raw(job.id))) as journal:
                caller = Caller(
                    world,
                    pace,
                    journal,
                    send=partial(self._send, job),
                    told=partial(self._told, job),
                    standard=self._manner.standard,
                )
                try:
                    tally = await caller.run(self._requests(job), grace=partial(self._grace, caller))
                except asyncio.CancelledError:
                    self._say_in_doubt(caller)
                    raise
                finally:
                    await caller.stop()
        except OSError as error:
            raise state_error(error, self._folder.path, "run folder") from error
        finally:
            if pace.rate != known:
                set_rate(session.ledger(), key, job.model, pace.rate, at=world.now())
        job = end_job(session, job)
        if tally.stopped:
            self._stop(tally)
        return job

    def way(self, waiting: Waiting) -> Via:
        """How the waiting requests are to be sent now; says so if that was not said before."""
        if self._manner.route != "auto":
            return self._manner.route
        choice = self._choice(waiting)
        if waiting.requests and choice != self._chosen and not self._refused:
            how = "as calls (flex)" if choice.via == "flex" else "in batches"
            said = f"Sending {counted(waiting.requests, 'request')} {how}, because {choice.why}."
            self._session.emit(Notice(said))
            self._chosen = choice
        return choice.via

    def _choice(self, waiting: Waiting) -> Choice:
        if self._refused:
            return Choice("batch", "the service refuses the calls")
        if self._run.method is Method.EMBED:
            return Choice("batch", "embeddings have no service tier flex")
        if self._longest is None:
            with self._folder.rows() as rows:
                self._longest = longest(rows)
        ledger, now = self._session.ledger(), self._session.world.now()
        rate = rate_of(ledger, self._session.key_fingerprint(), self._model, at=now)
        usual = typical(ledger.durations(self._model))
        return way(waiting, self._manner.auto, now, usual=usual, rate=rate, longest=self._longest)

    def _stop(self, tally: Tally) -> None:
        if self._manner.route == "auto" and tally.stopper is not None and (tally.gave_up or lacks_flex(tally.stopper)):
            self._refused = True
            self._session.emit(Notice(tally.stopper.then("The rest is sent in batches."), "warning"))
        else:
            self.stopper = self._why_stopped(tally)

    def _why_stopped(self, tally: Tally) -> Error:
        if tally.stopper is None:
            return NotFinished(
                f"The service served calls as {tally.tier}, which costs twice as much as flex. Nothing more is sent.",
                job=self._run.id,
                state="SERVED_AS_STANDARD",
                code="served_as_standard",
                next=Next("run", self._run.id, "--allow-standard", why="goes on at that price; or try again later"),
            )
        if lacks_flex(tally.stopper):
            return UsageError(
                f"{self._model} cannot be called with the service tier flex. {tally.stopper.message}",
                field="--via",
                code="no_flex",
                next=Next("run", self._run.id, "--via", "batch"),
            )
        if not tally.gave_up:
            return tally.stopper
        return ServiceError(
            f"The service keeps refusing calls. {tally.stopper.message}",
            code="calls_refused",
            next=Next("run", self._run.id, "--via", "batch", why="sends the rest in batches; or try again later"),
        )

    def _grace(self, caller: Caller) -> float:
        """How long to wait for the calls in flight, when the command is stopped."""
        seconds = patience()
        if caller.flying:
            calls = counted(caller.flying, "call")
            then = "." if hurried() else "; another Ctrl-C ends at once."
            self._session.emit(Notice(f"Waiting up to {seconds:.0f} s for {calls} in flight{then}"))
        return seconds

    def _say_in_doubt(self, caller: Caller) -> None:
        if caller.flying:
            calls = f"{counted(caller.flying, 'call')} {'has' if caller.flying == 1 else 'have'}"
            self._session.emit(Notice(f"{calls} no answer yet, and may be paid for without one.", "warning"))

    async def _send(self, job: Job, request: bytes) -> Called:
        await check_locks()
        return await self._service.call(model=job.model, method=self._run.method, request=request)

    def _requests(self, job: Job) -> Iterator[Asked]:
        with self._folder.rows() as rows, self._folder.open_input(job.part) as file:
            file.seek(job.offset)
            lines = read_lines(file)
            for seq, tokens in requests_in(rows, job.ordinal):
                yield Asked(seq, next(lines).data, tokens)


def calls_of(folder: RunFolder, job: Job) -> Path:
    """Where the calls of a job are recorded."""
    return folder.path / "calls" / f"{job.ordinal}.calls"


def settle_calls(session: Session, folder: RunFolder, rows: Rows, job: Job) -> dict[str, Any]:
    """Let the requests of a judged job wait that it did not answer, apart from those whose calls broke before, too.

    Returns what is to be recorded of the job: how many requests stay in it, how many calls may have been paid for
    besides those that gave its answers, and what these cost at most. It can be repeated. Raises OSError.
    """
    answered, calls = answered_by(rows, job.ordinal), read_calls(calls_of(folder, job))
    if calls is None:  # it was there before the first call, so it was deleted: all calls may have gone out
        calls = Calls(frozenset(seq for seq, _ in requests_in(rows, job.ordinal)), frozenset())
    left = let_go(rows, job.ordinal, broken=calls.broken)
    doubtful = sorted(calls.sent - answered - left)
    at = job.created_at or session.world.now()
    prices = row_prices(session.prices, job.model, at, answer=job.answer_limit, tiers=job.tiers)
    bound: int | None = None
    if prices is not None:
        costs = [prices.most(*one) for one in bounds_of(rows, doubtful)]
        bound = None if None in costs else -(-sum(cost or 0 for cost in costs) // PICO)
    requests = rows.accounted(job.ordinal)
    none: dict[str, Any] = {"phase": Phase.FAILED, "state": "JOB_STATE_FAILED", "error_message": _NO_ANSWER}
    return {
        **({} if requests else none),
        "requests": requests,
        "total": requests,
        "succeeded": len(answered),
        "failed": 0,
        "doubtful": len(doubtful),
        "doubtful_bound": bound,
    }


def end_job(session: Session, job: Job) -> Job:
    """Record that nothing more of a job is sent; if nothing ever was, it is dropped, and its requests wait.

    It can be collected then. The caller holds the run's lock. Raises StateError.
    """
    ledger, now, folder = session.ledger(), session.world.now(), session.state_folder.run(job.run)
    raw = folder.raw(job.id)
    try:
        cut_to_lines(raw)
        calls = read_calls(calls_of(folder, job))
        there = raw.exists()
        # The journal is made before the file of answers: without both, nothing was sent.
        nothing = not (there if calls is None else calls.sent or (there and raw.stat().st_size))
        if nothing:
            raw.unlink(missing_ok=True)
        else:
            raw.touch(mode=0o600)
    except OSError as error:
        raise state_error(error, raw, "answers") from error
    if nothing:
        with folder.rows() as rows:
            rows.release(job.ordinal)
        return ledger.update_job(job, "dropped", at=now, dropped_at=now)
    return ledger.update_job(
        job,
        "calls ended",
        at=now,
        stage=JobStage.ENDED,
        phase=Phase.SUCCEEDED,
        state="JOB_STATE_SUCCEEDED",
        batch=f"{CALLS}{job.id}",
        created_at=job.intended_at,
        ended_at=now,
    )


def end_if_calls(session: Session, job: Job) -> Job:
    """End a job whose process died while it sent its calls; any other one stays. The caller holds the run's lock."""
    return end_job(session, job) if job.is_calling else job


def end_abandoned(session: Session, run: Run) -> None:
    """End the jobs of a run whose process died while it sent their calls; nothing if a process works on the run."""
    ledger, folder = session.ledger(), session.state_folder.run(run.id)
    left = [job.id for job in ledger.jobs_of(run.id) if job.is_calling]
    if not left or not folder.path.is_dir():
        return
    try:
        with folder.lock(wait=0.0):
            for job_id in left:
                end_if_calls(session, ledger.job(job_id))
    except StateError as error:
        if error.reason_code != "locked":
            raise
