"""The benchmark of row memory, at a size that takes seconds: it runs, and it measures what it says."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="peaks are read by wait4"),
    pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not part of this distribution"),
    pytest.mark.skipif(importlib.util.find_spec("google") is None, reason="the benchmarks need the official SDK"),
]


def test_a_small_file_next_to_a_small_memory(tmp_path: Path) -> None:
    """The benchmark itself ends with an error if it takes other rows from memory than were answered."""
    sizes = [word for size in ("memory_rows=300", "remembered=3000", "few=1") for word in ("--size", size)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "memory", *sizes, "--into", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,  # at this size a ratio says nothing, and a goal may be missed
    )

    assert "Traceback" not in done.stderr
    lines = json.loads((tmp_path / "results.json").read_bytes())["memory"]["lines"]
    figures = {line["name"]: line for line in lines}
    assert set(figures) == {
        "catching up, a job of 300",
        "catching up, 300 in 1 job",
        "index of answered rows",
        "enter, without memory",
        "enter, none answered",
        "enter, 99 % answered",
        "intent of one job, all claimed",
        "its end, claims deleted",
    }
    assert figures["index of answered rows"]["note"].startswith("3,000 rows")
    assert {name for name, figure in figures.items() if figure.get("peak", 0) >= 200_000_000} == set()
    assert all(figures[name]["theirs"] > 0 for name in ("enter, none answered", "enter, 99 % answered"))
