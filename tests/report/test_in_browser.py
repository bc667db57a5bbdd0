"""The page of a report in Chromium: light and dark, on a wide screen and on a phone, and with hostile names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.report.spending.files import write_report
from gemini_batch.report.spending.sums import spend_report
from report.browser import CHROMIUM, Tab, tab
from report.made_up import TODAY, a_month, month
from report.test_spending import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed"),
    pytest.mark.timeout(300),
]
WIDE, PHONE = (1200, 2600), (360, 4000)
SCREENS = pytest.mark.parametrize("size", [WIDE, (800, 3000), PHONE], ids=["wide", "tablet", "phone"])
#: Light or dark, from a colour as the browser gives it.
LIGHT = """
(style => style.match(/[\\d.]+/g).slice(0, 3).map(Number).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0))
"""


@pytest.fixture(scope="module")
def opened() -> Iterator[Tab]:
    with tab() as made:
        yield made


def luminance(opened: Tab, selector: str, name: str) -> float:
    found: float = opened.value(f"{LIGHT}(getComputedStyle(document.querySelector({selector!r})).{name})")
    return found


def contrast(opened: Tab, selector: str, name: str, behind: str) -> float:
    """The contrast of a colour with the background of another element, as WCAG 2 defines it."""
    one, other = luminance(opened, selector, name), luminance(opened, behind, "backgroundColor")
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@SCREENS
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_readable(opened: Tab, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    write_report(a_month(), tmp_path / "r.html")

    opened.show(tmp_path / "r.html", width=size[0], height=size[1], dark=dark)

    assert (luminance(opened, "body", "backgroundColor") < 0.2) == dark
    for selector, name in (("h1", "color"), ("th[scope=row]", "color")):
        assert contrast(opened, selector, name, ".card") > 7
    for selector, name in (("figcaption p", "color"), ("svg text", "fill"), (".tile dt", "color")):
        assert contrast(opened, selector, name, ".card") > 4.5
    for selector in (".m0", ".m1", ".m2", ".v-failed", ".v-truncated", ".v-succeeded"):
        assert contrast(opened, f".legend {selector}", "fill", ".card") > (3 if dark else 2)
    assert opened.value("document.documentElement.scrollWidth") <= size[0], "nothing is wider than the screen"
    assert opened.picture().startswith(b"\x89PNG")


@SCREENS
def test_charts_are_drawn_and_their_labels_stand_apart(opened: Tab, tmp_path: Path, size: tuple[int, int]) -> None:
    write_report(a_month(), tmp_path / "r.html")

    opened.show(tmp_path / "r.html", width=size[0], height=size[1], dark=False)

    charts: list[dict[str, Any]] = opened.value("""
        [...document.querySelectorAll('svg[role=img]')].filter(svg => svg.getBoundingClientRect().width).map(svg => {
            const box = element => {
                const {left, right, top, bottom} = element.getBoundingClientRect();
                return {left, right, top, bottom};
            };
            return {
                title: svg.getAttribute('aria-label'), card: box(svg.closest('.card')),
                bars: [...svg.querySelectorAll('.bar rect')].map(box),
                rows: [...svg.querySelectorAll('g.axis')].map(axis => [...axis.querySelectorAll('text')].map(box)),
            };
        })
    """)
    assert [chart["title"] for chart in charts] == [
        "Spend by day and model", "Requests by day and verdict", "Tokens by kind", "Turnaround of jobs",
    ]  # fmt: skip
    for chart in charts:
        assert len(chart["bars"]) > 3
        for bar in chart["bars"]:
            assert bar["right"] > bar["left"]
            assert bar["bottom"] > bar["top"]
        for box in (*chart["bars"], *(label for row in chart["rows"] for label in row)):
            assert chart["card"]["left"] <= box["left"]
            assert box["right"] <= chart["card"]["right"]
        for row in chart["rows"]:
            assert len(row) > 1
            for label in row:
                assert label["bottom"] - label["top"] >= 9, "a label is large enough to be read"
            for at, one in enumerate(row):
                for other in row[at + 1 :]:
                    apart = one["right"] < other["left"] or other["right"] < one["left"]
                    assert apart or one["bottom"] <= other["top"] + 1 or other["bottom"] <= one["top"] + 1


def test_hostile_names_run_nothing_and_load_nothing(opened: Tab, tmp_path: Path) -> None:
    facts = month((*HOSTILE, "gemini-3-flash-preview"), days=10)
    facts.unread.update(dict.fromkeys(HOSTILE, HOSTILE[0]))
    facts.elsewhere.update(dict.fromkeys(HOSTILE, 1))
    write_report(spend_report(facts, by="model", until=TODAY), tmp_path / "r.html")

    opened.show(tmp_path / "r.html", width=PHONE[0], height=PHONE[1], dark=False)

    assert opened.value("document.scripts.length + document.images.length") == 0
    assert opened.value("performance.getEntriesByType('resource').length") == 0
    assert opened.value("document.querySelectorAll('svg[role=img]').length") == 8
    told = [one.get("method") for one in opened.events]
    assert told.count("Network.requestWillBeSent") == 1, "the page itself"
    assert not {"Page.javascriptDialogOpening", "Runtime.exceptionThrown", "Log.entryAdded"} & {*told}
    assert opened.value("document.documentElement.scrollWidth") <= PHONE[0]
    assert opened.value("document.documentElement.innerText").count(HOSTILE[0]) > 3
