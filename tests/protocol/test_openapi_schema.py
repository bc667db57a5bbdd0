"""The service's form of schema as JSON Schema: the same values satisfy both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.emulator.responders.schema_samples import sample
from gemini_batch.protocol.openapi_schema import json_schema_of, lowered, translated
from gemini_batch.protocol.schema_checker import compile_schema
from protocol.json_schemas import recursive_schemas
from protocol.schemas import changed, fits, service_schemas, values


def accepts(schema: dict[str, Any], value: Any) -> bool:
    return compile_schema(json.dumps(schema).encode()).flaw(value) is None


@given(st.data())
def test_a_schema_and_its_translation_accept_the_same(data: st.DataObject) -> None:
    schema = data.draw(service_schemas)
    made = json_schema_of(schema)
    good = sample(schema, data.draw(st.integers(0, 99)))
    for value in (good, data.draw(changed(good)), data.draw(values)):
        assert accepts(made, value) == fits(schema, value), (made, value)


@given(service_schemas, st.integers(0, 999))
def test_what_the_emulator_writes_satisfies_the_schema(schema: dict[str, Any], seed: int) -> None:
    for form in (schema, json_schema_of(schema)):
        value = sample(form, seed)
        assert accepts(json_schema_of(schema), value), value


@given(recursive_schemas, st.integers(0, 999))
def test_what_the_emulator_writes_satisfies_a_json_schema(schema: dict[str, Any], seed: int) -> None:
    value = sample(schema, seed)
    assert accepts(schema, value), value


SPELLINGS = [
    {"type": "ARRAY", "minItems": "2", "items": {"type": "STRING", "maxLength": 3}},
    {"type": "array", "min_items": 2, "items": {"type": "string", "max_length": "3"}},
    {"type": 5, "minItems": 2.0, "items": {"type": 1, "maxLength": "3"}},
]


@pytest.mark.parametrize("schema", SPELLINGS)
def test_every_spelling_that_the_service_reads_is_read(schema: dict[str, Any]) -> None:
    assert json_schema_of(schema) == {
        "type": "array",
        "minItems": 2,
        "items": {"type": "string", "maxLength": 3},
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "INTEGER", "enum": ["1", "2"]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "NUMBER", "enum": ["1.5", "2"]}, {"type": "number", "enum": [1.5, 2]}),
        ({"type": "INTEGER", "enum": ["one"]}, {"type": "integer"}),
        ({"type": "INTEGER", "enum": ["1e999"]}, {"type": "integer"}),
        ({"type": "BOOLEAN", "enum": ["true"]}, {"type": "boolean", "enum": [True]}),
        ({"type": "BOOLEAN", "enum": ["yes"]}, {"type": "boolean"}),
        ({"enum": ["1"], "nullable": True}, {"enum": ["1", None]}),
        ({"type": "TYPE_UNSPECIFIED", "title": "T"}, {"title": "T"}),
        ({"type": "STRING", "format": "enum", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        ({"type": "INTEGER", "format": "int64"}, {"type": "integer", "format": "int64"}),
        ({"type": "NUMBER", "minimum": "Infinity"}, {"type": "number"}),
        ({"anyOf": [{"type": "STRING"}], "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "OBJECT", "properties": {"a": None}}, {"type": "object", "properties": {"a": {}}}),
        ({"type": "STRING", "unheardOf": 1}, {"type": "string"}),
        (None, {}),
        ("x", {}),
    ],
)
def test_words_that_mean_something_else_there(schema: Any, expected: dict[str, Any]) -> None:
    assert json_schema_of(schema) == expected


def test_properties_keep_the_order_that_is_wished_for() -> None:
    schema = {"properties": {"a": {}, "b": {}, "c": {}}, "propertyOrdering": ["c", "b", "nothing"]}
    assert list(translated(schema)["properties"]) == ["c", "b", "a"]


def test_types_in_capitals_are_read_in_json_schema_too() -> None:
    schema = {"type": ["OBJECT", "NULL"], "properties": {"type": {"type": "String", "enum": ["A"], "const": "B"}}}
    assert lowered(schema) == {
        "type": ["object", "null"],
        "properties": {"type": {"type": "string", "enum": ["A"], "const": "B"}},
    }
