"""A report as CSV: one record for each day, model or run."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.prices import FEES, Kind
from gemini_batch.tables.outputs.lines import harmless

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.report.money import AtMost
    from gemini_batch.report.spending.sums import Spending, SpendReport

#: Why answers came to nothing.
WASTE = ("failed", "truncated", "duplicate", "retried")
Cell = str | int | float | None


def columns(by: str) -> list[str]:
    """The names of the columns of a report by day, model or run."""
    return [by, *(name for name, _ in _facts(None))]


def write_sheet(report: SpendReport) -> bytes:
    r"""The groups as CSV in UTF-8, with ``\n``; what is not known is an empty field. Text is safe in spreadsheets."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns(report.by))
    for group in report.groups:
        writer.writerow([harmless(group.name), *(value for _, value in _facts(group))])
    return text.getvalue().encode("utf-8", "backslashreplace")


def _facts(one: Spending | None) -> Iterator[tuple[str, Cell]]:
    """The columns after the first; without a group, their names."""
    kinds = [kind for kind in Kind if kind not in FEES]
    time = one.turnaround if one is not None else None
    yield "display_name", harmless(one.title) if one else None
    yield "runs", one.runs if one else None
    yield "jobs", one.jobs if one else None
    yield "requests_open", one.requests_open if one else None
    yield "open_usd", _bound(one.open_usd) if one else None
    yield "answers", one.answers if one else None
    for verdict in VERDICTS:
        yield verdict, one.verdicts.get(verdict, 0) if one else None
    yield "unanswered", one.unanswered if one else None
    yield "possibly_paid_usd", _bound(one.possibly_paid) if one else None
    yield "unread_jobs", one.unread if one else None
    for kind in kinds:
        yield f"{kind.value}_tokens", one.tokens.get(kind.value, 0) if one else None
    for kind in sorted(FEES):
        yield f"{kind.value}_uses", one.uses.get(kind.value, 0) if one else None
    yield "usd", one.usd.batch if one else None
    yield "at_least", str(one.at_least).lower() if one else None
    yield "interactive_usd", one.usd.interactive if one else None
    for kind in Kind:
        yield f"{kind.value}_usd", _amount(one, kind) if one else None
    for use in WASTE:
        yield f"wasted_{use}_usd", one.usd.wasted.get(use, None if one.at_least else 0) if one else None
    yield "median_seconds", round(time.median, 3) if time else None
    yield "ninetieth_seconds", round(time.ninetieth, 3) if time else None
    yield "longest_seconds", round(time.longest, 3) if time else None


def _bound(one: AtMost) -> float | None:
    return None if one.unknown else one.usd


def _amount(one: Spending, kind: Kind) -> float | None:
    """What a kind of token or use cost: nothing if there was none of it, None if that is not known."""
    used = (one.uses if kind in FEES else one.tokens).get(kind.value, 0)
    return one.usd.by_kind.get(kind.value, None if used else 0)
