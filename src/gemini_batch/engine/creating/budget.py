"""What a run may still cost: its own limit, and those of the day and of the month over all runs of a state folder.

What always holds: in the transaction that records an intent, what collected jobs have cost, and what all others cost at
most, this one included, is within each limit. What one costs at most is computed then, with the prices of that day. So
no order of events exceeds a limit, with one exception: if nothing says whether a create made a job, and the list then
shows none, that job does not count, and the service may have made it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_batch.backend import OFFLINE
from gemini_batch.engine.settling import count_earlier, note_bounds
from gemini_batch.errors import Next, NotFinished, UsageError
from gemini_batch.money.limits import PICO, Caps, Purse, day_of, month_of, nano, row_prices, usd
from gemini_batch.store.ledger.records import JobStage, job_of
from gemini_batch.store.ledger.run_options import tiers_of
from gemini_batch.store.sqlite import explained
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from gemini_batch.errors import Error
    from gemini_batch.money.limits import RowPrices
    from gemini_batch.session import Session
    from gemini_batch.settings import Settings
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions
    from gemini_batch.store.rows.row_records import Most
    from gemini_batch.store.rows.rows import Rows

_SENT = "jobs.dropped_at IS NULL AND jobs.stage IN ('intended', 'created', 'ended', 'collected') AND jobs.id <> ?"
_FROM = f"FROM jobs JOIN runs ON runs.id = jobs.run WHERE {_SENT} AND "
_SPENT = (
    "SELECT coalesce(sum(coalesce(jobs.settled, jobs.bound)), 0), "
    "coalesce(sum(jobs.settled IS NULL AND jobs.unbounded IS NOT 0), 0), "
    f"coalesce(sum(iif(jobs.settled IS NULL, jobs.bound, 0)), 0) {_FROM}"
)
#: The jobs of which something is not known that may be found out.
_UNCOUNTED = f"SELECT jobs.* {_FROM}jobs.settled IS NULL AND (jobs.unbounded IS NULL OR jobs.stage = 'collected') AND "
#: What the limits are called that a user sets for one piece of work.
_RUN, _SHARDS = "this run", "these shards"
_PLANNED = (JobStage.PLANNED, JobStage.UPLOADED)
_WHEN = "coalesce(jobs.intended_at, jobs.created_at)"


class OverBudgetError(Exception):
    """A job costs more, at most, than a limit allows now. Nothing was recorded."""


class Reservation(NamedTuple):
    """What a job may cost: ``bound`` in nano-USD, None without a known price, and ``unbounded``, how many requests that
    leaves out. ``check`` is called in the transaction that records both; it raises OverBudgetError, UsageError."""

    bound: int | None
    unbounded: int | None
    check: Callable[[sqlite3.Connection], None]


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
    folder, book, now = session.state_folder.run(run.id), session.prices, session.world.now
    with folder.rows() as rows:
        note_bounds(rows, folder, run)

    tiers = tiers_of(options)

    def highest(model: str, answer: int | None) -> RowPrices | None:
        return row_prices(book, model, now(), answer=answer, tiers=tiers)

    caps = caps_of(session.settings, options)
    budget = Budget(session.ledger(), run, caps, overrides=options.overrides, highest=highest, now=now)
    count_earlier(session, budget.uncounted())
    return budget


class Budget:
    """The limits of one run.

    ``overrides``: what a retry changes in the requests that wait. ``highest``: the highest prices that can apply to a
    job that is created now, by model and by what every answer may have at most; None if they are not known.
    """

    def __init__(
        self,
        ledger: Ledger,
        run: Run,
        caps: Caps,
        *,
        overrides: RequestOverrides | None,
        highest: Callable[[str, int | None], RowPrices | None],
        now: Callable[[], float],
    ) -> None:
        self._ledger, self._run, self.caps, self._highest, self._now = ledger, run, caps, highest, now
        self._model = (overrides and overrides.model) or run.model
        self._answer = overrides.max_output_tokens if overrides else None

    @property
    def prices(self) -> RowPrices | None:
        """The highest prices that can apply now to the requests that wait; None if they are not known."""
        return self._highest(self._model, self._answer)

    def spent(self, without: str = "") -> list[Spent]:
        """What counts towards each limit, apart from the job with the id ``without``."""
        with explained(self._ledger.path, "ledger"):
            return list(self._spent(self._ledger.connection, without, self._now()))

    def _spent(self, db: sqlite3.Connection, without: str, at: float) -> Iterator[Spent]:
        for name, cap, where, values in self._scopes(at):
            yield Spent(name, cap, *db.execute(_SPENT + where, (without, *values)).fetchone())

    def uncounted(self) -> list[Job]:
        """The jobs that count towards a limit, and of which something is not known that may be found out."""
        with explained(self._ledger.path, "ledger"):
            db, scopes = self._ledger.connection, self._scopes(self._now())
            found = [row for _, _, where, values in scopes for row in db.execute(_UNCOUNTED + where, ("", *values))]
        return list({job.id: job for job in map(job_of, found)}.values())

    def _scopes(self, at: float) -> list[tuple[str, int, str, tuple[object, ...]]]:
        """What each limit that holds at a time is called, how much it is, and which jobs count towards it.

        An emulator's money is not money, so its runs have limits of their own.
        """
        offline = self._run.backend == OFFLINE
        (day, tomorrow), (month, next_month) = day_of(at), month_of(at)
        period = f"(runs.backend = '{OFFLINE}') = ? AND {_WHEN} >= ? AND {_WHEN} < ?"
        shards = self._run.shards
        own = (_RUN, self.caps.run, "jobs.run = ?", (self._run.id,))
        if shards is not None:
            own = (_SHARDS, self.caps.run, "runs.shards = ?", (shards,))
        scopes: list[tuple[str, int | None, str, tuple[object, ...]]] = [
            own,
            ("today", self.caps.day, period, (offline, day, tomorrow)),
            ("this month", self.caps.month, period, (offline, month, next_month)),
        ]
        return [(name, cap, where, values) for name, cap, where, values in scopes if cap is not None]

    def purse(self, rows: Rows) -> Purse | None:
        """What the next job may cost, besides those that are planned; None without a limit.

        Raises UsageError where nothing bounds the cost.
        """
        if not self.caps:
            return None
        prices = self.prices
        if prices is None:
            if not self.caps.unknown:
                raise self._unpriced()
            return None
        spent = self.spent()
        if not self.caps.unknown and (found := next((one for one in spent if one.unknown), None)):
            raise self._unbounded_jobs(found)
        planned = [job for job in self._ledger.jobs_of(self._run.id) if job.stage in _PLANNED]
        taken = sum(most.nano for job in planned if (most := self._most_of(rows, job)) is not None)
        return Purse(max(0, min(one.room for one in spent) - taken), prices, self.caps.unknown)

    def check(self, rows: Rows, expected: int | None = None) -> None:
        """Compare what all waiting requests cost with the limits, before the first is sent. Raises UsageError.

        ``expected``: what they are expected to cost, in nano-USD; None: compare what they cost at most.
        """
        waiting = rows.waiting().requests
        if not self.caps or not waiting:
            return
        prices = self.prices
        most = None if prices is None else rows.most(prices)
        self._refuse_unbounded(most)
        if most is None or (most.unknown and expected is None):
            return
        cost = most.nano if expected is None else expected if most.unknown else min(expected, most.nano)
        for one in self.spent():
            if one.unknown and not self.caps.unknown:
                raise self._unbounded_jobs(one)
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
        if not self.caps or job.stage is JobStage.INTENDED:  # what may have been sent is found out first
            return
        most = self._most_of(rows, job)
        self._refuse_unbounded(most)
        if most is not None and not most.unknown and any(most.nano > one.room for one in self.spent(job.id)):
            raise self.too_much(rows, job)

    def too_much(self, rows: Rows, job: Job) -> UsageError:
        """The error for a job that may cost more than the limits have left."""
        most, one = self._most_of(rows, job), min(self.spent(job.id), key=lambda spent: spent.room)
        return UsageError(
            f"The job may cost up to {usd(most.nano if most else 0)} USD, and the limit for {one.name} has "
            f"{usd(one.room)} USD left. Nothing was sent.",
            field="--max-usd",
            code="over_budget",
            next="Raise the limit, send fewer requests with --limit, or use `run`, which makes jobs that fit.",
        )

    def _most_of(self, rows: Rows, job: Job) -> Most | None:
        """What a job costs at most if it is created now. None if the prices are not known."""
        prices = self._highest(job.model, job.answer_limit)
        return None if prices is None else rows.most(prices, job.ordinal)

    def reserving(self, rows: Rows, job: Job, *, at: float) -> Reservation:
        """What a job costs at most, to be recorded with its intent, and the check that it is within each limit.

        ``at``: the time of the intent. The check may come later, when other processes have written; the job counts, and
        so is compared, with the day of its intent.

        Raises UsageError where nothing bounds its cost.
        """
        found = self._most_of(rows, job)
        nano = None if found is None else found.nano
        if nano is not None and job.stage is JobStage.INTENDED:  # it may have been created at the prices of its day
            nano = max(nano, job.bound or 0)
        unknown = None if found is None else found.unknown
        if not self.caps:
            return Reservation(nano, unknown, lambda _db: None)
        self._refuse_unbounded(found)

        def check(db: sqlite3.Connection) -> None:
            for one in self._spent(db, job.id, at):
                if one.unknown and not self.caps.unknown:
                    raise self._unbounded_jobs(one)
                if one.nano + (nano or 0) > one.cap:
                    raise OverBudgetError

        return Reservation(nano, unknown, check)

    def reached(self, rows: Rows) -> Error:
        """What ends a run whose next request does not fit in a limit, although nothing of it is alive."""
        prices, bound = self.prices, rows.next_bound()
        if prices is None:
            return self._unpriced()
        most = None if bound is None else prices.most(*bound)
        if most is None and not self.caps.unknown:  # it is no question of room
            return unbounded(rows.most(prices).unknown)
        one = min(self.spent(), key=lambda spent: spent.room)
        waiting = rows.waiting().requests
        requests = f"{counted(waiting, 'request')} {'is' if waiting == 1 else 'are'}"
        held = f", {usd(one.open)} of it reserved for jobs that are not collected" if one.open else ""
        least = usd(one.nano + -(-(most or 0) // PICO))
        again: Next | str = Next("run", self._run.id, why=f"goes on when the limit of {one.name} has room again")
        if one.name == _RUN:
            again = Next("run", self._run.id, "--max-usd", least, why="sends at least one more")
        elif one.name == _SHARDS:
            without = ", and without --new" if self._run.anew else ""
            again = f"Run the same command again with --max-usd {least} or more{without}."
        return NotFinished(
            f"The limit of {usd(one.cap)} USD for {one.name} is reached: {usd(one.nano)} USD count towards it{held}, "
            f"and the next request may cost more than what is left. {requests} not sent.",
            job=self._run.id,
            state="BUDGET_REACHED",
            code="budget_reached",
            next=again,
        )

    def _refuse_unbounded(self, most: Most | None) -> None:
        """Refuse what nothing bounds, unless the user allows it. Raises UsageError."""
        if (most is None or most.unknown) and not self.caps.unknown:
            raise self._unpriced() if most is None else unbounded(most.unknown)

    def _unpriced(self) -> UsageError:
        return UsageError(
            f"The price of {self._run.model} is not known, so no limit of USD can be kept.",
            field="--max-usd",
            code="unbounded_cost",
            next="Add its price to prices.toml, or allow it with --max-usd-unknown allow.",
        )

    def _unbounded_jobs(self, one: Spent) -> UsageError:
        return UsageError(
            f"What {counted(one.unknown, 'job')} of {one.name} cost is not known and nothing bounds it, so the limit "
            "cannot be kept.",
            field="--max-usd",
            code="unbounded_cost",
            next="Collect them first, or allow it with --max-usd-unknown allow.",
        )


def unbounded(count: int) -> UsageError:
    """The error for requests that no count of tokens bounds."""
    requests = f"{counted(count, 'request')} {'has' if count == 1 else 'have'}"
    return UsageError(
        f"{requests} charges that are not tokens (searches or other tools), or no bound on their answers, so no limit "
        "of USD can be kept.",
        field="--max-usd",
        code="unbounded_cost",
        next="Send them without --max-usd, or allow it with --max-usd-unknown allow.",
    )
