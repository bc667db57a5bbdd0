"""After any cancel, late answers are looked for before the same requests are paid for again, whatever pays for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line, write_requests
from engine.steps import GOOD, KEYS, again, jobs_of, sentences, texts, work
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import ApiError, Error, NetworkError, NotFinished, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from gemini_batch.events import Event

RUN = "run-00000001"
VERBS = pytest.mark.parametrize("verb", ["create", "run"])


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def do(service: FakeService, folder: Path, verb: Callable[[FakeSession], Awaitable[Any]]) -> tuple[Any, list[Event]]:
    """What a command returns, or the error that ends it, and all it says."""

    async def whole() -> tuple[Any, list[Event]]:
        async with FakeSession(service, folder / "home") as session:
            try:
                return await verb(session), session.events
            except (Error, Killed) as error:
                return error, session.events

    return asyncio.run(whole())


def send(service: FakeService, folder: Path, verb: str, **how: Any) -> tuple[Any, list[Event]]:
    """``create in.jsonl`` or ``run in.jsonl``; ``run`` with its id continues that run."""
    order = Submission(source=folder / "in.jsonl", **how)
    if verb == "create":
        return do(service, folder, lambda s: create(s, order))
    return do(service, folder, lambda s: run(s, verb if verb.startswith("run-") else order, None))


def stopped(service: FakeService, folder: Path, *, by: str, collected: bool) -> None:
    """A run of one job that was cancelled, with or without a collection of what it left: nothing."""
    service.polls_to_end = 10**9
    send(service, folder, "create")
    if by == "us":
        do(service, folder, lambda s: cancel(s, RUN, wait=False))
    service.jobs[0].state = "BATCH_STATE_CANCELLED"
    if collected:
        do(service, folder, lambda s: results(s, RUN))
    elif by == "someone else":  # which is seen, and nothing more
        do(service, folder, lambda s: status(s, RUN))
    service.polls_to_end = 0


def finishes(service: FakeService, *keys: str, state: str = "BATCH_STATE_SUCCEEDED") -> None:
    """The first job has answers all the same."""
    (job, *_) = service.jobs
    job.state, job.lines = state, [answer_line(key) for key in keys]
    service.counts_at_end = lambda job: (len(job.lines), 0)


@VERBS
@pytest.mark.parametrize("collected", [True, False], ids=["collected", "not collected"])
@pytest.mark.parametrize("by", ["us", "someone else"])
@pytest.mark.parametrize(("count", "state"), [(6, "SUCCEEDED"), (2, "SUCCEEDED"), (1, "CANCELLED")])
def test_new_does_not_pay_for_what_a_cancelled_job_answered(
    service: FakeService, tmp_path: Path, verb: str, by: str, count: int, state: str, *, collected: bool
) -> None:
    """It collects the answers, says how many there are and how to have the rest, and sends nothing."""
    stopped(service, tmp_path, by=by, collected=collected)
    finishes(service, *KEYS[:count], state=f"BATCH_STATE_{state}")

    ended, _ = send(service, tmp_path, verb, new=True)

    assert isinstance(ended, UsageError)
    assert (ended.reason_code, ended.exit_code) == ("late_answers", 2)
    answered = "1 request" if count == 1 else f"{count} requests"
    assert f"batches/job0 was cancelled, but has answered {answered}" in ended.message
    assert "Repeat the command to send all requests again, which costs money again." in ended.message
    step = "results" if count == 6 else "retry"
    assert str(ended.next).startswith(f"gemini-batch {step} {RUN} ")
    assert ("costs money" in str(ended.next)) is (step == "retry")
    assert len(service.jobs) == 1, "nothing was sent"
    assert {job.run for job in jobs_of(tmp_path)} == {RUN}, "nor planned"
    service.polls_to_end = 0
    found, _ = do(service, tmp_path, lambda s: results(s, RUN))
    assert {key: text for key, text in texts(found).items() if text} == {key: GOOD[key] for key in KEYS[:count]}


@VERBS
def test_the_same_command_again_pays_again(service: FakeService, tmp_path: Path, verb: str) -> None:
    """The user has been told, so the second time --new means all of it."""
    stopped(service, tmp_path, by="us", collected=True)
    finishes(service, "k0")
    first, _ = send(service, tmp_path, verb, new=True)
    assert isinstance(first, UsageError)

    found, _ = send(service, tmp_path, verb, new=True)

    assert not isinstance(found, BaseException), found
    assert [job.keys for job in service.jobs] == [KEYS, KEYS]


@VERBS
@pytest.mark.parametrize("collected", [True, False], ids=["collected", "not collected"])
@pytest.mark.parametrize("gone", [False, True], ids=["there", "gone"])
def test_without_late_answers_new_pays_again_at_once(
    service: FakeService, tmp_path: Path, verb: str, *, collected: bool, gone: bool
) -> None:
    stopped(service, tmp_path, by="us", collected=collected)
    service.jobs[0].deleted = gone

    found, _ = send(service, tmp_path, verb, new=True)

    assert not isinstance(found, BaseException), found
    assert [job.keys for job in service.jobs] == [KEYS, KEYS]


@VERBS
def test_rows_that_say_only_that_they_were_cancelled_are_no_answers(
    service: FakeService, tmp_path: Path, verb: str
) -> None:
    stopped(service, tmp_path, by="us", collected=True)
    finishes(service)
    error = b'{"error": {"code": 1, "message": "cancelled"}, "key": "%s"}'
    service.jobs[0].lines = [error % key.encode() for key in KEYS]
    service.counts_at_end = lambda job: (0, len(job.lines))

    found, _ = send(service, tmp_path, verb, new=True)

    assert not isinstance(found, BaseException), found
    assert len(service.jobs) == 2


@VERBS
def test_a_service_that_cannot_say_is_not_taken_for_a_no(service: FakeService, tmp_path: Path, verb: str) -> None:
    stopped(service, tmp_path, by="us", collected=True)
    first, error = service.calls.count("get"), NetworkError("no", sent=True)
    service.faults = {("get", first + n): ("before", error) for n in range(50)}

    ended, _ = send(service, tmp_path, verb, new=True)

    assert isinstance(ended, NetworkError)
    assert len(service.jobs) == 1


def test_a_cancelled_job_that_has_not_ended_is_named(service: FakeService, tmp_path: Path) -> None:
    """What it answers until its end is billed as well; --new is the user's word all the same."""
    service.polls_to_end = 10**9
    send(service, tmp_path, "create")
    do(service, tmp_path, lambda s: cancel(s, RUN, wait=False))

    found, heard = send(service, tmp_path, "create", new=True)

    assert not isinstance(found, BaseException), found
    assert "batches/job0 was asked to stop and has not ended. What it still answers is billed, too." in sentences(heard)
    assert len(service.jobs) == 2


