"""What a run is about to cost: said, and compared with its limits, before anything is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from gemini_batch.commands.estimate import foreseen
from gemini_batch.commands.estimate_words import main_lines
from gemini_batch.events import Notice
from gemini_batch.money.limits import nano, usd
from gemini_batch.report.spending.before import Sending, keep_sending
from gemini_batch.store.job_rows import sent_ordinals
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from gemini_batch.engine.creating.budget import Budget
    from gemini_batch.events import EventHandler
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.ledger.run_options import RunOptions
    from gemini_batch.store.rows.rows import Rows


def check_cost(
    session: Session,
    run: Run,
    options: RunOptions,
    budget: Budget,
    rows: Rows,
    *,
    is_first: bool,
    emit: EventHandler,
) -> None:
    """Say what a run is about to send and what it will cost, and compare that with its limits. Raises UsageError.

    ``is_first``: the requests are sent for the first time, or again by the user's word. What only goes on is not
    compared: its limits hold for each job. A cost that nothing is known to expect is not compared either. What is
    expected is recorded, to be compared with what it cost. It may read many requests, so it is called in a thread,
    whose ``emit`` it is given.
    """
    if not rows.waiting().requests:
        return
    folder = session.state_folder.run(run.id)
    found = foreseen(session, run, folder, rows, options, source=run.id)
    for line in main_lines(found):
        session.say_once(Notice(line), emit)
    if not is_first:
        return
    if options.max_usd_basis == "worst":
        budget.check(rows)
    else:
        budget.check(rows, nano(Decimal(found.usd.expected or 0)))
    if slow := _rounds(budget, rows):
        session.say_once(Notice(slow), emit)
    ledger = session.ledger()
    newest = max(sent_ordinals(ledger.jobs_of(run.id)), default=0)
    cost = found.usd
    keep_sending(ledger, run, Sending(newest, cost.low, cost.expected, cost.high), at=session.world.now())


def _rounds(budget: Budget, rows: Rows) -> str:
    """What to say where a limit holds only a part of the requests at a time; empty if it holds all, or none."""
    purse, waiting = budget.purse(rows), rows.waiting().requests
    if purse is None:
        return ""
    most = rows.most(purse.prices).nano
    at_once = purse.room * waiting // most if most else waiting
    if not 0 < at_once < waiting:
        return ""
    return (
        f"The limit lets about {at_once:,} of {counted(waiting, 'request')} be sent at a time, because each may cost "
        f"up to ${usd(most // waiting)}: at least {-(-waiting // at_once):,} rounds of jobs. A lower maxOutputTokens "
        "lets more be sent at a time."
    )
