"""Generated worlds of runs that go by batches and by calls: jobs that are stuck, expire or are half done, calls that
break or are refused, deaths, another way in each life, limits of money. Every key ends with its answer, what is paid
twice is counted, and no limit is exceeded."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, reset, write_requests
from engine.steps import jobs_of
from gemini_batch.commands.run import run
from gemini_batch.errors import ApiError, Error
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from gemini_batch.report.result_set import Results

KEYS = [f"k{n}" for n in range(9)]
#: When prices were known.
NOW = 1_795_000_000.0
#: Ways of one life: how requests are sent, and whether jobs that take long are finished first.
WAYS = st.sampled_from(["batch", "flex", "auto", "finish"])
#: The most that a run may cost, in nano-USD: a request without `maxOutputTokens` costs 0.1 USD at most.
CAPS = st.sampled_from([None, None, 250_000_000, 1_000_000_000])
#: The most that one request may cost, rounded down.
MOST = 98_000_000
ENOUGH = 100_000_000_000
MOST_LIVES = 14
#: What may end a life: the limit, before it begins or within; and a service that is of no help.
ALLOWED = {(6, "budget_reached"), (2, "over_budget"), (4, "calls_refused"), (4, "resource_exhausted")}


def trouble(word: str) -> Exception:
    match word:
        case "reset":
            return reset()
        case "429":
            return ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED", retry_after=7.0)
        case _:
            return ApiError("no", status=int(word), reason="UNAVAILABLE")


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    when = st.sampled_from(["before", "after"])
    # What the service refuses is not paid for; of a connection that breaks, no one knows.
    refused = st.tuples(st.just("before"), st.sampled_from(["429", "503", "500"]))
    calls = st.dictionaries(st.integers(0, 25), refused | st.tuples(when, st.just("reset")), max_size=8)
    ends = st.sampled_from(["SUCCEEDED", "SUCCEEDED", "EXPIRED", "stuck", "stuck"])
    return {
        "lives": draw(st.lists(st.tuples(WAYS, CAPS, st.integers(0, 30), when), max_size=5)),
        "last": draw(WAYS),
        "calls": draw(calls),
        "ends": dict(enumerate(draw(st.lists(ends, max_size=6)))),
        "half": draw(st.integers(0, len(KEYS))),
        "size": draw(st.integers(1, 9)),
        "at_once": draw(st.integers(1, 4)),
        "rows": draw(st.integers(0, 9)),
        "polls": draw(st.integers(1, 3)),
    }


class Stuck(FakeService):
    """Jobs of which some take days."""

    stuck: frozenset[int] = frozenset()

    def _move(self, job: Any) -> None:
        if self.jobs.index(job) in self.stuck and job.looks < 60:
            job.looks += 1
            return
        super()._move(job)


def service_of(world: dict[str, Any]) -> Stuck:
    clock = Clock()
    clock.now = NOW
    ends = world["ends"]
    service = Stuck(
        clock,
        chunk=10_000,
        polls_to_end=world["polls"],
        ends={number: (f"BATCH_STATE_{end}", None) for number, end in ends.items() if end != "stuck"},
        faults={("call", number): (when, trouble(word)) for number, (when, word) in world["calls"].items()},
        cancelled_answers=world["half"],
    )
    service.stuck = frozenset(number for number, end in ends.items() if end == "stuck")
    return service


def live(service: Stuck, folder: Path, world: dict[str, Any], way: str, cap: int | None) -> Results:
    options = RunOptions(
        via="flex" if way == "finish" else way,  # type: ignore[arg-type]
        concurrency=world["at_once"],
        flex_rows=world["rows"],
        max_requests_per_job=world["size"],
        max_nano_usd=cap,
    )

    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            return await run(
                session,
                Submission(source=folder / "in.jsonl"),
                options,
                output=folder / "out.jsonl",
                finish_after=600.0 if way == "finish" else None,
            )

    return asyncio.run(whole())


def through(service: Stuck, folder: Path, world: dict[str, Any]) -> Results:
    """Lives as drawn, each with a death; then without deaths and with enough money, until one comes to its end."""
    lives = [*world["lives"], *[(world["last"], ENOUGH, None, "before")] * (MOST_LIVES - len(world["lives"]))]
    cap = None
    for way, own, after, when in lives:
        service.death = None if after is None else (len(service.calls) + after, when)
        service.clock.pass_by(900.0)
        cap, before = own or cap, spent(folder)
        try:
            found = live(service, folder, world, way, own)
        except Killed:
            pass
        except Error as error:
            if (error.exit_code, error.reason_code) not in ALLOWED:
                raise
        else:
            if after is None:
                return found
        assert cap is None or spent(folder) <= max(cap, before)
    raise AssertionError("it never comes to its end")


def spent(folder: Path) -> int:
    """What counts towards the limit of the run, in nano-USD: all jobs but those that turned out not to exist."""
    if not (folder / "home" / "ledger.db").exists():
        return 0
    jobs = [job for job in jobs_of(folder) if job.intended_at and not job.dropped_at]
    return sum(job.bound or 0 if job.settled is None else job.settled for job in jobs)


def paid(service: Stuck) -> Counter[str]:
    """How often each key was answered, and paid for."""
    found = Counter(service.called)
    for job in service.jobs:
        found.update(msgspec.json.decode(line)["key"] for line in job.lines)
    return found


#: A job that was intended and never created costs nothing; the next life plans its requests anew.
DROPPED = {
    "lives": [("batch", None, 2, "before"), ("batch", 250_000_000, 5, "before")],
    "last": "batch",
    "calls": {},
    "ends": {},
    "half": 0,
    "size": 3,
    "at_once": 1,
    "rows": 0,
    "polls": 1,
}


@settings(settings.get_profile("worlds"))
@given(world=worlds())
@example(world=DROPPED)
def test_every_key_has_its_answer_whichever_way_it_went(
    tmp_path_factory: pytest.TempPathFactory, world: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("world")
    write_requests(folder / "in.jsonl", KEYS)
    service = service_of(world)

    through(service, folder, world)

    rows = [msgspec.json.decode(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [row["key"] for row in rows] == KEYS
    for row in rows:
        if row["verdict"] == "succeeded":
            assert row["response"]["text"] == f"answer to {row['key']}"
        else:
            assert (row["verdict"], row["error"]["reason"]) in {
                ("missing", "NO_ANSWER"),
                ("missing", "JOB_EXPIRED"),
                ("failed", "UNAVAILABLE"),
                ("failed", "INTERNAL"),  # and the next call broke
            }, row
    doubles = sum(times - 1 for times in paid(service).values() if times > 1)
    assert doubles <= sum(job.doubtful for job in jobs_of(folder))
    for job in jobs_of(folder):
        assert job.settled is None or job.settled >= job.doubtful * MOST, "what may be paid counts at its most"
