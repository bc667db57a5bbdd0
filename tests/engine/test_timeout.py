"""A bounded wait: it ends in time, says what is alive, cancels nothing, and the same command goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, write_requests
from engine.steps import GOOD, KEYS, ONCE, again, begin, jobs_of, texts, work
from gemini_batch.commands.status import status
from gemini_batch.errors import Next, NotFinished, UsageError
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.job_view import JobStatus, RunStatus

BEGAN = 1_790_000_000.0


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    """Its clock is for waits that run at the same time."""
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def watch(service: FakeService, folder: Path, name: str, **how: Any) -> JobStatus | RunStatus:
    """``status NAME``."""

    async def whole() -> JobStatus | RunStatus:
        async with FakeSession(service, folder / "home") as session:
            return await status(session, name, **how)

    return asyncio.run(whole())


def stops(service: FakeService, folder: Path, **how: Any) -> NotFinished:
    """A run that is not through in time."""
    with pytest.raises(NotFinished) as caught:
        work(service, folder, **how)
    assert caught.value.reason_code == "timeout"
    assert caught.value.exit_code == 6
    return caught.value


def test_a_run_that_takes_too_long(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 10**9

    error = stops(service, tmp_path, timeout=540)

    run = jobs_of(tmp_path)[0].run
    assert service.clock.now == BEGAN + 540
    assert error.job == run
    assert "not finished after 9 min: 0 of 6 requests are done, 3 jobs are alive (batches/job" in error.message
    assert error.message.endswith("Nothing was cancelled.")
    assert error.next == Next("run", run, "-o", str(tmp_path / "results.jsonl"), why="continues; this costs money")
    assert error.state == "RUNNING"
    assert "cancel" not in service.calls
    assert {job.stage for job in jobs_of(tmp_path)} == {JobStage.CREATED}
    assert not (tmp_path / "results.jsonl").exists()


def test_the_same_command_goes_on(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 30
    for _ in range(2):
        stops(service, tmp_path, timeout=100)

    assert texts(work(service, tmp_path, timeout=1e6)) == GOOD
    assert service.paid() == ONCE


def test_it_says_what_waits_and_what_the_service_has_counted(service: FakeService, tmp_path: Path) -> None:
    """One job lives, four requests have no room."""
    service.polls_to_end, service.most_jobs, service.counts = 10**9, 1, lambda _: (1, 1)

    error = stops(service, tmp_path, timeout=600)

    assert "1 of 6 requests are done, 1 job is alive (batches/job0), 4 are to be sent." in error.message


@pytest.mark.parametrize("timeout", [0.5, 5, 61, 3601])
def test_however_often_it_is_stopped_nothing_is_paid_twice(
    service: FakeService, tmp_path: Path, timeout: float
) -> None:
    """Uploads and creates take a minute each, so that it stops within them, too."""
    slow(service, "send_upload", 20)
    slow(service, "create", 20)
    service.polls_to_end = 3
    found = None
    for stops_so_far in range(50):
        try:
            found = work(service, tmp_path, timeout=timeout * 1.5**stops_so_far)
            break
        except NotFinished:
            continue
    assert found is not None
    assert texts(found) == GOOD
    assert service.paid() == ONCE


def slow(service: FakeService, name: str, seconds: float) -> None:
    """The service has done it, and its answer takes its time."""
    real = getattr(service, name)

    async def slowly(*given: Any, **words: Any) -> Any:
        answer = await real(*given, **words)
        await service.clock.sleep(seconds)
        return answer

    setattr(service, name, slowly)


def test_time_that_ends_within_a_create_leaves_it_in_doubt_as_ctrl_c_does(service: FakeService, tmp_path: Path) -> None:
    slow(service, "create", 1000)

    error = stops(service, tmp_path, options=RunOptions(), timeout=10)

    assert [job.stage for job in jobs_of(tmp_path)] == [JobStage.INTENDED]
    assert "no job is alive" in error.message
    del service.__dict__["create"]
    assert texts(work(service, tmp_path, timeout=1e6)) == GOOD
    assert service.paid() == ONCE, "the job was found, not made again"


def test_a_run_by_its_id_has_its_time_too(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 10**9
    run = stops(service, tmp_path, timeout=10).job

    assert stops(service, tmp_path, what=run, timeout=10).job == run


def test_a_retry_has_its_time(service: FakeService, tmp_path: Path) -> None:
    """What it asked for is written down: a plain run goes on with it."""
    service.answer_at = lambda key, attempt: None if attempt == 1 and key == "k3" else (b'{"key": "%s", "response": '
        b'{"candidates": [{"content": {"parts": [{"text": "answer to %s"}]}, "finishReason": "STOP"}]}}'
        % (key.encode(), key.encode()))  # fmt: skip
    first = work(service, tmp_path, options=RunOptions(attempts=1), timeout=1e6)
    service.polls_to_end = 10**9

    with pytest.raises(NotFinished) as caught:
        again(service, tmp_path, first.summary.run, "missing", timeout=60)

    assert caught.value.next == Next("run", first.summary.run, why="continues; this costs money")
    assert "5 of 6 requests are done, 1 job is alive" in caught.value.message
    service.polls_to_end = 2
    assert texts(work(service, tmp_path, what=first.summary.run, timeout=1e6)) == GOOD


def test_a_job_that_is_waited_for(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end, service.counts = 10**9, lambda _: (3, 1)
    job = begin(service, tmp_path).job

    with pytest.raises(NotFinished) as caught:
        watch(service, tmp_path, job, wait=True, timeout=540)

    assert (caught.value.job, caught.value.state, caught.value.reason_code) == (job, "JOB_STATE_PENDING", "timeout")
    assert "not finished after 9 min (JOB_STATE_PENDING, 4 of 6 done)" in caught.value.message
    assert caught.value.next == Next("status", job, "--wait")
    assert "cancel" not in service.calls
    service.polls_to_end = 1
    assert watch(service, tmp_path, job, wait=True, timeout=1e6).succeeded


def test_a_run_whose_jobs_are_waited_for(service: FakeService, tmp_path: Path) -> None:
    """``status RUN --wait`` watches the active jobs; going on is another command's work."""
    service.polls_to_end = 10**9
    run = stops(service, tmp_path, timeout=10).job

    with pytest.raises(NotFinished) as caught:
        watch(service, tmp_path, run, wait=True, timeout=60)

    assert (caught.value.job, caught.value.state) == (run, "RUNNING")
    assert "0 of 6 requests are done, 3 jobs are alive" in caught.value.message
    assert caught.value.next == Next("status", run, "--wait")


def test_a_job_that_is_not_known_here(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 10**9
    job = begin(service, tmp_path).job

    with pytest.raises(NotFinished, match=rf"{job} has not finished after 10 s\. Nothing"):
        watch(service, tmp_path / "elsewhere", job, wait=True, timeout=10)


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_time_that_nothing_can_be_done_in(service: FakeService, tmp_path: Path, timeout: float) -> None:
    with pytest.raises(UsageError, match="more than 0"):
        work(service, tmp_path, timeout=timeout)
    with pytest.raises(UsageError, match="more than 0"):
        watch(service, tmp_path, "batches/job0", wait=True, timeout=timeout)
    assert service.calls == []


def test_a_time_without_a_wait(service: FakeService, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no effect without --wait"):
        watch(service, tmp_path, "batches/job0", timeout=10)
