"""The messages, their fields and their enums, from ``schema.json`` and :mod:`newer`. Read at the first use.

Names are the API's camelCase. Every field is found by its proto spelling in snake_case, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gemini_batch import jsonl
from gemini_batch.protocol import newer
from gemini_batch.protocol.spelling import snake

Shape = Literal["one", "list", "map"]

#: Types that are not messages or enums: string, bytes, bool, int32, int64, number, timestamp, duration, field mask, any
#: JSON value, any JSON object.
SCALARS = frozenset("sybilftdmvo")


class Range(NamedTuple):
    """The numbers from ``low`` to ``high``; ``open`` if ``low`` itself is excluded."""

    low: float
    high: float
    open: bool = False

    def __contains__(self, value: object) -> bool:
        return (
            isinstance(value, int | float)
            and (self.low < value if self.open else self.low <= value)
            and (value <= self.high)
        )

    def __str__(self) -> str:
        return f"{'(' if self.open else '['}{self.low:g}, {self.high:g}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a message.

    ``type``: a scalar's code, or the name of a message or enum. ``group``: its oneof, or empty. ``most``: the maximum
    number of items. ``words``: the strings that it can be, if they are listed. ``newer``: not in the published schema.
    """

    name: str
    proto: str
    type: str
    shape: Shape = "one"
    group: str = ""
    required: bool = False
    range: Range | None = None
    most: int | None = None
    words: tuple[str, ...] = ()
    newer: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``lookup`` finds a field by either spelling."""

    name: str
    fields: tuple[Field, ...]
    lookup: dict[str, Field]


@dataclass(frozen=True, slots=True)
class Enum:
    """Values in the order of their numbers, which begin at 0; ``newer`` are not in the published schema."""

    values: tuple[str, ...]
    newer: frozenset[str] = frozenset()

    def find(self, value: str) -> str | None:
        """The value that a string stands for, whatever its case; None if there is none."""
        if value in self.values:
            return value
        low = value.lower()
        return next((known for known in self.values if known.lower() == low), None)


@cache
def _schema() -> dict[str, Any]:
    document: dict[str, Any] = jsonl.decode(Path(__file__).with_name("schema.json").read_bytes())
    return document


@cache
def messages() -> dict[str, Message]:
    """All messages by name."""
    published: dict[str, dict[str, str]] = _schema()["messages"]
    return {
        name: _message(name, published.get(name, {}), newer.FIELDS.get(name, {}))
        for name in sorted(published.keys() | newer.FIELDS)
    }


@cache
def enums() -> dict[str, Enum]:
    """All enums by name."""
    return {
        name: Enum(
            (*values.split(), *newer.VALUES.get(name, "").split()), frozenset(newer.VALUES.get(name, "").split())
        )
        for name, values in _schema()["enums"].items()
    }


@cache
def names(message: str) -> frozenset[str]:
    """The names of a message's fields, in both spellings."""
    return frozenset(messages()[message].lookup)


@cache
def group(message: str, oneof: str) -> frozenset[str]:
    """The names of the fields of a oneof, in both spellings."""
    return frozenset(name for name, field in messages()[message].lookup.items() if field.group == oneof)


def _message(name: str, published: dict[str, str], added: dict[str, str]) -> Message:
    groups = {field: oneof for oneof, members in newer.ONEOFS.get(name, {}).items() for field in members.split()}
    fields = tuple(
        _field(field, text, groups.get(field, ""), newer=field not in published and field not in newer.ESTABLISHED)
        for field, text in {**published, **added}.items()
    )
    return Message(name, fields, {f.proto: f for f in fields} | {f.name: f for f in fields})


def _field(name: str, text: str, group: str, *, newer: bool) -> Field:
    kind, *marks = text.split()
    shape: Shape = "one"
    if kind.endswith("*"):
        kind, shape = kind[:-1], "list"
    elif kind.endswith("{}"):
        kind, shape = kind[:-2], "map"
    by_mark = {mark[0]: mark for mark in marks}
    found = by_mark.get("[") or by_mark.get("(")
    return Field(
        name=name,
        proto=snake(name),
        type=kind,
        shape=shape,
        group=group,
        required="!" in by_mark,
        range=_range(found) if found else None,
        most=int(by_mark["#"][1:]) if "#" in by_mark else None,
        words=tuple(by_mark["="][1:].split("|")) if "=" in by_mark else (),
        newer=newer,
    )


def _range(text: str) -> Range:
    low, high = text[1:-1].split(",")
    return Range(float(low), float(high), open=text.startswith("("))
