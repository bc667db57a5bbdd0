"""Proto JSON as the service reads it: lenient in spelling, strict in names and types.

Accepted at every depth: camelCase and snake_case, a single value for a list, ``5.0`` for an int, int64 as number or
string, enum values in any case or as numbers, base64 in both alphabets, null for absent. Refused: names that the
message does not have. An ``any JSON`` value, an object of any fields and a map's keys are left unchanged.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from gemini_batch import jsonl
from gemini_batch.protocol import rules
from gemini_batch.protocol.tables import Enum, Field, Message, enums, messages

Place = tuple[str | int, ...]

#: Protobuf refuses messages that are nested deeper.
DEEPEST = 100
_INTS = {"i": range(-(2**31), 2**31), "l": range(-(2**63), 2**63)}
_TYPE_NAMES = {
    "s": "TYPE_STRING",
    "y": "TYPE_BYTES",
    "b": "TYPE_BOOL",
    "i": "TYPE_INT32",
    "l": "TYPE_INT64",
    "f": "TYPE_FLOAT",
    "t": "type.googleapis.com/google.protobuf.Timestamp",
    "d": "type.googleapis.com/google.protobuf.Duration",
    "m": "type.googleapis.com/google.protobuf.FieldMask",
    "o": "type.googleapis.com/google.protobuf.Struct",
}
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][+-]?[0-9]{1,3})?|Infinity)|NaN")
_DURATION = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?s")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
#: Both alphabets; padding may be missing.
_BASE64 = re.compile(r"([A-Za-z0-9+/_-]*)={0,2}")


class Violation(NamedTuple):
    """One thing that does not fit.

    ``place`` is the path in the sender's spelling, ``path`` in the proto's. ``owner`` is the message that has, or
    lacks, the field. ``name``: the unknown name, or None for a wrong value, which ``message`` describes.
    """

    place: Place
    path: str
    owner: str
    name: str | None = None
    message: str = ""
    field: Field | None = None
    value: Any = None
    kind: Literal["name", "value", "oneof", "depth"] = "value"

    @property
    def described(self) -> str:
        """As the service words it for the body of an HTTP request."""
        if self.kind == "depth":
            return f"Message too deep. Max recursion depth reached for '{self.path}'"
        if self.name is None:
            return f"Invalid value at '{self.path}' {self.message}"
        where = f" at '{self.path}'" if self.path else ""
        return f'Invalid JSON payload received. Unknown name "{self.name}"{where}: Cannot find field.'

    @property
    def short(self) -> str:
        """As the service words it for a line of a file, without the place."""
        if self.kind == "depth":
            return "message too deep"
        return f"no such field: '{self.name}'" if self.name is not None else f"invalid value {self.message}"


class _Spot(NamedTuple):
    """Where a value stands: the message that has it, its field, its place and its proto path."""

    owner: str
    field: Field | None
    place: Place
    path: str

    def into(self, step: str | int, path: str) -> _Spot:
        return self._replace(place=(*self.place, step), path=path)


class Reader:
    """Reads decoded values as messages. What does not fit is left out and added to ``violations``.

    ``lenient``: unknown names and unknown enum values are left out without a violation, except in those of
    :data:`rules.CLOSED`. ``singles`` are the places of
    single values for lists, ``newer`` those of names and values that the published schema does not have.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self.lenient = lenient
        self.violations: list[Violation] = []
        self.singles: list[Place] = []
        self.newer: list[Place] = []
        self._depth = 0

    def read(self, message: str, value: Any, place: Place = (), path: str = "") -> Any:
        """A message in canonical form: camelCase, lists, enum values as words, int64 as strings. None for no object."""
        return self._message(messages()[message], value, _Spot(message, None, place, path))

    def _refuse(self, spot: _Spot, value: Any, message: str) -> None:
        self.violations.append(
            Violation(spot.place, spot.path, spot.owner, message=message, field=spot.field, value=value)
        )

    def _message(self, message: Message, value: Any, spot: _Spot) -> Any:
        if not isinstance(value, dict):
            self._refuse(spot, value, f"({message.name}), {shown(value)}")
            return None
        if self._depth == DEEPEST:
            self.violations.append(Violation(spot.place, spot.path, spot.owner, field=spot.field, kind="depth"))
            return None
        self._depth += 1
        made: dict[str, Any] = {}
        groups: dict[str, str] = {}
        for key, item in value.items():
            field = message.lookup.get(key)
            if field is None:
                if not self.lenient or message.name in rules.CLOSED:
                    place = (*spot.place, key)
                    self.violations.append(Violation(place, spot.path, message.name, key, value=item, kind="name"))
                continue
            if item is None and field.type != "v":
                continue
            inner = _Spot(
                message.name, field, (*spot.place, key), f"{spot.path}.{field.proto}" if spot.path else field.proto
            )
            if field.newer:
                self.newer.append(inner.place)
            if field.name in made or (field.group and groups.setdefault(field.group, field.name) != field.name):
                self._twice(inner, field)
                continue
            made[field.name] = self._field(field, item, inner)
        self._depth -= 1
        return made

    def _twice(self, spot: _Spot, field: Field) -> None:
        what = f"(oneof), oneof field '{field.group}'" if field.group else f"({field.proto}), the field"
        found = Violation(spot.place, spot.path, spot.owner, None, f"{what} is already set.", field, kind="oneof")
        self.violations.append(found)

    def _field(self, field: Field, value: Any, spot: _Spot) -> Any:
        if field.shape == "list":
            if isinstance(value, list):
                return [self._one(field, item, spot.into(n, f"{spot.path}[{n}]")) for n, item in enumerate(value)]
            self.singles.append(spot.place)
            return [self._one(field, value, spot._replace(path=f"{spot.path}[0]"))]
        if field.shape == "map":
            if not isinstance(value, dict):
                self._refuse(spot, value, f"(Map), {shown(value)}")
                return None
            return {key: self._one(field, item, spot.into(key, f"{spot.path}[{key}]")) for key, item in value.items()}
        return self._one(field, value, spot)

    def _one(self, field: Field, value: Any, spot: _Spot) -> Any:
        kind = field.type
        if kind == "v":
            return value
        if (message := messages().get(kind)) is not None:
            return self._message(message, value, spot)
        if (known := enums().get(kind)) is not None:
            made = _enum(known, value)
            if made is None and self.lenient and isinstance(value, str | int):
                return known.values[0]
            if made in known.newer:
                self.newer.append(spot.place)
        else:
            made = scalar(kind, value)
        if made is None:
            self._refuse(spot, value, f"({_TYPE_NAMES.get(kind, kind)}), {_reason(kind, value)}")
        return made


