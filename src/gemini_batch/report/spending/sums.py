"""Sums up what jobs and their answers used and cost: all together, and by day, model or run."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import msgspec

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.prices import FEES, Kind, Spend
from gemini_batch.report.money import NOT_KNOWN, AtMost, Money, at_most, money_of
from gemini_batch.report.spending.before import Estimated, Sending, compare

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from gemini_batch.report.spending.facts import AnswerFacts, Facts, JobFacts

K = TypeVar("K")
#: What groups can be made by.
By = Literal["day", "model", "run"]
BY: tuple[By, ...] = get_args(By)
#: The upper bounds of the groups of turnaround times, in seconds; above the last one is one more.
BOUNDS = (300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 24 * 3600)


class Turnaround(msgspec.Struct, frozen=True, kw_only=True):
    """How long jobs took, from create to end, in seconds."""

    jobs: int
    """Number of jobs that have ended, and of which both times are known."""
    median: float
    """Half of them took this long or less."""
    ninetieth: float
    """Nine of ten took this long or less."""
    longest: float
    """The longest time."""
    up_to: dict[str, int]
    """Number of jobs by the seconds that they took at most: `300`, `900`, …, `86400`, and `more`; each is in the first
    group that it fits."""


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What the jobs of a day, a model or a run used and cost, or all jobs."""

    name: str
    """Day (UTC, of each job's create), model or run; empty for all."""
    title: str
    """Display name of the newest job of a run; else empty."""
    runs: int
    """Number of runs."""
    jobs: int
    """Number of jobs. By model, a job counts for each model that answered."""
    requests_open: int
    """Requests in jobs that are alive, in doubt or not collected: what they cost is not known yet."""
    open_usd: AtMost
    """What these requests cost at most."""
    answers: int
    """Number of answers that were received, of all attempts."""
    verdicts: dict[str, int]
    """Number of requests by verdict; `missing` without any answer."""
    unanswered: int
    """How often a request was in a job that ended without an answer to it."""
    possibly_paid: AtMost
    """What these attempts may have cost; it is not in `usd`."""
    unread: int
    """Number of jobs whose answers cannot be read; what they cost is not known."""
    tokens: dict[str, int]
    """Tokens of all answers by kind; each token is in one kind only."""
    uses: dict[str, int]
    """Paid uses by kind: `search`, `maps`; queries, or prompts, as their price counts them."""
    usd: Money
    """What the answers cost."""
    at_least: bool
    """True if the amount leaves something out: see `usd.unknown` and `unread`."""
    turnaround: Turnaround | None
    """How long the jobs took; null if none has ended."""


class DayAndModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the answers of one model to the jobs of one day cost."""

    day: str
    """Day of each job's create, in UTC."""
    model: str
    """Model that answered; that was asked, for requests without an answer."""
    usd: float | None
    """What they cost in a batch; null if nothing of it is known."""
    at_least: bool
    """True if the amount leaves something out."""
    verdicts: dict[str, int]
    """Number of requests by verdict."""


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """A run that cannot be read, so that the amounts leave it out."""

    run: str
    """Id of the run."""
    message: str
    """What is wrong with it."""


class SpendReport(msgspec.Struct, frozen=True, kw_only=True):
    """What jobs used and cost, from the ledger and the answers on this machine."""

    run: str | None
    """Run that was asked for; null for all."""
    since: str | None
    """First day that counts, in UTC; null for all."""
    until: str
    """Day on which the report was made, in UTC."""
    by: str
    """What the groups are: `day`, `model` or `run`."""
    offline: bool
    """True if an emulator answered, so that nothing was paid: the amounts are what it would have cost."""
    total: Spending
    """Everything together."""
    estimated: Estimated | None
    """For one run: what `run` and `retry` expected before they sent its requests; null if nothing was expected, or for
    several runs."""
    groups: list[Spending]
    """Days and runs, oldest first; models, the most expensive first."""
    days_and_models: list[DayAndModel]
    """Money and verdicts by day and model, oldest day first."""
    unread: list[Unread]
    """Runs that cannot be read."""
    emulated: list[str]
    """Runs that are left out because an emulator answered them."""
    elsewhere: dict[str, int]
    """Number of jobs at other addresses than Google's, by address. Whether they cost what Google asks is not known."""


