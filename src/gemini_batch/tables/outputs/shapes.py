"""From a JSON schema to the types of columns: one for each property of an answer.

JSON Schema and the service's own ``Schema`` (``"type": "STRING"``, ``nullable``) are both understood. What has no
single type becomes JSON text, so a schema never stops a table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gemini_batch.tables.outputs.kinds import BIGINT, BOOLEAN, DOUBLE, JSON, VARCHAR, Kind, list_of, struct_of

_SCALARS = {"string": VARCHAR, "integer": BIGINT, "number": DOUBLE, "boolean": BOOLEAN}
#: Schemas are followed to this depth; what is deeper becomes JSON text.
_DEPTH = 12


def properties(schema: Mapping[str, Any] | None) -> list[tuple[str, Kind]] | None:
    """The properties of an object in their order, with their types; None if the schema is not one of an object."""
    if schema is None:
        return None
    reader = _Reader(schema)
    top, place = reader.resolved(schema)
    found = top.get("properties")
    if _types(top) - {"null"} not in ({"object"}, set()) or not isinstance(found, Mapping) or not found:
        return None
    order = top.get("propertyOrdering")
    names = [name for name in order if name in found] if isinstance(order, list) else []
    return [(name, reader.kind(found[name], place)) for name in dict.fromkeys([*names, *found])]


#: The references that lead to a place in a schema.
_Places = tuple[str, ...]


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root

    def resolved(self, schema: Mapping[str, Any], within: _Places = ()) -> tuple[Mapping[str, Any], _Places]:
        """What a reference inside the same schema points to, and what stands alone in a choice, apart from null.

        ``within``: the references that were followed to come here. One that leads back into itself gives no schema.
        """
        for _ in range(_DEPTH):
            if isinstance(place := schema.get("$ref"), str):
                target = None if place in within else self._at(place)
                if target is None:
                    return {}, within
                schema, within = target, (*within, place)
            elif isinstance(inside := _alone(schema), Mapping):
                schema = inside
            else:
                return schema, within
        return {}, within

    def _at(self, place: str) -> Mapping[str, Any] | None:
        if place != "#" and not place.startswith("#/"):
            return None
        value: Any = self._root
        for part in place.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            value = value.get(name) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else None

    def kind(self, schema: Any, within: _Places, depth: int = 1) -> Kind:
        """The type of the values that a schema allows."""
        if not isinstance(schema, Mapping) or depth > _DEPTH:
            return JSON
        schema, within = self.resolved(schema, within)
        choices = _choices(schema)
        if choices:
            kinds = {self.kind(choice, within, depth + 1) for choice in choices}
            return kinds.pop() if len(kinds) == 1 else JSON
        types = _types(schema) - {"null"} or _types_of_values(schema)
        if types == {"integer", "number"}:
            return DOUBLE
        if len(types) != 1:
            return JSON
        (name,) = types
        if name == "array":
            items = schema.get("items")
            if not isinstance(items, Mapping) or "prefixItems" in schema:
                return JSON
            return list_of(self.kind(items, within, depth + 1))
        return self._struct(schema, within, depth) if name == "object" else _SCALARS.get(name, JSON)

    def _struct(self, schema: Mapping[str, Any], within: _Places, depth: int) -> Kind:
        """A struct, if every member that an answer can have is known."""
        found = schema.get("properties")
        more = schema.get("additionalProperties", False)
        if not isinstance(found, Mapping) or not found or more is not False or "patternProperties" in schema:
            return JSON
        if len({name.casefold() for name in found} - {""}) < len(found):
            return JSON  # the names of a struct's members differ in more than case
        return struct_of([(name, self.kind(part, within, depth + 1)) for name, part in found.items()])


def _choices(schema: Mapping[str, Any]) -> list[Any]:
    for word in ("anyOf", "oneOf"):
        if isinstance(found := schema.get(word), list):
            return [one for one in found if not (isinstance(one, Mapping) and _types(one) == {"null"})]
    return []


def _alone(schema: Mapping[str, Any]) -> Any:
    """The one schema of a choice, if there is only one apart from null."""
    choices = _choices(schema)
    if not choices and isinstance(all_of := schema.get("allOf"), list):
        choices = all_of
    return choices[0] if len(choices) == 1 and "properties" not in schema else None


def _types(schema: Mapping[str, Any]) -> set[str]:
    """The names in ``type``, in lower case."""
    found = schema.get("type")
    names = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return {name.lower() for name in names if isinstance(name, str)} - {"type_unspecified"}


def _types_of_values(schema: Mapping[str, Any]) -> set[str]:
    """The types of what ``enum`` and ``const`` list; of an object or array by what they say of its parts."""
    values: Sequence[Any] = schema["enum"] if isinstance(schema.get("enum"), list) else ()
    if "const" in schema:
        values = [schema["const"]]
    types = {_type_of(value) for value in values if value is not None}
    if not types:
        types = {name for word, name in (("properties", "object"), ("items", "array")) if word in schema}
    return types


def _type_of(value: object) -> str:
    for kind, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, kind):
            return name
    return "mixed"
