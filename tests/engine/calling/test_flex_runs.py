"""Runs whose requests are sent as calls, undisturbed and ended at every step: one answer for each key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from engine.clock import Clock
from engine.fake import FakeService, Killed, answer_line, reset, write_requests
from engine.steps import GOOD, KEYS, ONCE, begin, deadly, jobs_of, reasons, texts, work
from gemini_batch import GeminiBatch
from gemini_batch.engine.calling.journal import Journal
from gemini_batch.errors import ApiError, NotFinished, ServiceError
from gemini_batch.settings import Settings
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RunOptions, Selection

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.result_set import Results

AT_ONCE = 2


def flex(service: FakeService, folder: Path, **options: Any) -> Results:
    return work(service, folder, options=RunOptions(via="flex", concurrency=AT_ONCE, **options))


def made(folder: Path, **faults: Any) -> FakeService:
    folder.mkdir(exist_ok=True)
    write_requests(folder / "in.jsonl", KEYS)
    clock = Clock()
    clock.now = 1_795_000_000.0  # when prices were known
    return FakeService(clock, **faults)


def test_an_undisturbed_run(tmp_path: Path) -> None:
    service = made(tmp_path)
    found = flex(service, tmp_path)

    assert texts(found) == GOOD
    assert service.paid() == ONCE
    assert "create" not in service.calls
    (job,) = jobs_of(tmp_path)
    assert (job.via, job.stage, job.doubtful, job.requests) == ("flex", JobStage.COLLECTED, 0, len(KEYS))


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_call_of_the_service(tmp_path: Path, when: Literal["before", "after"]) -> None:
    """At most the calls in flight are paid for twice, and they are counted."""
    plain = made(tmp_path / "plain")
    flex(plain, tmp_path / "plain")
    for point in range(len(plain.calls)):
        folder = tmp_path / f"at{point}"
        service = made(folder, death=(point, when))
        with pytest.raises(Killed):
            flex(service, folder)
        service.death = None

        found = flex(service, folder)

        assert texts(found) == GOOD, point
        twice = sum(times - 1 for times in service.paid().values())
        doubtful = sum(job.doubtful for job in jobs_of(folder))
        assert twice <= doubtful <= AT_ONCE, point


@pytest.mark.parametrize(("owner", "method"), [(Ledger, "update_job"), (Ledger, "add_job"), (Journal, "write")])
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, when: str
) -> None:
    point = 0
    while True:
        folder = tmp_path / f"at{point}"
        service = made(folder)
        with monkeypatch.context() as patch:
            patch.setattr(owner, method, deadly(getattr(owner, method), point, when))
            try:
                flex(service, folder)
            except Killed:
                pass
            else:
                assert point > 0, "this write never happened: the test does not test it"
                return

        found = flex(service, folder)

        assert texts(found) == GOOD, point
        twice = sum(times - 1 for times in service.paid().values())
        assert twice <= sum(job.doubtful for job in jobs_of(folder)) <= AT_ONCE, point
        point += 1


def test_half_an_answer_on_disk_is_one_that_did_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ended while it wrote the line."""
    service = made(tmp_path)

    def torn(self: Journal, lines: Any, refused: Any, broken: Any, going: Any) -> None:
        if lines:
            self._answers.write(lines[0][: len(lines[0]) // 2])
            raise Killed
        real(self, lines, refused, broken, going)

    real = Journal.write
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", torn)
        with pytest.raises(Killed):
            flex(service, tmp_path)

    found = flex(service, tmp_path)

    assert texts(found) == GOOD
    assert found.summary.quarantined == {}
    assert sum(job.doubtful for job in jobs_of(tmp_path)) == AT_ONCE


def test_a_call_that_breaks_is_repeated_once(tmp_path: Path) -> None:
    service = made(tmp_path, faults={("call", 0): ("after", reset())})
    found = flex(service, tmp_path)

    assert texts(found) == GOOD
    assert [job.doubtful for job in jobs_of(tmp_path)][::-1] == [1, 0]
    assert sum(service.paid().values()) == len(KEYS) + 1


def test_a_call_that_breaks_twice_is_missing_and_not_sent_again(tmp_path: Path) -> None:
    service = made(tmp_path)
    calls: list[str] = []

    def breaks(key: str) -> bytes:
        calls.append(key)
        if key == KEYS[0]:
            raise reset()
        return answer_line(key)

    service.answer = breaks
    found = flex(service, tmp_path)
    flex(service, tmp_path)

    assert reasons(found) == {KEYS[0]: "NO_ANSWER"}
    assert calls.count(KEYS[0]) == 2


def test_an_error_that_passes_is_sent_again_in_another_job(tmp_path: Path) -> None:
    service = made(tmp_path)
    service.answer_at = lambda key, attempt: (
        b'{"error": {"message": "failed"}}' if key == KEYS[1] and attempt == 1 else answer_line(key)
    )
    found = flex(service, tmp_path)

    assert texts(found) == GOOD
    assert [(job.via, job.requests) for job in jobs_of(tmp_path)][::-1] == [("flex", 6), ("flex", 1)]


def test_a_refused_key_ends_the_run_and_keeps_the_answers(tmp_path: Path) -> None:
    refused = ApiError("API key not valid.", status=401, reason="UNAUTHENTICATED")
    service = made(tmp_path, faults={("call", 3): ("before", refused)})
    with pytest.raises(ApiError, match="API key"):
        flex(service, tmp_path)
    service.faults.clear()
    paid = service.paid()

    found = flex(service, tmp_path)

    assert 3 <= len(paid) < len(KEYS)
    assert texts(found) == GOOD
    assert service.paid() == ONCE


def test_a_job_that_is_stuck_is_cancelled_and_the_rest_is_sent_as_calls(tmp_path: Path) -> None:
    """What it answered is kept; nothing else of it is asked twice, however often the process dies."""
    service = made(tmp_path, polls_to_end=10**9)
    begin(service, tmp_path)
    (stuck,) = jobs_of(tmp_path)
    service.clock.pass_by(7200.0)
    service.cancelled_answers = 2

    run_id = stuck.run
    found = work(service, tmp_path, run_id, RunOptions(via="flex"), finish_after=3600.0)

    assert texts(found) == GOOD
    assert [call for call in service.calls if call in {"create", "cancel"}] == ["create", "cancel"]
    assert sorted(service.called) == sorted(KEYS[2:])


def test_what_the_service_serves_as_standard_stops_the_sending(tmp_path: Path) -> None:
    service = made(tmp_path, tier="standard")
    with pytest.raises(NotFinished) as caught:
        flex(service, tmp_path)

    assert caught.value.reason_code == "served_as_standard"
    assert len(service.called) <= AT_ONCE
    assert texts(flex(service, tmp_path, allow_standard=True)) == GOOD
    assert service.paid() == ONCE


def test_auto_sends_small_work_as_calls_and_the_rest_in_batches(tmp_path: Path) -> None:
    service = made(tmp_path)
    options = RunOptions(via="auto", flex_rows=4, max_requests_per_job=4)
    assert texts(work(service, tmp_path, options=options)) == GOOD
    assert sorted(len(job.keys) for job in service.jobs) == [4]
    assert len(service.called) == 2


def test_auto_sends_in_batches_what_calls_could_not(tmp_path: Path) -> None:
    daily = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "3"}]}
    full = ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED", retry_after=30_000.0, details=(daily,))
    service = made(tmp_path, faults={("call", number): ("before", full) for number in range(3, 99)})
    assert texts(work(service, tmp_path, options=RunOptions(via="auto", concurrency=1))) == GOOD
    assert len(service.called) == 3
    assert [len(job.keys) for job in service.jobs] == [3]
    assert service.paid() == ONCE


