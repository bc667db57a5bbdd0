"""``retry``: named failures of a run once more, by the user's own word, with a change that can help."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.catalog import Method
from gemini_batch.commands.cost_check import check_cost
from gemini_batch.commands.job_names import check_name, known_by_name
from gemini_batch.commands.late_answers import collect_late
from gemini_batch.commands.run import check_table, finish, work_off, write_to
from gemini_batch.commands.verdict_words import parse_verdicts
from gemini_batch.engine.creating.budget import budget_of
from gemini_batch.engine.creating.planner import drop, reconcile
from gemini_batch.errors import Error, Next, UsageError
from gemini_batch.events import Notice, in_thread
from gemini_batch.intake.model_checks import ask_for_model, check_model
from gemini_batch.report.leftovers import cancelled_elsewhere, unsucceeded
from gemini_batch.report.more_tokens import room_for_more
from gemini_batch.report.next_steps import costing, retry_or_fix
from gemini_batch.report.output_files import check_output
from gemini_batch.report.result_set import TableStyle
from gemini_batch.report.timeouts import check_timeout, nothing_sent, run_not_finished, work_to_go_on
from gemini_batch.stopping import Stopped
from gemini_batch.store.job_rows import sent_ordinals
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions, keep_options, kept_options
from gemini_batch.store.rows.conditions import HELD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gemini_batch.events import EventHandler
    from gemini_batch.money.limits import MaxUsd, Usd
    from gemini_batch.report.result_set import Results
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


#: Verdicts that a request mostly gets again as long as nothing about it changes.
_LASTING = frozenset({"truncated", "blocked", "empty", "invalid"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySelection:
    """What ``retry`` asks for: the final verdicts to resend, and what changes in their requests.

    ``model_check``: another model is refused if it certainly cannot serve them.
    """

    verdicts: tuple[str, ...]
    overrides: RequestOverrides
    model_check: bool = True


def selection(
    only: Sequence[str],
    *,
    max_output_tokens: int | None,
    temperature: float | None,
    model: str | None,
    model_check: bool,
) -> RetrySelection:
    """What a caller's arguments ask for. Raises UsageError for a verdict that cannot be resent."""
    name = None if model is None else model.removeprefix("models/")
    overrides = RequestOverrides(max_output_tokens=max_output_tokens, temperature=temperature, model=name)
    verdicts = parse_verdicts(only, field="--only", what=" that can be resent", but="succeeded")
    return RetrySelection(verdicts=verdicts, overrides=overrides, model_check=model_check)


async def retry(
    session: Session,
    run_id: str,
    again: RetrySelection,
    *,
    output: Path | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and on the world's clock
    max_usd: MaxUsd | Usd | None = None,
    style: TableStyle | None = None,
) -> Results:
    """Resend the requests of a finished run whose final verdict is one of those asked for.

    This costs money: only the user's explicit command does it. A new answer replaces an earlier one that had not
    succeeded. Requests that wait for another attempt are sent along. Raises UsageError where there is nothing to send,
    NotFinished after ``timeout`` seconds. ``style``: how results become a table.
    """
    check_name(run_id)
    check_timeout(timeout)
    style = style or TableStyle()
    deadline = session.world.deadline(timeout)
    if output is not None:
        check_output(session.state_folder, output, failures=True)
    session, run = known_by_name(session, run_id)
    check_table(session, run, output, style)
    ledger, folder = session.ledger(), session.state_folder.run(run.id)
    try:
        await deadline.bound(_check_change(session, run, again))
    except TimeoutError:
        raise nothing_sent(run.id, deadline.seconds) from None
    with folder.lock(wait=0.0):
        run = ledger.run(run.id) or run  # another process may have worked on it until now
        stopped = _stopped(ledger, folder, run)
        try:
            await deadline.bound(collect_late(session, run))
        except TimeoutError:
            raise nothing_sent(run.id, deadline.seconds) from None
        if _unfinished(ledger, folder, run, may_be_unsent=bool(stopped)):
            raise UsageError(
                f"{run.id} has not finished, so its requests cannot be resent yet.",
                code="not_finished",
                next=Next("run", run.id, why=costing(run, "finishes it")),
            )
        with folder.rows() as rows:
            counts, waiting = rows.census().verdicts(), rows.waiting().requests + _planned(ledger, run)
            if not waiting and not any(counts.get(verdict) for verdict in again.verdicts):
                raise _nothing(run, again, counts, _what_helps(session, run, rows))
            for job in ledger.jobs_of(run.id):
                if job.id in stopped:  # the user has said what to do about it; from now on it counts as their own
                    at = session.world.now()
                    ledger.update_job(job, "cancel accepted", at=at, cancelled_at=job.ended_at or at)
                if job.stage in {JobStage.PLANNED, JobStage.UPLOADED}:  # for an earlier retry, whose change was refused
                    drop(ledger, rows, job, at=session.world.now())
            letting = partial(_let_wait, session, run, again, rows, max_usd)
            await in_thread(lambda emit: letting(emit=emit), session.emit)
            count = rows.waiting().requests
    session.emit(Notice(f"Resending {count:,} {'request' if count == 1 else 'requests'}."))
    if not again.overrides.asked and _LASTING & set(again.verdicts):
        session.emit(
            Notice(
                "They are unchanged, so most are likely to fail again in the same way.",
                "warning",
                "--help lists the changes that can help.",
            )
        )
    try:
        await deadline.bound(work_off(session, run, None, leftovers=False))
    except TimeoutError:
        raise run_not_finished(session, run, deadline.seconds, work_to_go_on(run, output, style.words)) from None
    except Error as error:
        write_to(error, output, style)
        raise
    return await finish(session, run, output, style)


