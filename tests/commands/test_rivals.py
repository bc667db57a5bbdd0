"""Commands on a run that another process is working on, or of which something is gone."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from commands.views import ask
from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, write_requests
from engine.steps import KEYS, ONCE, PAIRS
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.commands.clean import clean
from gemini_batch.commands.create import create
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.errors import ApiError, NotFinished, ServiceError, StateError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.commands.create import Created
    from gemini_batch.wire import Operation

FAILED = ("BATCH_STATE_FAILED", 13)


def begin(service: FakeService, folder: Path) -> Created:
    """``create in.jsonl`` in a process of its own."""
    made: Created = ask(service, folder, lambda s: create(s, Submission(source=folder / "in.jsonl")))
    return made


@pytest.fixture(autouse=True)
def _requests(tmp_path: Path) -> None:
    write_requests(tmp_path / "in.jsonl", KEYS)


def finish(service: FakeService, *jobs: int) -> None:
    """These jobs end now."""
    service.polls_to_end = 1
    for number in jobs:
        service._move(service.jobs[number])


def paired(service: FakeService, folder: Path) -> str:
    """A run with three active jobs, whose process has gone away; returns its id."""
    service.polls_to_end = 10**6
    with pytest.raises(NotFinished) as stopped:
        ask(service, folder, lambda s: run(s, Submission(source=folder / "in.jsonl"), PAIRS, timeout=30))
    assert len(service.jobs) == 3
    return stopped.value.job


# Another process -----------------------------------------------------------------------------------------------------


@dataclass
class Interrupted(FakeService):
    """Another process comes in while a call of the first one is under way."""

    at: tuple[str, int] = ("", 0)
    other: Any = None
    came: Any = None

    async def _come(self, operation: str) -> None:
        if (operation, self.calls.count(operation)) == self.at and self.other is not None:
            other, self.other = self.other, None
            try:
                self.came = await other()
            except (StateError, ServiceError) as error:
                self.came = error

    async def get(self, name: str, *, server_timeout: int | None = None) -> Operation:
        await self._come("get")
        return await super().get(name, server_timeout=server_timeout)

    async def start_upload(self, **upload: Any) -> str:
        await self._come("start_upload")
        return await super().start_upload(**upload)


def test_create_pays_for_nothing_that_a_run_is_about_to_resend(tmp_path: Path) -> None:
    """The one job has failed and is not resent yet: for the run's process that is a matter of a moment."""
    service = Interrupted(Clock(), ends={0: FAILED}, at=("get", 2))

    async def other() -> Created:
        async with FakeSession(service, tmp_path / "home") as session:
            return await create(session, Submission(source=tmp_path / "in.jsonl"))

    service.other = other
    ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "in.jsonl"), RunOptions()))
    assert isinstance(service.came, StateError)
    assert service.came.reason_code == "locked"
    assert len(service.jobs) == 2  # the failed one and the one that the run made


def test_create_waits_for_a_run_no_longer_than_until_it_has_a_job(tmp_path: Path) -> None:
    clock = Clock()

    class Service(FakeService):
        async def start_upload(self, **upload: Any) -> str:
            await clock.sleep(3.0)
            return await super().start_upload(**upload)

    service = Service(clock, polls_to_end=10**6)

    async def both() -> Created:
        async with FakeSession(service, tmp_path / "home") as first, FakeSession(service, tmp_path / "home") as second:
            driving = asyncio.ensure_future(run(first, Submission(source=tmp_path / "in.jsonl"), RunOptions()))
            while not clock.waits:
                await asyncio.sleep(0)
            try:
                return await create(second, Submission(source=tmp_path / "in.jsonl"))
            finally:
                driving.cancel()
                await asyncio.gather(driving, return_exceptions=True)

    made = asyncio.run(both())
    assert made.attached
    assert (len(service.jobs), made.job) == (1, service.jobs[0].name)
    assert clock.monotonic < 60


def test_create_after_another_one_whose_job_failed_at_once(tmp_path: Path) -> None:
    """Whoever waited for the lock finds a job that has left nothing, and makes another one."""

    class Service(FakeService):
        async def create(self, **what: Any) -> Operation:
            await super().create(**what)
            self.ends[len(self.jobs) - 1] = FAILED
            finish(self, len(self.jobs) - 1)
            return self._operation(self.jobs[-1])

    service = Service(Clock(), faults={("start_upload", 0): ("before", ApiError("no", status=400, reason="NO"))})
    with pytest.raises(ApiError):
        begin(service, tmp_path)

    async def late() -> Created:
        """It has entered the run before the first one's job was made, and gets the lock after that."""
        async with FakeSession(service, tmp_path / "home") as slow:
            locked = slow.locked

            def after_the_other(folder: Any, *, unless: Any) -> Any:
                slow.locked = locked  # type: ignore[method-assign]
                return _After(locked(folder, unless=unless), partial(_other, service, tmp_path))

            slow.locked = after_the_other  # type: ignore[method-assign]
            return await create(slow, Submission(source=tmp_path / "in.jsonl"))

    made = asyncio.run(late())
    assert not made.attached
    assert len(service.jobs) == 2
    assert made.job == service.jobs[1].name


async def _other(service: FakeService, folder: Path) -> None:
    async with FakeSession(service, folder / "home") as session:
        await create(session, Submission(source=folder / "in.jsonl"))


