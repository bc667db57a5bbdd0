"""A breakage: one guard taken out, and the tests that have to fail then."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """One guard taken out. ``file`` lies in ``src/gemini_batch``; each of ``tests`` has to fail, a test with
    parameters for at least one of them.
    """

    guard: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file, from ``src`` on."""
        return Path("gemini_batch") / self.file

    def broken(self, source: str) -> str:
        """The source without the guard. Raises LookupError where the old text does not stand there exactly once."""
        if (count := source.count(self.old)) != 1:
            raise LookupError(f"stale: the old text stands {count} times in {self.path}")
        return source.replace(self.old, self.new)
