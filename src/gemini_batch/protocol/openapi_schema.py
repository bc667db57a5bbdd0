"""The service's ``Schema``, a part of OpenAPI, as JSON Schema: the same values satisfy both."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from gemini_batch.protocol.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What JSON Schema does not have, or calls differently.
_LEFT_OUT = frozenset({"nullable", "propertyOrdering", "example"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
#: Keywords of JSON Schema whose values are no schemas.
_VALUES = frozenset({"const", "enum", "default", "examples", "example"})
_WHOLE = re.compile(r"-?[0-9]{1,400}")


def json_schema_of(schema: object) -> dict[str, Any]:
    """A ``Schema`` in any spelling that the service accepts, as JSON Schema; what does not fit is left out."""
    return translated(Reader(lenient=True).read("Schema", schema) or {})


def lowered(schema: Any) -> Any:
    """A JSON Schema with its types in lower case; the service reads them in any case, as it does in a ``Schema``."""
    match schema:
        case dict():
            return {name: value if name in _VALUES else _type_or(name, value) for name, value in schema.items()}
        case list():
            return [lowered(one) for one in schema]
        case _:
            return schema


def _type_or(name: str, value: Any) -> Any:
    if name != "type" or isinstance(value, dict):
        return lowered(value)
    if isinstance(value, list):
        return [one.lower() if isinstance(one, str) else one for one in value]
    return value.lower() if isinstance(value, str) else value


def translated(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A ``Schema`` in canonical form, as ``Reader`` makes it, as JSON Schema.

    Properties are in the order of ``propertyOrdering``: servers that enforce the schema write them in that order.
    """
    made: dict[str, Any] = {}
    for name, value in schema.items():
        if name not in _LEFT_OUT and value is not None and (word := _keyword(name, value, schema)) is not None:
            made[name] = word
    if schema.get("nullable"):
        if "type" in made:
            made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
        if "anyOf" in made:
            made["anyOf"] = [*made["anyOf"], {"type": "null"}]
    return made


def _keyword(name: str, value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one line for each keyword
    """The value of a keyword; None leaves it out."""
    if name in _COUNTS:
        return int(value)  # int64 is a string in the API's JSON
    match name:
        case "type":
            return None if value == "TYPE_UNSPECIFIED" else value.lower()
        case "format":
            return None if value == "enum" else value
        case "minimum" | "maximum":
            return value if not isinstance(value, str) and math.isfinite(value) else None
        case "enum":
            return _values(value, schema.get("type"))
        case "properties":
            order = [key for key in schema.get("propertyOrdering") or () if key in value]
            return {key: translated(value[key] or {}) for key in dict.fromkeys([*order, *value])}
        case "items":
            return translated(value)
        case "anyOf":
            return [translated(one or {}) for one in value]
        case _:
            return value


def _values(words: list[str], kind: str | None) -> list[Any] | None:
    """The values that an ``enum`` names; all of them are strings there, also those of a number."""
    if kind == "BOOLEAN":
        named = {"true": True, "false": False}
        return [named[word] for word in words] if named.keys() >= set(words) else None
    if kind not in ("INTEGER", "NUMBER"):
        return list(words)
    try:
        numbers = [int(word) if _WHOLE.fullmatch(word) else float(word) for word in words]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None
