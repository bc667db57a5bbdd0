"""Generated schemas in the form of ``responseSchema``, values for them, and what such a schema says in plain code."""

from __future__ import annotations

import math
import re
from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "topics", "weird name", "ä", "type", "enum", "properties", "nullable", "required")
PATTERNS = ("^[a-c]{2,4}$", "[0-9]+", "^x", "(ab|cd)e?$", "^[^a]$", r"^\d{5}(-\d{4})?$", r"^\w+@\w+\.com$")

names = st.sampled_from(NAMES)
words = st.sampled_from(["x", "y", "two words", "ä", "null", "1", "true"])


def bounded(low: str, high: str, least: int, most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Nothing, or one or two bounds that do not contradict each other; int64 is a string, as often as a number."""
    numbers = st.tuples(st.integers(least, most), st.integers(least, most)).map(sorted)
    written = st.sampled_from([int, str]) if "Len" in low or "Items" in low or "Prop" in low else st.just(int)
    both = st.tuples(numbers, written).map(lambda one: {low: one[1](one[0][0]), high: one[1](one[0][1])})
    return st.one_of(
        st.just({}),
        both,
        both.map(lambda one: {low: one[low]}),
        both.map(lambda one: {high: one[high]}),
    )


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda made: {name: value for part in made for name, value in part.items()})


nullable: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, {"nullable": True}, {"nullable": False}])
notes: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {"title": "T"}, {"description": "What it is"}, {"example": 7}, {"default": None}]
)


def of(kind: str, *more: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return joined(st.just({"type": kind}), nullable, notes, *more)


leaves = st.one_of(
    of("STRING", bounded("minLength", "maxLength", 0, 12)),
    of("STRING", st.lists(words, min_size=1, max_size=3, unique=True).map(lambda some: {"enum": some})),
    of("STRING", st.just({"format": "enum", "enum": ["x", "y"]})),
    of("STRING", st.sampled_from(PATTERNS).map(lambda one: {"pattern": one})),
    of("INTEGER", bounded("minimum", "maximum", -50, 50)),
    of("NUMBER", bounded("minimum", "maximum", -5, 5)),
    of("BOOLEAN"),
    st.just({"type": "NULL"}),
)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, inner, min_size=1, max_size=4))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    made: dict[str, Any] = {"type": "OBJECT", "properties": properties, **draw(nullable), **draw(notes)}
    if required:
        made["required"] = required
    if draw(st.booleans()):
        made["propertyOrdering"] = draw(st.permutations(sorted(properties)))
    if draw(st.integers(0, 3)) == 0:
        made["maxProperties"] = str(draw(st.integers(max(1, len(required)), 4)))
    if draw(st.integers(0, 3)) == 0:
        made["minProperties"] = draw(st.integers(0, min(len(properties), int(made.get("maxProperties", 4)))))
    return made


def _larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    lists = of("ARRAY", inner.map(lambda one: {"items": one}), bounded("minItems", "maxItems", 0, 4))
    choices = joined(st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}), nullable, notes)
    return st.one_of(lists, objects(inner), choices)


#: Schemas in the service's form; each of them can be satisfied.
service_schemas = st.recursive(leaves, _larger, max_leaves=8)

_plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-60, 60),
    st.sampled_from([1.0, 0.5, -3.25, 2**60, 1e300]),
    words,
    st.text("abcx0123", max_size=14),
)
#: Any small JSON.
values = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=6
)


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with one part of it replaced, removed or added."""
    if isinstance(value, list) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(changed(value[place])), *value[place + 1 :]]
    if isinstance(value, dict) and value and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(value)))
        rest = {key: one for key, one in value.items() if key != name}
        return rest if draw(st.booleans()) else {**rest, name: draw(changed(value[name]))}
    if isinstance(value, list):
        return [*value, draw(values)]
    return draw(values)


def fits(schema: dict[str, Any], value: Any) -> bool:
    """What a schema of the service says, read word by word."""
    if schema.get("nullable") and value is None:
        return True
    if "anyOf" in schema and not any(fits(one, value) for one in schema["anyOf"]):
        return False
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match schema.get("type"):
        case "STRING":
            return isinstance(value, str) and _text_fits(schema, value)
        case "INTEGER":
            return number and value == math.floor(value) and _within(schema, "minimum", "maximum", value)
        case "NUMBER":
            return number and _within(schema, "minimum", "maximum", value)
        case "BOOLEAN":
            return isinstance(value, bool)
        case "NULL":
            return value is None
        case "ARRAY":
            return (
                isinstance(value, list)
                and _within(schema, "minItems", "maxItems", len(value))
                and all(fits(schema["items"], one) for one in value)
            )
        case "OBJECT":
            return (
                isinstance(value, dict)
                and _within(schema, "minProperties", "maxProperties", len(value))
                and all(name in value for name in schema.get("required", ()))
                and all(fits(one, value[name]) for name, one in schema["properties"].items() if name in value)
            )
        case _:
            return True


def _text_fits(schema: dict[str, Any], value: str) -> bool:
    return (
        _within(schema, "minLength", "maxLength", len(value))
        and ("enum" not in schema or value in schema["enum"])
        and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
    )


def _within(schema: dict[str, Any], low: str, high: str, size: float) -> bool:
    return float(schema.get(low, "-inf")) <= size <= float(schema.get(high, "inf"))
