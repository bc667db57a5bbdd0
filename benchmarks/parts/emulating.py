"""10. The emulator itself: uploads, answers, downloads, and its memory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line
from benchmarks.parts.requests import write_small

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Place
    from benchmarks.sizes import Sizes


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """By a client that does nothing but the calls; the SDK script's times are no measure of the emulator."""
    file = write_small(place.folder / "emulated.jsonl", sizes.emulator_rows)
    size = file.stat().st_size
    taken: dict[str, list[float]] = {"upload": [], "answer": [], "download": []}
    peaks, answered = [], 0
    for _ in range(sizes.few):
        with place.emulator() as emulator:
            found = json.loads(place.script("bare_job", file, emulator.url).stdout)
        for step, seconds in taken.items():
            seconds.append(found[step])
        peaks.append(emulator.peak)
        answered = found["bytes"]
    file.unlink()
    middle = {step: sorted(seconds)[len(seconds) // 2] for step, seconds in taken.items()}
    peak, rounds, rows = max(peaks), sizes.few, sizes.emulator_rows
    yield Line(
        name=f"emulator: {rows:,} rows answered", ours=middle["answer"], work=rows, peak=peak, rounds=rounds,
        goal=Goal(per_second=40_000, memory=150 * MEGABYTE), note="from the create until a poll shows the end",
    )  # fmt: skip
    for step, amount in (("upload", size), ("download", answered)):
        yield Line(
            name=f"emulator: {step}", ours=middle[step], work=amount / MEGABYTE, work_unit="MB", peak=peak,
            rounds=rounds,
        )  # fmt: skip
