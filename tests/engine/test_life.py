"""The life of one job, undisturbed and disturbed at every step: one job paid, every key answered, nothing mixed up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, reset, write_requests
from engine.steps import deadly
from gemini_batch.commands.create import Created, create
from gemini_batch.commands.results import results
from gemini_batch.commands.status import status
from gemini_batch.errors import ApiError, NetworkError, NotFinished, ServiceError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.report.job_view import JobStatus, RunStatus
    from gemini_batch.report.result_set import Results

KEYS = ["a", "b", "c", "d"]


def make(service: FakeService, tmp_path: Path, **order: Any) -> Created:
    async def work() -> Created:
        async with FakeSession(service, tmp_path / "home") as session:
            return await create(session, Submission(source=tmp_path / "in.jsonl", **order))

    return asyncio.run(work())


def wait(service: FakeService, tmp_path: Path, name: str) -> JobStatus | RunStatus:
    async def work() -> JobStatus | RunStatus:
        async with FakeSession(service, tmp_path / "home") as session:
            return await status(session, name, wait=True)

    return asyncio.run(work())


def fetch(service: FakeService, tmp_path: Path, name: str) -> Results:
    async def work() -> Results:
        async with FakeSession(service, tmp_path / "home") as session:
            return await results(session, name)

    return asyncio.run(work())


def whole_life(service: FakeService, tmp_path: Path, **order: Any) -> Results:
    made = make(service, tmp_path, **order)
    seen = wait(service, tmp_path, made.job)
    assert not seen.alive
    return fetch(service, tmp_path, made.job)


def texts(found: Results) -> dict[str, str]:
    return {row["key"]: row["response"]["text"] for row in found}


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock())


@pytest.mark.parametrize("inline", [False, True])
def test_an_undisturbed_life(service: FakeService, tmp_path: Path, inline: bool) -> None:
    """Create, wait, fetch: every key has its own answer, in input order."""
    found = whole_life(service, tmp_path, inline=inline, name="my name")

    assert {key: f"answer to {key}" for key in KEYS} == texts(found)
    assert [row["key"] for row in found] == KEYS
    assert service.paid() == dict.fromkeys(KEYS, 1)
    assert service.jobs[0].display_name == "my name"
    assert found.summary.all_succeeded


def calls_of_a_life(tmp_path: Path, *, inline: bool) -> int:
    write_requests(tmp_path / "in.jsonl", KEYS)
    service = FakeService(Clock())
    whole_life(service, tmp_path, inline=inline)
    return len(service.calls)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_call_of_the_service(tmp_path: Path, inline: bool, when: Literal["before", "after"]) -> None:
    """Killed at any call, before or after the service did its part, and run again: one job, all answers."""
    (tmp_path / "plain").mkdir()
    number = calls_of_a_life(tmp_path / "plain", inline=inline)
    assert number >= (4 if inline else 10)
    for point in range(number):
        folder = tmp_path / f"at{point}"
        folder.mkdir()
        write_requests(folder / "in.jsonl", KEYS)
        service = FakeService(Clock(), death=(point, when))
        with pytest.raises(Killed):
            whole_life(service, folder, inline=inline)
        service.death = None

        found = whole_life(service, folder, inline=inline)

        assert service.paid() == dict.fromkeys(KEYS, 1), point
        assert {key: f"answer to {key}" for key in KEYS} == texts(found), point


@pytest.mark.parametrize("method", ["add_run", "update_job", "uploaded", "seen"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_write_of_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, when: str
) -> None:
    """Killed before or after any ledger write, and run again: one job, all answers."""
    point = 0
    while True:
        folder = tmp_path / f"at{point}"
        folder.mkdir()
        write_requests(folder / "in.jsonl", KEYS)
        service = FakeService(Clock())

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, method, deadly(getattr(Ledger, method), point, when))
            try:
                whole_life(service, folder)
            except Killed:
                pass
            else:
                assert point > 0, "this write never happened: the test does not test it"
                return

        found = whole_life(service, folder)

        assert service.paid() == dict.fromkeys(KEYS, 1), point
        assert {key: f"answer to {key}" for key in KEYS} == texts(found), point
        point += 1


AMBIGUOUS = [
    reset(),
    ApiError("timeout", status=504, reason="DEADLINE_EXCEEDED"),
    ApiError("gateway", status=502),
    ApiError("quota?", status=429, reason="RESOURCE_EXHAUSTED"),
    ServiceError("unreadable", code="unreadable_answer"),
]


@pytest.mark.parametrize("error", AMBIGUOUS, ids=repr)
@pytest.mark.parametrize("inline", [False, True])
def test_a_create_that_happened_without_an_answer_is_adopted(
    service: FakeService, tmp_path: Path, error: Exception, inline: bool
) -> None:
    """C8a-c: the job exists, the answer was lost: it is found in the list, and no second one is made."""
    service.faults["create", 0] = ("after", error)

    found = whole_life(service, tmp_path, inline=inline)

    assert service.paid() == dict.fromkeys(KEYS, 1)
    assert found.summary.all_succeeded


@pytest.mark.parametrize("hides", [2, 3])
def test_the_next_process_gives_a_list_that_lags_behind_its_time(
    service: FakeService, tmp_path: Path, hides: int
) -> None:
    """It did not send the create itself, so only the time of the intent says how long to look."""
    service.faults["create", 0] = ("after", Killed())  # type: ignore[assignment]
    with pytest.raises(Killed):
        make(service, tmp_path)
    service.list_hides = hides

    make(service, tmp_path)

    assert len(service.jobs) == 1


@pytest.mark.parametrize("hides", [1, 2, 3])
def test_a_list_that_lags_behind_is_read_until_the_time_is_up(service: FakeService, tmp_path: Path, hides: int) -> None:
    """P3: the new job is missing from the first looks at the list."""
    service.faults["create", 0] = ("after", reset())
    service.list_hides = hides

    make(service, tmp_path)

    assert len(service.jobs) == 1


@pytest.mark.parametrize("error", [reset(), ApiError("overloaded", status=503)], ids=repr)
def test_a_create_that_did_not_happen_is_resent_only_after_looking(
    service: FakeService, tmp_path: Path, error: Exception
) -> None:
    """C8d: at least 30 seconds and two whole passes over the list lie between two sends."""
    service.faults["create", 0] = ("before", error)
    began = service.clock.now

    make(service, tmp_path)

    assert service.paid() == dict.fromkeys(KEYS, 1)
    first, second = (n for n, call in enumerate(service.calls) if call == "create")
    assert service.calls[first:second].count("list") >= 2
    assert service.clock.now - began >= 30.0


def test_a_create_that_is_never_answered_ends_with_words(service: FakeService, tmp_path: Path) -> None:
    """After three sends that made nothing the command gives up; the next one begins by looking again."""
    for n in range(3):
        service.faults["create", n] = ("before", reset())

    with pytest.raises(ServiceError, match="3 create calls got no usable answer") as caught:
        make(service, tmp_path)

    assert caught.value.exit_code == 4
    assert not service.jobs
    made = make(service, tmp_path)
    assert made.job == "batches/job0"
    assert service.calls.count("start_upload") == 1, "what was uploaded is not uploaded again"


def test_a_quota_refusal_is_said_and_the_upload_kept(service: FakeService, tmp_path: Path) -> None:
    """C1: a 429 is looked after like any doubt, then reported once; the command can be repeated."""
    service.faults["create", 0] = ("before", ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED"))

    with pytest.raises(ApiError) as caught:
        make(service, tmp_path)

    assert (caught.value.reason_code, service.calls.count("create")) == ("over_quota", 1)
    make(service, tmp_path)
    assert service.calls.count("start_upload") == 1
    assert service.paid() == dict.fromkeys(KEYS, 1)


REFUSED = [
    ApiError("bad line", status=400, reason="INVALID_ARGUMENT"),
    ApiError("no such model", status=404, reason="NOT_FOUND"),
    ApiError("billing", status=403, reason="PERMISSION_DENIED"),
    NetworkError("refused", sent=False),
]


@pytest.mark.parametrize("error", REFUSED, ids=repr)
def test_a_create_that_was_certainly_refused_is_reported_at_once(
    service: FakeService, tmp_path: Path, error: Exception
) -> None:
    """No looking, no waiting: nothing can have happened; and the next command may resend."""
    service.faults["create", 0] = ("before", error)

    with pytest.raises(ServiceError):
        make(service, tmp_path)

    assert "list" not in service.calls
    assert not service.clock.waits
    assert make(service, tmp_path).job == "batches/job0"


def test_the_same_command_again_attaches(service: FakeService, tmp_path: Path) -> None:
    """While the job lives, after it has ended, and after its results are held: the same job, nothing sent."""
    first = make(service, tmp_path, name="one")
    for _ in range(2):
        again = make(service, tmp_path, name="another name")
        assert (again.job, again.attached) == (first.job, True)
    wait(service, tmp_path, first.job)
    assert make(service, tmp_path).attached
    fetch(service, tmp_path, first.job)
    assert make(service, tmp_path).job == first.job

    assert service.paid() == dict.fromkeys(KEYS, 1)


def test_new_makes_another_job(service: FakeService, tmp_path: Path) -> None:
    """Only the explicit word pays again."""
    first, second = make(service, tmp_path), make(service, tmp_path, new=True)

    assert first.job != second.job
    assert make(service, tmp_path).job == second.job, "the newest of the same requests is attached to"


@pytest.mark.parametrize("changed", ["requests", "model"])
def test_other_requests_or_another_model_are_another_run(service: FakeService, tmp_path: Path, changed: str) -> None:
    """The identity: requests, method, model and backend."""
    first = make(service, tmp_path)
    if changed == "requests":
        write_requests(tmp_path / "in.jsonl", [*KEYS, "e"])
    second = make(service, tmp_path, **({"model": "gemini-3.8-flash"} if changed == "model" else {}))

    assert (first.run, first.job) != (second.run, second.job)


def test_another_key_is_not_another_run(service: FakeService, tmp_path: Path) -> None:
    """A rotated key of the same project sees the job, and sends nothing."""
    first = make(service, tmp_path)

    async def work() -> Created:
        async with FakeSession(service, tmp_path / "home", key="another-key") as session:
            return await create(session, Submission(source=tmp_path / "in.jsonl"))

    second = asyncio.run(work())

    assert (second.job, second.attached, len(service.jobs)) == (first.job, True, 1)


@pytest.mark.parametrize("state", ["BATCH_STATE_FAILED", "BATCH_STATE_EXPIRED", "BATCH_STATE_CANCELLED"])
def test_a_job_that_left_nothing_does_not_hold_its_requests(service: FakeService, tmp_path: Path, state: str) -> None:
    """Create after a failed job makes another one: the user asked for it, and there is nothing to attach to."""
    service.end_state, service.polls_to_end = state, 0
    first = make(service, tmp_path)
    seen = wait(service, tmp_path, first.job)
    found = fetch(service, tmp_path, first.job)
    assert seen.ended_badly
    assert found.summary.exit_code == 5
    assert [row["verdict"] for row in found] == ["missing"] * 4
    assert {row["error"]["reason"] for row in found} == {state.replace("BATCH_STATE", "JOB")}

    service.end_state = "BATCH_STATE_SUCCEEDED"
    second = make(service, tmp_path)

    if state == "BATCH_STATE_CANCELLED":  # it was stopped on purpose: only --new resends it
        assert (second.job, second.attached) == (first.job, True)
        second = make(service, tmp_path, new=True)
    assert second.job != first.job
    assert not second.attached


def test_results_of_a_living_job_say_what_to_do(service: FakeService, tmp_path: Path) -> None:
    """Exit code 6, the state, and the command to type; nothing is written."""
    service.polls_to_end = 100
    made = make(service, tmp_path)

    with pytest.raises(NotFinished, match="JOB_STATE_PENDING") as caught:
        fetch(service, tmp_path, made.job)

    assert caught.value.exit_code == 6
    assert f"gemini-batch status {made.job} --wait" in str(caught.value)


def test_success_without_output_is_waited_for(service: FakeService, tmp_path: Path) -> None:
    """L6: SUCCEEDED can be seen before the output is there."""
    service.output_after = 3

    assert whole_life(service, tmp_path).summary.all_succeeded


def test_an_interrupted_upload_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The bytes that the service had already are not sent twice."""
    write_requests(tmp_path / "in.jsonl", KEYS)
    service = FakeService(Clock())
    service.faults["chunk", 2] = ("before", reset())
    with pytest.raises(NetworkError):
        make(service, tmp_path)

    make(service, tmp_path)

    assert service.bytes_received == (tmp_path / "in.jsonl").stat().st_size
