"""What the answers cost, and which model gave them: the one that was asked, or the one that an answer names."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from gemini_batch import catalog
from gemini_batch.money.costs import cost_of, cost_of_answer, counts_of
from gemini_batch.money.limits import usd as round_up
from gemini_batch.prices import FEES, Kind, Spend
from gemini_batch.report.billing import EMULATED, usd
from gemini_batch.wire import is_alias, same_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gemini_batch.answers.usage import Usage
    from gemini_batch.money.book import PriceBook
    from gemini_batch.prices import Price, PriceUsed
    from gemini_batch.store.ledger.records import Job, Run


class PriceNote(msgspec.Struct, frozen=True, kw_only=True):
    """A price that was used."""

    model: str
    """Model whose price it is."""
    since: str | None
    """Day from which it holds; null for a price of your own without one."""
    date: str | None
    """Day on which it was checked; null if all of it is your own."""
    own: bool
    """True if `prices.toml` in the state folder sets it, or a part of it."""


def price_note(price: Price | PriceUsed) -> PriceNote:
    """A price as it is reported."""
    return PriceNote(
        model=price.model,
        since=str(price.start) if price.start else None,
        date=str(price.date) if price.date else None,
        own=price.own,
    )


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """What an amount leaves out."""

    why: Literal["price", "usage", "searches"]
    """`price`: it has no known price; `usage`: answers do not say, or not completely, how many tokens they used;
    `searches`: answers do not say how many paid queries were made."""
    model: str
    """Model that answered, or that was asked where the answers name none."""
    kind: str | None
    """Kind of token or use; null for all of an answer."""
    count: int
    """How much: tokens or uses of this kind, or answers if the kind is null or the queries are not stated."""


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """What answers cost, in USD, at the prices of the day on which each job was created."""

    batch: float | None
    """What they cost in a batch: all, or the least where `unknown` is not empty; null if nothing of it is known."""
    interactive: float | None
    """What the same would have cost outside a batch; null if that is not known."""
    by_kind: dict[str, float]
    """The parts of `batch`, by kind of token or use; each token is in one kind only."""
    wasted: dict[str, float]
    """The part of `batch` that gave no usable answer: `failed`, `truncated`, `duplicate` (second lines for a key) and
    `retried` (replaced by the answer of a later attempt)."""
    unknown: list[LeftOut]
    """What `batch` leaves out, because it is not known; most of it first."""
    prices: list[PriceNote]
    """Prices that were used."""

    @property
    def at_least(self) -> bool:
        """Whether something is left out of the amounts."""
        return bool(self.unknown)


def money_of(spend: Spend, wasted: Mapping[str, Spend] | None = None) -> Money:
    """An amount as it is reported; here it is rounded to a float."""
    batch = spend.batch
    waste = {use: part.batch for use, part in (wasted or {}).items()}
    return Money(
        batch=None if batch is None else float(batch),
        interactive=None if batch is None or spend.interactive is None else float(spend.interactive),
        by_kind={kind.value: float(spend.by_kind[kind]) for kind in Kind if spend.by_kind.get(kind)},
        wasted={use: float(usd) for use, usd in waste.items() if usd},
        unknown=[
            LeftOut(why=one.why, model=one.model, kind=one.kind.value if one.kind else None, count=count)
            for one, count in sorted(spend.unpriced.items(), key=lambda pair: (-pair[1], pair[0].why, pair[0].model))
        ],
        prices=[price_note(one) for one in sorted(spend.prices, key=lambda one: (one.model, str(one.start)))],
    )


class AnsweredBy(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that name another model than the one that was asked."""

    model: str
    """Model that the answers name; if they name none, the one that their job stated."""
    asked: str
    """Model that was asked."""
    answers: int
    """Number of answers, of all attempts."""


def answered_by(run: Run, jobs: Sequence[Job], usage: Sequence[Any]) -> list[AnsweredBy]:
    """The models that answered instead of those that were asked, most answers first; never an emulator's.

    A version of the model that was asked is that model; what an alias stands for is another one.
    """
    asked = {job.ordinal: job.model for job in jobs}
    found: dict[tuple[str, str], int] = {}
    for u in usage:
        model = asked.get(u["answer_file"], run.model)
        if u["model"] and not u["model"].endswith(EMULATED) and not _is(u["model"], model):
            found[u["model"], model] = found.get((u["model"], model), 0) + u["answers"]
    ordered = sorted(found.items(), key=lambda one: (-one[1], one[0]))
    return [AnsweredBy(model=model, asked=asked, answers=answers) for (model, asked), answers in ordered]


def _is(stated: str, asked: str) -> bool:
    """Whether the model that an answer names is the one that was asked, or a version of it."""
    return stated == asked or (not is_alias(asked) and same_model(stated, asked))


def is_another(stated: str, asked: str) -> bool:
    """Whether the service states another model for a job than the one that was asked; an alias and its target agree."""
    return not same_model(stated, asked) and _target(stated) != _target(asked)


def _target(name: str) -> str:
    found = catalog.load().find(name)
    return (found.alias_of if found else "") or name.removeprefix("models/")


def _priced_as(stated: str | None, asked: str, prices: PriceBook, day: dt.date) -> str:
    """The model whose price counts: the one that answered, or the one that was asked, if the answer names it or none.

    An emulator's answers are counted as if the model that was asked had given them. A version of the model that was
    asked has its price, unless it has one of its own.
    """
    if stated is None or stated.endswith(EMULATED):
        return asked
    if prices.facts.find(stated) is None and prices.price_on(stated, day) is None and _is(stated, asked):
        return asked
    return stated


