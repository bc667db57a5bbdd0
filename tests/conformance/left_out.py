"""What of google-genai's own suite is left out, and why: `left_out.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("left_out.toml")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why tests are left out."""

    why: str
    #: Whether these tests fail wherever they run; others fail with some versions of Python or of other packages.
    always: bool
    tests: tuple[str, ...]


def reasons() -> list[Reason]:
    """The reasons, in the order of the list."""
    found = tomllib.loads(LIST.read_text(encoding="utf-8"))["reason"]
    return [Reason(one["why"], one.get("always", True), tuple(one["tests"])) for one in found]


def listed() -> dict[str, Reason]:
    """The reason of every test that is left out: ``{"files/test_x.py::test_y": …}``."""
    every = [(test, reason) for reason in reasons() for test in reason.tests]
    assert len({test for test, _ in every}) == len(every), "a test is listed twice"
    return dict(every)
