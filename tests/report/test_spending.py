"""The sums of a report equal sums by hand; words, CSV and charts say what is known and what is not."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from decimal import Decimal
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from gemini_batch.errors import UsageError
from gemini_batch.prices import Kind, Spend, Unpriced
from gemini_batch.report.money import at_most, bounded
from gemini_batch.report.spending import charts, files, sheet, words
from gemini_batch.report.spending.before import Sending, compare, compared
from gemini_batch.report.spending.facts import Facts
from gemini_batch.report.spending.page import Axis, write_page
from gemini_batch.report.spending.sums import BY, By, Spending, SpendReport, spend_report, turnaround
from gemini_batch.safe_text import printable
from report.made_up import TODAY, answers, job, month

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.date(2026, 11, 20)
FLASH, PRO, NEW = "gemini-3-flash-preview", "gemini-3.1-pro-preview", "gemini-99-ultra"
#: USD for a million prompt tokens and for a million written ones in a batch, from the catalog's sources, by hand.
RATES = {FLASH: (Decimal(".25"), Decimal("1.5")), PRO: (Decimal(1), Decimal(6))}
MILLION = {"input": 1_000_000}


def made(facts: Facts, by: By = "day", *, offline: bool = False) -> SpendReport:
    return spend_report(facts, by=by, until=TODAY, offline=offline)


def by_name(report: SpendReport) -> dict[str, Spending]:
    return {group.name: group for group in report.groups}


def two_days() -> Facts:
    """Two runs: one of two jobs with a retry, and one that another model answered in part."""
    later = DAY + dt.timedelta(days=1)
    return Facts(
        jobs=[
            job("run-a", 1, DAY, FLASH, 10, took=60.0, unanswered=3, most=2_000_000_001),
            job("run-a", 2, later, FLASH, 3, took=7200.0, missing=1, unanswered=1),
            job("run-b", 1, later, FLASH, 4, took=600.0, name="weekly"),
        ],
        answers=[
            answers("run-a", 1, DAY, FLASH, "succeeded", 5, {"input": 100_000, "output": 20_000}),
            answers("run-a", 1, DAY, FLASH, "truncated", 1, {"input": 100_000, "output": 40_000}),
            answers("run-a", 1, DAY, FLASH, "retried", 1, {"input": 100_000}),
            answers("run-a", 1, DAY, FLASH, "duplicate", 1, {"input": 100_000}),
            answers("run-a", 2, later, FLASH, "succeeded", 2, {"input": 100_000, "output": 20_000}),
            answers("run-b", 1, later, FLASH, "succeeded", 3, {"input": 10_000, "thoughts": 1_000, "output": 1_000}),
            answers("run-b", 1, later, PRO, "blocked", 1, {"input": 10_000}),
        ],
    )


def usd(model: str, read: int, written: int) -> float:
    """An amount by hand, for so many tokens."""
    return float((RATES[model][0] * read + RATES[model][1] * written) / 10**6)


FIRST_DAY = usd(FLASH, 800_000, 140_000)
SECOND_DAY = {"a": usd(FLASH, 200_000, 40_000), "b": usd(FLASH, 30_000, 6_000), "pro": usd(PRO, 10_000, 0)}


@pytest.mark.parametrize(
    ("by", "amounts", "jobs"),
    [
        ("day", {"2026-11-20": FIRST_DAY, "2026-11-21": sum(SECOND_DAY.values())}, [1, 2]),
        ("model", {FLASH: FIRST_DAY + SECOND_DAY["a"] + SECOND_DAY["b"], PRO: SECOND_DAY["pro"]}, [3, 1]),
        ("run", {"run-a": FIRST_DAY + SECOND_DAY["a"], "run-b": SECOND_DAY["b"] + SECOND_DAY["pro"]}, [2, 1]),
    ],
)
def test_amounts_equal_a_sum_by_hand(by: By, amounts: dict[str, float], jobs: list[int]) -> None:
    report = made(two_days(), by)

    assert {group.name: group.usd.batch for group in report.groups} == pytest.approx(amounts)
    assert [group.jobs for group in report.groups] == jobs
    assert report.total.usd.batch == pytest.approx(sum(amounts.values()))
    assert sum(cell.usd or 0 for cell in report.days_and_models) == pytest.approx(sum(amounts.values()))


def test_everything_but_money() -> None:
    total = made(two_days()).total

    assert total.verdicts == {"succeeded": 10, "truncated": 1, "blocked": 1, "missing": 1}
    assert (total.runs, total.jobs, total.answers, total.unanswered) == (2, 3, 14, 4)
    assert total.tokens == {"input": 1_040_000, "output": 183_000, "thoughts": 3_000}
    assert total.usd.wasted == pytest.approx(
        {
            "truncated": usd(FLASH, 100_000, 40_000),
            "retried": usd(FLASH, 100_000, 0),
            "duplicate": usd(FLASH, 100_000, 0),
            "failed": usd(PRO, 10_000, 0),
        }
    )
    assert not total.at_least
    assert total.turnaround is not None
    assert (total.turnaround.median, total.turnaround.ninetieth, total.turnaround.longest) == (600.0, 7200.0, 7200.0)
    assert [group.title for group in made(two_days(), "run").groups] == ["nightly", "weekly"]


@pytest.mark.parametrize("by", BY)
def test_groups_add_up_to_the_total(by: By) -> None:
    report = made(month(), by)

    for count in ("answers", "unanswered", "requests_open", "unread"):
        assert sum(getattr(group, count) for group in report.groups) == getattr(report.total, count), count
    for verdict, requests in report.total.verdicts.items():
        assert sum(group.verdicts.get(verdict, 0) for group in report.groups) == requests
        assert sum(cell.verdicts.get(verdict, 0) for cell in report.days_and_models) == requests
    for kind, tokens in report.total.tokens.items():
        assert sum(group.tokens.get(kind, 0) for group in report.groups) == tokens
    assert sum(group.usd.batch or 0 for group in report.groups) == pytest.approx(report.total.usd.batch)


@pytest.mark.parametrize(
    ("facts", "batch", "cost", "at_least"),
    [
        pytest.param(Facts(), 0.0, "$0", False, id="no jobs"),
        pytest.param(
            Facts([job("r", 1, DAY, FLASH, 5, collected=False, took=None)]), None, "unknown", False, id="alive"
        ),
        pytest.param(
            Facts([job("r", 1, DAY, FLASH, 5, missing=5, unanswered=5)]), None, "unknown", False, id="no answer"
        ),
        pytest.param(Facts([job("r", 1, DAY, FLASH, 5, unread=True)]), None, "unknown", True, id="damaged"),
        pytest.param(
            Facts(
                [job("r", 1, DAY, FLASH, 5, unread=True), job("s", 1, DAY, FLASH, 1)],
                [answers("s", 1, DAY, FLASH, "succeeded", 1, MILLION)],
            ),
            0.25,
            "at least $0.25",
            True,
            id="one of two damaged",
        ),
        pytest.param(
            Facts([job("r", 1, DAY, NEW, 2)], [answers("r", 1, DAY, NEW, "succeeded", 2, MILLION)]),
            None,
            "unknown",
            True,
            id="no price",
        ),
        pytest.param(
            Facts(
                [job("r", 1, DAY, FLASH, 2)],
                [
                    answers("r", 1, DAY, FLASH, "succeeded", 1, MILLION),
                    answers("r", 1, DAY, FLASH, "failed", 1, {}, known=False),
                ],
            ),
            0.25,
            "at least $0.25",
            True,
            id="no usage",
        ),
    ],
)
def test_what_is_not_known_is_never_nothing(facts: Facts, batch: float | None, cost: str, *, at_least: bool) -> None:
    report = made(facts)

    for one in (report.total, *([by_name(report)[str(DAY)]] if facts.jobs else [])):
        assert (one.usd.batch, one.at_least) == (batch, at_least)
        assert words.cost(one) == cost
    for cell in report.days_and_models:
        assert (cell.usd, cell.at_least) == (batch, at_least)


@pytest.mark.parametrize(
    ("uses", "said"),
    [
        (["succeeded"], ""),
        (["succeeded", "truncated"], "$0.25"),
        (["unknown"], "unknown"),
        (["truncated", "unknown"], "at least $0.25"),
    ],
)
def test_waste_in_words(uses: list[str], said: str) -> None:
    found = [
        answers("r", 1, DAY, FLASH, "failed", 1, {}, known=False)
        if use == "unknown"
        else answers("r", 1, DAY, FLASH, use, 1, MILLION)
        for use in uses
    ]

    assert words.wasted(made(Facts([job("r", 1, DAY, FLASH, len(uses))], found)).total) == said


def test_a_job_counts_for_the_models_that_answered() -> None:
    """An alias was asked, and its target answered: there is nothing to say of the alias, unless something is left."""
    asked = "gemini-flash-latest"
    found = [answers("r", 1, DAY, FLASH, "succeeded", 2, MILLION)]

    assert by_name(made(Facts([job("r", 1, DAY, asked, 2)], found), "model")).keys() == {FLASH}
    left = by_name(made(Facts([job("r", 1, DAY, asked, 3, missing=1, unanswered=1)], found), "model"))
    assert (left[FLASH].verdicts, left[FLASH].unanswered) == ({"succeeded": 2}, 0)
    assert (left[asked].verdicts, left[asked].unanswered) == ({"missing": 1}, 1)


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ([(3, 2_000_000_001)], "at most $2.01"),
        ([(3, 2_000_000_000), (2, 500_000_000), (0, 7), (0, None)], "at most $2.50"),
        ([(3, 1_000), (2, None)], "at most $0.000001 without 2 of them, which nothing bounds"),
        ([(2, None)], "of unknown cost"),
    ],
)
def test_what_was_possibly_paid_is_rounded_up_and_never_nothing(jobs: list[tuple[int, int | None]], said: str) -> None:
    assert bounded(at_most(jobs)) == said


_TRIAL, _REST, _RETRY = Sending(0, 0.0, None, 9.0), Sending(1, 0.3, 0.4, 0.5), Sending(3, 0.25, 0.5, None)
_COST = Spend(by_kind={Kind.INPUT: Decimal("0.1")})
_SEARCHED = Spend(
    {Kind.INPUT: Decimal("0.1"), Kind.SEARCH: Decimal(7)}, unpriced={Unpriced("searches", "m", Kind.MAPS): 1}
)
_UNPRICED = Spend(unpriced={Unpriced("usage", "m"): 1})


@pytest.mark.parametrize(
    ("before", "spent", "said"),
    [
        ([], {1: _COST}, None),
        ([_TRIAL], {1: _COST}, None),
        ([_REST], {1: _COST}, None),
        (
            [_TRIAL, _REST],
            {1: _COST, 2: _COST, 3: _COST},
            "estimated for 2 of 3 jobs: $0.4 ($0.3 to $0.5), actual: $0.2",
        ),
        ([_TRIAL, _REST, _RETRY], {2: _COST, 4: _COST, 5: _COST}, "estimated: $0.9, actual: $0.3"),
        ([_TRIAL, _REST, _RETRY], {2: _COST}, "estimated: $0.4 ($0.3 to $0.5), actual: $0.1"),
        ([_REST], {2: _SEARCHED}, "estimated: $0.4 ($0.3 to $0.5), actual: at least $7.10"),
        ([_REST], {2: _COST, 3: _UNPRICED}, "estimated: $0.4 ($0.3 to $0.5), actual: at least $0.1"),
    ],
)
def test_an_estimate_is_compared_with_the_jobs_that_followed_it(
    before: list[Sending], spent: dict[int, Spend], said: str | None
) -> None:
    found = compare(before, spent.items())

    assert (None if found is None else compared(found)) == said


def test_notes() -> None:
    facts = two_days()
    facts.jobs.append(job("run-c", 1, DAY, FLASH, 1_200, collected=False, took=None))
    facts.answers.append(answers("run-b", 1, DAY, NEW, "succeeded", 7, MILLION))
    facts.unread["run-d"] = "It is damaged."
    facts.elsewhere["https://proxy.example"] = 2
    facts.emulated.append("run-e")

    said = "\n".join(words.notes(made(facts)))

    for sentence in (
        "Prices of 2026-",
        "batch is 50% less.",
        "do not count: $0.025 duplicate, $0.01 failed, $0.025 retried, $0.085 truncated.",
        "Not in the amount: 7 answers by gemini-99-ultra, whose price is unknown.",
        "Not in the amount: run-d, which cannot be read.",
        "Possibly paid: 4 attempts that ended without an answer, at most $2.01 without 1 of them, which",
        "Not known yet: 1,200 requests in jobs that are alive or not collected, of unknown cost.",
        "2 jobs at https://proxy.example: counted at Google's prices; what it asks is not known.",
        "Left out: 1 run that an emulator answered",
        "3 jobs ended: median 10 min, 90% within 2 h, longest 2 h.",
    ):
        assert sentence in said, said


@pytest.mark.parametrize(
    ("times", "median", "ninetieth", "groups"),
    [
        ([1.0], 1.0, 1.0, {"300": 1}),
        ([300.0, 301.0], 300.0, 301.0, {"300": 1, "900": 1}),
        ([float(n) for n in range(1, 11)], 5.0, 9.0, {"300": 10}),
        ([86_400.0, 86_401.0, 90_000.0], 86_401.0, 90_000.0, {"86400": 1, "more": 2}),
    ],
)
def test_turnaround(times: list[float], median: float, ninetieth: float, groups: dict[str, int]) -> None:
    found = turnaround(reversed(times))

    assert found is not None
    assert (found.jobs, found.median, found.ninetieth, found.longest) == (len(times), median, ninetieth, max(times))
    assert {bound: count for bound, count in found.up_to.items() if count} == groups


def test_no_turnaround_without_an_end() -> None:
    assert turnaround([]) is None


# CSV ------------------------------------------------------------------------------------------------------------------


def records(report: SpendReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(sheet.write_sheet(report).decode())))


def test_csv_has_the_numbers_of_the_report() -> None:
    report = made(two_days(), "run")

    first, second = records(report)

    assert (first["run"], first["display_name"], first["jobs"], first["at_least"]) == ("run-a", "nightly", "2", "false")
    assert float(first["usd"]) == pytest.approx(FIRST_DAY + SECOND_DAY["a"])
    assert float(first["wasted_truncated_usd"]) == pytest.approx(usd(FLASH, 100_000, 40_000))
    assert (first["input_tokens"], first["output_tokens"], first["missing"]) == ("1000000", "180000", "1")
    assert (second["thoughts_tokens"], second["median_seconds"], second["search_usd"]) == ("3000", "600.0", "0")


def test_csv_leaves_empty_what_is_not_known() -> None:
    facts = Facts([job("r", 1, DAY, NEW, 1, took=None)], [answers("r", 1, DAY, NEW, "failed", 1, MILLION)])

    (found,) = records(made(facts))

    empty = {name for name, value in found.items() if not value}
    assert empty == {
        "display_name", "usd", "interactive_usd", "input_usd", "median_seconds", "ninetieth_seconds", "longest_seconds",
        "wasted_failed_usd", "wasted_truncated_usd", "wasted_duplicate_usd", "wasted_retried_usd",
    }  # fmt: skip
    assert found["at_least"] == "true"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])
def test_csv_runs_no_formula(start: str) -> None:
    name = f'{start}HYPERLINK("https://x")'
    facts = Facts(
        [job("run-a", 1, DAY, FLASH, 1, name=name)], [answers("run-a", 1, DAY, name, "succeeded", 1, MILLION)]
    )

    assert [row["model"] for row in records(made(facts, "model"))] == [f"'{name}"]
    assert [row["display_name"] for row in records(made(facts, "run"))] == [f"'{name}"]


# The page -------------------------------------------------------------------------------------------------------------

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "]]></svg><style>*{}</style>",
    "{{ 7 * 7 }}{% raw %}",
    "&amp;<!--",
    "a\x00b\u202ec\ud800",
    "m" * 500,
]
#: Elements and attributes that a page has; all others could load, run or send something.
ELEMENTS = """
    html head meta title style body main header h1 h2 p dl div dt dd small ul li section figure figcaption svg g rect
    path text details summary table thead tbody tfoot tr th td footer
