"""``validate --fix`` needs no more memory for a larger file, whatever its form."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(sys.platform == "win32", reason="peaks are read by wait4"),
]


MEASURE = """
import os, sys
child = os.posix_spawn(sys.executable, sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
print(used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak(folder: Path, form: str, rows: int) -> int:
    """The peak resident memory, in bytes, of one command over so many lines that all need something."""
    source, output = folder / f"{form}-{rows}.json", folder / f"{form}-{rows}.out.jsonl"
    before, comma, after = {"array": ("[", ",", "]"), "lines": ("", "\n", "\n"), "returns": ("", "\r", "\r")}[form]
    with source.open("w") as file:
        file.write(before)
        for number in range(rows):
            text = f"Classify review {number}. " * 40
            row = {
                "request": {"contents": text, "temperature": 1},
                **({"id": f"k{number % 1000}"} if number % 2 else {}),
            }
            file.write((comma if number else "") + json.dumps(row))
        file.write(after)
    words = [sys.executable, "-m", "gemini_batch", "validate", str(source), "--fix", "-o", str(output), "--quiet"]
    # A child begins with the peak of its parent, and this one is as large as the tests before have made it.
    between = [sys.executable, "-c", MEASURE, *words, "--key-duplicates", "number"]
    done = subprocess.run(between, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with output.open("rb") as copy:
        assert sum(1 for _ in copy) == rows
    source.unlink()
    output.unlink()
    return int(done.stdout.splitlines()[-1]) * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("form", ["lines", "array", "returns"])
def test_ten_times_the_lines_need_no_more_memory(tmp_path: Path, form: str) -> None:
    small, large = peak(tmp_path, form, 5_000), peak(tmp_path, form, 50_000)
    assert large < 150_000_000
    assert large - small < 20_000_000
