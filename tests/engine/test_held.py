"""What this machine held and holds no more: said, with the way to get it back; and no good file is replaced by less."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import Clock, FakeService, FakeSession, write_requests
from gemini_batch.commands.create import create
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.errors import StateError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.run_options import RunOptions
from gemini_batch.store.state_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_batch.report.result_set import Results

KEYS = ["a", "b", "c"]


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000, polls_to_end=0)


def do(service: FakeService, home: Path, work: Callable[[FakeSession], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, home) as session:
            return await work(session)

    return asyncio.run(whole())


def held(service: FakeService, folder: Path, input_kind: str) -> Results:
    """A job of create, or a run of two, whose results are here and written to a file."""
    order = Submission(source=folder / "in.jsonl")
    if input_kind == "create":
        name = do(service, folder / "home", lambda s: create(s, order)).job
    else:
        name = do(service, folder / "home", lambda s: run(s, order, RunOptions(max_requests_per_job=2))).summary.run
    found: Results = do(service, folder / "home", lambda s: results(s, name))
    found.write(folder / "results.jsonl")
    return found


def harm(found: Results, what: str) -> None:
    folder = RunFolder(Path(found.summary.folder))
    if what == "folder":
        shutil.rmtree(folder.path)
    elif what == "rows":
        (folder.path / "rows.db").unlink()
    elif what == "raw":
        next((folder.path / "raw").iterdir()).unlink()
    else:
        next((folder.path / "raw").iterdir()).write_bytes(b"")


@pytest.mark.parametrize("input_kind", ["create", "run"])
@pytest.mark.parametrize("what", ["folder", "rows", "raw", "empty"])
def test_what_is_gone_is_said_and_replaces_nothing(
    service: FakeService, tmp_path: Path, input_kind: str, what: str
) -> None:
    found = held(service, tmp_path, input_kind)
    name = found.summary.job or found.summary.run
    before = (tmp_path / "results.jsonl").read_bytes()
    assert before.count(b"\n") == 3
    harm(found, what)

    with pytest.raises(StateError, match=r"is missing|was changed") as caught:
        do(service, tmp_path / "home", lambda s: results(s, name))

    assert caught.value.exit_code == 3
    assert "GEMINI_BATCH_HOME" in str(caught.value.next)
    assert RunFolder(Path(found.summary.folder)).path.is_dir() is (what != "folder")  # looking makes nothing
    assert (tmp_path / "results.jsonl").read_bytes() == before
    with pytest.raises((StateError, OSError)):  # results that were opened before the harm
        found.write(tmp_path / "results.jsonl")
    assert (tmp_path / "results.jsonl").read_bytes() == before
    assert not do(service, tmp_path / "home", doctor).healthy


def test_the_way_back_works(service: FakeService, tmp_path: Path) -> None:
    """Another home knows nothing, and fetches the job's answers anew."""
    found = held(service, tmp_path, "create")
    harm(found, "folder")

    again = do(service, tmp_path / "other", lambda s: results(s, found.summary.job or ""))

    assert {row["key"] for row in again} == set(KEYS)


def test_the_doctor_names_a_way_on_for_every_problem(service: FakeService, tmp_path: Path) -> None:
    found = held(service, tmp_path, "create")
    harm(found, "raw")
    (RunFolder(Path(found.summary.folder)).requests).write_bytes(b"{}\n")

    problems = [one for one in do(service, tmp_path / "home", doctor).findings if one.level == "problem"]

    assert len(problems) == 2
    assert all(one.next for one in problems)
