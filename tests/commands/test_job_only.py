"""The answers of one job of a run do not depend on the raw files of the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, write_requests
from engine.steps import KEYS, work
from gemini_batch.commands.results import results

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

    downloads = service.calls.count("download")
    for number, job in enumerate(service.jobs):
        if number != damaged:
            assert [line["key"] for line in own(service, tmp_path, job.name)] == job.keys
    assert service.calls.count("download") == downloads, "the damaged file of another job does not matter"
    assert [line["key"] for line in own(service, tmp_path, service.jobs[damaged].name)] == service.jobs[damaged].keys
    assert service.calls.count("download") == downloads + 1
