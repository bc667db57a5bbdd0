"""What a run may still cost: its own limit, and those of the day and of the month over all runs of a state folder.

What always holds: in the transaction that records an intent, what collected jobs have cost, and what all others cost at
most, this one included, is within each limit. So no order of events exceeds a limit, with one exception: if a create
got no answer and is sent again, the service may have made two jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.catalog import Method
from gemini_batch.errors import Next, NotFinished, UsageError
from gemini_batch.events import counted
from gemini_batch.money.limits import PICO, Caps, Purse, day_of, month_of, nano, row_prices, usd
from gemini_batch.money.row_bounds import row_bound
from gemini_batch.store.records import JobStage
from gemini_batch.store.sqlite import explained

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from gemini_batch.errors import Error
    from gemini_batch.money.limits import RowPrices
    from gemini_batch.money.row_bounds import RowBound
    from gemini_batch.session import Session
    from gemini_batch.settings import Settings
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.row_records import Most
    from gemini_batch.store.rows import Rows
    from gemini_batch.store.run_options import RunOptions
    from gemini_batch.store.state_folder import RunFolder

_SENT = "jobs.dropped_at IS NULL AND jobs.stage IN ('intended', 'created', 'ended', 'collected') AND jobs.id <> ?"
_SPENT = (
    "SELECT coalesce(sum(coalesce(jobs.settled, jobs.bound)), 0), "  # noqa: S608 - no value
    "coalesce(sum(jobs.settled IS NULL AND jobs.bound IS NULL), 0), "
    "coalesce(sum(iif(jobs.settled IS NULL, jobs.bound, 0)), 0) "
    f"FROM jobs JOIN runs ON runs.id = jobs.run WHERE {_SENT} AND "
)
_PLANNED = (JobStage.PLANNED, JobStage.UPLOADED)
_WHEN = "coalesce(jobs.intended_at, jobs.created_at)"


class OverBudgetError(Exception):
    """A job costs more, at most, than a limit allows now. Nothing was recorded."""


class Spent(NamedTuple):
    """What counts towards one limit, in nano-USD. ``unknown``: jobs whose cost nothing bounds. ``open``: of ``nano``,
    the bounds of jobs that are not collected; collecting them frees what they did not cost."""

    name: str
    cap: int
    nano: int
    unknown: int
    open: int

    @property
    def room(self) -> int:
        """How much more may be spent."""
        return max(0, self.cap - self.nano)


def caps_of(settings: Settings, options: RunOptions) -> Caps:
    """The limits that hold for a run."""
    day, month = settings.max_usd_per_day, settings.max_usd_per_month
    return Caps(
        options.max_nano_usd,
        None if day is None else nano(day),
        None if month is None else nano(month),
        options.max_usd_unknown == "allow",
    )


def budget_of(session: Session, run: Run, options: RunOptions) -> Budget:
    """The budget of a run. Raises UsageError for a mistake in the user's prices, StateError."""
    now, overrides = session.world.now, options.overrides
    prices = row_prices(
        session.prices,
        (overrides and overrides.model) or run.model,
        now(),
        answer=overrides.max_output_tokens if overrides else None,
    )
    folder = session.state_folder.run(run.id)
    with folder.rows() as rows:
        note_bounds(rows, folder, run)
    return Budget(session.ledger(), run, caps_of(session.settings, options), prices, now)


