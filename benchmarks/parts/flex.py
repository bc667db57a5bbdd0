"""Requests sent as calls, compared with a loop over calls that keeps nothing."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, compared
from benchmarks.measure import alternating, program, script
from benchmarks.parts.requests import write_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.lines import Line
    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

AT_ONCE = 64


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Send the same requests in alternation. Raises RuntimeError where answers are missing or were paid for twice."""
    rows, rounds = sizes.call_rows, sizes.few
    file = write_small(place.folder / "calls.jsonl", rows)
    with place.emulator() as emulator:
        keys = iter(range(rounds))
        works = {
            "flex": lambda: _ours(place, file, rows, emulator.url, f"ours{next(keys)}"),
            "loop": lambda: _loop(place, file, rows, emulator.url),
        }
        taken = alternating(works, rounds)
        with urllib.request.urlopen(f"{emulator.url}/emulator/accounting") as reply:
            doubles = json.load(reply)["repeated"]["doubles"]
    # The loop has the same key in each round, so only its own repetitions are expected.
    if doubles != rows * (rounds - 1):
        raise RuntimeError(f"{doubles - rows * (rounds - 1):,} requests were paid for twice.")
    file.unlink()
    yield compared(
        f"{rows:,} requests as calls", taken["flex"], "a loop that keeps nothing", taken["loop"],
        work=rows, goal=Goal(ratio=0.8, memory=150 * MEGABYTE),
    )  # fmt: skip


def _ours(place: Place, file: Path, rows: int, url: str, key: str) -> Ended:
    with place.subfolder("home") as home:
        given = place.environment(GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=url, GEMINI_API_KEY=key)
        out = home / "calls.out"
        words = ("run", str(file), "--via", "flex", "--concurrency", str(AT_ONCE), "-o", str(out))
        ended = place.run([*program(), *words], given)
        with out.open("rb") as lines:
            answered = sum(1 for line in lines if json.loads(line)["verdict"] == "succeeded")
    if answered != rows:
        raise RuntimeError(f"{answered:,} of {rows:,} requests were answered.")
    return ended


def _loop(place: Place, file: Path, rows: int, url: str) -> Ended:
    ended = place.run([*script("flex_bare"), str(file), url, str(AT_ONCE)], place.environment())
    if int(ended.stdout) != rows:
        raise RuntimeError(f"The loop has {ended.stdout} answers for {rows:,} requests.")
    return ended
