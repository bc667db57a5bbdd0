"""The row on the pages is what the program yields; and the judge sees what is wrong."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch import __version__
from matrix.__main__ import PAGES
from matrix.judge import Ended, Outcome, judge, prompt
from matrix.page import BEGIN, END, put, row, shown
from matrix.play import play
from matrix.situations import KEYS, SITUATIONS, SUCCEEDED, Situation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GOOD, ABSENT = SITUATIONS[0], SITUATIONS[4]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name.replace(" ", "-"))
def test_our_row(situation: Situation, tmp_path: Path) -> None:
    """Right in this situation, and so say the pages."""
    assert judge(situation, play(situation, tmp_path)) == "ok"
    for page in PAGES:
        assert shown(page)[0][situation.name] == "ok"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_row_is_whole_and_dated(page: Path) -> None:
    cells, day = shown(page)
    assert list(cells) == [situation.name for situation in SITUATIONS]
    assert f"**gemini-batch {__version__}**" in page.read_text(encoding="utf-8")
    assert dt.date(2026, 11, 1) <= dt.date.fromisoformat(day) <= dt.datetime.now(dt.UTC).date()


def test_a_page_is_written_between_its_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    cells = {situation.name: "ok" for situation in SITUATIONS} | {"job FAILED": "exit 0"}

    put(page, cells, "2026-11-22")

    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert row(cells) in text
    assert "old" not in text
    assert shown(page) == (cells, "2026-11-22")
    page.write_text("no markers\n")
    with pytest.raises(ValueError, match="lacks the markers"):
        put(page, cells, "2026-11-22")


# The judge -----------------------------------------------------------------------------------------------------------


def line(key: str, **more: Any) -> dict[str, Any]:
    return {"key": key, "verdict": "succeeded", "response": {"text": f"You said: {prompt(key)}"}, **more}


def good() -> Outcome:
    return Outcome(
        create=Ended(code=0, out="batches/abc\n", err=""),
        status=Ended(code=0, out=f"{SUCCEEDED}\n", err=""),
        results=Ended(code=0, out="", err=""),
        lines=[line(key) for key in KEYS],
        jobs=1,
        paid=dict.fromkeys(KEYS, 1),
    )


def swapped(outcome: Outcome) -> Outcome:
    lines = list(outcome.lines or ())
    lines[0], lines[1] = {**lines[0], "response": lines[1]["response"]}, {**lines[1], "response": lines[0]["response"]}
    return replace(outcome, lines=lines)


MISTAKES: dict[str, tuple[Situation, Callable[[Outcome], Outcome], str]] = {
    "answers under other keys": (GOOD, swapped, "answer of another row"),
    "a short list": (GOOD, lambda o: replace(o, lines=list(o.lines or ())[:-1]), "keys are"),
    "a row twice": (GOOD, lambda o: replace(o, lines=[*(o.lines or ()), line("mars")]), "keys are"),
    "no file": (GOOD, lambda o: replace(o, lines=None), "no results"),
    "two jobs": (GOOD, lambda o: replace(o, jobs=2), "2 jobs made"),
    "paid twice": (GOOD, lambda o: replace(o, paid={**o.paid, "mars": 2}), "paid twice: mars"),
    "a wait that died": (GOOD, lambda o: replace(o, status=Ended(code=4, out="", err="503")), "status says nothing"),
    "a traceback": (GOOD, lambda o: replace(o, results=Ended(code=0, out="", err="Traceback (most")), "a traceback"),
    "create that failed": (GOOD, lambda o: replace(o, create=Ended(code=4, out="", err="")), "create exits 4"),
    "an absence not noticed": (ABSENT, lambda o: o, "results exits 0; not said: 1 missing"),
    "an absence taken for a success": (
        ABSENT,
        lambda o: replace(o, results=Ended(code=1, out="", err=ABSENT.says)),
        "earth is succeeded, not missing NO_LINE",
    ),
    "a failure called success": (SITUATIONS[1], lambda o: o, f"status says {SUCCEEDED}, exit 0"),
}


def test_what_is_good_is_ok() -> None:
    assert judge(GOOD, good()) == "ok"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_judge_sees(mistake: str) -> None:
    situation, spoil, complaint = MISTAKES[mistake]
    assert complaint in judge(situation, spoil(good()))
