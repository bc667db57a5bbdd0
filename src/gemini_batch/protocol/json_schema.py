"""Whether a value can be a JSON Schema: keywords have values of the right kind, and references lead somewhere.

JSON Schema itself says what is right (draft 2020-12, section 7 to 10). What the service does with a schema that is none
was not tried: likely refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.protocol.reading import DEEPEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.protocol.reading import Place

TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ONES = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_STRINGS = frozenset({"$ref", "title", "description", "format", "pattern"})
_WORDS = frozenset({"required", "propertyOrdering"})


class Flaw(NamedTuple):
    """A value that is not what its keyword needs: its place, and what it must be."""

    place: Place
    expected: str


def flaws(schema: Any) -> Iterator[Flaw]:
    """Everything in a schema that is not what JSON Schema says."""
    waiting: list[tuple[Place, Any]] = [((), schema)]
    while waiting:
        place, node = waiting.pop()
        if len(place) > 2 * DEEPEST:
            yield Flaw(place, "less deeply nested")
            continue
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            yield Flaw(place, "a schema, in an object")
            continue
        for word, value in node.items():
            inner = (*place, word)
            if expected := _expected(word, value):
                yield Flaw(inner, expected)
            elif word in _MAPS:
                waiting += [((*inner, name), one) for name, one in value.items()]
            elif word in _LISTS or (word == "items" and isinstance(value, list)):
                waiting += [((*inner, number), one) for number, one in enumerate(value)]
            elif word in _ONES:
                waiting.append((inner, value))
            elif word == "$ref" and not _leads(schema, value):
                yield Flaw(inner, "a place in this schema, such as `#/$defs/Name`")


def _expected(word: str, value: Any) -> str | None:  # noqa: PLR0911 - one line for each kind of keyword
    """What the value of a keyword must be, or None if it is that."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if word in _MAPS:
        return None if isinstance(value, dict) else "an object with a schema for each name"
    if word in _LISTS:
        return None if isinstance(value, list) and value else "a list of schemas"
    if word in _COUNTS:
        return None if number and value >= 0 and value == int(value) else "a whole number, at least 0"
    if word in _NUMBERS:
        return None if number else "a number"
    if word in _STRINGS:
        return None if isinstance(value, str) else "a string"
    if word in _WORDS:
        return None if isinstance(value, list) and all(isinstance(one, str) for one in value) else "a list of strings"
    if word == "enum":
        return None if isinstance(value, list) and value else "a list of values"
    if word == "type":
        kinds = value if isinstance(value, list) and value else [value]
        known = all(isinstance(one, str) and one.lower() in TYPES for one in kinds)
        return None if known else f"one of {', '.join(TYPES)}, or a list of them"
    return None


def _leads(root: Any, reference: str) -> bool:
    """Whether a reference leads to a place in the schema; an address elsewhere cannot be followed."""
    if not reference.startswith("#"):
        return False
    node = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, dict) and name in node:
            node = node[name]
        else:
            return False
    return True
