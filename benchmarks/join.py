"""Joining answers to a table, compared with a loop over pyarrow's batches: time and peak memory."""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import HERE
from benchmarks.report import MEGABYTE, Joined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.measure import Ended, Place

#: How many times faster the join is to be, and what memory it may need, however many rows there are.
TARGET = 2.0
BOUND = 400 * MEGABYTE


def joining(place: Place, *, rows: int, rounds: int) -> Iterator[Joined]:
    """Join the same answers to the same table, in alternation. Raises RuntimeError where rows are missing."""
    table, answers = place.folder / "join.parquet", place.folder / "join.jsonl"
    _step(place, "make", table, answers, rows)
    for ending in (".parquet", ".csv"):
        taken: dict[str, list[Ended]] = {"ours": [], "pyarrow": []}
        for _ in range(rounds):
            for step, times in taken.items():
                output = place.folder / f"{step}{ending}"
                ended = _step(place, step, table, answers, output)
                if int(ended.stdout) != rows:
                    raise RuntimeError(f"{step} joined {ended.stdout} rows instead of {rows:,}.")
                times.append(ended)
        ours, theirs = taken["ours"], taken["pyarrow"]
        yield Joined(
            name=f"join {rows:,} rows, {ending}",
            seconds=statistics.median(one.seconds for one in ours),
            loop=statistics.median(one.seconds for one in theirs),
            cpu=statistics.median(one.cpu for one in ours),
            loop_cpu=statistics.median(one.cpu for one in theirs),
            target=TARGET,
            peak=max(one.peak for one in ours),
            loop_peak=max(one.peak for one in theirs),
            bound=BOUND,
        )
    for file in (table, answers):
        file.unlink()


def _step(place: Place, step: str, *values: Path | int) -> Ended:
    return place.run([sys.executable, str(HERE / "join_steps.py"), step, *map(str, values)], place.environment())
