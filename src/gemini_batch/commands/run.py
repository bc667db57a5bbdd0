"""``run``: all of it. Validate, split into jobs, send, wait, collect, resend temporary failures, write results.

The same command again, or ``run RUN``, goes on where it stopped, whatever stopped it.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.api.trouble import meaning
from gemini_batch.commands.cost_check import check_cost
from gemini_batch.commands.finishing import stop_stuck
from gemini_batch.commands.job_names import known_by_name
from gemini_batch.commands.late_answers import before_continuing_new, collect_late, may_have_more, refuse_late
from gemini_batch.commands.listen import ringing
from gemini_batch.commands.remembering import check_visible, choose, remember, wait_elsewhere
from gemini_batch.commands.results import held_results, write_out
from gemini_batch.engine.calling.choose import ROWS, TOKENS, Auto
from gemini_batch.engine.calling.flex_jobs import CONCURRENCY, Manner, check_manner, check_sizes
from gemini_batch.engine.creating.budget import budget_of
from gemini_batch.engine.creating.planner import drop, reconcile
from gemini_batch.engine.quota import Limits
from gemini_batch.engine.resend import stopped_by_others
from gemini_batch.engine.runner import Runner
from gemini_batch.engine.scheduler import live_work
from gemini_batch.errors import Error, JobError, Next, NotFinished, ServiceError
from gemini_batch.events import Notice, in_thread
from gemini_batch.intake.job_titles import display_name
from gemini_batch.intake.submission import Submission, enter_run, prepared
from gemini_batch.intake.tabular import check_not_read
from gemini_batch.intake.terms import check_possible
from gemini_batch.report.leftovers import resendable, unsucceeded
from gemini_batch.report.output_files import check_output
from gemini_batch.report.result_set import TableStyle
from gemini_batch.report.table_file import check_columns
from gemini_batch.report.timeouts import check_timeout, nothing_sent, run_not_finished, work_to_go_on
from gemini_batch.store.job_rows import sent_ordinals
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import REQUESTS_A_JOB, RunOptions, Selection, keep_options, kept_options
from gemini_batch.store.rows.conditions import HELD
from gemini_batch.store.rows.labels import LABEL_BYTES
from gemini_batch.tables.note import table_of
from gemini_batch.vertex_place import is_vertex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gemini_batch.commands.listen import Address
    from gemini_batch.engine.creating.budget import Budget
    from gemini_batch.engine.scheduler import Until
    from gemini_batch.intake.submission import Entered
    from gemini_batch.report.result_set import Results
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.world import Bell, Deadline


async def run(
    session: Session,
    what: str | Submission,
    options: RunOptions | None,
    *,
    output: Path | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and on the world's clock
    webhook: Address | None = None,
    style: TableStyle | None = None,
    finish_after: float | None = None,
) -> Results:
    """Work a file (an :class:`Submission`) or a known run (its id) off to the end, and write its results to ``output``.

    Next to ``output`` stand the requests without a good answer, where there are any (:func:`failures_file`). Raises
    UsageError (InvalidInput with all problems) before anything is sent, ServiceError where the service refuses for
    good, NotFinished after ``timeout`` seconds, StateError. Whatever ends it, the same call goes on where it stopped.
    ``finish_after``: cancel jobs that are at least so many seconds old, and send what they leave as calls.
    ``style``: how results become a table. ``webhook``: where the service
    announces the ends of new jobs; an announcement makes the next poll come at once.
    """
    check_timeout(timeout)
    deadline = session.world.deadline(timeout)
    if output is not None:
        check_output(session.state_folder, output, failures=True)
    async with ringing(session, webhook) as bell:
        session, run = await _worked_off(
            session,
            what,
            options,
            output=output,
            style=style or TableStyle(),
            deadline=deadline,
            webhook_url=None if webhook is None else webhook.url,
            bell=bell,
            finish_after=finish_after,
        )
    return await finish(session, run, output, style)


async def _worked_off(
    session: Session,
    what: str | Submission,
    options: RunOptions | None,
    *,
    output: Path | None,
    style: TableStyle,
    deadline: Deadline,
    webhook_url: str | None,
    bell: Bell[Notice] | None,
    finish_after: float | None,
) -> tuple[Session, Run]:
    """Enter the run or find it, and work it off; returns it, with the session that it is worked on in."""
    if isinstance(what, Submission):
        options = what.options.over(options or RunOptions())
        try:
            entered = await deadline.bound(_entered(session, what, options, output, style))
        except TimeoutError:
            raise nothing_sent(what.named, deadline.seconds) from None
        run = entered.run
        known = "These requests have a run already. Continuing"
        session.emit(
            Notice(f"Started {run.id}: {run.requests:,} request{'' if run.requests == 1 else 's'} for {run.model}.")
            if entered.is_new
            else Notice(f"{known} {run.id}.")
        )
        is_new = entered.is_new
    else:
        session, run = known_by_name(session, what)
        check_table(session, run, output, style)
        is_new = False
    try:
        if not is_new:
            await deadline.bound(before_continuing_new(session, run))
        await deadline.bound(
            work_off(session, run, options, webhook_url=webhook_url, bell=bell, finish_after=finish_after)
        )
    except TimeoutError:
        raise run_not_finished(session, run, deadline.seconds, work_to_go_on(run, output, style.words)) from None
    except Error as error:
        write_to(error, output, style)
        raise
    return session, run


def write_to(error: Error, output: Path | None, style: TableStyle) -> None:
    """Let the next command that an error names write what this command would have written."""
    if output is not None and isinstance(error.next, Next):
        error.next = error.next.writing_to(str(output), *style.words)


async def _entered(
    session: Session, submission: Submission, options: RunOptions, output: Path | None, style: TableStyle
) -> Entered:
    if submission.table is not None and output is not None:
        check_not_read(submission.table, output, "--output")
    async with prepared(session, submission) as made:
        if made.prepared is not None:
            all_rows = submission.selection == Selection()
            method = made.prepared.recipe.method
            check_columns(made.prepared.note, method, output, details=style.details, all_rows=all_rows)

        async def check(_: Session, new: Run, again: bool) -> None:
            check_manner(new, _manner(options))
            check_possible(new, via=options.via)
            await refuse_late(session, new, again)

        return await enter_run(session, made, options, before_new=check)


def check_table(session: Session, run: Run, output: Path | None, style: TableStyle) -> None:
    """Refuse, before anything is sent, a table that could not be written afterwards. Raises UsageError."""
    table = table_of(session.state_folder.run(run.id).path)
    check_columns(None if table is None else table.note, run.method, output, details=style.details)


async def work_off(
    session: Session,
    run: Run,
    options: RunOptions | None,
    *,
    leftovers: bool = True,
    webhook_url: str | None = None,
    bell: Bell[Notice] | None = None,
    finish_after: float | None = None,
    until: Until = "finished",
) -> None:
    """Conduct a run until nothing of it waits. ``leftovers``: what an earlier process collected is resent, too.
    ``finish_after``: first cancel the jobs that are at least so many seconds old. ``until``: end earlier.

    Raises UsageError for another key than the run's, ServiceError, StateError (another process works on it).
    """
    ledger, folder = session.ledger(), session.state_folder.run(run.id)
    with folder.lock(wait=0.0):
        run = ledger.run(run.id) or run  # another process may have worked on it until now
        kept = kept_options(run)
        chosen = options.over(kept) if options is not None else kept
        overrides, manner = chosen.overrides, _manner(chosen)
        check_manner(run, manner)
        via = manner.route if finish_after is None else "flex"
        check_possible(run, via=via)
        left, stopper = _left(ledger, folder, run) if leftovers else ([], None)
        late = leftovers and stopper is None and any(map(may_have_more, ledger.jobs_of(run.id)))
        if late and _is_to_be_sent_again(ledger, folder, run):
            await collect_late(session, run)
            left, _ = _left(ledger, folder, run)
        widens = options is not None and options.selection is not None
        is_first = not sent_ordinals(ledger.jobs_of(run.id))
        if widens and overrides is None:
            held = _held(folder)
            choose(session, run, chosen)
            is_first = is_first or _held(folder) < held
        if chosen.encoded() != kept.encoded():
            run = keep_options(ledger, run, chosen, at=session.world.now())

        with folder.rows() as rows:
            check_sizes(run, manner, rows)
            _replan(ledger, rows, run, manner, at=session.world.now())

        async def drive() -> None:
            backend = await session.backend()
            runner = Runner(
                session,
                backend.service,
                run,
                limits=_limits((overrides and overrides.model) or run.model, chosen, vertex=is_vertex(run.backend)),
                budget=budget,
                attempts=chosen.most_attempts,
                display_name=display_name(ledger, run, chosen),
                overrides=overrides,
                leftovers=left,
                stopper=stopper,
                webhook_url=webhook_url,
                bell=bell,
                manner=manner,
                until=until,
            )
            await runner.drive()

        before = kept.selection if widens and overrides is None else chosen.selection
        budget = await _compared(session, run, chosen, before, is_first=is_first)
        await stop_stuck(session, run, finish_after)
        while True:
            if _work_left(ledger, folder, run, left, chosen.most_attempts):
                await check_visible(session, ledger.jobs_of(run.id))
                if run.forgotten_at is not None:
                    ledger.set_forgotten(run, at=session.world.now(), forgotten=False)
                await drive()
            elif stopper is not None:
                raise stopper
            if not await wait_elsewhere(session, run):
                break
            await remember(session, run, waits=True)  # what those jobs did not answer is sent by this run
            left = []  # what this process collected is resent
        if overrides is None:
            return
        keep_options(ledger, run, msgspec.structs.replace(chosen, overrides=None), at=session.world.now())
    if widens:  # the change was for the requests of that retry; others are sent as they are
        await work_off(session, run, options, leftovers=leftovers, webhook_url=webhook_url, bell=bell)


async def _compared(
    session: Session, run: Run, options: RunOptions, before: Selection | None, *, is_first: bool
) -> Budget:
    """The budget of a run, after what is remembered was taken and the cost of the rest was compared with it.

    ``before``: the selection that held before this command. It holds again if this fails, so that the command is
    compared once more when it is repeated.
    """
    try:
        await remember(session, run, waits=True)
        budget = budget_of(session, run, options)
        if run.shards is not None:
            return budget
        with session.state_folder.run(run.id).rows() as rows:
            check = partial(check_cost, session, run, options, budget, rows, is_first=is_first)
            await in_thread(lambda emit: check(emit=emit), session.emit)
    except BaseException:
        if before != options.selection:
            again = msgspec.structs.replace(options, selection=before)
            choose(session, run, again)
            keep_options(session.ledger(), run, again, at=session.world.now())
        raise
    return budget


def _held(folder: RunFolder) -> int:
    with folder.rows() as rows:
        return rows.at(HELD)


def _left(ledger: Ledger, folder: RunFolder, run: Run) -> tuple[list[Job], NotFinished | None]:
    """The collected jobs with requests that may have to be resent; and the error if someone else cancelled any."""
    with folder.rows() as rows:
        left = unsucceeded(rows, ledger.jobs_of(run.id))
        return left, stopped_by_others(rows, run, left)


def _replan(ledger: Ledger, rows: Rows, run: Run, manner: Manner, *, at: float) -> None:
    """Drop jobs that an earlier process planned, and did not send, for another way or another price than now."""
    for job in ledger.jobs_of(run.id):
        if job.stage not in {JobStage.PLANNED, JobStage.UPLOADED}:
            continue
        if manner.route not in {"auto", job.via} or (job.via == "flex" and job.standard != manner.standard):
            drop(ledger, rows, job, at=at)


def _work_left(ledger: Ledger, folder: RunFolder, run: Run, left: Sequence[Job], attempts: int) -> bool:
    """Whether anything is to be sent, watched or collected; where nothing is, no service is needed, and no key.

    What an earlier process collected and did not come to resend is work, and so is what it put into a job that it
    did not come to write down.
    """
    jobs = ledger.jobs_of(run.id)
    with folder.rows() as rows:
        reconcile(ledger, rows, run)
        if live_work(jobs) or rows.waiting().requests:
            return True
        return resendable(rows, left, attempts) > 0


def _is_to_be_sent_again(ledger: Ledger, folder: RunFolder, run: Run) -> bool:
    """Whether requests wait that were sent before, for a ``retry`` that was interrupted, for example."""
    sent = sent_ordinals(ledger.jobs_of(run.id))
    with folder.rows() as rows:
        return rows.census().to_send(sent) > rows.unsent(sent)


def _manner(options: RunOptions) -> Manner:
    auto = Auto(
        rows=ROWS if options.flex_rows is None else options.flex_rows,
        tokens=TOKENS if options.flex_tokens is None else options.flex_tokens,
        deadline=options.deadline,
    )
    return Manner(
        route=options.via or "batch",
        auto=auto,
        concurrency=options.concurrency or CONCURRENCY,
        standard=bool(options.allow_standard),
    )


def _limits(name: str, options: RunOptions, *, vertex: bool) -> Limits:
    book = catalog.load()
    model = book.find(name)
    known = model.enqueued_tokens.of_tier(options.tier) if model and model.enqueued_tokens and options.tier else None
    bounds = [bound for bound in (options.max_tokens_per_job, known) if bound is not None]
    most = book.limits.of_job(vertex=vertex)
    requests = options.max_requests_per_job or REQUESTS_A_JOB
    requests = requests if most.requests is None else min(requests, most.requests)
    return Limits(
        requests=requests,
        bytes=most.bytes - requests * LABEL_BYTES if vertex else most.bytes,
        tokens=min(bounds) if bounds else None,
        jobs=most.jobs,
        queue=known,
    )


async def finish(session: Session, run: Run, output: Path | None, style: TableStyle | None = None) -> Results:
    """The results of a finished run, written to ``output`` and next to it. Raises StateError."""
    try:
        found = await held_results(session, run)
    except (JobError, ServiceError) as error:
        if not meaning(error).not_shown:
            raise
        await work_off(session, run, None)  # answers that were damaged here: the run asks until it is certain
        found = await held_results(session, run)
    if style is not None:
        found = dataclasses.replace(found, _style=style)
    if output is not None:
        write_out(session, run, found, output)
    return found
