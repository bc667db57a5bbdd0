"""The edges of limits of money: midnight while the ledger is waited for, and the documented slack."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, Killed, reset
from engine.test_budget import BY_ONE, ONE, jobs, line_of, work
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job


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


@pytest.mark.parametrize(("readings", "doubled"), [(0, 0), (1, 0), (9, 1)])
def test_the_slack_is_the_job_that_the_list_does_not_show(tmp_path: Path, readings: int, doubled: int) -> None:
    """A create gets no answer. Its job is counted unless the list leaves it out until the create is sent again."""
    service = FakeService(Clock(), chunk=10_000, end_state="BATCH_STATE_FAILED", list_hides=readings)
    service.clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()
    service.faults["create", 0] = ("after", reset())
    (tmp_path / "a.jsonl").write_bytes(b"".join(line_of(f"a{number}") + b"\n" for number in range(4)))

    assert work(service, tmp_path, source="a.jsonl", usd=2 * ONE, options=BY_ONE) == "budget_reached"

    assert [len(job.keys) for job in service.jobs] == [1] * (2 + doubled)
    files = {job.file_name for job in service.jobs}
    assert len(files) == 2, "what is doubled is one job, with the same file"


@pytest.mark.parametrize(
    ("call", "stage"), [("create", JobStage.INTENDED), ("get", JobStage.CREATED), ("download", JobStage.ENDED)]
)
def test_a_job_counts_from_its_intent_until_it_is_collected(tmp_path: Path, call: str, stage: JobStage) -> None:
    """A process dies with a job of two requests, and the limit of the day has room for one more."""
    service = FakeService(Clock(), chunk=10_000)
    service.clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()
    service.faults[call, 0] = ("after" if call == "create" else "before", Killed())  # type: ignore[assignment]
    for name, count in (("a", 2), ("b", 4)):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(line_of(f"{name}{n}") + b"\n" for n in range(count)))
    with pytest.raises(Killed):
        work(service, tmp_path, source="a.jsonl", max_usd_per_day=3 * ONE, options=RunOptions(max_requests_per_job=2))
    assert [job.stage for job in jobs(tmp_path)] == [stage]
    service.end_state = "BATCH_STATE_FAILED"

    assert work(service, tmp_path, source="b.jsonl", max_usd_per_day=3 * ONE) == "budget_reached"

    assert [len(job.keys) for job in service.jobs] == [2, 1]
