"""The user's own prices: ``prices.toml`` in the state folder, in the form of the catalog's price entries.

They replace prices of the catalog, kind by kind, or add what it lacks. Every error names the file, the place in it and
what to do.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - msgspec needs the type itself
import re
import tomllib
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.prices import Fee, Rates, ShortRates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: The name of the file in the state folder.
FILE_NAME = "prices.toml"
#: More USD for a million tokens, or a thousand uses, is a mistake; so are more digits after the point than this.
_MOST, _DIGITS = Decimal(1_000_000), 12
#: What to do about a file that cannot be read at all.
SET_ASIDE = "Correct the file, or rename it to go on with the catalog's prices alone."
_LINE = re.compile(r"line (\d+)")
_KINDS = ", ".join(ShortRates.__struct_fields__)


class OwnPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices that the user set for a model, from the day ``start`` until the day before ``until``; None: always."""

    model: str
    start: dt.date | None = msgspec.field(default=None, name="from")
    until: dt.date | None = None
    batch: Rates | None = None
    interactive: Rates | None = None
    search: Fee | None = None
    maps: Fee | None = None

    def holds_on(self, day: dt.date) -> bool:
        """Whether it holds on ``day``."""
        return (self.start is None or self.start <= day) and (self.until is None or day < self.until)


class _Place(NamedTuple):
    file: Path
    key: str

    def refuse(self, message: str, following: str) -> UsageError:
        return UsageError(message, file=self.file, field=self.key, code="bad_prices", next=following)


def parse(text: str, file: Path) -> tuple[OwnPrice, ...]:
    """The prices in the text of ``file``. Raises UsageError with code ``bad_prices``."""
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        raise UsageError(
            f"It is not TOML: {error}.",
            file=file,
            line=int(found[1]) if found else None,
            code="bad_prices",
            next=SET_ASIDE,
        ) from None
    entries = document.pop("prices", [])
    if document or not isinstance(entries, list):
        key = next(iter(document), "prices")
        raise _Place(file, key).refuse("Only a list of tables named [[prices]] is expected here.", _EXAMPLE)
    found_prices = tuple(_entry(table, _Place(file, f"prices[{index}]")) for index, table in enumerate(entries))
    for (one, mine), (other, theirs) in combinations(enumerate(found_prices), 2):
        if mine.model == theirs.model and _overlap(mine, theirs) and (both := sorted({*_set(mine)} & {*_set(theirs)})):
            raise _Place(file, f"prices[{other}]").refuse(
                f"It sets {both[0]} of {mine.model} for days for which prices[{one}] sets it too.",
                "Let one of them end (until = DAY) on the day from which the other holds (from = DAY).",
            )
    return found_prices


_EXAMPLE = (
    'Write, for example: [[prices]] model = "gemini-3.8-flash", from = 2027-01-01, batch = { input = 0.5, output = 2 }.'
)


def _entry(table: Any, place: _Place) -> OwnPrice:
    try:
        found = msgspec.convert(table, OwnPrice)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        key = place.key + where.rstrip("`")
        raise place._replace(key=key).refuse(f"{message}.", f"{_EXAMPLE} Kinds are: {_KINDS}.") from None
    if not found.model.strip():
        raise place._replace(key=f"{place.key}.model").refuse("The name of the model is empty.", _EXAMPLE)
    if found.start is not None and found.until is not None and found.until <= found.start:
        raise place._replace(key=f"{place.key}.until").refuse(
            f"It ends on {found.until}, which is not after {found.start}.",
            "`until` is the first day without the price.",
        )
    amounts = dict(_set(found))
    if not amounts:
        raise place.refuse("It sets no price.", _EXAMPLE)
    for key, usd in amounts.items():
        if not usd.is_finite() or not 0 <= usd <= _MOST or -int(usd.as_tuple().exponent) > _DIGITS:
            raise place._replace(key=f"{place.key}.{key}").refuse(
                f"{usd} is not a price.",
                f"Write USD per million tokens (per thousand uses in search and maps), from 0 to {_MOST:,}.",
            )
    return msgspec.structs.replace(found, model=found.model.strip().removeprefix("models/"))


def _set(price: OwnPrice) -> Iterator[tuple[str, Decimal]]:
    """The amounts that an entry sets, by key."""
    tables: Mapping[str, ShortRates | None] = {
        "batch": price.batch,
        "batch.long": price.batch.long if price.batch else None,
        "interactive": price.interactive,
        "interactive.long": price.interactive.long if price.interactive else None,
    }
    for name, rates in tables.items():
        if rates is not None:
            for kind in ShortRates.__struct_fields__:
                if (usd := getattr(rates, kind)) is not None:
                    yield f"{name}.{kind}", usd
    for name, fee in (("search", price.search), ("maps", price.maps)):
        if fee is not None:
            yield f"{name}.usd", fee.usd


def _overlap(one: OwnPrice, other: OwnPrice) -> bool:
    def ends_before(first: OwnPrice, second: OwnPrice) -> bool:
        return first.until is not None and second.start is not None and first.until <= second.start

    return not ends_before(one, other) and not ends_before(other, one)
