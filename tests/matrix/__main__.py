"""``make fault-matrix``: play all situations, show our row, and write it on the pages; ends with 1 if one is not ok."""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
from pathlib import Path

from matrix.judge import judge
from matrix.page import put
from matrix.play import ROOT, play
from matrix.situations import SITUATIONS

PAGES = (ROOT / "README.md", ROOT / "docs" / "fault-matrix.md")


def main() -> int:
    """Play, show, write."""
    cells: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="gemini-batch-matrix-") as folder:
        for number, situation in enumerate(SITUATIONS):
            cells[situation.name] = judge(situation, play(situation, Path(folder) / str(number)))
            sys.stdout.write(f"{situation.name:<30} {cells[situation.name]}\n")
            sys.stdout.flush()
    day = dt.datetime.now(dt.UTC).date().isoformat()
    for page in PAGES:
        put(page, cells, day)
    sys.stdout.write(f"Written to {', '.join(str(page.relative_to(ROOT)) for page in PAGES)}.\n")
    return 0 if set(cells.values()) == {"ok"} else 1


if __name__ == "__main__":
    sys.exit(main())
