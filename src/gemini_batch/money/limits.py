"""Limits of money, and what requests may cost at most. Amounts are integers of nano-USD (10**-9 USD), rounded up."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Literal, NamedTuple

from gemini_batch.money.row_bounds import PICTURES, SOUND, TEXT
from gemini_batch.prices import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.money.book import PriceBook
    from gemini_batch.prices import Tier

#: A price that begins within this time of a create may apply to the job.
_SOON = dt.timedelta(days=3)
#: Pico-USD in a nano-USD.
PICO = 1000
_NANO = Decimal(10) ** 9


Usd = Decimal | float | str
Basis = Literal["expected", "worst"]
Unknown = Literal["refuse", "allow"]


@dataclass(frozen=True, slots=True)
class MaxUsd:
    """The most that a run may cost, in USD, with all of its attempts.

    ``basis``: the cost that is compared with it before anything is sent: what is expected, or the most that it can be.
    Whatever the basis, no job is created that could exceed the limit. ``unknown``: ``"allow"`` also sends requests
    whose cost nothing bounds; they count as far as it is known. ``usd`` None: no limit of the run's own, but these
    words about the limits of the day and the month.
    """

    usd: Usd | None
    basis: Basis | None = None
    unknown: Unknown | None = None


def nano(usd: Decimal) -> int:
    """USD in nano-USD, rounded up."""
    return int((usd * _NANO).to_integral_value(ROUND_CEILING))


def usd(nano_usd: int) -> str:
    """An amount of USD as people write it, rounded up to cents, or to 10**-6 USD if it is less than 1."""
    amount = Decimal(nano_usd) / _NANO
    digits = Decimal("0.01") if amount >= 1 else Decimal("0.000001")
    shown = f"{amount.quantize(digits, ROUND_CEILING):f}"
    whole, _, cents = shown.partition(".")
    return f"{whole}.{cents.rstrip('0'):0<2}"


class RowPrices(NamedTuple):
    """The highest prices that can apply to a request, in pico-USD (10**-12 USD) a token, and the most tokens of it.

    ``pictures``, ``sound``: of a prompt that has any; None if it is not known. All three are None if nothing bounds
    what the model answers. ``answer``: what every answer may have at most, if that was changed for all requests, or if
    what a request allows does not limit it. A limit is None if it is not known.
    """

    text: int | None
    pictures: int | None
    sound: int | None
    output: int
    prompt_limit: int | None
    answer_limit: int | None
    answer: int | None = None

    def most(self, kind: int, prompt: int | None, answer: int | None) -> int | None:
        """What a request with this bound costs at most, in pico-USD; None if nothing bounds it."""
        limits = [tokens for tokens in (prompt, self.prompt_limit) if tokens is not None]
        if answer is None:
            answer = self.answer_limit
        if self.answer is not None and answer != 0:  # embeddings have none
            answer = self.answer
        return self.cost(kind, min(limits, default=None), answer)

    def cost(self, kind: int, prompt: int | None, answer: int | None) -> int | None:
        """What these tokens of requests of one kind cost at most, in pico-USD; None if nothing bounds it."""
        rate = {TEXT: self.text, PICTURES: self.pictures, SOUND: self.sound}.get(kind)
        return None if rate is None or prompt is None or answer is None else prompt * rate + answer * self.output


def row_prices(
    prices: PriceBook, model: str, at: float, *, answer: int | None = None, tiers: Iterable[Tier] = ("batch",)
) -> RowPrices | None:
    """The highest prices that can apply to a request of a job that is created now; None if they are not known.

    ``tiers``: how it may be charged.

    A job that is sent again after an unanswered create, or that the service answers at a new price, is priced within
    three days. ``answer``: as in :class:`RowPrices`.
    """
    first = dt.datetime.fromtimestamp(at, dt.UTC).date()
    last = first + _SOON
    fact = prices.facts.find(model)
    spans = [(model, first, last)]
    if fact is not None and (end := fact.shutdown) is not None and first < end.on <= last and end.then == "gone":
        spans = [(model, first, end.on - dt.timedelta(days=1))]  # from that day on, the model answers nothing
    elif fact is not None and end is not None and end.then == "rerouted" and last >= end.on:
        spans.append((end.replaced_by, first, last))
    highest = [prices.highest(*span) for span in spans]
    found = [None if price is None else price.charged(tier).batch for price in highest for tier in tiers]

    def most(*kinds: Kind) -> int | None:
        rates = [None if one is None else one.of(kind) for one in found for kind in kinds]
        known = [rate for rate in rates if rate is not None]
        return max(map(_pico, known)) if len(known) == len(rates) else None

    embeds = fact is not None and fact.kind == "embedding"
    text, output = most(Kind.INPUT, Kind.TOOL_USE), 0 if embeds else most(Kind.OUTPUT, Kind.THOUGHTS)
    made = [rate for kind in (Kind.IMAGE_OUTPUT, Kind.AUDIO_OUTPUT) if (rate := most(kind)) is not None]
    draws = fact is not None and fact.kind == "image"
    limit = fact.max_output_tokens if fact is not None else None
    if text is None or output is None or (draws and most(Kind.IMAGE_OUTPUT) is None):
        return None
    bounded = not draws or limit is not None  # no source says that what a request allows limits pictures, too
    return RowPrices(
        text=text if bounded else None,
        pictures=most(Kind.INPUT, Kind.IMAGE_INPUT) if bounded else None,
        sound=most(Kind.INPUT, Kind.IMAGE_INPUT, Kind.VIDEO_INPUT, Kind.AUDIO_INPUT) if bounded else None,
        output=max([output, *made]),
        prompt_limit=fact.context_tokens if fact is not None else None,
        answer_limit=limit,
        answer=limit if draws else answer,
    )


def _pico(usd_a_million: Decimal) -> int:
    return int((usd_a_million * 1_000_000).to_integral_value(ROUND_CEILING))


class Purse(NamedTuple):
    """What a job may cost at most: ``room`` in nano-USD. ``unknown``: requests that nothing bounds may be in it."""

    room: int
    prices: RowPrices
    unknown: bool


class Caps(NamedTuple):
    """What may be spent, in nano-USD: on a run, and on all runs of a day and of a month (UTC); None: no limit.

    ``unknown``: whether requests are sent whose cost nothing bounds; they count as far as it is known.
    """

    run: int | None = None
    day: int | None = None
    month: int | None = None
    unknown: bool = False

    def __bool__(self) -> bool:
        return self.run is not None or self.day is not None or self.month is not None


def day_of(at: float) -> tuple[float, float]:
    """The UTC day of a time: its first second, and that of the next one."""
    start = dt.datetime.fromtimestamp(at, dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return start.timestamp(), (start + dt.timedelta(days=1)).timestamp()


def month_of(at: float) -> tuple[float, float]:
    """The UTC month of a time: its first second, and that of the next one."""
    start = dt.datetime.fromtimestamp(at, dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return start.timestamp(), (start + dt.timedelta(days=32)).replace(day=1).timestamp()
