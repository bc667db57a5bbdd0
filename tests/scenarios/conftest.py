"""A user, the service with its faults, and time that passes only by waiting."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest

from cli.conftest import KEY, Done, Shell
from gemini_batch import async_base
from gemini_batch.api import batches, bounds
from gemini_batch.api.bounds import Bounds
from gemini_batch.session import Session
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job
    from gemini_batch.testing import GeminiEmulator


@dataclass
class Time:
    """Waiting takes no time: the user's clock and the service's jump together. ``waits`` are the seconds asked for."""

    advance: Callable[[float], None]
    ahead: float = 0.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.jump(seconds)
        await asyncio.sleep(0)

    def jump(self, seconds: float) -> None:
        self.ahead += seconds
        self.advance(seconds)

    def world(self) -> World:
        return World(
            now=lambda: time.time() + self.ahead,
            monotonic=lambda: time.monotonic() + self.ahead,
            sleep=self.sleep,
        )


@dataclass
class Stage:
    """Somebody with a folder, a home and a key, and the service that they talk to."""

    shell: Shell
    service: GeminiEmulator
    time: Time

    def run(self, *words: str) -> Done:
        done = self.shell.run(*words)
        assert "Something unexpected" not in done.out + done.err, done.err
        return done

    def arm(self, scenario: str = "", /, **fields: Any) -> None:
        self.service.faults.arm(scenario, **fields)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One plain call with the user's key, of which our commands know nothing; the JSON that is answered."""
        answer = httpx2.request(
            method, f"{self.service.url}/v1beta/{path}", headers={"x-goog-api-key": KEY}, json=body, timeout=30
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def ledger_path(self) -> Path:
        return self.shell.home / "ledger.db"

    def jobs(self) -> list[Job]:
        """What the ledger says of all jobs, oldest first."""
        with Ledger(self.ledger_path) as ledger:
            return [job for _, job in ledger.jobs()][::-1]

    def made(self) -> int:
        """How many jobs the service was asked for."""
        return int(self.service.accounting()["totals"]["jobs"])

    def sent(self) -> int:
        """How many bytes of uploads came over the wire."""
        return int(self.service.accounting()["totals"]["sentBytes"])

    def paid(self) -> dict[str, int]:
        """How often each key was paid for."""
        return dict(self.service.accounting()["keys"])

    def read(self, name: str = "results.jsonl") -> list[dict[str, Any]]:
        """The lines of a results file."""
        return [msgspec.json.decode(line) for line in (self.shell.folder / name).read_bytes().split(b"\n") if line]


@pytest.fixture
def stage(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gemini_emulator: GeminiEmulator,
) -> Stage:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_emulator.url)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    time_ = Time(gemini_emulator.advance)
    monkeypatch.setattr(async_base, "Session", partial(Session, world=time_.world()))
    # An answer that never comes is given up after a moment instead of minutes.
    monkeypatch.setattr(bounds, "DEFAULT", Bounds(idle=0.4, idle_large=0.4))
    return Stage(Shell(folder, tmp_path / "home", capsys), gemini_emulator, time_)


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three jobs a page, so that few make many pages."""
    monkeypatch.setattr(batches.listing, "__kwdefaults__", {"page_size": 3})