def test_a_quota_of_the_day_ends_a_run_of_calls(tmp_path: Path) -> None:
    daily = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "3"}]}
    full = ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED", details=(daily,))
    service = made(tmp_path, faults={("call", number): ("before", full) for number in range(3, 99)})
    with pytest.raises(ServiceError) as caught:
        flex(service, tmp_path)

    assert caught.value.reason_code == "calls_refused"
    assert texts(work(service, tmp_path, options=RunOptions(via="batch"))) == GOOD
    assert service.paid() == ONCE


def test_standard_calls_cost_what_interactive_ones_do(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    cheap = flex(made(tmp_path / "a"), tmp_path / "a").summary.usd
    (tmp_path / "b").mkdir()
    dear = flex(made(tmp_path / "b", tier="standard"), tmp_path / "b", allow_standard=True).summary.usd

    assert cheap.batch is not None
    assert dear.batch == dear.interactive == cheap.interactive
    assert dear.batch == pytest.approx(2 * cheap.batch)
    settled = [sum(job.settled or 0 for job in jobs_of(tmp_path / name)) for name in ("a", "b")]
    assert settled[1] == pytest.approx(2 * settled[0])


def test_a_limit_of_money_makes_jobs_of_calls_that_fit(tmp_path: Path) -> None:
    """The calls that may have been paid for twice count, too."""
    service = made(tmp_path, faults={("call", 1): ("after", reset())})
    with pytest.raises(NotFinished) as caught:
        flex(service, tmp_path, max_nano_usd=1_000_000)
    assert caught.value.reason_code == "budget_reached"
    flex(service, tmp_path, max_nano_usd=1_000_000_000)

    assert sum(service.paid().values()) == len(KEYS) + 1
    spent = [job.settled or 0 for job in jobs_of(tmp_path)]
    assert sum(spent) <= 1_000_000_000
    assert max(spent) > 90_000_000, "the most that a request may cost, for the call without an answer"
    assert [job.doubtful for job in jobs_of(tmp_path)].count(1) == 1


def test_how_a_trial_was_sent_does_not_decide_how_the_rest_is(tmp_path: Path) -> None:
    write_requests(tmp_path / "in.jsonl", KEYS)
    with GeminiBatch(Settings(home=tmp_path / "home"), offline=True) as batch:
        batch.run(tmp_path / "in.jsonl", limit=2, via="flex")
        batch.run(tmp_path / "in.jsonl", limit=2)
        found = batch.run(tmp_path / "in.jsonl")

    assert set(texts(found)) == set(KEYS)
    with Ledger(tmp_path / "home" / "offline" / "ledger.db") as ledger:
        jobs = [job for _, job in ledger.jobs()]
    assert {job.via: job.requests for job in jobs} == {"flex": 2, "batch": len(KEYS) - 2}


def test_an_interrupted_command_goes_on_in_its_own_way() -> None:
    begun = RunOptions(via="flex", deadline=5.0, selection=Selection(limit=20))

    assert RunOptions(attempts=2).over(begun).via == "flex"
    assert RunOptions(selection=Selection(limit=20)).over(begun).via == "flex"
    assert RunOptions(selection=Selection(), via="flex").over(begun).via == "flex"
    assert RunOptions(selection=Selection()).over(begun) == RunOptions(selection=Selection())
