"""An answer that was cut off: at the limit that the request sets, or at the model's own, which none can raise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, answer_line
from engine.steps import again, work
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.errors import Next
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

OWN, SET = "MODEL_MAX_TOKENS", "MAX_TOKENS"
ONE = RunOptions(attempts=1)
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, OWN),
    "null config": ({"generationConfig": None}, OWN),
    "other": ({"generationConfig": {"temperature": 1}}, OWN),
    "null": ({"generationConfig": {"maxOutputTokens": None}}, OWN),
    "set": ({"generationConfig": {"maxOutputTokens": 9}}, SET),
    "snake": ({"generation_config": {"max_output_tokens": 9}}, SET),
}


def cut(key: str) -> bytes:
    candidate = {"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}
    return msgspec.json.encode({"response": {"candidates": [candidate]}, "key": key})


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    contents = [{"parts": [{"text": "Hello"}]}]
    lines = [
        msgspec.json.encode({"key": key, "request": {"contents": contents, **more}})
        for key, (more, _) in CONFIGS.items()
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    service = FakeService(Clock(), chunk=10_000)
    service.answer_at = lambda key, attempt: cut(key)
    return service


def found_reasons(found: Any) -> dict[str, str]:
    return {row["key"]: row["error"]["reason"] for row in found if row["error"]}


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("times", [1, 2])
def test_whose_limit_it_was(service: FakeService, tmp_path: Path, size: int, times: int) -> None:
    service.answer_at = lambda key, attempt: b"\n".join([cut(key)] * times)
    found = work(service, tmp_path, options=RunOptions(attempts=1, max_requests_per_job=size))

    assert found_reasons(found) == {key: reason for key, (_, reason) in CONFIGS.items()}
    for row in found:
        own = row["error"]["reason"] == OWN
        assert ("the model's own limit" in row["error"]["message"]) is own
    assert {one.reason: one.count for one in found.summary.failures} == {OWN: 4, SET: 2}


def test_a_retry_is_proposed_only_for_a_limit_that_can_be_raised(service: FakeService, tmp_path: Path) -> None:
    for good, kind in (((), Next), (("set", "snake"), str)):
        service.answer_at = lambda key, attempt, good=good: answer_line(key) if key in good else cut(key)
        summary = work(service, tmp_path, options=ONE, new=True).summary

        assert isinstance(summary.next, kind)
        assert OWN in str(summary.next)


def test_the_limit_that_a_retry_sets_counts(service: FakeService, tmp_path: Path) -> None:
    """It is in the requests as they were sent, not in those of the file; and a retry without one changes nothing."""
    first = work(service, tmp_path, options=ONE)

    found = again(service, tmp_path, first.summary.run, "truncated", max_output_tokens=50)

    assert set(found_reasons(found).values()) == {SET}
    found = again(service, tmp_path, first.summary.run, "truncated", temperature=1.0)
    assert found_reasons(found) == {key: reason for key, (_, reason) in CONFIGS.items()}


@pytest.mark.parametrize("inline", [False, True])
def test_of_a_job_of_create(service: FakeService, tmp_path: Path, *, inline: bool) -> None:
    async def whole() -> Any:
        service.polls_to_end = 0
        async with FakeSession(service, tmp_path / "home") as session:
            made = await create(session, Submission(source=tmp_path / "in.jsonl", inline=inline))
            return await results(session, made.job)

    assert found_reasons(asyncio.run(whole())) == {key: reason for key, (_, reason) in CONFIGS.items()}
