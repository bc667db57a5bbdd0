"""Generated worlds with limits of money: whatever happens, what the service charges is within each of them.

The service's own account is kept in ``billed.py``: what each row of each job used, whether its answer was ever
collected or not, at prices that are written there by hand. It exceeds a limit by nothing but the documented slack: jobs
of creates that got no answer and that the list left out when it was asked for them.
"""

from __future__ import annotations

import asyncio
import os
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from crashes.billed import MODEL, PRICES, by_period, by_run, charges, service_of
from crashes.test_worlds import ATTEMPTS, CALLS, END, ORDER, TROUBLE
from engine.clock import Clock
from engine.fake import FakeSession, Killed
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.errors import Error
from gemini_batch.intake.submission import Submission
from gemini_batch.money.limits import MaxUsd
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from crashes.billed import Billed

KEYS = [f"k{n}" for n in range(8)]
#: The most tokens of an answer, by request; the bound of a prompt is less than the price of one of these.
LIMIT = 1000
#: About what one request costs at most, before its price changes.
UNIT = PRICES[0][2] * LIMIT / 1_000_000
#: A row's answers, attempt by attempt: with all tokens that it may use, with few, without saying it, an error, nothing.
ROW = st.sampled_from(["whole", "whole", "little", "little", "silent", 13, 8, 3, "none", "broken", "twice", "blocked"])
#: How far the client's clock is set, in seconds: over midnight, over the end of the month. Back, it is never wrong by
#: three days or more: for so long, a price that begins counts before its day.
JUMP = st.sampled_from([-86_000.0, -3_600.0, 3_600.0, 90_000.0, 300_000.0, 2_700_000.0])
#: For how many seconds the list does not show a new job.
LATE = st.sampled_from([0.0, 0.0, 0.0, 10.0, 50.0, 4_000.0])
#: A create that makes a job and gets no answer.
DOUBT = st.tuples(st.just("create"), st.integers(0, 2))
MOST_LIVES = 16


