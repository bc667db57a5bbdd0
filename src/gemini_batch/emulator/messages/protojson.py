"""Bodies and lines as JSON: typed structs for the fast path, pseudo-JSON bodies, and columns of errors.

Two paths lead to the same verdict. The fast path decodes in C, with typed structs made from the tables of
:mod:`gemini_batch.protocol`, and accepts only what is already in canonical form. The slow path,
:class:`gemini_batch.protocol.reading.Reader`, rewrites everything else to that form. Bodies of HTTP requests may also
be the single-quoted pseudo-JSON of the official samples; lines of a file must be JSON.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from gemini_batch import jsonl
from gemini_batch.protocol.tables import enums, messages

if TYPE_CHECKING:
    from gemini_batch.protocol.reading import Place
    from gemini_batch.protocol.tables import Field


# The fast path: typed structs made from the same tables.

#: Timestamps are rare: the slow path reads them.
_ONLY_SLOWLY = r"^(?!)"
_SCALARS: dict[str, Any] = {
    "s": str,
    "y": bytes,  # only the standard alphabet with padding
    "b": bool,
    "i": Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)],
    "l": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]{1,18}$")],
    "f": float,
    "t": Annotated[str, msgspec.Meta(pattern=_ONLY_SLOWLY)],
    "d": Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?s$")],
    "m": str,
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
            _struct_name(name),
            fields,
            forbid_unknown_fields=True,
            omit_defaults=True,
            module=__name__,
            gc=False,
            eq=False,
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
    one = Literal[enums()[field.type].values] if field.type in enums() else _SCALARS[field.type]
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
