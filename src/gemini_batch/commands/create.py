"""``create``: a run with one job, driven until the job is created; or the job that these requests already have."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch import catalog
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.catalog import Method  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.commands.late_answers import before_continuing_new, refuse_late
from gemini_batch.commands.remembering import check_visible, choose, remember
from gemini_batch.engine.calling.flex_jobs import end_if_calls
from gemini_batch.engine.creating.budget import OverBudgetError, budget_of
from gemini_batch.engine.creating.create_policy import standing
from gemini_batch.engine.creating.planner import drop, plan_job, reconcile
from gemini_batch.engine.creating.submitter import Submitter
from gemini_batch.engine.poller import poll_job
from gemini_batch.engine.quota import Limits
from gemini_batch.engine.uploads.input_files import delete_input, inputs_of
from gemini_batch.errors import ApiError, Next, ServiceError
from gemini_batch.events import Notice
from gemini_batch.intake.job_titles import display_name
from gemini_batch.intake.model_checks import say
from gemini_batch.intake.submission import enter_run, prepared
from gemini_batch.intake.terms import check_possible, check_size
from gemini_batch.memory.claims import TakenError
from gemini_batch.report.billing import paid_again
from gemini_batch.report.job_view import run_facts
from gemini_batch.session import KnownJob
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import Selection, keep_options, kept_options
from gemini_batch.store.rows.conditions import ELSEWHERE, HELD, REMEMBERED
from gemini_batch.store.rows.row_records import Waiting
from gemini_batch.wire import Phase, state_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.intake.submission import Entered, Submission
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder

#: How many jobs a sentence names.
_NAMED = 3
#: A job that is known here has been seen to be unknown at the service and back a moment later.
_ABSENCE_PAUSES = (1.0, 2.0)


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What ``create`` did."""

    job: str
    """Name of the job at the service, `batches/…`; id of the run, `run-…`, if no request had to be sent."""
    run: str
    """Id of the run that holds the requests, `run-…`."""
    name: str
    """Display name of the job."""
    state: str
    """State of the job, `JOB_STATE_…`; without a job, that of the run."""
    model: str
    """Model that answers."""
    method: Method
    """What the job does with each request."""
    requests: int
    """Number of requests in the job."""
    bytes: int
    """Size of the requests in the job."""
    remembered: int
    """Requests of the file that were answered before, in another run; they are not sent."""
    elsewhere: int
    """Requests of the file that another run has sent and that are not answered yet; they are left out."""
    held_back: int
    """Requests of the file that `--limit` or `--sample` leaves out."""
    attached: bool
    """True if nothing was sent: the job existed before, or every request has an answer or is in another job."""
    backend: str
    """Base URL at which the job lives, or `offline`."""
    offline: bool
    """True if the local emulator answers."""
    warnings: list[str]
    """Warnings about the requests or the model, as sentences."""


async def create(session: Session, submission: Submission) -> Created:
    """Validate the file, then create one job of the requests that were not sent before, or attach to the one they have.

    Raises UsageError (InvalidInput with all problems) before anything is sent, StateError, ServiceError.
    """
    async with prepared(session, submission) as made:
        return await _create(session, made)


async def _create(session: Session, submission: Submission) -> Created:
    limits = catalog.load().limits.of_job(vertex=session.settings.vertex is not None)
    everything = submission.selection == Selection()
    most = limits.bytes if everything else None
    besides: Run | None = None

    async def check(_: Session, new: Run, again: bool) -> None:
        check_possible(new, inline=submission.inline)
        await refuse_late(session, new, again)

    while True:
        entered = await enter_run(
            session, submission, submission.options, before_new=check, max_bytes=most, besides=besides
        )
        if not entered.is_new:
            await check_visible(session, session.ledger().jobs_of(entered.run.id))
            absent = await _refresh(session, entered.run)
            if not _may_send(session, submission, entered.run) and (found := _found(session, entered.run, absent)):
                return _describe(session, submission, entered.run, found, entered.warnings, attached=True)
        driven = await _drive(session, submission, entered)
        if driven is not None:
            break
        besides = entered.run
    job, made_here = driven
    if job is not None and job.total and job.total != job.requests:
        say(session, entered.warnings, f"The service counts {job.total} requests, but {job.requests} were sent.", None)
    return _describe(session, submission, entered.run, job, entered.warnings, attached=not made_here)


def _may_send(session: Session, submission: Submission, run: Run) -> bool:
    """Whether requests of a known run were never sent that are to be sent now; after a cancel, none is."""
    if any(job.cancelled_at is not None or job.phase is Phase.CANCELLED for job in session.ledger().jobs_of(run.id)):
        return False
    folder = session.state_folder.run(run.id)
    if not folder.path.is_dir():
        return False
    with folder.rows() as rows:
        return bool(rows.never_sent() or rows.unselected(submission.selection))


