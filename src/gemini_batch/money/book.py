"""What a model costs on a day: the catalog's prices, with the user's own over them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gemini_batch import catalog
from gemini_batch.prices import FEES, Fee, Kind, Price, Rates, ShortRates

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from decimal import Decimal

    from gemini_batch.money.own_prices import OwnPrice

T = TypeVar("T", bound=ShortRates)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Prices by model and day. ``own``: the user's prices, in the order of their file."""

    facts: catalog.Catalog
    own: tuple[OwnPrice, ...] = ()

    def price_on(self, name: str, day: dt.date) -> Price | None:
        """The price of a model on ``day``; None if nothing is known of it."""
        name = name.removeprefix("models/")
        model = self.facts.find(name)
        found = model.price_on(day) if model is not None else None
        for own in self._own(name):
            if own.holds_on(day):
                found = _over(found or _nothing(name), own)
        return found

    def changes(self, name: str, first: dt.date, last: dt.date) -> list[dt.date]:
        """``first``, and the days after it, up to ``last``, from which another price holds."""
        name = name.removeprefix("models/")
        model = self.facts.find(name)
        days = {first, *(model.price_changes() if model is not None else ())}
        days |= {day for own in self._own(name) for day in (own.start, own.until) if day is not None}
        return sorted(day for day in days if first <= day <= last)

    def highest(self, name: str, first: dt.date, last: dt.date) -> Price | None:
        """The highest price that can apply to a job of those days, whatever the length of its prompts, kind by kind.

        A kind is None if its price is not known on one of the days; the whole is None if none is known on a day.
        """
        prices = [self.price_on(name, day) for day in self.changes(name, first, last)]
        known = [price for price in prices if price is not None]
        if len(known) < len(prices):
            return None
        return Price(
            model=name.removeprefix("models/"),
            start=first,
            until=last + dt.timedelta(days=1),
            batch=_highest(price.batch for price in known),
            interactive=_highest(price.interactive for price in known),
            flex=_highest(price.flex for price in known),
            search=_highest_fee(price.search for price in known),
            maps=_highest_fee(price.maps for price in known),
            date=min((price.date for price in known if price.date), default=None),
            own=any(price.own for price in known),
        )

    def _own(self, name: str) -> Iterator[OwnPrice]:
        """The user's prices for a model; those of an alias count for it before those of its model."""
        model = self.facts.find(name)
        target = model.alias_of if model is not None else ""
        yield from (own for own in self.own if target and own.model == target)
        yield from (own for own in self.own if own.model == name)


def default_book() -> PriceBook:
    """The catalog's prices alone."""
    return PriceBook(catalog.load())


def price_on(model: str, day: dt.date, *, prices: PriceBook | None = None) -> Price | None:
    """The price of ``model`` on ``day`` (UTC); None if it is not known, or if the model had shut down.

    ``prices``: as :func:`load_prices` reads them; by default those of the catalog alone.
    """
    return (prices or default_book()).price_on(model, day)


def _nothing(name: str) -> Price:
    return Price(model=name, start=None, until=None, batch=None, interactive=None)


def _over(price: Price, own: OwnPrice) -> Price:
    """A price with the user's own over it; it holds on the days that both have."""
    flex = _rates_over(price.flex, own.batch) if price.flex is not None else None
    return replace(
        price,
        start=max((day for day in (price.start, own.start) if day is not None), default=None),
        until=min((day for day in (price.until, own.until) if day is not None), default=None),
        batch=_rates_over(price.batch, own.batch),
        interactive=_rates_over(price.interactive, own.interactive),
        flex=flex,
        search=own.search or price.search,
        maps=own.maps or price.maps,
        own=True,
    )


def _rates_over(price: Rates | None, own: Rates | None) -> Rates | None:
    if own is None or price is None:
        return own or price
    long = own.long if price.long is None or own.long is None else _merged(price.long, own.long)
    return msgspec.structs.replace(_merged(price, own), long=long or price.long)


def _merged(price: T, own: ShortRates) -> T:
    given = {kind: usd for kind in ShortRates.__struct_fields__ if (usd := getattr(own, kind)) is not None}
    return msgspec.structs.replace(price, **given)


def _highest(all_rates: Iterable[Rates | None]) -> Rates | None:
    """The highest rate of each kind, at any length of prompts; None where one is not known."""
    lengths: list[ShortRates] = []
    for rates in all_rates:
        if rates is None:
            return None
        lengths += [rates] if rates.long is None else [rates, rates.long]
    most = {kind.value: _most(one.of(kind) for one in lengths) for kind in Kind if kind not in FEES}
    return msgspec.structs.replace(Rates(), **most)


def _highest_fee(fees: Iterable[Fee | None]) -> Fee | None:
    """The highest fee; None where one is not known. A fee for each query is more than one for each prompt."""
    known: list[Fee] = []
    for fee in fees:
        if fee is None:
            return None
        known.append(fee)
    usd = _most(fee.usd for fee in known)
    return None if usd is None else Fee(usd, "query" if any(fee.per == "query" for fee in known) else "prompt")


def _most(amounts: Iterable[Decimal | None]) -> Decimal | None:
    found = list(amounts)
    known = [one for one in found if one is not None]
    return max(known) if known and len(known) == len(found) else None
