"""What `docs/conformance.md` says, so that runs can be held to it: the page is the list, not a copy of one."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading."""
    below = PAGE.read_text().split(f"\n## {heading}\n", 1)[1].splitlines()
    begin = next(number for number, line in enumerate(below) if line.startswith("| ---"))
    rows = []
    for line in below[begin + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
