"""The rows on the pages are what the program yields; and the judge sees what is wrong."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fault_matrix.__main__ import PAGES, of_commands, of_run
from fault_matrix.judge import Ended, Outcome, RunOutcome, judge, judge_run, prompt
from fault_matrix.page import BEGIN, COMMANDS, END, RUN, put, row, shown
from fault_matrix.play import play_run
from fault_matrix.situations import KEYS, SITUATIONS, SUCCEEDED, Run, Situation
from gemini_batch._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

GOOD, ABSENT = SITUATIONS[0], SITUATIONS[4]
by_name = pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name.replace(" ", "-"))


@by_name
def test_the_three_commands(situation: Situation, tmp_path: Path) -> None:
    """Right in this situation, and so say the pages."""
    assert of_commands(situation, tmp_path) == "ok"
    for page in PAGES:
        assert shown(page)[0][COMMANDS][situation.name] == "ok"


@by_name
def test_run(situation: Situation, tmp_path: Path) -> None:
    """Right where the trouble passes, and where it does not; and so say the pages."""
    assert of_run(situation, tmp_path) == "ok"
    for page in PAGES:
        assert shown(page)[0][RUN][situation.name] == "ok"


@pytest.mark.parametrize(
    "situation",
    [situation for situation in SITUATIONS if situation.name != "file job answered inline"],  # there are no such jobs
    ids=lambda situation: situation.name.replace(" ", "-"),
)
def test_at_vertex_ai(situation: Situation, tmp_path: Path) -> None:
    """The same commands, through a bucket, and joined without keys."""
    found = judge_run(situation.run, play_run(situation, tmp_path, vertex=True))
    assert found == "ok"
    if situation.lasting is not None:
        again = play_run(situation, tmp_path / "lasting", lasting=True, vertex=True)
        assert judge_run(situation.lasting, again) == "ok"


def test_a_cell_of_run_is_not_ok_by_itself(tmp_path: Path) -> None:
    """What is right where the trouble passes is wrong where it lasts, and the cell says which was not met."""
    situation = next(situation for situation in SITUATIONS if situation.lasting is not None)

    found = of_run(replace(situation, lasting=situation.run), tmp_path)

    assert found.startswith("where it passes: ok; where it lasts: run exits 5")
    assert "mercury is missing JOB_FAILED, not succeeded" in found


def test_a_situation_that_is_not_met_shows_nothing(tmp_path: Path) -> None:
    never = replace(GOOD, fault={"operation": "files.delete", "status": 503})

    with pytest.raises(RuntimeError, match="not met: no fault"):
        play_run(never, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_rows_are_whole_and_dated(page: Path) -> None:
    cells, day = shown(page)
    assert list(cells) == [COMMANDS, RUN]
    assert all(list(row) == [situation.name for situation in SITUATIONS] for row in cells.values())
    assert page.read_text(encoding="utf-8").count(f"**gemini-batch {__version__}**") == 2
    assert dt.date(2026, 11, 1) <= dt.date.fromisoformat(day) <= dt.datetime.now(dt.UTC).date()


def test_a_page_is_written_between_its_markers_only(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    right = {situation.name: "ok" for situation in SITUATIONS}
    cells = {COMMANDS: right, RUN: right | {"job FAILED": "exit 0"}}

    put(page, cells, "2026-11-22")

    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert row(COMMANDS, cells[COMMANDS]) + row(RUN, cells[RUN]) in text
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


def swapped(lines: Sequence[Mapping[str, Any]] | None) -> list[Mapping[str, Any]]:
    one, two, *others = lines or ()
    return [{**one, "response": two["response"]}, {**two, "response": one["response"]}, *others]


MISTAKES: dict[str, tuple[Situation, Callable[[Outcome], Outcome], str]] = {
    "answers under other keys": (GOOD, lambda o: replace(o, lines=swapped(o.lines)), "answer of another row"),
    "a short list": (GOOD, lambda o: replace(o, lines=list(o.lines or ())[:-1]), "keys are"),
    "a row twice": (GOOD, lambda o: replace(o, lines=[*(o.lines or ()), line("mars")]), "keys are"),
    "no file": (GOOD, lambda o: replace(o, lines=None), "no results"),
    "two jobs": (GOOD, lambda o: replace(o, jobs=2), "2 jobs made"),
    "paid twice": (GOOD, lambda o: replace(o, paid={**o.paid, "mars": 2}), "paid too often: mars 2 times"),
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


# The judge of run ----------------------------------------------------------------------------------------------------


def good_run() -> RunOutcome:
    lines = [line(key) for key in KEYS]
    done = Ended(code=0, out="run-abcdefgh\n", err="6 requests: 6 succeeded\n")
    return RunOutcome(
        first=done,
        again=done,
        lines=lines,
        lines_again=lines,
        failures=None,
        jobs=1,
        jobs_again=1,
        paid=dict.fromkeys(KEYS, 1),
    )


def everywhere(outcome: RunOutcome, lines: list[Mapping[str, Any]] | None) -> RunOutcome:
    """The same wrong results of both commands."""
    return replace(outcome, lines=lines, lines_again=lines)


RIGHT, PASSED, LASTED = Run(), ABSENT.run, ABSENT.lasting or Run()
RUN_MISTAKES: dict[str, tuple[Run, Callable[[RunOutcome], RunOutcome], str]] = {
    "answers under other keys": (RIGHT, lambda o: everywhere(o, swapped(o.lines)), "answer of another row"),
    "a short list": (RIGHT, lambda o: everywhere(o, list(o.lines or ())[:-1]), "keys are"),
    "a row twice": (RIGHT, lambda o: everywhere(o, [*(o.lines or ()), line("mars")]), "keys are"),
    "no file": (RIGHT, lambda o: everywhere(o, None), "no results"),
    "a success called failure": (RIGHT, lambda o: replace(o, first=replace(o.first, code=1)), "run exits 1"),
    "no run is named": (RIGHT, lambda o: replace(o, first=replace(o.first, out="")), "run exits 0 and says nothing"),
    "a traceback": (RIGHT, lambda o: replace(o, first=replace(o.first, err="Traceback (most")), "a traceback"),
    "a traceback at last": (RIGHT, lambda o: replace(o, again=replace(o.again, err="Traceback (most")), "a traceback"),
    "two jobs": (RIGHT, lambda o: replace(o, jobs=2, jobs_again=2), "2 jobs made"),
    "paid twice": (RIGHT, lambda o: replace(o, paid={**o.paid, "mars": 2}), "paid too often: mars 2 times"),
    "failures of nothing": (RIGHT, lambda o: replace(o, failures=["mars"]), "failures are mars"),
    "the same again resends": (RIGHT, lambda o: replace(o, jobs_again=2), "makes 1 more jobs"),
    "the same again fails": (RIGHT, lambda o: replace(o, again=replace(o.again, code=5)), "ends otherwise, exit 5"),
    "the same again is another": (RIGHT, lambda o: replace(o, again=replace(o.again, out="run-b\n")), "ends otherwise"),
    "the same again loses rows": (RIGHT, lambda o: replace(o, lines_again=[]), "ends otherwise"),
    "not resent": (PASSED, lambda o: o, "1 jobs made"),
    "an answered row resent, too": (
        PASSED,
        lambda o: replace(o, jobs=2, jobs_again=2, paid=dict.fromkeys(KEYS, 2)),
        "paid too often: mercury 2 times, venus 2 times, mars 2 times",
    ),
    "given up too late": (LASTED, lambda o: replace(o, jobs=4), "4 jobs made"),
    "an absence not noticed": (LASTED, lambda o: o, "run exits 0 and says run-abcdefgh; not said: 1 missing"),
    "an absence taken for a success": (
        LASTED,
        lambda o: replace(o, first=Ended(code=1, out="run-a", err=LASTED.says)),
        "earth is succeeded, not missing NO_LINE; failures are none",
    ),
}  # fmt: skip


def test_what_is_good_is_ok_for_run() -> None:
    assert judge_run(RIGHT, good_run()) == "ok"
    assert judge_run(PASSED, replace(good_run(), jobs=2, jobs_again=2, paid={**good_run().paid, "earth": 2})) == "ok"


@pytest.mark.parametrize("mistake", RUN_MISTAKES)
def test_the_judge_of_run_sees(mistake: str) -> None:
    right, spoil, complaint = RUN_MISTAKES[mistake]
    assert complaint in judge_run(right, spoil(good_run()))
