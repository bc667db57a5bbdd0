"""What of google-genai's own suite is left out, and why: `left_out.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_name("left_out.toml")
#: The same for the half of the suite that calls Vertex AI.
VERTEX = Path(__file__).with_name("left_out_vertex.toml")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why tests are left out."""

    why: str
    #: Whether these tests fail wherever they run; others fail with some versions of Python or of other packages.
    always: bool
    tests: tuple[str, ...]


def reasons(file: Path = LIST) -> list[Reason]:
    """The reasons, in the order of the list."""
    found = tomllib.loads(file.read_text(encoding="utf-8"))["reason"]
    return [Reason(one["why"], one.get("always", True), tuple(one["tests"])) for one in found]


def listed(file: Path = LIST) -> dict[str, Reason]:
    """The reason of every test that is left out: ``{"files/test_x.py::test_y": …}``."""
    every = [(test, reason) for reason in reasons(file) for test in reason.tests]
    assert len({test for test, _ in every}) == len(every), "a test is listed twice"
    return dict(every)
