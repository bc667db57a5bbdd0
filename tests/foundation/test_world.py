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
