"""The tables of fields against the service's own schema, and their spellings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.validation import fields

SCHEMA = Path(__file__).parents[3] / "shared" / "reference" / "generativelanguage.v1beta.openapi.json"

TABLES = {
    "GenerateContentRequest": fields.GENERATE,
    "EmbedContentRequest": fields.EMBED,
    "EmbedContentConfig": fields.EMBED_CONFIG,
    "GenerationConfig": fields.GENERATION_CONFIG,
    "ThinkingConfig": fields.THINKING_CONFIG,
    "ImageConfig": fields.IMAGE_CONFIG,
    "SpeechConfig": fields.SPEECH_CONFIG,
    "Content": fields.CONTENT,
    "Part": fields.PART,
    "Blob": fields.BLOB,
    "FileData": fields.FILE_DATA,
    "Tool": fields.TOOL,
    "SafetySetting": fields.SAFETY_SETTING,
    "Schema": fields.SCHEMA,
}


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    if not SCHEMA.exists():
        pytest.skip("the service's schema is not at hand")
    return dict(json.loads(SCHEMA.read_bytes())["components"]["schemas"])


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_schema(schemas: dict[str, Any], name: str) -> None:
    assert {field for field in TABLES[name] if fields.camel(field) == field} == set(schemas[name]["properties"])


def test_task_types_are_the_schema(schemas: dict[str, Any]) -> None:
    assert set(schemas["EmbedContentRequest"]["properties"]["taskType"]["enum"]) == fields.TASK_TYPES


@pytest.mark.parametrize("name", TABLES)
def test_every_field_is_there_in_both_spellings(name: str) -> None:
    table = TABLES[name]
    assert {fields.snake(field) for field in table} | {fields.camel(field) for field in table} == table


@pytest.mark.parametrize(
    ("camel", "snake"),
    [("topP", "top_p"), ("fileUri", "file_uri"), ("responseJsonSchema", "response_json_schema"), ("text", "text")],
)
def test_spellings(camel: str, snake: str) -> None:
    assert fields.snake(camel) == snake
    assert fields.camel(snake) == camel


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("max-output-tokens", "maxOutputTokens"),
        ("MAX_OUTPUT_TOKENS", "maxOutputTokens"),
        ("maxOutputToken", "maxOutputTokens"),
        ("somethingElse", None),
        ("_temperature", None),
        ("", None),
    ],
)
def test_near_misses(wrong: str, right: str | None) -> None:
    assert fields.near(wrong, fields.GENERATION_CONFIG) == right


@given(st.text(max_size=30))
def test_a_near_miss_is_always_a_field(name: str) -> None:
    assert fields.near(name, fields.PART) in {None, *fields.PART}


def test_no_foreign_word_is_a_known_field() -> None:
    assert not fields.LINE & fields.LINE_WORDS.keys()
    assert not fields.GENERATE & fields.REQUEST_WORDS.keys()
    assert not fields.GENERATION_CONFIG & fields.SETTING_WORDS.keys()