async def _refresh(session: Session, run: Run) -> frozenset[str]:
    """Poll the jobs of a known run, newest first, until one is alive; returns the ids of those the service has not.

    Nothing else is changed: another process may be working on the run.
    """
    absent = set()
    for job in reversed(session.ledger().jobs_of(run.id)):
        if (seen := await _refreshed(session, job)) is None:
            absent.add(job.id)
        elif seen.stage is JobStage.CREATED:
            break  # one that is alive is enough
    return frozenset(absent)


def _found(session: Session, run: Run, absent: frozenset[str] = frozenset()) -> Job | None:
    """The job that stands for a known run: the newest active one, else the newest that was created; None without one.

    Raises ApiError where only jobs would that the service no longer knows: whether to pay again is for the user.
    """
    facts = run_facts(session, run)
    if not facts.jobs or standing(facts.jobs, answered=facts.answered) != "attach":
        return None
    gone = [job for job in facts.jobs if job.id in absent or job.lost == "JOB_GONE"]
    there = [job for job in facts.jobs if job not in gone and job.stage.made]
    if gone and standing(there, answered=0) != "attach":
        raise _gone(gone[-1])
    living = [job for job in there if job.stage is JobStage.CREATED]
    stopped = [job.batch or job.id for job in there if job.phase is Phase.CANCELLED and job.cancelled_at is None]
    if stopped and not living:
        what = (
            f"{', '.join(stopped[:_NAMED])}{', …' if stopped[_NAMED:] else ''} {'was' if len(stopped) == 1 else 'were'}"
        )
        why = f"{what} cancelled, and not from here. After a cancel, create sends nothing without --new."
        session.emit(Notice(why, "warning"))
    if facts.in_doubt and not living:
        session.emit(Notice(f"A create of {run.id} was sent and not answered.", "warning", facts.next))
    if facts.unsent:
        session.emit(Notice(f"{facts.unsent:,} requests of {run.id} have not been sent yet.", next=facts.next))
    return (living or there)[-1]


async def _drive(session: Session, submission: Submission, entered: Entered) -> tuple[Job | None, bool] | None:
    """Drive one job of the run until it is created; ``(the job, whether that was done here)``.

    There is no job if every request was answered before or is in another run's job. None instead if all jobs of the run
    have ended without an answer, and no other process is about to resend them.
    """
    run = entered.run
    folder, ledger = session.state_folder.run(run.id), session.ledger()

    def has_job() -> bool:
        return standing(ledger.jobs_of(run.id), answered=0) == "attach"

    async with session.locked(folder, unless=has_job) as is_ours:
        if not is_ours:  # another process was faster
            return _found(session, run), False
        run = ledger.run(run.id) or run
        unsent = all(job.stage in {JobStage.PLANNED, JobStage.UPLOADED} for job in ledger.jobs_of(run.id))
        if entered.is_new or unsent or _may_send(session, submission, run):
            options = submission.options.over(kept_options(run))
            choose(session, run, options)
            run = keep_options(ledger, run, options, at=session.world.now())
            await remember(session, run, waits=False)
        with folder.rows() as rows:
            waiting, jobs = rows.never_sent(), ledger.jobs_of(run.id)
        if not waiting:
            if (found := _found(session, run)) is not None:
                return found, False
            if not jobs:  # every request has its answer, or waits for that of another run
                return None, False
        if not waiting and standing(jobs, answered=0) == "over":
            for earlier in ledger.earlier_with_identity(run):  # this one was made with --new
                alive = any(job.stage is JobStage.CREATED for job in ledger.jobs_of(earlier.id))
                if (alive or run_facts(session, earlier).answered) and (found := _found(session, earlier)) is not None:
                    return found, False
            states = ", ".join(sorted({str(job.state) for job in jobs}))
            session.emit(
                Notice(
                    f"The earlier job of these requests ended without results ({states}); another one is created"
                    f"{paid_again(session.settings)}."
                )
            )
            return None
        if not entered.is_new:
            await before_continuing_new(session, run)
        check_possible(run, inline=submission.inline)
        check_size(run, _waiting(folder, jobs), submission.named, inline=submission.inline)
        return await _made(session, submission, run)


async def _made(session: Session, submission: Submission, run: Run) -> tuple[Job | None, bool]:
    """Plan one job and get it created; what other runs have sent or answered meanwhile is left out."""
    folder, ledger = session.state_folder.run(run.id), session.ledger()
    service = (await session.backend()).service
    budget = budget_of(session, run, kept_options(run))
    while True:
        job = await _one_job(session, submission, run)
        if job is None:
            return _found(session, run), False
        with folder.rows() as rows:
            budget.check_one(rows, job)
        try:
            return await Submitter(session, service, ledger, run, folder, budget=budget).make(job), True
        except OverBudgetError:  # another process has reserved what was left
            with folder.rows() as rows:
                raise budget.too_much(rows, job) from None
        except TakenError:
            job = ledger.job(job.id)
            with folder.rows() as rows:
                drop(ledger, rows, job, at=session.world.now())
            for file in inputs_of(ledger, job):
                with contextlib.suppress(ServiceError):  # it stays in the ledger for `clean`
                    await delete_input(service, ledger, file, at=session.world.now())
            await remember(session, run, waits=False)


