"""Between the processes that send a run's calls: what each command says of the run, and what it never does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.calling.test_flex_runs import flex, made
from engine.fake import FakeSession, Killed
from engine.steps import GOOD, KEYS, begin, deadly, jobs_of, sentences, texts, work
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.clean import clean
from gemini_batch.commands.finishing import check_ways, stop_stuck
from gemini_batch.commands.list_jobs import Filter, list_jobs
from gemini_batch.commands.show import RowSelection, show
from gemini_batch.commands.status import status
from gemini_batch.errors import ApiError, Next, ServiceError, UsageError
from gemini_batch.events import RunProgress
from gemini_batch.report.job_view import CALLING, JobStatus, RunState, RunStatus
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    from engine.fake import FakeService
    from gemini_batch.commands.shown_row import Place
    from gemini_batch.events import Event


def killed(folder: Path) -> FakeService:
    """A run whose process died at its fourth call, when some answers were recorded."""
    service = made(folder, death=(3, "before"))
    with pytest.raises(Killed):
        flex(service, folder)
    service.death = None
    return service


def test_a_run_whose_process_died_shows_its_answers_and_is_not_taken_for_unsent(tmp_path: Path) -> None:
    service = killed(tmp_path)
    (job,) = jobs_of(tmp_path)

    async def seen() -> tuple[Any, list[JobStatus], set[Place], list[str]]:
        async with FakeSession(service, tmp_path / "home") as session:
            found = await status(session, job.run)
            listed = await list_jobs(session, Filter())
            places = {row.place for row in await show(session, job.run, RowSelection())}
            cleaned = await clean(session, dry_run=False, not_created=True)
            return found, listed, places, cleaned.not_created

    run, listed, places, never_sent = asyncio.run(seen())

    assert isinstance(run, RunStatus)
    (one,) = run.jobs
    assert (run.state, one.state, one.total) == (RunState.UNFINISHED, CALLING, len(KEYS))
    assert 0 < one.done < len(KEYS)
    assert one.done + one.pending_count == one.total
    assert run.next is not None
    assert (run.next.command, run.next.args) == ("run", (job.run,))
    assert [(entry.state, entry.run, entry.done) for entry in listed] == [(CALLING, job.run, one.done)]
    assert not one.ended_badly
    assert places == {"calling"}
    assert never_sent == []
    assert texts(flex(service, tmp_path)) == GOOD


@pytest.mark.parametrize("answered", [0, 3])
@pytest.mark.parametrize("lost", [("calls",), ("raw",), ("calls", "raw")])
def test_calls_whose_records_were_deleted_are_in_doubt(tmp_path: Path, answered: int, lost: tuple[str, ...]) -> None:
    """Without the journal, all calls may have gone out; without the answers, none is known to have come."""
    service = made(tmp_path, death=(answered, "after"))
    with pytest.raises(Killed):
        flex(service, tmp_path)
    service.death = None
    (job,) = jobs_of(tmp_path)
    folder = tmp_path / "home" / "runs" / job.run
    for name in lost:
        for path in (folder / name).iterdir():
            path.unlink()

    assert texts(flex(service, tmp_path)) == GOOD
    twice = sum(times - 1 for times in service.paid().values())
    doubtful = sum(one.doubtful for one in jobs_of(tmp_path))
    if len(lost) == 1:
        assert doubtful >= twice
        assert doubtful > 0
    else:
        assert doubtful == 0


def test_calls_are_no_job_to_cancel(tmp_path: Path) -> None:
    service = killed(tmp_path)
    (job,) = jobs_of(tmp_path)

    async def asked() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            await cancel(session, job.run)

    with pytest.raises(UsageError, match="sent as calls, so it has no job to cancel"):
        asyncio.run(asked())
    assert texts(flex(service, tmp_path)) == GOOD


def test_status_does_not_ask_the_service_for_a_job_of_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls have ended, and the process died before it collected their answers."""
    service = made(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("gemini_batch.engine.collector.settle_calls", deadly(lambda *_: {}, 0, "before"))
        with pytest.raises(Killed):
            flex(service, tmp_path)
    (job,) = jobs_of(tmp_path)
    assert job.stage is JobStage.ENDED
    asked = list(service.calls)

    async def seen(name: str) -> Any:
        async with FakeSession(service, tmp_path / "home") as session:
            return await status(session, name)

    run = asyncio.run(seen(job.run))
    assert job.batch is not None
    alone = asyncio.run(seen(job.batch))

    assert run.state is RunState.UNFINISHED
    assert alone.succeeded
    assert service.calls == asked
    assert texts(flex(service, tmp_path)) == GOOD


def test_a_job_that_is_too_young_to_be_stuck_is_named(tmp_path: Path) -> None:
    service = made(tmp_path, polls_to_end=10**9)
    begin(service, tmp_path)
    (job,) = jobs_of(tmp_path)

    async def asked() -> str:
        async with FakeSession(service, tmp_path / "home") as session:
            run = session.ledger().run(job.run)
            assert run is not None
            await stop_stuck(session, run, 3600.0)
            return sentences(session.events)

    said = asyncio.run(asked())

    assert said == f"No job of {job.run} is 60 min old, so none is cancelled. --after sets another age."
    assert "cancel" not in service.calls


NOTHING: dict[str, Any] = dict.fromkeys(("via", "finish_via", "after", "flex_rows", "flex_tokens", "deadline"))
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an age of nothing": ({"after": 60.0}, "--after"),
    "two ways": ({"via": "batch", "finish_via": "flex"}, "--finish-via"),
    "small work of no choice": ({"via": "flex", "flex_rows": 5}, "--flex-rows"),
    "small prompts of no choice": ({"via": "batch", "flex_tokens": 5}, "--flex-tokens"),
    "a deadline of no choice": ({"finish_via": "flex", "deadline": 60.0}, "--deadline"),
    "a deadline in words": ({"via": "auto", "deadline": "soon"}, "--deadline"),
    "a deadline that is over": ({"via": "auto", "deadline": 0.0}, "--deadline"),
    "an age in words": ({"finish_via": "flex", "after": "6h"}, "--after"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_would_have_no_effect_are_refused(name: str) -> None:
    stated, field = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        check_ways(**{**NOTHING, **stated})
    assert caught.value.field == field


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"via": "auto", "deadline": 60.0, "flex_rows": 0, "flex_tokens": 9},
        {"finish_via": "flex", "via": "flex", "after": 1},
        {"deadline": 60.0},  # with the way that the run has kept
    ],
)
def test_options_that_have_an_effect_pass(stated: dict[str, Any]) -> None:
    check_ways(**{**NOTHING, **stated})


