"""Death at every step of a run against the emulator: before and after each call, before and after each write.

A run that dies and is started again ends with the same bytes as one that was left alone, and the service was paid the
same: whatever is due is due once. Every so many points are tried, all of them with ``CRASH_POINTS=all``
(`make durable`).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest

from crashes.conftest import MODEL
from gemini_batch.backend import Backend
from gemini_batch.commands.run import run
from gemini_batch.intake.submission import Submission
from gemini_batch.memory import recall
from gemini_batch.memory.index import Index
from gemini_batch.store.answer_writer import AnswerWriter
from gemini_batch.store.ledger import Ledger
from gemini_batch.store.rows import Rows
from gemini_batch.store.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from crashes.conftest import Place
    from gemini_batch.report.result_set import Results

KEYS = [f"k{n}" for n in range(7)]
OPTIONS = RunOptions(max_requests_per_job=2)
CALLS = ("start_upload", "query_upload", "send_upload", "get_file", "delete_file", "create", "get", "download")
WRITES: tuple[tuple[Any, str], ...] = (
    (Ledger, "add_run"),
    (Ledger, "add_job"),
    (Ledger, "update_job"),
    (Ledger, "uploaded"),
    (Ledger, "seen"),
    (Ledger, "set_quota_bounds"),
    (Rows, "take"),
    (Rows, "release"),
    (Rows, "requeue"),
    (Rows, "select"),
    (AnswerWriter, "finish"),
    (recall, "catch_up"),
    (recall, "lend"),
    (recall, "borrow"),
    (recall, "copy_identical"),
    (Index, "add_jobs"),
    (Index, "forget"),
)
When = Literal["before", "after"]


class Killed(BaseException):
    """The process is gone: nothing catches this."""


class Reaper:
    """Counts steps, and kills at one of them."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.point: int | None = None
        self.when: When = "before"

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        mine = self.point == len(self.steps)
        self.steps.append(name)
        if mine and self.when == "before":
            raise Killed(name)
        yield
        if mine:
            raise Killed(name)


class Mortal:
    """The real service behind calls that may be the last."""

    def __init__(self, service: Any, reaper: Reaper, calls: tuple[str, ...] = CALLS) -> None:
        self._service, self._reaper, self._calls = service, reaper, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._service, name)
        if name not in self._calls:
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            with self._reaper.step(name):
                return await found(*args, **kwargs)

        return call

    async def list_jobs(self, **kwargs: Any) -> AsyncIterator[Any]:
        with self._reaper.step("listing"):
            pages = [page async for page in self._service.listing(**kwargs)]
        for page in pages:
            yield page


@pytest.fixture
def reaper(monkeypatch: pytest.MonkeyPatch) -> Reaper:
    """Stands behind every write to the ledger and the rows."""
    made = Reaper()
    for owner, method in WRITES:
        real = getattr(owner, method)

        def mortal(*args: Any, _real: Any = real, _name: str = method, **more: Any) -> Any:
            with made.step(_name):
                return _real(*args, **more)

        monkeypatch.setattr(owner, method, mortal)
    return made


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
    elif trouble == "L7":
        place.service.faults.arm("L7", skip=1)
    elif trouble == "quota":
        place.service.faults.arm("C1", times=1, skip=1)


def due(place: Place, before: Counter[str]) -> dict[str, int]:
    return dict(place.paid() - before)


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

    deaths = 0
    every = 1 if os.environ.get("CRASH_POINTS") == "all" else 23
    for point in range(0, len(points), every):
        arm(place, trouble)
        before, jobs = place.paid(), place.jobs()
        reaper.steps.clear()
        reaper.point, reaper.when = point, when
        try:
            work(place, reaper, f"at{point}")
        except Killed:
            deaths += 1
            reaper.point = None
            work(place, reaper, f"at{point}")

        where = (point, points[point])
        assert comparable(place, f"at{point}", trouble) == expected, where
        assert due(place, before) == paid, where
        if trouble not in {"quota", "L7"}:
            assert place.jobs() - jobs == made, where
    # How often is looked differs, so a run may be through before it comes to one of the last points.
    assert deaths > len(points) // every * 0.6, "too few died: the test does not test it"


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_step_of_the_second_night(place: Place, reaper: Reaper, when: When) -> None:
    """Some rows have gone, some are new, one of these twice: what was answered on the first night is not sent again."""
    later = [*KEYS[2:], "n1", "n2"]
    place.service.pace(queue_delay=60.0)

    def first_night(who: str) -> None:
        reaper.point = None
        place.write("in.jsonl", KEYS)
        work(place, reaper, who)
        place.write("in.jsonl", later)
        reaper.steps.clear()

    first_night("plain")
    before = place.paid()
    work(place, reaper, "plain", dedupe=True)
    expected, points = comparable(place, "plain", ""), list(reaper.steps)
    assert due(place, before) == {"n1": 1, "n2": 1}
    assert {"catch_up", "add_jobs", "lend", "borrow", "copy_identical", "select"} <= set(points)

    deaths = 0
    every = 1 if os.environ.get("CRASH_POINTS") == "all" else 9
    for point in range(0, len(points), every):
        first_night(f"at{point}")
        before = place.paid()
        reaper.point, reaper.when = point, when
        try:
            work(place, reaper, f"at{point}", dedupe=True)
        except Killed:
            deaths += 1
            reaper.point = None
            work(place, reaper, f"at{point}", dedupe=True)

        where = (point, points[point])
        assert comparable(place, f"at{point}", "") == expected, where
        assert due(place, before) == {"n1": 1, "n2": 1}, where
    assert deaths > len(points) // every * 0.6, "too few died: the test does not test it"


def comparable(place: Place, who: str, trouble: str) -> bytes:
    """The results as bytes. Which of the jobs made beside each other fails is chance, and so are attempts."""
    data = (place.folder / f"{who}.out").read_bytes()
    return re.sub(rb'"attempt":[1-3]', b"", data) if trouble == "L7" else data