@pytest.mark.parametrize("ended", [False, True], ids=["alive", "ended"])
def test_after_a_job_that_was_not_cancelled_new_is_the_users_word(
    service: FakeService, tmp_path: Path, *, ended: bool
) -> None:
    service.polls_to_end = 0 if ended else 10**9
    send(service, tmp_path, "create")

    found, _ = send(service, tmp_path, "create", new=True)

    assert not isinstance(found, BaseException), found
    assert len(service.jobs) == 2


@pytest.mark.parametrize("first", ["create", "run"])
@pytest.mark.parametrize("then", ["create", "run", "run by its id"])
def test_what_continues_an_interrupted_new_looks_again(
    service: FakeService, tmp_path: Path, first: str, then: str
) -> None:
    """The answers came between the two commands."""
    stopped(service, tmp_path, by="us", collected=True)
    service.faults = {("start_upload", 1): ("before", Killed())}  # type: ignore[dict-item]
    died, _ = send(service, tmp_path, first, new=True)
    assert isinstance(died, Killed)
    service.faults = {}
    finishes(service, "k0", "k1")
    if then == "run by its id":
        (then,) = {path.name for path in (tmp_path / "home" / "runs").iterdir()} - {RUN}

    ended, _ = send(service, tmp_path, then)

    assert isinstance(ended, UsageError), ended
    assert ended.reason_code == "late_answers"
    assert len(service.jobs) == 1
    found, _ = send(service, tmp_path, then)
    assert not isinstance(found, BaseException), found
    assert [job.keys for job in service.jobs] == [KEYS, KEYS]