class Yielding(Clock):
    """The same clock for several runs at once: whoever waits lets the others go on."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await super().sleep(seconds)


def cap(*units: float | None) -> st.SearchStrategy[Decimal | None]:
    """A limit of so many times what one request costs at most, before its price changes."""
    return st.sampled_from([None if unit is None else Decimal(str(unit)) * UNIT for unit in units])


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    calls = st.tuples(CALLS, st.integers(0, 6))
    return {
        "gone": draw(st.lists(st.integers(0, 6), max_size=2)),
        "jumps": draw(st.dictionaries(st.integers(0, 80), JUMP, max_size=3)),
        "late": draw(st.lists(LATE, max_size=6)),
        "list_hides": draw(st.integers(0, 1)),
        "start": draw(
            st.sampled_from(["2026-11-25T12:00", "2026-11-28T00:00", "2026-11-30T23:59", "2026-12-01T00:00"])
        ),
        "rows": {key: draw(st.lists(ROW, min_size=ATTEMPTS, max_size=ATTEMPTS)) for key in KEYS},
        "ends": dict(enumerate(draw(st.lists(END, max_size=6)))),
        "order": draw(ORDER),
        "seed": draw(st.integers(0, 1000)),
        "faults": {
            **draw(st.dictionaries(calls, st.tuples(st.sampled_from(["before", "after"]), TROUBLE), max_size=5)),
            **draw(st.dictionaries(DOUBT, st.just(("after", "reset")), max_size=2)),
        },
        "deaths": draw(st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["before", "after"])), max_size=4)),
        "most_jobs": draw(st.sampled_from([None, None, 1, 2])),
        "most_tokens": draw(st.sampled_from([None, None, 60, 120])),
        "size": draw(st.integers(1, 5)),
        "polls": draw(st.integers(1, 4)),
        "run": draw(cap(None, 2, 3.5, 6, 14, 30)),
        "day": draw(cap(None, None, 3, 6.5, 12)),
        "month": draw(cap(None, None, 4, 8.5, 16)),
        #: Requests of a second run that is there at the same time, and how many of them the first one has, too.
        "second": draw(st.sampled_from([0, 0, 3, 4])),
        "shared": draw(st.integers(0, 2)),
        "retry": draw(st.sampled_from([None, None, LIMIT * 2, LIMIT // 2])),
        "lower": draw(st.booleans()),
    }


def write(path: Path, keys: list[str]) -> None:
    config = {"maxOutputTokens": LIMIT}
    lines = [
        {"key": key, "request": {"contents": [{"parts": [{"text": f"ask {key}"}]}], "generationConfig": config}}
        for key in keys
    ]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def session(service: Billed, folder: Path, world: dict[str, Any]) -> FakeSession:
    return FakeSession(service, folder / "home", max_usd_per_day=world["day"], max_usd_per_month=world["month"])


def at_once(service: Billed, folder: Path, world: dict[str, Any]) -> int | None:
    """All runs of a world at once, in sessions of their own; the worst exit code, None if a process died."""
    ends: list[int] = []

    async def one(name: str) -> None:
        async with session(service, folder, world) as mine:
            limit = None if world["run"] is None else MaxUsd(world["run"])
            asked = Submission(source=folder / name, model=MODEL, max_usd=limit)
            options = RunOptions(max_requests_per_job=world["size"], attempts=ATTEMPTS)
            try:
                await run(mine, asked, options, output=folder / f"{name}.out")
                ends.append(0)
            except Error as error:
                ends.append(error.exit_code)
                if error.exit_code not in {2, 4, 6} or error.reason_code in {"locked", "unbounded_cost"}:
                    raise

    async def whole() -> None:
        tasks = [asyncio.ensure_future(one(path.name)) for path in sorted(folder.glob("?.jsonl"))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    try:
        asyncio.run(whole())
    except Killed:
        return None
    return max(ends)


@settings(settings.get_profile("worlds"), max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "40")))
@given(world=worlds())
def test_no_order_of_events_exceeds_a_limit(tmp_path_factory: pytest.TempPathFactory, world: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("world")
    first = len(KEYS) - world["second"]
    write(folder / "a.jsonl", KEYS[:first])
    if world["second"]:
        write(folder / "b.jsonl", KEYS[first - world["shared"] :])
    service = service_of(world, Yielding())
    before: dict[str, Decimal] = {}  # what each run had cost when its limit was set

    def within() -> None:
        charged = charges(service, folder / "home")
        for name, usd in by_run(charged).items():
            assert world["run"] is None or usd <= max(world["run"], before.get(name, Decimal(0))), (name, usd)
        for limit, period in ((world["day"], "%Y-%m-%d"), (world["month"], "%Y-%m")):
            for name, usd in by_period(charged, period).items():
                assert limit is None or usd <= limit, (name, usd)

    deaths: list[tuple[int, Any]] = list(world["deaths"])
    ends: list[int | None] = []
    for _ in range(MOST_LIVES):
        service.death = (len(service.calls) + deaths[0][0], deaths.pop(0)[1]) if deaths else None
        ends.append(at_once(service, folder, world))
        within()
        if ends[-1] in {0, 2, 6} and not deaths:
            break
        service.clock.pass_by(600.0)
    else:
        raise AssertionError(("it never comes to its end", ends))
    event(f"ends with {ends[-1]}, {'some' if service.jobs else 'no'} jobs")
    event("slack" if any(one.run is None for one in charges(service, folder / "home")) else "no slack")
    if world["run"] is world["day"] is world["month"] is None:
        assert ends[-1] == 0
    if world["retry"] is None or not service.jobs:
        return
    # A retry with another limit of its answers, and a limit of money that may be lower than what is spent.
    before = by_run(charges(service, folder / "home"))
    if world["run"] is not None:
        world["run"] = world["run"] / 2 if world["lower"] else world["run"] * 2
    service.death = None
    with Ledger(folder / "home" / "ledger.db") as ledger:
        runs = [one.id for one in ledger.runs()]
    for one in runs:
        asyncio.run(again(service, folder, one, world))
        within()


async def again(service: Billed, folder: Path, name: str, world: dict[str, Any]) -> None:
    async with session(service, folder, world) as mine:
        chosen = RetrySelection(
            verdicts=("failed", "missing", "blocked"), overrides=RequestOverrides(max_output_tokens=world["retry"])
        )
        try:
            await retry(mine, name, chosen, max_usd=None if world["run"] is None else MaxUsd(world["run"]))
        except Error as error:
            if error.exit_code not in {2, 4, 6}:
                raise