class Budget:
    """The limits of one run. ``prices``: the highest that can apply to its requests; None if they are not known."""

    def __init__(
        self, ledger: Ledger, run: Run, caps: Caps, prices: RowPrices | None, now: Callable[[], float]
    ) -> None:
        self._ledger, self._run, self.caps, self.prices, self._now = ledger, run, caps, prices, now

    def spent(self, without: str = "") -> list[Spent]:
        """What counts towards each limit, apart from the job with the id ``without``."""
        with explained(self._ledger.path, "ledger"):
            return list(self._spent(self._ledger.connection, without))

    def _spent(self, db: sqlite3.Connection, without: str) -> Iterator[Spent]:
        at, backend = self._now(), self._run.backend
        scopes: list[tuple[str, int | None, str, tuple[object, ...]]] = [
            ("this run", self.caps.run, "jobs.run = ?", (self._run.id,))
        ]
        for name, cap, period in (("today", self.caps.day, day_of), ("this month", self.caps.month, month_of)):
            begin, end = period(at)
            scopes.append((name, cap, f"runs.backend = ? AND {_WHEN} >= ? AND {_WHEN} < ?", (backend, begin, end)))
        for name, cap, where, values in scopes:
            if cap is not None:
                yield Spent(name, cap, *db.execute(_SPENT + where, (without, *values)).fetchone())

    def purse(self, rows: Rows) -> Purse | None:
        """What the next job may cost, besides those that are planned; None without a limit.

        Raises UsageError where nothing bounds the cost.
        """
        if not self.caps:
            return None
        if self.prices is None:
            if not self.caps.unknown:
                raise self._unpriced()
            return None
        spent = self.spent()
        if not self.caps.unknown and (found := next((one for one in spent if one.unknown), None)):
            raise self._unbounded_jobs(found)
        planned = [job for job in self._ledger.jobs_of(self._run.id) if job.stage in _PLANNED]
        taken = sum(rows.most(self.prices, job.ordinal).nano for job in planned)
        return Purse(max(0, min(one.room for one in spent) - taken), self.prices, self.caps.unknown)

    def check(self, rows: Rows, expected: int | None = None) -> None:
        """Compare what all waiting requests cost with the limits, before anything is sent. Raises UsageError.

        ``expected``: what they are expected to cost, in nano-USD; None: compare what they cost at most.
        """
        waiting = rows.waiting().requests
        if not self.caps or not waiting:
            return
        most = self.most(rows)
        if most is None or most.unknown:
            if not self.caps.unknown:
                raise self._unpriced() if most is None else unbounded(most.unknown)
            return
        cost = most.nano if expected is None else min(expected, most.nano)
        for one in self.spent():
            if cost > one.room:
                costs = "may cost up to" if expected is None else "are expected to cost"
                raise UsageError(
                    f"{counted(waiting, 'request')} {costs} {usd(cost)} USD, and the limit for {one.name} has "
                    f"{usd(one.room)} USD left. Nothing was sent.",
                    field="--max-usd",
                    code="over_budget",
                    next="Raise the limit, or send fewer requests with --limit.",
                )

    def check_one(self, rows: Rows, job: Job) -> None:
        """Refuse a single job that may cost more than the limits have left, before its input is sent."""
        if not self.caps:
            return
        most = self.most(rows, job.ordinal)
        if most is None or most.unknown:
            if not self.caps.unknown:
                raise self._unpriced() if most is None else unbounded(most.unknown)
        elif any(most.nano > one.room for one in self.spent(job.id)):
            raise self.too_much(rows, job)

    def too_much(self, rows: Rows, job: Job) -> UsageError:
        """The error for a job that may cost more than the limits have left."""
        most, one = self.most(rows, job.ordinal), min(self.spent(job.id), key=lambda spent: spent.room)
        return UsageError(
            f"The job may cost up to {usd(most.nano if most else 0)} USD, and the limit for {one.name} has "
            f"{usd(one.room)} USD left. Nothing was sent.",
            field="--max-usd",
            code="over_budget",
            next="Raise the limit, send fewer requests with --limit, or use `run`, which makes jobs that fit.",
        )

    def most(self, rows: Rows, ordinal: int | None = None) -> Most | None:
        """What requests cost at most: those that wait, or those of a job. None if the prices are not known."""
        return None if self.prices is None else rows.most(self.prices, ordinal)

    def reserving(self, rows: Rows, job: Job) -> tuple[int | None, Callable[[sqlite3.Connection], None]]:
        """The bound of a job, and a check in the transaction that records it: raises OverBudgetError, UsageError."""
        found = self.most(rows, job.ordinal)
        bound = None if found is None or found.unknown else found.nano
        if not self.caps:
            return bound, lambda _db: None
        if bound is None and not self.caps.unknown:
            raise self._unpriced() if found is None else unbounded(found.unknown)

        def check(db: sqlite3.Connection) -> None:
            counted = 0 if found is None else found.nano
            for one in self._spent(db, job.id):
                if one.unknown and not self.caps.unknown:
                    raise self._unbounded_jobs(one)
                if one.nano + counted > one.cap:
                    raise OverBudgetError

        return (None if found is None else found.nano), check

    def reached(self, rows: Rows) -> Error:
        """What ends a run whose next request does not fit in a limit, although nothing of it is alive."""
        one = min(self.spent(), key=lambda spent: spent.room)
        waiting = rows.waiting().requests
        requests = f"{counted(waiting, 'request')} {'is' if waiting == 1 else 'are'}"
        held = f", {usd(one.open)} of it reserved for jobs that are not collected" if one.open else ""
        least = usd(one.nano + self._least(rows))
        again = (
            Next(
                "run",
                self._run.id,
                "--max-usd",
                least,
                why="sends at least one more",
            )
            if one.name == "this run"
            else Next("run", self._run.id, why=f"goes on when the limit of {one.name} has room again")
        )
        return NotFinished(
            f"The limit of {usd(one.cap)} USD for {one.name} is reached: {usd(one.nano)} USD count towards it{held}, "
            f"and the next request may cost more than what is left. {requests} not sent.",
            job=self._run.id,
            state="BUDGET_REACHED",
            code="budget_reached",
            next=again,
        )

    def _least(self, rows: Rows) -> int:
        bound = rows.next_bound()
        most = None if bound is None or self.prices is None else self.prices.most(*bound)
        return 0 if most is None else -(-most // PICO)

    def _unpriced(self) -> UsageError:
        return UsageError(
            f"The price of {self._run.model} is not known, so no limit of USD can be kept.",
            field="--max-usd",
            code="unbounded_cost",
            next="Add its price to prices.toml, or allow it with --max-usd-unknown allow.",
        )

    def _unbounded_jobs(self, one: Spent) -> UsageError:
        jobs = "1 job" if one.unknown == 1 else f"{one.unknown} jobs"
        return UsageError(
            f"What {jobs} of {one.name} cost is not known and nothing bounds it, so the limit cannot be kept.",
            field="--max-usd",
            code="unbounded_cost",
            next="Collect them first, or allow it with --max-usd-unknown allow.",
        )


def unbounded(count: int) -> UsageError:
    """The error for requests that no count of tokens bounds."""
    requests = "1 request has" if count == 1 else f"{count:,} requests have"
    return UsageError(
        f"{requests} charges that are not tokens (searches or other tools), or no bound on their answers, so no limit "
        "of USD can be kept.",
        field="--max-usd",
        code="unbounded_cost",
        next="Send them without --max-usd, or allow it with --max-usd-unknown allow.",
    )


def note_bounds(rows: Rows, folder: RunFolder, run: Run) -> None:
    """Note the bounds of requests that an earlier version entered. Raises StateError."""
    missing = rows.without_bounds()
    if not missing:
        return
    embeds = run.method is Method.EMBED
    with folder.requests.open("rb") as file:

        def bounds() -> Iterator[tuple[RowBound, int]]:
            for seq, offset, length in missing:
                file.seek(offset)
                yield row_bound(file.read(length), embeds=embeds), seq

        rows.set_bounds(bounds())
