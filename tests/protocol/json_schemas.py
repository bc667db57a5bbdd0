"""Generated JSON Schemas, as people and their libraries write them; each of them can be satisfied."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from protocol.schemas import PATTERNS, joined, names, notes, words

FORMATS = ("date-time", "date", "time", "duration", "email", "uri", "uuid", "hostname", "ipv4", "ipv6", "unheard-of")

_given = st.one_of(words, st.integers(-3, 9), st.booleans(), st.none(), st.sampled_from([0.5, -2.25]))


def of(kind: Any, *more: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return joined(st.just({"type": kind}), notes, *more)


def bounds(low: str, high: str, least: int, most: int, gap: int = 0) -> st.SearchStrategy[dict[str, Any]]:
    """Nothing, or one or two bounds with at least ``gap`` between them."""
    two = st.tuples(st.integers(least, most), st.integers(gap, most - least)).map(
        lambda one: {low: one[0], high: one[0] + one[1]}
    )
    return st.one_of(st.just({}), two, two.map(lambda made: {low: made[low]}), two.map(lambda made: {high: made[high]}))


_steps: st.SearchStrategy[dict[str, Any]] = st.sampled_from([{}, {}, {"multipleOf": 2}, {"multipleOf": 3}])
_numeric = st.one_of(bounds("minimum", "maximum", -20, 20, 8), bounds("exclusiveMinimum", "exclusiveMaximum", -9, 9, 8))

_leaves = st.one_of(
    of("string", bounds("minLength", "maxLength", 0, 9)),
    of("string", st.sampled_from(PATTERNS).map(lambda one: {"pattern": one})),
    of("string", st.sampled_from(FORMATS).map(lambda one: {"format": one})),
    of("integer", _numeric, _steps),
    of("number", _numeric),
    of("boolean"),
    of("null"),
    of(["string", "null"], bounds("minLength", "maxLength", 0, 9)),
    of(["integer", "string"], bounds("minimum", "maximum", -9, 9)),
    st.lists(_given, min_size=1, max_size=4, unique_by=repr).map(lambda some: {"enum": some}),
    _given.map(lambda one: {"const": one}),
    of("string", st.lists(words, min_size=1, max_size=3, unique=True).map(lambda some: {"enum": some})),
    st.sampled_from(["#/$defs/Text", "#/$defs/Thing"]).map(lambda one: {"$ref": one}),
    joined(st.just({"$ref": "#/$defs/Thing"}), notes),
)


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(names, inner, min_size=1, max_size=4))
    made: dict[str, Any] = {"type": "object", "properties": properties, **draw(notes)}
    if required := draw(st.lists(st.sampled_from(sorted(properties)), unique=True)):
        made["required"] = required
    match draw(st.integers(0, 5)):
        case 0 | 1:
            made["additionalProperties"] = False
        case 2:
            made["additionalProperties"] = draw(inner)
        case 3:
            made["minProperties"] = draw(st.integers(0, len(properties)))
        case _:
            pass
    return made


@st.composite
def _choices(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    match draw(st.integers(0, 3)):
        case 0:
            return {"anyOf": [draw(inner), {"type": "null"}], **draw(notes)}
        case 1:
            return {"anyOf": draw(st.lists(inner, min_size=1, max_size=3))}
        case 2:
            kinds = draw(st.lists(words, min_size=1, max_size=3, unique=True))
            return {"oneOf": [draw(_marked(kind, inner)) for kind in kinds]}
        case _:
            first, second = draw(_objects(inner)), draw(_objects(inner))
            second["properties"] = {f"{name}_": one for name, one in second["properties"].items()}
            second["required"] = [f"{name}_" for name in second.get("required", ())]
            for one in (first, second):
                one.pop("additionalProperties", None)
                one.pop("minProperties", None)
            return {"allOf": [first, second]}


@st.composite
def _marked(draw: st.DrawFn, kind: str, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    made = draw(_objects(inner))
    made["properties"]["kind"] = {"const": kind}
    return made | {"required": sorted({*made.get("required", ()), "kind"})}


def _larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    unique = of(
        "array", st.just({"items": {"type": "integer"}, "uniqueItems": True}), bounds("minItems", "maxItems", 0, 4)
    )
    return st.one_of(
        of("array", inner.map(lambda one: {"items": one}), bounds("minItems", "maxItems", 0, 4)),
        unique,
        st.lists(inner, min_size=1, max_size=3).map(
            lambda some: {"type": "array", "prefixItems": some, "minItems": len(some), "items": False}
        ),
        _objects(inner),
        _choices(inner),
    )


_DEFS = {
    "Text": {"type": "string", "minLength": 1},
    "Thing": {"type": "object", "properties": {"name": {"$ref": "#/$defs/Text"}}, "required": ["name"]},
    "Node": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
        "required": ["name"],
    },
}


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "$defs": _DEFS}


#: JSON Schemas without references to themselves.
json_schemas = st.recursive(_leaves, _larger, max_leaves=8).map(_rooted)
#: The same, and some that refer to themselves.
recursive_schemas = st.recursive(_leaves | st.just({"$ref": "#/$defs/Node"}), _larger, max_leaves=8).map(_rooted)
