# ruff: noqa: E501 - sentences as they are shown
"""Which columns a run adds: their names, their order, their types; and that no name is used twice."""

from __future__ import annotations

from typing import Any

import pytest

from gemini_batch.errors import UsageError
from gemini_batch.tables.outputs.columns import answer_columns


def shown(*args: Any, **options: Any) -> list[tuple[str, str]]:
    return [(column.name, column.kind.sql()) for column in answer_columns(*args, **{"method": "generate"} | options)]


END = [("verdict", "VARCHAR"), ("problem", "VARCHAR")]
DETAILS = [
    ("tokens_input", "BIGINT"),
    ("tokens_output", "BIGINT"),
    ("tokens_thoughts", "BIGINT"),
    ("usd", "DOUBLE"),
    ("finish_reason", "VARCHAR"),
    ("model", "VARCHAR"),
    ("attempt", "BIGINT"),
]


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ({}, [("text", "VARCHAR"), *END]),
        ({"media": True}, [("text", "VARCHAR"), ("media", "VARCHAR[]"), *END]),
        ({"details": True}, [("text", "VARCHAR"), *END, *DETAILS]),
        ({"method": "embed"}, [("embedding", "FLOAT[]"), *END]),
        ({"method": "embed", "dimensions": 768}, [("embedding", "FLOAT[768]"), *END]),
        ({"prefix": "answer"}, [("answer_text", "VARCHAR"), ("answer_verdict", "VARCHAR"), ("answer_problem", "VARCHAR")]),
        ({"taken": ["Text "]}, [("text", "VARCHAR"), *END]),
        ({"taken": ["text", "verdict"], "prefix": "new"}, [("new_text", "VARCHAR"), ("new_verdict", "VARCHAR"), ("new_problem", "VARCHAR")]),
    ],
)  # fmt: skip
def test_columns_without_a_schema(options: dict[str, Any], columns: list[tuple[str, str]]) -> None:
    assert shown(None, **options) == columns


NODE: dict[str, Any] = {"type": "object", "properties": {"child": {"$ref": "#/$defs/Node"}, "n": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "VARCHAR"),
        ({"type": "STRING", "nullable": True}, "VARCHAR"),
        ({"type": "string", "format": "date-time"}, "VARCHAR"),
        ({"type": ["null", "integer"]}, "BIGINT"),
        ({"type": "INTEGER", "format": "int32"}, "BIGINT"),
        ({"type": "number"}, "DOUBLE"),
        ({"type": ["integer", "number"]}, "DOUBLE"),
        ({"type": "boolean"}, "BOOLEAN"),
        ({"enum": ["a", "b", None]}, "VARCHAR"),
        ({"type": "STRING", "enum": ["a", "b"]}, "VARCHAR"),
        ({"enum": [1, 2]}, "BIGINT"),
        ({"enum": [1, "a"]}, "JSON"),
        ({"enum": [[1]]}, "JSON"),
        ({"const": "x"}, "VARCHAR"),
        ({"const": True}, "BOOLEAN"),
        ({"type": ["string", "integer"]}, "JSON"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "VARCHAR"),
        ({"anyOf": [{"type": "string"}, {"enum": ["a"]}]}, "VARCHAR"),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, "JSON"),
        ({"allOf": [{"type": "number"}], "description": "x"}, "DOUBLE"),
        ({"$ref": "#/$defs/Word"}, "VARCHAR"),
        ({"$ref": "#/$defs/Missing"}, "JSON"),
        ({"$ref": "#/$defs/Loop"}, "JSON"),
        ({"$ref": "https://example.com/schema"}, "JSON"),
        ({}, "JSON"),
        (True, "JSON"),
        ({"type": "TYPE_UNSPECIFIED"}, "JSON"),
        ({"type": "array", "items": {"type": "string"}}, "VARCHAR[]"),
        ({"type": "ARRAY", "items": {"type": "ARRAY", "items": {"type": "NUMBER"}}}, "DOUBLE[][]"),
        ({"type": "array"}, "JSON"),
        ({"type": "array", "items": False, "prefixItems": [{"type": "string"}]}, "JSON"),
        ({"type": "array", "items": {}}, "JSON[]"),
        ({"type": "object"}, "JSON"),
        ({"type": "object", "properties": {}}, "JSON"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}, 'STRUCT("a" VARCHAR)'),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True}, "JSON"),
        ({"type": "object", "properties": {"a": {"type": "string"}, "A": {"type": "string"}}}, "JSON"),
        ({"type": "object", "properties": {"": {"type": "string"}}}, "JSON"),
        (
            {"type": "array", "items": {"properties": {'b "c"': {"type": "integer"}, "x": {}}}},
            'STRUCT("b ""c""" BIGINT, "x" JSON)[]',
        ),
    ],
)  # fmt: skip
def test_the_type_of_a_property(schema: Any, kind: str) -> None:
    defs = {"Word": {"type": "string"}, "Loop": {"$ref": "#/$defs/Loop"}}
    whole = {"type": "object", "properties": {"p": schema}, "$defs": defs}

    assert shown(whole) == [("p", kind), *END]


