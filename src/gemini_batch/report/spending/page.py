"""A report as one page: complete in itself, without scripts and addresses, light or dark as its reader's screen is."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.prices import Kind
from gemini_batch.report.spending import words
from gemini_batch.report.spending.charts import FULL, HALF, PHONE, Series, bars, template_engine
from gemini_batch.safe_text import printable
from gemini_batch.transcript.sizes import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemini_batch.report.spending.sums import DayAndModel, Spending, SpendReport

#: So many models have a colour of their own.
_COLOURS = 5
_OTHERS = "other models"
#: The fewest days of a chart, and the most bars for days and for weeks.
_FEWEST, _MOST = 7, 62
#: Rows of the table at the end; more than a person reads make the page slow.
_ROWS = 1000


class Chart(NamedTuple):
    """A chart in its sizes, its legend (colour and name), and the same numbers as a table."""

    title: str
    text: str
    svgs: list[tuple[str, str]]
    legend: list[tuple[str, str]]
    head: list[str]
    rows: list[list[str]]
    half: bool = False


class Period(NamedTuple):
    """One bar of a time axis: what it is called, below the bar and in full."""

    label: str
    name: str


def write_page(report: SpendReport) -> bytes:
    """The page in UTF-8, from ``<html>`` on. Raises UsageError where the extra ``report`` is missing."""
    jinja2 = template_engine()
    source = resources.files("gemini_batch.report.spending").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    found = environment.from_string(source).render(
        title=f"Spend of {report.run}" if report.run else "Spend on Gemini batches",
        scope=words.scope(report),
        tiles=list(_tiles(report)),
        notes=[_safe(note) for note in words.notes(report)],
        charts=list(_charts(report)) if report.total.jobs else [],
        head=[report.by.capitalize(), *_HEAD],
        rows=[[_safe(f"{one.name} {one.title}".strip()), *_cells(one)] for one in report.groups[-_ROWS:]],
        omitted=max(0, len(report.groups) - _ROWS),
        total=["Total", *_cells(report.total)],
        svg=jinja2.filters.do_mark_safe,
    )
    return str(found).encode("utf-8", "backslashreplace")


def _safe(text: str) -> str:
    """Text from outside, without characters that no page can hold."""
    return printable(text)


# Numbers -------------------------------------------------------------------------------------------------------------

_HEAD = ["Jobs", "Answers", "Succeeded", "Others", "Tokens in", "Tokens out", "Wasted", "Cost"]


def _cells(one: Spending) -> list[str]:
    read, written = words.tokens(one)
    good = one.verdicts.get("succeeded", 0)
    others = sum(one.verdicts.values()) - good
    return [
        *(f"{count:,}" for count in (one.jobs, one.answers, good, others, read, written)),
        words.wasted(one),
        words.cost(one),
    ]


def _tiles(report: SpendReport) -> Iterator[tuple[str, str, str]]:
    """Name, number and remark of what stands at the top."""
    total = report.total
    paid = "offline: nothing was paid" if report.offline else "in batch"
    yield "Cost", words.cost(total), "so far" if total.requests_open else paid
    if total.usd.batch and total.usd.interactive:
        yield "Interactively", words.interactively(total), f"batch is {words.saved(total)}% less"
    if total.usd.batch and (waste := words.wasted(total)):
        share = 100 * sum(total.usd.wasted.values()) / total.usd.batch
        yield "Wasted", waste, "not all of it is known" if total.at_least else f"{share:.1f}% of the cost"
    requests, good = sum(total.verdicts.values()), total.verdicts.get("succeeded", 0)
    yield (
        "Succeeded",
        f"{good:,}",
        f"of {requests:,} requests" + (f", {100 * good / requests:.1f}%" if requests else ""),
    )
    time = total.turnaround
    yield "Jobs", f"{total.jobs:,}", words.times(time).partition(",")[0] if time else "none has ended"


# Charts --------------------------------------------------------------------------------------------------------------


def _charts(report: SpendReport) -> Iterator[Chart]:
    """The charts that have anything to draw."""
    cells = report.days_and_models
    days = [dt.date.fromisoformat(cell.day) for cell in cells]
    first, last = min(days), max(days)
    if report.since:
        since, until = dt.date.fromisoformat(report.since), dt.date.fromisoformat(report.until)
        first, last = min(first, max(since, until - dt.timedelta(days=_MOST - 1))), max(last, until)
    axis = Axis(first, last)
    if any(cell.usd for cell in cells):
        yield _spend(cells, axis)
    if report.total.verdicts:
        yield _verdicts(cells, axis)
    if report.total.tokens:
        yield _tokens(report.total)
    if report.total.turnaround is not None:
        yield _turnaround(report.total)


class Axis:
    """Days, weeks or months from ``first`` to ``last``: as many bars as can be read."""

    def __init__(self, first: dt.date, last: dt.date) -> None:
        days = (last - first).days + 1
        if days < _FEWEST:
            first = last - dt.timedelta(days=_FEWEST - 1)
        self.unit = "day" if days <= _MOST else "week" if days <= 7 * _MOST else "month"
        self.periods: dict[dt.date, Period] = {}
        at = self.start(first)
        while at <= last:
            self.periods[at] = self._period(at)
            at = self.start(at + dt.timedelta(days={"day": 1, "week": 7, "month": 31}[self.unit]))

    def start(self, day: dt.date) -> dt.date:
        """The first day of the period of a day."""
        if self.unit == "month":
            return day.replace(day=1)
        return day - dt.timedelta(days=day.weekday()) if self.unit == "week" else day

    def of(self, cell: DayAndModel) -> dt.date:
        """The period of a cell."""
        return self.start(dt.date.fromisoformat(cell.day))

    def _period(self, at: dt.date) -> Period:
        if self.unit == "month":
            return Period(f"{at:%b} {at.year}", f"{at:%B} {at.year}")
        return Period(f"{at:%b} {at.day}", f"{'week of ' if self.unit == 'week' else ''}{at}")


def _drawn(make: Callable[[tuple[int, int]], str], *, half: bool) -> list[tuple[str, str]]:
    """A chart for wide screens and for phones."""
    return [("wide", make(HALF if half else FULL)), ("phone", make(PHONE))]


def _spend(cells: Sequence[DayAndModel], axis: Axis) -> Chart:
    by_model, amounts, floors = Counter[str](), Counter[tuple[dt.date, str]](), set[tuple[dt.date, str]]()
    unknown = set[tuple[dt.date, str]]()
    for cell in cells:
        by_model[cell.model] += cell.usd or 0.0  # type: ignore[assignment]  # a Counter adds floats as well
        place = axis.of(cell), cell.model
        amounts[place] += cell.usd or 0.0  # type: ignore[assignment]
        if cell.at_least:
            floors.add(place)
        if cell.usd is None:
            unknown.add(place)
    ranked = sorted(by_model, key=lambda model: (-by_model[model], model))
    shown = ranked if len(ranked) <= _COLOURS + 1 else ranked[:_COLOURS]
    names = [*shown, _OTHERS] if len(shown) < len(ranked) else shown

    def said(place: dt.date, model: str) -> str:
        at = place, model
        amount = None if at in unknown and not amounts[at] else float(amounts[at])
        return words.dollars(amount, at_least=at in floors or at in unknown)

    def value(place: dt.date, name: str) -> tuple[float, str]:
        models = [name] if name != _OTHERS or name in shown else ranked[len(shown) :]
        amount = float(sum(amounts[place, model] for model in models))
        words_ = said(place, name) if len(models) == 1 else words.dollars(amount)
        return amount, f"{axis.periods[place].name}, {_safe(name)}: {words_}"

    series = [
        Series(_safe(name), f"m{at}", [value(place, name) for place in axis.periods]) for at, name in enumerate(names)
    ]
    title = f"Spend by {axis.unit} and model"
    labels = [period.label for period in axis.periods.values()]
    used = sorted({(place, model) for place, model in ((axis.of(cell), cell.model) for cell in cells)})
    return Chart(
        title=title,
        text="USD in batch, by the day of each job’s create (UTC) and the model that answered. "
        "What is not known is not drawn.",
        svgs=_drawn(
            lambda size: bars(labels, series, size=size, title=title, tick=_dollars_tick, whole=False), half=False
        ),
        legend=[(one.colour, one.name) for one in series],
        head=[axis.unit.capitalize(), "Model", "USD"],
        rows=[[axis.periods[place].name, _safe(model), said(place, model)] for place, model in used],
    )


def _verdicts(cells: Sequence[DayAndModel], axis: Axis) -> Chart:
    counts: dict[dt.date, Counter[str]] = {place: Counter() for place in axis.periods}
    for cell in cells:
        counts[axis.of(cell)].update(cell.verdicts)
    found = [verdict for verdict in VERDICTS if any(count[verdict] for count in counts.values())]
    series = [
        Series(
            verdict,
            f"v-{verdict}",
            [
                (count[verdict], f"{axis.periods[at].name}, {verdict}: {count[verdict]:,}")
                for at, count in counts.items()
            ],
        )
        for verdict in found
    ]
    title = f"Requests by {axis.unit} and verdict"
    labels = [period.label for period in axis.periods.values()]
    return Chart(
        title=title,
        text="Number of requests by their final verdict, on the day of the create of the job that gave it.",
        svgs=_drawn(lambda size: bars(labels, series, size=size, title=title, tick=_count_tick), half=False),
        legend=[(one.colour, one.name) for one in series],
        head=[axis.unit.capitalize(), *found],
        rows=[
            [axis.periods[at].name, *(f"{count[verdict]:,}" for verdict in found)]
            for at, count in counts.items()
            if count.total()
        ],
    )


def _tokens(total: Spending) -> Chart:
    kinds = [kind for kind in Kind if kind.value in total.tokens]
    said = {kind: f"{total.tokens[kind.value]:,}" for kind in kinds}
    names = {kind: kind.value.replace("_", " ") for kind in kinds}
    series = [
        Series("tokens", "t0", [(total.tokens[kind.value], f"{names[kind]}: {said[kind]} tokens") for kind in kinds])
    ]
    title = "Tokens by kind"
    labels = [names[kind] for kind in kinds]
    cost = {kind: total.usd.by_kind.get(kind.value) for kind in kinds}
    return Chart(
        title=title,
        text="Number of tokens of all answers, as the service counts them. Each token is of one kind only.",
        svgs=_drawn(
            lambda size: bars(labels, series, size=size, title=title, tick=_count_tick, sideways=True), half=True
        ),
        legend=[],
        head=["Kind", "Tokens", "USD"],
        rows=[[names[kind], said[kind], words.dollars(cost[kind])] for kind in kinds],
        half=True,
    )


def _turnaround(total: Spending) -> Chart:
    time = total.turnaround
    assert time is not None
    names = {bound: f"over {span(86_400)}" if bound == "more" else f"up to {span(int(bound))}" for bound in time.up_to}
    labels = [f"> {_short_span(86_400)}" if bound == "more" else f"≤ {_short_span(int(bound))}" for bound in time.up_to]
    values = [(count, f"{names[bound]}: {words.many(count, 'job')}") for bound, count in time.up_to.items()]
    title = "Turnaround of jobs"
    return Chart(
        title=title,
        text=f"Number of jobs by the time from create to end: {words.times(time)}.",
        svgs=_drawn(
            lambda size: bars(labels, [Series("jobs", "t1", values)], size=size, title=title, tick=_count_tick),
            half=True,
        ),
        legend=[],
        head=["Time", "Jobs"],
        rows=[[names[bound], f"{count:,}"] for bound, count in time.up_to.items()],
        half=True,
    )


def _short_span(seconds: int) -> str:
    return f"{seconds // 60} m" if seconds < 3600 else f"{seconds // 3600} h"


def _dollars_tick(value: float) -> str:
    return f"${value:,.0f}" if value >= 10 else f"${value:.3g}"


def _count_tick(value: float) -> str:
    for bound, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= bound:
            return f"{value / bound:.3g}{unit}"
    return f"{value:.3g}"
