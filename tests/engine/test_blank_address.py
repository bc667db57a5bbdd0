"""An address that is set to nothing: commands that spend name the one they use, before anything is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.fake import ADDRESS, FakeService, FakeSession, answer_line
from engine.steps import KEYS
from gemini_batch.commands.create import create
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RequestOverrides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.events import Event


def do(service: FakeService, home: Path, work: Callable[[FakeSession], Awaitable[Any]], **session: Any) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, home, **session) as opened:
            return await work(opened)

    return asyncio.run(whole())


@pytest.mark.parametrize("command", ["create", "run", "run RUN", "retry"])
@pytest.mark.parametrize("blank", [True, False])
def test_what_spends_names_a_blank_address_before_anything_is_sent(
    service: FakeService, tmp_path: Path, command: str, *, blank: bool
) -> None:
    """A rehearsal whose variable is empty would be a real job."""
    spoiled = msgspec.json.encode({"response": {}, "key": KEYS[0]})
    service.answer_at = lambda key, attempt: spoiled if key == KEYS[0] and attempt == 1 else answer_line(key)
    order = Submission(source=tmp_path / "in.jsonl")
    if command in {"run RUN", "retry"}:
        run_id = do(service, tmp_path / "home", lambda s: run(s, order, None)).summary.run
    calls = len(service.calls)
    heard: list[tuple[Event, int]] = []

    async def work(session: FakeSession) -> Any:
        session.emit = lambda event: heard.append((event, len(service.calls)))
        match command:
            case "create":
                return await create(session, order)
            case "run":
                return await run(session, order, None)
            case "run RUN":
                return await run(session, run_id, None)
            case _:
                again = RetrySelection(verdicts=("empty",), overrides=RequestOverrides())
                return await retry(session, run_id, again)

    found = do(service, tmp_path / "home", work, blank_base_url=blank)

    said = f"GOOGLE_GEMINI_BASE_URL is set but empty: using {ADDRESS}."
    assert [at for event, at in heard if event == Notice(said, "warning")] == [calls] * blank
    if command == "create":
        assert (said in found.warnings) is blank


def test_what_does_not_spend_says_nothing_of_the_address(service: FakeService, tmp_path: Path) -> None:
    do(service, tmp_path / "home", lambda s: create(s, Submission(source=tmp_path / "in.jsonl")))
    session = FakeSession(service, tmp_path / "home", blank_base_url=True)

    asyncio.run(status(session, service.jobs[0].name))

    assert not [event for event in session.events if isinstance(event, Notice)]
