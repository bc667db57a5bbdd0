"""Limits of money in runs: what counts, when it is checked, and how a run ends and goes on."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sqlite3
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line
from gemini_batch.commands.create import create
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.errors import Error, NotFinished, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.money.limits import MaxUsd
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions, kept_options

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.store.ledger.records import Job

#: Its price doubles on 2026-12-01: 5 USD per million tokens of answers, then 10.
MODEL = "gemini-4-argon"
KEYS = [f"k{n}" for n in range(4)]
TOKENS = 20_000
#: One answer of these costs up to 0.10 USD, its prompt of about 130 bytes up to 0.0005.
ONE = Decimal("0.1005")
BY_ONE = RunOptions(max_requests_per_job=1, attempts=2)


def line_of(key: str, **request: Any) -> bytes:
    config = {"generationConfig": {"maxOutputTokens": TOKENS}, **request}
    return msgspec.json.encode({"key": key, "request": {"contents": [{"parts": [{"text": key}]}], **config}})


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    made = FakeService(Clock(), chunk=10_000)
    made.clock.now = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()
    (tmp_path / "in.jsonl").write_bytes(b"".join(line_of(key) + b"\n" for key in KEYS))
    return made


def failed(key: str, _attempt: int = 0) -> bytes:
    return msgspec.json.encode({"error": {"code": 3, "message": "why"}, "key": key})


def work(
    service: FakeService,
    folder: Path,
    what: str | None = None,
    *,
    usd: Any = None,
    options: RunOptions = BY_ONE,
    source: str = "in.jsonl",
    **settings: Any,
) -> str | None:
    """``run`` to its end; returns the code of its error, if it ends with one."""

    async def whole() -> None:
        async with FakeSession(service, folder / "home", **settings) as session:
            limit = usd if isinstance(usd, MaxUsd) or usd is None else MaxUsd(usd)
            asked = Submission(source=folder / source, model=MODEL, max_usd=limit)
            await run(session, what or asked, options.capped(limit) if what else options)

    try:
        asyncio.run(whole())
    except (NotFinished, UsageError) as error:
        return error.reason_code
    return None


def jobs(folder: Path) -> list[Job]:
    with Ledger(folder / "home" / "ledger.db") as ledger:
        (newest, *_) = ledger.runs()
        return ledger.jobs_of(newest.id)


def sent(service: FakeService) -> int:
    return sum(len(job.keys) for job in service.jobs)


def test_jobs_are_cut_to_what_is_left(service: FakeService, tmp_path: Path) -> None:
    """Two requests fit at once; their answers cost little, so two more follow."""
    assert work(service, tmp_path, usd=2 * ONE, options=RunOptions()) is None
    assert [len(job.keys) for job in service.jobs] == [2, 2]
    assert all(0 < (job.settled or 0) < (job.bound or 0) for job in jobs(tmp_path))


@pytest.mark.parametrize(
    ("end", "answer"),
    [
        ("BATCH_STATE_FAILED", answer_line),
        ("BATCH_STATE_EXPIRED", answer_line),
        ("BATCH_STATE_CANCELLED", answer_line),
        ("BATCH_STATE_SUCCEEDED", lambda _: None),
        ("BATCH_STATE_SUCCEEDED", lambda key: msgspec.json.encode({"response": {"candidates": []}, "key": key})),
    ],
    ids=["failed", "expired", "cancelled", "without lines", "without usage"],
)  # fmt: skip
def test_what_got_no_answer_counts_with_its_most(service: FakeService, tmp_path: Path, end: str, answer: Any) -> None:
    service.end_state, service.answer = end, answer
    asked = work(service, tmp_path, usd=2 * ONE)
    assert asked is not None
    assert sent(service) == 2
    assert all(job.settled == job.bound for job in jobs(tmp_path))
    without_usage = answer(KEYS[0]) is not None and end == "BATCH_STATE_SUCCEEDED"
    assert all(job.possible == (0 if without_usage else job.bound) for job in jobs(tmp_path)), "an answer is no doubt"


def test_an_error_in_place_of_an_answer_costs_nothing(service: FakeService, tmp_path: Path) -> None:
    service.answer = failed
    assert work(service, tmp_path, usd=ONE) is None
    assert sent(service) == 4
    assert {(job.settled, job.possible) for job in jobs(tmp_path)} == {(0, 0)}


def test_a_run_that_is_stopped_anywhere_keeps_its_limit(service: FakeService, tmp_path: Path) -> None:
    """At every call (with ``CRASH_POINTS=all``), before and after the service does its part; nothing is answered."""
    every = 1 if os.environ.get("CRASH_POINTS") == "all" else 4
    times: tuple[Literal["before", "after"], ...] = ("before", "after")
    for when in times:
        for number in range(every // 2 if when == "after" else 0, 40, every):
            home = tmp_path / f"{when}-{number}"
            home.mkdir()
            (home / "in.jsonl").write_bytes((tmp_path / "in.jsonl").read_bytes())
            again = FakeService(Clock(), chunk=10_000, end_state="BATCH_STATE_FAILED")
            again.clock.now = service.clock.now
            again.death = (number, when)
            try:
                work(again, home, usd=2 * ONE)
            except Killed:
                again.death = None
                assert work(again, home, usd=2 * ONE) in {"budget_reached", "over_budget"}
            else:
                again.death = None
            assert sent(again) == 2, (when, number)


def test_the_price_of_the_day_of_each_create_counts(service: FakeService, tmp_path: Path) -> None:
    """A run that lasts over a change of the price: what fitted on the first day is too much on the last."""

    def late(key: str, _attempt: int) -> bytes:
        service.clock.pass_by(15 * 86_400)
        return failed(key)

    service.answer_at = late

    assert work(service, tmp_path, usd=ONE) == "budget_reached"

    assert sent(service) == 1
    assert dt.datetime.fromtimestamp(service.clock.now, dt.UTC).date() >= dt.date(2026, 12, 1)


@pytest.mark.parametrize(("basis", "code"), [("worst", "over_budget"), ("expected", None)])
def test_what_is_compared_before_the_first_is_sent(service: FakeService, tmp_path: Path, basis: Any, code: Any) -> None:
    assert work(service, tmp_path, usd=MaxUsd(2 * ONE, basis=basis)) == code
    assert sent(service) == (0 if code else 4)


def test_what_goes_on_is_not_compared_again(service: FakeService, tmp_path: Path) -> None:
    """The same command ends in the same way, and what it proposes sends at least one more."""
    service.end_state = "BATCH_STATE_FAILED"
    assert work(service, tmp_path, usd=2 * ONE) == "budget_reached"
    assert work(service, tmp_path, usd=MaxUsd(2 * ONE, basis="worst")) == "budget_reached"
    assert work(service, tmp_path, jobs(tmp_path)[0].run, usd=3 * ONE) == "budget_reached"
    assert sent(service) == 3


def test_what_is_planned_is_checked_again_before_it_is_sent(service: FakeService, tmp_path: Path) -> None:
    """A job that was planned with more left is planned again, smaller, or not at all."""
    service.death = (0, "before")
    with pytest.raises(Killed):
        work(service, tmp_path, usd=4 * ONE, options=RunOptions())
    assert [job.requests for job in jobs(tmp_path)] == [4]
    service.death, service.end_state = None, "BATCH_STATE_FAILED"

    assert work(service, tmp_path, usd=ONE / 2, options=RunOptions()) == "budget_reached"
    assert sent(service) == 0
    assert work(service, tmp_path, usd=3 * ONE, options=RunOptions()) == "budget_reached"
    assert sent(service) == 3


def test_a_limit_that_is_lowered_below_what_was_spent(service: FakeService, tmp_path: Path) -> None:
    service.end_state = "BATCH_STATE_FAILED"
    assert work(service, tmp_path, usd=2 * ONE) == "budget_reached"
    assert work(service, tmp_path, usd=ONE / 2) == "budget_reached"
    assert sent(service) == 2


# Retries -------------------------------------------------------------------------------------------------------------


def resend(
    service: FakeService, folder: Path, tokens: int | None = None, *, usd: Any = None, model: str | None = None
) -> str | None:
    chosen = RetrySelection(
        verdicts=("failed", "missing"),
        overrides=RequestOverrides(max_output_tokens=tokens, model=model),
        model_check=False,
    )

    async def whole() -> None:
        async with FakeSession(service, folder / "home") as session:
            await retry(session, jobs(folder)[0].run, chosen, max_usd=usd)

    try:
        asyncio.run(whole())
    except Error as error:
        return error.reason_code
    return None


def test_a_retry_that_costs_too_much_leaves_the_run_as_it_was(service: FakeService, tmp_path: Path) -> None:
    service.answer = failed
    assert work(service, tmp_path) is None
    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        before = ledger.runs()

    assert resend(service, tmp_path, usd=MaxUsd("0.001", basis="worst")) == "over_budget"

    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        assert ledger.runs() == before
    assert work(service, tmp_path, before[0].id) is None
    assert sent(service) == 4, "nothing waits"


def test_a_retry_keeps_the_limit_of_the_run(service: FakeService, tmp_path: Path) -> None:
    """Words about what is unknown do not take it away."""
    service.answer = failed
    assert (
        work(service, tmp_path, usd=MaxUsd(ONE, basis="worst"), options=RunOptions(max_requests_per_job=1))
        == "over_budget"
    )
    assert work(service, tmp_path, usd=MaxUsd(5 * ONE, basis="worst")) is None

    assert resend(service, tmp_path, usd=MaxUsd(None, unknown="allow")) is None

    with Ledger(tmp_path / "home" / "ledger.db") as ledger:
        options = kept_options(ledger.runs()[0])
    assert (options.max_nano_usd, options.max_usd_basis, options.max_usd_unknown) == (
        int(5 * ONE * 10**9),
        "worst",
        "allow",
    )


def test_longer_answers_count_with_what_their_job_allows(service: FakeService, tmp_path: Path) -> None:
    """The rows state 20,000 tokens; the retry's jobs allow three times as many, so one is all that fits."""
    service.answer = failed
    assert work(service, tmp_path) is None
    service.end_state = "BATCH_STATE_FAILED"

    assert resend(service, tmp_path, 3 * TOKENS, usd=MaxUsd(4 * ONE)) == "budget_reached"

    assert sent(service) == 5
    again = jobs(tmp_path)[-1]
    assert (again.answer_limit, again.settled) == (3 * TOKENS, again.bound)
    assert (again.bound or 0) > 300_000_000


