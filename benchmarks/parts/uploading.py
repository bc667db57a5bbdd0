"""4. Uploading over a network with round trips of 50 ms and 100 Mbit/s for each connection."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line
from benchmarks.measure import program, script
from benchmarks.parts.requests import write_pile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

_ROUND_TRIP_MS, _MBIT = "50", "100"
#: No job starts while it is measured.
_NEVER = ("--queue-delay", "2500000")
_CREATE = "POST /v1beta/models/…:batchGenerateContent"


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """In one job and in many, once each: the network decides, and it does not vary."""
    file = place.folder / "upload.jsonl"
    rows = write_pile(file, sizes.upload_mb)
    size = file.stat().st_size / MEGABYTE
    with place.emulator(*_NEVER) as emulator:
        one, one_peak = _uploading(place, emulator.url, size, partial(_sdk, place, [file]))
        with _cut(place, file, rows, sizes.shards) as parts:
            many, many_peak = _uploading(place, emulator.url, size, partial(_sdk, place, parts))
        for shards, theirs, peak in ((1, one, one_peak), (sizes.shards, many, many_peak)):
            seconds, our_peak = _uploading(place, emulator.url, size, partial(_ours, place, file, rows, shards))
            yield Line(
                name=f"upload {size:,.0f} MB in {shards} file{'s' if shards > 1 else ''}",
                ours=seconds,
                peak=our_peak,
                work=size,
                work_unit="MB",
                baseline="SDK files.upload" + (", one after the other" if shards > 1 else ""),
                theirs=theirs,
                their_peak=peak,
                goal=Goal(ratio=3.0) if shards > 1 else Goal(),
            )
    file.unlink()


def _uploading(place: Place, url: str, size: float, work: Callable[[dict[str, str]], Ended]) -> tuple[float, int]:
    """Seconds from the first byte of data to the last, and the peak memory of the process."""
    with network(url, _ROUND_TRIP_MS, _MBIT) as wire, place.subfolder("home") as home:
        ended = work(
            place.environment(GOOGLE_GEMINI_BASE_URL=wire, GEMINI_API_KEY="benchmark", GEMINI_BATCH_HOME=str(home))
        )
        passed = counted(wire)
    if passed["up"] < size * MEGABYTE:
        raise RuntimeError(f"{passed['up'] / MEGABYTE:,.0f} of {size:,.0f} MB were uploaded.")
    return passed["last"] - passed["first"], ended.peak


def _ours(place: Place, file: Path, rows: int, shards: int, given: dict[str, str]) -> Ended:
    """``create``, or for several jobs ``run``, which is interrupted when the last job is created."""
    if shards == 1:
        return place.run([*program(), "create", str(file)], given)
    words = [*program(), "run", str(file), "--max-requests-per-job", str(-(-rows // shards))]
    wire = given["GOOGLE_GEMINI_BASE_URL"]
    return place.run(words, given, codes=(130,), until=lambda: counted(wire)["calls"].get(_CREATE, 0) >= shards)


def _sdk(place: Place, files: list[Path], given: dict[str, str]) -> Ended:
    return place.run([*script("sdk_upload"), *map(str, files)], given)


@contextlib.contextmanager
def _cut(place: Place, file: Path, rows: int, shards: int) -> Iterator[list[Path]]:
    """The same requests in so many files."""
    each = -(-rows // shards)
    with place.subfolder("shards") as folder, file.open("rb") as lines:
        paths = [folder / f"shard-{number}.jsonl" for number in range(shards)]
        for path in paths:
            with path.open("wb") as part:
                part.writelines(line for _, line in zip(range(each), lines, strict=False))
        yield paths


@contextlib.contextmanager
def network(url: str, *numbers: str) -> Iterator[str]:
    """A network to a service, as ``throttle.py`` makes it; its URL."""
    process = subprocess.Popen([*script("throttle"), url, *numbers], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def counted(wire: str) -> Any:
    """What has passed it so far."""
    with urllib.request.urlopen(f"{wire}/wire") as reply:
        return json.load(reply)
