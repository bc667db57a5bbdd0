"""A run over shards that is killed at random: one answer for each key, paid for once; flat memory, little disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform == "win32", reason="peaks are read by wait4"),
    pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks are not part of this distribution"),
]


@pytest.mark.parametrize(
    "sizes", [("shard_rows=20000", "shard_most=60"), ("shard_objects=1", "shard_most=60")], ids=["files", "objects"]
)
def test_shards_killed_at_random(tmp_path: Path, sizes: tuple[str, ...]) -> None:
    """The benchmark itself ends with an error where a key has not one answer, or was paid for twice."""
    words = ["sharding", "--into", str(tmp_path), *(word for size in sizes for word in ("--size", size))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
