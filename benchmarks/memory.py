"""Entering a file of requests next to a large memory of answered rows, and without any: time and peak memory."""

from __future__ import annotations

import json
import shutil
import sqlite3
import statistics
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.measure import HERE
from benchmarks.memory_steps import write
from benchmarks.report import MEGABYTE, Entered, Index, Step
from gemini_batch.store.ledger.run_options import REQUESTS_A_JOB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.measure import Ended, Place

#: What entering may need, however many rows are remembered.
BOUND = 200 * MEGABYTE
#: How much longer entering may take with memory than without.
TIMES = 2.0
#: One request in so many is another one than the one that was answered.
_CHANGED_EVERY = 100


def entering(place: Place, *, requests: int, entries: int, rounds: int) -> Iterator[Index | Step | Entered]:
    """Build the state folder, catch up with its answers, and enter a file whose rows it knows, or does not know.

    Raises RuntimeError where other rows are taken from memory than were answered.
    """
    small = min(REQUESTS_A_JOB, requests)
    files = {name: place.folder / f"{name}.jsonl" for name in ("small", "large", "known", "new")}
    write(files["small"], range(small))
    write(files["large"], range(small, small + requests))
    write(files["known"], range(requests), changed_every=_CHANGED_EVERY)
    write(files["new"], range(requests), changed_every=1)
    with place.subfolder("remembering") as home, place.subfolder("empty") as empty:
        _step(place, "fill", home, "run-others", max(0, entries - small - requests))
        _step(place, "answer", home, "run-small", files["small"], small)
        yield _as_step(f"catching up, a job of {small:,}", _step(place, "catch_up_with", home))
        _step(place, "answer", home, "run-large", files["large"], REQUESTS_A_JOB)
        jobs = -(-requests // REQUESTS_A_JOB)
        named = f"catching up, {requests:,} in {jobs} job{'' if jobs == 1 else 's'}"
        yield _as_step(named, _step(place, "catch_up_with", home))
        yield _index(home / "offline" / "memory.db")
        answered = sum(1 for number in range(requests) if number % _CHANGED_EVERY)
        yield from _compared(place, home, empty, files, answered=answered, rounds=rounds)
        claimed = _step(place, "claim", home, "run-claimed", files["new"])
        for name, said in (("intent", "intent of one job, all claimed"), ("collected", "its end, claims deleted")):
            seconds = json.loads(claimed.stdout)["seconds"][name]
            yield Step(name=said, seconds=seconds, peak=claimed.peak, bound=BOUND)
    for file in files.values():
        file.unlink()


def _compared(
    place: Place, home: Path, empty: Path, files: dict[str, Path], *, answered: int, rounds: int
) -> Iterator[Step | Entered]:
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
    alone, alone_cpu, peak = _medians(taken["without"])
    yield Step(name="enter, without memory", seconds=alone, peak=peak, bytes=files["new"].stat().st_size, bound=BOUND)
    for name, said in (("none", "enter, none answered"), ("known", "enter, 99 % answered")):
        seconds, cpu, peak = _medians(taken[name])
        yield Entered(
            name=said,
            seconds=seconds,
            cpu=cpu,
            alone=alone,
            alone_cpu=alone_cpu,
            target=TIMES,
            peak=peak,
            bound=BOUND,
        )


def _medians(rounds: list[Ended]) -> tuple[float, float, int]:
    """The medians in seconds, of the clock and of the processor, and the highest peak in bytes."""
    seconds, cpu = (
        statistics.median(values) for values in zip(*((one.seconds, one.cpu) for one in rounds), strict=True)
    )
    return seconds, cpu, max(one.peak for one in rounds)


def _step(place: Place, step: str, *values: object) -> Ended:
    return place.run([sys.executable, str(HERE / "memory_steps.py"), step, *map(str, values)], place.environment())


def _as_step(name: str, ended: Ended) -> Step:
    seconds = json.loads(ended.stdout)["seconds"]["catch_up"]
    return Step(name=name, seconds=seconds, peak=ended.peak, bound=BOUND)


def _index(path: Path) -> Index:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT count(*) FROM answered").fetchone()[0]
    return Index(name="index of answered rows", rows=rows, bytes=path.stat().st_size)
