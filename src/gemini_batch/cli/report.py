"""``gemini-batch report``."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.common import verb
from gemini_batch.cli.outcome import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.cli.screen import Screen
    from gemini_batch.report.spending.sums import Spending, SpendReport

_DAYS = re.compile(r"([0-9]{1,6})\s*([dw])", re.IGNORECASE)
#: The widest name in the table.
_WIDEST = 48


def _since(_context: click.Context, _option: click.Parameter, text: str | None) -> int | dt.date | None:
    """``30d``, ``4w`` as a number of days; ``2026-11-01`` as that day."""
    if text is None:
        return None
    found = _DAYS.fullmatch(text.strip())
    if found is not None:
        return int(found[1]) * (7 if found[2] in "wW" else 1)
    try:
        return dt.date.fromisoformat(text.strip())
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a number of days nor a day. Write 30d, 4w or 2026-11-01."
        ) from None


@verb(
    "report",
    click.argument("run_id", metavar="[RUN]", required=False),
    click.option(
        "--since",
        metavar="AGE",
        callback=_since,
        help="Only jobs created in the last days (30d, 4w; today is one of them), or since a day (2026-11-01). UTC.",
    ),
    click.option(
        "--by",
        type=click.Choice(["day", "model", "run"]),
        default="day",
        help="A line for each day (default), model or run.",
    ),
    click.option(
        "--output", "-o", metavar="FILE", help="Also write FILE: a page with charts (.html), or a table (.csv)."
    ),
    method="spend_report",
)
def command(found: SpendReport, screen: Screen, *, output: str | None, offline: bool | None, **_: Any) -> None:
    """Show what jobs used and cost: by day, model or run. RUN is a run id or the name of one of its jobs.

    Everything is read from the state folder: this needs no network and no key, and costs nothing. A job counts on the
    day on which it was created, in UTC, at the prices of that day. Jobs that were made offline are in a report of their
    own (--offline). Answers that do not count or did not succeed are shown apart, as wasted.
    """
    from gemini_batch.report.spending.words import notes

    if not found.total.jobs:
        since = f" since {found.since}" if found.since else ""
        screen.say(f"No jobs{since} in this state folder." + ("" if offline else " Add --offline for offline jobs."))
    else:
        for line in _table(found):
            click.echo(clean(line))
    for note in notes(found):
        screen.say(note)
    if output is not None:
        screen.say(f"Written: {output}")


def _table(found: SpendReport) -> Iterator[str]:
    """A header, a line for each group, and the total; numbers stand below each other."""
    head = [found.by, "jobs", "answers", "succeeded", "others", "tokens in", "tokens out", "wasted", "cost"]
    rows = [head, *map(_cells, found.groups)]
    if len(found.groups) != 1:
        rows.append(["total", *_cells(found.total)[1:]])
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    titles = ["", *(one.title for one in found.groups), ""]
    for row, title in zip(rows, titles, strict=False):
        first, *numbers = row
        cells = [f"{first:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True))]
        yield "  ".join((*cells, title)).rstrip()


def _cells(one: Spending) -> list[str]:
    from gemini_batch.report.spending.words import cost, tokens, wasted

    read, written = tokens(one)
    good = one.verdicts.get("succeeded", 0)
    return [
        one.name if len(one.name) <= _WIDEST else one.name[: _WIDEST - 1] + "…",
        f"{one.jobs:,}",
        f"{one.answers:,}",
        f"{good:,}",
        f"{sum(one.verdicts.values()) - good:,}",
        f"{read:,}",
        f"{written:,}",
        wasted(one),
        cost(one),
    ]