def _let_wait(
    session: Session,
    run: Run,
    again: RetrySelection,
    rows: Rows,
    max_usd: MaxUsd | Usd | None,
    *,
    emit: EventHandler,
) -> None:
    """Let the chosen requests wait, with their change; if that may cost too much, all is as it was before.

    Raises UsageError.
    """
    ledger, kept = session.ledger(), kept_options(run)
    overrides = again.overrides if again.overrides.asked else None
    chosen = RunOptions().capped(max_usd).over(msgspec.structs.replace(kept, overrides=overrides))
    # The change is written down before anything waits for it: a plain `run` after a crash makes it, too.
    run = keep_options(ledger, run, chosen, at=session.world.now())
    collected = [job.ordinal for job in ledger.jobs_of(run.id) if job.stage is JobStage.COLLECTED]
    try:
        budget = budget_of(session, run, chosen)
        check = partial(check_cost, session, run, chosen, budget, rows, is_first=True, emit=emit)
        rows.choose(again.verdicts, collected, check=check)
    except (UsageError, Stopped):
        keep_options(ledger, run, kept, at=session.world.now())
        raise


def _stopped(ledger: Ledger, folder: RunFolder, run: Run) -> Mapping[str, int]:
    """Jobs that someone else cancelled, which the run waits for the user to decide about."""
    with folder.rows() as rows:
        return cancelled_elsewhere(rows, unsucceeded(rows, ledger.jobs_of(run.id)))


def _unfinished(ledger: Ledger, folder: RunFolder, run: Run, *, may_be_unsent: bool) -> bool:
    """Whether something of a run is in doubt, alive or to be collected, or was never sent.

    What waits for another attempt only, or is planned for one, is no hindrance. After a cancel by someone else
    (``may_be_unsent``), ``run`` leaves a create in doubt and unsent requests as they are, and ``retry`` continues.
    """
    jobs = ledger.jobs_of(run.id)
    if any(job.stage in {JobStage.CREATED, JobStage.ENDED} for job in jobs):
        return True
    if not may_be_unsent and any(job.stage is JobStage.INTENDED for job in jobs):
        return True
    with folder.rows() as rows:
        reconcile(ledger, rows, run)
        return not may_be_unsent and rows.unsent(sent_ordinals(jobs)) > rows.at(HELD)


def _planned(ledger: Ledger, run: Run) -> int:
    return sum(job.requests for job in ledger.jobs_of(run.id) if not job.stage.made)


def _nothing(run: Run, again: RetrySelection, counts: Mapping[str, int], following: Next | str) -> UsageError:
    """There is nothing to resend: which verdicts there are, and what helps."""
    there = ", ".join(f"{count:,} {verdict}" for verdict, count in counts.items())
    return UsageError(
        f"No request of {run.id} has the verdict {' or '.join(again.verdicts)} ({there}).",
        code="nothing_to_retry",
        next=following,
    )


def _what_helps(session: Session, run: Run, rows: Rows) -> Next | str:
    """What helps most with what a run has left."""
    jobs = session.ledger().jobs_of(run.id)
    failures = rows.reasons()
    room = room_for_more(session.state_folder.run(run.id), run, jobs, rows, failures)
    return next(iter(retry_or_fix(run, jobs, failures, room)), "Nothing is left to resend.")


async def _check_change(session: Session, run: Run, again: RetrySelection) -> None:
    """Refuse a change that cannot help this run. Raises UsageError."""
    overrides = again.overrides
    if run.method is Method.EMBED and overrides.rewrites:
        with session.state_folder.run(run.id).rows() as rows:
            following = _what_helps(session, run, rows)
        raise UsageError(
            "--temperature and --max-output-tokens do not apply to embeddings.",
            code="bad_argument",
            next=following,
        )
    if overrides.model is not None:
        check_model(session, overrides.model, run.method, refuse=again.model_check)
        if again.model_check:
            await ask_for_model(session, overrides.model)
