"""Tables in and out, compared with loops in Python: time and peak memory.

Making requests is compared with a loop of csv or pyarrow, jinja2 and ``json.dumps``; joining answers with a loop over
pyarrow's batches.
"""

from __future__ import annotations

import statistics
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import HERE
from benchmarks.report import MEGABYTE, TableStep

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.measure import Ended, Place

#: How many times faster this package is to be, and what memory it may need, however many rows there are.
MAKING, JOINING = 3.0, 2.0
MAKING_BOUND, JOINING_BOUND = 800 * MEGABYTE, 400 * MEGABYTE


def making(place: Place, *, rows: int, rounds: int) -> Iterator[TableStep]:
    """Make a request of each row of the same table, in alternation. Raises RuntimeError where rows are missing."""
    for ending in (".csv", ".parquet"):
        table = place.folder / f"made{ending}"
        _step(place, "table", table, rows)
        for keys in ("id", "derived"):
            name = f"make {rows:,} requests, {ending}, {keys} keys"
            output = place.folder / "requests.jsonl"
            taken = _alternating(
                place, {"make": [table, output, keys], "jinja2": [table, output, "id"]}, rows=rows, rounds=rounds
            )
            yield figure(name, "jinja2 and json", taken, target=MAKING, bound=MAKING_BOUND)
            output.unlink()
        table.unlink()


def joining(place: Place, *, rows: int, rounds: int) -> Iterator[TableStep]:
    """Join the same answers to the same table, in alternation. Raises RuntimeError where rows are missing."""
    table, answers = place.folder / "join.parquet", place.folder / "join.jsonl"
    _step(place, "table", table, rows)
    _step(place, "answers", answers, rows)
    for ending in (".parquet", ".csv"):
        steps = {step: [table, answers, place.folder / f"{step}-out{ending}"] for step in ("join", "pyarrow")}
        taken = _alternating(place, steps, rows=rows, rounds=rounds)
        yield figure(f"join {rows:,} rows, {ending}", "pyarrow", taken, target=JOINING, bound=JOINING_BOUND)
    for file in (table, answers):
        file.unlink()


def _alternating(
    place: Place, steps: Mapping[str, Sequence[Path | str]], *, rows: int, rounds: int
) -> dict[str, list[Ended]]:
    taken: dict[str, list[Ended]] = {step: [] for step in steps}
    for _ in range(rounds):
        for step, values in steps.items():
            ended = _step(place, step, *values)
            if int(ended.stdout) != rows:
                raise RuntimeError(f"{step} wrote {ended.stdout} rows instead of {rows:,}.")
            taken[step].append(ended)
    return taken


def figure(name: str, baseline: str, taken: dict[str, list[Ended]], *, target: float, bound: int) -> TableStep:
    """``taken``: what this package took, then what the loop took."""
    ours, theirs = taken.values()
    return TableStep(
        name=name,
        baseline=baseline,
        seconds=statistics.median(one.seconds for one in ours),
        loop=statistics.median(one.seconds for one in theirs),
        cpu=statistics.median(one.cpu for one in ours),
        loop_cpu=statistics.median(one.cpu for one in theirs),
        target=target,
        peak=max(one.peak for one in ours),
        loop_peak=max(one.peak for one in theirs),
        bound=bound,
    )


def _step(place: Place, step: str, *values: Path | int | str) -> Ended:
    return place.run([sys.executable, str(HERE / "table_steps.py"), step, *map(str, values)], place.environment())
