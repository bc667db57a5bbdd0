"""What costs money again, or follows a cancel, is never done in silence."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, write_requests
from engine.steps import KEYS, PAIRS, jobs_of, sentences, work
from gemini_batch.commands.cancel import cancel
from gemini_batch.commands.create import create
from gemini_batch.commands.run import run
from gemini_batch.engine.creating.planner import drop
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.records import JobStage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

RUN = "run-00000001"


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def do(
    service: FakeService, folder: Path, verb: Callable[[FakeSession], Awaitable[Any]], *, offline: bool = False
) -> tuple[Any, str]:
    """What a command returns (None if it dies), and all it says."""

    async def whole() -> tuple[Any, str]:
        async with FakeSession(service, folder / "home", offline=offline) as session:
            found = None
            with contextlib.suppress(Killed):
                found = await verb(session)
            return found, sentences(session.events)

    return asyncio.run(whole())


def killed(service: FakeService, call: str, times: int, when: str) -> None:
    service.faults = {(call, times): (when, Killed())}  # type: ignore[dict-item]


# An interrupted --new -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
@pytest.mark.parametrize("dies", [("start_upload", "before"), ("create", "before"), ("create", "after")], ids="-".join)
@pytest.mark.parametrize("verb", ["create", "run"])
def test_what_continues_an_interrupted_new_says_that_it_sends_again(
    service: FakeService, tmp_path: Path, verb: str, dies: tuple[str, str], *, offline: bool
) -> None:
    source = tmp_path / "in.jsonl"

    def once(s: FakeSession, **how: Any) -> Awaitable[Any]:
        order = Submission(source=source, **how)
        return create(s, order) if verb == "create" else run(s, order, None)

    do(service, tmp_path, once, offline=offline)
    killed(service, dies[0], 1, dies[1])
    _, said = do(service, tmp_path, lambda s: once(s, new=True), offline=offline)
    assert "sent before" not in said, "--new is the user's word"
    service.faults = {}

    _, said = do(service, tmp_path, once, offline=offline)

    cost = "" if offline else ", which costs money again"
    assert f"These requests were sent before (batches/job0), and are sent again{cost}." in said
    assert [len(job.keys) for job in service.jobs] == [6, 6]
    _, said = do(service, tmp_path, once, offline=offline)
    assert "sent before" not in said, "nothing is sent now"
    assert len(service.jobs) == 2


@pytest.mark.parametrize("verb", ["create", "run"])
def test_what_continues_a_first_create_says_nothing_of_the_kind(
    service: FakeService, tmp_path: Path, verb: str
) -> None:
    order = Submission(source=tmp_path / "in.jsonl")
    killed(service, "start_upload", 0, "before")
    do(service, tmp_path, lambda s: create(s, order))
    service.faults = {}

    _, said = do(service, tmp_path, lambda s: create(s, order) if verb == "create" else run(s, order, None))

    assert "sent before" not in said
    assert len(service.jobs) == 1


# A cancel -------------------------------------------------------------------------------------------------------------


def some_sent(service: FakeService, folder: Path, rest: str) -> None:
    """A run of three jobs that dies with two created; the third is planned, in doubt, or not even planned."""
    service.polls_to_end = 10**9
    killed(service, "create" if rest == "in doubt" else "start_upload", 2, "before")
    with contextlib.suppress(Killed):
        work(service, folder, options=PAIRS)
    service.faults = {}

    async def unplanned(session: FakeSession) -> None:
        ledger, jobs = session.ledger(), session.ledger().jobs_of(RUN)
        with session.state_folder.run(RUN).rows() as rows:
            drop(ledger, rows, jobs[-1], at=session.world.now())

    if rest == "not planned":
        do(service, folder, unplanned)
    stages = [job.stage for job in jobs_of(folder) if job.dropped_at is None]
    assert stages.count(JobStage.CREATED) == 2, stages


@pytest.mark.parametrize("by", ["someone else", "us"])
@pytest.mark.parametrize("rest", ["planned", "in doubt", "not planned"])
def test_nothing_is_sent_after_a_cancel_without_new(service: FakeService, tmp_path: Path, rest: str, by: str) -> None:
    some_sent(service, tmp_path, rest)
    if by == "us":
        do(service, tmp_path, lambda s: cancel(s, RUN, wait=False))
    for job in service.jobs:
        job.state = "BATCH_STATE_CANCELLED"
    order = Submission(source=tmp_path / "in.jsonl")

    made, said = do(service, tmp_path, lambda s: create(s, order))

    assert (made.attached, made.job, len(service.jobs)) == (True, service.jobs[1].name, 2)
    assert ("batches/job0, batches/job1 were cancelled, and not from here." in said) is (by == "someone else")
    left = "A create of run-00000001 was sent and not answered" if rest == "in doubt" else "have not been sent yet"
    assert left in said
    made, _ = do(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "in.jsonl", new=True)))
    assert (made.attached, service.jobs[-1].keys) == (False, KEYS)


def test_a_single_job_that_someone_else_cancelled_is_said_to_be(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 10**9
    order = Submission(source=tmp_path / "in.jsonl")
    do(service, tmp_path, lambda s: create(s, order))
    service.jobs[0].state = "BATCH_STATE_CANCELLED"

    made, said = do(service, tmp_path, lambda s: create(s, order))

    assert (made.attached, len(service.jobs)) == (True, 1)
    assert "batches/job0 was cancelled, and not from here. After a cancel, create sends nothing without --new." in said
