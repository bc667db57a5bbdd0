"""``validate --fix`` needs no more memory for a larger file, whatever its form."""

from __future__ import annotations

import json
import os
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


def peak(folder: Path, form: str, rows: int) -> int:
    """The peak resident memory, in bytes, of one command over so many lines that all need something."""
    source, output = folder / f"{form}-{rows}.json", folder / f"{form}-{rows}.out.jsonl"
    before, between, after = {"array": ("[", ",", "]"), "lines": ("", "\n", "\n"), "returns": ("", "\r", "\r")}[form]
    with source.open("w") as file:
        file.write(before)
        for number in range(rows):
            text = f"Classify review {number}. " * 40
            row = {
                "request": {"contents": text, "temperature": 1},
                **({"id": f"k{number % 1000}"} if number % 2 else {}),
            }
            file.write((between if number else "") + json.dumps(row))
        file.write(after)
    words = [sys.executable, "-m", "gemini_batch", "validate", str(source), "--fix", "-o", str(output), "--quiet"]
    child = os.posix_spawn(sys.executable, [*words, "--key-duplicates", "number"], os.environ)
    _, status, used = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    with output.open("rb") as copy:
        assert sum(1 for _ in copy) == rows
    source.unlink()
    output.unlink()
    return used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("form", ["lines", "array", "returns"])
def test_ten_times_the_lines_need_no_more_memory(tmp_path: Path, form: str) -> None:
    small, large = peak(tmp_path, form, 5_000), peak(tmp_path, form, 50_000)
    assert large < 150_000_000
    assert large - small < 20_000_000
