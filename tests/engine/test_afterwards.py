"""What is said of money after a run: what may have been paid besides, and what was expected of each sending."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line
from engine.test_budget import KEYS, MODEL, failed, line_of
from gemini_batch.cli.list_jobs import _line
from gemini_batch.cli.results import summary_lines
from gemini_batch.commands.estimate import estimate, foreseen
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.intake.submission import Submission
from gemini_batch.report.spending.before import Sending, keep_sending, sendings
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.report.result_set import Results


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    (tmp_path / "in.jsonl").write_bytes(b"".join(line_of(key) + b"\n" for key in KEYS))
    made = FakeService(Clock(), chunk=10_000)
    made.clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()
    return made


def done(service: FakeService, folder: Path, work: Callable[[FakeSession], Awaitable[Any]]) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home") as session:
            return await work(session)

    return asyncio.run(whole())


def worked(service: FakeService, folder: Path, options: RunOptions | None = None) -> Results:
    submission = Submission(source=folder / "in.jsonl", model=MODEL)
    found: Results = done(service, folder, lambda session: run(session, submission, options))
    return found


def test_what_was_sent_again_was_possibly_paid_the_first_time(service: FakeService, tmp_path: Path) -> None:
    """One of four requests gets no line from the first job; its bound is that of the second job, which has it alone."""
    service.answer_at = lambda key, attempt: None if attempt < 2 and key == "k1" else answer_line(key)

    summary = worked(service, tmp_path).summary

    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        first, second = ledger.jobs_of(summary.run)
    assert second.bound is not None
    assert (first.possible, second.possible) == (second.bound, 0)
    assert (summary.unanswered, summary.possibly_paid.usd, summary.possibly_paid.unknown) == (1, second.bound / 1e9, 0)
    said = "possibly paid: 1 attempt that ended without an answer, at most $0.1"
    assert any(line.startswith(said) for line in summary_lines(summary, None))
    again, begun = map(_line, done(service, tmp_path, lambda session: list_jobs(session, Filter(), long=True)))
    assert "possibly paid: at most $0.1" in begun
    assert "possibly" not in again


def test_each_sending_has_one_estimate(service: FakeService, tmp_path: Path) -> None:
    """A first sending that ends before any job, the same again, and a retry; what goes on has none."""

    def after() -> list[int]:
        with Ledger(tmp_path / "home" / "ledger.db") as ledger:
            return [one.after for one in sendings(ledger, ledger.runs()[0])]

    service.answer = failed
    options = RunOptions(max_requests_per_job=1)
    service.death = (len(service.calls), "before")
    with pytest.raises(Killed):
        worked(service, tmp_path, options)
    assert after() == [0]
    service.faults = {("create", 1): ("before", Killed())}  # type: ignore[dict-item]
    with pytest.raises(Killed):
        worked(service, tmp_path, options)
    service.faults, service.death = {}, None
    found = worked(service, tmp_path, options)
    assert after() == [0]
    chosen = RetrySelection(verdicts=("failed",), overrides=RequestOverrides())
    done(service, tmp_path, lambda session: retry(session, found.summary.run, chosen))

    assert after() == [0, 4]


def test_the_event_loop_is_free_while_a_cost_is_estimated(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In `run`, `retry` and both kinds of `estimate`."""
    threads = []

    def seen(*args: Any, **named: Any) -> Any:
        threads.append(threading.current_thread())
        return foreseen(*args, **named)

    for module in ("cost_check", "estimate"):
        monkeypatch.setattr(f"gemini_batch.commands.{module}.foreseen", seen)
    service.answer = failed
    name = worked(service, tmp_path).summary.run
    ran = len(threads)
    chosen = RetrySelection(verdicts=("failed",), overrides=RequestOverrides())
    done(service, tmp_path, lambda session: retry(session, name, chosen))
    resent = len(threads)
    submission = Submission(source=tmp_path / "in.jsonl", model=MODEL)
    done(service, tmp_path, lambda session: estimate(session, name, RunOptions()))
    done(service, tmp_path, lambda session: estimate(session, submission, RunOptions()))

    assert 0 < ran < resent == len(threads) - 2
    assert threading.main_thread() not in threads


def test_an_estimate_replaces_the_one_before_it_if_no_job_followed(service: FakeService, tmp_path: Path) -> None:
    worked(service, tmp_path)
    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        (one,) = ledger.runs()
        newest = [Sending(7, 0.25, 0.5, 1.0), Sending(7, 0.25, None, None), Sending(9, None, 0.75, None)]
        for sending in newest:
            keep_sending(ledger, one, sending, at=1.0)

        assert sendings(ledger, one)[1:] == newest[1:]
