"""Options that are said again, files that are given again, and requests that are resent by the user's word."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import msgspec
import pytest

from engine.fake import FakeService, FakeSession, Killed, answer_line
from engine.steps import GOOD, ONCE, again, reasons, sentences, texts, work
from gemini_batch.answers.media import MediaWriter
from gemini_batch.commands.create import create
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions, kept_options
from gemini_batch.store.rows.rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.events import Event


# Options and changes -------------------------------------------------------------------------------------------------


def test_an_option_that_is_said_later_leaves_the_others_as_they_are(service: FakeService, tmp_path: Path) -> None:
    """``run RUN --attempts 1`` still makes jobs of two requests, and a plain ``run RUN`` after it one attempt."""
    service.answer_at = lambda key, attempt: (
        answer_line(key) if key != "k5" else msgspec.json.encode({"error": {"code": 13, "message": "why"}, "key": key})
    )
    service.death = (3, "before")
    heard: list[Event] = []
    with pytest.raises(Killed):
        work(service, tmp_path, heard=heard)
    service.death = None
    (run_id,) = set(re.findall("run-[0-9]+", sentences(heard)))
    service.death = (5, "before")
    with pytest.raises(Killed):
        work(service, tmp_path, run_id, RunOptions(attempts=1))
    service.death = None

    work(service, tmp_path, run_id, None)

    assert [len(job.keys) for job in service.jobs] == [2, 2, 2]


def test_retry_with_another_model(service: FakeService, tmp_path: Path) -> None:
    """The new job asks it, the requests stay as they were, and its own price counts."""
    service.clock.now = 1_795_300_000.0  # a day on which prices are known
    used = {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6}}
    service.answer_at = lambda key, attempt: (
        answer_line(key) if attempt == 2 or key != "k1" else msgspec.json.encode({"response": used, "key": key})
    )
    first = work(service, tmp_path)

    found = again(service, tmp_path, first.summary.run, "empty", model="gemini-3.1-pro-preview")

    assert texts(found) == GOOD
    assert [job.model for job in service.jobs] == ["gemini-3-flash-preview"] * 3 + ["gemini-3.1-pro-preview"]
    assert found.summary.model == "gemini-3-flash-preview, gemini-3.1-pro-preview"
    assert (found.summary.usd.batch or 0) > (first.summary.usd.batch or 0) * 7 / 6
    assert work(service, tmp_path).summary.run == first.summary.run, "the run is the same one as before"

    async def listed() -> list[str]:
        async with FakeSession(service, tmp_path / "home") as session:
            return [one.model for one in await list_jobs(session, Filter(), refresh=False, remote=False)]

    assert sorted(asyncio.run(listed())) == ["gemini-3-flash-preview"] * 3 + ["gemini-3.1-pro-preview"]


def test_retry_with_a_model_that_cannot(service: FakeService, tmp_path: Path) -> None:
    service.answer_at = lambda key, attempt: None if key == "k1" else answer_line(key)
    first = work(service, tmp_path)
    jobs = len(service.jobs)

    with pytest.raises(UsageError) as caught:
        again(service, tmp_path, first.summary.run, "missing", model="gemini-embedding-001")

    assert caught.value.exit_code == 2
    assert len(service.jobs) == jobs
    assert work(service, tmp_path, first.summary.run, None).summary.verdicts == first.summary.verdicts


def test_a_change_to_a_config_of_null() -> None:
    line = b'{"key":"a","request":{"contents":[],"generationConfig":null}}'

    changed = msgspec.json.decode(RequestOverrides(max_output_tokens=9).apply(line))

    assert changed["request"]["generationConfig"] == {"maxOutputTokens": 9}


# The same file again -------------------------------------------------------------------------------------------------


def test_a_file_that_has_a_run_is_not_read_line_by_line_again(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is enough, so that a large run is at work again at once."""
    first = work(service, tmp_path)

    def unwanted(*_: Any, **__: Any) -> None:
        raise AssertionError("it was staged again")

    monkeypatch.setattr("gemini_batch.intake.submission.stage", unwanted)

    assert work(service, tmp_path).summary.run == first.summary.run


@pytest.mark.parametrize("change", [b"\n", b" \n", b'{"key":"k9","request":{"contents":[{"parts":[{"text":"x"}]}]}}\n'])
def test_a_file_that_has_changed_is_read_again(service: FakeService, tmp_path: Path, change: bytes) -> None:
    """Blank lines make no other run, another request does."""
    first = work(service, tmp_path)
    with (tmp_path / "in.jsonl").open("ab") as file:
        file.write(change)

    assert (work(service, tmp_path).summary.run == first.summary.run) is (not change.strip())


@pytest.mark.parametrize("order", [{"model": "gemini-3.1-flash-lite"}, {"new": True}], ids=str)
def test_another_model_and_new_are_another_run(service: FakeService, tmp_path: Path, order: dict[str, Any]) -> None:
    first = work(service, tmp_path)

    assert work(service, tmp_path, **order).summary.run != first.summary.run


# Retry ---------------------------------------------------------------------------------------------------------------


def one_job(service: FakeService, folder: Path) -> str:
    """``create``, a wait, and ``results``, as the three scripts do it; the run's id."""

    async def whole() -> str:
        async with FakeSession(service, folder / "home") as session:
            made = await create(session, Submission(source=folder / "in.jsonl"))
            await status(session, made.job, wait=True)
            await results(session, made.job)
            return made.run

    return asyncio.run(whole())


