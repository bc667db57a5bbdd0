"""Steps that several test files take: a run worked off, a retry, a create, and what came of them."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from engine.fake import FakeService, FakeSession, Killed
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.events import Notice
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.commands.create import Created
    from gemini_batch.events import Event
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.records import Job

#: Every so many points are tried, all of them with ``CRASH_POINTS=all``.
EVERY = 1 if os.environ.get("CRASH_POINTS") == "all" else 5
KEYS = [f"k{n}" for n in range(6)]
GOOD = {key: f"answer to {key}" for key in KEYS}
ONCE = dict.fromkeys(KEYS, 1)
PAIRS = RunOptions(max_requests_per_job=2)


def work(
    service: FakeService,
    folder: Path,
    what: str | None = None,
    options: RunOptions | None = PAIRS,
    *,
    heard: list[Event] | None = None,
    timeout: float | None = None,
    key: str = "a-key",
    finish_after: float | None = None,
    **order: Any,
) -> Results:
    """``run in.jsonl -o results.jsonl``, or ``run RUN``."""

    async def whole() -> Results:
        async with FakeSession(service, folder / "home", key=key) as session:
            thing = what or Submission(source=folder / "in.jsonl", **order)
            try:
                return await run(
                    session,
                    thing,
                    options,
                    output=folder / "results.jsonl",
                    timeout=timeout,
                    finish_after=finish_after,
                )
            finally:
                if heard is not None:
                    heard.extend(session.events)

    return asyncio.run(whole())


def again(
    service: FakeService,
    folder: Path,
    run_id: str,
    verdict: str,
    *,
    heard: list[Event] | None = None,
    timeout: float | None = None,
    **change: Any,
) -> Results:
    """``retry RUN --only VERDICT``."""

    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            selection = RetrySelection(verdicts=tuple(verdict.split(",")), overrides=RequestOverrides(**change))
            try:
                return await retry(session, run_id, selection, timeout=timeout)
            finally:
                if heard is not None:
                    heard.extend(session.events)

    return asyncio.run(whole())


def begin(service: FakeService, folder: Path, **order: Any) -> Created:
    """``create in.jsonl``."""

    async def whole() -> Created:
        async with FakeSession(service, folder / "home") as session:
            return await create(session, Submission(source=folder / "in.jsonl", **order))

    return asyncio.run(whole())


def held(service: FakeService, folder: Path, name: str, **options: bool) -> Results:
    """``results NAME``."""

    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            return await results(session, name, **options)

    return asyncio.run(whole())


def texts(found: Results) -> dict[str, str | None]:
    """The text of each key, where there is one."""
    return {row["key"]: row.get("response", {}).get("text") for row in found}


def reasons(found: Results) -> dict[str, str]:
    """Why each key that did not succeed did not."""
    return {row["key"]: row["error"]["reason"] for row in found if "error" in row}


def jobs_of(folder: Path) -> list[Job]:
    """What the ledger knows of all jobs."""
    with Ledger(folder / "home" / "ledger.db") as ledger:
        return [job for _, job in ledger.jobs()]


def sentences(heard: list[Event]) -> str:
    """What was said, line by line."""
    return "\n".join(event.message for event in heard if isinstance(event, Notice))


def deadly(real: Callable[..., Any], point: int, when: str) -> Callable[..., Any]:
    """A method in whose call number ``point``, from 0, the process is killed, ``before`` or ``after`` its work."""
    count = 0

    def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == point + 1 and when == "before":
            raise Killed
        value = real(self, *args, **kwargs)
        if count == point + 1:
            raise Killed
        return value

    return dying
