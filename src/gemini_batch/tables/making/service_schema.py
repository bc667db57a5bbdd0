"""JSON Schema as the service takes it: in ``responseSchema``, a part of OpenAPI, or in ``responseJsonSchema``.

``responseSchema`` never allows less than the original: what it cannot say is left to the check of the answers, and
listed. What has no place in it at all (properties of any name, tuples, recursion) raises :class:`NotExpressible`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gemini_batch.protocol.schema_checker import path_of
from gemini_batch.tables.making import schema_parts as parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_batch.tables.making.schema_parts import Place


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ANNOTATIONS = ("title", "description")
_NO_EFFECT = _words(
    "$schema $id $anchor $comment $defs definitions default example examples deprecated readOnly writeOnly "
    "discriminator title description propertyOrdering"
)
#: Checked in the answers only.
_LEFT = _words(
    "multipleOf uniqueItems contains minContains maxContains not if then else dependentRequired dependentSchemas "
    "dependencies propertyNames unevaluatedItems contentEncoding contentMediaType contentSchema"
)
_OBJECT = _words(
    "properties required minProperties maxProperties additionalProperties patternProperties unevaluatedProperties "
    "propertyNames dependentRequired dependentSchemas dependencies"
)
_ARRAY = _words(
    "items prefixItems additionalItems minItems maxItems uniqueItems contains minContains maxContains unevaluatedItems"
)
_STRING = _words("pattern minLength maxLength format contentEncoding contentMediaType contentSchema")
_NUMBER = _words("minimum maximum exclusiveMinimum exclusiveMaximum multipleOf format")
_WORDS = {
    "object": _OBJECT,
    "array": _ARRAY,
    "string": _STRING,
    "number": _NUMBER,
    "integer": _NUMBER,
    "boolean": frozenset[str](),
    "null": frozenset[str](),
}
_ALL_WORDS = frozenset().union(*_WORDS.values())
_CHOICES = ("anyOf", "oneOf")


def response_schema(schema: dict[str, Any]) -> parts.Made:
    """A ``Schema`` for ``responseSchema``. Raises :class:`NotExpressible` and :class:`parts.Unusable`."""
    maker = _Maker(schema)
    made = maker.make(schema, (), ())
    return parts.Made(made, tuple(dict.fromkeys(maker.notes)))


class NotExpressible(ValueError):
    """``responseSchema`` has no words for something; ``place`` leads to it, ``what`` names it."""

    def __init__(self, place: Place, what: str) -> None:
        where = f"`{path_of(place)}`: " if place else ""
        super().__init__(f"{where}{what}")
        self.place, self.what = place, what


class _Maker:
    """Makes one ``Schema``; ``refs``: the references that lead to a place, so that a circle is found."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.notes: list[str] = []
        self._steps = parts.Steps()

    def make(self, node: Any, place: Place, refs: tuple[str, ...]) -> dict[str, Any]:
        self._steps.take()
        node, refs = self._flat(node, place, refs)
        if not node.keys() - _NO_EFFECT:
            raise NotExpressible(place, "a value of any kind")
        for word in node.keys() - _NO_EFFECT - _ALL_WORDS - _LEFT - {"type", "enum", "const", *_CHOICES}:
            self._note((*place, word), "is not a word of JSON Schema and has no effect")
        made = self._constrained(node, place, refs)
        for word in _ANNOTATIONS:
            if isinstance(node.get(word), str):
                made[word] = node[word]
        return made

    def _flat(self, node: Any, place: Place, refs: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The same without references and ``allOf`` at its top."""
        if node is True:
            raise NotExpressible(place, "a value of any kind")
        if node is False:
            raise NotExpressible(place, "a value that cannot exist")
        while "$ref" in node or "allOf" in node:
            rest = {word: value for word, value in node.items() if word not in ("$ref", "allOf")}
            pieces = []
            if "$ref" in node:
                if node["$ref"] in refs:
                    raise NotExpressible(place, f"a reference that leads back to itself, {node['$ref']}")
                refs = (*refs, node["$ref"])
                pieces.append(parts.found_at(self.root, node["$ref"], place))
            for number, one in enumerate(node.get("allOf", ())):
                piece, refs = self._flat(one, (*place, "allOf", number), refs)
                pieces.append(piece)
            node = rest
            for piece in reversed(pieces):
                node = parts.both(piece, node)
                if node is None:
                    raise NotExpressible(place, "conditions that all have to be met")
        return node, refs

    def _constrained(self, node: dict[str, Any], place: Place, refs: tuple[str, ...]) -> dict[str, Any]:
        if chosen := [word for word in _CHOICES if word in node]:
            if len(chosen) == 2:
                raise NotExpressible(place, "`anyOf` next to `oneOf`")
            return self._choice(node, chosen[0], place, refs)
        if "const" in node or "enum" in node:
            return self._enumerated(node, place)
        kinds = _kinds(node, place)
        if len(kinds) == 1:
            return self._typed(node, kinds[0], place, refs)
        typed = [self._typed(node, kind, place, refs) for kind in kinds if kind != "null"]
        return _any_of(typed, nullable="null" in kinds)

    def _choice(self, node: dict[str, Any], word: str, place: Place, refs: tuple[str, ...]) -> dict[str, Any]:
        """``anyOf`` or ``oneOf``; what stands next to it holds in each branch."""
        around = {key: value for key, value in node.items() if key != word and key not in _NO_EFFECT}
        made, nullable = [], False
        for number, one in enumerate(node[word]):
            inside: Place = (*place, word, number)
            branch, _ = self._flat(one, inside, refs)
            if branch.get("type") == "null" or branch.get("const", branch) is None:
                nullable = True
                continue
            joined = parts.both(around, one) if around else one
            if joined is None:
                raise NotExpressible(inside, "conditions that all have to be met")
            made.append(self.make(joined, inside, refs))
        if word == "oneOf" and len(made) > 1 and not parts.apart(self.root, node[word]):
            self._note((*place, word), "is sent as `anyOf`; that only one of them fits is checked in the answers")
        if not made:
            return {"type": "NULL"}
        return _any_of(made, nullable=nullable)

    def _enumerated(self, node: dict[str, Any], place: Place) -> dict[str, Any]:
        word = "const" if "const" in node else "enum"
        values = [node["const"]] if word == "const" else node["enum"]
        if kinds := parts.kinds_of(node):
            values = [value for value in values if parts.is_of(value, kinds)]
        if node.keys() & (_ALL_WORDS - {"format"}):
            self._note(place, f"what stands next to `{word}` is checked in the answers")
        texts = [value for value in values if isinstance(value, str)]
        if "" in texts:
            raise NotExpressible((*place, word), "an empty text as one of the values")
        if any(isinstance(value, dict | list) for value in values):
            raise NotExpressible((*place, word), "an object or a list as one of the values")
        made: list[dict[str, Any]] = []
        if texts:
            made.append({"type": "STRING", "format": "enum", "enum": list(dict.fromkeys(texts))})
        if truths := {value for value in values if isinstance(value, bool)}:
            made.append({"type": "BOOLEAN"})
            if len(truths) == 1:
                self._note((*place, word), "is sent as a choice of both values; it is checked in the answers")
        made += [{"type": kind, "minimum": low, "maximum": high} for kind, low, high in _runs(values)]
        if not made:
            return {"type": "NULL"}
        return _any_of(made, nullable=None in values)

    def _typed(self, node: dict[str, Any], kind: str, place: Place, refs: tuple[str, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {"type": kind.upper()}
        for word in sorted(node.keys() & _LEFT & (_WORDS[kind] | (_LEFT - _ALL_WORDS))):
            self._note((*place, word), "is checked in the answers; `responseSchema` does not have it")
        match kind:
            case "object":
                made |= self._object(node, place, refs)
            case "array":
                made |= self._array(node, place, refs)
            case "integer" | "number":
                made |= self._number(node, place, whole=kind == "integer")
            case "string":
                made |= {word: node[word] for word in ("format", "pattern", "minLength", "maxLength") if word in node}
            case _:
                pass
        return made

    def _object(self, node: dict[str, Any], place: Place, refs: tuple[str, ...]) -> dict[str, Any]:
        properties = node.get("properties") or {}
        required = list(dict.fromkeys(node.get("required") or ()))
        if isinstance(node.get("additionalProperties"), dict) or node.get("patternProperties") or not properties:
            raise NotExpressible(place, "an object with properties of any name")
        if strange := [name for name in required if name not in properties]:
            raise NotExpressible((*place, "required"), f"a required property that is not described, {strange[0]!r}")
        kept = {name: one for name, one in properties.items() if one is not False or name in required}
        ordering = [name for name in node.get("propertyOrdering") or () if name in kept]
        names = list(dict.fromkeys([*ordering, *kept]))
        made: dict[str, Any] = {
            "properties": {name: self.make(kept[name], (*place, "properties", name), refs) for name in names}
        }
        if required:
            made["required"] = required
        made["propertyOrdering"] = names
        return made | {word: node[word] for word in ("minProperties", "maxProperties") if word in node}

    def _array(self, node: dict[str, Any], place: Place, refs: tuple[str, ...]) -> dict[str, Any]:
        items = node.get("items")
        listed = items if isinstance(items, list) else node.get("prefixItems")
        limits: dict[str, Any] = {word: node[word] for word in ("minItems", "maxItems") if word in node}
        if listed:
            same = all(one == listed[0] for one in listed)
            if not same or limits.get("maxItems", math.inf) > len(listed):
                raise NotExpressible(place, "a list whose items differ by their position")
            items = listed[0]
        if items is None:
            raise NotExpressible(place, "a list of anything")
        return {"items": self.make(items, (*place, "items"), refs), **limits}

    def _number(self, node: dict[str, Any], place: Place, *, whole: bool) -> dict[str, Any]:
        low, high = parts.number(node.get("minimum")), parts.number(node.get("maximum"))
        above, below = parts.number(node.get("exclusiveMinimum")), parts.number(node.get("exclusiveMaximum"))
        for word, bound in (("exclusiveMinimum", above), ("exclusiveMaximum", below)):
            if bound is not None and not whole:
                self._note((*place, word), "is sent as a bound that is allowed itself; it is checked in the answers")
        lows = [one for one in (low, above if above is None or not whole else math.floor(above) + 1) if one is not None]
        highs = [
            one for one in (high, below if below is None or not whole else math.ceil(below) - 1) if one is not None
        ]
        made: dict[str, Any] = {"format": node["format"]} if "format" in node else {}
        if lows:
            made["minimum"] = max(lows)
        if highs:
            made["maximum"] = min(highs)
        return made

    def _note(self, place: Place, what: str) -> None:
        self.notes.append(f"`{path_of(place)}` {what}." if place else f"{what[:1].upper()}{what[1:]}.")


def _kinds(node: dict[str, Any], place: Place) -> list[str]:
    """The types of a schema; one that states none has the type that its words are about."""
    if kinds := parts.kinds_of(node):
        return kinds
    for kind in ("object", "array", "string", "number"):
        if node.keys() & (_WORDS[kind] - {"format"}):
            return [kind]
    raise NotExpressible(place, "a value of any kind")


def _any_of(made: list[dict[str, Any]], *, nullable: bool) -> dict[str, Any]:
    found: dict[str, Any] = dict(made[0]) if len(made) == 1 else {"anyOf": made}
    if nullable and found.get("type") != "NULL":
        found["nullable"] = True
    return found


def _runs(values: Iterable[Any]) -> Sequence[tuple[str, float, float]]:
    """The numbers among the values, whole ones in runs, as types with their bounds."""
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    runs: list[tuple[str, float, float]] = []
    for value in sorted({int(value) for value in numbers if value == int(value)}):
        low = runs.pop()[1] if runs and runs[-1][2] == value - 1 else value
        runs.append(("INTEGER", low, value))
    return [*runs, *(("NUMBER", value, value) for value in dict.fromkeys(numbers) if value != int(value))]
