"""Spending after a cancel needs the user's word, and attempts are made with pauses."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from engine.fake import FakeService, FakeSession, Killed, answer_line
from engine.steps import GOOD, KEYS, ONCE, again, begin, held, jobs_of, reasons, sentences, texts, work
from gemini_batch.commands.status import status
from gemini_batch.engine.resend import PAUSES, QUOTA_PAUSES, pause_before
from gemini_batch.errors import ApiError, NotFinished, UsageError
from gemini_batch.settings import Settings
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.rows.row_records import Leftover

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.clock import Clock
    from gemini_batch.events import Event
    from gemini_batch.report.job_view import RunStatus


def error(key: str, code: int, **more: Any) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": "why", **more}, "key": key})


def seen(service: FakeService, folder: Path, run: str) -> RunStatus:
    return cast("RunStatus", asyncio.run(status(FakeSession(service, folder / "home"), run)))


# A cancel by someone else --------------------------------------------------------------------------------------------


def cancelled_rows(service: FakeService) -> None:
    """The service says of two requests of the first job that they were cancelled."""
    service.answer_at = lambda key, attempt: error(key, 1) if key == "k1" and attempt == 1 else answer_line(key)


def cancelled_job(service: FakeService) -> None:
    """The first job ends as CANCELLED without an answer."""
    service.ends = {0: ("BATCH_STATE_CANCELLED", None)}


def test_a_retry_in_doubt_is_not_taken_for_a_cancel(service: FakeService, tmp_path: Path) -> None:
    """Its row has the answer of the job that someone else cancelled; what became of the retry, ``run`` finds out."""
    codes = {1: 1, 2: 14}  # cancelled, then unavailable
    service.answer_at = lambda key, attempt: (
        error(key, codes[attempt]) if key == "k1" and attempt in codes else answer_line(key)
    )
    with pytest.raises(NotFinished) as caught:
        work(service, tmp_path)
    run = caught.value.job or ""
    service.faults["create", service.calls.count("create")] = ("after", Killed())  # type: ignore[assignment]
    with pytest.raises(Killed):
        again(service, tmp_path, run, "failed,missing")
    service.faults.clear()

    with pytest.raises(UsageError) as refused:
        again(service, tmp_path, run, "failed,missing")
    found = work(service, tmp_path, run, None)

    assert refused.value.reason_code == "not_finished"
    assert texts(found) == GOOD


@pytest.mark.parametrize("cancel", [cancelled_rows, cancelled_job])
def test_what_someone_else_cancelled_stops_the_run(
    service: FakeService, tmp_path: Path, cancel: Callable[[FakeService], None]
) -> None:
    """Nothing more is sent, by no plain command, until the user asks for it with retry."""
    cancel(service)
    full = ApiError("You exceeded your current quota.", status=429, reason="RESOURCE_EXHAUSTED")
    service.faults.update({("create", number): ("before", full) for number in range(1, 100)})  # the others wait
    heard: list[Event] = []

    with pytest.raises(NotFinished, match="Someone else cancelled batches/job0") as caught:
        work(service, tmp_path, heard=heard)

    assert caught.value.reason_code == "cancelled_elsewhere"
    run = caught.value.job
    step = caught.value.next
    assert step is not None
    assert str(step).startswith(f"gemini-batch retry {run} --only failed,missing")
    assert "costs money" in str(step)
    sent = service.paid()
    for _ in range(2):
        with pytest.raises(NotFinished, match="Someone else cancelled"):
            work(service, tmp_path, run, None)
        assert service.paid() == sent
        if len(sent) < len(KEYS):  # jobs that end meanwhile make room; if all was sent, the results come first
            following = seen(service, tmp_path, run).next
            assert str(following) == str(step).replace(f"{tmp_path}/", "")

    service.faults.clear()
    found = again(service, tmp_path, run, "failed,missing")

    assert texts(found) == GOOD
    lost = {key for key in sent if service.paid()[key] == 2}
    assert lost == ({"k1"} if cancel is cancelled_rows else set(service.jobs[0].keys))
    assert {key: service.paid()[key] for key in KEYS if key not in lost} == {k: 1 for k in KEYS if k not in lost}


def test_a_run_of_which_everything_was_sent_asks_too(service: FakeService, tmp_path: Path) -> None:
    cancelled_job(service)
    for _ in range(2):
        with pytest.raises(NotFinished, match="Someone else cancelled"):
            work(service, tmp_path, options=RunOptions())
    assert service.paid() == ONCE


def test_a_create_in_doubt_does_not_stand_in_the_way(service: FakeService, tmp_path: Path) -> None:
    """The run stopped while a create had no answer: retry finds out what became of it, and pays for nothing twice."""
    cancelled_job(service)
    service.polls_to_end = 10**9
    service.faults = {("create", 1): ("after", Killed())}  # type: ignore[dict-item]
    with pytest.raises(Killed):
        work(service, tmp_path)
    service.polls_to_end = 0
    (run,) = {job.run for job in jobs_of(tmp_path)}
    with pytest.raises(NotFinished):
        held(service, tmp_path, service.jobs[0].name)
    with pytest.raises(NotFinished, match="Someone else cancelled"):
        work(service, tmp_path, run, None)
    assert JobStage.INTENDED in {job.stage for job in jobs_of(tmp_path)}

    found = again(service, tmp_path, run, "failed,missing")

    assert texts(found) == GOOD
    assert {key: count for key, count in service.paid().items() if count != 1} == {"k0": 2, "k1": 2}


def test_an_expired_job_cancels_its_own_requests(service: FakeService, tmp_path: Path) -> None:
    """That is no one's decision, so they are resent once, as those of any expired job."""
    service.ends = {0: ("BATCH_STATE_EXPIRED", None)}
    found = work(service, tmp_path)
    assert texts(found) == GOOD
    assert sorted(service.paid().values()) == [1, 1, 1, 1, 2, 2]


