"""What a command does for each row, counted and not timed: more work than this is a regression on any machine."""

from __future__ import annotations

from collections import Counter
from operator import sub
from typing import TYPE_CHECKING

import pytest

from engine.clock import Clock
from engine.fake import FakeService, write_requests
from engine.steps import work
from gemini_batch import GeminiBatch, Secret, Settings
from gemini_batch.errors import NotFinished
from gemini_batch.store.ledger.run_options import RunOptions
from performance.counting import Work, counted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.testing import GeminiEmulator

FEW, MANY = 200, 400  # twice as many
#: At most, for each row: JSON documents decoded, SQL statements. And for each command, however many rows: HTTP calls
#: other than polls, SQL statements, many of which read every row. What a run does for each row is not a whole number
#: here, because a slow machine polls more often, with a few statements each time; less than half a row's work.
MOST = {
    "create": (1.1, 1.1, 3, 322),
    "create, again": (0.0, 0.0, 0, 32),
    "status": (0.0, 0.0, 0, 17),
    "results": (3.1, 1.1, 1, 138),
    "results, again": (2.1, 0.0, 0, 79),
    "run in three jobs": (5.4, 2.4, 12, 850),
}
DAY = 86_400.0


def write(path: Path, rows: int) -> Path:
    line = '{{"key":"{0:03}","request":{{"contents":[{{"parts":[{{"text":"Say {0:03}."}}]}}]}}}}\n'
    path.write_text("".join(line.format(row) for row in range(rows)))
    return path


def lives(rows: int, emulator: GeminiEmulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Work]:
    """What each command of a job's life does for so many rows."""
    folder.mkdir()
    settings = Settings(home=folder / "home", base_url=emulator.url, api_key=Secret(f"key-{rows}"))
    file, out = write(folder / "in.jsonl", rows), folder / "out.jsonl"
    done: dict[str, Work] = {}

    def do(name: str, command: Callable[[GeminiBatch], object]) -> None:
        with counted(monkeypatch) as done[name], GeminiBatch(settings) as batch:
            command(batch)

    do("create", lambda batch: batch.create(file))
    job = emulator.accounting()["jobs"][-1]["name"]
    do("status", lambda batch: batch.status(job, wait=True))
    do("results", lambda batch: batch.results(job, output=out))
    do("results, again", lambda batch: batch.results(job, output=out))
    do("create, again", lambda batch: batch.create(file))
    do("run in three jobs", lambda batch: batch.run(file, new=True, output=out, max_requests_per_job=-(-rows // 3)))
    assert len(out.read_bytes().splitlines()) == rows
    assert done["create"].sent - file.stat().st_size in range(2_000)  # the file once, and what describes it
    assert done["results"].received - out.stat().st_size in range(-rows * 300, rows * 300)
    return done


def test_work_for_each_row(gemini_emulator: GeminiEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = (lives(n, gemini_emulator, tmp_path / f"{n}", monkeypatch) for n in (FEW, MANY))

    found = {
        name: (
            (many[name].decoded - few[name].decoded) / (MANY - FEW),
            (many[name].statements - few[name].statements) / (MANY - FEW),
            many[name].calls,
            2 * few[name].statements - many[name].statements,
        )
        for name in MOST
    }
    over = {name: (found[name], most) for name, most in MOST.items() if max(map(sub, found[name], most)) > 0}
    assert over == {}
    assert min(found["create"]) > 0.5  # something is counted at all
    assert many["status"].polls == 1


def test_a_day_of_watching(tmp_path: Path) -> None:
    """Eight jobs: at most a fiftieth of the calls that a poll of each every 30 s would be."""
    jobs = 8
    write_requests(tmp_path / "in.jsonl", [f"row-{n}" for n in range(jobs)])
    service = FakeService(Clock(), chunk=10_000, polls_to_end=10**9)

    with pytest.raises(NotFinished):
        work(service, tmp_path, options=RunOptions(max_requests_per_job=1), timeout=DAY)

    calls = Counter(service.calls)
    assert len(service.jobs) == jobs
    assert 200 < calls["list"] + calls["get"] <= jobs * DAY / 30 / 50
