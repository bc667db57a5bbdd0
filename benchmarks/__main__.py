"""``python -m benchmarks``: measure, show, and end with 1 if a target is missed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import clients, estimates, flex, killed, memory, pile, startup, tables
from benchmarks.measure import Place, program
from gemini_batch._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.report import Compared, Entered, Index, Kept, Resumed, Step, TableStep

PARTS = ("help", "status", "calls", "pile")
#: Only where it is asked for.
LONG = ("run", "memory", "tables", "estimate", "flex")
#: Entering a large file takes half a minute.
_FEW_ROUNDS = 3
#: Calls of their own, at most.
_CALLS = 20_000


def measured(
    place: Place, parts: list[str], *, rounds: int, megabytes: int, requests: int, remembered: int
) -> Iterator[Compared | Kept | Step | Resumed | Entered | Index | TableStep]:
    """Every figure, as soon as it is there."""
    if "help" in parts:
        yield startup.help_page(place, rounds)
    if "status" in parts:
        yield startup.one_status(place, rounds)
    if "calls" in parts:
        yield clients.many_calls(place, rounds)
    if "pile" in parts:
        file = place.folder / "requests.jsonl"
        rows = pile.write_pile(file, megabytes)
        yield from pile.ours(place, file, rows, offline=False)
        yield from pile.ours(place, file, rows, offline=True)
        yield from pile.theirs(place, file)
    if "run" in parts:
        yield from killed.runs(place, requests)
    if "tables" in parts:
        few = min(rounds, _FEW_ROUNDS)
        yield from tables.making(place, rows=requests, rounds=few)
        yield from tables.joining(place, rows=requests, rounds=few)
    if "estimate" in parts:
        yield estimates.estimating(place, rows=requests, rounds=min(rounds, _FEW_ROUNDS))
    if "flex" in parts:
        yield flex.calling(place, rows=min(requests, _CALLS), rounds=min(rounds, _FEW_ROUNDS))
    if "memory" in parts:
        few = min(rounds, _FEW_ROUNDS)
        yield from memory.entering(place, requests=requests, entries=remembered, rounds=few)


def main() -> int:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default), {', '.join(LONG)}")
    parser.add_argument(
        "--rounds", type=int, default=15, help="alternating runs behind each median (15; memory, tables: 3 at most)"
    )
    parser.add_argument("--megabytes", type=int, default=300, help="size of the pile (300); five times that on disk")
    parser.add_argument(
        "--requests",
        type=int,
        default=1_000_000,
        help="size of the run, of the entered file, of the tables, rows to estimate (1,000,000)",
    )
    parser.add_argument("--remembered", type=int, default=10_000_000, help="answered rows in memory (10,000,000)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    options = parser.parse_args()
    if unknown := set(options.parts) - {*PARTS, *LONG}:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; choose from {', '.join((*PARTS, *LONG))}")
    about = {
        "gemini_batch": __version__,
        "google_genai": version("google-genai"),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "rounds": options.rounds,
        "megabytes": options.megabytes,
        "requests": options.requests,
        "remembered": options.remembered,
        "program": " ".join(program()),
    }
    figures = []
    with tempfile.TemporaryDirectory(prefix="gemini-batch-benchmarks-") as folder:
        if not options.json:
            print(
                "gemini-batch {gemini_batch}, google-genai {google_genai}, Python {python}, {cores} cores".format(
                    **about
                )
            )
            print(
                "up to {rounds} alternating runs behind each median; a pile of {megabytes} MB".format(**about),
                flush=True,
            )
        place = Place(Path(folder))
        sizes = {name: about[name] for name in ("rounds", "megabytes", "requests", "remembered")}
        for figure in measured(place, options.parts or list(PARTS), **sizes):
            figures.append(figure)
            if not options.json:
                print(figure, flush=True)
    good = all(figure.good for figure in figures)
    if options.json:
        print(json.dumps({**about, "good": good, "figures": [figure.as_json() for figure in figures]}, indent=2))
    elif not good:
        print("A target was missed.", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
