"""What one open client saves: many calls over one ledger and one connection, compared with opening both each time."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from benchmarks.report import Kept
from gemini_batch import GeminiBatch, Secret, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measure import Place

_CALLS = 20
_NEVER = "1000000"
_REQUEST = '{"key": "only", "request": {"contents": [{"parts": [{"text": "Say hello."}]}]}}\n'


def many_calls(place: Place, rounds: int) -> Kept:
    """``status`` of one job, twenty times, over loopback."""
    request = place.folder / "calls.jsonl"
    request.write_text(_REQUEST)
    with place.subfolder("calls") as home, place.emulator("--queue-delay", _NEVER) as emulator:
        settings = Settings(home=home, base_url=emulator.url, api_key=Secret("benchmark"))
        with GeminiBatch(settings) as batch:
            job = batch.create(request).job

        def one_each() -> None:
            for _ in range(_CALLS):
                with GeminiBatch(settings) as batch:
                    batch.status(job)

        def one_for_all() -> None:
            with GeminiBatch(settings) as batch:
                for _ in range(_CALLS):
                    batch.status(job)

        kept = [(_seconds(one_for_all), _seconds(one_each)) for _ in range(rounds)]
    together, alone = (statistics.median(seconds) for seconds in zip(*kept, strict=True))
    return Kept(name=f"{_CALLS} status calls, one client", seconds=together, alone=alone, target=2.0)


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