@pytest.mark.parametrize(
    ("option", "value"), [("via", "flx"), ("concurrency", 0), ("concurrency", 1001), ("flex_rows", -1), ("tier", "1")]
)
def test_a_wrong_value_of_an_option_is_named(option: str, value: object) -> None:
    with pytest.raises(UsageError, match=option) as caught:
        RunOptions.of(**{option: value})
    assert caught.value.field == option


EMBEDDING = b'{"key":"a","request":{"content":{"parts":[{"text":"hello"}]}}}\n'


def test_calls_without_a_tier_are_refused_before_a_run_is_entered(tmp_path: Path) -> None:
    service = made(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(EMBEDDING)
    heard: list[Event] = []
    with pytest.raises(UsageError) as caught:
        work(service, tmp_path, None, RunOptions(via="flex"), heard=heard, model="gemini-embedding-001")

    assert caught.value.reason_code == "no_flex"
    assert "Started" not in sentences(heard)
    assert not list((tmp_path / "home").glob("**/rows.db"))


def test_a_request_that_is_too_large_for_a_call_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemini_batch.engine.calling.flex_jobs.too_large", lambda size: size > 1000)
    service = made(tmp_path)
    asked = {"contents": [{"parts": [{"text": "ask k0"}]}, {"parts": [{"text": "x" * 1000}]}]}
    with (tmp_path / "in.jsonl").open("ab") as file:
        file.write(msgspec.json.encode({"key": "large", "request": asked}) + b"\n")
    with pytest.raises(UsageError) as caught:
        flex(service, tmp_path)

    assert caught.value.reason_code == "too_large_for_call"
    assert isinstance(caught.value.next, Next)
    assert caught.value.next.args[1:] == ("--via", "batch", "-o", str(tmp_path / "results.jsonl"))
    assert service.called == []
    work(service, tmp_path, None, RunOptions(via="flex"), limit=2)
    assert service.called == KEYS[:2], "the trial leaves the large one out"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (6, "Sending 6 requests as calls (flex), because they are at most 6, with at most 1,000,000 tokens."),
        (4, "Sending 6 requests in batches, because they are more than 4."),
    ],
)
def test_auto_says_once_which_way_it_chose_and_why(tmp_path: Path, rows: int, said: str) -> None:
    heard: list[Event] = []
    work(made(tmp_path), tmp_path, None, RunOptions(via="auto", flex_rows=rows), heard=heard)

    assert sentences(heard).count("Sending ") == 1
    assert said in sentences(heard)


