"""A state folder that is not there, or holds nothing, is named, and reading it does not create it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, write_requests
from engine.steps import KEYS, begin, sentences
from gemini_batch.commands.doctor import doctor
from gemini_batch.commands.list_jobs import Filter, list_jobs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

READING: dict[str, Callable[[FakeSession], Awaitable[Any]]] = {
    "list": lambda s: list_jobs(s, Filter()),
    "list --refresh": lambda s: list_jobs(s, Filter(), refresh=True),
    "list --remote": lambda s: list_jobs(s, Filter(), remote=True),
    "doctor": doctor,
}


def said(service: FakeService, home: Path, command: str, *, offline: bool = False) -> str:
    async def whole() -> str:
        async with FakeSession(service, home, offline=offline) as session:
            await READING[command](session)
            return sentences(session.events)

    return asyncio.run(whole())


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
@pytest.mark.parametrize("there", [False, True], ids=["absent", "another folder"])
@pytest.mark.parametrize("command", READING)
def test_it_is_named(tmp_path: Path, command: str, *, there: bool, offline: bool) -> None:
    home = tmp_path / "home"
    read = home / "offline" if offline else home
    if there:
        read.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))

    heard = said(FakeService(Clock()), home, command, offline=offline)

    what = "holds no ledger" if there else "does not exist"
    assert f"The state folder {read} {what}, so no job is known." in heard
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", READING)
def test_one_with_jobs_is_not_mentioned(tmp_path: Path, command: str) -> None:
    service = FakeService(Clock(), chunk=10_000)
    write_requests(tmp_path / "in.jsonl", KEYS)
    begin(service, tmp_path)
    assert "state folder" not in said(service, tmp_path / "home", command)