class _Sums:
    """The sums of one group while it grows."""

    def __init__(self) -> None:
        self.runs: set[str] = set()
        self.jobs: set[tuple[str, int]] = set()
        self.title = ""
        self.open = self.answers = self.unanswered = self.unread = 0
        self.verdicts, self.counts = Counter[str](), Counter[Kind]()
        self.spend, self.wasted = Spend(), dict[str, Spend]()
        self.times: list[float] = []
        self.open_most, self.possible = list[tuple[int, int | None]](), list[tuple[int, int | None]]()

    def add_answers(self, one: AnswerFacts) -> None:
        self.runs.add(one.run)
        self.answers += one.answers
        if one.use in VERDICTS:
            self.verdicts[one.use] += one.answers
        self.counts.update(one.counts)
        self.spend += one.spend
        if one.waste is not None:
            self.wasted[one.waste] = self.wasted.get(one.waste, Spend()) + one.spend

    def add_job(self, job: JobFacts, *, asked: bool) -> None:
        """Count a job; ``asked``: and what it did not answer."""
        self.runs.add(job.run)
        self.jobs.add((job.run, job.ordinal))
        self.title = job.name
        if job.took is not None:
            self.times.append(job.took)
        if asked:
            if job.collected:
                self.unanswered += job.unanswered
                self.possible.append((job.unanswered, job.most))
            else:
                self.open += job.requests
                self.open_most.append((job.requests, job.most))
            self.unread += job.unread
            if job.missing:
                self.verdicts["missing"] += job.missing

    @property
    def money(self) -> Money:
        """What it cost; without any answer that is not known."""
        return money_of(self.spend, dict(sorted(self.wasted.items()))) if self.answers or not self.jobs else NOT_KNOWN

    @property
    def at_least(self) -> bool:
        return self.spend.at_least or bool(self.unread)

    @property
    def verdict_counts(self) -> dict[str, int]:
        return {verdict: count for verdict in VERDICTS if (count := self.verdicts[verdict])}

    def spending(self, name: str = "", title: str = "") -> Spending:
        return Spending(
            name=name,
            title=title,
            runs=len(self.runs),
            jobs=len(self.jobs),
            requests_open=self.open,
            open_usd=at_most(self.open_most),
            answers=self.answers,
            verdicts=self.verdict_counts,
            unanswered=self.unanswered,
            possibly_paid=at_most(self.possible),
            unread=self.unread,
            tokens={kind.value: self.counts[kind] for kind in Kind if kind not in FEES and self.counts[kind]},
            uses={kind.value: self.counts[kind] for kind in Kind if kind in FEES and self.counts[kind]},
            usd=self.money,
            at_least=self.at_least,
            turnaround=turnaround(self.times),
        )


def turnaround(times: Iterable[float]) -> Turnaround | None:
    """How long jobs took, from their times in seconds; None without any."""
    ordered = sorted(times)
    if not ordered:
        return None
    up_to = {**{str(bound): 0 for bound in BOUNDS}, "more": 0}
    for seconds in ordered:
        up_to[next((str(bound) for bound in BOUNDS if seconds <= bound), "more")] += 1
    return Turnaround(
        jobs=len(ordered),
        median=_of_rank(ordered, 0.5),
        ninetieth=_of_rank(ordered, 0.9),
        longest=ordered[-1],
        up_to=up_to,
    )


def _of_rank(ordered: list[float], share: float) -> float:
    """The smallest of the times that so large a share of them does not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


def spend_report(
    facts: Facts,
    *,
    by: By,
    run: str | None = None,
    since: dt.date | None = None,
    until: dt.date,
    offline: bool = False,
    before: Sequence[Sending] = (),
) -> SpendReport:
    """What the facts come to. The rest is what the report says of itself; ``before``: what was expected of its run."""
    total, cells = _Sums(), dict[tuple[str, str], _Sums]()
    groups: dict[str, _Sums] = {job.run: _Sums() for job in facts.jobs} if by == "run" else {}
    answerers: dict[tuple[str, int], set[str]] = {}
    for one in facts.answers:
        group = {"day": str(one.day), "model": one.model, "run": one.run}[by]
        for sums in (total, _of(groups, group), _of(cells, (str(one.day), one.model))):
            sums.add_answers(one)
        answerers.setdefault((one.run, one.ordinal), set()).add(one.model)
    for job in facts.jobs:
        total.add_job(job, asked=True)
        for model, asked in _models(job, answerers.get((job.run, job.ordinal), set())).items():
            _of(cells, (str(job.day), model)).add_job(job, asked=asked)
            if by == "model":
                _of(groups, model).add_job(job, asked=asked)
        if by != "model":
            _of(groups, str(job.day) if by == "day" else job.run).add_job(job, asked=True)
    return SpendReport(
        run=run,
        since=None if since is None else str(since),
        until=str(until),
        by=by,
        offline=offline,
        total=total.spending(),
        estimated=compare(before, ((one.ordinal, one.spend) for one in facts.answers)),
        groups=_ordered(groups, by),
        days_and_models=[
            DayAndModel(
                day=day,
                model=model,
                usd=sums.money.batch,
                at_least=sums.at_least,
                verdicts=sums.verdict_counts,
            )
            for (day, model), sums in sorted(cells.items())
        ],
        unread=[Unread(run=name, message=message) for name, message in facts.unread.items()],
        emulated=list(facts.emulated),
        elsewhere=dict(facts.elsewhere),
    )


def _of(groups: dict[K, _Sums], name: K) -> _Sums:
    found = groups.get(name)
    if found is None:
        found = groups[name] = _Sums()
    return found


def _models(job: JobFacts, answered: set[str]) -> Mapping[str, bool]:
    """The models that a job counts for, each with whether it is the one that was asked.

    Those that answered; and the one that was asked if that did, or if anything is left to say of it.
    """
    found = {model: model == job.model for model in answered}
    if not answered or job.missing or job.unanswered or job.unread or not job.collected:
        found[job.model] = True
    return found


def _ordered(groups: Mapping[str, _Sums], by: By) -> list[Spending]:
    """Days in order, runs as they come (oldest first), models by cost."""
    found = [sums.spending(name, sums.title if by == "run" else "") for name, sums in groups.items()]
    if by == "day":
        return sorted(found, key=lambda one: one.name)
    if by == "model":
        return sorted(found, key=lambda one: (-(one.usd.batch or 0.0), one.name))
    return found