def test_a_cancel_that_came_too_late_is_not_paid_for_again(service: FakeService, tmp_path: Path) -> None:
    """A job that was collected as cancelled has finished since: its answers are collected instead of being paid for."""
    cancelled_job(service)
    with pytest.raises(NotFinished) as caught:
        work(service, tmp_path, options=RunOptions())
    (job,) = service.jobs
    job.state, job.lines = "BATCH_STATE_SUCCEEDED", [answer_line(key) for key in job.keys]
    service.counts_at_end = lambda _: (len(KEYS), 0)

    with pytest.raises(UsageError) as nothing:
        again(service, tmp_path, caught.value.job, "missing")

    assert nothing.value.reason_code == "nothing_to_retry"
    assert service.paid() == ONCE
    assert texts(work(service, tmp_path, caught.value.job, None)) == GOOD


# Pauses --------------------------------------------------------------------------------------------------------------

ONLINE = Settings(home=Path("unused"))


@pytest.mark.parametrize(
    ("left", "asked", "changes", "pause"),
    [
        (Leftover(1, 1, 0), 0.0, {}, PAUSES[0]),
        (Leftover(1, 2, 0), 0.0, {}, PAUSES[1]),
        (Leftover(1, 9, 0), 0.0, {}, PAUSES[-1]),
        (Leftover(5, 1, 5), 0.0, {}, QUOTA_PAUSES[0]),
        (Leftover(5, 2, 1), 0.0, {}, QUOTA_PAUSES[1]),
        (Leftover(5, 1, 5), 1800.0, {}, 1800.0),
        (Leftover(5, 1, 5), 3.0, {}, QUOTA_PAUSES[0]),
        (Leftover(5, 1, 5), 1e9, {}, 6 * 3600.0),
        (Leftover(5, 1, 0), 0.0, {"poll": 0.5}, 0.5),
        (Leftover(5, 1, 5), 0.0, {"poll": 0.5}, QUOTA_PAUSES[0]),
        (Leftover(5, 1, 5), 0.0, {"offline": True}, 0.0),
    ],
)
def test_the_pause_before_an_attempt(left: Leftover, asked: float, changes: dict[str, Any], pause: float) -> None:
    assert pause_before(left, asked, dataclasses.replace(ONLINE, **changes)) == pause


def times(clock: Clock, service: FakeService) -> list[float]:
    """The times of all creates, from the first."""
    first = service.jobs[0].created
    return [job.created - first for job in service.jobs]


@pytest.mark.parametrize(
    ("details", "least"),
    [
        ([], QUOTA_PAUSES[0]),
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1800s"}], 1800.0),
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": 7}, {}], QUOTA_PAUSES[0]),
    ],
)
def test_rows_that_met_a_full_quota_are_resent_after_minutes(
    service: FakeService, tmp_path: Path, details: list[dict[str, Any]], least: float
) -> None:
    """As long as the service asks, and it is said."""
    service.answer_at = lambda key, attempt: error(key, 8, details=details) if attempt < 3 else answer_line(key)
    heard: list[Event] = []

    found = work(service, tmp_path, options=RunOptions(), heard=heard)

    assert texts(found) == GOOD
    first, second, third = times(service.clock, service)
    assert second - first >= least
    assert third - second >= max(least, QUOTA_PAUSES[1])
    assert "met a full quota; resending in " in sentences(heard)


