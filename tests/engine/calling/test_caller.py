"""Calls of a job against a simulated service: every request one answer, at the pace of the service."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from engine.calling.simulated import Service, simulate
from gemini_batch.api.calls import Called
from gemini_batch.engine.calling.caller import Asked, Caller
from gemini_batch.engine.calling.journal import Calls, Journal, read_calls
from gemini_batch.engine.calling.outcomes import is_json
from gemini_batch.engine.calling.pace import Pace
from gemini_batch.errors import ApiError
from gemini_batch.store.ledger.records import Rate

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.engine.calling.caller import Tally
    from gemini_batch.world import World


def requests(count: int) -> Any:
    for number in range(count):
        yield Asked(number, b'{"key":"k%d","request":{"key":"k%d"}}' % (number, number), 10)


def work(folder: Path, count: int, most: int = 64, **options: Any) -> tuple[Tally, Service, float, Caller]:
    async def go(world: World) -> tuple[Tally, Service, float, Caller]:
        service = Service(world, **options)
        journal = Journal(folder / "calls", folder / "answers")
        caller = Caller(world, Pace(most, Rate(), 0.0), journal, send=service.call, told=lambda _: None)
        tally = await caller.run(requests(count), grace=lambda: 0.0)
        journal.close()
        return tally, service, world.monotonic(), caller

    return simulate(go)


def recorded(folder: Path) -> Calls:
    calls = read_calls(folder / "calls")
    assert calls is not None
    return calls


def answered(folder: Path) -> list[str]:
    return [msgspec.json.decode(line)["key"] for line in (folder / "answers").read_bytes().splitlines()]


def test_each_request_is_answered_once(tmp_path: Path) -> None:
    tally, service, _, _ = work(tmp_path, 500)

    assert sorted(answered(tmp_path)) == sorted(service.paid) == sorted(f"k{n}" for n in range(500))
    assert max(service.paid.values()) == 1
    assert (tally.answered, tally.refused, tally.broken) == (500, 0, 0)
    assert service.most == 64


@pytest.mark.parametrize("stated", [True, False])
def test_a_quota_of_calls_a_minute_costs_little_time(tmp_path: Path, stated: bool) -> None:
    _, service, took, _ = work(tmp_path, 2000, minute=300, load=0.05, stated=stated)

    assert sorted(service.paid.values()) == [1] * 2000
    least = 2000 / 300 * 60
    assert took <= (1.15 if stated else 1.4) * least, (took, least, service.refusals)


@pytest.mark.parametrize("room", [1, 40])
def test_a_service_with_little_room_is_kept_busy(tmp_path: Path, room: int) -> None:
    _, service, took, _ = work(tmp_path, 1000, room=room)

    assert sorted(service.paid.values()) == [1] * 1000
    assert took <= 2 * 1000 * 0.2 / room


def test_rare_refusals_for_load_do_not_slow_down(tmp_path: Path) -> None:
    _, service, took, _ = work(tmp_path, 5000, load=0.05)

    assert sorted(service.paid.values()) == [1] * 5000
    assert took <= 1.5 * 5000 * 0.2 / 64 + 2


def test_a_broken_call_is_left_to_another_job(tmp_path: Path) -> None:
    tally, service, _, _ = work(tmp_path, 2000, breaks=0.2)

    calls = recorded(tmp_path)
    assert max(service.paid.values()) == 1
    assert len(calls.broken) == tally.broken > 0
    assert calls.broken < calls.sent
    assert sorted([*answered(tmp_path), *(f"k{n}" for n in calls.broken)]) == sorted(f"k{n}" for n in range(2000))


def test_a_second_ctrl_c_keeps_the_answers_that_came_after_the_first(tmp_path: Path) -> None:
    async def go(world: World) -> tuple[int, int]:
        service = Service(world, latency=10.0)
        journal = Journal(tmp_path / "calls", tmp_path / "answers")
        caller = Caller(world, Pace(8, Rate(), 0.0), journal, send=service.call, told=lambda _: None)
        running = asyncio.ensure_future(caller.run(requests(8), grace=lambda: 30.0))
        await world.sleep(5.0)
        running.cancel()
        while len(service.paid) < 3:
            await world.sleep(0.01)
        await world.sleep(0.001)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        paid, flying = len(service.paid), caller.flying
        await caller.stop()
        journal.close()
        return paid, flying

    paid, flying = simulate(go)

    assert len(answered(tmp_path)) == paid
    assert paid + flying == 8


def test_a_busy_service_that_asks_for_a_day_holds_a_request_up_for_a_quarter_of_an_hour(tmp_path: Path) -> None:
    class Busy(Service):
        async def call(self, request: bytes) -> Called:
            if not self.refusals[503]:
                self.refusals[503] += 1
                raise ApiError("overloaded", status=503, reason="UNAVAILABLE", retry_after=86_400.0)
            return await super().call(request)

    async def go(world: World) -> float:
        journal = Journal(tmp_path / "calls", tmp_path / "answers")
        caller = Caller(world, Pace(8, Rate(), 0.0), journal, send=Busy(world).call, told=lambda _: None)
        await caller.run(requests(20), grace=lambda: 0.0)
        journal.close()
        return world.monotonic()

    assert simulate(go) < 1000
    assert len(answered(tmp_path)) == 20


@pytest.mark.parametrize(
    ("body", "readable"),
    [
        (b"{}", True),
        ('{"a": "é"}'.encode(), True),
        (b' {"a": 1}', True),
        (rb'{"a": "half \ud800"}', True),  # these two are repaired when they are judged, as in batches
        (b'{"a": NaN}', True),
        (rb'{"a": "half \ud800"}}', False),
        (b'{"a": "\xff"}', False),
        (b'{"a": 1}}', False),
        (b"[]", False),
        (b"<html>", False),
        (b"", False),
    ],
)
def test_an_answer_that_no_judge_could_read_is_none(body: bytes, readable: bool) -> None:
    assert is_json(body) is readable


class Refusing:
    """Refuses the first call, and notes when each one is made."""

    def __init__(self, world: World, refusal: ApiError) -> None:
        self.world, self.refusal = world, refusal
        self.at: list[float] = []

    async def call(self, request: bytes) -> Called:
        self.at.append(self.world.monotonic())
        if len(self.at) == 1:
            raise self.refusal
        await self.world.sleep(0.2)
        return Called(b"{}", "flex")


@pytest.mark.parametrize(
    ("status", "asked", "pause", "others"),
    [(429, 38.0, 38.0, 38.0), (429, None, 1.0, 1.0), (503, 38.0, 38.0, 0.0), (503, None, 0.75, 0.0)],
)
def test_what_is_refused_waits_as_long_as_the_service_asks(
    tmp_path: Path, status: int, asked: float | None, pause: float, others: float
) -> None:
    """A quota holds up all calls, too much load only the one that was refused."""

    async def go(world: World) -> list[float]:
        service = Refusing(world, ApiError("no", status=status, reason="NO", retry_after=asked))
        journal = Journal(tmp_path / "calls", tmp_path / "answers")
        caller = Caller(world, Pace(1, Rate(), 0.0), journal, send=service.call, told=lambda _: None)
        await caller.run(requests(3), grace=lambda: 0.0)
        journal.close()
        return service.at

    first, second, *_, last = simulate(go)
    assert second - first >= others
    assert max(second, last) - first >= pause
    assert len(answered(tmp_path)) == 3


@pytest.mark.parametrize("grace", [0.0, 30.0])
def test_a_command_that_is_stopped_keeps_what_comes_in_time(tmp_path: Path, grace: float) -> None:
    """Nothing more is sent; what has not come is what is in doubt."""

    async def go(world: World) -> tuple[Service, int, int]:
        service = Service(world)
        journal = Journal(tmp_path / "calls", tmp_path / "answers")
        caller = Caller(world, Pace(4, Rate(), 0.0), journal, send=service.call, told=lambda _: None)
        running = asyncio.ensure_future(caller.run(requests(100), grace=lambda: grace))
        await world.sleep(1.05)
        flying = caller.flying
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = caller.flying
        await caller.stop()
        journal.close()
        return service, flying, left

    service, flying, left = simulate(go)

    assert (flying, left) == (4, 0 if grace else 4)
    assert sorted(answered(tmp_path)) == sorted(service.paid)
    assert len(recorded(tmp_path).sent) == len(service.paid) + left


class Held(Journal):
    """Waits in its n-th write until it may go on."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(folder / "calls", folder / "answers")
        self.left, self.entered, self.may_go_on = number, asyncio.Event(), threading.Event()
        self.loop = asyncio.get_running_loop()

    def write(self, *what: Any) -> None:
        self.left -= 1
        if not self.left:
            self.loop.call_soon_threadsafe(self.entered.set)
            assert self.may_go_on.wait(10)
        super().write(*what)


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("number", [1, 2])
def test_a_command_that_is_stopped_while_it_writes(tmp_path: Path, number: int, times: int) -> None:
    """What it was about to send never leaves, so it is not in doubt; and no answer that had come is lost."""

    async def go(world: World) -> tuple[Service, int]:
        service, journal = Service(world), Held(tmp_path, number)
        caller = Caller(world, Pace(4, Rate(), 0.0), journal, send=service.call, told=lambda _: None)
        running = asyncio.ensure_future(caller.run(requests(100), grace=lambda: 30.0))
        await journal.entered.wait()
        for _ in range(times):
            running.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        journal.may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await running
        left = caller.flying
        await caller.stop()
        journal.close()
        return service, left

    service, left = simulate(go)

    assert left == (3 if number == 2 and times > 1 else 0), "a second Ctrl-C ends at once"
    assert sorted(answered(tmp_path)) == sorted(service.paid)
    assert len(recorded(tmp_path).sent) == len(service.paid) + left
