"""Death at every step of a run against the emulator: before and after each call, before and after each write.

A run that dies and is started again ends with the same bytes as one that was left alone, and the service was paid the
same: whatever is due is due once. Every so many points are tried, all of them with ``CRASH_POINTS=all``
(`make durable`).
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from crashes.conftest import MODEL
from crashes.reaping import Mortal, Reaper, When, lives_with_a_death, reaper
from gemini_batch.backend import Backend
from gemini_batch.commands.run import run
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from crashes.conftest import Place
    from gemini_batch.report.result_set import Results

__all__ = ["reaper"]

KEYS = [f"k{n}" for n in range(7)]
OPTIONS = RunOptions(max_requests_per_job=2)


def work(place: Place, reaper: Reaper, who: str, **more: Any) -> Results:
    """One process from its start to its end, or to its death. Everybody has a home and a project of their own."""

    async def whole() -> Results:
        async with place.session(home=who, key=who) as session:
            opened = await session.backend()
            mortal: Any = Mortal(opened.service, reaper)
            session._backend = Backend(opened.address, opened.key, mortal)
            order = Submission(source=place.folder / "in.jsonl", model=MODEL, **more)
            return await run(session, order, OPTIONS, output=place.folder / f"{who}.out")

    return asyncio.run(whole())


def arm(place: Place, trouble: str) -> None:
    """Something to do for the run: a row that fails temporarily, a job that fails, creates in doubt."""
    place.service.faults.clear()
    place.service.faults.arm(row="error", key="k4", code=14)
    place.service.faults.arm("R1")
    if trouble in {"C8a", "C8b", "C8d"}:
        place.service.faults.arm(trouble, times=2, skip=1)
    elif trouble == "V1":
        place.service.faults.arm("V1", times=0)
    elif trouble == "L7":
        place.service.faults.arm("L7", skip=1)
    elif trouble == "quota":
        place.service.faults.arm("C1", times=1, skip=1)


def due(place: Place, before: Counter[str]) -> dict[str, int]:
    return dict(place.paid() - before)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("trouble", ["", "C8a", "V1"])
def test_death_at_every_step_at_vertex_ai(place: Place, reaper: Reaper, trouble: str, when: When) -> None:
    """The same where requests and answers go through a bucket, and answers have no key."""
    place.vertex = True
    test_death_at_every_step(place, reaper, trouble, when)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("trouble", ["", "C8a", "C8b", "C8d", "L7", "quota"])
def test_death_at_every_step(place: Place, reaper: Reaper, trouble: str, when: When) -> None:
    place.write("in.jsonl", KEYS)
    arm(place, trouble)
    place.service.pace(queue_delay=60.0)
    work(place, reaper, "plain")
    expected = comparable(place, "plain", trouble)
    paid, made, points = due(place, Counter()), place.jobs(), list(reaper.steps)
    assert paid == dict.fromkeys(KEYS, 1), "rows that failed cost nothing"
    assert len(points) > 50

    def prepare(_: str) -> tuple[Counter[str], int]:
        arm(place, trouble)
        return place.paid(), place.jobs()

    lives = lives_with_a_death(reaper, points, when, 41, prepare=prepare, live=lambda who: work(place, reaper, who))
    for who, (before, jobs), where in lives:
        assert comparable(place, who, trouble) == expected, where
        assert due(place, before) == paid, where
        if trouble not in {"quota", "L7"}:
            assert place.jobs() - jobs == made, where


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_step_of_the_second_night(place: Place, reaper: Reaper, when: When) -> None:
    """Some rows have gone, some are new, one of these twice: what was answered on the first night is not sent again."""
    later = [*KEYS[2:], "n1", "n2"]
    place.service.pace(queue_delay=60.0)

    def first_night(who: str) -> Counter[str]:
        place.write("in.jsonl", KEYS)
        work(place, reaper, who)
        place.write("in.jsonl", later)
        reaper.steps.clear()
        return place.paid()

    before = first_night("plain")
    work(place, reaper, "plain", dedupe=True)
    expected, points = comparable(place, "plain", ""), list(reaper.steps)
    assert due(place, before) == {"n1": 1, "n2": 1}
    assert {"catch_up", "add_jobs", "lend", "borrow", "copy_identical", "select"} <= set(points)

    lives = lives_with_a_death(
        reaper, points, when, 9, prepare=first_night, live=lambda who: work(place, reaper, who, dedupe=True)
    )
    for who, before, where in lives:
        assert comparable(place, who, "") == expected, where
        assert due(place, before) == {"n1": 1, "n2": 1}, where


def comparable(place: Place, who: str, trouble: str) -> bytes:
    """The results as bytes. Which of the jobs made beside each other fails is chance, and so are attempts."""
    data = (place.folder / f"{who}.out").read_bytes()
    return re.sub(rb'"attempt":[1-3]', b"", data) if trouble == "L7" else data
