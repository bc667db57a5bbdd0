"""Values of any type as text: SQL expressions that keep every digit.

These forms are documented in ``docs/tables.md``: text, numbers and truth values as they are; times as
``2026-11-26 12:00:00.5``, with ``+00:00`` if they have a zone (UTC); bytes as base64; lists, structs and maps as JSON.
JSON has no number for NaN and the infinities; there they are the texts ``NaN``, ``Infinity`` and ``-Infinity``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gemini_batch.tables.sources import duck

WHOLE = frozenset({"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger"})
_LARGE = frozenset({"ubigint", "hugeint", "uhugeint", "bignum"})
FLOATS = frozenset({"float", "double"})
_NUMBERS = WHOLE | _LARGE | FLOATS | {"decimal"}
#: Types whose text is made of digits, letters and a few signs: it needs no quotes, and no spreadsheet runs it.
PLAIN = _NUMBERS | {"boolean", "date", "time", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", "uuid"}
ZONED = frozenset({"timestamp with time zone", "timestamptz_ns"})
#: How duckdb writes numbers in lists that JSON does not have, in this order: NaN can have a sign.
_NOT_JSON = (
    ("nan", '"NaN"'),
    ('-"NaN"', '"NaN"'),
    ("inf", '"Infinity"'),
    ('-"Infinity"', '"-Infinity"'),
)
_NESTED = frozenset({"list", "array", "struct", "map", "tuple", "union", "variant"})


def type_id(kind: Any) -> str:
    """The name of a type without its parts, in lower case; JSON text is ``json``."""
    return "json" if str(kind) == "JSON" else str(kind.id)


def as_text(value: str, kind: Any) -> str:
    """The text of a value, null if it is null; ``value`` is an expression."""
    name = type_id(kind)
    if name in _NESTED:
        return as_json(value, kind)
    if name == "blob":
        return f"to_base64({value})"
    if name in FLOATS:
        return (
            f"CASE WHEN isfinite({value}) THEN {value}::VARCHAR WHEN isnan({value}) THEN 'NaN' "
            f"WHEN {value} > 0 THEN 'Infinity' WHEN {value} < 0 THEN '-Infinity' END"
        )
    if name in ZONED:
        return f"CASE WHEN ends_with({value}::VARCHAR, '+00') THEN {value}::VARCHAR || ':00' ELSE {value}::VARCHAR END"
    return f"CAST({value} AS VARCHAR)"


def as_json(value: str, kind: Any, depth: int = 0) -> str:
    """The JSON of a value on one line, null if it is null; ``value`` is an expression."""
    name = type_id(kind)
    if name == "boolean" or name in _NUMBERS - FLOATS:
        return f"CAST({value} AS VARCHAR)"
    if name in FLOATS:
        text = as_text(value, kind)
        return f"CASE WHEN isfinite({value}) THEN {value}::VARCHAR ELSE '\"' || {text} || '\"' END"
    if name == "json":
        # Outside of its strings, JSON may have line ends; inside them they are escaped.
        line = f"replace(replace({value}::VARCHAR, chr(10), ' '), chr(13), ' ')"
        return f"CASE WHEN json_valid({value}::VARCHAR) THEN {line} ELSE to_json({value}::VARCHAR)::VARCHAR END"
    if name in _NESTED:
        return _nested(name, value, kind, depth)
    return f"CAST(to_json({as_text(value, kind)}) AS VARCHAR)"


def _nested(name: str, value: str, kind: Any, depth: int) -> str:
    if name in {"list", "array"}:
        return _list(value, dict(kind.children)["child"], depth)
    if name == "map":
        return _map(value, dict(kind.children), depth)
    if name == "struct":
        members = []
        for member, part in kind.children:
            text = as_json(f"struct_extract({value}, {duck.text(member)})", part, depth)
            members.append(f"{duck.text(_json_name(member) + ':')} || coalesce({text}, 'null')")
        return f"CASE WHEN {value} IS NOT NULL THEN '{{' || {_joined(members)} || '}}' END"
    return f"CAST(to_json({value}) AS VARCHAR)"


def _json_name(name: str) -> str:
    return msgspec.json.encode(name).decode()


def _joined(parts: list[str]) -> str:
    return " || ',' || ".join(parts)


def _list(value: str, item: Any, depth: int) -> str:
    name = type_id(item)
    if name == "boolean" or name in _NUMBERS:  # the text of such a list is JSON, apart from a few words
        text = f"replace(replace({value}::VARCHAR, ', ', ','), 'NULL', 'null')"
        if name in FLOATS:
            for word, written in _NOT_JSON:
                text = f"replace({text}, {duck.text(word)}, {duck.text(written)})"
        return text
    one = f"v{depth}"
    text = f"coalesce({as_json(one, item, depth + 1)}, 'null')"
    return f"'[' || array_to_string(list_transform({value}, lambda {one}: {text}), ',') || ']'"


def _map(value: str, parts: dict[str, Any], depth: int) -> str:
    one = f"v{depth}"
    name = f"to_json({as_text(f'{one}.key', parts['key'])})::VARCHAR"
    text = f"{name} || ':' || coalesce({as_json(f'{one}.value', parts['value'], depth + 1)}, 'null')"
    return f"'{{' || array_to_string(list_transform(map_entries({value}), lambda {one}: {text}), ',') || '}}'"
