"""The lines of the table: what was measured, what it is compared with, and what was to be reached."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Ended

MEGABYTE = 1_000_000


class Goal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was to be reached. ``ratio``: the baseline divided by ours, at least. ``below``: less than that, in the unit
    of the line. ``per_second``: work a second, at least. ``memory``: peak memory in bytes, below that.
    ``memory_share``: peak memory, at most that share of the baseline's."""

    ratio: float | None = None
    below: float | None = None
    per_second: float | None = None
    memory: int | None = None
    memory_share: float | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the table: medians of alternating runs.

    ``ours`` and ``theirs`` are in ``unit``; ``theirs`` is None where there is no baseline, or where it did not end, and
    then ``note`` says why. ``cpu`` is processor time in seconds. Peaks are the highest of the rounds, in bytes; 0: not
    measured. ``work`` counts what was done, in ``work_unit``, for rates.
    """

    name: str
    ours: float
    unit: str = "s"
    cpu: float = 0.0
    peak: int = 0
    work: float = 0.0
    work_unit: str = "rows"
    baseline: str = ""
    theirs: float | None = None
    their_cpu: float = 0.0
    their_peak: int = 0
    rounds: int = 1
    goal: Goal = Goal()
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The baseline divided by ours."""
        return None if self.theirs is None else self.theirs / self.ours

    @property
    def rate(self) -> float:
        """Work a second; 0 if the work is not stated."""
        return self.work / self.ours

    def missed(self) -> list[str]:
        """The parts of the goal that were not reached, in words; a goal that could not be compared counts as one."""
        goal, missed = self.goal, []
        if goal.ratio is not None and (self.ratio is None or self.ratio < goal.ratio):
            missed.append("ratio")
        if goal.below is not None and self.ours >= goal.below:
            missed.append("time" if self.unit == "s" else self.unit)
        if goal.per_second is not None and self.rate < goal.per_second:
            missed.append("rate")
        if goal.memory is not None and self.peak >= goal.memory:
            missed.append("memory")
        if goal.memory_share is not None and self.peak > goal.memory_share * self.their_peak:
            missed.append("memory compared with the baseline")
        return missed


def compared(
    name: str,
    ours: Sequence[Ended],
    baseline: str = "",
    theirs: Sequence[Ended] = (),
    *,
    work: float = 0.0,
    work_unit: str = "rows",
    goal: Goal | None = None,
    note: str = "",
) -> Line:
    """A line of whole processes."""
    return Line(
        name=name,
        ours=statistics.median(one.seconds for one in ours),
        cpu=statistics.median(one.cpu for one in ours),
        peak=max(one.peak for one in ours),
        work=work,
        work_unit=work_unit,
        baseline=baseline,
        theirs=statistics.median(one.seconds for one in theirs) if theirs else None,
        their_cpu=statistics.median(one.cpu for one in theirs) if theirs else 0.0,
        their_peak=max((one.peak for one in theirs), default=0),
        rounds=len(ours),
        goal=goal or Goal(),
        note=note,
    )
