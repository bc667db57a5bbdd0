"""The table of the benchmarks is what ``results.json`` makes of it, and so are the figures in the docs."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").is_dir() or sys.platform == "win32", reason="the benchmarks are not here, or do not run"
)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_goals() -> None:
    """Each part of a goal can be missed, and what cannot be compared is missed, too."""
    from benchmarks.lines import Goal, Line

    line = Line(name="a", ours=2.0, theirs=4.0, baseline="b", work=100.0, peak=50, their_peak=100)
    for goal, missed in {
        Goal(ratio=2.0): [],
        Goal(ratio=2.1): ["ratio"],
        Goal(below=2.1): [],
        Goal(below=2.0): ["time"],
        Goal(per_second=50.0): [],
        Goal(per_second=51.0): ["rate"],
        Goal(memory=51): [],
        Goal(memory=50): ["memory"],
        Goal(memory_share=0.5): [],
        Goal(memory_share=0.4): ["memory compared with the baseline"],
        Goal(ratio=3.0, memory=50): ["ratio", "memory"],
    }.items():
        changed = Line(name="a", ours=line.ours, theirs=line.theirs, work=line.work, peak=50, their_peak=100, goal=goal)
        assert changed.missed() == missed, goal
    assert Line(name="a", ours=2.0, goal=Goal(ratio=1.0)).missed() == ["ratio"]


def test_rows_of_the_table() -> None:
    """The name and ours are written once for several baselines; a missed goal says why, if that is known."""
    from benchmarks.lines import Goal, Line
    from benchmarks.page import page, unexplained
    from benchmarks.results import Part, this_machine

    fast = Line(
        name="a thing", ours=0.5, baseline="slow", theirs=4.0, peak=10**7, their_peak=10**8, goal=Goal(ratio=8.0)
    )
    slow = Line(name="a thing", ours=0.5, baseline="fast", theirs=0.25, goal=Goal(ratio=1.0))
    gone = Line(name="another", ours=300.0, work=600, baseline="gone", note="it failed")
    made = page(
        {"one": Part(date="2026-11-26", machine=this_machine(), lines=[fast, slow, gone])},
        {"one": "1. One", "two": "2. Two"},
        {"a thing": "Physics."},
    )

    assert [line for line in made.splitlines() if line.startswith("| ")][2:] == [
        "| **1. One** | | | | | | | |",
        "| a thing | 500 ms | slow | 4.00 s | **8.00** | 10 MB, 100 MB | at least 8 | yes |",
        "| | | fast | 250 ms | **0.50** | | at least 1 | **no**: ratio. Physics. |",
        "| another (it failed) | 300 s (2.00 rows/s) | gone | it failed | | | | |",
    ]
    assert unexplained(slow, {})
    assert not unexplained(slow, {"a thing": "Physics."})
    assert not unexplained(fast, {})


def test_what_is_written() -> None:
    """Nobody edits the table or the quoted figures by hand, and each reason belongs to a line."""
    from benchmarks import page, reach, results
    from benchmarks.__main__ import QUOTED, REACH, TITLES

    from gemini_batch import catalog

    folder = ROOT / "benchmarks"
    parts, reasons = results.read(folder), results.reasons()

    assert (folder / "results.md").read_text("utf-8") == page.page(parts, TITLES, reasons)
    for quoting, only in QUOTED.items():
        docs = quoting.read_text("utf-8")
        assert docs == page.quoted(docs, parts, TITLES, only)
    model = catalog.load().find(catalog.DEFAULT_MODEL)
    assert model is not None
    assert (scale := REACH.read_text("utf-8")) == reach.written(scale, parts["growth"].lines, model)
    assert set(reasons) <= {line.name for part in parts.values() for line in part.lines}


def test_what_follows_for_far_more_rows() -> None:
    """The largest number that was measured is as it was measured; ten times as many take ten times as long."""
    from benchmarks.lines import Line
    from benchmarks.reach import written

    from gemini_batch import catalog

    model = catalog.load().find(catalog.DEFAULT_MODEL)
    assert model is not None
    lines = [
        Line(name=f"{unit} of {rows}", ours=ours, unit=unit, work=rows)
        for rows in (10**5, 10**6)
        for unit, ours in (("µs", 30.0), ("bytes", 100.0), ("MB", 80.0))
    ]
    table = written("a\n<!-- reach: `make bench` writes it -->\nold\n<!-- end of the table -->\nb", lines, model)
    assert table.startswith("a\n")
    assert table.endswith("\nb")
    assert "old" not in table
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| 10")]
    assert [row[0] for row in rows] == [
        "| 10<sup>5</sup>", "| 10<sup>6</sup>", *(f"| 10<sup>{power}</sup> *" for power in (7, 8, 9))
    ]  # fmt: skip
    assert rows[1][1:6] == ["1 GB", "1 GB", "100 MB", "30 s", "20"]
    assert rows[2][4] == "5 min"
    assert rows[1][6] == "21 days"  # 250 million tokens, three million at a time, six hours each


def test_the_picture_is_in_the_range_of_its_axes() -> None:
    from benchmarks.lines import Line
    from benchmarks.picture import picture

    lines = [
        Line(name=f"`{command}` of {rows} rows", ours=value, unit=unit, work=rows)
        for command, worse in (("create", 1), ("results", 3))
        for unit, values in (("µs", (90.0, 31.0)), ("MB", (50.0, 61.0)))
        for rows, value in zip((10_000, 100_000), (worse * one for one in values), strict=True)
    ]

    drawn = ET.fromstring(picture(lines))

    width, height = float(drawn.get("width", 0)), float(drawn.get("height", 0))
    dots = [one for one in drawn.iter() if one.tag.endswith("circle")]
    assert len(dots) == len(lines)
    assert all(0 < float(dot.get("cx", 0)) < width and 0 < float(dot.get("cy", 0)) < height for dot in dots)
    assert {text.text for text in drawn.iter() if text.tag.endswith("text")} >= {
        "create",
        "results",
        "10,000",
        "100,000",
    }
