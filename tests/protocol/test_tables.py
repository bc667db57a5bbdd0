"""The protocol's tables: generated from the published schema where it is at hand, and sound in themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import protocol_tables.extract as generator
from gemini_batch.protocol import newer, rules, tables
from gemini_batch.protocol.spelling import camel, nearest, snake
from gemini_batch.protocol.tables import Range, enums, messages

SCHEMA = Path(__file__).parents[3] / "shared" / "reference" / "generativelanguage.v1beta.openapi.json"
GENERATED = Path(tables.__file__).with_name("schema.json")


def test_the_tables_are_those_of_the_published_schema() -> None:
    """Generated again, they are the same file."""
    if not SCHEMA.exists():
        pytest.skip("the published schema is not at hand")
    assert generator.page(json.loads(SCHEMA.read_bytes())) == GENERATED.read_text(encoding="utf-8")


def test_no_text_of_the_schema_is_copied() -> None:
    """Names, types and numbers have no sentences."""
    document = json.loads(GENERATED.read_bytes())
    for fields in document["messages"].values():
        assert all(len(text.split()) <= 4 for text in fields.values())


def test_what_the_generator_takes_from_a_schema() -> None:
    """Types, lists, maps, enums that share a first word, marks; outputs are not followed."""
    properties = {
        "batch": {"$ref": "#/components/schemas/Batch", "description": "Required. A batch."},
        "other": {"$ref": "#/components/schemas/Output", "readOnly": True},
    }
    size = {"type": "number", "format": "float", "description": "Optional. The range is (0.0, 2.5]."}
    schemas: dict[str, Any] = {name: {"properties": {}} for name in generator.ROOTS}
    schemas |= {
        generator.ROOTS[0]: {"properties": properties},
        "Batch": {
            "properties": {
                "size": size,
                "words": {"type": "array", "items": {"type": "string"}, "description": "The words (up to 5)."},
                "by": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Batch"}},
                "mode": {"type": "string", "enum": ["MODE_UNSPECIFIED", "A"]},
                "how": {"type": "string", "enum": ["MODE_UNSPECIFIED", "B"]},
                "kind": {"type": "string", "enum": ["BATCH_KIND_UNSPECIFIED", "C"], "deprecated": True},
                "ratio": {"type": "string", "description": "Supported values are `1:1`, `2:1`."},
                "any": {},
            }
        },
        "Output": {"properties": {}},
    }
    found, words = generator.extract({"components": {"schemas": schemas}})
    assert found[generator.ROOTS[0]] == {"batch": "Batch !", "other": "o"}
    assert "Output" not in found
    assert found["Batch"] == {
        "any": "v",
        "by": "Batch{}",
        "how": "BatchHow",
        "kind": "BatchKind -",
        "mode": "BatchMode",
        "ratio": "s =1:1|2:1",
        "size": "f (0,2.5]",
        "words": "s* #5",
    }
    assert words["BatchKind"] == ("BATCH_KIND_UNSPECIFIED", "C")


def test_every_type_is_known() -> None:
    """A field's type is a code, a message or an enum; every enum is used."""
    used = {field.type for message in messages().values() for field in message.fields}
    assert used - tables.SCALARS <= set(messages()) | set(enums())
    assert set(enums()) <= used


def test_both_spellings_find_a_field() -> None:
    """And no field's proto spelling is another's."""
    for message in messages().values():
        for field in message.fields:
            assert message.lookup[field.name] is message.lookup[snake(field.name)] is field
            assert camel(field.proto) == field.name


def test_what_is_kept_by_hand_names_fields_that_exist() -> None:
    """Every rule about a field, every oneof, every newer value."""
    pairs = [*rules.RANGES, *rules.OPTIONAL, *rules.REQUIRED_FOR_SURE]
    pairs += [(message, name) for message, *both in rules.EXCLUSIVE for name in both]
    pairs += [
        (message, name)
        for message, groups in newer.ONEOFS.items()
        for members in groups.values()
        for name in members.split()
    ]
    for message, name in pairs:
        assert name in messages()[message].lookup, (message, name)
    assert set(newer.VALUES) <= set(enums())
    categories = enums()["HarmCategory"].values
    assert set(rules.HARM_CATEGORIES) < set(categories)
    for message, name in rules.OPTIONAL | rules.REQUIRED_FOR_SURE:
        assert messages()[message].lookup[name].required or name == "toolType", (message, name)


def test_newer_names_are_not_in_the_schema() -> None:
    """A name leaves the list once the schema has it."""
    document = json.loads(GENERATED.read_bytes())
    for message, fields in newer.FIELDS.items():
        assert not fields.keys() & document["messages"].get(message, {}).keys()
    for name, values in newer.VALUES.items():
        assert not set(values.split()) & set(document["enums"][name].split())


@pytest.mark.parametrize(
    ("limits", "inside", "outside"),
    [
        (Range(0, 2), (0, 2, 1.5), (-0.1, 2.1, "1", None)),
        (Range(0, 24, open=True), (0.1, 24), (0, 24.5)),
    ],
)
def test_ranges(limits: Range, inside: tuple[object, ...], outside: tuple[object, ...]) -> None:
    """With and without their lower end."""
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


@pytest.mark.parametrize(
    ("value", "enum", "found"),
    [
        ("HIHG", "ThinkingLevel", "Did you mean `HIGH`?"),
        ("BLOCK_HIGH_ONLY", "HarmBlockThreshold", "Did you mean `BLOCK_ONLY_HIGH`?"),
        ("hate speech", "HarmCategory", "Did you mean `HARM_CATEGORY_HATE_SPEECH`?"),
        ("LOW", "GenerationConfigMediaResolution", "Did you mean `MEDIA_RESOLUTION_LOW`?"),
        ("PICTURE", "Modality", "Use one of these: `TEXT`, `IMAGE`, `AUDIO`, `VIDEO`."),
        ("DICT", "Type", "Use one of these: `STRING`, `NUMBER`, `INTEGER`, `BOOLEAN`, `ARRAY`, `OBJECT`, `NULL`."),
        ("int", "Type", "Did you mean `INTEGER`?"),
        ("HARM_CATEGORY_HARRASSMENT", "HarmCategory", "Did you mean `HARM_CATEGORY_HARASSMENT`?"),
        (
            "OUTCOME_PERFECT",
            "Outcome",
            "Use one of these: `OUTCOME_OK`, `OUTCOME_FAILED`, `OUTCOME_DEADLINE_EXCEEDED`.",
        ),
        ("", "Type", "Use one of these: `STRING`, `NUMBER`, `INTEGER`, `BOOLEAN`, `ARRAY`, `OBJECT`, `NULL`."),
    ],
)
def test_the_nearest_right_value(value: str, enum: str, found: str) -> None:
    """The same letters, a part of the word, a misspelling; else all words."""
    assert nearest(value, enums()[enum].values) == found


@pytest.mark.parametrize(
    ("camel_name", "snake_name"),
    [("topP", "top_p"), ("fileUri", "file_uri"), ("responseJsonSchema", "response_json_schema"), ("text", "text")],
)
def test_spellings(camel_name: str, snake_name: str) -> None:
    """From each to the other."""
    assert snake(camel_name) == snake_name
    assert camel(snake_name) == camel_name
