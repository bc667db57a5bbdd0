"""A pile of requests through create, status --wait and results, each its own process: wall time and peak memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.measure import program, sdk
from benchmarks.report import MEGABYTE, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.measure import Place

#: What no process of ours may need, however large the file.
BOUND = 150 * MEGABYTE
_ROW_BYTES = 1000
_TEXT = "the quick brown fox jumps over the lazy dog and walks on through the quiet wood to the river " * 20
#: Looking often keeps the rhythm of the looks out of the figures.
_WAIT = ("--wait", "--poll", "0.1")


def write_pile(path: Path, megabytes: int) -> int:
    """Write about so many megabytes of requests, a kilobyte each and no two alike; returns how many."""
    rows = megabytes * MEGABYTE // _ROW_BYTES
    with path.open("wb") as file:
        for row in range(rows):
            start = row % 97
            prompt = f"Tell story {row}: {_TEXT[start : start + 900]}"
            line = f'{{"key":"row-{row:08}","request":{{"contents":[{{"parts":[{{"text":"{prompt}"}}]}}]}}}}\n'
            file.write(line.encode())
    return rows


def check_results(path: Path, rows: int) -> None:
    """Every key has its answer, once and in order; raises RuntimeError otherwise."""
    count = 0
    with path.open("rb") as file:
        for line in file:
            if not line.startswith(b'{"key":"row-%08d","verdict":"succeeded","response":{' % count):
                raise RuntimeError(f"Line {count + 1} of the results is not the answer of row {count}: {line[:200]!r}")
            count += 1
    if count != rows:
        raise RuntimeError(f"{rows} requests have {count} results.")


def ours(place: Place, pile: Path, rows: int, *, offline: bool) -> Iterator[Step]:
    """This tool's three commands, against a separate emulator or with ``--offline``."""
    results = place.folder / "results.jsonl"
    where, options = ("offline", ["--offline"]) if offline else ("separate emulator", [])
    size = pile.stat().st_size
    with contextlib.ExitStack() as stack:
        home = {"GEMINI_BATCH_HOME": str(stack.enter_context(place.subfolder("home")))}
        emulator = None if offline else stack.enter_context(place.emulator())
        if emulator is not None:
            home |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "benchmark"}
        environment = place.environment(**home)
        made = place.run([*program(), "create", str(pile), *options], environment)
        yield Step(name=f"create, {where}", seconds=made.seconds, peak=made.peak, bytes=size, bound=BOUND)
        waited = place.run([*program(), "status", made.stdout, *_WAIT, *options], environment)
        yield Step(name=f"status --wait, {where}", seconds=waited.seconds, peak=waited.peak, bytes=size, bound=BOUND)
        got = place.run([*program(), "results", made.stdout, "-o", str(results), *options], environment)
        size = results.stat().st_size
        yield Step(name=f"results -o, {where}", seconds=got.seconds, peak=got.peak, bytes=size, bound=BOUND)
        check_results(results, rows)
        results.unlink()
    if emulator is not None:
        yield Step(name="the separate emulator itself", peak=emulator.peak, bound=BOUND)


def theirs(place: Place, pile: Path) -> Iterator[Step]:
    """The same ways by the official SDK, which neither checks the requests nor judges the answers."""
    results = place.folder / "sdk-results.jsonl"
    with place.subfolder("home") as home, place.emulator() as emulator:
        environment = place.environment(
            GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY="benchmark"
        )
        made = place.run([*sdk("sdk_create.py"), str(pile)], environment)
        yield Step(name="SDK: upload and create", seconds=made.seconds, peak=made.peak, bytes=pile.stat().st_size)
        place.run([*program(), "status", made.stdout, *_WAIT], environment)
        got = place.run([*sdk("sdk_results.py"), made.stdout, str(results)], environment)
        yield Step(name="SDK: download", seconds=got.seconds, peak=got.peak, bytes=results.stat().st_size)
        results.unlink()
