"""5. Downloading, judging and writing results."""

from __future__ import annotations

import json
import shutil
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, compared
from benchmarks.measure import SCRIPTS, alternating, program, script
from benchmarks.parts.requests import write_pictures, write_small

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.lines import Line
    from benchmarks.measure import Ended, Place, Standing
    from benchmarks.sizes import Sizes

_BOUND = 150 * MEGABYTE
_PICTURES = "gemini-3.1-flash-image"
_WAIT = ("--wait", "--poll", "0.1")
_LARGE_LINE = 10_000
_CURL, _JSON, _TYPES = "curl and sha256sum", "SDK download, json.loads", "SDK download, SDK types"


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """Small lines, large lines, and pictures to files. Each round collects a job that was not collected before."""
    file = write_small(place.folder / "collect.jsonl", sizes.small_rows)
    taken, _ = _collected(
        place, file, "small", rows=sizes.small_rows, rounds=sizes.few, sdk={_JSON: "json", _TYPES: "types"}
    )
    name = f"results of {sizes.small_rows:,} small lines"
    goals = {
        _CURL: Goal(per_second=200_000, memory=_BOUND),
        _JSON: None,
        _TYPES: Goal(ratio=8.0),
    }
    ours = taken.pop("ours")
    for baseline, theirs in taken.items():
        yield compared(name, ours, baseline, theirs, work=sizes.small_rows, goal=goals[baseline])

    rows = sizes.large_mb * MEGABYTE // _LARGE_LINE
    write_small(file, rows)
    taken, size = _collected(place, file, "large", rows=rows, rounds=sizes.few, sdk={_JSON: "json", _TYPES: "types"})
    goals = {_CURL: Goal(ratio=0.5, memory=_BOUND), _JSON: None, _TYPES: None}
    yield from _by_size(f"results of {sizes.large_mb:,} MB in lines of 10 kB", taken, size, goals)

    write_pictures(file, sizes.pictures)
    reading = "SDK download, json.loads, pictures to files"
    taken, size = _collected(
        place, file, "picture", "--model", _PICTURES, rows=sizes.pictures, rounds=sizes.few, sdk={reading: "pictures"}
    )
    goals = {_CURL: Goal(memory=_BOUND), reading: None}
    yield from _by_size(f"{sizes.pictures:,} pictures of 1 MB to files", taken, size, goals)
    file.unlink()


def _by_size(name: str, taken: dict[str, list[Ended]], size: int, goals: dict[str, Goal | None]) -> Iterator[Line]:
    """A line for each baseline, with megabytes as the work."""
    ours = taken.pop("ours")
    for baseline, theirs in taken.items():
        yield compared(name, ours, baseline, theirs, work=size / MEGABYTE, work_unit="MB", goal=goals[baseline])


def _collected(
    place: Place, file: Path, responder: str, *options: str, rows: int, rounds: int, sdk: dict[str, str]
) -> tuple[dict[str, list[Ended]], int]:
    """What everyone took for the output of the same job, and the size of that in bytes."""
    with place.subfolder("home") as home, place.emulator("--responder", f"answers:{responder}") as emulator:
        given = place.environment(
            GEMINI_BATCH_HOME=str(home), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_API_KEY="benchmark"
        )
        job = place.run([*program(), "create", str(file), *options], given).stdout
        place.run([*program(), "status", job, *_WAIT], given)
        url, size = _output(emulator, job)
        works: dict[str, Callable[[], Ended]] = {
            "ours": lambda: _ours(place, home, job, rows, given, pictures=responder == "picture"),
            _CURL: lambda: _curl(place, url, size, given),
        }
        for baseline, how in sdk.items():
            works[baseline] = partial(_sdk, place, how, job, rows, given)
        return alternating(works, rounds), size


def _output(emulator: Standing, job: str) -> tuple[str, int]:
    """The address of a job's output, and its size."""
    keyed = {"x-goog-api-key": "benchmark"}
    with urllib.request.urlopen(urllib.request.Request(f"{emulator.url}/v1beta/{job}", headers=keyed)) as reply:
        name = json.load(reply)["response"]["responsesFile"]
    url = f"{emulator.url}/download/v1beta/{name}:download?alt=media"
    with urllib.request.urlopen(urllib.request.Request(url, headers=keyed)) as reply:
        return url, int(reply.headers["content-length"])


def _ours(place: Place, home: Path, job: str, rows: int, given: dict[str, str], *, pictures: bool) -> Ended:
    """``results`` in a copy of the state folder, where the job is not collected yet."""
    with place.subfolder("collecting") as folder:
        shutil.copytree(home, folder / "home")
        out = folder / "results.jsonl"
        words = [*program(), "results", job, "-o", str(out)]
        if pictures:
            words += ["--media-dir", str(folder / "media")]
        ended = place.run(words, {**given, "GEMINI_BATCH_HOME": str(folder / "home")})
        with out.open("rb") as lines:
            found = sum(b'"verdict":"succeeded"' in line[:200] for line in lines)
        files = len(list((folder / "media").glob("*.png"))) if pictures else rows
    if (found, files) != (rows, rows):
        raise RuntimeError(f"{found:,} answers and {files:,} files were written for {rows:,} requests.")
    return ended


def _curl(place: Place, url: str, size: int, given: dict[str, str]) -> Ended:
    path = place.folder / "downloaded"
    ended = place.run(["sh", str(SCRIPTS / "curl_and_hash.sh"), url, str(path)], given)
    if path.stat().st_size != size:
        raise RuntimeError(f"curl has {path.stat().st_size:,} bytes instead of {size:,}.")
    path.unlink()
    return ended


def _sdk(place: Place, how: str, job: str, rows: int, given: dict[str, str]) -> Ended:
    with place.subfolder("sdk") as folder:
        ended = place.run([*script("sdk_read"), how, job, str(folder / "read")], given)
    if int(ended.stdout) != rows:
        raise RuntimeError(f"The SDK script read {ended.stdout} of {rows:,} answers.")
    return ended
