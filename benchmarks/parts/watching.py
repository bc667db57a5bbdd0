"""7. Watching many jobs for an emulated day: calls and bytes, not seconds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.lines import Goal, Line
from benchmarks.measure import program, script
from benchmarks.parts.requests import write_small
from benchmarks.parts.uploading import counted, network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from benchmarks.measure import Place
    from benchmarks.sizes import Sizes

_DAY, _EVERY = 86_400, 30
_NEVER = ("--queue-delay", "2500000")
#: How often the baseline really asks for every job; the rest of the day is the same.
_SAMPLE = 5


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Ours is a ``run``; the baseline is a ``get`` for each job every 30 s, of which a few rounds are measured."""
    file = write_small(place.folder / "watched.jsonl", sizes.watched)
    with place.subfolder("home") as home, place.emulator(*_NEVER) as emulator, network(emulator.url) as wire:
        given = {"GOOGLE_GEMINI_BASE_URL": wire, "GEMINI_API_KEY": "benchmark", "GEMINI_BATCH_HOME": str(home)}
        ended = place.script("watch_day", file, sizes.watched, **given)
        found = json.loads(ended.stdout)
        calls, size = (after - before for before, after in zip(*map(_sums, _both(found)), strict=True))
        a_day = _DAY / found["seconds"]

        listed = place.run([*program(), "list", "--json"], place.environment(**given)).stdout
        jobs = [job["job"] for job in json.loads(listed)["result"]]
        before = _sums(counted(wire))
        place.run([*script("sdk_watch"), str(_SAMPLE), *jobs], place.environment(**given))
        their_calls, their_size = (after - old for old, after in zip(before, _sums(counted(wire)), strict=True))
    rounds = _DAY / _EVERY / _SAMPLE
    name, baseline = f"watch {sizes.watched} jobs for a day", f"a get for each job every {_EVERY} s"
    note = f"{_SAMPLE} rounds of the baseline are measured; the day has {_DAY // _EVERY:,}"
    yield Line(
        name=f"{name}: calls", ours=calls * a_day, unit="calls", peak=ended.peak,
        baseline=baseline, theirs=their_calls * rounds, goal=Goal(ratio=50.0), note=note,
    )  # fmt: skip
    yield Line(
        name=f"{name}: bytes both ways", ours=size * a_day / 1e6, unit="MB", baseline=baseline,
        theirs=their_size * rounds / 1e6, note=note,
    )  # fmt: skip


def _both(found: Any) -> tuple[Any, Any]:
    return found["begun"], found["ended"]


def _sums(passed: Any) -> tuple[int, int]:
    """Calls, and bytes in both directions."""
    return sum(passed["calls"].values()), passed["up"] + passed["down"]
