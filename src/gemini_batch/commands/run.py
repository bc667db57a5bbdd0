"""``run``: all of it. Validate, cut into jobs, send, wait, collect, send again what failed in passing, write results.

The same command again, or ``run RUN``, goes on where it stopped, whatever stopped it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import key_of
from gemini_batch.engine.planner import reconcile
from gemini_batch.engine.quota import Limits
from gemini_batch.engine.resend import resend
from gemini_batch.engine.runner import Runner
from gemini_batch.engine.scheduler import live_work
from gemini_batch.errors import UsageError
from gemini_batch.events import Notice
from gemini_batch.intake.submission import (
    Submission,
    check_submission,
    default_name,
    known_run,
    stage_run,
    warn_of_other_keys,
)
from gemini_batch.report.result_set import Results, check_failures, check_output, failures_beside, write_failures
from gemini_batch.report.summary import summarize
from gemini_batch.report.timeouts import check_timeout, nothing_sent, run_not_finished
from gemini_batch.store.records import JobStage
from gemini_batch.store.run_options import REQUESTS_A_JOB, RunOptions, keep_options, kept_options
from gemini_batch.validation.inputfile import check_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.session import Session
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.world import Deadline


async def run(
    session: Session,
    what: str | Submission,
    options: RunOptions | None,
    *,
    output: Path | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and on the world's clock
) -> Results:
    """Work a file (an :class:`Submission`) or a known run (its id) off to the end, and write its results to ``output``.

    Beside ``output`` stands ``failures.jsonl``, the requests without a good answer, where there are any. Raises
    UsageError (InvalidInput with all problems) before anything is sent, ServiceError where the service refuses for
    good, NotFinished after ``timeout`` seconds, StateError. Whatever ends it, the same call goes on where it stopped.
    """
    check_timeout(timeout)
    deadline = session.world.deadline(timeout)
    if output is not None:
        check_output(output)
        check_failures(failures_beside(output))
    if isinstance(what, Submission) and what.name is not None:
        options = RunOptions(name=what.name).over(options or RunOptions())
    if isinstance(what, str):
        entered = known_by_name(session, what)
    else:
        try:
            entered = await deadline.bound(_enter(session, what, options))
        except TimeoutError:
            raise nothing_sent(str(what.source), deadline.seconds) from None
    await work_off_until(deadline, session, entered, options, output=output)
    return finish(session, entered, output)


async def work_off_until(
    deadline: Deadline,
    session: Session,
    run: Run,
    options: RunOptions | None,
    *,
    output: Path | None,
    leftovers: bool = True,
) -> None:
    """The same as :func:`work_off` with an end of the waiting, after which all is as after Ctrl-C.

    Raises NotFinished then, with what is alive and the command that goes on.
    """
    try:
        await deadline.bound(work_off(session, run, options, leftovers=leftovers))
    except TimeoutError:
        raise run_not_finished(session, run, deadline.seconds, output=output) from None


def known_by_name(session: Session, run_id: str) -> Run:
    """The run of that id, or of that job, that was made here. Raises UsageError."""
    target = session.locate(run_id)
    if target.run is None or target.run.origin != "made":
        raise UsageError(
            f"{run_id} was not made here, so its requests are not known and it cannot be gone on with.",
            code="not_our_run",
            next=f"Type: gemini-batch results {run_id}",
        )
    session.check_bound(target)
    return target.run


async def _enter(session: Session, submission: Submission, options: RunOptions | None) -> Run:
    """Stage the file and enter it into the ledger, or find the run that these requests already have."""
    check_submission(submission)
    check_file(submission.source)  # what is wrong with the file itself is said before a missing key
    key_of(session.settings)
    ledger = session.ledger()
    if not submission.new and (begun := await known_run(session, submission)) is not None:
        session.emit(Notice(f"These requests have a run already: going on with {begun.id}."))
        return begun
    token = session.world.token(8)
    with session.state_folder.staging(token) as folder:
        new, _, _ = await stage_run(session, submission, folder, run_id=f"run-{token}", job=None, max_bytes=None)
        new = msgspec.structs.replace(new, options=msgspec.json.encode(options or RunOptions()).decode())
        assert new.identity is not None
        while True:
            known = ledger.newest_with_identity(new.identity)
            if known is not None and not submission.new:
                session.emit(Notice(f"These requests have a run already: going on with {known.id}."))
                return known
            place = session.state_folder.run(new.id)
            folder.path.rename(place.path)
            if ledger.add_run(new, None, at=session.world.now(), unless=known.id if known else None):
                warn_of_other_keys(session, new)
                session.emit(Notice(f"This is {new.id}: {new.requests:,} requests for {new.model}."))
                return new
            place.path.rename(folder.path)


async def work_off(session: Session, run: Run, options: RunOptions | None, *, leftovers: bool = True) -> None:
    """Conduct a run until nothing of it waits. ``leftovers``: what an earlier process collected is sent again, too.

    Raises UsageError for another key than the run's, ServiceError, StateError (another process works on it).
    """
    state_folder = session.state_folder
    ledger, folder = session.ledger(state_folder), state_folder.run(run.id)
    with folder.lock(wait=0.0):
        run = ledger.run(run.id) or run  # another process may have worked on it until now
        kept = kept_options(run)
        chosen = options.over(kept) if options is not None else kept
        overrides = chosen.overrides
        if not _work_left(ledger, folder, run, chosen.most_attempts if leftovers else 0):
            return
        if session.key_fingerprint() != run.key_fingerprint:
            # Another project's list says nothing about this run's creates in doubt, and its queue is another one.
            raise UsageError(
                f"{run.id} was begun with another API key; it goes on with that one only.",
                code="other_key",
                next="Use the key of the project that it was begun with.",
            )
        if leftovers:
            _requeue(ledger, folder, run, chosen.most_attempts)
        if chosen != kept:
            run = keep_options(ledger, run, chosen, at=session.world.now())
        backend = await session.backend()
        runner = Runner(
            session,
            backend.service,
            state_folder,
            run,
            limits=_limits((overrides and overrides.model) or run.model, chosen),
            attempts=chosen.most_attempts,
            display_name=chosen.name or default_name(Path(run.source or run.id), run.id),
            overrides=overrides,
        )
        await runner.drive()
        if overrides is not None:
            keep_options(ledger, run, msgspec.structs.replace(chosen, overrides=None), at=session.world.now())


def _work_left(ledger: Ledger, folder: RunFolder, run: Run, attempts: int) -> bool:
    """Whether anything is to be sent, watched or collected; where nothing is, no service is needed, and no key.

    What an earlier process collected and did not come to send again is work, and so is what it put into a job that it
    did not come to write down.
    """
    jobs = ledger.jobs_of(run.id)
    with folder.rows() as rows:
        reconcile(ledger, rows, run)
        if live_work(jobs) or rows.waiting().requests:
            return True
        return any(rows.unlasting(ordinal, **rule) for ordinal, rule in _rules(jobs, attempts))


def _requeue(ledger: Ledger, folder: RunFolder, run: Run, attempts: int) -> None:
    """What an earlier process collected and did not come to send again waits from here on."""
    with folder.rows() as rows:
        for ordinal, rule in _rules(ledger.jobs_of(run.id), attempts):
            rows.requeue(ordinal, **rule)


def _rules(jobs: list[Job], attempts: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for job in jobs:
        if job.stage is JobStage.COLLECTED:
            rule = resend(job, attempts)
            yield job.ordinal, {"reasons": rule.reasons, "missing": rule.missing, "most": rule.most}


def _limits(name: str, options: RunOptions) -> Limits:
    book = catalog.load()
    model = book.find(name)
    known = model.enqueued_tokens.of_tier(options.tier) if model and model.enqueued_tokens and options.tier else None
    bounds = [bound for bound in (options.max_tokens_per_job, known) if bound is not None]
    return Limits(
        requests=options.max_requests_per_job or REQUESTS_A_JOB,
        bytes=book.limits.input_file_bytes.value,
        tokens=min(bounds) if bounds else None,
        jobs=book.limits.concurrent_jobs.value,
        queue=known,
    )


def finish(session: Session, run: Run, output: Path | None) -> Results:
    """The results of a run that is worked off, written to ``output`` and beside it. Raises StateError."""
    state_folder = session.state_folder
    jobs = session.ledger(state_folder).jobs_of(run.id)
    found = Results(run, jobs, state_folder, summarize(state_folder, run, jobs, offline=session.settings.offline))
    if output is not None:
        found.write(output)
        write_failures(found, state_folder.run(run.id), output)
    return found