def test_what_stops_calls_is_said_once_and_the_next_command_writes_the_same_file(tmp_path: Path) -> None:
    daily = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel", "quotaValue": "3"}]}
    full = ApiError("no more today", status=429, reason="RESOURCE_EXHAUSTED", details=(daily,))
    service = made(tmp_path, faults={("call", number): ("before", full) for number in range(3, 99)})
    heard: list[Event] = []
    with pytest.raises(ServiceError) as caught:
        work(service, tmp_path, None, RunOptions(via="flex", concurrency=1), heard=heard)

    assert "no more today" not in sentences(heard)
    assert isinstance(caught.value.next, Next)
    assert caught.value.next.args[1:] == ("--via", "batch", "-o", str(tmp_path / "results.jsonl"))


def test_a_job_of_which_no_call_was_answered_did_not_succeed(tmp_path: Path) -> None:
    service = made(tmp_path, death=(0, "before"))
    with pytest.raises(Killed):
        work(service, tmp_path, None, RunOptions(via="flex", concurrency=1))
    service.death = None
    flex(service, tmp_path)

    good, bad = sorted(jobs_of(tmp_path), key=lambda job: job.doubtful)
    assert (good.state, good.requests) == ("JOB_STATE_SUCCEEDED", len(KEYS))
    assert (bad.state, bad.requests, bad.doubtful > 0) == ("JOB_STATE_FAILED", 0, True)
    assert bad.error_message == "None of its calls was answered."


def test_results_are_shown_by_their_run_and_verdicts(tmp_path: Path) -> None:
    found = flex(made(tmp_path), tmp_path)
    assert repr(found) == f"<Results of {jobs_of(tmp_path)[0].run}: 6 succeeded>"


def test_progress_counts_the_answers_and_says_why_calls_wait(tmp_path: Path) -> None:
    """Also how many calls were refused, and how long it takes."""
    full = ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED", retry_after=40.0)
    service = made(tmp_path, faults={("call", 3): ("before", full)})
    heard: list[Event] = []
    work(service, tmp_path, None, RunOptions(via="flex", concurrency=1), heard=heard)

    told = [event for event in heard if isinstance(event, RunProgress)]
    (pause, *_), after = [one for one in told if one.goes_on_in is not None], told[-1]
    assert (pause.done, pause.alive, pause.refused) == (3, 1, 1)
    assert pause.why == "the quota of a minute is used up"
    assert pause.goes_on_in == pytest.approx(40.0, abs=1.0)
    assert (after.goes_on_in, after.refused) == (None, 1)