def test_a_killed_process_leaves_the_rest_of_the_pause(service: FakeService, tmp_path: Path) -> None:
    """The next process does not resend at once what another one was to resend in minutes; nor later than that."""
    service.answer_at = lambda key, attempt: error(key, 8) if attempt == 1 else answer_line(key)
    with pytest.raises(NotFinished, match=r"has not finished after .*: 0 of 6 requests are done"):
        work(service, tmp_path, options=RunOptions(), timeout=100.0)
    assert len(service.jobs) == 1
    ended = service.clock.now

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD

    waited = service.jobs[1].created - ended
    assert 100 < waited < QUOTA_PAUSES[0]


# Refused as too large ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["start_upload", "create"])
def test_a_job_that_is_too_large_is_cut(service: FakeService, tmp_path: Path, operation: str) -> None:
    """The service may have a lower limit than the documented one; a 413 says so."""
    too_large = ApiError("Request payload size exceeds the limit.", status=413)
    service.faults = {(operation, 0): ("before", too_large)}

    found = work(service, tmp_path, options=RunOptions())

    assert texts(found) == GOOD
    assert service.paid() == ONCE
    assert sum(len(job.keys) for job in service.jobs) == len(KEYS)
    assert max(len(job.keys) for job in service.jobs) <= len(KEYS) // 2


def test_a_single_request_that_is_too_large_is_refused(service: FakeService, tmp_path: Path) -> None:
    too_large = ApiError("Request payload size exceeds the limit.", status=413)
    service.faults = {("start_upload", n): ("before", too_large) for n in range(20)}

    with pytest.raises(ApiError):
        work(service, tmp_path, options=RunOptions())

    assert service.jobs == []
    assert service.calls.count("start_upload") <= 5


# Output with fewer answers than the service counts -------------------------------------------------------------------


@pytest.fixture
def cut(service: FakeService) -> FakeService:
    """The output of each job lacks its last answer, and the service counts it."""
    service.arrange = lambda lines: lines[:-1]
    service.counts_at_end = lambda job: (len(job.keys), 0)
    return service


def whole(service: FakeService) -> None:
    """From now on, all answers are there."""
    for job in service.jobs:
        job.lines = [answer_line(key) for key in job.keys]


@pytest.mark.parametrize("inline", [False, True])
def test_results_of_an_incomplete_output_ask_again(cut: FakeService, tmp_path: Path, inline: bool) -> None:
    """6, nothing written, nothing paid for again; then everything."""
    made = begin(cut, tmp_path, inline=inline)
    cut.polls_to_end = 0
    for _ in range(2):
        with pytest.raises(NotFinished, match="the service counts 6 answers and gives 5") as caught:
            held(cut, tmp_path, made.job)
        assert caught.value.reason_code == "output_incomplete"
    with pytest.raises(NotFinished):
        held(cut, tmp_path, made.job, job_only=True)

    whole(cut)

    found = held(cut, tmp_path, made.job)
    assert texts(found) == GOOD
    assert cut.paid() == ONCE
    assert not list((Path(found.summary.folder) / "raw").glob("*.incomplete"))


def test_a_run_waits_for_the_rest_and_then_ends(cut: FakeService, tmp_path: Path) -> None:
    """A day; then 6, with the way to go on without. Nothing of it is resent by itself, by this call or the next."""
    with pytest.raises(NotFinished) as caught:
        work(cut, tmp_path)

    assert caught.value.reason_code == "output_incomplete"
    assert 86_400 <= cut.clock.monotonic < 2 * 86_400
    (run,) = {job.run for job in jobs_of(tmp_path)}
    assert str(caught.value.next).startswith(f"gemini-batch results {run} --accept-incomplete")
    with pytest.raises(NotFinished):
        work(cut, tmp_path, run, None)
    assert cut.paid() == ONCE

    found = held(cut, tmp_path, run, accept_incomplete=True)

    assert reasons(found) == dict.fromkeys(["k1", "k3", "k5"], "OUTPUT_INCOMPLETE")
    assert found.summary.exit_code == 1
    assert work(cut, tmp_path, run, None).summary == found.summary
    assert cut.paid() == ONCE
    assert str(found.summary.next).startswith(f"gemini-batch retry {run} --only missing")
    cut.arrange = lambda lines: lines
    assert texts(again(cut, tmp_path, run, "missing")) == GOOD


def test_a_run_goes_on_as_soon_as_the_rest_is_there(cut: FakeService, tmp_path: Path) -> None:
    cut.after(3600.0, lambda: whole(cut))

    assert texts(work(cut, tmp_path)) == GOOD
    assert cut.paid() == ONCE


