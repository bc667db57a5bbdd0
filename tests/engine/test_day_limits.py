"""Limits of days: the day that a job is compared with is the day that it counts for."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import Clock, FakeService, Killed
from engine.test_budget import ONE, line_of, work
from gemini_batch.store.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.store.records import Job


def test_midnight_while_the_ledger_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planned job finds no room on its day, and another process writes until the next day has begun."""
    service = FakeService(Clock(), chunk=10_000, end_state="BATCH_STATE_FAILED", death=(0, "before"))
    service.clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(line_of(f"{name}1") + b"\n" + line_of(f"{name}2") + b"\n")
    with pytest.raises(Killed):
        work(service, tmp_path, source="a.jsonl", max_usd_per_day=ONE)
    service.death = None
    assert work(service, tmp_path, source="b.jsonl", max_usd_per_day=ONE) == "budget_reached"
    real = Ledger.update_job

    def waiting(self: Ledger, *args: Any, claim: Any = None, **more: Any) -> Job:
        def late(db: sqlite3.Connection) -> None:
            service.clock.pass_by(10)
            claim(db)

        return real(self, *args, claim=claim and late, **more)

    monkeypatch.setattr(Ledger, "update_job", waiting)
    service.clock.now = dt.datetime(2026, 11, 20, 23, 59, 55, tzinfo=dt.UTC).timestamp()

    assert work(service, tmp_path, source="a.jsonl", max_usd_per_day=ONE) == "budget_reached"

    with sqlite3.connect(tmp_path / "home" / "ledger.db") as db:
        counts = "SELECT date(intended_at, 'unixepoch'), count(*) FROM jobs WHERE batch NOT NULL GROUP BY 1 ORDER BY 1"
        assert db.execute(counts).fetchall() == [("2026-11-20", 1), ("2026-11-21", 1)]
