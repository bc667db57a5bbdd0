"""``make fault-matrix``: play all situations, show our rows, write them on the pages; ends with 1 if one is not ok."""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from pathlib import Path

from fault_matrix.judge import judge, judge_run
from fault_matrix.page import COMMANDS, RUN, put
from fault_matrix.play import ROOT, play, play_run
from fault_matrix.situations import SITUATIONS, Situation

PAGES = (ROOT / "README.md", ROOT / "docs" / "fault-matrix.md")


def of_commands(situation: Situation, folder: Path) -> str:
    """The cell of the three commands."""
    return judge(situation, play(situation, folder))


def of_run(situation: Situation, folder: Path) -> str:
    """The cell of ``run``: right where the trouble passes, and where it does not."""
    passing = judge_run(situation.run, play_run(situation, folder / "passing"))
    if situation.lasting is None:
        return passing
    lasting = judge_run(situation.lasting, play_run(situation, folder / "lasting", lasting=True))
    if passing == lasting == "ok":
        return "ok"
    return f"where it passes: {passing}; where it lasts: {lasting}"


def main() -> int:
    """Play, show, write."""
    cells: dict[str, dict[str, str]] = {COMMANDS: {}, RUN: {}}
    with tempfile.TemporaryDirectory(prefix="gemini-batch-matrix-") as folder:
        for number, situation in enumerate(SITUATIONS):
            for label, cell in ((COMMANDS, of_commands), (RUN, of_run)):
                cells[label][situation.name] = cell(situation, Path(folder) / cell.__name__ / str(number))
            ours = ", ".join(cells[label][situation.name] for label in cells)
            sys.stdout.write(f"{situation.name:<30} {ours}\n")
            sys.stdout.flush()
    day = dt.datetime.now(dt.UTC).date().isoformat()
    for page in PAGES:
        put(page, cells, day)
    sys.stdout.write(f"Written to {', '.join(str(page.relative_to(ROOT)) for page in PAGES)}.\n")
    return 0 if {cell for row in cells.values() for cell in row.values()} == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