class _After:
    """A lock that is taken after something else has happened."""

    def __init__(self, lock: Any, before: Any) -> None:
        self._lock, self._before = lock, before

    async def __aenter__(self) -> bool:
        await self._before()
        return bool(await self._lock.__aenter__())

    async def __aexit__(self, *details: object) -> None:
        await self._lock.__aexit__(*details)


# Something gone ------------------------------------------------------------------------------------------------------


def test_the_job_alone_of_an_adopted_one_is_all_of_it(tmp_path: Path) -> None:
    service = FakeService(Clock())
    made = begin(service, tmp_path)
    finish(service, 0)
    found = ask(service, tmp_path / "elsewhere", lambda s: results(s, made.job, job_only=True))
    assert [line["key"] for line in found] == KEYS
    assert found.summary.exit_code == 0


def test_results_collects_the_others_where_one_job_is_gone(tmp_path: Path) -> None:
    service = FakeService(Clock())
    name = paired(service, tmp_path)
    finish(service, 1, 2)
    service.jobs[0].deleted = True
    with pytest.raises(ApiError) as refused:
        ask(service, tmp_path, lambda s: results(s, name))
    assert meaning(refused.value) is Trouble.ABSENT
    assert str(refused.value.next).startswith(f"gemini-batch run {name}")
    assert "costs money" in str(refused.value.next)
    stages = ask(service, tmp_path, lambda s: _stages(s, name))
    assert stages == ["created", "collected", "collected"]


async def _stages(session: FakeSession, run_id: str) -> list[str]:
    return [job.stage.value for job in session.ledger().jobs_of(run_id)]


def test_create_names_a_job_that_is_there_where_another_one_is_gone(tmp_path: Path) -> None:
    service = FakeService(Clock())
    paired(service, tmp_path)
    finish(service, 0, 1)
    service.jobs[2].deleted = True
    made = begin(service, tmp_path)
    assert made.attached
    assert made.job == service.jobs[1].name
    assert service.paid() == ONCE


def test_a_run_folder_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    service = FakeService(Clock(), faults={("start_upload", 0): ("before", ApiError("no", status=400, reason="NO"))})
    with pytest.raises(ApiError):
        begin(service, tmp_path)
    (folder,) = (tmp_path / "home" / "runs").glob("run-*")
    shutil.rmtree(folder)
    for work in (
        lambda s: create(s, Submission(source=tmp_path / "in.jsonl")),
        lambda s: run(s, folder.name, None),
    ):
        with pytest.raises(StateError) as lost:
            ask(service, tmp_path, work)
        assert lost.value.reason_code == "run_folder_gone"
        assert not folder.exists()
    assert ask(service, tmp_path, lambda s: clean(s, dry_run=False, not_created=True)).forgotten == []
    made = ask(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "in.jsonl", new=True)))
    assert not made.attached


def test_a_forgotten_run_is_listed_again_once_it_is_worked_on(tmp_path: Path) -> None:
    service = FakeService(Clock(), faults={("start_upload", 0): ("before", ApiError("no", status=400, reason="NO"))})
    with pytest.raises(ApiError):
        ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "in.jsonl"), PAIRS))
    (forgotten,) = ask(service, tmp_path, lambda s: clean(s, dry_run=False, not_created=True)).forgotten
    service.polls_to_end, service.most_jobs = 10**6, 1
    with pytest.raises(NotFinished):
        ask(service, tmp_path, lambda s: run(s, forgotten, None, timeout=30))
    listed = ask(service, tmp_path, lambda s: list_jobs(s, Filter()))
    assert [(one.job, one.total) for one in listed] == [("batches/job0", 2), (None, 4)]


def test_answers_are_not_collected_into_a_folder_that_is_gone(tmp_path: Path) -> None:
    """Collected without the requests, every answer would count as a stranger's."""
    service = FakeService(Clock())
    made = begin(service, tmp_path)
    finish(service, 0)
    shutil.rmtree(tmp_path / "home" / "runs" / made.run)
    with pytest.raises(StateError) as lost:
        ask(service, tmp_path, lambda s: results(s, made.run))
    assert lost.value.reason_code == "results_lost"
    assert ask(service, tmp_path, lambda s: _stages(s, made.run)) == ["ended"]


def test_what_waits_to_be_resent_is_for_run(tmp_path: Path) -> None:
    """The process died after it had put the requests back: they wait, and `run` sends them without any choice."""
    service = FakeService(Clock(), ends={0: FAILED})
    with pytest.raises(Killed):
        ask(service, tmp_path, lambda s: _dying(s, Submission(source=tmp_path / "in.jsonl"), service))
    found = ask(service, tmp_path, lambda s: results(s, service.jobs[0].name))
    assert found.summary.next is not None
    assert found.summary.next.command == "run"
    assert found.summary.unanswered == len(KEYS)  # the job that is only planned has not left them without an answer
    assert {line["attempt"] for line in found} == {1}


async def _dying(session: FakeSession, submission: Submission, service: FakeService) -> None:
    """It dies at the first call after its only job has failed and been collected."""

    async def start_upload(**_: Any) -> str:
        if service.jobs:
            raise Killed
        return await begun(**_)

    begun = service.start_upload
    service.start_upload = start_upload  # type: ignore[method-assign]
    try:
        await run(session, submission, RunOptions())
    finally:
        service.start_upload = begun  # type: ignore[method-assign]
