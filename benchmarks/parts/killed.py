"""8. A run of many jobs: left alone, and killed halfway and started again. Time, peak memory, and the same bytes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
import urllib.request
from typing import TYPE_CHECKING

from benchmarks.lines import MEGABYTE, Goal, Line, compared
from benchmarks.measure import peak_of, program
from benchmarks.parts.requests import write_small

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.measure import Place
    from benchmarks.sizes import Sizes

#: What a run may need, however many requests it has.
BOUND = 150 * MEGABYTE
#: Seconds after which a run that was killed is at work again.
ON_AGAIN = 3.0
_JOBS = 20


def measured(place: Place, sizes: Sizes) -> Iterator[Line]:
    """The undisturbed run and the one that is killed. Raises RuntimeError where the second one's answers differ, or
    where the service was paid for a request twice."""
    rows = sizes.killed_rows
    requests = write_small(place.folder / "many.jsonl", rows)
    with place.subfolder("home") as home, place.emulator() as emulator:

        def given(name: str) -> dict[str, str]:
            """A project and a state folder of its own: the second run must take nothing from the first one."""
            return place.environment(
                GEMINI_BATCH_HOME=str(home / name), GOOGLE_GEMINI_BASE_URL=emulator.url, GEMINI_BATCH_POLL="0.5",
                GEMINI_API_KEY=name,
            )  # fmt: skip

        words = [*program(), "run", str(requests), "--max-requests-per-job", str(rows // _JOBS), "--json", "-o"]
        left_alone = place.run([*words, "plain.jsonl"], given("plain"))
        yield compared(f"run of {rows:,}, in {_JOBS} jobs", [left_alone], work=rows, goal=Goal(memory=BOUND))

        environment = given("killed")
        began = time.perf_counter()
        peak = _killed_at_the_half([*words, "killed.jsonl"], place.folder, environment, rows)
        on_again, later_peak = _again([*words, "killed.jsonl"], place, environment)
        seconds = time.perf_counter() - began
        yield Line(
            name=f"run of {rows:,}, killed halfway: until it works again", ours=on_again, peak=max(peak, later_peak),
            goal=Goal(below=ON_AGAIN, memory=BOUND), note="the same results, byte by byte; nothing is paid for twice",
        )  # fmt: skip
        yield Line(
            name=f"run of {rows:,}, killed halfway: both parts", ours=seconds, peak=max(peak, later_peak), work=rows,
            baseline="the undisturbed run", theirs=left_alone.seconds, their_peak=left_alone.peak,
        )  # fmt: skip
        _same(place.folder / "plain.jsonl", place.folder / "killed.jsonl")
        paid_once(emulator.url, 2 * rows)
    requests.unlink()


def _killed_at_the_half(words: list[str], folder: Path, environment: Mapping[str, str], rows: int) -> int:
    """Start a run and kill it when half of its requests are answered; its peak memory."""
    process = subprocess.Popen(words, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout as events:
        for line in events:
            event = json.loads(line)
            if event.get("event") == "run_progress" and sum(event["verdicts"].values()) >= rows // 2:
                process.kill()
                return peak_of(process)
    raise RuntimeError(f"The run ended with {process.wait()} before it could be killed.")


def _again(words: list[str], place: Place, environment: Mapping[str, str]) -> tuple[float, int]:
    """Give the same command again: seconds until it was at work, and its peak memory at the end."""
    began = time.perf_counter()
    on_again = 0.0
    with (place.folder / "stderr").open("w+b") as err:
        process = subprocess.Popen(words, env=environment, cwd=place.folder, stdout=subprocess.PIPE, stderr=err)
        assert process.stdout is not None
        with process.stdout as events:
            for line in events:
                if not on_again and _works(json.loads(line)):
                    on_again = time.perf_counter() - began
        peak = peak_of(process)
        if process.returncode:
            err.seek(0)
            raise RuntimeError(f"The run that went on ended with {process.returncode}: {err.read()!r}")
    if not on_again:
        raise RuntimeError("The run was over before it was killed; more requests are needed.")
    return on_again, peak


def _works(event: dict[str, object]) -> bool:
    """Whether a run goes on; reading its file again is not enough."""
    moving = {"uploading", "downloading", "judging"}
    return event.get("event") == "run_progress" or (event.get("event") == "transfer" and event["what"] in moving)


def _same(one: Path, other: Path) -> None:
    digests = []
    for path in (one, other):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    if digests[0] != digests[1]:
        raise RuntimeError("The results of the run that was killed are not those of the one that was left alone.")


def paid_once(url: str, rows: int) -> None:
    """Raises RuntimeError unless the emulator was paid for so many answers."""
    with urllib.request.urlopen(f"{url}/emulator/accounting") as answer:
        spent = json.load(answer)["totals"]
    # Every request has an answer, so as many as there are requests means each of them once.
    if spent["paid"] != rows:
        raise RuntimeError(f"{spent['paid']} were paid for instead of {rows}.")
