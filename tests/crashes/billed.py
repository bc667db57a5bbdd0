"""The fake service with an account of its own: what it charges for each job, and what the client counts of that."""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from crashes.test_worlds import ATTEMPTS, Wild, error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from engine.clock import Clock
    from engine.fake import Job
    from gemini_batch.wire import Operation

MODEL = "gemini-4-argon"
#: USD per million tokens of its prompts and of its answers in batches, from a day on.
PRICES = ((dt.date(2026, 10, 13), Decimal(1), Decimal(5)), (dt.date(2026, 12, 1), Decimal(2), Decimal(10)))


def usd(on: dt.date, prompt: int, answer: int) -> Decimal:
    """What so many tokens cost on a day."""
    *_, (_, asked, given) = (price for price in PRICES if price[0] <= on)
    return (asked * prompt + given * answer) / 1_000_000


def day_of(at: float) -> dt.date:
    return dt.datetime.fromtimestamp(at, dt.UTC).date()


@dataclass
class Order:
    """What is known of a create that made a job. ``sent``: when, by the client's clock; ``at``: by the true one."""

    data: bytes
    sent: float
    at: float
    monotonic: float
    #: Whether the client heard the answer.
    answered: bool = False
    #: Whether a list that was read later left the job out.
    left_out: bool = False


@dataclass
class Billed(Wild):
    """``late``: for how many seconds the list does not show a job, by its number. The client's clock may be set, the
    service's is always right, and its prices are those of its own clock."""

    late: dict[int, float] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    #: The true time when the client's ``monotonic`` is zero.
    begin: float = 0.0

    async def create(self, **order: Any) -> Any:
        now = self.clock.monotonic
        mine = Order(self.files[order["file_name"]], self.clock.now, self.begin + now, now)
        self.orders[f"batches/job{len(self.jobs)}"] = mine  # of the next create, if this one is refused
        made = await super().create(**order)
        mine.answered = True
        return made

    async def listing(self) -> AsyncIterator[list[Operation]]:
        hidden = {job.name for number, job in enumerate(self.jobs) if job.deleted or self._is_late(number)}
        async for page in super().listing():
            shown = [operation for operation in page if operation.name not in hidden]
            left = {job.name for job in self.jobs} - {operation.name for operation in shown}
            for name in left if len(self.jobs) <= self.page else ():
                self.orders[name].left_out = True
            yield shown

    def _is_late(self, number: int) -> bool:
        order = self.orders[self.jobs[number].name]
        return self.clock.monotonic - order.monotonic < self.late.get(number, 0.0)

    def _operation(self, job: Job) -> Operation:
        found = super()._operation(job)
        assert found.metadata is not None
        found.metadata.create_time = dt.datetime.fromtimestamp(self.orders[job.name].at, dt.UTC).isoformat()
        return found

    # What rows use ---------------------------------------------------------------------------------------------------

    def tokens(self, job: Job, key: str) -> tuple[int, int]:
        """The tokens of the prompt and of the answer that a row is charged for."""
        number = self.jobs.index(job)
        attempt = sum(key in earlier.keys for earlier in self.jobs[:number]) + 1
        what = self.rows[key][min(attempt, ATTEMPTS) - 1]
        line = next(one for one in self._lines(job) if one["key"] == key)
        if isinstance(what, int) and job.state == "BATCH_STATE_SUCCEEDED":
            return 0, 0
        most = line["request"]["generationConfig"]["maxOutputTokens"]
        prompt = len(msgspec.json.encode(line))
        if what == "blocked" and job.state == "BATCH_STATE_SUCCEEDED":
            return prompt // 4, 0
        return (prompt // 4, most // 10) if what == "little" else (prompt, most)

    def _lines(self, job: Job) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.orders[job.name].data.splitlines()]

    def cost(self, job: Job) -> Decimal:
        """What a job is charged; of one that is alive, deleted or without answers, all may have been done."""
        on = day_of(self.orders[job.name].at)
        return sum((usd(on, *self.tokens(job, key)) for key in job.keys), Decimal(0))

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


def service_of(world: dict[str, Any], clock: Clock) -> Billed:
    """The service of a generated world, at its beginning."""
    service = Billed(
        clock,
        chunk=10_000,
        polls_to_end=world["polls"],
        most_jobs=world["most_jobs"],
        most_tokens=world["most_tokens"],
        list_hides=world["list_hides"],
        late=dict(enumerate(world["late"])),
        ends={number: (f"BATCH_STATE_{state}", code) for number, (state, code) in world["ends"].items()},
        faults={call: (when, error_of(word)) for call, (when, word) in world["faults"].items()},
    )
    service.begin = clock.now = dt.datetime.fromisoformat(world["start"]).replace(tzinfo=dt.UTC).timestamp()
    service.plan(world)
    return service


# The account ---------------------------------------------------------------------------------------------------------


class Charge(NamedTuple):
    """What one job is charged. ``run``: the run whose limit counts it; None for what only the service knows of.

    ``sent``: when its create was sent, by the client's clock. ``counts``: a time on the day for which it counts.
    """

    usd: Decimal
    run: str | None
    sent: float
    counts: float | None


def charges(service: Billed, home: Path) -> list[Charge]:
    """The service's account, job by job. No amount is read from the ledger, only which jobs it knows.

    The documented slack: a job may be unknown there, or counted for another day than that on which it was sent, for
    one reason. Its create got no answer, and the list left it out when it was searched for, or the job that an earlier
    create with the same file had made.
    """
    counted: dict[str, tuple[str, float]] = {}
    with contextlib.closing(sqlite3.connect(home / "ledger.db")) as db:
        sql = "SELECT batch, file, run, intended_at FROM jobs WHERE dropped_at IS NULL AND stage NOT IN (?, ?)"
        for batch, file, run, intended in db.execute(sql, ("planned", "uploaded")):
            mine = [job for job in service.jobs if (job.file_name == file if batch is None else job.name == batch)]
            if mine:
                counted[max(mine, key=service.cost).name] = run, intended
    left_out = {job.file_name for job in service.jobs if service.orders[job.name].left_out}
    found = []
    for job in service.jobs:
        order, (run, at) = service.orders[job.name], counted.get(job.name, (None, None))
        if at is None or day_of(at) != day_of(order.sent):
            assert job.file_name in left_out, ("not counted", job, order)
            assert not order.answered, ("not counted", job, order)
        found.append(Charge(service.cost(job), run, order.sent, at))
    return found


def by_run(charged: Iterable[Charge]) -> dict[str, Decimal]:
    """What the limit of each run holds for."""
    sums: dict[str, Decimal] = {}
    for one in charged:
        if one.run is not None:
            sums[one.run] = sums.get(one.run, Decimal(0)) + one.usd
    return sums


def by_period(charged: Iterable[Charge], period: str) -> dict[str, Decimal]:
    """What the limits of days, or of months, hold for: ``%Y-%m-%d`` or ``%Y-%m``."""
    sums: dict[str, Decimal] = {}
    for one in charged:
        name = f"{day_of(one.sent):{period}}"
        if one.counts is not None and f"{day_of(one.counts):{period}}" == name:
            sums[name] = sums.get(name, Decimal(0)) + one.usd
    return sums
