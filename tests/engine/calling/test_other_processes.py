"""What another command finds of a run of calls: jobs that were only planned, answers that were damaged, a retry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.calling.test_flex_runs import flex, made
from engine.fake import Killed, answer_line
from engine.steps import GOOD, KEYS, ONCE, again, deadly, held, jobs_of, reasons, texts, work
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from engine.fake import FakeService
    from gemini_batch.store.ledger.run_options import Route


def planned(folder: Path, monkeypatch: pytest.MonkeyPatch, route: Route) -> FakeService:
    """A run whose process died when it had planned its first job."""
    service = made(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "update_job", deadly(Ledger.update_job, 0, "before"))
        with pytest.raises(Killed):
            work(service, folder, None, RunOptions(via=route))
    assert [(job.via, job.intended_at) for job in jobs_of(folder)] == [(route, None)]
    return service


@pytest.mark.parametrize(("first", "then"), [("flex", "batch"), ("batch", "flex")])
def test_a_planned_job_does_not_outlive_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: Route, then: Route
) -> None:
    service = planned(tmp_path, monkeypatch, first)
    assert texts(work(service, tmp_path, None, RunOptions(via=then))) == GOOD
    assert ("create" in service.calls, bool(service.called)) == (then == "batch", then == "flex")
    assert service.paid() == ONCE


def test_a_planned_job_reserves_the_price_that_is_allowed_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = planned(tmp_path, monkeypatch, "flex")
    service.tier = "standard"
    assert texts(flex(service, tmp_path, allow_standard=True)) == GOOD
    assert [job.standard for job in jobs_of(tmp_path) if job.dropped_at is None] == [True]


@pytest.mark.parametrize("how", ["deleted", "changed"])
def test_answers_of_calls_that_were_damaged_are_not_asked_of_the_service(tmp_path: Path, how: str) -> None:
    """It has none of them. They were paid for, so only `retry` sends their requests again."""
    service = made(tmp_path)
    flex(service, tmp_path)
    (job,) = jobs_of(tmp_path)
    raw = tmp_path / "home" / "runs" / job.run / "raw" / f"{job.id}.jsonl"
    if how == "deleted":
        raw.unlink()
    else:
        raw.write_bytes(raw.read_bytes()[:-10])
    asked = [*service.calls]

    assert set(reasons(held(service, tmp_path, job.run)).values()) == {"RESULTS_DAMAGED"}
    (tmp_path / "results.jsonl").unlink()  # it is not replaced by fewer results
    flex(service, tmp_path)
    assert service.calls == asked
    assert texts(again(service, tmp_path, job.run, "missing")) == GOOD


def test_a_retry_of_a_run_of_calls_goes_as_calls(tmp_path: Path) -> None:
    service = made(tmp_path)
    blocked = b'{"response": {"promptFeedback": {"blockReason": "SAFETY"}}}'
    service.answer_at = lambda key, attempt: blocked if key == KEYS[0] and attempt == 1 else answer_line(key)
    flex(service, tmp_path)
    (job,) = jobs_of(tmp_path)

    assert texts(again(service, tmp_path, job.run, "blocked")) == GOOD
    assert "create" not in service.calls
    assert service.called.count(KEYS[0]) == 2
