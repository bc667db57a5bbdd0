"""Memory is bounded by settings, not by the size of a file: hundreds of megabytes through whole processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BOUND = 150_000_000
PROCESSES = {
    *(f"{command}, {where}" for command in ("create", "status --wait", "results -o")
      for where in ("separate emulator", "offline")),
    "the separate emulator itself",
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform == "win32", reason="peaks are read by wait4"),
    pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not part of this distribution"),
]


def peaks(megabytes: int, folder: Path) -> dict[str, int]:
    """The peak memory, in bytes, of each process that a pile of that size went through.

    A process of its own measures: a child's peak begins with what its parent held when it was started.
    """
    words = ["pile", "--size", f"pile_mb={megabytes}", "--into", str(folder / f"{megabytes}")]
    subprocess.run(
        [sys.executable, "-m", "benchmarks", *words],
        cwd=ROOT,
        check=False,  # a missed bound ends it with 1, and which one it is stands in the report
    )
    report: dict[str, Any] = json.loads((folder / f"{megabytes}" / "results.json").read_bytes())
    return {line["name"]: line["peak"] for line in report["pile"]["lines"] if line["name"] in PROCESSES}


def test_300_megabytes_need_less_than_150_and_no_more_than_30_do(tmp_path: Path) -> None:
    """Every request is answered, in order, too: the benchmark itself ends with an error where one is not."""
    small, large = peaks(30, tmp_path), peaks(300, tmp_path)

    assert small.keys() == large.keys() == PROCESSES
    assert {name: peak for name, peak in large.items() if peak >= BOUND} == {}
    assert {name: large[name] - small[name] for name in PROCESSES if large[name] - small[name] > 30_000_000} == {}
