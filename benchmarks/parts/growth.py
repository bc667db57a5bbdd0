"""9. More and more rows: the time and the memory of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line
from benchmarks.measure import program
from benchmarks.parts.requests import write_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

#: Flat: no more than this share of the time a row, or of the memory, that ten times fewer rows take, is lost.
_FLAT = 0.8
#: Of so few rows, the start of the process is a large part.
_SMALL = 100_000
COMMANDS = ("create", "results")
NAME = "`{command}` of {rows:,} rows: {what}"
SECONDS, MEMORY = "a row", "peak memory"
DISK = "`rows.db` of {rows:,} answered rows: a row"


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """``create`` and ``results`` of 10,000 rows and of ten times as many, up to the largest."""
    before: dict[str, Ended] = {}
    rows = 10_000
    while rows <= sizes.growth_rows:
        taken, size = _life(place, rows)
        yield Line(name=DISK.format(rows=rows), ours=size / rows, unit="bytes", work=rows)
        for command in COMMANDS:
            yield from _compared(command, rows, taken[command], before.get(command))
        before, rows = taken, rows * 10


def _compared(command: str, rows: int, ended: Ended, before: Ended | None) -> Iterator[Line]:
    baseline = f"{rows // 10:,} rows" if before else ""
    goal = Goal(ratio=_FLAT) if before and rows > _SMALL else Goal()
    yield Line(
        name=NAME.format(command=command, rows=rows, what=SECONDS), ours=1e6 * ended.seconds / rows, unit="µs",
        work=rows, peak=ended.peak, baseline=baseline,
        theirs=1e6 * before.seconds / (rows // 10) if before else None, their_peak=before.peak if before else 0,
        goal=goal,
    )  # fmt: skip
    yield Line(
        name=NAME.format(command=command, rows=rows, what=MEMORY), ours=ended.peak / MEGABYTE, unit="MB", work=rows,
        baseline=baseline, theirs=before.peak / MEGABYTE if before else None, goal=goal,
    )  # fmt: skip


def _life(place: Place, rows: int) -> tuple[dict[str, Ended], int]:
    """What each command took, and the size of the row database at the end."""
    file = write_small(place.folder / "grown.jsonl", rows)
    with place.subfolder("home") as home, place.emulator("--responder", "answers:small") as emulator:
        given = place.environment(
            GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY="benchmark"
        )
        created = place.run([*program(), "create", str(file)], given)
        place.run([*program(), "status", created.stdout, "--wait", "--poll", "0.1"], given)
        out = home / "results.jsonl"
        collected = place.run([*program(), "results", created.stdout, "-o", str(out)], given)
        with out.open("rb") as lines:
            if (found := sum(1 for _ in lines)) != rows:
                raise RuntimeError(f"{rows:,} requests have {found:,} results.")
        size = sum(database.stat().st_size for database in home.glob("runs/*/rows.db"))
    file.unlink()
    return {"create": created, "results": collected}, size
