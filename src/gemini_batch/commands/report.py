"""``report``: what the runs of this state folder used and cost."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from gemini_batch.commands.job_names import held_here
from gemini_batch.errors import UsageError
from gemini_batch.events import Notice, in_thread
from gemini_batch.report.spending.before import Sending, sendings
from gemini_batch.report.spending.files import check_place, write_report
from gemini_batch.report.spending.reading import read_facts
from gemini_batch.report.spending.sums import BY, By, SpendReport, spend_report

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.session import Session


async def report(
    session: Session, name: str | None, *, since: int | dt.date | None, by: By, output: Path | None
) -> SpendReport:
    """The report of a run, named by its id or by any of its jobs, or of all runs; ``output``: also written there.

    Raises UsageError, also for a name that is unknown here, StateError.
    """
    if by not in BY:
        raise UsageError(
            f"{by!r} is not one of {', '.join(BY)}.", field="--by", code="bad_argument", next="Choose one of them."
        )
    if output is not None:
        check_place(output)
    today = dt.datetime.fromtimestamp(session.world.now(), dt.UTC).date()
    first = _first_day(since, today)
    run, before = None, list[Sending]()
    if name is not None:
        session, target = held_here(session, name)
        run, before = target.run.id, sendings(session.ledger(), target.run)
    session.name_empty_state_folder()
    facts = await in_thread(lambda _: read_facts(session, run=run, since=first), session.emit)
    for unread, message in facts.unread.items():
        session.emit(Notice(f"{unread}: {message} The amounts leave it out.", "warning"))
    found = spend_report(
        facts, by=by, run=run, since=first, until=today, offline=session.settings.offline, before=before
    )
    if output is not None:
        write_report(found, output)
    return found


def _first_day(since: int | dt.date | None, today: dt.date) -> dt.date | None:
    """The first day that counts: a day, or that of the last ``since`` days, of which today is one."""
    if since is None:
        return None
    if isinstance(since, dt.date):
        first = since
    elif since < 1:
        raise UsageError("A report is about one day or more.", field="--since", code="bad_argument", next="Write 30d.")
    else:
        try:
            first = today - dt.timedelta(days=since - 1)
        except OverflowError:
            first = dt.date.min
    if first > today:
        raise UsageError(
            f"{first} has not begun; today is {today} (UTC).",
            field="--since",
            code="bad_argument",
            next="Name an earlier day, or leave out --since.",
        )
    return first
