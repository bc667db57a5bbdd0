"""A pile of requests through create, status --wait and results, each its own process: the memory of each command."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line, compared
from benchmarks.measure import program, script
from benchmarks.parts.requests import write_pile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

#: What no process of ours may need, however large the file.
BOUND = Goal(memory=150 * MEGABYTE)
#: Polling often keeps the rhythm of the polls out of the figures.
_WAIT = ("--wait", "--poll", "0.1")


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """This tool against a separate emulator and with its own; and the SDK, which checks and judges nothing."""
    file = place.folder / "requests.jsonl"
    rows = write_pile(file, sizes.pile_mb)
    taken = _theirs(place, file)
    yield from _ours(place, file, rows, taken, offline=False)
    yield from _ours(place, file, rows, {}, offline=True)
    file.unlink()


def _check_results(path: Path, rows: int) -> None:
    """Every key has its answer, once and in order; raises RuntimeError otherwise."""
    count = 0
    with path.open("rb") as file:
        for line in file:
            if not line.startswith(b'{"key":"row-%08d","verdict":"succeeded","response":{' % count):
                raise RuntimeError(f"Line {count + 1} of the results is not the answer of row {count}: {line[:200]!r}")
            count += 1
    if count != rows:
        raise RuntimeError(f"{rows} requests have {count} results.")


def _ours(place: Place, pile: Path, rows: int, sdk: dict[str, Ended], *, offline: bool) -> Iterator[Line]:
    """This tool's three commands, against a separate emulator or with ``--offline``."""
    results = place.folder / "results.jsonl"
    where, options = ("offline", ["--offline"]) if offline else ("separate emulator", [])
    size = pile.stat().st_size / MEGABYTE

    def line(command: str, ended: Ended, size: float, baseline: str = "") -> Line:
        theirs = [sdk[command]] if command in sdk else []
        return compared(
            f"{command}, {where}", [ended], baseline if theirs else "", theirs, work=size, work_unit="MB", goal=BOUND
        )

    with contextlib.ExitStack() as stack:
        home = {"GEMINI_BATCH_HOME": str(stack.enter_context(place.subfolder("home")))}
        emulator = None if offline else stack.enter_context(place.emulator())
        if emulator is not None:
            home |= {"GOOGLE_GEMINI_BASE_URL": emulator.url, "GEMINI_API_KEY": "benchmark"}
        environment = place.environment(**home)
        made = place.run([*program(), "create", str(pile), *options], environment)
        yield line("create", made, size, "SDK: upload and create, no checks")
        waited = place.run([*program(), "status", made.stdout, *_WAIT, *options], environment)
        yield line("status --wait", waited, size)
        got = place.run([*program(), "results", made.stdout, "-o", str(results), *options], environment)
        size = results.stat().st_size / MEGABYTE
        yield line("results -o", got, size, "SDK: download alone")
        _check_results(results, rows)
        results.unlink()
    if emulator is not None:
        yield Line(
            name="the separate emulator itself",
            ours=emulator.peak / MEGABYTE,
            unit="MB",
            peak=emulator.peak,
            goal=BOUND,
        )


def _theirs(place: Place, pile: Path) -> dict[str, Ended]:
    """The same steps by the official SDK."""
    results = place.folder / "sdk-results.jsonl"
    with place.subfolder("home") as home, place.emulator() as emulator:
        environment = place.environment(
            GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY="benchmark"
        )
        made = place.run([*script("sdk_create"), str(pile)], environment)
        place.run([*program(), "status", made.stdout, *_WAIT], environment)
        got = place.run([*script("sdk_results"), made.stdout, str(results)], environment)
        results.unlink()
    return {"create": made, "results -o": got}