def ill(service: FakeService) -> None:
    """One request fails temporarily, one is cut off, each at its first attempt."""
    cut = {"candidates": [{"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}]}
    first: dict[str, Any] = {"k1": {"error": {"code": 14, "message": "why"}}, "k2": {"response": cut}}
    service.answer_at = lambda key, attempt: (
        msgspec.json.encode({**first[key], "key": key}) if attempt == 1 and key in first else answer_line(key)
    )


def test_retry_of_what_create_made(service: FakeService, tmp_path: Path) -> None:
    """No detour over ``run``, and nothing goes that was not named: the rest is for the next word of the user."""
    ill(service)
    run_id = one_job(service, tmp_path)

    found = again(service, tmp_path, run_id, "truncated", max_output_tokens=8192)

    assert service.jobs[-1].keys == ["k2"]
    assert reasons(found) == {"k1": "UNAVAILABLE"}
    assert texts(again(service, tmp_path, run_id, "failed")) == GOOD
    assert service.jobs[-1].keys == ["k1"]


@pytest.mark.parametrize("with_media", [False, True])
def test_a_picture_that_cannot_be_read_is_offered_to_retry(
    service: FakeService, tmp_path: Path, *, with_media: bool
) -> None:
    """A success would have no file; so the row is ``invalid``, what it used is counted, and retry resends it."""
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 1290, "totalTokenCount": 1294}

    def picture(key: str, attempt: int) -> bytes:
        data = "iVBO%w==" if key == "k1" and attempt == 1 else "iVBORw=="
        part = {"inlineData": {"mimeType": "image/png", "data": data}}
        response = {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}], "usageMetadata": usage}
        return msgspec.json.encode({"response": response, "key": key})

    service.answer_at = picture
    found = work(service, tmp_path, options=None)

    assert reasons(found) == {"k1": "BROKEN_MEDIA"}
    assert found.summary.verdicts == {"succeeded": 5, "invalid": 1}
    assert found.summary.tokens.output == 6 * 1290
    assert "--only invalid" in str(found.summary.next)
    failed = [msgspec.json.decode(line) for line in (tmp_path / "failures.jsonl").read_bytes().splitlines()]
    assert [(line["key"], line["verdict"], line["reason"]) for line in failed] == [("k1", "invalid", "BROKEN_MEDIA")]

    if with_media:
        found = dataclasses.replace(found, _media=MediaWriter(tmp_path / "media"))
    lines = list(found)
    assert [line["verdict"] for line in lines] == ["succeeded", "invalid", *["succeeded"] * 4]
    if with_media:
        written = {path.stem for path in (tmp_path / "media").glob("*.png")}
        assert written == {line["key"] for line in lines if line["verdict"] == "succeeded"}

    assert reasons(again(service, tmp_path, found.summary.run, "invalid")) == {}
    assert service.jobs[-1].keys == ["k1"]


def test_what_waits_for_another_attempt_goes_with_a_retry(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that died between queueing a request again and planning its job is no reason to refuse."""
    ill(service)
    run_id = one_job(service, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "take", Mock(side_effect=Killed))
        with pytest.raises(Killed):
            work(service, tmp_path, run_id, None)

    found = again(service, tmp_path, run_id, "truncated")

    assert texts(found) == GOOD
    assert service.paid() == {**ONCE, "k1": 2, "k2": 2}


def test_a_retry_of_what_was_never_sent_is_refused(service: FakeService, tmp_path: Path) -> None:
    service.death = (6, "after")
    heard: list[Event] = []
    with pytest.raises(Killed):
        work(service, tmp_path, heard=heard)
    service.death = None
    (run_id,) = set(re.findall("run-[0-9]+", sentences(heard)))

    with pytest.raises(UsageError, match="not finished"):
        again(service, tmp_path, run_id, "missing")


def test_a_retry_of_nothing_changes_nothing_and_says_what_there_is(service: FakeService, tmp_path: Path) -> None:
    ill(service)
    run_id = one_job(service, tmp_path)

    with pytest.raises(UsageError, match="No request") as caught:
        again(service, tmp_path, run_id, "blocked", temperature=1.0)

    assert "4 succeeded" in caught.value.message
    assert f"retry {run_id} --only failed" in str(caught.value.next)
    with FakeSession(service, tmp_path / "home").ledger() as ledger:
        kept = ledger.run(run_id)
    assert kept is not None
    assert kept_options(kept) == RunOptions()
    assert len(service.jobs) == 1


def test_attempts_without_an_answer_are_counted(service: FakeService, tmp_path: Path) -> None:
    """Whether they were billed nobody says, also where a later attempt was answered."""
    service.answer_at = lambda key, attempt: None if attempt < 3 and key == "k1" else answer_line(key)
    first = work(service, tmp_path)
    assert first.summary.unanswered == 2

    found = again(service, tmp_path, first.summary.run, "missing")

    assert texts(found) == GOOD
    assert found.summary.unanswered == 2


def test_the_same_requests_with_another_key_are_not_resent(service: FakeService, tmp_path: Path) -> None:
    """A rotated key changes nothing about what was answered; only ``--new`` pays again."""
    work(service, tmp_path)

    async def other(new: bool) -> None:
        async with FakeSession(service, tmp_path / "home", key="another") as session:
            await run(session, Submission(source=tmp_path / "in.jsonl", new=new), None)

    asyncio.run(other(False))
    assert set(service.paid().values()) == {1}
    asyncio.run(other(True))
    assert set(service.paid().values()) == {2}
