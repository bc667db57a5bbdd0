"""Generated worlds with a limit of money: whatever happens, what the service charges is within the limit.

The service's own account is kept here: what each row of each job used, whether its answer was ever collected or not, at
the prices of the catalog. It exceeds a limit by nothing but the documented slack: a create that got no answer, and that
was sent again, may have made two jobs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from crashes.test_worlds import ATTEMPTS, CALLS, END, ORDER, TROUBLE, Wild, error_of
from engine.fake import Clock, FakeSession, Killed
from gemini_batch import catalog
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.errors import Error
from gemini_batch.intake.submission import Submission
from gemini_batch.money.limits import MaxUsd
from gemini_batch.prices import Kind
from gemini_batch.store.ledger import Ledger
from gemini_batch.store.run_options import RequestOverrides, RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from engine.fake import Job

#: Its price doubles on 2026-12-01.
MODEL = "gemini-4-argon"
KEYS = [f"k{n}" for n in range(8)]
#: The most tokens of an answer, by request; the bound of a prompt is less than the price of one of these.
LIMIT = 1000
#: A row's answers, attempt by attempt: with all tokens that it may use, with few, without saying it, an error, nothing.
ROW = st.sampled_from(["whole", "whole", "little", "little", "silent", 13, 8, 3, "none", "broken", "twice", "blocked"])
MOST_LIVES = 14


class Billed(Wild):
    """The fake service with an account: the cost of each row of each job, in USD. ``kept``: the files of its jobs."""

    kept: dict[str, bytes]

    def tokens(self, job: Job, key: str) -> tuple[int, int]:
        """The tokens of the prompt and of the answer that a row is charged for."""
        number = self.jobs.index(job)
        attempt = sum(key in earlier.keys for earlier in self.jobs[:number]) + 1
        what = self.rows[key][min(attempt, ATTEMPTS) - 1]
        line = next(one for one in self.sent(job) if one["key"] == key)
        if isinstance(what, int) and job.state == "BATCH_STATE_SUCCEEDED":
            return 0, 0
        most = line["request"]["generationConfig"]["maxOutputTokens"]
        prompt = len(msgspec.json.encode(line))
        if what == "blocked" and job.state == "BATCH_STATE_SUCCEEDED":
            return prompt // 4, 0
        return (prompt // 4, most // 10) if what == "little" else (prompt, most)

    def sent(self, job: Job) -> list[Any]:
        data = self.kept[job.file_name or ""]
        return [msgspec.json.decode(line) for line in data.splitlines()]

    def cost(self, job: Job) -> Decimal:
        """What a job is charged; of one that is alive, deleted or without answers, all may have been done."""
        day = dt.datetime.fromtimestamp(job.created, dt.UTC).date()
        price = catalog.load().find(job.model).price_on(day)  # type: ignore[union-attr]
        assert price is not None
        assert price.batch is not None
        prompt, answer = price.batch.of(Kind.INPUT), price.batch.of(Kind.OUTPUT)
        assert prompt is not None
        assert answer is not None
        used = [self.tokens(job, key) for key in job.keys]
        return sum((prompt * asked + answer * given for asked, given in used), Decimal(0)) / 1_000_000

    async def create(self, **order: Any) -> Any:
        self.kept[order["file_name"]] = self.files[order["file_name"]]
        return await super().create(**order)

    def _row(self, key: str, attempt: int) -> bytes | None:
        what = self.rows[key][min(attempt, ATTEMPTS) - 1]
        if what == "none":
            return None
        if what == "broken":
            return b'{"key":"' + key.encode()
        if isinstance(what, int):
            return msgspec.json.encode({"error": {"code": what, "message": "why"}, "key": key})
        job = next(job for job in reversed(self.jobs) if key in job.keys)
        prompt, answer = self.tokens(job, key)
        used: dict[str, Any] = {
            "promptTokenCount": prompt,
            "candidatesTokenCount": answer,
            "totalTokenCount": prompt + answer,
        }
        response: dict[str, Any] = {"usageMetadata": used} if what != "silent" else {}
        if what == "blocked":
            response = {"usageMetadata": {"promptTokenCount": prompt}, "promptFeedback": {"blockReason": "SAFETY"}}
        else:
            response["candidates"] = [{"content": {"parts": [{"text": "well"}]}, "finishReason": "STOP"}]
        line = msgspec.json.encode({"response": response, "key": key})
        return line + b"\n" + line if what == "twice" else line


class Yielding(Clock):
    """The same clock for several runs at once: whoever waits lets the others go on."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        await super().sleep(seconds)