# Several runs --------------------------------------------------------------------------------------------------------


def test_a_day_is_that_of_utc_and_of_all_addresses(service: FakeService, tmp_path: Path) -> None:
    service.end_state = "BATCH_STATE_FAILED"
    (tmp_path / "b.jsonl").write_bytes(b"".join(line_of(f"b{key}") + b"\n" for key in KEYS))
    assert work(service, tmp_path, max_usd_per_day=2 * ONE) == "budget_reached"
    with sqlite3.connect(tmp_path / "home" / "ledger.db") as db:
        db.execute("UPDATE runs SET backend = 'https://another.invalid'")
    assert work(service, tmp_path, source="b.jsonl", max_usd_per_day=2 * ONE) == "budget_reached"
    assert sent(service) == 2
    service.clock.pass_by(86_400)
    assert work(service, tmp_path, source="b.jsonl", max_usd_per_day=2 * ONE) == "budget_reached"
    assert sent(service) == 4
    assert work(service, tmp_path, source="b.jsonl", max_usd_per_month=4 * ONE) == "budget_reached"
    assert sent(service) == 4


def test_what_others_reserve_during_an_upload_counts(service: FakeService, tmp_path: Path) -> None:
    """A day has room for four requests. While a job of four is uploaded, another run sends two."""
    (tmp_path / "other.jsonl").write_bytes(b"".join(line_of(f"other{n}") + b"\n" for n in range(2)))
    service.end_state = "BATCH_STATE_FAILED"
    day: dict[str, Any] = {"max_usd_per_day": 4 * ONE}
    send = service.send_upload

    async def slow(*words: Any, **more: Any) -> Any:
        service.send_upload = send  # type: ignore[method-assign]
        await asyncio.to_thread(work, service, tmp_path, source="other.jsonl", options=RunOptions(), **day)
        return await send(*words, **more)

    service.send_upload = slow  # type: ignore[method-assign]

    assert work(service, tmp_path, options=RunOptions(), **day) == "budget_reached"

    assert [len(job.keys) for job in service.jobs] == [2, 2]


