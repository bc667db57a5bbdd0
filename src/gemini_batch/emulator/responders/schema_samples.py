"""A JSON value that satisfies a schema: the API's ``Schema`` or JSON Schema, deterministic for a seed.

Supported: type (one or several), enum, const, properties, required, additionalProperties, items, prefixItems, number
of items and properties, unique items, bounds and multiples of numbers, lengths, common formats and simple patterns of
strings, anyOf, oneOf, allOf, $ref with $defs, nullable. A schema that contradicts itself cannot be satisfied.

A schema of a few bytes can ask for gigabytes (``minItems``, ``minLength``, references to itself). Time and size are
bounded: like a model at its limit of output tokens, the sample then ends where it is.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import re
from itertools import islice
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

#: Below this depth optional values are left out; below twice this depth every value is null.
_DEEP = 6
#: The most characters of a sample, about four for each of the 65,536 tokens that models write at most.
MOST_CHARACTERS = 262_144
#: The most steps through the schema: one to three seconds' worth.
_MOST_STEPS = 1_000_000
#: The most references and ``allOf`` within each other.
_NESTED = 32
_WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "indigo", "juniper", "kelp", "lumen")
_FORMATS = {
    "date-time": "2026-01-{:02d}T12:00:00Z",
    "date": "2026-01-{:02d}",
    "time": "12:{:02d}:00Z",
    "duration": "P{}D",
    "email": "person{}@example.com",
    "uri": "https://example.com/{}",
    "url": "https://example.com/{}",
    "uuid": "00000000-0000-4000-8000-{:012d}",
    "hostname": "host{}.example.com",
    "ipv4": "192.0.2.{}",
    "ipv6": "2001:db8::{}",
}


class TooLong(Exception):
    """A schema asks for more than a model can write; ``part`` is the beginning of its sample, or None."""

    def __init__(self, part: Any) -> None:
        super().__init__("the schema asks for more than a model can write")
        self.part = part


def sample(schema: Any, seed: int = 0) -> Any:
    """A value for ``schema``. Raises :class:`TooLong`."""
    maker = _Maker(schema, seed)
    try:
        value = maker.make(schema, "", 0)
    except RecursionError:
        raise TooLong(None) from None
    if maker.spent:
        raise TooLong(value)
    return value


class _Maker:
    def __init__(self, root: Any, seed: int) -> None:
        self.root = root
        self.dice = random.Random(seed)
        self.room = MOST_CHARACTERS
        self.steps = _MOST_STEPS

    @property
    def spent(self) -> bool:
        """Whether characters or steps are used up; then every loop ends."""
        return self.room < 0 or self.steps < 0

    def make(self, schema: Any, name: str, depth: int) -> Any:
        self.room -= len(name) + 2
        schema = self.resolved(schema)
        if self.spent:
            return None
        if not isinstance(schema, dict) or depth > 2 * _DEEP:
            return None
        if "const" in schema:
            return self.given(schema["const"])
        if choices := schema.get("enum"):
            return self.given(self.dice.choice(choices))
        for word in ("anyOf", "oneOf"):
            if branches := schema.get(word):
                rest = {key: value for key, value in schema.items() if key != word}
                return self.make(_merged([rest, self.branch(branches, depth)]), name, depth + 1)
        makers: dict[str, Callable[[], Any]] = {
            "object": lambda: self.object(schema, depth),
            "array": lambda: self.array(schema, name, depth),
            "string": lambda: self.string(schema, name),
            "integer": lambda: int(self.number(schema, whole=True)),
            "number": lambda: self.number(schema, whole=False),
            "boolean": lambda: self.dice.random() < 0.5,
        }
        return makers.get(self.kind(schema, depth), lambda: None)()

    def given(self, value: Any) -> Any:
        """A value that the schema states itself."""
        self.room -= len(msgspec.json.encode(value))
        return value

    def resolved(self, schema: Any, nested: int = 0) -> Any:
        for _ in range(_NESTED):
            if not isinstance(schema, dict):
                return {} if schema is True else schema
            self.steps -= _size(schema)
            if self.spent:
                return {}
            if "$ref" in schema:
                schema = _merged([self.at(schema["$ref"]), {k: v for k, v in schema.items() if k != "$ref"}])
            elif "allOf" in schema:
                every = schema["allOf"] if nested < _NESTED else []
                parts = [self.resolved(part, nested + 1) for part in every]
                schema = _merged([*parts, {k: v for k, v in schema.items() if k != "allOf"}])
            else:
                return schema
        return {}

    def at(self, reference: Any) -> Any:
        found = self.root
        if not isinstance(reference, str) or not reference.startswith("#"):
            return {}
        self.steps -= len(reference)
        for step in reference[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found.get(name, {}) if isinstance(found, dict) else {}
        return found

    def branch(self, branches: list[Any], depth: int) -> Any:
        """A branch that is not null; at depth the shortest one, so that a recursive schema ends."""
        resolved = [self.resolved(branch) for branch in branches]
        full = [one for one in resolved if isinstance(one, dict) and _kinds(one) != ["null"]]
        if depth > _DEEP:
            sizes = [len(json.dumps(one, default=str)) for one in resolved]
            self.steps -= sum(sizes) // 50  # a character takes far less time than a step
            return resolved[sizes.index(min(sizes))]
        return self.dice.choice(full or resolved)

    def kind(self, schema: dict[str, Any], depth: int) -> str:
        kinds = _kinds(schema)
        if depth > _DEEP and (schema.get("nullable") or "null" in kinds):
            return "null"
        for word, kind in (("properties", "object"), ("items", "array"), ("prefixItems", "array")):
            if not kinds and word in schema:
                return kind
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
            if not kinds and word in schema:
                return "number"
        return next((kind for kind in kinds if kind != "null"), kinds[0] if kinds else "string")

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = dict.fromkeys(schema.get("required") or ())
        order = list(dict.fromkeys([*(schema.get("propertyOrdering") or ()), *properties, *required]))
        most = _count(schema.get("maxProperties"), len(order))
        wanted = [
            name for name in order if name in required or (depth <= _DEEP and self.possible(properties.get(name)))
        ]
        optional = [name for name in wanted if name not in required]
        dropped = set(optional[max(0, most - (len(wanted) - len(optional))) :])
        extra = schema.get("additionalProperties", True)
        made: dict[str, Any] = {}
        for name in wanted:
            if self.spent:
                break
            if name not in dropped:
                made[name] = self.make(properties.get(name, extra or {}), name, depth + 1)
        for number in range(_count(schema.get("minProperties"), 0) - len(made)):
            if self.spent:
                break
            made[f"{_WORDS[number % len(_WORDS)]}{number}"] = self.make(extra or {}, "", depth + 1)
        return made

    def possible(self, schema: Any) -> bool:
        return schema is not None and schema is not False

    def array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        least = _count(schema.get("minItems"), 0)
        prefix = schema.get("prefixItems") or []
        rest = schema.get("items", {})
        usual = 0 if depth > _DEEP else max(len(prefix), 2 if rest is not False else 0)
        count = min(max(least, usual), _count(schema.get("maxItems"), max(least, usual)))
        made: list[Any] = []
        known: set[bytes] = set()
        for _ in range(count * 8):
            if len(made) == count or self.spent:
                break
            item = self.make(prefix[len(made)] if len(made) < len(prefix) else rest, name, depth + 1)
            if schema.get("uniqueItems"):
                if msgspec.json.encode(item) in known:
                    item = item + len(made) if isinstance(item, int | float) else f"{item} {len(made)}"
                    self_check = self.resolved(rest)
                    if isinstance(self_check, dict) and "enum" in self_check:
                        continue
                if (shown := msgspec.json.encode(item)) in known:
                    continue
                known.add(shown)
            made.append(item)
        return made

    def string(self, schema: dict[str, Any], name: str) -> str:
        made = self.characters(schema, name)
        self.room -= len(made)
        return made

    def characters(self, schema: dict[str, Any], name: str) -> str:
        if pattern := schema.get("pattern"):
            self.steps -= len(pattern)
            with contextlib.suppress(re.error, ValueError, OverflowError):
                return "".join(islice(self.matching(sre_parser.parse(pattern)), self.room + 1))
        if shape := _FORMATS.get(str(schema.get("format"))):
            return shape.format(self.dice.randrange(1, 28))
        least, most = min(_count(schema.get("minLength"), 0), self.room + 1), _count(schema.get("maxLength"), 1 << 30)
        word = self.dice.choice(_WORDS)
        made = f"{name} {word}" if name else word
        if len(made) > most:
            made = word
        return (made + "." * max(0, least - len(made)))[:most]

    def matching(self, parsed: Any) -> Any:
        """The characters of a string that matches a parsed pattern; unsupported elements add nothing."""
        for operation, value in parsed:
            if operation is sre.LITERAL:
                yield chr(value)
            elif operation is sre.ANY:
                yield "x"
            elif operation is sre.NOT_LITERAL:
                yield "x" if value != ord("x") else "y"
            elif operation is sre.IN:
                yield self.member(value)
            elif operation is sre.BRANCH:
                yield from self.matching(self.dice.choice(value[1]))
            elif operation is sre.SUBPATTERN:
                yield from self.matching(value[3])
            elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
                least, most, inner = value
                for _ in range(max(least, min(1, most))):
                    self.steps -= 5
                    if self.spent:
                        return
                    yield from self.matching(inner)

    def member(self, members: Any) -> str:
        classes = {sre.CATEGORY_DIGIT: "0123456789", sre.CATEGORY_SPACE: " ", sre.CATEGORY_WORD: "abcdefgh"}
        if members and members[0][0] is sre.NEGATE:
            outside = "[" + "".join(_written(member) for member in members[1:]) + "]"
            return next((one for one in "ax0_- ~é" if not re.match(outside, one)), "a")
        operation, value = self.dice.choice(members)
        if operation is sre.RANGE:
            return chr(self.dice.randint(*value))
        if operation is sre.CATEGORY:
            return self.dice.choice(classes.get(value, "abc"))
        return chr(value)

    def number(self, schema: dict[str, Any], *, whole: bool) -> float:
        step = schema.get("multipleOf") or (1 if whole else 0)
        low, high = _bounds(schema, step or 0.5)
        if step:
            first, last = math.ceil(low / step), math.floor(high / step)
            value = self.dice.randint(first, max(first, last)) * step
            return round(value) if whole else value
        return round(self.dice.uniform(low, high), 3) if high - low > 0.01 else (low + high) / 2


def _bounds(schema: dict[str, Any], step: float) -> tuple[float, float]:
    """Both bounds, inclusive; if only one is given, the other is a hundred steps away."""
    low, high = schema.get("minimum"), schema.get("maximum")
    under, over = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    small = step if float(step).is_integer() else 0.001
    if isinstance(under, int | float) and not isinstance(under, bool):
        low = max(low, under + small) if low is not None else under + small
    if isinstance(over, int | float) and not isinstance(over, bool):
        high = min(high, over - small) if high is not None else over - small
    if low is None:
        low = 0 if high is None or high >= 0 else high - 100 * step
    return float(low), float(high if high is not None else low + 100 * step)


def _count(value: Any, default: int) -> int:
    """A bound as an int: an int64 of the API's Schema, which may be a string, or a number of JSON Schema."""
    try:
        return default if value is None else int(value)
    except (TypeError, ValueError):
        return default


def _size(schema: dict[str, Any]) -> int:
    """The number of names and listed values of a schema, without those inside them."""
    return len(schema) + sum(len(value) for value in schema.values() if isinstance(value, list | dict))


def _kinds(schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type")
    listed = kinds if isinstance(kinds, list) else [kinds]
    return [kind.lower() for kind in listed if isinstance(kind, str) and kind != "TYPE_UNSPECIFIED"]


def _merged(schemas: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for schema in schemas:
        for key, value in (schema if isinstance(schema, dict) else {}).items():
            if key == "properties" and isinstance(made.get(key), dict):
                made[key] = made[key] | value
            elif key == "required" and isinstance(made.get(key), list):
                made[key] = [*made[key], *value]
            else:
                made[key] = value
    return made


def _written(member: Any) -> str:
    operation, value = member
    if operation is sre.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    if operation is sre.CATEGORY:
        return {sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_SPACE: r"\s", sre.CATEGORY_WORD: r"\w"}.get(value, "")
    return re.escape(chr(value))