class Part(NamedTuple):
    """What answers of one job used and cost that one model gave, with one use: a verdict, ``duplicate`` or ``retried``.

    ``model``: the one whose price counts. ``counts``: tokens and uses by kind.
    """

    job: int
    model: str
    day: dt.date
    use: str
    answers: int
    counts: Mapping[Kind, int]
    spend: Spend

    @property
    def waste(self) -> str | None:
        """Why nothing came of them; None if they are usable answers."""
        return None if self.use == "succeeded" else self.use if self.use in _WASTE else "failed"


_WASTE = frozenset({"truncated", "duplicate", "retried"})


class Meter:
    """Tells what the answers of a run cost. ``prices`` are those of the day on which each job was created, in UTC."""

    def __init__(self, run: Run, jobs: Sequence[Job], prices: PriceBook) -> None:
        self._run, self._prices = run, prices
        self._jobs = {job.ordinal: job for job in jobs}

    def parts(self, usage: Iterable[Any]) -> Iterator[Part]:
        """What each of the sums that ``Rows.usage`` gives costs."""
        for sums in usage:
            asked, day = self._asked(sums["answer_file"])
            model = _priced_as(sums["model"], asked, self._prices, day)
            price = self._price(model, day, sums["answer_file"], standard=bool(sums["standard"]))
            cost = cost_of(sums, model, price, long=bool(sums["long"]))
            yield Part(sums["answer_file"], model, day, sums["use"], sums["answers"], counts_of(sums, price), cost)

    def money(self, usage: Iterable[Any]) -> Money:
        """What the answers cost together; ``usage`` as for :meth:`parts`. Without any answer, it is not known."""
        whole, wasted, counted = Spend(), dict[str, Spend](), False
        for part in self.parts(usage):
            whole, counted = whole + part.spend, True
            if part.waste is not None:
                wasted[part.waste] = wasted.get(part.waste, Spend()) + part.spend
        return money_of(whole, wasted) if counted else NOT_KNOWN

    def answer(self, usage: Usage, stated: str | None, job: int | None, *, standard: bool = False) -> Spend:
        """What one answer cost; ``stated``: the model that it names, ``job``: the ordinal of its job, if it has one,
        ``standard``: it was charged as a standard call."""
        asked, day = self._asked(job)
        model = _priced_as(stated, asked, self._prices, day)
        return cost_of_answer(usage, model, self._price(model, day, job, standard=standard))

    def _price(self, model: str, day: dt.date, ordinal: int | None, *, standard: bool) -> Price | None:
        """The price of what a job asked, as it is charged."""
        price, job = self._prices.price_on(model, day), None if ordinal is None else self._jobs.get(ordinal)
        return price if price is None or job is None else price.charged("standard" if standard else job.via)

    def _asked(self, ordinal: int | None) -> tuple[str, dt.date]:
        """The model that a job asked, and the day whose prices count."""
        job = None if ordinal is None else self._jobs.get(ordinal)
        made = (job.created_at if job else None) or self._run.created_at
        return job.model if job else self._run.model, dt.datetime.fromtimestamp(made, dt.UTC).date()


class AtMost(msgspec.Struct, frozen=True, kw_only=True):
    """The most that something may have cost, in USD, at the highest price that could apply."""

    usd: float
    """The most that it may have cost, without what is in `unknown`."""
    unknown: int
    """Number of requests whose cost nothing bounds, or is not known here."""


def at_most(jobs: Iterable[tuple[int, int | None]]) -> AtMost:
    """What requests of several jobs may cost: how many of each, and their bound in nano-USD, None if it is unknown."""
    known, unknown = 0, 0
    for requests, nano in jobs:
        known, unknown = known + (nano or 0 if requests else 0), unknown + (requests if nano is None else 0)
    return AtMost(usd=known / 10**9, unknown=unknown)


#: What costs nothing: nothing was sent, or another run has paid for the answer.
NOTHING = money_of(Spend())
#: Nothing tells what it cost.
NOT_KNOWN = msgspec.structs.replace(NOTHING, batch=None, interactive=None)


# In words -------------------------------------------------------------------------------------------------------------


def amount(money: Money) -> str:
    """``$0.55``, ``at least $0.55``, ``cost unknown``."""
    if money.batch is None:
        return "cost unknown"
    return f"{'at least ' if money.at_least else ''}${usd(money.batch)}"


def bounded(one: AtMost) -> str:
    """``at most $0.55``, ``at most $0.55 without 7 of them, which nothing bounds``, ``of unknown cost``."""
    if one.unknown and not one.usd:
        return "of unknown cost"
    known = f"at most ${round_up(round(one.usd * 10**9))}"
    return f"{known} without {one.unknown:,} of them, which nothing bounds" if one.unknown else known


def left_out(money: Money) -> Iterator[str]:
    """What an amount leaves out, in words."""
    return map(_left_out, money.unknown)


def _left_out(one: LeftOut) -> str:
    answers = f"{one.count:,} {'answer' if one.count == 1 else 'answers'}"
    match one.why, one.kind:
        case "usage", _:
            return f"{answers} by {one.model} without complete token counts"
        case "searches", Kind.MAPS:
            return f"{answers} by {one.model} with Google Maps, which do not state their paid queries"
        case "searches", _:
            return f"{answers} whose searches an earlier version of this program did not count"
        case "price", None:
            return f"{answers} by {one.model}, whose price is unknown"
        case _, kind:
            unit = "uses" if kind in FEES else "tokens"
            return f"{one.count:,} {unit} of {(kind or '').replace('_', ' ')} by {one.model}, without a known price"


def price_days(money: Money) -> str:
    """Which prices were used: ``prices of 2026-11-22``; the oldest day counts. Empty if there were none."""
    days = sorted(one.date for one in money.prices if one.date)
    words = [f"prices of {days[0]}"] if days else []
    if any(one.own for one in money.prices):
        words.append("your own prices")
    return " and ".join(words)