def test_jobs_of_an_emulator_are_apart(service: FakeService, tmp_path: Path) -> None:
    service.end_state = "BATCH_STATE_FAILED"
    (tmp_path / "b.jsonl").write_bytes(b"".join(line_of(f"b{key}") + b"\n" for key in KEYS))
    assert work(service, tmp_path, max_usd_per_day=2 * ONE) == "budget_reached"
    with sqlite3.connect(tmp_path / "home" / "ledger.db") as db:
        db.execute("UPDATE runs SET backend = 'offline'")
    assert work(service, tmp_path, source="b.jsonl", max_usd_per_day=2 * ONE) == "budget_reached"
    assert sent(service) == 4


@pytest.mark.parametrize("stage", ["created", "collected"])
@pytest.mark.parametrize("lost", ["bound = NULL, unbounded = NULL", "bound = NULL, unbounded = NULL, settled = NULL"])
def test_jobs_of_an_earlier_version_count(service: FakeService, tmp_path: Path, stage: str, lost: str) -> None:
    """Their bounds were never noted; they are found out."""
    service.end_state = "BATCH_STATE_FAILED" if stage == "collected" else "BATCH_STATE_RUNNING"
    two = RunOptions(max_requests_per_job=1)
    if stage == "created":
        made_here(service, tmp_path)
    else:
        assert work(service, tmp_path, usd=2 * ONE, options=two) == "budget_reached"
    with sqlite3.connect(tmp_path / "home" / "ledger.db") as db:
        db.execute(f"UPDATE jobs SET {lost}")
    for rows in (tmp_path / "home").rglob("rows.db"):
        with sqlite3.connect(rows) as db:
            db.execute("UPDATE requests SET bound_kind = NULL, bound_prompt = NULL, bound_answer = NULL")
    (tmp_path / "b.jsonl").write_bytes(b"".join(line_of(f"b{key}") + b"\n" for key in KEYS))
    service.end_state = "BATCH_STATE_FAILED"
    before = sent(service)

    assert work(service, tmp_path, source="b.jsonl", max_usd_per_day=(before + 1) * ONE) == "budget_reached"

    assert sent(service) == before + 1


