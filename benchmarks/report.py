"""What was measured, as values, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two commands that do the same: medians in seconds, and how many times faster ours is to be."""

    name: str
    seconds: float
    sdk_seconds: float
    target: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.sdk_seconds / self.seconds

    @property
    def good(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target

    def __str__(self) -> str:
        return (
            f"{self.name:<32}{1000 * self.seconds:7.0f} ms   SDK {1000 * self.sdk_seconds:5.0f} ms   "
            f"{self.ratio:4.1f} times faster (target {self.target:g}){'' if self.good else '   MISSED'}"
        )

    def as_json(self) -> dict[str, object]:
        """The figures, the ratio and whether it is good."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "sdk_seconds": self.sdk_seconds,
            "ratio": self.ratio,
            "target": self.target,
            "good": self.good,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Many calls over one client, and as many with a client each: medians in seconds, and how many times faster."""

    name: str
    seconds: float
    alone: float
    target: float

    @property
    def ratio(self) -> float:
        """How many times faster one client is."""
        return self.alone / self.seconds

    @property
    def good(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target

    def __str__(self) -> str:
        return (
            f"{self.name:<32}{1000 * self.seconds:7.0f} ms   each its own {1000 * self.alone:5.0f} ms   "
            f"{self.ratio:4.1f} times faster (target {self.target:g}){'' if self.good else '   MISSED'}"
        )

    def as_json(self) -> dict[str, object]:
        """The figures, the ratio and whether it is good."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "alone": self.alone,
            "ratio": self.ratio,
            "target": self.target,
            "good": self.good,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One process: wall seconds, the bytes of the file that went through it (0: not stated), peak memory and its
    bound."""

    name: str
    peak: int
    seconds: float | None = None
    bytes: int = 0
    bound: int | None = None

    @property
    def good(self) -> bool:
        """Whether the process stayed within its bound."""
        return self.bound is None or self.peak < self.bound

    def __str__(self) -> str:
        speed = ""
        if self.seconds is not None:
            speed = f"{self.seconds:7.1f} s"
            if self.bytes:
                speed += f"   {self.bytes / MEGABYTE / self.seconds:5.0f} MB/s"
        bound = "" if self.bound is None else f" (bound {self.bound / MEGABYTE:.0f})"
        missed = "" if self.good else "   MISSED"
        return f"{self.name:<32}{speed:21}   {self.peak / MEGABYTE:5.0f} MB at most{bound}{missed}"

    def as_json(self) -> dict[str, object]:
        """The figures and whether they are good."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "bytes": self.bytes,
            "peak": self.peak,
            "bound": self.bound,
            "good": self.good,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A run that was killed and begun again: both lives in seconds, and how soon the second one was at work."""

    name: str
    seconds: float
    undisturbed: float
    on_again: float
    target: float
    peak: int
    bound: int

    @property
    def good(self) -> bool:
        """Whether it was at work soon enough, and within its bound of memory."""
        return self.on_again < self.target and self.peak < self.bound

    def __str__(self) -> str:
        missed = "" if self.good else "   MISSED"
        return (
            f"{self.name:<32}{self.seconds:7.1f} s   {self.seconds / self.undisturbed:4.2f} times the undisturbed one, "
            f"at work again after {self.on_again:.1f} s (target {self.target:g}), "
            f"{self.peak / MEGABYTE:.0f} MB at most (bound {self.bound / MEGABYTE:.0f}){missed}"
        )

    def as_json(self) -> dict[str, object]:
        """The figures and whether they are good."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "undisturbed": self.undisturbed,
            "on_again": self.on_again,
            "target": self.target,
            "peak": self.peak,
            "bound": self.bound,
            "good": self.good,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A file entered with memory and without: medians in seconds of the clock and of the processor, and peak memory."""

    name: str
    seconds: float
    cpu: float
    alone: float
    alone_cpu: float
    target: float
    peak: int
    bound: int

    @property
    def ratio(self) -> float:
        """How many times as long as without memory it takes."""
        return self.seconds / self.alone

    @property
    def cpu_ratio(self) -> float:
        """The same in seconds of the processor, which other load on the machine changes less."""
        return self.cpu / self.alone_cpu

    @property
    def good(self) -> bool:
        """Whether it is fast enough, and within its bound of memory."""
        return self.ratio <= self.target and self.peak < self.bound

    def __str__(self) -> str:
        return (
            f"{self.name:<32}{self.seconds:7.1f} s   {self.ratio:4.2f} times as long as without memory, "
            f"{self.cpu_ratio:.2f} in processor time (target {self.target:g})   {self.peak / MEGABYTE:.0f} MB at most "
            f"(bound {self.bound / MEGABYTE:.0f}){'' if self.good else '   MISSED'}"
        )

    def as_json(self) -> dict[str, object]:
        """The figures, the ratios and whether they are good."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu,
            "alone": self.alone,
            "alone_cpu_seconds": self.alone_cpu,
            "ratio": self.ratio,
            "cpu_ratio": self.cpu_ratio,
            "target": self.target,
            "peak": self.peak,
            "bound": self.bound,
            "good": self.good,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The size of the index of answered rows."""

    name: str
    rows: int
    bytes: int
    good: bool = True

    def __str__(self) -> str:
        each = self.bytes / self.rows
        return f"{self.name:<32}{self.bytes / MEGABYTE:7.0f} MB  {self.rows:,} rows, {each:.0f} bytes each"

    def as_json(self) -> dict[str, object]:
        """The figures."""
        return {"name": self.name, "rows": self.rows, "bytes": self.bytes, "good": self.good}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableStep:
    """A step over all rows of a table, by this package and by a loop in Python: medians in seconds, and peak memory.

    ``baseline`` is what the loop uses.
    """

    name: str
    baseline: str
    seconds: float
    loop: float
    cpu: float
    loop_cpu: float
    target: float
    peak: int
    loop_peak: int
    bound: int

    @property
    def ratio(self) -> float:
        """How many times faster this package is."""
        return self.loop / self.seconds

    @property
    def good(self) -> bool:
        """Whether it is fast enough, and within its bound of memory."""
        return self.ratio >= self.target and self.peak < self.bound

    def __str__(self) -> str:
        return (
            f"{self.name:<44}{self.seconds:7.1f} s   {self.baseline} {self.loop:5.1f} s   "
            f"{self.ratio:4.1f} times faster, "
            f"{self.loop_cpu / self.cpu:.1f} in processor time (target {self.target:g})   "
            f"{self.peak / MEGABYTE:.0f} MB at most (bound {self.bound / MEGABYTE:.0f}, the loop "
            f"{self.loop_peak / MEGABYTE:.0f}){'' if self.good else '   MISSED'}"
        )

    def as_json(self) -> dict[str, object]:
        """The figures, the ratios and whether they are good."""
        return {
            "name": self.name,
            "baseline": self.baseline,
            "seconds": self.seconds,
            "loop": self.loop,
            "cpu_seconds": self.cpu,
            "loop_cpu_seconds": self.loop_cpu,
            "ratio": self.ratio,
            "cpu_ratio": self.loop_cpu / self.cpu,
            "target": self.target,
            "peak": self.peak,
            "loop_peak": self.loop_peak,
            "bound": self.bound,
            "good": self.good,
        }
