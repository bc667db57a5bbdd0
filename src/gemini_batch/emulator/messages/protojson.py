"""Proto JSON as the service reads it: lenient in spelling, strict in names and types.

Accepted at every depth: camelCase and snake_case, a single value for a list, ``5.0`` for an int, int64 as number or
string, enum values in any case or as numbers, null for absent. Refused: names that the message does not have. A Struct,
a map's keys and an ``any JSON`` value are left unchanged. Bodies of HTTP requests may also be the single-quoted
pseudo-JSON of the official samples; lines of a file must be JSON.

Two paths lead to the same verdict. The fast path decodes in C, with typed structs made from the field tables, and
accepts only what is already in canonical form. The slow path walks the tables and rewrites everything else to that
form.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from gemini_batch import jsonl
from gemini_batch.emulator.messages.field_tables import Field, Message, enums, messages

Place = tuple[str | int, ...]

_INTS = {"i": range(-(2**31), 2**31), "l": range(-(2**63), 2**63)}
_TYPE_NAMES = {"s": "TYPE_STRING", "y": "TYPE_BYTES", "b": "TYPE_BOOL", "i": "TYPE_INT32", "l": "TYPE_INT64"}


class Violation(NamedTuple):
    """One thing that does not fit. ``place`` is the path in the sender's spelling, ``path`` in the proto's."""

    place: Place
    path: str
    name: str | None
    message: str

    @property
    def described(self) -> str:
        """As the service words it for the body of an HTTP request."""
        if self.name is None:
            return f"Invalid value at '{self.path}' {self.message}"
        where = f" at '{self.path}'" if self.path else ""
        return f'Invalid JSON payload received. Unknown name "{self.name}"{where}: Cannot find field.'

    @property
    def short(self) -> str:
        """As the service words it for a line of a file, without the place."""
        return f"no such field: '{self.name}'" if self.name is not None else f"invalid value {self.message}"


def normalise(message: str, value: Any, *, violations: list[Violation], place: Place = (), path: str = "") -> Any:
    """Rewrite a decoded value to canonical form; what does not fit is left out and added to ``violations``."""
    return _Walk(violations).message(messages()[message], value, place, path)


class _Walk:
    def __init__(self, violations: list[Violation]) -> None:
        self.violations = violations

    def refuse(self, place: Place, path: str, message: str) -> None:
        self.violations.append(Violation(place, path, None, message))

    def message(self, message: Message, value: Any, place: Place, path: str) -> Any:
        if not isinstance(value, dict):
            self.refuse(place, path, f"({message.name}), {_shown(value)}")
            return None
        made: dict[str, Any] = {}
        groups: dict[str, str] = {}
        for key, item in value.items():
            field = message.lookup.get(key)
            if field is None:
                self.violations.append(Violation((*place, key), path, key, ""))
                continue
            if item is None and field.type != "v":
                continue
            inner = f"{path}.{field.proto}" if path else field.proto
            if field.group and groups.setdefault(field.group, field.name) != field.name:
                self.refuse((*place, key), inner, f"(oneof), oneof field '{field.group}' is already set.")
                continue
            made[field.name] = self.field(field, item, (*place, key), inner)
        return made

    def field(self, field: Field, value: Any, place: Place, path: str) -> Any:
        if field.shape == "list":
            items = value if isinstance(value, list) else [value]
            return [self.one(field.type, item, (*place, n), f"{path}[{n}]") for n, item in enumerate(items)]
        if field.shape == "map":
            if not isinstance(value, dict):
                self.refuse(place, path, f"(Map), {_shown(value)}")
                return None
            return {key: self.one(field.type, item, (*place, key), f"{path}[{key}]") for key, item in value.items()}
        return self.one(field.type, value, place, path)

    def one(self, kind: str, value: Any, place: Place, path: str) -> Any:
        if kind == "v":
            return value
        if kind in messages():
            return self.message(messages()[kind], value, place, path)
        made = _enum(enums()[kind], value) if kind in enums() else _scalar(kind, value)
        if made is None:
            self.refuse(place, path, f"({_TYPE_NAMES.get(kind, kind)}), {_shown(value)}")
        return made


def _scalar(kind: str, value: Any) -> Any:
    match kind:
        case "s" | "y":
            return value if isinstance(value, str) else None
        case "b":
            return value if isinstance(value, bool) else None
        case "o":
            return value if isinstance(value, dict) else None
        case "f":
            return _number(value)
        case _:
            return _integer(kind, value)


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(kind: str, value: Any) -> int | str | None:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,19}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INTS[kind]:
        return None
    return value if kind == "i" else str(value)


def _enum(values: tuple[str, ...], value: Any) -> str | None:
    if isinstance(value, str):
        return next((known for known in values if known.lower() == value.lower()), None)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < len(values):
        return values[int(value)]
    return None


def _shown(value: Any) -> str:
    text = jsonl.encode(value).decode()
    return text if len(text) <= 100 else f"{text[:97]}..."


# The fast path: typed structs made from the same tables.

_SCALARS: dict[str, Any] = {
    "s": str,
    "y": str,
    "b": bool,
    "i": Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)],
    "l": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,18}$")],
    "f": float,
    "o": dict[str, Any],
    "v": Any,
}


@cache
def struct(message: str) -> Any:
    """A msgspec struct that accepts a message in canonical form and nothing else. Absent fields are None."""
    made: Any = None
    for name, one in messages().items():
        fields = [(field.name, _annotation(field), None) for field in one.fields]
        kind = msgspec.defstruct(
            _struct_name(name), fields, forbid_unknown_fields=True, module=__name__, gc=False, eq=False
        )
        setattr(sys.modules[__name__], _struct_name(name), kind)  # msgspec looks names up here: messages are recursive
        made = kind if name == message else made
    return made


def _struct_name(message: str) -> str:
    return f"_Typed{message}"


def _annotation(field: Field) -> Any:
    one: Any
    if field.type in messages():
        one = f"{_struct_name(field.type)}"
        text = {"one": one, "list": f"list[{one}]", "map": f"dict[str, {one}]"}[field.shape]
        return f"{text} | None"
    one = Literal[enums()[field.type]] if field.type in enums() else _SCALARS[field.type]
    return {"one": one, "list": list[one], "map": dict[str, one]}[field.shape] | None


# Bodies of HTTP requests.


class BadBody(ValueError):
    """A request body that is not JSON, even when read leniently."""


_TOKEN = re.compile(
    r"""\s*(?:(?P<double>"(?:[^"\\]|\\.)*")|(?P<single>'(?:[^'\\]|\\.)*')|(?P<mark>[{}\[\]:,])|(?P<word>[^\s{}\[\]:,"']+))""",
    re.DOTALL,
)
_WORDS = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def read_body(data: bytes) -> Any:
    """Decode a request body; an empty one is ``{}``. Raises :class:`BadBody`."""
    if not data.strip():
        return {}
    try:
        return jsonl.decode(data)
    except jsonl.NotJson as error:
        try:
            return jsonl.decode(_strict(data.decode("utf-8")).encode())
        except (jsonl.NotJson, UnicodeDecodeError):
            raise BadBody(str(error)) from None