def test_what_was_fetched_counts_when_the_output_is_gone(cut: FakeService, tmp_path: Path) -> None:
    """The service deletes it before the rest came: only the other requests are missing, and stay so."""

    def gone() -> None:
        for job in cut.jobs:
            job.output_deleted = True

    cut.after(7200.0, gone)

    found = work(cut, tmp_path)

    assert reasons(found) == dict.fromkeys(["k1", "k3", "k5"], "OUTPUT_INCOMPLETE")
    assert {key: text for key, text in texts(found).items() if text} == {k: GOOD[k] for k in ("k0", "k2", "k4")}
    assert work(cut, tmp_path, found.summary.run, None).summary == found.summary
    assert cut.paid() == ONCE


def test_the_longest_of_several_incomplete_outputs_is_kept(cut: FakeService, tmp_path: Path) -> None:
    """A later answer of the service can be shorter than an earlier one."""
    made = begin(cut, tmp_path)
    cut.polls_to_end = 0
    with pytest.raises(NotFinished):
        held(cut, tmp_path, made.job)
    cut.jobs[0].lines = cut.jobs[0].lines[:2]
    with pytest.raises(NotFinished):
        held(cut, tmp_path, made.job)

    found = held(cut, tmp_path, made.job, accept_incomplete=True)

    assert reasons(found) == {"k5": "OUTPUT_INCOMPLETE"}


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("other", [answer_line("k0"), answer_line("nobody"), b"[1]"], ids=["twice", "foreign", "junk"])
def test_what_makes_up_for_no_answer(service: FakeService, tmp_path: Path, other: bytes, inline: bool) -> None:
    """As many lines as the service counts answers, and one of them answers no further request."""
    if inline and other == b"[1]":
        other = answer_line("k0")  # an inline answer is an object
    service.arrange = lambda lines: [*lines[:-1], other]
    service.counts_at_end = lambda job: (len(job.keys), 0)
    made = begin(service, tmp_path, inline=inline)
    service.polls_to_end = 0

    with pytest.raises(NotFinished, match="the service counts 6 answers and gives 5"):
        held(service, tmp_path, made.job)

    whole(service)
    assert texts(held(service, tmp_path, made.job)) == GOOD
    assert service.paid() == ONCE


def test_a_file_joined_from_two_states_is_fetched_again(service: FakeService, tmp_path: Path) -> None:
    """A continued download, while the service replaced the file by one in another order: half a line is in the join.

    Its size is stated and nothing is counted, so only the line that cannot be read shows it.
    """
    made = begin(service, tmp_path)
    service.polls_to_end = 0
    service.arrange = lambda lines: [lines[0][:20] + lines[0], *lines[1:]]
    real = service.download

    async def sized(name: str, part: Path, *, progress: Any) -> int:
        if service.calls.count("download") == 1:
            whole(service)
        size = await real(name, part, progress=progress)
        progress(size, size)
        return size

    service.download = sized  # type: ignore[method-assign]

    assert texts(held(service, tmp_path, made.job)) == GOOD
    assert service.calls.count("download") == 2


def test_an_incomplete_output_comes_before_a_cancel(service: FakeService, tmp_path: Path) -> None:
    """What someone else cancelled can be resent only once every job is collected: the advice must not go in circles."""
    service.ends = {2: ("BATCH_STATE_CANCELLED", None)}
    service.arrange = lambda lines: lines[:-1]
    service.counts_at_end = lambda job: (len(job.keys) if job.state == "BATCH_STATE_SUCCEEDED" else 0, 0)

    with pytest.raises(NotFinished) as caught:
        work(service, tmp_path)

    assert caught.value.reason_code == "output_incomplete"
    (run,) = {job.run for job in jobs_of(tmp_path)}
    assert str(caught.value.next).startswith(f"gemini-batch results {run} --accept-incomplete")
    held(service, tmp_path, run, accept_incomplete=True)
    with pytest.raises(NotFinished) as caught:
        work(service, tmp_path, run, None)
    assert caught.value.reason_code == "cancelled_elsewhere"
    service.arrange = lambda lines: lines
    assert texts(again(service, tmp_path, run, "failed,missing")) == GOOD


@pytest.mark.parametrize("counted", [0, 5, 6])
def test_only_what_the_service_counts_as_unanswered_is_resent(
    service: FakeService, tmp_path: Path, counted: int
) -> None:
    """A line that cannot be used was paid for if the service counts an answer; without counts, it is resent once."""
    service.answer_at = lambda key, attempt: b'{"response": {}}' if key == "k2" and attempt == 1 else answer_line(key)
    service.counts_at_end = lambda job: (min(counted, len(job.keys)), 0)

    found = work(service, tmp_path, options=RunOptions())

    assert service.paid()["k2"] == (1 if counted == 6 else 2)
    assert reasons(found) == ({"k2": "NO_LINE"} if counted == 6 else {})
