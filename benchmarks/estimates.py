"""Estimating the tokens of requests, compared with a loop that only decodes each line: time and peak memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.measure import HERE
from benchmarks.report import MEGABYTE, TableStep
from benchmarks.tables import figure

if TYPE_CHECKING:
    from benchmarks.measure import Ended, Place

#: How many times faster this package is to be, and what memory it may need, however many rows there are.
TARGET, BOUND = 0.8, 60 * MEGABYTE


def estimating(place: Place, *, rows: int, rounds: int) -> TableStep:
    """Estimate the same requests and decode them, in alternation. Raises RuntimeError where rows are missing."""
    file = place.folder / "estimate.jsonl"
    step = [sys.executable, str(HERE / "estimate_steps.py")]
    place.run([*step, "write", str(file), str(rows)], place.environment())
    taken: dict[str, list[Ended]] = {"estimate": [], "json": []}
    for _ in range(rounds):
        for name, ended in taken.items():
            ended.append(place.run([*step, name, str(file)], place.environment()))
            if int(ended[-1].stdout) != rows:
                raise RuntimeError(f"{name} read {ended[-1].stdout} rows instead of {rows:,}.")
    file.unlink()
    return figure(f"estimate {rows:,} rows", "json.loads", taken, target=TARGET, bound=BOUND)