def made_here(service: FakeService, folder: Path) -> None:
    async def whole() -> None:
        async with FakeSession(service, folder / "home") as session:
            await create(session, Submission(source=folder / "in.jsonl", model=MODEL))

    asyncio.run(whole())
    assert [job.stage for job in jobs(folder)] == [JobStage.CREATED]


def test_what_an_allowed_request_costs_is_not_known_to_others(service: FakeService, tmp_path: Path) -> None:
    """What one run was allowed to send without a bound is no cost of nothing for the next."""
    service.end_state = "BATCH_STATE_FAILED"
    search = line_of("s", tools=[{"googleSearch": {}}])
    (tmp_path / "s.jsonl").write_bytes(search + b"\n")
    assert work(service, tmp_path, source="s.jsonl", usd=ONE) == "unbounded_cost"
    assert sent(service) == 0
    assert work(service, tmp_path, source="s.jsonl", usd=MaxUsd(ONE, unknown="allow")) is None
    before = sent(service)
    assert before > 0

    assert work(service, tmp_path, max_usd_per_day=2 * ONE) == "unbounded_cost"

    assert sent(service) == before


def test_what_was_allowed_is_refused_when_it_no_longer_is(service: FakeService, tmp_path: Path) -> None:
    """Wherever the first command stopped; a limit without room is not the reason that is given."""
    lines = [line_of(f"s{number}", tools=[{"googleSearch": {}}]) + b"\n" for number in range(3)]
    for number in range(8):
        home = tmp_path / str(number)
        home.mkdir()
        (home / "in.jsonl").write_bytes(b"".join(lines))
        again = FakeService(Clock(), chunk=10_000, death=(number, "before"))
        again.clock.now = service.clock.now
        with pytest.raises(Killed):
            work(again, home, usd=MaxUsd(9 * ONE, unknown="allow"))
        again.death = None
        before = sent(again)
        in_doubt = any(job.stage is JobStage.INTENDED for job in jobs(home))

        assert work(again, home, usd=MaxUsd(9 * ONE, unknown="refuse")) == "unbounded_cost", number

        assert sent(again) == before, (number, in_doubt)


def test_create_finds_out_about_a_create_in_doubt_whatever_its_limit(service: FakeService, tmp_path: Path) -> None:
    async def whole(usd: Decimal) -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            await create(session, Submission(source=tmp_path / "in.jsonl", model=MODEL, max_usd=MaxUsd(usd)))

    with pytest.raises(UsageError, match="The job may cost up to"):
        asyncio.run(whole(ONE))
    service.death = (2, "after")
    with pytest.raises(Killed):
        asyncio.run(whole(5 * ONE))
    service.death = None
    assert len(service.jobs) == 1
    asyncio.run(whole(ONE))
    assert len(service.jobs) == 1
    assert [job.stage.made for job in jobs(tmp_path)] == [True]