def _strict(text: str) -> str:
    """Rewrite single-quoted strings, bare names and trailing commas as JSON; leave everything else unchanged."""
    tokens: list[str] = []
    at = 0
    while found := _TOKEN.match(text, at):
        at = found.end()
        token = found.group().strip()
        if found["single"]:
            token = '"' + re.sub(r"\\'", "'", token[1:-1]).replace('"', '\\"') + '"'
        elif found["word"] and not _WORDS.fullmatch(token):
            token = json.dumps(token)
        if token in ("}", "]") and tokens and tokens[-1] == ",":
            tokens.pop()
        tokens.append(token)
    return "".join(tokens) + text[at:]


_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(strict=False)


def column(text: str, place: Place) -> int:
    """The column (from 1) where the value at ``place`` starts in a line; for a member of an object, its name."""
    at = _SPACE.match(text, 0).end()  # type: ignore[union-attr]
    named = at
    for step in place:
        opened = text[at : at + 1]
        if opened not in "{[" or not opened:
            break  # a single value for a list: the step into the list has no column of its own
        if opened == "[" and isinstance(step, str):
            break
        if opened == "{" and isinstance(step, int):
            continue
        named, at = _enter(text, at, step)
    return named + 1


def _enter(text: str, at: int, step: str | int) -> tuple[int, int]:
    """From an opening bracket to the member ``step``: the offsets of its name (or item) and of its value."""
    number = 0
    at += 1
    while True:
        named = at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        key: str | int = number
        if isinstance(step, str):
            key, at = _DECODER.raw_decode(text, at)
            at = text.index(":", at) + 1
            at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if key == step:
            return named, at
        _, at = _DECODER.raw_decode(text, at)
        at = text.index(",", at) + 1
        number += 1
