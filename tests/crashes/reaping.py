"""Where a process of a test can die, and the loop over all of these places."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from gemini_batch.memory import recall
from gemini_batch.memory.index import Index
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.rows.answer_writer import AnswerWriter
from gemini_batch.store.rows.rows import Rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

T = TypeVar("T")
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


def lives_with_a_death(
    reaper: Reaper,
    points: Sequence[str],
    when: When,
    every: int,
    *,
    prepare: Callable[[str], T],
    live: Callable[[str], object],
) -> Iterator[tuple[str, T, tuple[int, str]]]:
    """Die at every so many points (all with ``CRASH_POINTS=all``), and live on: each time as another user.

    ``prepare`` and ``live`` take the user's name. Yields after each user's second life: the name, what was prepared,
    and where it died. Afterwards, most of them must have died.
    """
    deaths = tried = 0
    for point in range(0, len(points), 1 if os.environ.get("CRASH_POINTS") == "all" else every):
        who = f"at{point}"
        reaper.point = None
        prepared = prepare(who)
        reaper.steps.clear()
        reaper.point, reaper.when = point, when
        tried += 1
        try:
            live(who)
        except Killed:
            deaths += 1
            reaper.point = None
            live(who)
        yield who, prepared, (point, points[point])
    # How often is looked differs, so a run may be through before it comes to one of the last points.
    assert deaths > tried * 0.6, "too few died: the test does not test it"