def scalar(kind: str, value: Any) -> Any:
    """A value of a scalar type in canonical form, or None if it is none."""
    match kind:
        case "i" | "l":
            return _integer(kind, value)
        case "f":
            return _number(value)
        case "b":
            return value if isinstance(value, bool) else None
        case "o":
            return value if isinstance(value, dict) else None
        case _:
            pass
    if not isinstance(value, str):
        return None
    match kind:
        case "y":
            fits = is_base64(value)
        case "d":
            fits = _DURATION.fullmatch(value) is not None
        case "t":
            fits = _TIMESTAMP.fullmatch(value) is not None
        case _:
            fits = True
    return value if fits else None


def is_base64(text: str) -> bool:
    """Whether a string is base64, in the standard or the URL-safe alphabet; padding may be missing."""
    found = _BASE64.fullmatch(text) or _BASE64.fullmatch("".join(text.split()))
    if found is None:
        return False
    padding = len(text := found[0]) - found.end(1)
    return (len(text) - padding) % 4 != 1 and (not padding or len(text) % 4 == 0)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        value = float(value) if _NUMBER.fullmatch(value) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(kind: str, value: Any) -> int | str | None:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INTS[kind]:
        return None
    return value if kind == "i" else str(value)


def _enum(known: Enum, value: Any) -> str | None:
    if isinstance(value, str):
        return known.find(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(known.values):
        return known.values[value]
    return None


def _reason(kind: str, value: Any) -> str:
    if kind == "y" and isinstance(value, str):
        return f"Base64 decoding failed for {shown(value)}"
    return shown(value)


def shown(value: Any) -> str:
    """A value as the service shows it in an error: JSON, at most 100 characters."""
    if isinstance(value, str):
        value = value[:100]
    try:
        text = jsonl.encode(value).decode()
    except RecursionError:
        text = "..."
    return text if len(text) <= 100 else f"{text[:97]}..."
