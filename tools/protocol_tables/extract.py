"""Takes the facts about requests from the published schema.

A field is written as one string: its type, then its marks, separated by spaces.

- ``s`` string, ``y`` bytes (base64), ``b`` bool, ``i`` int32, ``l`` int64, ``f`` number, ``t`` timestamp,
  ``d`` duration, ``m`` field mask, ``v`` any JSON value, ``o`` any JSON object; else the name of a message or enum;
- ``*`` after the type: a list; ``{}`` after the type: a map from strings;
- ``!`` required; ``-`` deprecated; ``[0,2]`` or ``(0,24]`` the range of a number; ``#5`` the most items of a list;
- ``=a|b`` the words that a string can be.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: The messages that a caller sends; everything that they refer to is taken along.
ROOTS = (
    "BatchGenerateContentRequest",
    "AsyncBatchEmbedContentRequest",
    "BatchEmbedContentsRequest",
    "CountTokensRequest",
    "CreateFileRequest",
    "CachedContent",
)
_SCALARS = {
    ("string", None): "s",
    ("string", "byte"): "y",
    ("string", "int64"): "l",
    ("string", "google-datetime"): "t",
    ("string", "google-duration"): "d",
    ("string", "google-fieldmask"): "m",
    ("integer", "int32"): "i",
    ("number", "float"): "f",
    ("number", "double"): "f",
    ("boolean", None): "b",
}
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_RANGE = re.compile(rf"\brange (?:from|is|of|in the range)? ?([\[(])({_NUMBER}), ({_NUMBER})([\])])")
_MOST = re.compile(r"\(up to (\d+)\)")
_WORDS = re.compile(r"Supported (?:values are|aspect ratios:) ((?:`[^`]+`(?:, or |, | or )?)+)")


def page(document: Mapping[str, Any]) -> str:
    """The tables as JSON, with one message or enum on each line."""
    messages, enums = extract(document)
    lines = [f"{json.dumps(name)}: {json.dumps(fields)}" for name, fields in sorted(messages.items())]
    words = [f"{json.dumps(name)}: {json.dumps(' '.join(values))}" for name, values in sorted(enums.items())]
    version = json.dumps(document["info"]["version"])
    blocks = (",\n".join(block) for block in (lines, words))
    return '{{\n"version": {},\n"messages": {{\n{}\n}},\n"enums": {{\n{}\n}}\n}}\n'.format(version, *blocks)


def extract(document: Mapping[str, Any]) -> tuple[dict[str, dict[str, str]], dict[str, tuple[str, ...]]]:
    """Fields by message, and values by enum, in the order of their numbers."""
    schemas = document["components"]["schemas"]
    reached = _reached(schemas)
    names = _enum_names(schemas, reached)
    messages = {
        name: {field: _field(about, names) for field, about in sorted(_properties(schemas, name))} for name in reached
    }
    return messages, {name: values for values, name in names.items()}


def _properties(schemas: Mapping[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from (schemas[name].get("properties") or {}).items()


def _inner(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """What one value of a field is: the item of a list, the value of a map, or the field itself."""
    if about.get("type") == "array":
        return _inner(about["items"])
    extra = about.get("additionalProperties")
    return extra if isinstance(extra, dict) and "$ref" in extra else about


def _reached(schemas: Mapping[str, Any]) -> list[str]:
    """The messages of requests. What only the service sets is not followed."""
    found: dict[str, None] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += [
                _inner(about)["$ref"].rpartition("/")[2]
                for _, about in _properties(schemas, name)
                if "$ref" in _inner(about) and not about.get("readOnly")
            ]
    return sorted(found)


def _enum_names(schemas: Mapping[str, Any], reached: list[str]) -> dict[tuple[str, ...], str]:
    """A name for each list of words: from its first word (``MODE_UNSPECIFIED``), or from message and field."""
    found: dict[tuple[str, ...], tuple[str, str, str]] = {}
    for name in reached:
        for field, about in sorted(_properties(schemas, name)):
            inner = _inner(about)
            if "enum" in inner:
                plain = inner["enum"][0].upper().removesuffix("UNSPECIFIED").strip("_")
                pascal = plain.title().replace("_", "") or _capital(field)
                found.setdefault(tuple(inner["enum"]), (pascal, name, field))
    users = defaultdict(list)
    for values, (pascal, _, _) in found.items():
        users[pascal].append(values)
    return {
        values: pascal if len(users[pascal]) == 1 else f"{name}{_capital(field)}"
        for values, (pascal, name, field) in found.items()
    }


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _field(about: Mapping[str, Any], names: Mapping[tuple[str, ...], str]) -> str:
    inner, text = _inner(about), about.get("description", "")
    if "$ref" in inner:
        # An output that a caller may send back is read as any object.
        kind = "o" if about.get("readOnly") else inner["$ref"].rpartition("/")[2]
    elif "enum" in inner:
        kind = names[tuple(inner["enum"])]
    elif inner.get("type") == "object":
        kind = "o"
        if isinstance(given := inner.get("additionalProperties"), dict) and given.get("type") == "string":
            kind = "s{}"
    else:
        kind = _SCALARS[inner["type"], inner.get("format")] if "type" in inner else "v"
    if about.get("type") == "array":
        kind += "*"
    elif about.get("additionalProperties") and "$ref" in inner:
        kind += "{}"
    return " ".join([kind, *_marks(kind, about, text)])


def _marks(kind: str, about: Mapping[str, Any], text: str) -> Iterator[str]:
    if re.match(r"Required\.", text):
        yield "!"
    if about.get("deprecated"):
        yield "-"
    if kind in "ilf" and (found := _RANGE.search(text)):
        low, high = (float(found[group]) for group in (2, 3))
        yield f"{found[1]}{low:g},{high:g}{found[4]}"
    if kind.endswith("*") and (found := _MOST.search(text)):
        yield f"#{found[1]}"
    if kind == "s" and (found := _WORDS.search(text)):
        yield "=" + "|".join(re.findall(r"`([^`]+)`", found[1]))
