"""Names that the tables do not have, where it is clear which one is meant; fields that are there twice; null names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.protocol import rules
from gemini_batch.protocol.reading import DEEPEST, scalar
from gemini_batch.protocol.tables import enums, messages, names
from gemini_batch.validation import fields
from gemini_batch.validation.findings import clip
from gemini_batch.validation.fixing.notes import Object, rename, taken

if TYPE_CHECKING:
    from gemini_batch.protocol.tables import Field
    from gemini_batch.validation.fixing.notes import Notes

_TRUTH = {"true": True, "false": False, "True": True, "False": False}


def fix_names(message: str, value: Object, notes: Notes, depth: int = 0) -> None:
    """Fix the names in a message and in everything below it."""
    known = messages()[message]
    for name in list(value):
        if name in known.lookup:
            continue
        meant = _meant(message, name)
        if value[name] is None:
            del value[name]
            notes.add("removed unknown fields that are null")
        elif (
            meant is not None
            and fits(field := known.lookup[meant], value[name])
            and not taken(value, field.name, field.proto)
        ):
            value.pop(field.name, None)
            value.pop(field.proto, None)
            rename(value, name, meant, value[name])
            notes.renamed(name, meant)
    for field in known.fields:
        if field.proto != field.name and field.proto in value and field.name in value:
            _once(field, value, notes)
    if depth < DEEPEST:
        for name, inner in value.items():
            if (found := known.lookup.get(name)) is not None:
                value[name] = _inside(name, found, inner, notes, depth + 1)


def _meant(message: str, name: str) -> str | None:
    """The field that a name stands for. In a schema, other words have a meaning; there only the case may differ."""
    near = fields.near(name, names(message))
    if message in rules.CLOSED and near is not None and near.lower() != name.lower().replace("_", "").replace("-", ""):
        return None
    return near


def _once(field: Field, value: Object, notes: Notes) -> None:
    """Keep one of the two spellings of a field, if they do not say different things."""
    first, second = value[field.name], value[field.proto]
    if second is None or first == second:
        del value[field.proto]
    elif first is None:
        del value[field.name]
    else:
        return
    if first is not None and second is not None:
        notes.add(f"removed {clip(field.proto)}, which repeats `{field.name}`")


def fits(field: Field, value: Any) -> bool:
    """Whether a value can be the value of a field, judged by its outermost type."""
    if field.shape == "map":
        return type(value) is dict
    values = value if field.shape == "list" and type(value) is list else [value]
    if field.type == "v":
        return True
    if field.type in messages():
        return all(type(one) is dict for one in values)
    if (known := enums().get(field.type)) is not None:
        return all(type(one) is str and known.find(one) is not None for one in values)
    return all(scalar(field.type, _plain(one)) is not None for one in values)


def _plain(value: Any) -> Any:
    """A number as the tables know it."""
    return value if value is None or type(value) in (str, bool, int, list, dict) else float(value)


def _inside(name: str, field: Field, value: Any, notes: Notes, depth: int) -> Any:
    if field.type == "b" and type(value) is str and value in _TRUTH:
        notes.add(f"wrote {clip(field.name)} as true or false, without quotes")
        return _TRUTH[value]
    if field.shape == "list" and value is not None and type(value) is not list and fits(field, value):
        notes.add(f"made a list of {clip(name)}")
        value = [value]
    if field.type in messages():
        inner = list(value.values()) if field.shape == "map" and type(value) is dict else value
        for one in inner if type(inner) is list else [inner]:
            if type(one) is dict:
                fix_names(field.type, one, notes, depth)
    return value
