"""Our rows on the pages: between two markers, written by the program and read again by its test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fault_matrix.situations import SITUATIONS
from gemini_batch._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    #: By row, then by situation.
    Cells = Mapping[str, Mapping[str, str]]

BEGIN = "<!-- written by `make fault-matrix` -->"
END = "<!-- end of what `make fault-matrix` writes -->"
#: The ways that are measured, as they stand in the first column.
COMMANDS = f"**gemini-batch {__version__}**: `create`, `status`, `results`"
RUN = f"**gemini-batch {__version__}**: `run`"
_BETWEEN = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
_NAMES = [situation.name for situation in SITUATIONS]


def row(label: str, cells: Mapping[str, str]) -> str:
    """One row of the table."""
    return f"| {label} | " + " | ".join(cells[name] for name in _NAMES) + " |\n"


def section(cells: Cells, day: str) -> str:
    """What stands between the markers: the table with our rows alone, and when it was made."""
    head = "| | " + " | ".join(_NAMES) + " |\n" + "| --- " * (len(_NAMES) + 1) + "|\n"
    rows = "".join(row(label, cells[label]) for label in (COMMANDS, RUN))
    return f"\n{head}{rows}\nRun on {day}.\n\n"


def put(page: Path, cells: Cells, day: str) -> None:
    """Write our rows on a page. Raises ValueError where the markers are missing."""
    text = page.read_text(encoding="utf-8")
    if len(_BETWEEN.findall(text)) != 1:
        raise ValueError(f"{page} lacks the markers")
    page.write_text(_BETWEEN.sub(lambda _: section(cells, day), text), encoding="utf-8")


def shown(page: Path) -> tuple[dict[str, dict[str, str]], str]:
    """The cells of our rows as a page shows them, by row and situation, and the day."""
    (between,) = _BETWEEN.findall(page.read_text(encoding="utf-8"))
    head, _, *ours = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in between.splitlines() if line.startswith("|")
    )
    (day,) = re.findall(r"^Run on (\S+)\.$", between, re.MULTILINE)
    return {label: dict(zip(head[1:], cells, strict=True)) for label, *cells in ours}, day
