"""What comes in from outside, when nobody brings a world of their own."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time

import pytest

from gemini_batch.world import World


@pytest.mark.parametrize("length", [0, 1, 8, 20])
def test_token_is_typeable_and_fit_for_a_file_id(length: int) -> None:
    for _ in range(50):
        # The service's ids are lower-case letters and digits; of these, none that look like another.
        assert re.fullmatch(rf"[a-hjkmnp-z2-9]{{{length}}}", World().token(length))


def test_tokens_do_not_come_twice() -> None:
    assert len({World().token(8) for _ in range(1000)}) == 1000


def test_now_is_now_and_chance_stays_in_its_range() -> None:
    world = World()
    assert abs(world.now() - time.time()) < 60
    assert abs(world.monotonic() - time.monotonic()) < 60
    assert all(0.75 <= world.uniform(0.75, 1.25) <= 1.25 for _ in range(100))


def test_waiting_lets_others_work() -> None:
    order: list[str] = []

    async def waits() -> None:
        order.append("begins to wait")
        await World().sleep(0)
        order.append("has waited")

    async def works() -> None:
        order.append("works")

    async def both() -> None:
        await asyncio.gather(waits(), works())

    asyncio.run(both())
    assert order == ["begins to wait", "works", "has waited"]


def test_world_is_not_changed_but_replaced() -> None:
    world = World()
    with pytest.raises(dataclasses.FrozenInstanceError):
        world.now = lambda: 0.0  # type: ignore[misc]
    assert dataclasses.replace(world, now=lambda: 5.0).now() == 5.0


# Deadlines -----------------------------------------------------------------------------------------------------------


class Hours:
    """A clock that moves on to the earliest of those who wait, once everybody waits."""

    def __init__(self) -> None:
        self.time = 50.0
        self.waking: list[float] = []

    async def sleep(self, seconds: float) -> None:
        wake = self.time + seconds
        self.waking.append(wake)
        try:
            turns = 0
            while turns < 5:  # whoever else was woken, or is about to wait, comes first
                await asyncio.sleep(0)
                turns = turns + 1 if min(self.waking) == wake else 0
        finally:
            self.waking.remove(wake)
        self.time = max(self.time, wake)

    def world(self) -> World:
        return World(monotonic=lambda: self.time, sleep=self.sleep)


def bound(timeout: float | None, *lengths: float) -> list[str]:
    """What becomes of pieces of work of so many seconds, one after the other, under one deadline."""
    told: list[str] = []

    async def piece(world: World, number: int, seconds: float) -> str:
        try:
            await world.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # tidying up takes a moment, and is waited for
            told.append(f"{number} stopped")
            raise
        return f"{number} done"

    async def all_pieces() -> None:
        world = Hours().world()
        deadline = world.deadline(timeout)
        for number, seconds in enumerate(lengths):
            try:
                told.append(await deadline.bound(piece(world, number, seconds)))
            except TimeoutError:
                told.append("over")
                return

    asyncio.run(all_pieces())
    return told


@pytest.mark.parametrize(
    ("timeout", "lengths", "told"),
    [
        (None, (1e9,), ["0 done"]),
        (10, (9,), ["0 done"]),
        (10, (11,), ["0 stopped", "over"]),
        (10, (6, 3), ["0 done", "1 done"]),
        (10, (6, 6), ["0 done", "1 stopped", "over"]),
    ],
)
def test_a_deadline_is_for_all_that_is_bound_by_it(
    timeout: float | None, lengths: tuple[float, ...], told: list[str]
) -> None:
    assert bound(timeout, *lengths) == told


def test_errors_come_through_a_deadline() -> None:
    async def fails() -> None:
        raise ValueError("as it is")

    with pytest.raises(ValueError, match="as it is"):
        asyncio.run(World().deadline(1000).bound(fails()))


def test_work_that_is_cancelled_by_its_caller_is_not_out_of_time() -> None:
    """Ctrl-C under a deadline stays Ctrl-C, and the work has stopped when it is heard."""
    stopped: list[str] = []

    async def works() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("stopped")

    async def whole() -> None:
        task = asyncio.ensure_future(World().deadline(1000).bound(works()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert stopped == ["stopped"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


def test_work_that_is_done_when_its_time_is_over_has_its_result() -> None:
    """A result that is there is not thrown away."""

    async def stubborn(world: World) -> str:
        try:
            await world.sleep(100)
        except asyncio.CancelledError:
            return "saved"
        return "late"

    async def whole() -> str:
        world = Hours().world()
        return await world.deadline(10).bound(stubborn(world))

    assert asyncio.run(whole()) == "saved"