def test_a_recursive_schema_ends_in_json() -> None:
    tree = {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}

    assert shown(tree) == [("child", "JSON"), ("n", "BIGINT"), *END]
    assert shown({"type": "object", "properties": {"tree": {"$ref": "#/$defs/Node"}}, "$defs": {"Node": NODE}}) == [
        ("tree", 'STRUCT("child" JSON, "n" BIGINT)'),
        *END,
    ]
    assert shown({"properties": {"self": {"$ref": "#"}}}) == [("self", 'STRUCT("self" JSON)'), *END]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "string"},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"a": {}}}]},
        {"$ref": "#/nowhere"},
    ],
)
def test_a_schema_without_properties_gives_text(schema: dict[str, Any]) -> None:
    assert shown(schema) == [("text", "VARCHAR"), *END]


def test_properties_come_in_their_order() -> None:
    words = {"type": "STRING"}
    schema = {"type": "OBJECT", "properties": {"b": words, "a": words, "c": words}, "propertyOrdering": ["c", "b", "x"]}

    assert [name for name, _ in shown(schema)] == ["c", "b", "a", "verdict", "problem"]


def test_embeddings_have_no_properties() -> None:
    schema = {"type": "object", "properties": {"a": {}}}

    assert shown(schema, method="embed") == [("embedding", "FLOAT[]"), *END]


PROPERTIES = {"type": "object", "properties": {"topic": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "options", "words"),
    [
        (None, {"taken": ["id", "Text"]}, "already has a column 'Text'"),
        (None, {"taken": ["VERDICT", "problem"]}, "already has columns 'VERDICT', 'problem'"),
        (PROPERTIES, {"taken": ["TOPIC"]}, "--as answer adds answer_topic"),
        (None, {"taken": ["a_text"], "prefix": "A"}, "Choose another prefix"),
        (None, {"taken": ["Model"], "details": True}, "already has a column 'Model'"),
        (None, {"taken": ["STRASSE_text"], "prefix": "straße"}, "already has a column 'STRASSE_text'"),
        ({"type": "object", "properties": {"a": {}, "A": {}}}, {}, "differ in case only"),
        ({"type": "object", "properties": {"Verdict": {}}}, {"prefix": "x"}, "a property 'Verdict'"),
        ({"type": "object", "properties": {"usd": {}}}, {"details": True}, "Rename the property"),
        ({"type": "object", "properties": {"": {}}}, {}, "a property without a name"),
    ],
)
def test_a_name_that_would_be_used_twice_is_refused(schema: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        shown(schema, **options)

    assert caught.value.reason_code == "column_collision"
    assert words in str(caught.value)
