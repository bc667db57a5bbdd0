"""What this machine held and holds no more: said, with the way to get it back; and no good file is replaced by less."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, write_requests
from gemini_batch.commands.create import create
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.errors import ApiError, JobError, StateError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions
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


#: What can become of a raw file that is not removed.
HARMS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-40],
    "same size": lambda data: data.replace(b"answer to", b"answer by"),
    "noise": lambda data: b"\x00" * len(data),
    "twice": lambda data: data + data,
}


def harm(found: Results, what: str) -> None:
    folder = RunFolder(Path(found.summary.folder))
    if what == "folder":
        shutil.rmtree(folder.path)
    elif what == "rows":
        (folder.path / "rows.db").unlink()
    else:
        raw = min((folder.path / "raw").glob("*.jsonl"))
        raw.write_bytes(HARMS[what](raw.read_bytes())) if what != "raw" else raw.unlink()


@pytest.mark.parametrize("input_kind", ["create", "run"])
@pytest.mark.parametrize("what", ["folder", "rows"])
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


@pytest.mark.parametrize("input_kind", ["create", "run"])
@pytest.mark.parametrize("what", ["raw", *HARMS])
def test_a_damaged_answer_file_is_fetched_again(
    service: FakeService, tmp_path: Path, input_kind: str, what: str
) -> None:
    """By results of the run and of each job, and by run; nothing is paid for again."""
    found = held(service, tmp_path, input_kind)
    name = found.summary.job or found.summary.run
    before = (tmp_path / "results.jsonl").read_bytes()
    again: Any = None
    for command in (
        lambda s: results(s, name),
        lambda s: results(s, service.jobs[0].name, job_only=True),
        lambda s: run(s, found.summary.run, None),
    ):
        harm(found, what)
        assert not do(service, tmp_path / "home", doctor).healthy

        again = do(service, tmp_path / "home", command)

        assert again.summary.all_succeeded
        assert do(service, tmp_path / "home", doctor).healthy
    again.write(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == before
    assert service.paid() == dict.fromkeys(KEYS, 1)


@pytest.mark.parametrize("what", ["raw", *HARMS])
def test_damage_costs_only_the_requests_of_that_job(service: FakeService, tmp_path: Path, what: str) -> None:
    """The service no longer has them: they are missing, with the reason, and everything else stays readable."""
    found = held(service, tmp_path, "run")
    harm(found, what)
    service.jobs[0].deleted = True

    for _ in range(2):  # which is not certain at once
        with pytest.raises(ApiError) as caught:
            do(service, tmp_path / "home", lambda s: results(s, found.summary.run))
        assert str(caught.value.next).startswith(f"gemini-batch run {found.summary.run} ")
    do(service, tmp_path / "home", lambda s: run(s, found.summary.run, None))
    again = do(service, tmp_path / "home", lambda s: results(s, found.summary.run))

    lost = set(service.jobs[0].keys)
    assert {row["key"]: row["verdict"] for row in again} == {k: "missing" if k in lost else "succeeded" for k in KEYS}
    assert {row["error"]["reason"] for row in again if "error" in row} == {"RESULTS_DAMAGED"}
    assert again.summary.exit_code == 1
    with pytest.raises(
        StateError,
        match=r"3 successful results of .* stays as it is; 1 would replace them, because answers were damaged",
    ):  # the file written before the damage is better
        again.write(tmp_path / "results.jsonl")
    kept = list((Path(found.summary.folder) / "raw").glob("*.damaged-*"))
    assert len(kept) == (what != "raw")
    assert str(again.summary.next).startswith(f"gemini-batch retry {found.summary.run} --only missing")
    assert do(service, tmp_path / "home", lambda s: run(s, found.summary.run, None)).summary == again.summary
    assert service.paid() == dict.fromkeys(KEYS, 1)


@pytest.mark.parametrize("call", ["get", "download"])
@pytest.mark.parametrize(("status", "reason"), [(404, "NOT_FOUND"), (403, "PERMISSION_DENIED")])
@pytest.mark.parametrize("command", ["results", "run"])
def test_one_absence_is_no_loss(
    service: FakeService, tmp_path: Path, call: str, status: int, reason: str, command: str
) -> None:
    """The service shows nothing for a moment: the damaged answers are fetched by the same or the next command."""
    found = held(service, tmp_path, "run")
    harm(found, "cut")
    first, gone = service.calls.count(call), ApiError("gone", status=status, reason=reason)
    service.faults = {(call, first + n): ("before", gone) for n in range(3)}
    verb = (
        (lambda s: results(s, found.summary.run)) if command == "results" else lambda s: run(s, found.summary.run, None)
    )
    again: Any = None
    for _ in range(4):
        with contextlib.suppress(ApiError, JobError):
            again = do(service, tmp_path / "home", verb)
            break

    assert again.summary.all_succeeded
    assert service.paid() == dict.fromkeys(KEYS, 1)


def test_a_service_that_cannot_be_asked_now_loses_nothing(service: FakeService, tmp_path: Path) -> None:
    """The same command again fetches the file."""
    found = held(service, tmp_path, "run")
    harm(found, "cut")
    service.faults = {("get", n): ("before", ApiError("Away.", status=503, reason="UNAVAILABLE")) for n in range(99)}
    service.faults |= {("list", n): ("before", ApiError("Away.", status=503, reason="UNAVAILABLE")) for n in range(99)}

    with pytest.raises(ApiError, match="Away"):
        do(service, tmp_path / "home", lambda s: results(s, found.summary.run))

    service.faults = {}
    again = do(service, tmp_path / "home", lambda s: results(s, found.summary.run))
    assert again.summary.all_succeeded


@pytest.mark.parametrize("death", range(8))
def test_a_process_killed_while_it_fetches_again(service: FakeService, tmp_path: Path, death: int) -> None:
    found = held(service, tmp_path, "run")
    harm(found, "noise")
    service.death = (len(service.calls) + death // 2, "after" if death % 2 else "before")
    with contextlib.suppress(Killed):
        do(service, tmp_path / "home", lambda s: results(s, found.summary.run))
    service.death = None

    assert do(service, tmp_path / "home", lambda s: results(s, found.summary.run)).summary.all_succeeded
    assert service.paid() == dict.fromkeys(KEYS, 1)


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