async def _one_job(session: Session, submission: Submission, run: Run) -> Job | None:
    """The job to create: the one in doubt, or one of all that waits; None if nothing does.

    The caller holds the run's lock.

    What was planned in several jobs was not sent, so it is planned again in one.
    """
    folder, ledger, now = session.state_folder.run(run.id), session.ledger(), session.world.now
    if run.forgotten_at is not None:
        ledger.set_forgotten(run, at=now(), forgotten=False)
    jobs = [end_if_calls(session, job) for job in ledger.jobs_of(run.id)]
    if in_doubt := [job for job in jobs if job.stage is JobStage.INTENDED]:
        return in_doubt[0]
    with folder.rows() as rows:
        reconcile(ledger, rows, run)
        kind: Literal["file", "inline"] = "inline" if submission.inline else "file"
        planned = [job for job in jobs if not job.stage.made]
        if len(planned) == 1 and not rows.waiting().requests and planned[0].input_kind == kind:
            job = planned[0]
            if submission.name not in {None, job.display_name}:
                job = ledger.update_job(job, "named", at=now(), display_name=submission.name)
            return job
        for job in planned:
            drop(ledger, rows, job, at=now())
        kept = kept_options(run)
        overrides = kept.overrides  # of a retry that has not finished
        if overrides is not None and overrides.rewrites:
            kind = "file"
        return await plan_job(
            ledger,
            folder,
            run,
            Limits(requests=run.requests, bytes=run.bytes, tokens=None, jobs=1),
            tokens=None,
            model=(overrides and overrides.model) or run.model,
            display_name=submission.name or display_name(ledger, run, kept),
            key_fingerprint=session.key_fingerprint(),
            now=now,
            overrides=overrides,
            input_kind=kind,
        )


def _describe(
    session: Session, submission: Submission, run: Run, job: Job | None, warnings: list[str], *, attached: bool
) -> Created:
    ledger = session.ledger()
    run = ledger.run_of(job) if job is not None else ledger.run(run.id) or run
    with session.state_folder.run(run.id).rows() as rows:
        remembered, elsewhere, held = rows.at(REMEMBERED), rows.at(ELSEWHERE), rows.at(HELD)
    if job is not None and attached:
        session.emit(
            Notice(
                f"These requests already have a job: {job.batch} ({job.state or 'state unknown'}); nothing was sent.",
                next=f"Use --new to create another one{paid_again(session.settings)}.",
            )
        )
    if job is not None and submission.name not in {None, job.display_name}:
        session.emit(Notice(f"--name {submission.name!r} has no effect: the job is called {job.display_name!r}."))
    return Created(
        job=(job and job.batch) or run.id,
        run=run.id,
        name=job.display_name if job else "",
        state=(job.state or state_word(None)) if job else run_facts(session, run).state.value,
        model=job.model if job else run.model,
        method=run.method,
        requests=job.requests if job else 0,
        bytes=job.bytes if job else 0,
        remembered=remembered,
        elsewhere=elsewhere,
        held_back=held,
        attached=attached,
        backend=run.backend,
        offline=session.settings.offline,
        warnings=warnings,
    )


def _gone(job: Job) -> ApiError:
    assert job.batch is not None
    return ApiError(
        f"These requests have a job, {job.batch}, but the service cannot find it (404).",
        status=404,
        reason="NOT_FOUND",
        code="job_not_found",
        # Nothing that pays again is proposed: a job that was hidden for an hour would be paid for twice.
        next=Next("status", job.batch, why="asks again: jobs reappear, and one that was deleted may have been billed"),
    )


async def _refreshed(session: Session, job: Job) -> Job | None:
    """The job as it is now, where the service says so; as last seen, where it does not.

    None for a job that the service does not know (404, several times): it may reappear, or may have been deleted and
    billed all the same.
    """
    if job.stage is not JobStage.CREATED:
        return job
    target = KnownJob(session.ledger().run_of(job), job, session.settings.offline)
    for pause in (*_ABSENCE_PAUSES, None):
        try:
            await poll_job(session, target)
        except ServiceError as error:
            if meaning(error) is not Trouble.ABSENT:
                break
            if pause is None:
                return None
            await session.world.sleep(pause)
        else:
            break
    return session.ledger().job(job.id)


def _waiting(folder: RunFolder, jobs: Sequence[Job]) -> Waiting:
    """The totals of what one job would hold: what waits, and what was planned and not sent."""
    with folder.rows() as rows:
        waiting = rows.waiting()
    planned = [job for job in jobs if not job.stage.made]
    return Waiting(
        waiting.requests + sum(job.requests for job in planned),
        waiting.bytes + sum(job.bytes for job in planned),
        waiting.tokens,
    )
