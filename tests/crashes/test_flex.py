"""Runs whose requests go as calls, against the emulator: its faults, death at every step, and killed processes.

Each key ends with one right answer. What is paid twice is at most what was in flight at a death, and what broke.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from crashes.conftest import MODEL, killed_again_and_again
from crashes.reaping import CALLS, Mortal, Reaper, When, lives_with_a_death, reaper
from gemini_batch.backend import Backend
from gemini_batch.commands.run import run
from gemini_batch.engine.calling.journal import Journal
from gemini_batch.errors import Error, NotFinished, ServiceError, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from crashes.conftest import Place
    from gemini_batch.report.result_set import Results

__all__ = ["reaper"]

KEYS = [f"k{n}" for n in range(40)]
AT_ONCE = 4
FLEX = RunOptions(via="flex", concurrency=AT_ONCE)


def worked_off(place: Place, options: RunOptions = FLEX, **more: str) -> Results:
    """A run while time passes, although no one but the service waits for it."""

    async def ticking() -> None:
        while True:
            await place.time.sleep(0.1)

    async def whole() -> Results:
        ticks = asyncio.create_task(ticking())
        try:
            return await place.run("in.jsonl", options, **more)
        finally:
            ticks.cancel()

    return asyncio.run(whole())


def repeated(place: Place) -> dict[str, int]:
    found: dict[str, int] = place.service.accounting()["repeated"]
    return found


#: scenario -> what it does with more words, and how many payments it may double.
SCENARIOS: dict[str, tuple[dict[str, Any], int]] = {
    "F0": ({}, 0),
    "F1": ({}, 0),
    "F2": ({"probability": 0.3}, 0),
    "F3": ({"above": 2}, 0),
    "F4": ({}, 0),
    "F6b": ({}, 0),
    "F7a": ({"times": 3}, 3),
    "F7b": ({"times": 3}, 0),
    "F7c": ({"times": 3}, 3),
    "F8": ({}, 0),
    "F9": ({"times": 2}, 0),
    "F9b": ({}, 0),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_key_has_its_answer_whatever_the_service_does(place: Place, name: str) -> None:
    place.write("in.jsonl", KEYS)
    words, most = SCENARIOS[name]
    place.service.faults.arm(name, **words)

    found = worked_off(place)

    assert found.summary.exit_code == 0
    place.check(KEYS)
    assert repeated(place)["requests"] == len(KEYS)
    assert repeated(place)["doubles"] <= most
    assert place.jobs() == 0


@pytest.mark.parametrize(("name", "limits"), [("F5", {"requests_per_minute": 10}), ("F5b", {"tokens_per_minute": 60})])
def test_a_quota_of_the_minute_is_kept(place: Place, name: str, limits: dict[str, int]) -> None:
    place.write("in.jsonl", KEYS)
    place.service.limit(**limits)
    place.service.faults.arm("F8", delay=0.2, delay_most=0.4)

    worked_off(place)

    place.check(KEYS)
    assert repeated(place)["doubles"] == 0
    assert place.refusals <= 12


#: What ends a run of calls, and what is said.
ENDS: list[tuple[str, dict[str, Any], type[Error], str]] = [
    ("F5c", {"requests_per_day": 15}, ServiceError, "calls_refused"),
    ("F6", {}, NotFinished, "served_as_standard"),
    ("F10", {}, UsageError, "no_flex"),
]


@pytest.mark.parametrize(("name", "limits", "kind", "code"), ENDS, ids=[name for name, *_ in ENDS])
def test_what_ends_a_run_of_calls_and_batches_finish_it(
    place: Place, name: str, limits: dict[str, int], kind: type[Error], code: str
) -> None:
    place.write("in.jsonl", KEYS)
    if limits:
        place.service.limit(**limits)
    else:
        place.service.faults.arm(name)

    with pytest.raises(kind) as caught:
        asyncio.run(place.run("in.jsonl", FLEX))

    assert caught.value.reason_code == code
    place.service.pace(queue_delay=60.0)
    asyncio.run(place.run("in.jsonl", RunOptions(via="batch")))
    place.check(KEYS)
    assert repeated(place)["doubles"] == 0
    in_jobs = sum(place.paid().values())
    assert in_jobs + repeated(place)["paid"] == len(KEYS)


@pytest.mark.parametrize("name", ["F5c", "F10"])
def test_auto_goes_on_in_batches(place: Place, name: str) -> None:
    place.write("in.jsonl", KEYS)
    if name == "F5c":
        place.service.limit(requests_per_day=15)
    else:
        place.service.faults.arm(name)
    place.service.pace(queue_delay=60.0)

    asyncio.run(place.run("in.jsonl", RunOptions(via="auto", concurrency=AT_ONCE)))

    place.check(KEYS)
    assert sum(place.paid().values()) + repeated(place)["paid"] == len(KEYS)


# Death ---------------------------------------------------------------------------------------------------------------


def work(place: Place, reaper: Reaper, who: str) -> Results:
    async def whole() -> Results:
        async with place.session(home=who, key=who) as session:
            opened = await session.backend()
            mortal: Any = Mortal(opened.service, reaper, (*CALLS, "call"))
            session._backend = Backend(opened.address, opened.key, mortal)
            order = Submission(source=place.folder / "in.jsonl", model=MODEL)
            return await run(session, order, FLEX, output=place.folder / f"{who}.out")

    return asyncio.run(whole())


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["F0", "F2", "F7a", "F7c"])
def test_death_at_every_step(
    place: Place, reaper: Reaper, monkeypatch: pytest.MonkeyPatch, name: str, when: When
) -> None:
    real = Journal.write

    def write(*args: Any, **more: Any) -> None:
        with reaper.step("write"):
            real(*args, **more)

    monkeypatch.setattr(Journal, "write", write)
    place.write("in.jsonl", keys := KEYS[:12])

    def arm() -> None:
        place.service.faults.clear()
        place.service.faults.arm(name, **SCENARIOS[name][0])

    arm()
    work(place, reaper, "plain")
    points = list(reaper.steps)
    assert {"call", "write"} <= set(points)

    def prepare(_: str) -> int:
        arm()
        return repeated(place)["doubles"]

    lives = lives_with_a_death(reaper, points, when, 15, prepare=prepare, live=lambda who: work(place, reaper, who))
    for who, before, where in lives:
        place.check(keys, f"{who}.out")
        assert repeated(place)["doubles"] - before <= AT_ONCE + SCENARIOS[name][1], where


@pytest.mark.parametrize("seed", range(6 if os.environ.get("CRASH_POINTS") == "all" else 1))
def test_killed_processes_double_at_most_what_was_in_flight(place: Place, seed: int) -> None:
    chance = random.Random(seed)
    keys = [f"k{n}" for n in range(300)]
    place.write("in.jsonl", keys)
    place.service._world.clock._base = time.time_ns
    place.service.faults.arm("F8", delay=0.05, delay_most=0.2, seed=seed)
    broken = seed % 2 * 5
    if broken:
        place.service.faults.arm("F7a", times=broken, skip=20)
    words = ("run", "in.jsonl", "-o", "out.jsonl", "--model", MODEL, "--via", "flex", "--concurrency", "16")
    deaths = killed_again_and_again(
        place, [sys.executable, "-m", "gemini_batch", *words], lambda died: chance.uniform(0.8, 1.6) * (1 + died / 5)
    )

    assert deaths > 0, "nothing was killed: the test does not test it"
    place.check(keys)
    assert repeated(place)["doubles"] <= 16 * deaths + broken
