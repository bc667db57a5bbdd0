"""Answers compared with a JSON Schema: what is said, and that nothing is fetched."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from gemini_batch.protocol.schema_checker import NotASchema, checker_of, compile_schema
from protocol.json_schemas import recursive_schemas
from protocol.schemas import values

if TYPE_CHECKING:
    from pathlib import Path

CAT = {"properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind", "lives"]}
DOG = {"properties": {"kind": {"const": "dog"}}, "required": ["kind"]}


def flaw(schema: Any, value: Any) -> tuple[str, str] | None:
    found = compile_schema(json.dumps(schema).encode()).flaw(value)
    return None if found is None else (found.exact, found.general)


@pytest.mark.parametrize(
    ("schema", "value", "exact", "general"),
    [
        ({"properties": {"topics": {"items": {"type": "string"}}}}, {"topics": ["a", "b", 5]},
         'topics[2]: 5 is not of type "string"', 'topics[]: the value is not of type "string"'),
        ({"required": ["a"]}, {}, '"a" is a required property', '"a" is a required property'),
        ({"properties": {"x y": {"properties": {"b": {"maxLength": 2}}}}}, {"x y": {"b": "long"}},
         '["x y"].b: "long" is longer than 2 characters', '["x y"].b: the value is longer than 2 characters'),
        ({"items": {"properties": {"a": {"enum": [1, 2]}}}}, [{"a": 1}, {"a": 3}],
         "[1].a: 3 is not one of 1 or 2", "[].a: the value is not one of 1 or 2"),
        ({"type": "object", "properties": {}, "additionalProperties": False}, {"a": 1},
         "Additional properties are not allowed ('a' was unexpected)", "Additional properties are not allowed"),
        ({"properties": {"o": {"additionalProperties": False}}}, {"o": {"a": 1}},
         "o: the schema does not allow 1", "o: the schema does not allow the value"),
        ({"properties": {"o": {"properties": {}, "additionalProperties": False}}},
         {"o": {"a\nb": 1, "c (was unexpected)": 2}},
         "o: Additional properties are not allowed ('a\nb', 'c (was unexpected)' were unexpected)",
         "o: Additional properties are not allowed"),
        ({"type": "string"}, ["x" * 99], f'["{"x" * 57}… is not of type "string"', 'the value is not of type "string"'),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 5, '5 is not of types "string", "null"',
         'the value is not of types "string", "null"'),
        ({"anyOf": [{"type": "object", "properties": {"a": {"type": "string"}}}, {"type": "null"}]}, {"a": 5},
         'a: 5 is not of type "string"', 'a: the value is not of type "string"'),
        ({"oneOf": [CAT, DOG]}, {"kind": "cat", "lives": "9"}, 'lives: "9" is not of type "integer"',
         'lives: the value is not of type "integer"'),
        ({"anyOf": [{"minLength": 5}, {"pattern": "^x"}]}, "abc",
         "\"abc\" is not valid under any of the schemas listed in the 'anyOf' keyword",
         "the value is not valid under any of the schemas listed in the 'anyOf' keyword"),
        ({"minimum": 2**70}, 2**70 - 1, f"{2**70 - 1} is less than the minimum of {2**70}",
         f"the value is less than the minimum of {2**70}"),
    ],
)  # fmt: skip
def test_what_is_said(schema: Any, value: Any, exact: str, general: str) -> None:
    assert flaw(schema, value) == (exact, general)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"additionalProperties": False}, {f"name {at}": at for at in range(1000)}),
        ({"enum": [f"word {at}" for at in range(1000)]}, "another"),
        ({"const": "x" * 5000}, "y" * 5000),
        ({"required": ["x" * 5000]}, {}),
        ({"additionalProperties": {"type": "string"}}, {"x" * 5000: 1}),
        ({"pattern": "x" * 5000}, "y"),
    ],
)
def test_what_is_said_is_short(schema: Any, value: Any) -> None:
    found = flaw(schema, value)

    assert found is not None
    assert all(0 < len(text) < 600 for text in found)


@pytest.mark.parametrize(
    ("form", "right", "wrong"),
    [
        ("date-time", ["2026-01-31T08:00:00Z", "2026-01-31T08:00:00+01:00", "2026-01-31t08:00:00.123456789z",
                       "2026-01-31T08:00:00", "2026-01-31 08:00:00", "2016-12-31T23:59:60Z"],
         ["2026-01-31", "31.1.2026", "2026-02-30T08:00:00Z", "2026-01-31T25:00:00Z", "2026-01-31T08:00", "now", ""]),
        ("time", ["08:00:00Z", "08:00:00", "08:00:00.5+01:00"], ["8 o'clock", "25:00:00", "08:00", ""]),
        ("date", ["2026-01-31"], ["31.1.2026", "2026-02-30", "yesterday"]),
        ("email", ["a@example.com"], ["a"]),
        ("uuid", ["00000000-0000-4000-8000-000000000000"], ["1"]),
        ("unheard-of", ["anything"], []),
        ("int64", ["anything"], []),
    ],
)  # fmt: skip
def test_formats(form: str, right: list[str], wrong: list[str]) -> None:
    assert [one for one in right if flaw({"format": form}, one)] == []
    assert [one for one in wrong if not flaw({"format": form}, one)] == []
    assert flaw({"format": form}, 5) is None  # a format says nothing about other types


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (b'{"pattern": "["}', 'pattern: "[" is not a "regex"'),
        (b'{"minItems": -1}', "minItems: -1 is less than the minimum of 0"),
        (b'{"$ref": "#/nowhere"}', "nowhere"),
        (b"5", 'is not of types "boolean", "object"'),
        (b"{", "expecting property name"),
        (b'{"$schema": "http://example.com/unknown"}', "Unknown meta-schema"),
    ],
)
def test_what_is_no_schema(schema: bytes, message: str) -> None:
    with pytest.raises(NotASchema, match=re.escape(message)):
        compile_schema(schema)
    assert checker_of(schema) is None


def test_no_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"type": "string"}')
    with pytest.raises(NotASchema, match="Retrieval is disabled"):
        compile_schema(json.dumps({"$ref": (tmp_path / "other.json").as_uri()}).encode())


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:9/x.json", "https://example.com/x", "file:///etc/hostname", "x.json"]
)
def test_nothing_is_fetched(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    with pytest.raises(NotASchema):
        compile_schema(json.dumps({"$ref": address}).encode())


def test_without_a_schema_there_is_nothing_to_compare() -> None:
    assert checker_of(None) is None
    assert checker_of(b"{}") is checker_of(b"{}")


def test_a_value_that_is_nested_too_deeply_does_not_pass() -> None:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    schema = {"$ref": "#/$defs/L", "$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}}}
    found = flaw(schema, value)
    assert found is not None
    assert "cannot be compared" in found[0] or (found[0].endswith(': 1 is not of type "array"') and len(found[0]) < 300)


def test_a_pattern_that_takes_forever_does_not_pass() -> None:
    assert flaw({"pattern": r"^(a|a)*(?=b)c$"}, "a" * 40 + "b") is not None


@given(recursive_schemas, values)
def test_every_value_gets_an_answer(schema: dict[str, Any], value: Any) -> None:
    found = flaw(schema, value)
    if found is not None:
        assert all(found)
        assert not any("\x00" in words for words in found)
        assert max(map(len, found)) < 2000
