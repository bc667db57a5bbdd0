"""Our row on the pages: between two markers, written by the program and read again by its test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemini_batch import __version__
from matrix.situations import SITUATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

BEGIN = "<!-- written by `make fault-matrix` -->"
END = "<!-- end of what `make fault-matrix` writes -->"
_BETWEEN = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
_NAMES = [situation.name for situation in SITUATIONS]


def row(cells: Mapping[str, str]) -> str:
    """Our row of the table."""
    return f"| **gemini-batch {__version__}** | " + " | ".join(cells[name] for name in _NAMES) + " |\n"


def section(cells: Mapping[str, str], day: str) -> str:
    """What stands between the markers: the table with our row alone, and when it was made."""
    head = "| | " + " | ".join(_NAMES) + " |\n" + "| --- " * (len(_NAMES) + 1) + "|\n"
    return f"\n{head}{row(cells)}\nRun on {day}.\n\n"


def put(page: Path, cells: Mapping[str, str], day: str) -> None:
    """Write our row on a page. Raises ValueError where the markers are missing."""
    text = page.read_text(encoding="utf-8")
    if len(_BETWEEN.findall(text)) != 1:
        raise ValueError(f"{page} lacks the markers")
    page.write_text(_BETWEEN.sub(lambda _: section(cells, day), text), encoding="utf-8")


def shown(page: Path) -> tuple[dict[str, str], str]:
    """The cells of our row as a page shows them, by situation, and the day."""
    (between,) = _BETWEEN.findall(page.read_text(encoding="utf-8"))
    head, _, ours = (line for line in between.splitlines() if line.startswith("|"))
    names, cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, ours))
    (day,) = re.findall(r"^Run on (\S+)\.$", between, re.MULTILINE)
    return dict(zip(names[1:], cells[1:], strict=True)), day
