"""What is left over: runs whose job was never made, in the list, in clean and in the doctor; files elsewhere."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, write_requests
from gemini_batch.commands.clean import clean
from gemini_batch.commands.create import create
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.run import run
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.report.job_view import RunState
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.commands.clean import Cleaned

ELSEWHERE = "https://elsewhere.invalid"


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    for name in ("a", "b", "c"):
        write_requests(tmp_path / f"{name}.jsonl", [name])
    return FakeService(Clock(), chunk=10_000)


def do(
    service: FakeService, folder: Path, work: Callable[[FakeSession], Awaitable[Any]], *, url: str | None = None
) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            if url is not None:
                session.settings = type(session.settings)(
                    home=session.settings.home, base_url=url, api_key=session.settings.api_key
                )
            return await work(session)

    return asyncio.run(whole())


def make(service: FakeService, folder: Path, name: str, **how: Any) -> str:
    made: str = do(service, folder, lambda s: create(s, Submission(source=folder / f"{name}.jsonl")), **how).job
    return made


def refused(service: FakeService, folder: Path, name: str, operation: str = "create") -> None:
    """A create that the service refuses for certain: the run stays, and its job is not made."""
    error = ApiError("no", status=400, reason="INVALID_ARGUMENT")
    service.faults[operation, service.calls.count(operation)] = ("before", error)
    with pytest.raises(ApiError):
        make(service, folder, name)


def cleaned(service: FakeService, folder: Path, *, url: str | None = None, **input_kind: Any) -> Cleaned:
    found: Cleaned = do(service, folder, lambda s: clean(s, **{"dry_run": False, **input_kind}), url=url)
    return found


def names(service: FakeService, folder: Path, **wanted: Any) -> list[str]:
    found = do(service, folder, lambda s: list_jobs(s, Filter(**wanted)))
    return [one.job or one.state for one in found]


# The list -------------------------------------------------------------------------------------------------------------


def test_what_was_not_created_stands_at_its_time(service: FakeService, tmp_path: Path) -> None:
    """Newest first means when it was begun, whether a job came of it or not."""
    first = make(service, tmp_path, "a")
    service.clock.now += 60
    refused(service, tmp_path, "b")
    service.clock.now += 60
    last = make(service, tmp_path, "c")

    assert names(service, tmp_path) == [last, RunState.NOT_CREATED, first]
    assert names(service, tmp_path, limit=2) == [last, RunState.NOT_CREATED]


def test_a_job_that_was_dropped_is_not_listed(service: FakeService, tmp_path: Path) -> None:
    """It will not be made: its requests are in other jobs."""
    write_requests(tmp_path / "in.jsonl", [f"k{n}" for n in range(8)])
    service.most_jobs = 0
    with pytest.raises(ServiceError):
        do(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "in.jsonl"), None))

    planned = do(service, tmp_path, _jobs)
    left = [job for job in planned if job.dropped_at is None]
    assert 0 < len(left) < len(planned)
    assert names(service, tmp_path) == [RunState.NOT_CREATED]


# Forgetting -----------------------------------------------------------------------------------------------------------


def test_clean_counts_what_was_not_created_and_leaves_it(service: FakeService, tmp_path: Path) -> None:
    refused(service, tmp_path, "a")

    found = cleaned(service, tmp_path)

    assert len(found.not_created) == 1
    assert not found.forgotten
    assert names(service, tmp_path) == [RunState.NOT_CREATED]
    assert "not been created yet" in next(iter(found.kept.values()))


@pytest.mark.parametrize("operation", ["start_upload", "create"])
def test_clean_forgets_it_when_asked(service: FakeService, tmp_path: Path, operation: str) -> None:
    """Out of the list, and its uploaded file out of the service's store; a dry run only says so."""
    refused(service, tmp_path, "a", operation)
    uploaded = len(service.files)

    plan = cleaned(service, tmp_path, dry_run=True, not_created=True)
    assert (len(plan.forgotten), len(plan.deleted)) == (1, uploaded)
    assert names(service, tmp_path) == [RunState.NOT_CREATED]
    done = cleaned(service, tmp_path, not_created=True)

    assert done.forgotten == plan.forgotten
    assert done.deleted == plan.deleted
    assert service.files == {}
    assert names(service, tmp_path) == []
    assert not cleaned(service, tmp_path, not_created=True).forgotten
    assert not do(service, tmp_path, doctor).findings


