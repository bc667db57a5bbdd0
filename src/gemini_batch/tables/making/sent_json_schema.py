"""JSON Schema as ``responseJsonSchema`` takes it: references that lead back are kept, all others are written out.

The service reads part of JSON Schema: it follows a circle only below a property that is not required, reads nothing
next to ``$ref``, and takes ``enum`` for strings and numbers (Google's description of the field, 2026-11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.protocol.schema_checker import path_of
from gemini_batch.tables.making import schema_parts as parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.tables.making.schema_parts import Place

_DROPPED = frozenset({"$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "discriminator", "default"})
_READ = frozenset(
    {
        *("$ref", "type", "format", "title", "description", "enum", "items", "prefixItems", "minItems", "maxItems"),
        *("minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties", "required", "propertyOrdering"),
    }
)
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LISTS = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ONES = frozenset({"items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"})


def sent_json_schema(schema: dict[str, Any]) -> parts.Made:
    """The schema for ``responseJsonSchema``. Raises :class:`parts.Unusable`."""
    sender = _Sender(schema)
    made = sender.make(schema, (), {"#": False})
    if sender.circles:
        made["$defs"] = sender.circles
    return parts.Made(made, tuple(dict.fromkeys(sender.notes)))


class _Sender:
    """``circles``: the schemas that refer to themselves, by name."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.notes: list[str] = []
        self.circles: dict[str, Any] = {}
        self._closed: set[str] = set()
        self._steps = parts.Steps()

    def make(self, node: Any, place: Place, within: Mapping[str, bool]) -> Any:
        """``within``: the references that lead here, and whether an optional property has been passed since."""
        self._steps.take()
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return self._referred(node, place, within)
        made: dict[str, Any] = {}
        for word, value in node.items():
            if word in _DROPPED:
                continue
            inside = (*place, word)
            if word == "const" and isinstance(value, str | int | float) and not isinstance(value, bool):
                made["enum"] = [value]
            elif word == "properties":
                required = node.get("required") or ()
                passed = dict.fromkeys(within, True)
                made[word] = {
                    name: self.make(one, (*inside, name), within if name in required else passed)
                    for name, one in value.items()
                }
                made.setdefault("propertyOrdering", list(value))
            elif word in _MAPS:
                made[word] = {name: self.make(one, (*inside, name), within) for name, one in value.items()}
            elif word in _LISTS or (word == "items" and isinstance(value, list)):
                made[word] = [self.make(one, (*inside, number), within) for number, one in enumerate(value)]
            elif word in _ONES:
                made[word] = self.make(value, inside, within)
            else:
                made[word] = value
            if word not in _READ and word != "const":
                self.notes.append(
                    f"`{path_of(inside)}` may have no effect at the service; it is checked in the answers."
                )
        return made

    def _referred(self, node: dict[str, Any], place: Place, within: Mapping[str, bool]) -> Any:
        reference = node["$ref"]
        target = parts.found_at(self.root, reference, place)
        if reference in within:
            if not within[reference]:
                raise parts.Unusable(
                    place,
                    f"{reference} refers to itself through required properties; the service follows a circle only "
                    "below a property that is not required",
                )
            self._closed.add(reference)
        elif (name := parts.name_of(reference)) not in self.circles:
            beside = {word: value for word, value in node.items() if word != "$ref"}
            joined = parts.both(target, beside)
            if joined is None:
                joined = {"allOf": [target, beside]}
            made = self.make(joined, place, {**within, reference: False})
            if reference not in self._closed:
                return made
            self.circles[name] = made
        return {"$ref": "#" if reference == "#" else f"#/$defs/{parts.name_of(reference)}"}
