"""A state folder that 1.0.0 has made, at the time at which it was made."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tarfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gemini_batch import async_base, cli
from gemini_batch.emulator.http.server import serve
from gemini_batch.session import Session
from gemini_batch.store.ledger.migrations import LEDGER
from gemini_batch.store.sqlite import connect
from gemini_batch.store.state_folder import StateFolder
from gemini_batch.world import World
from store.record import ARCHIVE, RUN_OF, RUNS

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Old:
    """An unpacked recording. ``folder`` holds the request files and the state folder, ``home``."""

    folder: Path
    commands: dict[str, list[dict[str, Any]]]
    capture: pytest.CaptureFixture[str]

    @property
    def offline(self) -> StateFolder:
        """The state folder with all the runs."""
        return StateFolder(self.folder / "home").offline

    def ask(self, sql: str, *values: object, database: Path | None = None) -> list[tuple[Any, ...]]:
        """What a database says, without this program."""
        with contextlib.closing(sqlite3.connect(database or self.offline.ledger_path)) as db:
            return db.execute(sql, values).fetchall()

    def job(self, name: str) -> str:
        """The name that 1.0.0 printed for the job of a run."""
        return str(self.commands[name][0]["stdout"]).strip()

    def run_id(self, name: str) -> str:
        """The id of a run, by its request file or, where it was adopted, by its job."""
        found = self.ask(RUN_OF, f"%/{name}.jsonl") or self.ask("SELECT run FROM jobs WHERE batch = ?", self.job(name))
        return str(found[0][0])

    def type(self, *words: str) -> Ended:
        """One command of this version."""
        code = cli.execute(list(words))
        out, err = self.capture.readouterr()
        assert "Traceback" not in err, err
        return Ended(code, out, err)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """What a results file holds."""
        return [json.loads(line) for line in (self.folder / name).read_text("utf-8").splitlines()]

    def paid(self) -> Counter[str]:
        """How often each key was paid for, then and now, by the service's own account."""
        with serve(self.offline.emulator) as running:
            return Counter(httpx2.get(f"{running.url}/emulator/accounting?keys=true").json()["keys"])


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Old:
    """The recording a minute after it was made: here, and by the clock of the emulator."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    recorded = json.loads((tmp_path / "recorded.json").read_text("utf-8"))
    past = time.time() - recorded["at"] - 60
    found = Old(tmp_path, recorded["commands"], capsys)
    with contextlib.closing(sqlite3.connect(found.offline.emulator / "emulator.db")) as emulator, emulator:
        emulator.execute("INSERT INTO meta VALUES ('clock_offset', ?)", (-round(past * 1e9),))
    monkeypatch.setattr(async_base, "Session", partial(Session, world=replace(World(), now=lambda: time.time() - past)))
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    monkeypatch.setenv("GEMINI_BATCH_SETTLE", "0.1")
    monkeypatch.chdir(tmp_path)
    assert set(found.commands) == set(RUNS)
    return found


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A ledger of schema 1, with a run."""
    path = tmp_path / "state" / "ledger.db"
    with contextlib.closing(connect(path, LEDGER[:1], what="ledger")) as db:
        db.execute(
            "INSERT INTO runs VALUES ('run-a', 'i', 'made', 1.0, 'generate', 'm', 'offline', 'k', 1, 1, 's', 'f', ?)",
            ('{"tier":1,"change":{"temperature":0.1}}',),
        )
    return path
