"""Requests sent as calls, compared with a loop over calls that keeps nothing; and how well a quota is used."""

from __future__ import annotations

import json
import sys
import urllib.request
from typing import TYPE_CHECKING

from benchmarks.killed import write_requests
from benchmarks.measure import HERE, program
from benchmarks.report import MEGABYTE
from benchmarks.tables import figure

if TYPE_CHECKING:
    from benchmarks.measure import Ended, Place
    from benchmarks.report import TableStep

#: How fast ours is to be, compared with the loop, and what memory it may need.
TARGET, BOUND = 0.8, 150 * MEGABYTE
AT_ONCE = 64


def calling(place: Place, *, rows: int, rounds: int) -> TableStep:
    """Send the same requests in alternation. Raises RuntimeError where answers are missing or were paid for twice."""
    file = place.folder / "calls.jsonl"
    write_requests(file, rows)
    taken: dict[str, list[Ended]] = {"flex": [], "loop": []}
    with place.emulator() as emulator:
        for number in range(rounds):
            with place.subfolder("home") as home:
                given = place.environment(
                    GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY=f"ours{number}"
                )
                words = ("run", str(file), "--via", "flex", "--concurrency", str(AT_ONCE), "-o", f"calls{number}.out")
                taken["flex"].append(place.run([*program(), *words], given))
            with (place.folder / f"calls{number}.out").open("rb") as out:
                answered = sum(1 for line in out if json.loads(line)["verdict"] == "succeeded")
            bare = [sys.executable, str(HERE / "flex_bare.py"), str(file), emulator.url, str(AT_ONCE)]
            taken["loop"].append(place.run(bare, place.environment()))
            if (answered, int(taken["loop"][-1].stdout)) != (rows, rows):
                raise RuntimeError(f"Of {rows:,} requests, {answered:,} and {taken['loop'][-1].stdout} were answered.")
        with urllib.request.urlopen(f"{emulator.url}/emulator/accounting") as reply:
            doubles = json.load(reply)["repeated"]["doubles"]
    # The loop has the same key in each round, so only its own repetitions are expected.
    if doubles != rows * (rounds - 1):
        raise RuntimeError(f"{doubles - rows * (rounds - 1):,} requests were paid for twice.")
    file.unlink()
    return figure(f"{rows:,} rows as calls", "loop", taken, target=TARGET, bound=BOUND)
