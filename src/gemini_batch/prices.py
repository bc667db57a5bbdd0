"""Prices as values: what is paid for, by kind, the rates of a model on a day, and exact amounts in USD.

All arithmetic is in :class:`~decimal.Decimal`; only what shows an amount rounds it. A price that is not known is None,
and what it would apply to is listed as unpriced: it never counts as 0.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec needs the type itself
import enum
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

K = TypeVar("K")
V = TypeVar("V", int, Decimal)

Tier = Literal["batch", "flex", "standard"]
"""How answers are charged."""
#: Prompts of more tokens than this cost more with some models.
LONG_PROMPT = 200_000
ZERO = Decimal(0)


class Kind(enum.StrEnum):
    """What is paid for. All kinds but the last two are tokens, and each token is of one kind only."""

    INPUT = "input"
    IMAGE_INPUT = "image_input"
    VIDEO_INPUT = "video_input"
    AUDIO_INPUT = "audio_input"
    CACHED = "cached"
    CACHED_AUDIO = "cached_audio"
    TOOL_USE = "tool_use"
    OUTPUT = "output"
    THOUGHTS = "thoughts"
    IMAGE_OUTPUT = "image_output"
    AUDIO_OUTPUT = "audio_output"
    SEARCH = "search"
    MAPS = "maps"


#: The kinds that are no tokens: their prices are per thousand.
FEES = frozenset({Kind.SEARCH, Kind.MAPS})
#: The kinds of an answer's tokens, and those of a prompt's.
ANSWER_KINDS = frozenset({Kind.OUTPUT, Kind.THOUGHTS, Kind.IMAGE_OUTPUT, Kind.AUDIO_OUTPUT})
PROMPT_KINDS = frozenset(Kind) - ANSWER_KINDS - FEES
#: A kind without a rate of its own costs what this kind costs. Sound and pictures that are made have no such rule.
SAME_AS = {
    Kind.IMAGE_INPUT: Kind.INPUT,
    Kind.VIDEO_INPUT: Kind.INPUT,
    Kind.TOOL_USE: Kind.INPUT,
    Kind.THOUGHTS: Kind.OUTPUT,
    Kind.AUDIO_OUTPUT: Kind.OUTPUT,
}


class ShortRates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens, by kind; None: not known, or as the text says.

    ``image_input``, ``video_input`` and ``tool_use`` cost the same as ``input`` if they have no rate of their own,
    ``thoughts`` and ``audio_output`` the same as ``output``. ``cached_audio`` costs the same as ``cached`` where sound
    costs the same as text.
    """

    input: Decimal | None = None
    image_input: Decimal | None = None
    video_input: Decimal | None = None
    audio_input: Decimal | None = None
    cached: Decimal | None = None
    cached_audio: Decimal | None = None
    tool_use: Decimal | None = None
    output: Decimal | None = None
    thoughts: Decimal | None = None
    image_output: Decimal | None = None
    audio_output: Decimal | None = None

    def of(self, kind: Kind) -> Decimal | None:
        """USD per million tokens of a kind; None if it is not known."""
        own: Decimal | None = getattr(self, kind.value)
        if own is not None:
            return own
        if kind is Kind.CACHED_AUDIO:
            return self.cached if self.audio_input is not None and self.audio_input == self.input else None
        return self.of(SAME_AS[kind]) if kind in SAME_AS else None


class Rates(ShortRates, frozen=True, kw_only=True):
    """USD per million tokens; ``long``: for prompts of more than 200,000 tokens, if they cost something else."""

    long: ShortRates | None = None

    def at(self, *, long: bool) -> ShortRates:
        """The rates for prompts of that length."""
        return self.long if long and self.long is not None else self