@pytest.mark.parametrize("stage", ["planned", "uploaded"])
@pytest.mark.parametrize("road", ["run", "retry"])
def test_what_continues_an_interrupted_retry_looks_again(
    service: FakeService, tmp_path: Path, road: str, stage: str
) -> None:
    """Requests that a retry has chosen and not sent are answered by the cancelled job meanwhile."""
    stopped(service, tmp_path, by="us", collected=True)
    call = ("start_upload", 1) if stage == "planned" else ("create", 1)
    service.faults = {call: ("before", ApiError("no", status=400, reason="INVALID_ARGUMENT"))}
    with pytest.raises(ApiError):
        again(service, tmp_path, RUN, "missing")
    service.faults = {}
    finishes(service, *KEYS[:4])

    if road == "run":  # what the retry had chosen is another choice now, which is the user's
        heard: list[Event] = []
        found = work(service, tmp_path, RUN, RunOptions(), heard=heard)
        assert "batches/job0 has more answers than when it was cancelled; collected them." in sentences(heard)
        assert "An interrupted retry of its requests is not continued" in sentences(heard)
        assert (len(texts(found)), len(service.jobs)) == (6, 1)
        assert str(found.summary.next).startswith(f"gemini-batch retry {RUN} --only missing")
    found = again(service, tmp_path, RUN, "missing")

    assert texts(found) == GOOD
    assert [job.keys for job in service.jobs] == [KEYS, KEYS[4:]]


def test_every_cancelled_job_of_a_run_is_looked_at(service: FakeService, tmp_path: Path) -> None:
    """A run of three jobs: all were cancelled, and two of them have finished since."""
    service.polls_to_end = 10**9

    async def some(session: FakeSession) -> None:
        await run(session, Submission(source=tmp_path / "in.jsonl"), RunOptions(max_requests_per_job=2), timeout=60.0)

    do(service, tmp_path, some)
    assert len(service.jobs) == 3
    do(service, tmp_path, lambda s: cancel(s, RUN, wait=False))
    for job in service.jobs:
        job.state = "BATCH_STATE_CANCELLED"
    do(service, tmp_path, lambda s: results(s, RUN))
    service.polls_to_end = 0
    for job in service.jobs[:2]:
        job.state, job.lines = "BATCH_STATE_SUCCEEDED", [answer_line(key) for key in job.keys]
    service.counts_at_end = lambda job: (len(job.lines), 0)

    ended, _ = send(service, tmp_path, "run", new=True)

    assert isinstance(ended, UsageError)
    assert "2 jobs of run-00000001 were cancelled, but have answered 4 requests" in ended.message
    assert len(service.jobs) == 3


@pytest.mark.parametrize("collected", [True, False], ids=["collected", "not collected"])
def test_a_late_answer_lets_nothing_be_resent_unasked(service: FakeService, tmp_path: Path, *, collected: bool) -> None:
    """The job says that it succeeded, and leaves requests without a line: someone cancelled it all the same."""
    stopped(service, tmp_path, by="someone else", collected=collected)
    finishes(service, "k0")
    ended, _ = send(service, tmp_path, "create", new=True)
    assert isinstance(ended, UsageError)

    found = work(service, tmp_path, RUN, RunOptions())

    assert found.summary.verdicts == {"succeeded": 1, "missing": 5}
    assert len(service.jobs) == 1


@pytest.mark.parametrize("error", [NetworkError("no", sent=True), Killed()], ids=["no network", "killed"])
def test_held_answers_stay_until_the_late_ones_are_here(service: FakeService, tmp_path: Path, error: Exception) -> None:
    stopped(service, tmp_path, by="us", collected=False)
    finishes(service, "k0", state="BATCH_STATE_CANCELLED")
    do(service, tmp_path, lambda s: results(s, RUN))
    finishes(service, *KEYS)
    service.faults = {("download", 1 + n): ("before", error) for n in range(50)}

    ended, _ = send(service, tmp_path, "create", new=True)

    assert isinstance(ended, type(error))
    service.jobs[0].output_deleted = True
    service.faults = {}
    found, _ = do(service, tmp_path, lambda s: results(s, RUN))
    assert texts(found)["k0"] == GOOD["k0"]
    assert len(service.jobs) == 1


def test_late_answers_that_are_incomplete_are_waited_for(service: FakeService, tmp_path: Path) -> None:
    """The service counts more than it gives: what is held stays, and nothing is paid until the user says so."""
    stopped(service, tmp_path, by="us", collected=False)
    finishes(service, "k0", state="BATCH_STATE_CANCELLED")
    do(service, tmp_path, lambda s: results(s, RUN))
    finishes(service, "k1")
    service.counts_at_end = lambda _: (4, 0)

    for _ in range(2):
        ended, _ = send(service, tmp_path, "create", new=True)
        assert isinstance(ended, NotFinished)
        assert ended.reason_code == "output_incomplete"
    assert len(service.jobs) == 1
    found, _ = do(service, tmp_path, lambda s: results(s, RUN, accept_incomplete=True))
    assert sum(text is not None for text in texts(found).values()) == 1
    made, _ = send(service, tmp_path, "create", new=True)
    assert not isinstance(made, BaseException), made
