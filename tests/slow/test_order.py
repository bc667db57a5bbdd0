"""Time grows with the number of lines, whatever their order and whatever is wrong with them.

Each time is held against the ordinary case of the same size; a step that is quadratic anywhere is a hundred times
over it here.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, answer_line, write_requests
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.errors import InvalidInput
from gemini_batch.intake.staging import stage
from gemini_batch.intake.submission import Submission
from gemini_batch.store.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from gemini_batch.report.result_set import Results

COUNT = 40_000
#: How many times the ordinary case's time another one may take.
MOST = 12.0
KEYS = [f"row-{number}" for number in range(COUNT)]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def seconds(work: Callable[[], object]) -> float:
    """Processor time, which neighbours on the machine do not add to."""
    before = time.process_time()
    work()
    return time.process_time() - before


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeService, Path, str]:
    """A service with one job that has succeeded, the home it was made in, and its name."""
    folder = tmp_path_factory.mktemp("made")
    fake = FakeService(Clock(), chunk=1 << 20, polls_to_end=0)
    write_requests(folder / "in.jsonl", KEYS)

    async def work() -> str:
        async with FakeSession(fake, folder / "home") as session:
            return (await create(session, Submission(source=folder / "in.jsonl"))).job

    return fake, folder / "home", asyncio.run(work())


def shuffled(lines: list[bytes]) -> list[bytes]:
    return random.Random(1).sample(lines, len(lines))


def reversed_(lines: list[bytes]) -> list[bytes]:
    return lines[::-1]


def interleaved(lines: list[bytes]) -> list[bytes]:
    """As workers write that take every eighth row each."""
    return [line for start in range(8) for line in lines[start::8]]


def collect(made: tuple[FakeService, Path, str], home: Path) -> Results:
    fake, _, job = made

    async def work() -> Results:
        async with FakeSession(fake, home) as session:
            return await results(session, job)

    return asyncio.run(work())


@pytest.mark.parametrize("arrange", [shuffled, reversed_, interleaved])
def test_answers_in_another_order(
    service: tuple[FakeService, Path, str], tmp_path: Path, arrange: Callable[[list[bytes]], list[bytes]]
) -> None:
    fake, home, _ = service
    job = fake.jobs[0]
    times = []
    for name, change in (("ordinary", list), ("other", arrange)):
        shutil.copytree(home, tmp_path / name)
        job.lines = change([answer_line(key) for key in KEYS])
        job.state = "BATCH_STATE_SUCCEEDED"
        times.append(seconds(partial(collect, service, tmp_path / name)))

    assert times[1] < MOST * times[0]
    assert [row["key"] for row in collect(service, tmp_path / "other")] == KEYS


def test_a_job_that_was_made_elsewhere(service: tuple[FakeService, Path, str], tmp_path: Path) -> None:
    fake, home, _ = service
    job = fake.jobs[0]
    job.lines, job.state = [answer_line(key) for key in KEYS], "BATCH_STATE_SUCCEEDED"
    shutil.copytree(home, tmp_path / "ours")

    ordinary = seconds(lambda: collect(service, tmp_path / "ours"))
    adopted = seconds(lambda: collect(service, tmp_path / "elsewhere"))

    assert adopted < MOST * ordinary
    assert [row["key"] for row in collect(service, tmp_path / "elsewhere")] == KEYS


@pytest.mark.parametrize("uses", [2, COUNT])
def test_keys_that_are_used_again(tmp_path: Path, uses: int) -> None:
    """``uses`` lines to each key; 40,000 of them is a constant where a key was meant."""

    def read(keys: Iterable[str]) -> None:
        path = write_requests(tmp_path / "in.jsonl", list(keys))
        with StateFolder(tmp_path / "home").staging("t") as folder:
            stage(path, folder, max_bytes=1 << 40)

    def refused() -> None:
        with pytest.raises(InvalidInput) as found:
            read(f"row-{number // uses}" for number in range(COUNT))
        assert found.value.total == COUNT - COUNT // uses

    assert seconds(refused) < MOST * seconds(lambda: read(KEYS))
