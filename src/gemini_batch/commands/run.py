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
from gemini_batch.engine.runner import Conductor
from gemini_batch.engine.scheduler import live_work
from gemini_batch.errors import UsageError
from gemini_batch.events import Said
from gemini_batch.intake.submission import Order, check_order, default_name, known_run, stage_run, warn_of_other_keys
from gemini_batch.report.result_set import Results, check_failures, check_output, failures_beside, write_failures
from gemini_batch.report.summary import summarize
from gemini_batch.store.records import Life
from gemini_batch.store.run_options import REQUESTS_A_JOB, Options, keep_options, kept_options
from gemini_batch.validation.inputfile import check_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.session import Session
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder


async def run(session: Session, what: str | Order, options: Options | None, *, output: Path | None = None) -> Results:
    """Work a file (an :class:`Order`) or a known run (its id) off to the end, and write its results to ``output``.

    Beside ``output`` stands ``failures.jsonl``, the requests without a good answer, where there are any. Raises
    UsageError (InvalidInput with all problems) before anything is sent, ServiceError where the service refuses for
    good, StateError. Whatever ends it, the same call goes on where it stopped.
    """
    if output is not None:
        check_output(output)
        check_failures(failures_beside(output))
    if isinstance(what, Order) and what.name is not None:
        options = Options(name=what.name).over(options or Options())
    entered = known_by_name(session, what) if isinstance(what, str) else await _enter(session, what, options)
    await work_off(session, entered, options)
    return finish(session, entered, output)


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


async def _enter(session: Session, order: Order, options: Options | None) -> Run:
    """Stage the file and enter it into the ledger, or find the run that these requests already have."""
    check_order(order)
    check_file(order.source)  # what is wrong with the file itself is said before a missing key
    key_of(session.settings)
    ledger = session.ledger()
    if not order.new and (begun := await known_run(session, order)) is not None:
        session.tell(Said(f"These requests have a run already: going on with {begun.id}."))
        return begun
    token = session.world.token(8)
    with session.home.staging(token) as folder:
        new, _, _ = await stage_run(session, order, folder, run_id=f"run-{token}", job=None, max_bytes=None)
        new = msgspec.structs.replace(new, options=msgspec.json.encode(options or Options()).decode())
        assert new.identity is not None
        while True:
            known = ledger.newest_with_identity(new.identity)
            if known is not None and not order.new:
                session.tell(Said(f"These requests have a run already: going on with {known.id}."))
                return known
            place = session.home.run(new.id)
            folder.path.rename(place.path)
            if ledger.add_run(new, None, at=session.world.now(), unless=known.id if known else None):
                warn_of_other_keys(session, new)
                session.tell(Said(f"This is {new.id}: {new.requests:,} requests for {new.model}."))
                return new
            place.path.rename(folder.path)


async def work_off(session: Session, run: Run, options: Options | None, *, leftovers: bool = True) -> None:
    """Conduct a run until nothing of it waits. ``leftovers``: what an earlier process collected is sent again, too.

    Raises UsageError for another key than the run's, ServiceError, StateError (another process works on it).
    """
    home = session.home
    ledger, folder = session.ledger(home), home.run(run.id)
    with folder.lock(wait=0.0):
        run = ledger.run(run.id) or run  # another process may have worked on it until now
        kept = kept_options(run)
        chosen = options.over(kept) if options is not None else kept
        change = chosen.change
        if not _work_left(ledger, folder, run, chosen.most_attempts if leftovers else 0):
            return
        if session.key_print() != run.key_print:
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
        conductor = Conductor(
            session,
            backend.service,
            home,
            run,
            limits=_limits((change and change.model) or run.model, chosen),
            attempts=chosen.most_attempts,
            display_name=chosen.name or default_name(Path(run.source or run.id), run.id),
            change=change,
        )
        await conductor.conduct()
        if change is not None:
            keep_options(ledger, run, msgspec.structs.replace(chosen, change=None), at=session.world.now())


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
        if job.life is Life.COLLECTED:
            rule = resend(job, attempts)
            yield job.ordinal, {"reasons": rule.reasons, "missing": rule.missing, "most": rule.most}


def _limits(name: str, options: Options) -> Limits:
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
    home = session.home
    jobs = session.ledger(home).jobs_of(run.id)
    found = Results(run, jobs, home, summarize(home, run, jobs, offline=session.settings.offline))
    if output is not None:
        found.write(output)
        write_failures(found, home.run(run.id), output)
    return found
