"""States that a command meets rarely: a job deleted among others, requests that wait again, a folder that is gone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, reset, write_requests
from engine.steps import KEYS, again, begin, held, jobs_of, work
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.create import create
from gemini_batch.commands.status import status
from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.report.job_view import RunState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.wire import Operation

RUN = "run-00000001"


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def do(service: FakeService, folder: Path, verb: Callable[[FakeSession], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            return await verb(session)

    return asyncio.run(whole())


def killed(service: FakeService, folder: Path, at: str, times: int, **how: Any) -> None:
    """A run that dies at a call of the service."""
    service.faults = {(at, times): ("before", Killed())}  # type: ignore[dict-item]
    with contextlib.suppress(Killed):
        work(service, folder, **how)
    service.faults = {}


def three_of_which_one_is_deleted(service: FakeService, folder: Path) -> None:
    service.polls_to_end = 10**9
    killed(service, folder, "get", 3)
    service.jobs[0].deleted = True


def test_a_deleted_job_does_not_keep_the_others_from_being_cancelled(service: FakeService, tmp_path: Path) -> None:
    three_of_which_one_is_deleted(service, tmp_path)
    asked: list[str] = []

    async def noted(name: str) -> None:
        asked.append(name)

    service.cancel = noted  # type: ignore[method-assign]
    assert do(service, tmp_path, lambda s: cancel(s, RUN, wait=False)).asked
    assert asked == ["batches/job1", "batches/job2"]


def test_a_cancel_that_could_not_be_asked_for_is_an_error_when_all_were_asked(
    service: FakeService, tmp_path: Path
) -> None:
    service.polls_to_end = 10**9
    killed(service, tmp_path, "get", 3)
    service.faults = {("cancel", 0): ("before", ApiError("busy", status=503, reason="UNAVAILABLE"))}
    with pytest.raises(ApiError, match="busy"):
        do(service, tmp_path, lambda s: cancel(s, RUN))
    assert service.calls.count("cancel") == 3


def test_a_deleted_job_does_not_keep_the_others_from_being_seen_and_collected(
    service: FakeService, tmp_path: Path
) -> None:
    three_of_which_one_is_deleted(service, tmp_path)
    seen = do(service, tmp_path, lambda s: status(s, RUN))
    assert (seen.state, [one.alive for one in seen.jobs]) == (RunState.RUNNING, [True] * 3)
    service.polls_to_end = 1
    with pytest.raises(ApiError, match="batches/job0"):
        held(service, tmp_path, RUN)
    assert sorted(job.stage.value for job in jobs_of(tmp_path)) == ["collected", "collected", "created"]
    with pytest.raises(ApiError, match="batches/job0"):
        do(service, tmp_path, lambda s: status(s, RUN, wait=True))


def test_requests_that_are_to_be_resent_were_sent(service: FakeService, tmp_path: Path) -> None:
    service.ends = {0: ("BATCH_STATE_FAILED", 13)}
    killed(service, tmp_path, "start_upload", 1, options=None)
    found = held(service, tmp_path, RUN)
    assert [(one.reason, one.count) for one in found.summary.failures] == [("TO_BE_RESENT", 6)]
    assert {line["attempt"] for line in found} == {1}
    assert found.summary.unanswered == 6  # once each: the second job was never sent
    assert str(found.summary.next).startswith(f"gemini-batch run {RUN} ")


def test_results_of_which_some_were_not_sent_are_not_all_of_it(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 1
    killed(service, tmp_path, "start_upload", 1)
    summary = held(service, tmp_path, RUN).summary
    assert (summary.verdicts, summary.not_sent, summary.exit_code) == ({"succeeded": 2}, 4, 1)


def test_what_is_adopted_is_the_job_that_was_asked_for(service: FakeService, tmp_path: Path) -> None:
    write_requests(tmp_path / "other.jsonl", ["z"])
    do(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "other.jsonl")))
    service.faults = {("create", 1): ("after", reset())}
    get = service.get

    async def other(name: str, **how: Any) -> Operation:
        return await get("batches/job0", **how)

    service.get = other  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match="answered with batches/job0"):
        begin(service, tmp_path)
    service.get = get  # type: ignore[method-assign]
    assert {(job.batch, job.total) for job in jobs_of(tmp_path)} == {("batches/job0", 1), (None, None)}
    assert begin(service, tmp_path).job == "batches/job1"
    assert [job.name for job in service.jobs] == ["batches/job0", "batches/job1"]


def test_create_goes_on_with_what_a_retry_has_changed(service: FakeService, tmp_path: Path) -> None:
    service.ends = {0: ("BATCH_STATE_FAILED", 3)}
    work(service, tmp_path, options=None)
    service.faults = {("start_upload", 1): ("before", Killed())}  # type: ignore[dict-item]
    with contextlib.suppress(Killed):
        again(service, tmp_path, RUN, "missing", model="gemini-2.5-pro", temperature=0.5)
    made = do(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "in.jsonl", inline=True)))
    assert (made.model, made.job) == ("gemini-2.5-pro", "batches/job1")
    assert b'"temperature":0.5' in service.files[service.jobs[1].file_name or ""]


def test_follow_up_jobs_keep_the_name_of_the_job_that_was_made(service: FakeService, tmp_path: Path) -> None:
    service.death = (1, "before")
    with contextlib.suppress(Killed):
        begin(service, tmp_path)
    service.death, service.ends = None, {0: ("BATCH_STATE_FAILED", 13)}
    named = Submission(source=tmp_path / "in.jsonl", inline=True, name="mine")
    do(service, tmp_path, lambda s: create(s, named))
    work(service, tmp_path, RUN, options=None)
    assert [job.display_name for job in service.jobs] == ["mine", "mine"]


def test_a_create_in_doubt_is_not_called_no_job(service: FakeService, tmp_path: Path) -> None:
    service.faults = {("create", 0): ("after", Killed())}  # type: ignore[dict-item]
    with contextlib.suppress(Killed):
        begin(service, tmp_path)
    with pytest.raises(UsageError, match="got no answer"):
        do(service, tmp_path, lambda s: cancel(s, RUN))


def test_a_new_job_that_left_nothing_does_not_hide_the_answers_that_there_are(
    service: FakeService, tmp_path: Path
) -> None:
    service.ends = {1: ("BATCH_STATE_FAILED", 3)}
    work(service, tmp_path, options=None)
    other = do(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "in.jsonl", new=True)))
    do(service, tmp_path, lambda s: status(s, other.job, wait=True))
    made = begin(service, tmp_path)
    assert (made.job, made.run, made.attached, len(service.jobs)) == ("batches/job0", RUN, True, 2)
