"""15. Work in shards: killed at random and gone on with; memory with more shards; what it takes on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line, compared
from benchmarks.measure import Peak, peak_of, program
from benchmarks.parts.killed import paid_once
from benchmarks.parts.requests import write_pile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Ended, Place
    from benchmarks.sizes import Sizes

#: What a run may need, however many shards it has; writing Parquet takes half of it.
BOUND = 250 * MEGABYTE
#: How much of the memory with few shards is left with many of them, and the share on disk next to shards and answers.
_FLAT, _SHARE = 0.8, 10.0
_FEW, _KILLS = 10, 8
#: What obstore and the parts of an upload take.
_OBSTORE = 50 * MEGABYTE
#: Rows of a shard where many of them are compared with few.
_SMALL = 2_000


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Raises RuntimeError where a key has not exactly one answer, or was paid for twice."""
    count, rows, objects = sizes.shard_count, sizes.shard_rows, bool(sizes.shard_objects)
    kind, bound = ", objects" * objects, Goal(memory=BOUND + objects * _OBSTORE)
    with place.subfolder("killed") as folder, place.emulator() as emulator:
        manifest = _shards(folder, count, rows)
        began = time.perf_counter()
        with Peak(lambda: _taken(folder / "home")) as disk:
            kills, peak = _killed(
                place, _words(folder, manifest, objects=objects), _environment(place, folder, emulator.url)
            )
        seconds = time.perf_counter() - began
        shards = [path.stat().st_size for path in folder.glob("*.jsonl")]
        answers = [path.stat().st_size for path in (folder / "answers").iterdir()]
        size = sum(shards + answers)
        _each_once(folder, count * rows)
        paid_once(emulator.url, count * rows)
        yield Line(
            name=f"run of {count} shards of {rows:,}{kind}, killed at random", ours=seconds, peak=peak,
            work=count * rows,
            goal=bound,
            note=f"{kills} times; one answer for each key, and nothing is paid for twice",
        )  # fmt: skip
        yield Line(
            name="the same: disk, next to shards and answers", ours=100 * disk.most / size, unit="%",
            goal=Goal(below=_SHARE),
        )  # fmt: skip
    few = _alone(place, _FEW, objects=objects)
    many = _alone(place, sizes.shard_most, objects=objects)
    yield compared(f"run of {_FEW} shards of {_SMALL:,}{kind}", [few], work=_FEW * _SMALL, goal=bound)
    yield Line(
        name=f"run of {sizes.shard_most} shards of {_SMALL:,}{kind}: peak memory", ours=many.peak / MEGABYTE, unit="MB",
        baseline=f"{_FEW} shards", theirs=few.peak / MEGABYTE, goal=Goal(ratio=_FLAT),
    )  # fmt: skip


def _shards(folder: Path, count: int, rows: int) -> Path:
    """Write so many shards, no two requests of them alike, and their manifest."""
    lines = []
    for number in range(count):
        shard = folder / f"shard-{number:03}.jsonl"
        write_pile(shard, rows / 1000)
        content = shard.read_bytes().replace(b'"row-', f'"{number:03}-'.encode())
        shard.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        lines.append({"uri": shard.name, "requests": rows, "bytes": len(content), "sha256": digest})
    manifest = folder / "manifest"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def _killed(place: Place, words: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """Start the run, kill it at random, and start it again, until it ends by itself; how often it was killed, and the
    highest peak of all."""
    chance, peak = random.Random(16), 0
    kills = 0
    while kills < _KILLS:
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(1, 10))
        except subprocess.TimeoutExpired:
            process.kill()
            peak, kills = max(peak, peak_of(process)), kills + 1
        else:
            break
    return kills, max(peak, place.run(words, environment).peak)


def _alone(place: Place, count: int, *, objects: bool) -> Ended:
    """A run of so many small shards, left alone."""
    with place.subfolder(f"shards-{count}") as folder, place.emulator() as emulator:
        manifest = _shards(folder, count, _SMALL)
        return place.run(_words(folder, manifest, objects=objects), _environment(place, folder, emulator.url))


def _words(folder: Path, manifest: Path, *, objects: bool = False) -> list[str]:
    places = [manifest, folder / "answers"]
    shards, answers = (place.resolve().as_uri() if objects else str(place) for place in places)
    return [*program(), "run", "--shards", shards, "-o", answers, "-q"]


def _environment(place: Place, folder: Path, url: str) -> dict[str, str]:
    return place.environment(
        GEMINI_BATCH_HOME=str(folder / "home"), GOOGLE_GEMINI_BASE_URL=url, GEMINI_API_KEY="k", GEMINI_BATCH_POLL="0.5"
    )


def _taken(folder: Path) -> int:
    """What a folder takes on disk, in bytes."""
    total = 0
    for place, _, names in os.walk(folder):  # it passes over folders that are gone meanwhile
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total


def _each_once(folder: Path, rows: int) -> None:
    keys = Counter[str]()
    for line in (folder / "answers" / "manifest.jsonl").read_bytes().splitlines():
        for file in json.loads(line)["answers"]:
            if file["file"].endswith(".jsonl"):
                with (folder / "answers" / file["file"]).open("rb") as lines:
                    keys.update(json.loads(row)["key"] for row in lines)
    if len(keys) != rows or set(keys.values()) != {1}:
        raise RuntimeError(f"{len(keys):,} keys of {rows:,} have an answer, the most {max(keys.values(), default=0)}.")
