"""Entering a file of requests next to a large memory of answered rows, and without any."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line, compared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

#: What entering may need, however many rows are remembered.
BOUND = Goal(memory=200 * MEGABYTE)
#: Entering may take twice as long with memory as without.
TIMES = Goal(ratio=0.5, memory=200 * MEGABYTE)
#: The requests of a job, as ``run`` makes them.
_A_JOB = 50_000
#: One request in so many is another one than the one that was answered.
_CHANGED_EVERY = 100


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Build the state folder, catch up with its answers, and enter a file whose rows it knows, or does not know.

    Raises RuntimeError where other rows are taken from memory than were answered.
    """
    requests, entries, rounds = sizes.memory_rows, sizes.remembered, sizes.few
    small = min(_A_JOB, requests)
    files = {name: place.folder / f"{name}.jsonl" for name in ("small", "large", "known", "new")}
    _step(place, "write", files["small"], 0, small, 0)
    _step(place, "write", files["large"], small, small + requests, 0)
    _step(place, "write", files["known"], 0, requests, _CHANGED_EVERY)
    _step(place, "write", files["new"], 0, requests, 1)
    with place.subfolder("remembering") as home, place.subfolder("empty") as empty:
        _step(place, "fill", home, "run-others", max(0, entries - small - requests))
        _step(place, "answer", home, "run-small", files["small"], small)
        yield _as_step(f"catching up, a job of {small:,}", _step(place, "catch_up_with", home))
        _step(place, "answer", home, "run-large", files["large"], _A_JOB)
        jobs = -(-requests // _A_JOB)
        named = f"catching up, {requests:,} in {jobs} job{'' if jobs == 1 else 's'}"
        yield _as_step(named, _step(place, "catch_up_with", home))
        yield _index(home / "offline" / "memory.db")
        answered = sum(1 for number in range(requests) if number % _CHANGED_EVERY)
        yield from _compared(place, home, empty, files, answered=answered, rounds=rounds)
        claimed = _step(place, "claim", home, "run-claimed", files["new"])
        for name, said in (("intent", "intent of one job, all claimed"), ("collected", "its end, claims deleted")):
            seconds = json.loads(claimed.stdout)["seconds"][name]
            yield Line(name=said, ours=seconds, peak=claimed.peak, work=requests, goal=BOUND)
    for file in files.values():
        file.unlink()


def _compared(
    place: Place, home: Path, empty: Path, files: dict[str, Path], *, answered: int, rounds: int
) -> Iterator[Line]:
    """Enter each file ``rounds`` times, in alternation with the same file without memory."""
    cases = (("without", "new", empty, 0), ("none", "new", home, 0), ("known", "known", home, answered))
    taken: dict[str, list[Ended]] = {name: [] for name, *_ in cases}
    for number in range(rounds):
        for name, file, folder, expected in cases:
            run = f"run-{name}-{number}"
            memory = "without" if name == "without" else "with"
            ended = _step(place, "enter", folder, run, files[file], memory)
            if (found := json.loads(ended.stdout)["remembered"]) != expected:
                raise RuntimeError(f"{found:,} rows were remembered instead of {expected:,}.")
            taken[name].append(ended)
            shutil.rmtree(folder / "offline" / "runs" / run)
    size = files["new"].stat().st_size / MEGABYTE
    yield compared("enter, without memory", taken["without"], work=size, work_unit="MB", goal=BOUND)
    for name, said in (("none", "enter, none answered"), ("known", "enter, 99 % answered")):
        yield compared(said, taken[name], "enter, without memory", taken["without"], goal=TIMES)


def _step(place: Place, step: str, *values: object) -> Ended:
    return place.script("memory_steps", step, *values)


def _as_step(name: str, ended: Ended) -> Line:
    return Line(name=name, ours=json.loads(ended.stdout)["seconds"]["catch_up"], peak=ended.peak, goal=BOUND)


def _index(path: Path) -> Line:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT count(*) FROM answered").fetchone()[0]
    size = path.stat().st_size
    return Line(
        name="index of answered rows",
        ours=size / MEGABYTE,
        unit="MB",
        note=f"{rows:,} rows, {size / rows:.0f} bytes each",
    )
