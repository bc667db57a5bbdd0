"""Estimating the tokens of requests, compared with a loop that only decodes each line."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, compared
from benchmarks.measure import alternating

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.lines import Line
    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Estimate the same requests and decode them. Raises RuntimeError where rows are missing."""
    file, rows = place.folder / "estimate.jsonl", sizes.estimate_rows

    def step(name: str, *more: object) -> Ended:
        ended = place.script("estimate_steps", name, file, *more)
        if int(ended.stdout) != rows:
            raise RuntimeError(f"{name} read {ended.stdout} rows instead of {rows:,}.")
        return ended

    step("write", rows)
    taken = alternating({name: partial(step, name) for name in ("estimate", "json")}, sizes.few)
    yield compared(
        f"estimate the tokens of {rows:,} requests", taken["estimate"], "json.loads a line", taken["json"],
        work=rows, goal=Goal(ratio=0.8, memory=60 * MEGABYTE),
    )  # fmt: skip
    file.unlink()
