"""One value that holds several lines: a list, the body of a call that creates a job, a line of a failures file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch.validation.findings import pick
from gemini_batch.validation.fixing import exact

if TYPE_CHECKING:
    from gemini_batch.validation.fixing.notes import Notes, Object

_FAILURE = {"key", "verdict", "reason", "line"}
#: Values inside values inside values.
_LEVELS = 4
#: Next to a list of requests; other names say something that would be lost.
_NEXT_TO_REQUESTS = frozenset({"requests", "model", "displayName", "display_name", "priority"})


def unpack(value: Any, notes: Notes) -> list[Any]:
    """The lines that a value holds: itself, if it is one."""
    values = [value]
    for _ in range(_LEVELS):
        inner = [one for outer in values for one in _opened(outer, notes)]
        if inner == values:
            break
        values = inner
    return values


def _opened(value: Any, notes: Notes) -> list[Any]:
    if exact.is_object(value):
        try:
            decoded = exact.decode(value)
        except ValueError:
            return [value]
        notes.add("decoded JSON that was encoded twice")
        return [decoded]
    if type(value) is list and value and all(type(one) is dict or exact.is_object(one) for one in value):
        notes.add("wrote each object of a list on its own line")
        return value
    if type(value) is not dict or type(value.get("request")) is dict:
        return [value]
    if value.keys() >= _FAILURE and type(value["line"]) is dict:
        notes.add("took the request out of a line of a failures file")
        return [value["line"]]
    requests = _requests(value)
    if requests is None:
        return [value]
    notes.add("made request lines of the body of a call that creates a job")
    return [_line(one) for one in requests]


def _requests(value: Object) -> list[Object] | None:
    body = value.get("batch", value)
    source = pick(body, "inputConfig", "input_config")[1] if type(body) is dict else None
    if source is None and type(body) is dict and body.keys() <= _NEXT_TO_REQUESTS:
        source = body
    found = source.get("requests") if type(source) is dict else None
    if type(found) is dict:
        found = found.get("requests")
    if type(found) is not list or not found or not all(type(one) is dict for one in found):
        return None
    return found


def _line(one: Object) -> Object:
    """A request of a body as a line; its metadata, except the key, stay as notes."""
    meta = one.get("metadata")
    if type(one.get("request")) is not dict or type(meta) is not dict or type(meta.get("key")) is not str:
        return one
    rest = {name: value for name, value in meta.items() if name != "key"}
    others = {name: value for name, value in one.items() if name not in ("key", "metadata")}
    return {"key": one.get("key") or meta["key"], **others, **({"metadata": rest} if rest else {})}
