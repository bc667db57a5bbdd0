"""Reads JSON Schema: types, numbers, references, and what two schemas say together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.protocol.json_schema import TYPES
from gemini_batch.protocol.schema_checker import path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Place = tuple[str | int, ...]
#: So many parts a schema can have once its references are written out; a few lines can ask for billions.
_MOST_PARTS = 10_000
_OF = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == int(value),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
#: Of these, the second of two schemas says what counts.
_SAID_LAST = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}
)


class Unusable(ValueError):
    """The schema cannot be used; the message has the place."""

    def __init__(self, place: Sequence[str | int], what: str) -> None:
        super().__init__(f"`{path_of(place)}`: {what}" if place else what)


class Made(NamedTuple):
    """A schema for the service, and what of the original the service does not see to, as sentences with places."""

    schema: dict[str, Any]
    notes: tuple[str, ...]


class Steps:
    """Counts the parts of a schema while its references are written out."""

    def __init__(self) -> None:
        self._taken = 0

    def take(self) -> None:
        """Count one part. Raises :class:`Unusable` if there are too many."""
        self._taken += 1
        if self._taken > _MOST_PARTS:
            raise Unusable((), f"with its references written out, the schema has more than {_MOST_PARTS:,} parts")


def name_of(reference: str) -> str:
    """The name of what a reference leads to."""
    return reference.rpartition("/")[2]


def found_at(root: dict[str, Any], reference: Any, place: Sequence[str | int]) -> dict[str, Any]:
    """What a reference leads to. Raises :class:`Unusable`."""
    found: Any = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise Unusable((*place, "$ref"), f"{reference} leads out of the schema; nothing is fetched")
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise Unusable((*place, "$ref"), f"{reference} leads nowhere")
    if not isinstance(found, dict):
        raise Unusable((*place, "$ref"), f"{reference} does not lead to a schema")
    return found


def kinds_of(node: dict[str, Any]) -> list[str]:
    """The types that a schema states, in small letters."""
    stated = node.get("type")
    listed = stated if isinstance(stated, list) else [stated]
    return [kind.lower() for kind in dict.fromkeys(listed) if isinstance(kind, str) and kind.lower() in TYPES]


def is_of(value: Any, kinds: Sequence[str]) -> bool:
    """Whether a value is of one of the types."""
    return any(_OF[kind](value) for kind in kinds)


def number(value: Any) -> int | float | None:
    """A number, or None; JSON Schema's draft 4 has true and false as exclusive bounds."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """What two schemas say together, in one; None if it cannot be said so."""
    made = dict(one)
    for word, value in other.items():
        if word not in made or made[word] == value or word in _SAID_LAST:
            made[word] = value
        elif word == "required":
            made[word] = list(dict.fromkeys([*made[word], *value]))
        elif word == "properties":
            shared = made[word].keys() & value.keys()
            made[word] = {**made[word], **value} | {name: {"allOf": [made[word][name], value[name]]} for name in shared}
        elif word in ("minimum", "minLength", "minItems", "minProperties", "exclusiveMinimum"):
            made[word] = max(made[word], value)
        elif word in ("maximum", "maxLength", "maxItems", "maxProperties", "exclusiveMaximum"):
            made[word] = min(made[word], value)
        elif word == "type":
            if not (shared_kinds := [kind for kind in kinds_of(made) if kind in kinds_of(other)]):
                return None
            made[word] = shared_kinds[0] if len(shared_kinds) == 1 else shared_kinds
        else:
            return None
    return made


def without_nullable(schema: Any) -> Any:
    """The same with OpenAPI's ``nullable`` as JSON Schema says it."""
    if isinstance(schema, list):
        return [without_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        word: value if word in ("enum", "const", "default", "example", "examples") else without_nullable(value)
        for word, value in schema.items()
    }
    if made.get("nullable") is not True and made.get("nullable") is not False:
        return made  # a property may have that name
    if not made.pop("nullable"):
        return made
    if isinstance(made.get("enum"), list):
        made["enum"] = [*made["enum"], None]
    if kinds := kinds_of(made):
        return {**made, "type": list(dict.fromkeys([*kinds, "null"]))}
    return {"anyOf": [made, {"type": "null"}]}


def apart(root: dict[str, Any], branches: Sequence[Any]) -> bool:
    """Whether no value can satisfy two of the branches: they differ in type, or in a property that names them."""
    read = [found_at(root, one["$ref"], ()) if isinstance(one, dict) and "$ref" in one else one for one in branches]
    kinds = [kinds_of(one) if isinstance(one, dict) else [] for one in read]
    flat = ["number" if kind == "integer" else kind for one in kinds for kind in one]
    if all(kinds) and len(flat) == len(set(flat)):
        return True
    marks = [_marks(one) if isinstance(one, dict) else {} for one in read]
    shared = set.intersection(*(set(one) for one in marks)) if marks else set()
    return any(len({repr(one[name]) for one in marks}) == len(marks) for name in shared)


def _marks(node: dict[str, Any]) -> dict[str, Any]:
    """The required properties with one value, and the value."""
    required = node.get("required") or ()
    found = {}
    for name, one in (node.get("properties") or {}).items():
        if isinstance(one, dict) and name in required:
            if "const" in one:
                found[name] = one["const"]
            elif isinstance(one.get("enum"), list) and len(one["enum"]) == 1:
                found[name] = one["enum"][0]
    return found
