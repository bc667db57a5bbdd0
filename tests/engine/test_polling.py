"""How a job stands is asked in one way, and output that is late is waited for by one policy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.fake import FakeService, FakeSession, answer_line
from engine.steps import GOOD, KEYS, ONCE, begin, held, texts, work
from gemini_batch.commands.clean import clean
from gemini_batch.commands.create import create
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.status import status
from gemini_batch.engine.backoff import LATE_COUNTED, LATE_SUCCEEDED
from gemini_batch.errors import ApiError, JobError, NotFinished, ServiceError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.session import Session

HOUR = 3600.0


def do(service: FakeService, folder: Path, work: Callable[[Session], Awaitable[Any]], **settings: Any) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home", **settings) as session:
            return await work(session)

    return asyncio.run(whole())


def show_output_after(service: FakeService, seconds: float, *, counted: bool = False) -> None:
    """The job says when it ended, and shows its output later; ``counted``: by its counts it has some."""
    operation = service._operation
    ended: list[float] = []

    def late(job: Any) -> Any:
        found = operation(job)
        assert found.metadata is not None
        if job.alive:
            return found
        ended.append(service.clock.now)
        found.metadata.end_time = f"2026-09-21T{_clock(ended[0])}Z"
        if counted:
            stats = {"requestCount": "6", "successfulRequestCount": "6"}
            found.metadata.batch_stats = msgspec.convert(stats, type(found.metadata.batch_stats))
            job.lines = [answer_line(key) for key in job.keys]
            shown = operation(job).metadata
            assert shown is not None
            found.metadata.output = shown.output
        if service.clock.now < ended[0] + seconds:
            found.metadata.output = None
        return found

    service._operation = late  # type: ignore[method-assign]


def _clock(seconds: float) -> str:
    whole = int(seconds) % 86_400
    return f"{whole // 3600:02}:{whole % 3600 // 60:02}:{whole % 60:02}"


# Late output ---------------------------------------------------------------------------------------------------------


def test_a_wait_stays_until_the_output_of_a_success_is_there(service: FakeService, tmp_path: Path) -> None:
    """Ten hours late, as ``run`` would wait for it."""
    job = begin(service, tmp_path).job
    show_output_after(service, 10 * HOUR)

    seen = do(service, tmp_path, lambda s: status(s, job, wait=True))

    assert seen.results == "at the service"
    assert texts(held(service, tmp_path, job)) == GOOD


def test_a_run_waits_for_late_output_as_long_as_the_policy_says(service: FakeService, tmp_path: Path) -> None:
    """Not only for the six hours that a service may be away."""
    show_output_after(service, 20 * HOUR)

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert service.paid() == ONCE


def test_output_that_never_comes_ends_every_wait(service: FakeService, tmp_path: Path) -> None:
    job = begin(service, tmp_path).job
    show_output_after(service, 1000 * HOUR)

    seen = do(service, tmp_path, lambda s: status(s, job, wait=True))

    assert (seen.succeeded, seen.results) == (True, "none")
    assert LATE_SUCCEEDED <= sum(service.clock.waits) < LATE_SUCCEEDED + HOUR
    with pytest.raises(JobError, match="still has no results"):
        held(service, tmp_path, job)


@pytest.mark.parametrize("state", ["EXPIRED", "CANCELLED", "FAILED"])
def test_results_of_a_bad_end_that_has_counted_answers(service: FakeService, tmp_path: Path, state: str) -> None:
    """They are paid for: not missing before their time is up, by the same policy as in a run."""
    job = begin(service, tmp_path).job
    service.end_state = f"BATCH_STATE_{state}"
    show_output_after(service, 300.0, counted=True)
    service._move(service.jobs[0])
    service._move(service.jobs[0])

    with pytest.raises(NotFinished, match="its results are not available yet"):
        held(service, tmp_path, job)
    service.clock.pass_by(300.0)

    assert texts(held(service, tmp_path, job)) == GOOD


def test_counted_answers_that_never_show_end_a_wait_and_are_not_missing(service: FakeService, tmp_path: Path) -> None:
    """Only the user can say that what the service counts is not to be waited for."""
    job = begin(service, tmp_path).job
    service.end_state = "BATCH_STATE_EXPIRED"
    show_output_after(service, 1000 * HOUR, counted=True)

    seen = do(service, tmp_path, lambda s: status(s, job, wait=True))

    assert seen.ended_badly
    assert LATE_COUNTED <= sum(service.clock.waits) < LATE_COUNTED + 120.0
    with pytest.raises(NotFinished) as caught:
        held(service, tmp_path, job)
    assert caught.value.reason_code == "output_incomplete"
    assert held(service, tmp_path, job, accept_incomplete=True).summary.verdicts == {"missing": len(KEYS)}


# One job -------------------------------------------------------------------------------------------------------------


def never_shown(service: FakeService, error: Exception) -> None:
    """Asked for by its name, the job answers with this, every time."""

    async def never(name: str, *, server_timeout: int | None = None) -> Any:
        service.calls.append("get")
        raise error

    service.get = never  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "ask",
    [
        lambda job: lambda s: status(s, job),
        lambda job: lambda s: status(s, job, wait=True),
        lambda _: lambda s: list_jobs(s, Filter(), refresh=True),
        lambda _: lambda s: clean(s, dry_run=False),
    ],
    ids=["status", "status --wait", "list --refresh", "clean"],
)
def test_everyone_finds_a_job_that_cannot_be_shown_in_the_list(
    service: FakeService, tmp_path: Path, ask: Callable[[str], Callable[[Session], Awaitable[Any]]]
) -> None:
    """Gigabytes of inline answers: 503 after a minute. Nobody waits for output that the list leaves out."""
    job = begin(service, tmp_path).job
    never_shown(service, ApiError("too slow", status=503, reason="UNAVAILABLE"))
    service.output_after = 10**6
    service._move(service.jobs[0])

    do(service, tmp_path, ask(job))

    assert do(service, tmp_path, lambda s: list_jobs(s, Filter()))[0].state == "JOB_STATE_SUCCEEDED"
    assert sum(service.clock.waits) < HOUR


def test_an_answer_about_another_job_is_not_used(service: FakeService, tmp_path: Path) -> None:
    """Whatever mixes them up: the ledger stays as it was, and a wait goes on."""
    first, real = begin(service, tmp_path).job, service.get
    mixed = [True] * 3

    async def getting(name: str, *, server_timeout: int | None = None) -> Any:
        found = await real(name, server_timeout=server_timeout)
        if mixed and mixed.pop():
            found.name = "batches/another"
        return found

    service.get = getting  # type: ignore[method-assign]

    with pytest.raises(ServiceError, match="answered with batches/another") as caught:
        do(service, tmp_path, lambda s: status(s, first))
    assert caught.value.reason_code == "unreadable_answer"
    assert do(service, tmp_path, lambda s: list_jobs(s, Filter()))[0].alive
    assert do(service, tmp_path, lambda s: status(s, first, wait=True)).succeeded


# The same create again -----------------------------------------------------------------------------------------------


def again(service: FakeService, folder: Path, **settings: Any) -> Any:
    return do(service, folder, lambda s: create(s, Submission(source=folder / "in.jsonl")), **settings)


def test_a_proxy_s_404_is_no_deleted_job(service: FakeService, tmp_path: Path) -> None:
    """The create attaches to what was seen last; nobody is told to pay for another job."""
    job = begin(service, tmp_path).job
    never_shown(service, ApiError("<html>nginx</html>", status=404))

    made = again(service, tmp_path)

    assert (made.job, made.attached) == (job, True)
    assert service.paid() == ONCE


def test_a_job_that_is_back_in_a_moment_is_attached_to(service: FakeService, tmp_path: Path) -> None:
    job = begin(service, tmp_path).job
    for number in range(2):
        service.faults["get", number] = ("before", ApiError("no", status=404, reason="NOT_FOUND"))

    assert again(service, tmp_path).job == job


def test_a_job_that_is_gone_after_a_timeout_is_explained(service: FakeService, tmp_path: Path) -> None:
    """The second question, which allows the service more time, has the same answers as the first."""
    made = begin(service, tmp_path)
    service.jobs[0].deleted = True
    asked = service.calls.count("get")
    service.faults[("get", asked)] = ("before", ApiError("Unavailable.", status=503, reason="UNAVAILABLE"))

    with pytest.raises(ApiError) as caught:
        held(service, tmp_path, made.job)

    assert caught.value.reason_code == "job_not_found"
    assert caught.value.next
