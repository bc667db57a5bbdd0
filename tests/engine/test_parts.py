"""One job of a run of several, asked for by its own name: its answers, its counts, its way to the whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line, write_requests
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import NotFinished
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.report.job_view import JobStatus
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

KEYS = ["a", "b", "c", "d"]


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def do(service: FakeService, folder: Path, work: Callable[[FakeSession], Awaitable[Any]]) -> tuple[Any, list[str]]:
    """What came of it, and what was said meanwhile."""

    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            found = await work(session)
            return found, [f"{one.message} {one.next or ''}" for one in session.events if isinstance(one, Notice)]

    found: tuple[Any, list[str]] = asyncio.run(whole())
    return found


def cut(key: str) -> bytes:
    candidate = {"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}
    return msgspec.json.encode({"response": {"candidates": [candidate]}, "key": key})


def retried(service: FakeService, folder: Path) -> tuple[str, str]:
    """A job of create whose second answer is cut off and whose third is absent. Then run resends the third,
    and retry, changed, the second."""

    def answer(key: str, attempt: int) -> bytes | None:
        if attempt == 1 and key in "bc":
            return cut(key) if key == "b" else None
        return answer_line(key)

    service.answer_at = answer
    service.polls_to_end = 0
    made = do(service, folder, lambda s: create(s, Submission(source=folder / "in.jsonl")))[0]
    do(service, folder, lambda s: results(s, made.job))
    change = RequestOverrides(max_output_tokens=500, temperature=None)
    do(service, folder, lambda s: run(s, made.run, None))
    do(service, folder, lambda s: retry(s, made.run, RetrySelection(verdicts=("truncated",), overrides=change)))
    return made.job, made.run


def verdicts(found: Any) -> list[tuple[str, str, int]]:
    return [(row["key"], row["verdict"], row["attempt"]) for row in found]


def own(service: FakeService, folder: Path, job: str) -> Any:
    """What one job has answered itself."""
    return do(service, folder, lambda s: results(s, job, job_only=True))[0]


def test_any_job_of_a_run_leads_to_all_of_its_answers(service: FakeService, tmp_path: Path) -> None:
    """A retry is never undone by fetching the first job again; that there are other jobs is said."""
    _, run_id = retried(service, tmp_path)

    for name in [run_id, *(one.name for one in service.jobs)]:
        found, said = do(service, tmp_path, lambda s, name=name: results(s, name))  # type: ignore[misc]
        assert [row["verdict"] for row in found] == ["succeeded"] * 4
        assert (found.summary.job, found.summary.run, found.summary.exit_code) == (None, run_id, 0)
        narrower = f"gemini-batch results {name} --job-only"
        assert any("one of 3 jobs" in sentence and narrower in sentence for sentence in said) == (name != run_id)


def test_the_first_job_of_a_retried_run_still_says_what_it_answered(service: FakeService, tmp_path: Path) -> None:
    """In the order of the input, each of its keys once, with what this very job made of it."""
    job, run_id = retried(service, tmp_path)

    found, said = do(service, tmp_path, lambda s: results(s, job, job_only=True))

    assert verdicts(found) == [("a", "succeeded", 1), ("b", "truncated", 1), ("c", "missing", 1), ("d", "succeeded", 1)]
    assert found.summary.verdicts == {"succeeded": 2, "truncated": 1, "missing": 1}
    assert (found.summary.job, found.summary.run, found.summary.exit_code) == (job, run_id, 1)
    assert len(found) == found.summary.requests == 4
    assert not said
    assert found.write(tmp_path / "out.jsonl") == 4


def test_the_later_jobs_have_only_what_was_resent(service: FakeService, tmp_path: Path) -> None:
    """One was a stretch of the requests as they are, the other a file of its own with changed ones."""
    _, run_id = retried(service, tmp_path)

    second, third = (own(service, tmp_path, job.name) for job in service.jobs[1:])

    assert verdicts(second) == [("c", "succeeded", 2)]
    assert verdicts(third) == [("b", "succeeded", 2)]
    assert (len(third), third.summary.requests, third.summary.exit_code) == (1, 1, 0)
    assert third.summary.tokens.input == 4  # of this job alone
    whole, said = do(service, tmp_path, lambda s: results(s, run_id))
    assert [row["verdict"] for row in whole] == ["succeeded"] * 4
    assert not said


def test_a_stretch_of_the_input_is_told_by_its_place(service: FakeService, tmp_path: Path) -> None:
    order = Submission(source=tmp_path / "in.jsonl")
    do(service, tmp_path, lambda s: run(s, order, RunOptions(max_requests_per_job=2)))

    parts = [own(service, tmp_path, job.name) for job in service.jobs]

    assert sorted([row["key"] for row in part] for part in parts) == [["a", "b"], ["c", "d"]]


def test_status_of_such_a_job_names_its_run(service: FakeService, tmp_path: Path) -> None:
    job, run_id = retried(service, tmp_path)

    seen, said = do(service, tmp_path, lambda s: status(s, job))

    assert isinstance(seen, JobStatus)
    assert seen.job == job
    assert any(f"gemini-batch status {run_id}" in sentence for sentence in said)


def test_a_job_that_is_not_collected_yet(service: FakeService, tmp_path: Path) -> None:
    """A sent request is in a active job: exit code 6, that job by its name, and what to type."""
    service.death = (9, "after")
    with pytest.raises(Killed):
        do(
            service,
            tmp_path,
            lambda s: run(s, Submission(source=tmp_path / "in.jsonl"), RunOptions(max_requests_per_job=1)),
        )
    service.death = None

    with pytest.raises(NotFinished, match=r"batches/job\d is not finished") as caught:
        do(service, tmp_path, lambda s: results(s, service.jobs[0].name))
    assert "gemini-batch run run-" in str(caught.value.next)


def test_cancelling_a_job_that_has_ended_counts_its_own_requests(service: FakeService, tmp_path: Path) -> None:
    retried(service, tmp_path)

    done, _ = do(service, tmp_path, lambda s: cancel(s, service.jobs[1].name))

    assert (done.asked, done.answers, done.requests) == (False, 1, 1)


def test_cancelling_a_run_without_living_jobs_says_so(service: FakeService, tmp_path: Path) -> None:
    _, run_id = retried(service, tmp_path)

    done, said = do(service, tmp_path, lambda s: cancel(s, run_id))

    assert not done.asked
    assert any("nothing to cancel" in sentence for sentence in said)
