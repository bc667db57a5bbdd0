"""The types of new columns: how duckdb writes them, and how an answer's value becomes one of theirs."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

import msgspec

from gemini_batch.jsonl import dumps
from gemini_batch.tables.sources import duck

#: The largest number of 32 bits.
_LARGEST_SINGLE = 3.4028234663852886e38
#: Turns a value of an answer into the value of a cell. Raises :class:`Unfit`.
Fit = Callable[[Any], Any]


class Unfit(ValueError):
    """A value that its column cannot hold; the message completes "The value …"."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a column, or of a part of one.

    ``name``: ``VARCHAR``, ``BIGINT``, ``DOUBLE``, ``FLOAT``, ``BOOLEAN``, ``JSON`` (the text of any value), ``LIST`` or
    ``STRUCT``. A list has an ``item`` and, if its length is fixed, a ``size``; a struct has ``members``, in order.
    """

    name: Literal["VARCHAR", "BIGINT", "DOUBLE", "FLOAT", "BOOLEAN", "JSON", "LIST", "STRUCT"]
    item: Kind | None = None
    size: int | None = None
    members: tuple[tuple[str, Kind], ...] = ()

    def sql(self, json: str = "JSON") -> str:
        """The type in SQL; ``json`` is what stands for JSON text."""
        if self.item is not None:
            return f"{self.item.sql(json)}[{'' if self.size is None else self.size}]"
        if self.members:
            return f"STRUCT({', '.join(f'{duck.name(name)} {kind.sql(json)}' for name, kind in self.members)})"
        return json if self.name == "JSON" else self.name

    @property
    def holds_json(self) -> bool:
        """Whether any part of it is JSON text."""
        parts = [kind for _, kind in self.members] + ([] if self.item is None else [self.item])
        return self.name == "JSON" or any(part.holds_json for part in parts)


VARCHAR = Kind("VARCHAR")
BIGINT = Kind("BIGINT")
DOUBLE = Kind("DOUBLE")
FLOAT = Kind("FLOAT")
BOOLEAN = Kind("BOOLEAN")
JSON = Kind("JSON")


def list_of(item: Kind, size: int | None = None) -> Kind:
    """A list, of a fixed length if ``size`` is given."""
    return Kind("LIST", item, size)


def struct_of(members: Sequence[tuple[str, Kind]]) -> Kind:
    """A struct with these members, of which there is at least one."""
    return Kind("STRUCT", members=tuple(members))


def fit(kind: Kind) -> Fit:
    """How values become values of this type. None stays None; whatever the type cannot hold raises :class:`Unfit`."""
    if kind.item is not None:
        return _list(fit(kind.item), kind.size)
    if kind.members:
        return _struct([(name, fit(part)) for name, part in kind.members])
    return _SCALARS[kind.name]


def _text(value: Any) -> str | None:
    if isinstance(value, str) or value is None:
        return value
    raise Unfit("is not text")


def _whole(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit("is not a whole number")
    try:
        whole = int(value)
    except (ValueError, OverflowError):  # not finite
        whole = None
    if whole is None or whole != value:
        raise Unfit("is not a whole number")
    if not -(2**63) <= whole < 2**63:
        raise Unfit("does not fit in 64 bits")
    return whole


def _number(value: Any, most: float = sys.float_info.max) -> float | None:
    if type(value) is float and -most <= value <= most:
        return value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or value != value:  # noqa: PLR0124 - NaN
        raise Unfit("is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not -most <= number <= most:
        raise Unfit("is too large for a floating-point number")
    return number


def _single(value: Any) -> float | None:
    return _number(value, _LARGEST_SINGLE)


def _truth(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise Unfit("is neither true nor false")


_encode_json = msgspec.json.Encoder(decimal_format="number").encode


def _json(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return _encode_json(value).decode()
    except UnicodeEncodeError:  # half a surrogate pair
        return dumps(value).decode()


_SCALARS: dict[str, Fit] = {
    "VARCHAR": _text,
    "BIGINT": _whole,
    "DOUBLE": _number,
    "FLOAT": _single,
    "BOOLEAN": _truth,
    "JSON": _json,
}


def _list(item: Fit, size: int | None) -> Fit:
    def fitted(value: Any) -> list[Any] | None:
        if value is None:
            return None
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
            raise Unfit("is not a list")
        if size is not None and len(value) != size:
            raise Unfit(f"has {len(value):,} item{'' if len(value) == 1 else 's'} instead of {size:,}")
        found = [item(one) for one in value]
        if size is not None and None in found:
            raise Unfit("has an item that is null")
        return found

    return fitted


def _struct(members: list[tuple[str, Fit]]) -> Fit:
    def fitted(value: Any) -> dict[str, Any] | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise Unfit("is not an object")
        return {name: part(value.get(name)) for name, part in members}

    return fitted