def row_usd() -> Decimal:
    """About what one request costs at most, before its price changes."""
    price = catalog.load().find(MODEL).price_on(dt.date(2026, 11, 28))  # type: ignore[union-attr]
    assert price is not None
    assert price.batch is not None
    return (price.batch.of(Kind.OUTPUT) or Decimal(0)) * LIMIT / 1_000_000


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    calls = st.tuples(CALLS, st.integers(0, 6))
    return {
        "gone": draw(st.lists(st.integers(0, 6), max_size=2)),
        "jumps": {},
        "start": draw(
            st.sampled_from(["2026-11-25T12:00", "2026-11-28T00:00", "2026-11-30T23:59", "2026-12-01T00:00"])
        ),
        "rows": {key: draw(st.lists(ROW, min_size=ATTEMPTS, max_size=ATTEMPTS)) for key in KEYS},
        "ends": dict(enumerate(draw(st.lists(END, max_size=6)))),
        "order": draw(ORDER),
        "seed": draw(st.integers(0, 1000)),
        "faults": draw(st.dictionaries(calls, st.tuples(st.sampled_from(["before", "after"]), TROUBLE), max_size=5)),
        "deaths": draw(st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["before", "after"])), max_size=4)),
        "most_jobs": draw(st.sampled_from([None, None, 1, 2])),
        "size": draw(st.integers(1, 5)),
        "polls": draw(st.integers(1, 4)),
        "run": draw(st.sampled_from([None, 2, 3.5, 6, 14, 30])),
        "day": draw(st.sampled_from([None, None, 3, 6.5, 12])),
        "both": draw(st.booleans()),
        "retry": draw(st.sampled_from([None, None, LIMIT * 2, LIMIT // 2])),
        "lower": draw(st.booleans()),
    }


def service_of(world: dict[str, Any]) -> Billed:
    service = Billed(
        Yielding(),
        chunk=10_000,
        polls_to_end=world["polls"],
        most_jobs=world["most_jobs"],
        ends={number: (f"BATCH_STATE_{state}", code) for number, (state, code) in world["ends"].items()},
        faults={call: (when, error_of(word)) for call, (when, word) in world["faults"].items()},
    )
    service.kept = {}
    service.clock.now = dt.datetime.fromisoformat(world["start"]).replace(tzinfo=dt.UTC).timestamp()
    service.plan(world)
    service.answer_at = service._row
    return service


def write(path: Path, keys: list[str]) -> None:
    config = {"maxOutputTokens": LIMIT}
    lines = [
        {"key": key, "request": {"contents": [{"parts": [{"text": f"ask {key}"}]}], "generationConfig": config}}
        for key in keys
    ]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def at_once(
    service: Billed, folder: Path, world: dict[str, Any], *, cap: Decimal | None, day: Decimal | None
) -> int | None:
    """All runs of a world at once, in sessions of their own; the worst exit code, None if a process died."""
    ends: list[int] = []

    async def one(name: str) -> None:
        async with FakeSession(service, folder / "home", max_usd_per_day=day) as session:
            asked = Submission(source=folder / name, model=MODEL, max_usd=None if cap is None else MaxUsd(cap))
            options = RunOptions(max_requests_per_job=world["size"], attempts=ATTEMPTS)
            try:
                await run(session, asked, options, output=folder / f"{name}.out")
                ends.append(0)
            except Error as error:
                ends.append(error.exit_code)
                if error.exit_code not in {2, 4, 6} or error.reason_code in {"locked", "unbounded_cost"}:
                    raise

    async def whole() -> None:
        names = ["a.jsonl", "b.jsonl"] if world["both"] else ["a.jsonl"]
        tasks = [asyncio.ensure_future(one(name)) for name in names]
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


def account(service: Billed, keys: set[str] | None = None, day: dt.date | None = None) -> tuple[Decimal, Decimal]:
    """What the service charges, and how much of it is slack: of jobs that read the same file, all but the dearest."""
    by_file: dict[str, list[Decimal]] = {}
    for job in service.jobs:
        mine = keys is None or job.keys[0] in keys
        if mine and (day is None or dt.datetime.fromtimestamp(job.created, dt.UTC).date() == day):
            by_file.setdefault(job.file_name or "", []).append(service.cost(job))
    whole = sum((sum(costs, Decimal(0)) for costs in by_file.values()), Decimal(0))
    return whole, whole - sum((max(costs) for costs in by_file.values()), Decimal(0))


def days(service: Billed) -> set[dt.date]:
    return {dt.datetime.fromtimestamp(job.created, dt.UTC).date() for job in service.jobs}


@settings(settings.get_profile("worlds"))
@given(world=worlds())
def test_no_order_of_events_exceeds_a_limit(tmp_path_factory: pytest.TempPathFactory, world: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("world")
    first, second = set(KEYS[:5]) if world["both"] else set(KEYS), set(KEYS[5:])
    write(folder / "a.jsonl", sorted(first))
    write(folder / "b.jsonl", sorted(second))
    service = service_of(world)
    unit = row_usd()
    cap = None if world["run"] is None else Decimal(str(world["run"])) * unit
    day = None if world["day"] is None else Decimal(str(world["day"])) * unit
    most = cap

    def within() -> None:
        for keys in (first, second):
            charged, slack = account(service, keys)
            assert most is None or charged - slack <= most, (charged, slack, most)
        for one in days(service):
            charged, slack = account(service, day=one)
            assert day is None or charged - slack <= day, (charged, slack, day)

    deaths: list[tuple[int, Any]] = list(world["deaths"])
    ends: list[int | None] = []
    for _ in range(MOST_LIVES):
        service.death = (len(service.calls) + deaths[0][0], deaths.pop(0)[1]) if deaths else None
        ends.append(at_once(service, folder, world, cap=cap, day=day))
        within()
        if ends[-1] in {0, 2, 6} and not deaths:
            break
    else:
        raise AssertionError(("it never comes to its end", ends))
    event(f"ends with {ends[-1]}, {'some' if service.jobs else 'no'} jobs")
    if cap is None and day is None:
        assert ends[-1] == 0
    if world["retry"] is None or not service.jobs:
        return
    # A retry with another limit of its answers, and a limit of money that may be lower than what is spent.
    most = cap = None if cap is None else cap / 2 if world["lower"] else cap * 2
    most = (
        None
        if cap is None
        else max(cap, *(account(service, keys)[0] - account(service, keys)[1] for keys in (first, second)))
    )
    service.death = None
    with Ledger(folder / "home" / "ledger.db") as ledger:
        runs = [one.id for one in ledger.runs()]
    for one in runs:
        asyncio.run(again(service, folder, one, world["retry"], cap, day))
        within()


async def again(
    service: Billed, folder: Path, name: str, tokens: int, cap: Decimal | None, day: Decimal | None
) -> None:
    async with FakeSession(service, folder / "home", max_usd_per_day=day) as session:
        chosen = RetrySelection(
            verdicts=("failed", "missing", "blocked"), overrides=RequestOverrides(max_output_tokens=tokens)
        )
        try:
            await retry(session, name, chosen, max_usd=None if cap is None else MaxUsd(cap))
        except Error as error:
            if error.exit_code not in {2, 4, 6}:
                raise