class Fee(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD for a thousand uses of a tool, in a batch and interactively.

    ``per``: whether each query that the model makes counts, or each prompt for which it makes any.
    """

    usd: Decimal
    per: Literal["query", "prompt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of a model on each day from ``start`` until the day before ``until`` (None: until further notice).

    ``batch``, ``interactive`` and ``flex`` hold the rates of tokens, None where nothing is known; ``search`` and
    ``maps`` the price of grounding. ``date``: the day on which ``source`` said so. ``own``: the user has set at least
    one of the prices.
    """

    model: str
    start: dt.date | None
    until: dt.date | None
    batch: Rates | None
    interactive: Rates | None
    flex: Rates | None = None
    search: Fee | None = None
    maps: Fee | None = None
    date: dt.date | None = None
    source: str = ""
    own: bool = False

    def charged(self, tier: Tier) -> Price:
        """The price for what is charged in this way, where ``batch`` stands for that."""
        match tier:
            case "batch":
                return self
            case "flex":
                return replace(self, batch=self.flex)
            case "standard":
                return replace(self, batch=self.interactive)

    def fee(self, kind: Kind) -> Fee | None:
        """The fee for a kind that is no tokens."""
        return self.search if kind is Kind.SEARCH else self.maps


class PriceUsed(NamedTuple):
    """Which price an amount was computed with; ``date``: the day on which it was checked, None for the user's own."""

    model: str
    start: dt.date | None
    date: dt.date | None
    own: bool


class Unpriced(NamedTuple):
    """What an amount leaves out.

    ``kind``: without a price with this ``model``; None: every kind. ``why`` tells "the price is not known" from "the
    answer does not say how much it was".
    """

    why: Literal["price", "usage", "searches"]
    model: str
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Spend:
    """What answers cost, exactly; sums of them can be added in any order.

    ``by_kind``: USD at batch price of everything that has a price. ``interactive``: what the same would have cost
    outside a batch; None if that is not known. ``unpriced``: what is left out, and how much of it: tokens, uses, or
    answers where the kind is None. ``prices``: the prices that were used.
    """

    by_kind: Mapping[Kind, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    interactive: Decimal | None = ZERO
    unpriced: Mapping[Unpriced, int] = field(default_factory=lambda: MappingProxyType({}))
    prices: frozenset[PriceUsed] = frozenset()

    def __add__(self, other: Spend) -> Spend:
        """Both together."""
        both = None if self.interactive is None or other.interactive is None else self.interactive + other.interactive
        return Spend(
            _added(self.by_kind, other.by_kind, ZERO),
            both,
            _added(self.unpriced, other.unpriced, 0),
            self.prices | other.prices,
        )

    @property
    def priced(self) -> Decimal:
        """USD at batch price of everything that has a price: all of it, or the least that it cost."""
        return sum(self.by_kind.values(), ZERO)

    @property
    def batch(self) -> Decimal | None:
        """USD at batch price, the least if :attr:`at_least`; None if something was used and nothing of it is known."""
        return None if self.unpriced and not self.priced else self.priced

    @property
    def at_least(self) -> bool:
        """Whether something is left out, so that it cost as much or more."""
        return bool(self.unpriced)

    @property
    def exact(self) -> Decimal | None:
        """USD at batch price; None if anything is left out."""
        return None if self.unpriced else self.priced


def total(spends: Iterable[Spend]) -> Spend:
    """All together."""
    found = Spend()
    for one in spends:
        found += one
    return found


def _added(one: Mapping[K, V], other: Mapping[K, V], zero: V) -> Mapping[K, V]:
    return MappingProxyType({key: one.get(key, zero) + other.get(key, zero) for key in (*one, *other)})


def spend(
    counts: Mapping[Kind, int], price: Price | None, model: str, *, long: bool = False, answers: int = 1
) -> Spend:
    """What counts of tokens and uses cost at the batch rates of ``price``; zeros are left out.

    ``model``: the name for what has no price. ``long``: the prompts had more than 200,000 tokens. ``answers``: how many
    answers it was; they are named if nothing of them has a price.
    """
    used = {kind: count for kind, count in counts.items() if count}
    if not used:
        return Spend()
    if price is None or price.batch is None:
        return Spend(unpriced=MappingProxyType({Unpriced("price", model): answers}))
    batch = dict(_amounts(used, price.batch.at(long=long), price))
    calls = {} if price.interactive is None else dict(_amounts(used, price.interactive.at(long=long), price))
    left = {Unpriced("price", model, kind): count for kind, count in used.items() if kind not in batch}
    interactive = sum((calls[kind] for kind in batch), ZERO) if batch.keys() <= calls.keys() else None
    stated = PriceUsed(model, price.start, price.date, price.own)
    return Spend(MappingProxyType(batch), interactive, MappingProxyType(left), frozenset({stated} if batch else ()))


def _amounts(used: Mapping[Kind, int], rates: ShortRates, price: Price) -> Iterator[tuple[Kind, Decimal]]:
    """The amounts of those kinds that have a price."""
    for kind, count in used.items():
        if kind in FEES:
            fee = price.fee(kind)
            if fee is not None:
                yield kind, (fee.usd * count).scaleb(-3)
        elif (rate := rates.of(kind)) is not None:
            yield kind, (rate * count).scaleb(-6)