def test_what_was_forgotten_can_be_sent_after_all(service: FakeService, tmp_path: Path) -> None:
    """The same create makes a job of its own, the same run goes on; each once."""
    refused(service, tmp_path, "a")
    refused(service, tmp_path, "b")
    cleaned(service, tmp_path, not_created=True)

    make(service, tmp_path, "a")
    found = do(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "b.jsonl"), None))

    assert found.summary.all_succeeded
    assert service.paid() == {"a": 1, "b": 1}


def test_a_create_in_doubt_is_never_forgotten(service: FakeService, tmp_path: Path) -> None:
    """Its job may exist; only the same command again finds out."""
    lost = NetworkError("reset", sent=True)
    service.faults["create", 0] = ("before", lost)
    service.faults["list", 0] = ("before", ApiError("no", status=400))
    with pytest.raises((ServiceError, NetworkError)):
        make(service, tmp_path, "a")
    (job,) = do(service, tmp_path, _jobs)
    assert job.stage is JobStage.INTENDED

    found = cleaned(service, tmp_path, not_created=True)

    assert not found.forgotten
    assert names(service, tmp_path) == [RunState.NOT_CREATED]


async def _jobs(session: FakeSession) -> list[Any]:
    return [job for _, job in session.ledger().jobs()]


def test_a_run_that_is_being_worked_on_is_not_forgotten(service: FakeService, tmp_path: Path) -> None:
    refused(service, tmp_path, "a")

    async def work(session: FakeSession) -> Cleaned:
        ((run_, _),) = list(session.ledger().jobs())
        with session.state_folder.run(run_.id).lock(wait=0.0):
            return await clean(session, dry_run=False, not_created=True)

    found: Cleaned = do(service, tmp_path, work)

    assert not found.forgotten
    assert names(service, tmp_path) == [RunState.NOT_CREATED]


def test_a_job_that_was_not_made_takes_a_new_name(service: FakeService, tmp_path: Path) -> None:
    """Nobody has seen the first one."""
    refused(service, tmp_path, "a")
    order = Submission(source=tmp_path / "a.jsonl", name="second try")

    made = do(service, tmp_path, lambda s: create(s, order))

    assert (made.name, service.jobs[0].display_name) == ("second try", "second try")


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_job_at_another_address_does_not_stop_the_others(service: FakeService, tmp_path: Path) -> None:
    """Neither is it asked for there, nor is its file deleted here."""
    service.polls_to_end = 0
    make(service, tmp_path, "a", url=ELSEWHERE)
    theirs = set(service.files)
    make(service, tmp_path, "b")

    found = cleaned(service, tmp_path)

    assert len(found.deleted) == 1
    assert set(service.files) == theirs
    assert found.kept == dict.fromkeys(theirs, f"uploaded to {ELSEWHERE}")


@pytest.mark.parametrize(
    "error", [ApiError("busy", status=503), NetworkError("reset", sent=True)], ids=["503", "reset"]
)
def test_a_job_that_cannot_be_seen_does_not_stop_the_others(
    service: FakeService, tmp_path: Path, error: Exception
) -> None:
    service.polls_to_end = 0
    make(service, tmp_path, "a")
    make(service, tmp_path, "b")
    looks = service.calls.count("get")
    service.faults["get", looks] = ("before", error)
    service.faults["list", service.calls.count("list")] = ("before", error)

    found = cleaned(service, tmp_path)

    assert len(found.deleted) == 1
    assert len(found.kept) == 1
    assert "cannot be polled now" in next(iter(found.kept.values()))


def test_the_file_of_a_job_that_was_dropped_is_of_no_use(service: FakeService, tmp_path: Path) -> None:
    """Where the run itself could not delete it."""
    refused(service, tmp_path, "a")

    async def drop(session: FakeSession) -> None:
        (job,) = await _jobs(session)
        session.ledger().update_job(job, "dropped", at=service.clock.now, dropped_at=service.clock.now)

    do(service, tmp_path, drop)

    assert len(cleaned(service, tmp_path).deleted) == 1
    assert service.files == {}


def test_nothing_is_said_of_events(service: FakeService, tmp_path: Path) -> None:
    """A plain clean tells its findings as values only."""
    make(service, tmp_path, "a")

    async def work(session: FakeSession) -> list[Any]:
        await clean(session, dry_run=True)
        return [event for event in session.events if isinstance(event, Notice)]

    assert do(service, tmp_path, work) == []
