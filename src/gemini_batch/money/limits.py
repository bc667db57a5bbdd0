"""Limits of money, and what requests may cost at most. Amounts are integers of nano-USD (10**-9 USD), rounded up."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

from gemini_batch.money.row_bounds import MEDIA

#: Pico-USD in a nano-USD.
PICO = 1000
_NANO = Decimal(10) ** 9


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
    """The highest prices that can apply to a request, in pico-USD (10**-12 USD) a token, and the most tokens it can have.

    ``media``: of a prompt that may have audio, pictures or video. ``answer``: what every answer may have at most, if
    that was changed for all requests.
    """

    text: int
    media: int
    output: int
    prompt_limit: int
    answer_limit: int
    answer: int | None = None

    def most(self, kind: int, prompt: int | None, answer: int | None) -> int:
        """What a request with this bound costs at most, in pico-USD, as far as tokens bound it."""
        tokens = self.prompt_limit if prompt is None else min(prompt, self.prompt_limit)
        if answer is None:
            answer = self.answer_limit
        if self.answer is not None and answer:  # embeddings have none
            answer = self.answer
        return self.cost(kind, tokens, answer)

    def cost(self, kind: int, prompt: int, answer: int) -> int:
        """What these tokens cost at most, in pico-USD."""
        return prompt * (self.media if kind == MEDIA else self.text) + answer * self.output


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
