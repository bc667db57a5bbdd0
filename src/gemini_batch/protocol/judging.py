"""Judges messages by the tables: ranges, lists of words, numbers of items, required fields.

Everything here reads requests in canonical form, as :class:`gemini_batch.protocol.reading.Reader` makes them. What
depends on several fields or on the model is in :mod:`checks`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch.protocol import rules
from gemini_batch.protocol.reading import DEEPEST
from gemini_batch.protocol.spelling import nearest, snake
from gemini_batch.protocol.tables import Range, messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gemini_batch.protocol.reading import Place
    from gemini_batch.protocol.tables import Field


class Broken(NamedTuple):
    """One broken rule: its place in canonical names, what is wrong and what to do, and how the service says it.

    ``certain``: the refusal is known; otherwise it is likely. ``empty``: nothing known is there, perhaps because of an
    unknown name.
    """

    place: Place
    what: str
    fix: str
    said: str
    certain: bool
    empty: bool = False


class Judge:
    """Collects the broken rules of one request.

    ``root``: the name of its message. ``checks``: by message, what judges it as a whole. ``model``: empty if unknown.
    """

    def __init__(
        self,
        root: str,
        checks: Mapping[str, Callable[[Judge, dict[str, Any], Place], None]],
        model: str = "",
    ) -> None:
        self.root = root
        self.checks = checks
        self.model = model
        self.generation = rules.generation(model)
        self.found: list[Broken] = []
        self.depth = 0

    def add(
        self, place: Place, what: str, fix: str, said: str = "", *, certain: bool = True, empty: bool = False
    ) -> None:
        """Add a broken rule; ``said`` follows the place in the service's words."""
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{snake(step)}" for step in place)
        self.found.append(Broken(place, what, fix, f"* {self.root}{path}: {said or what}\n", certain, empty))

    def message(self, name: str, value: dict[str, Any], place: Place = ()) -> list[Broken]:
        """Judge a message and everything in it; the rules found so far."""
        if self.depth == DEEPEST:
            self.add(place, "The value is nested too deeply.", "The service accepts 100 levels.", "message too deep")
            return self.found
        self.depth += 1
        plan = _plan(name)
        for field in plan.required:
            if value.get(field.name) in (None, "") or (field.shape == "list" and not value[field.name]):
                self._missing(name, field, place)
        for key, inner in value.items():
            check = plan.fields.get(key)
            if check is not None and inner is not None:
                self._field(check, inner, (*place, key))
        if name in self.checks:
            self.checks[name](self, value, place)
        self.depth -= 1
        return self.found

    def _field(self, check: _Check, value: Any, place: Place) -> None:
        if check.inner:
            match value:
                case list():
                    for number, one in enumerate(value):
                        if isinstance(one, dict):
                            self.message(check.inner, one, (*place, number))
                case dict() if check.map:
                    for key, one in value.items():
                        if isinstance(one, dict):
                            self.message(check.inner, one, (*place, key))
                case dict():
                    self.message(check.inner, value, place)
                case _:
                    pass
        name = place[-1]
        if check.limit is not None and isinstance(value, int | float) and value not in check.limit.range:
            text = check.limit.range
            self.add(
                place,
                f"`{name}` is {value:g}; it must be {_between(text)}.",
                "Change the value, or leave it out.",
                f"must be in the range {text}",
                certain=check.limit.certain or value == 0,
            )
        if check.words and value not in check.words:
            self.add(
                place,
                f"`{name}` is `{str(value)[:40]}`, which is not one of its values.",
                nearest(str(value), check.words),
                f"must be one of {', '.join(check.words)}",
                certain=False,
            )
        if check.most is not None and isinstance(value, list) and len(value) > check.most:
            self.add(
                place,
                f"`{name}` has {len(value)} items; it can have at most {check.most}.",
                "Remove some.",
                f"must have at most {check.most} items",
                certain=False,
            )

    def _missing(self, message: str, field: Field, place: Place) -> None:
        self.add(
            (*place, field.name),
            f"`{field.name}` is missing." if place else f"The request has no `{field.name}`.",
            'Add `"fileUri": "https://…/files/…"`.' if field.name == "fileUri" else f"Add `{field.name}`.",
            f"{snake(field.name)} is not specified",
            certain=(message, field.name) in rules.REQUIRED_FOR_SURE,
            empty=True,
        )


class _Check(NamedTuple):
    inner: str
    map: bool
    limit: rules.Limit | None
    words: tuple[str, ...]
    most: int | None


class _Plan(NamedTuple):
    fields: dict[str, _Check]
    required: tuple[Field, ...]


@cache
def _plan(name: str) -> _Plan:
    """What to check in a message; fields without a check are left out."""
    message = messages()[name]
    fields = {}
    for field in message.fields:
        limit = rules.RANGES.get((name, field.name)) or (rules.Limit(field.range) if field.range else None)
        inner = field.type if field.type in messages() else ""
        if inner or limit or field.words or field.most:
            fields[field.name] = _Check(inner, field.shape == "map", limit, field.words, field.most)
    required = tuple(f for f in message.fields if f.required and (name, f.name) not in rules.OPTIONAL)
    return _Plan(fields, required)


def _between(limits: Range) -> str:
    if limits.open:
        return f"greater than {limits.low:g} and at most {limits.high:g}"
    return f"at least {limits.low:g}" if limits.high >= 2**31 - 1 else f"between {limits.low:g} and {limits.high:g}"


def refused(judge: Judge, place: Place, what: str, fix: str = "Remove it.", *, certain: bool = True) -> None:
    """Add that the model does not support something."""
    judge.add(place, what, fix, f"not supported by the model {judge.model}", certain=certain)
