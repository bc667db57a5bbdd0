"""The user has the last word on a model: whatever refuses one before anything is sent, ``model_check`` overrules."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.fake import FakeService, FakeSession, answer_line
from engine.steps import KEYS, PAIRS, work
from gemini_batch.commands.create import create
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.errors import ApiError, InvalidInput, UsageError
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RequestOverrides

if TYPE_CHECKING:
    from pathlib import Path

#: 2026-11-22
DAY = 1_795_300_000.0
SPEECH = {"generationConfig": {"responseModalities": ["AUDIO"]}}


def do(service: FakeService, folder: Path, verb: str, model: str, *, check: bool) -> list[str]:
    """One command with that model; returns its warnings."""

    async def whole() -> list[str]:
        async with FakeSession(service, folder / "home") as session:
            order = Submission(source=folder / "in.jsonl", model=model, model_check=check)
            if verb == "create":
                await create(session, order)
            elif verb == "run":
                await run(session, order, PAIRS)
            else:
                again = RetrySelection(verdicts=("failed",), overrides=RequestOverrides(model=model), model_check=check)
                await retry(session, next(iter(session.ledger().runs())).id, again)
            return [one.message for one in session.events if isinstance(one, Notice) and one.level == "warning"]

    return asyncio.run(whole())


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_rule_of_the_model_about_a_line(service: FakeService, tmp_path: Path, verb: str) -> None:
    """It is a rule that the service may have changed."""
    budget = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}}
    lines = (
        msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": "Hello"}]}], **budget}})
        for key in KEYS
    )
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))

    with pytest.raises(InvalidInput) as caught:
        do(service, tmp_path, verb, "gemini-4-argon", check=True)
    assert "thinkingBudget" in caught.value.problems[0].message
    assert not service.jobs

    do(service, tmp_path, verb, "gemini-4-argon", check=False)

    assert {job.model for job in service.jobs} == {"gemini-4-argon"}


@pytest.mark.parametrize(
    ("model", "request_", "code", "said"),
    [
        ("gemini-3-pro-preview", {}, "model_not_usable", "was shut down on 2026-03-09"),
        ("veo-3.1-generate-preview", {}, "model_not_usable", "does not support batches"),
        ("gemini-embedding-2", {}, "model_not_usable", "creates only embeddings"),
        ("gemini-3-flash-preview", SPEECH, "model_not_usable", "which gemini-3-flash-preview cannot create"),
        ("gemini-99", {}, "unknown_model", "is not in the catalog"),
    ],
)
@pytest.mark.parametrize("verb", ["create", "run", "retry"])
def test_a_model_that_is_refused(
    service: FakeService, tmp_path: Path, verb: str, model: str, request_: dict[str, Any], code: str, said: str
) -> None:
    if verb == "retry" and request_:
        pytest.skip("what requests ask for was checked when they were first sent")
    service.clock.now = DAY
    contents = [{"parts": [{"text": "Hello"}]}]
    lines = (msgspec.json.encode({"key": key, "request": {"contents": contents, **request_}}) for key in KEYS)
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    if verb == "retry":
        failed = {"error": {"code": 3, "message": "no"}}
        service.answer_at = lambda key, attempt: (
            answer_line(key) if attempt > 1 else msgspec.json.encode({**failed, "key": key})
        )
        work(service, tmp_path)
    service.faults["get_model", 0] = ("before", ApiError("no such model", status=404, reason="NOT_FOUND"))
    before = len(service.jobs)

    with pytest.raises(UsageError) as caught:
        do(service, tmp_path, verb, model, check=True)

    assert caught.value.reason_code == code
    assert "--model-check off" in str(caught.value.next)
    assert len(service.jobs) == before
    service.faults["get_model", 1] = service.faults["get_model", 0]

    warnings = do(service, tmp_path, verb, model, check=False)

    assert {job.model for job in service.jobs[before:]} == {model}
    assert sum(said in one for one in warnings) == 1