"""
ATTRIBUTES = """
    lang charset name content http-equiv class role aria-label aria-hidden viewBox d x y width height rx ry transform
    scope
"""


def page(report: SpendReport) -> str:
    return (files.PAGE_START + write_page(report)).decode()


def parsed(text: str) -> ET.Element:
    """The page as XML: it is written so that both kinds of parsers read the same."""
    body = re.sub(r"(<(?:meta)[^>]*)>", r"\1/>", text.partition("-->\n")[2])
    return ET.fromstring(body)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_escapes_every_name(name: str, by: By) -> None:
    facts = Facts(
        [job("run-a", 1, DAY, name, 3, name=name, missing=1, unanswered=1)],
        [
            answers("run-a", 1, DAY, FLASH, "succeeded", 1, MILLION),
            answers("run-a", 1, DAY, name, "succeeded", 1, MILLION),
        ],
        unread={"run-b": name},
        elsewhere={name: 1},
    )

    text = page(made(facts, by))
    root = parsed(text)

    assert {element.tag for element in root.iter()} <= set(ELEMENTS.split())
    assert {attribute for element in root.iter() for attribute in element.attrib} <= set(ATTRIBUTES.split())
    assert not re.search(r"https?:|url\(|@import|javascript:", text)
    shown = "".join(root.itertext())
    assert printable(name) in shown, "as text, and unchanged but for what no page can hold"


@pytest.mark.parametrize("by", BY)
def test_a_page_says_all_that_the_report_knows(by: By) -> None:
    report = made(month(), by)
    root = parsed(page(report))
    shown = " ".join("".join(root.itertext()).split())

    assert words.scope(report) in shown
    for note in words.notes(report):
        assert note in shown
    for group in report.groups:
        assert group.name in shown
        assert words.cost(group) in shown
    titles = [element.text for element in root.iter("h2")]
    assert titles == [
        "Spend by day and model", "Requests by day and verdict", "Tokens by kind", "Turnaround of jobs", f"By {by}",
    ]  # fmt: skip
    drawn = [element for element in root.iter("svg") if element.get("role") == "img"]
    assert [element.get("aria-label") for element in drawn] == [title for title in titles[:-1] for _ in range(2)]
    assert len(list(root.iter("table"))) == 5, "under each chart the same numbers"


def test_a_page_without_jobs() -> None:
    root = parsed(page(made(Facts())))

    assert not list(root.iter("svg"))
    assert "$0" in "".join(root.itertext())


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param(Facts([job("r", 1, DAY, FLASH, 5, collected=False, took=None)]), id="alive"),
        pytest.param(Facts([job("r", 1, DAY, FLASH, 5, unread=True)], unread={"r": "x"}), id="damaged"),
        pytest.param(Facts([job("r", 1, DAY, FLASH, 5, missing=5, unanswered=5)]), id="no answer"),
        pytest.param(
            Facts([job("r", 1, DAY, NEW, 1)], [answers("r", 1, DAY, NEW, "failed", 1, {}, known=False)]), id="no usage"
        ),
    ],
)
def test_a_page_without_numbers_says_that_they_are_unknown(facts: Facts) -> None:
    root = parsed(page(made(facts)))

    shown = " ".join(" ".join(root.itertext()).split())
    assert "Cost unknown" in shown
    assert "$0" not in shown
    charts_drawn = {element.get("aria-label") for element in root.iter("svg") if element.get("role") == "img"}
    assert "Tokens by kind" not in charts_drawn


def test_bars_are_as_high_as_their_numbers() -> None:
    svg = charts.bars(
        ["a", "b", "c"],
        [
            charts.Series("x", "m0", [(1, "a: 1"), (2, "b: 2"), (None, "")]),
            charts.Series("y", "m1", [(1, "a: 1"), (0, ""), (4, "c <4>")]),
        ],
        size=charts.FULL,
        title="T <",
        tick=lambda value: f"{value:g}",
    )

    root = ET.fromstring(svg)
    bars = {
        (group.get("class", "").split()[-1], bar.findtext("title")): float(rect.get("height", 0))
        for group in root.iter("g")
        if "series" in group.get("class", "")
        for bar in group.iter("g")
        if bar.get("class") == "bar" and (rect := bar.find("rect")) is not None
    }
    unit = bars["m0", "a: 1"]
    assert bars == pytest.approx(
        {("m0", "a: 1"): unit, ("m0", "b: 2"): 2 * unit, ("m1", "a: 1"): unit, ("m1", "c <4>"): 4 * unit}, rel=0.01
    )
    assert root.get("aria-label") == "T <"
    assert {text.text for text in root.iter("text")} >= {"a", "b", "c", "0", "4"}


@pytest.mark.parametrize(
    ("highest", "whole", "found"),
    [
        (0, True, [0, 1]),
        (1, True, [0, 1]),
        (7, True, [0, 2, 4, 6, 8]),
        (26, True, [0, 10, 20, 30]),
        (1_000_000, True, [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]),
        (0.0071, False, [0, 0.002, 0.004, 0.006, 0.008]),
        (208, False, [0, 50, 100, 150, 200, 250]),
    ],
)
def test_ticks(highest: float, whole: bool, found: list[float]) -> None:
    assert charts.ticks(highest, whole=whole) == pytest.approx(found)


@pytest.mark.parametrize("power", range(-7, 13))
@pytest.mark.parametrize("factor", [1, 1.01, 2, 2.5, 4.99, 5, 9, 9.999])
def test_ticks_reach_the_highest_value_and_not_much_more(power: int, factor: float) -> None:
    highest = factor * 10.0**power
    for whole in (True, False) if power >= 0 else (False,):
        found = charts.ticks(highest, whole=whole)
        assert 2 <= len(found) <= 6
        assert highest <= found[-1] * (1 + 1e-9)
        assert found[-2] < highest


@pytest.mark.parametrize(
    ("days", "unit", "bars"), [(1, "day", 7), (7, "day", 7), (62, "day", 62), (63, "week", 10), (500, "month", 17)]
)
def test_the_axis_has_as_many_bars_as_can_be_read(days: int, unit: str, bars: int) -> None:
    axis = Axis(TODAY - dt.timedelta(days=days - 1), TODAY)

    assert (axis.unit, len(axis.periods)) == (unit, bars)
    places = {axis.start(TODAY - dt.timedelta(days=back)) for back in range(days)}
    assert places <= axis.periods.keys()


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["r.html", "r.csv", "R.CSV"])
def test_a_report_replaces_an_earlier_report_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for by in BY:
        files.write_report(made(two_days(), by), path)
    before = path.read_bytes()
    files.write_report(made(two_days(), "run"), path)
    assert path.read_bytes() == before, "the same facts, the same file"

    for other in (b"my notes", b"day,usd\n", b"<!doctype html>\n<html>"):
        path.write_bytes(other)
        with pytest.raises(UsageError) as caught:
            files.write_report(made(two_days()), path)
        assert caught.value.reason_code == "bad_output"
        assert path.read_bytes() == other
    path.write_bytes(b"")
    files.write_report(made(two_days()), path)


@pytest.mark.parametrize("name", ["r.txt", "r", "-", "no/r.csv", "folder.csv"])
def test_a_place_that_cannot_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()

    with pytest.raises(UsageError) as caught:
        files.check_place(tmp_path / name)

    assert caught.value.reason_code == "bad_output"


def test_without_the_chart_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pygal", None)

    with pytest.raises(UsageError) as caught:
        files.check_place(tmp_path / "r.html")

    assert caught.value.reason_code == "missing_extra"
    assert caught.value.next == "Run pip install 'gemini-batch[report]'."
    files.check_place(tmp_path / "r.csv")
