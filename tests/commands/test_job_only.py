"""The answers of one job of a run do not depend on the raw files of the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import Clock, FakeService, FakeSession, write_requests
from engine.steps import KEYS, held, work
from gemini_batch.commands.results import results
from gemini_batch.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.result_set import Results


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def own(service: FakeService, folder: Path, name: str) -> Results:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            return await results(session, name, job_only=True)

    found: Results = asyncio.run(whole())
    return found


@pytest.mark.parametrize("harm", ["gone", "shorter"])
@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_only_its_own_raw_file_matters(service: FakeService, tmp_path: Path, damaged: int, harm: str) -> None:
    work(service, tmp_path)
    raw = sorted((tmp_path / "home" / "runs").glob("run-*/raw/*"))[damaged]
    if harm == "gone":
        raw.unlink()
    else:
        raw.write_bytes(raw.read_bytes()[:-10])

    for number, job in enumerate(service.jobs):
        if number != damaged:
            assert [line["key"] for line in own(service, tmp_path, job.name)] == job.keys
            continue
        with pytest.raises(StateError) as caught:
            own(service, tmp_path, job.name)
        assert caught.value.reason_code == "results_lost"
    with pytest.raises(StateError):
        held(service, tmp_path, service.jobs[0].name)
