"""The table of breakages fits the source; and a guard that nobody misses is told."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mutation import __main__ as runner
from mutation.__main__ import taken_out
from mutation.breakage import ROOT, SOURCE, Breakage
from mutation.table import BREAKAGES

if TYPE_CHECKING:
    from pathlib import Path

by_guard = pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.guard.replace(" ", "-"))


@by_guard
def test_a_breakage_fits_the_source(breakage: Breakage) -> None:
    """The old text stands there once, and what is left without the guard is still Python."""
    whole = (SOURCE / breakage.path).read_text(encoding="utf-8")

    broken = breakage.broken(whole)

    assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(whole))


@by_guard
def test_the_named_tests_are_there(breakage: Breakage) -> None:
    assert breakage.tests
    for test in breakage.tests:
        file, _, name = test.partition("::")
        names = {
            node.name
            for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name.partition("[")[0] in names


def test_the_named_cases_are_there() -> None:
    cases = sorted({test for breakage in BREAKAGES for test in breakage.tests if "[" in test})

    found = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *cases], cwd=ROOT, capture_output=True, check=False
    )

    assert found.returncode == 0, found.stderr.decode()


def test_each_guard_is_named_once() -> None:
    assert len({breakage.guard for breakage in BREAKAGES}) == len(BREAKAGES)


# What the runner says ------------------------------------------------------------------------------------------------

BREAKAGE = Breakage(guard="one is one", file="one.py", old="ONE = 1", new="ONE = 2", tests=("t.py::a", "t.py::b"))


class Answered:
    """Stands in for the copy of the source: notes what it holds while the tests run, and answers as it was told."""

    def __init__(self, source: Path, code: int, failed: list[str]) -> None:
        self.source, self._answer = source, (code, failed, "pytest's own words")
        self.seen = ""

    def failing(self, tests: object) -> tuple[int, list[str], str]:
        self.seen = (self.source / BREAKAGE.path).read_text()
        return self._answer


def answered(folder: Path, code: int, failed: list[str], source: str = "ONE = 1\n") -> Answered:
    (folder / "gemini_batch").mkdir()
    (folder / BREAKAGE.path).write_text(source)
    return Answered(folder, code, failed)


@pytest.mark.parametrize(
    ("code", "failed", "found"),
    [
        (1, ["t.py::a", "t.py::b[x-1]"], {"t.py::a": ["t.py::a"], "t.py::b": ["t.py::b[x-1]"]}),
        (1, ["t.py::b[1]", "t.py::b[2]"], {"t.py::a": [], "t.py::b": ["t.py::b[1]", "t.py::b[2]"]}),
        (1, ["t.py::a", "t.py::bb"], {"t.py::a": ["t.py::a"], "t.py::b": []}),
        (0, [], {"t.py::a": [], "t.py::b": []}),
    ],
)
def test_who_misses_a_guard_and_who_does_not(
    tmp_path: Path, code: int, failed: list[str], found: dict[str, list[str]]
) -> None:
    """The tests see the source without the guard; afterwards it is whole again."""
    copy = answered(tmp_path, code, failed)

    assert taken_out(copy, BREAKAGE) == found  # type: ignore[arg-type]
    assert copy.seen == "ONE = 2\n"
    assert (tmp_path / BREAKAGE.path).read_text() == "ONE = 1\n"


@pytest.mark.parametrize("source", ["TWO = 2\n", "ONE = 1\nONE = 1\n"])
def test_a_stale_breakage_is_told(tmp_path: Path, source: str) -> None:
    with pytest.raises(LookupError, match="stale"):
        taken_out(answered(tmp_path, 1, [], source), BREAKAGE)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [2, 3, 4, 5])
def test_tests_that_did_not_run_show_nothing(tmp_path: Path, code: int) -> None:
    with pytest.raises(LookupError, match="did not run"):
        taken_out(answered(tmp_path, code, ["t.py::a", "t.py::b"]), BREAKAGE)  # type: ignore[arg-type]


def test_a_guard_and_a_line_that_guards_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole of it, with one guard that is missed and one line that is not."""
    real = next(breakage for breakage in BREAKAGES if breakage.guard == "bytes are on the disk before the name is")
    idle = replace(real, guard="nothing", old="_STALE = 60.0", new="_STALE = 61.0")
    monkeypatch.setattr(runner, "BREAKAGES", (real, idle))

    code = runner.main([])

    said = capsys.readouterr().out
    assert code == 1
    assert f"missed: {real.guard}" in said.splitlines()[0]
    assert "NOT MISSED: nothing" in said
    assert f"    {real.tests[0]} does not miss it\n" in said
    assert said.endswith("1 of 2 guards are missed when they are gone.\n")
    assert runner.main(["no such guard"]) == 1
