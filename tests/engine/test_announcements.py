"""A delivery of a webhook makes the next poll come at once, and changes nothing else; polls are counted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, write_requests
from engine.steps import KEYS, ONCE
from gemini_batch.commands.late_answers import refuse_late
from gemini_batch.commands.run import finish as finished
from gemini_batch.commands.run import work_off
from gemini_batch.engine.poller import HASTE
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission, enter_run
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.world import Bell, Tasks

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds between two polls, and after which the job has ended.
EVERY, END = 600.0, 1000.0
URL = "https://example.com/hook"


class RingingClock(Clock):
    """Time that passes by waiting; the bell rings when its time has come, and nothing else ends that wait."""

    def __init__(self, *rings: float) -> None:
        super().__init__()
        self.rings = sorted(rings)
        self.bell: Bell[Notice] | None = None

    async def sleep(self, seconds: float) -> None:
        if self.bell is not None and self.rings and self.rings[0] <= self.monotonic + seconds:
            self.pass_by(max(0.0, self.rings.pop(0) - self.monotonic))
            self.bell.ring(Notice("ding"))
            await asyncio.Event().wait()
        await super().sleep(seconds)


def drive(folder: Path, *rings: float, every: float | None = EVERY) -> tuple[FakeService, RingingClock, list[str]]:
    """A run whose job ends by itself; what was said."""
    folder.mkdir(exist_ok=True)
    write_requests(folder / "in.jsonl", KEYS)
    clock = RingingClock(*rings)
    service = FakeService(clock, chunk=10_000, polls_to_end=1_000_000)

    def ends() -> None:
        service.polls_to_end = 0

    service.after(END, ends)

    async def whole() -> list[str]:
        async with FakeSession(service, folder / "home", poll=every) as session:
            clock.bell = Bell[Notice]()
            entered = await enter_run(
                session, Submission(source=folder / "in.jsonl"), RunOptions(), before_new=refuse_late
            )
            await work_off(session, entered.run, None, webhook_url=URL, bell=clock.bell)
            found = await finished(session, entered.run, None)
            assert found.summary.all_succeeded
            return [event.message for event in session.events if isinstance(event, Notice)]

    return service, clock, asyncio.run(whole())


@pytest.mark.parametrize(
    ("rings", "polls", "end"),
    [
        pytest.param([], 3, 1200.0, id="nothing arrives: polling finds the end"),
        pytest.param([END], 3, END, id="at the end: the wait is over"),
        pytest.param([END + 50], 3, END + 50, id="a little late"),
        pytest.param([10.0], 4, 1210.0, id="forged or too early: one more poll"),
        pytest.param([10.0, END], 4, END, id="forged, then genuine"),
        pytest.param([END, END, END], 3, END, id="three times"),
        pytest.param([99_999.0], 3, 1200.0, id="much too late"),
    ],
)
def test_what_a_delivery_changes(tmp_path: Path, rings: list[float], polls: int, end: float) -> None:
    """The number of polls, and when the run ends; every request is answered and paid for once, whatever arrives."""
    service, clock, said = drive(tmp_path, *rings)
    # Collecting gets the job once more.
    assert service.calls.count("get") == polls + 1
    assert clock.monotonic == pytest.approx(end, abs=HASTE)
    assert service.paid() == ONCE
    assert ("ding" in said) is any(ring <= end for ring in rings)
    assert [job.webhook_url for job in service.jobs] == [URL]


def test_many_deliveries_cause_no_more_than_a_poll_in_a_second(tmp_path: Path) -> None:
    """A thousand within ten seconds."""
    service, _, _ = drive(tmp_path, *(number / 100 for number in range(1, 1001)))
    assert 4 < service.calls.count("get") <= 10 / HASTE + 6


def test_polls_come_fast_again_after_a_delivery(tmp_path: Path) -> None:
    """The service may announce an end before a poll shows it."""
    late, _, _ = drive(tmp_path / "a", END - 5, every=None)
    _, clock, _ = drive(tmp_path / "b", END - 5, every=None)
    assert clock.monotonic < END + 10
    assert late.paid() == ONCE


def test_the_address_is_not_part_of_the_run(tmp_path: Path) -> None:
    """The same requests with another address, or none, are the same run."""
    write_requests(tmp_path / "in.jsonl", KEYS)
    service = FakeService(Clock(), chunk=10_000)

    async def once(url: str | None) -> str:
        async with FakeSession(service, tmp_path / "home") as session:
            entered = await enter_run(
                session, Submission(source=tmp_path / "in.jsonl"), RunOptions(), before_new=refuse_late
            )
            await work_off(session, entered.run, None, webhook_url=url)
            return entered.run.id

    assert len({asyncio.run(once(url)) for url in (URL, None, f"{URL}/other")}) == 1
    assert service.paid() == ONCE


# Pauses ---------------------------------------------------------------------------------------------------------------


def test_a_bell_that_rang_before_the_pause_ends_it() -> None:
    """From another thread, too; once for each time of waiting."""
    clock = Clock()

    async def whole() -> list[bool]:
        bell = Bell[str]()
        tasks = Tasks(clock.world(), bell)
        await asyncio.to_thread(bell.ring, "one")
        bell.leave("two")
        await asyncio.sleep(0)
        found = [await tasks.pause(float("inf"))]
        assert list(bell.news()) == ["one", "two"]
        assert list(bell.news()) == []
        found.append(await tasks.pause(5.0))
        return found

    assert asyncio.run(whole()) == [True, False]
    assert clock.monotonic == 5.0


def test_a_bell_whose_loop_has_ended_rings_for_nobody() -> None:
    async def made() -> Bell[str]:
        return Bell[str]()

    asyncio.run(made()).ring("too late")


def test_a_pause_ends_with_the_first_piece_of_work() -> None:
    """Its error is raised when it is reaped; the rest is stopped."""

    async def whole() -> None:
        tasks = Tasks(Clock().world())
        stopped: list[int] = []

        async def works(number: int) -> None:
            if number:
                raise ValueError(number)
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(number)

        tasks.start(0, works(0))
        tasks.start(7, works(7))
        assert tasks.numbers == {0, 7}
        assert await tasks.pause(float("inf")) is False
        with pytest.raises(ValueError, match="7"):
            await tasks.reap()
        assert tasks.numbers == {0}
        await tasks.stop()
        assert stopped == [0]

    asyncio.run(whole())
