"""The schema of answers: where it comes from, how the service is told, and what is said if it cannot be used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.emulator.responders.schema_samples import sample
from gemini_batch.errors import UsageError
from gemini_batch.protocol.openapi_schema import json_schema_of
from gemini_batch.protocol.schema_checker import compile_schema
from gemini_batch.tables.making.schema import AnswerSchema, load_schema
from gemini_batch.validation.validate import Checked, check_line
from protocol.json_schemas import json_schemas, recursive_schemas
from protocol.schemas import changed, service_schemas, values

HERE = Path(__file__).parent


def accepts(schema: Any, value: Any) -> bool:
    return compile_schema(json.dumps(schema).encode()).flaw(value) is None


def sent(made: AnswerSchema) -> Any:
    """What the service is told, as JSON Schema."""
    if "responseSchema" in made.settings:
        return json_schema_of(made.settings["responseSchema"])
    return made.settings["responseJsonSchema"]


def checked(made: AnswerSchema) -> Any:
    request = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": made.settings}
    return check_line(json.dumps({"key": "a", "request": request}).encode(), 1)


def loaded(spec: Any, **more: Any) -> AnswerSchema:
    made = load_schema(spec, folder=HERE, **more)
    line = checked(made)
    assert isinstance(line, Checked), line
    assert line.problems == ()
    assert line.expects_json
    return made


def refused(spec: Any, *, folder: Path = HERE, **more: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load_schema(spec, folder=folder, **more)
    assert caught.value.reason_code == "bad_schema"
    return caught.value


# The classes of every library -----------------------------------------------------------------------------------------


REVIEW = {
    "type": "OBJECT",
    "title": "Review",
    "properties": {
        "sentiment": {
            "type": "STRING",
            "format": "enum",
            "enum": ["positive", "mixed", "negative"],
            "title": "Sentiment",
        },
        "topics": {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": 5, "title": "Topics"},
        "contact": {"type": "BOOLEAN", "title": "Contact"},
        "mood": {"type": "STRING", "format": "enum", "enum": ["good", "bad"], "nullable": True, "title": "Mood"},
        "score": {"type": "INTEGER", "minimum": 1, "maximum": 10, "title": "Score"},
        "ratio": {"type": "NUMBER", "minimum": 0, "maximum": 1, "title": "Ratio"},
        "when": {"type": "STRING", "format": "date", "nullable": True, "title": "When"},
        "at": {"type": "STRING", "format": "date-time", "title": "At"},
        "address": {
            "type": "OBJECT",
            "title": "Address",
            "description": "Where",
            "properties": {
                "zip": {"type": "STRING", "pattern": r"^\d{5}$", "title": "Zip", "description": "Five digits"}
            },
            "required": ["zip"],
            "propertyOrdering": ["zip"],
        },
        "other": {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}], "nullable": True, "title": "Other"},
        "kind": {"type": "INTEGER", "minimum": 1, "maximum": 1, "title": "Kind"},
        "pair": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": 2, "maxItems": 2, "title": "Pair"},
        "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "title": "Tags"},
    },
    "required": ["sentiment", "topics", "contact", "score", "ratio", "when", "at", "address", "kind", "pair", "tags"],
    "propertyOrdering": [
        *("sentiment", "topics", "contact", "mood", "score", "ratio", "when", "at", "address", "other", "kind", "pair"),
        "tags",
    ],
}


def test_a_pydantic_model() -> None:
    made = loaded("models:Review")
    assert made.settings == {"responseMimeType": "application/json", "responseSchema": REVIEW}
    assert list(made.settings["responseSchema"]["properties"]) == REVIEW["propertyOrdering"]
    assert made.notes == (
        "`properties.ratio.exclusiveMaximum` is sent as a bound that is allowed itself; it is checked in the answers.",
        "`properties.tags.uniqueItems` is checked in the answers; `responseSchema` does not have it.",
    )
    assert made.notice is None
    assert made.model.__name__ == "Review"
    assert made.original == made.model.model_json_schema()
    assert accepts(made.original, sample(made.settings["responseSchema"]))
    assert json.loads(made.json) == made.original


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("models:Plain", {"number": {"type": "INTEGER"}, "text": {"type": "STRING", "nullable": True}}),
        ("models:Struct", {"number": {"type": "INTEGER", "minimum": 1}}),
        ("models:Checked", {"number": {"type": "INTEGER", "title": "Number"}}),
        ("models:Inside.Model", {"x": {"type": "INTEGER", "title": "X"}}),
        ("models:SCHEMA", {"a": {"type": "STRING"}}),
        ('{"properties": {"a": {"type": "string"}}}', {"a": {"type": "STRING"}}),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": {"type": "STRING"}}),
        ({"type": "object", "properties": {"a": {"type": "string", "nullable": True}}},
         {"a": {"type": "STRING", "nullable": True}}),
    ],
)  # fmt: skip
def test_a_schema_can_come_from(spec: Any, expected: dict[str, Any]) -> None:
    made = loaded(spec).settings["responseSchema"]
    assert (made["type"], made["properties"], made["propertyOrdering"]) == ("OBJECT", expected, list(expected))


def test_types_that_are_no_classes() -> None:
    plains = loaded("models:PLAINS").settings["responseSchema"]
    assert (plains["type"], plains["items"]["propertyOrdering"]) == ("ARRAY", ["number", "text"])
    pets = loaded("models:PETS").settings["responseSchema"]
    assert [one["title"] for one in pets["items"]["anyOf"]] == ["Cat", "Dog"]
    typed = loaded("models:Typed").settings["responseSchema"]
    assert typed["properties"]["plain"]["items"]["required"] == ["number"]


def test_a_choice_that_a_property_decides_needs_no_note() -> None:
    made = loaded("models:Pet")
    assert made.notes == ()
    assert [one["title"] for one in made.settings["responseSchema"]["properties"]["pet"]["anyOf"]] == ["Cat", "Dog"]


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_text('{"type": "object", "properties": {"z": {"type": "string"}}}', "utf-8-sig")
    made = load_schema("ours.json", folder=tmp_path)
    assert (made.source, made.settings["responseSchema"]["propertyOrdering"]) == ("ours.json", ["z"])
    assert load_schema(str(tmp_path / "ours.json"), folder=HERE).original == made.original


# The field that tells the service -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("models:Node", "`properties.children.items`: a reference that leads back to itself, #/$defs/Node"),
        ("models:Counts", "`properties.counts`: an object with properties of any name"),
        ("models:Anything", "`properties.value`: a value of any kind"),
        ({"type": "array"}, "a list of anything"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
         "a list whose items differ by their position"),
        ({"type": "object"}, "an object with properties of any name"),
        ({"type": "object", "properties": {"a": True}}, "`properties.a`: a value of any kind"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "patternProperties": {"x": {}}},
         "an object with properties of any name"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
         "`required`: a required property that is not described, 'b'"),
        ({"enum": ["", "x"]}, "`enum`: an empty text as one of the values"),
        ({"const": [1]}, "`const`: an object or a list as one of the values"),
        ({"anyOf": [{"type": "string"}], "oneOf": [{"minLength": 1}]}, "`anyOf` next to `oneOf`"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "conditions that all have to be met"),
    ],
)  # fmt: skip
def test_what_only_json_schema_can_say(spec: Any, reason: str) -> None:
    made = load_schema(spec, folder=HERE)
    assert set(made.settings) == {"responseMimeType", "responseJsonSchema"}
    assert made.notice is not None
    assert f"since `responseSchema` cannot express this. {reason}. In August 2026" in made.notice
    assert isinstance(checked(made), Checked)
    assert reason in str(refused(spec, via="responseSchema"))


def test_the_field_can_be_chosen() -> None:
    made = loaded("models:Review", via="responseJsonSchema")
    assert list(made.settings) == ["responseMimeType", "responseJsonSchema"]
    assert (made.notice or "").startswith("In August 2026")
    assert made.settings["responseJsonSchema"]["properties"]["kind"] == {
        "enum": [1],
        "title": "Kind",
        "type": "integer",
    }
    assert "$defs" not in made.settings["responseJsonSchema"]
    assert made.settings["responseJsonSchema"]["propertyOrdering"] == REVIEW["propertyOrdering"]
    assert (
        "`properties.tags.uniqueItems` may have no effect at the service; it is checked in the answers." in made.notes
    )
    assert loaded("models:Review", via="responseSchema").settings == loaded("models:Review").settings


def test_a_circle_stays_a_reference() -> None:
    made = loaded("models:Node").settings["responseJsonSchema"]
    node = made["$defs"]["Node"]
    assert (made["$ref"], list(made["$defs"])) == ("#/$defs/Node", ["Node"])
    assert node["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}


def test_a_circle_through_required_properties_is_an_error() -> None:
    assert "`properties.child`: #/$defs/Endless refers to itself through required" in str(refused("models:Endless"))


def test_a_few_references_can_ask_for_billions_of_parts() -> None:
    defs = {
        f"d{n}": {"type": "object", "properties": {x: {"$ref": f"#/$defs/d{n + 1}"} for x in "ab"}} for n in range(16)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**defs, "d16": {"type": "string"}}}
    for via in ("auto", "responseSchema", "responseJsonSchema"):
        assert "more than 10,000 parts" in str(refused(schema, via=via))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"const": "a"}, {"type": "STRING", "format": "enum", "enum": ["a"]}),
        ({"const": None}, {"type": "NULL"}),
        ({"enum": [1, 2, 3]}, {"type": "INTEGER", "minimum": 1, "maximum": 3}),
        ({"enum": [3, 1.0]}, {"anyOf": [{"type": "INTEGER", "minimum": 1, "maximum": 1},
                                        {"type": "INTEGER", "minimum": 3, "maximum": 3}]}),
        ({"enum": ["a", None, 0.5]}, {"anyOf": [{"type": "STRING", "format": "enum", "enum": ["a"]},
                                                {"type": "NUMBER", "minimum": 0.5, "maximum": 0.5}], "nullable": True}),
        ({"type": "integer", "enum": [1, "a"]}, {"type": "INTEGER", "minimum": 1, "maximum": 1}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["integer", "string"], "minimum": 2, "maxLength": 3},
         {"anyOf": [{"type": "INTEGER", "minimum": 2}, {"type": "STRING", "maxLength": 3}]}),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, {"type": "STRING", "nullable": True}),
        ({"anyOf": [{"type": "null"}]}, {"type": "NULL"}),
        ({"type": "string", "properties": {"a": True}, "minimum": 1}, {"type": "STRING"}),
        ({"type": "integer", "exclusiveMinimum": 1.5, "exclusiveMaximum": 4},
         {"type": "INTEGER", "minimum": 2, "maximum": 3}),
        ({"allOf": [{"type": "string", "minLength": 1}, {"minLength": 2}]}, {"type": "STRING", "minLength": 2}),
        ({"type": "array", "prefixItems": [{"type": "string"}] * 2, "items": False, "maxItems": 2},
         {"type": "ARRAY", "items": {"type": "STRING"}, "maxItems": 2}),
        ({"type": "object", "properties": {"a": False, "b": {"type": "null"}}},
         {"type": "OBJECT", "properties": {"b": {"type": "NULL"}}, "propertyOrdering": ["b"]}),
        ({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "propertyOrdering": ["b"]},
         {"type": "OBJECT", "properties": {"b": {"type": "NULL"}, "a": {"type": "NULL"}},
          "propertyOrdering": ["b", "a"]}),
        ({"$ref": "#/$defs/T", "title": "Mine", "$defs": {"T": {"type": "string", "title": "Theirs"}}},
         {"type": "STRING", "title": "Mine"}),
        ({"type": "STRING", "format": "date", "nullable": True},
         {"type": "STRING", "format": "date", "nullable": True}),
    ],
)  # fmt: skip
def test_how_response_schema_says_it(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert loaded(schema).settings["responseSchema"] == expected


@pytest.mark.parametrize(
    ("schema", "note"),
    [
        ({"type": "number", "multipleOf": 0.5},
         "`multipleOf` is checked in the answers; `responseSchema` does not have it."),
        ({"type": "string", "not": {"const": "x"}},
         "`not` is checked in the answers; `responseSchema` does not have it."),
        ({"type": "string", "minlength": 3}, "`minlength` is not a word of JSON Schema and has no effect."),
        ({"const": True}, "`const` is sent as a choice of both values; it is checked in the answers."),
        ({"enum": ["abc"], "minLength": 3}, "What stands next to `enum` is checked in the answers."),
        ({"oneOf": [{"type": "string"}, {"type": "string", "minLength": 2}]},
         "`oneOf` is sent as `anyOf`; that only one of them fits is checked in the answers."),
    ],
)  # fmt: skip
def test_what_only_the_check_of_the_answers_sees(schema: dict[str, Any], note: str) -> None:
    assert loaded(schema).notes == (note,)


# Whatever the schema --------------------------------------------------------------------------------------------------


@given(recursive_schemas, st.sampled_from(["auto", "responseJsonSchema"]), st.data())
def test_the_service_is_never_told_less_than_is_allowed(schema: dict[str, Any], via: Any, data: st.DataObject) -> None:
    """What the original accepts, the schema that is sent accepts; and the line can be sent."""
    made = load_schema(schema, folder=HERE, via=via)
    line = checked(made)
    assert isinstance(line, Checked), line
    good = sample(schema, data.draw(st.integers(0, 99)))
    for value in (good, data.draw(changed(good)), data.draw(values)):
        if accepts(schema, value):
            assert accepts(sent(made), value), (made.settings, value)


@given(json_schemas, st.data())
def test_without_a_note_it_is_told_all(schema: dict[str, Any], data: st.DataObject) -> None:
    made = load_schema(schema, folder=HERE)
    good = sample(sent(made), data.draw(st.integers(0, 99)))
    if not made.notes and "additionalProperties" not in json.dumps(schema):
        for value in (good, data.draw(changed(good)), data.draw(values)):
            assert accepts(schema, value) == accepts(sent(made), value), (made.settings, value)


@given(service_schemas, st.data())
def test_a_schema_in_the_form_of_the_service_is_sent_as_it_was_meant(
    schema: dict[str, Any], data: st.DataObject
) -> None:
    made = load_schema(schema, folder=HERE)
    good = sample(schema, data.draw(st.integers(0, 99)))
    for value in (good, data.draw(changed(good)), data.draw(values)):
        assert accepts(made.original, value) == accepts(sent(made), value)


# What cannot be used --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nothing.json", "The schema nothing.json cannot be used: there is no such file."),
        ("no schema", "The schema no schema cannot be used: there is no such file."),
        ("models:Nothing", "The schema models:Nothing cannot be used: there is no Nothing in "),
        ("models:NUMBER", "The schema models:NUMBER cannot be used: it is not a class that describes an answer."),
        ("nomodule:Model", "the module nomodule could not be imported: ModuleNotFoundError: No module named"),
        ("models.py:Review", "a module is named without `.py`. Write models:Review."),
        (int, None),
        ({"sentiment": "positive"}, "it has none of the words of a schema at its top, such as `type`"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "`properties.a.type` must be one of string"),
        ({"type": "object", "properties": {"a": 5}}, "`properties.a` must be a schema, in an object."),
        ({"type": "array", "items": {"$ref": "#/$defs/X"}}, "`items.$ref` must be a place in this schema, such as"),
        ({"$ref": "https://example.com/x.json"}, "`$ref` must be a place in this schema"),
        ({"type": "string", "pattern": "("}, 'pattern: "(" is not a "regex".'),
        ({"type": "OBJECT", "properties": {"a": {"type": "string", "oneOf": []}}},
         "`properties.a.oneOf`: 'oneOf' is not a word of `responseSchema`, for which types in capitals stand."),
        ("{not json}", "it is not JSON: "),
    ],
)  # fmt: skip
def test_what_is_said_if_it_cannot_be_used(spec: Any, message: str | None) -> None:
    if message is None:
        assert loaded(spec).settings["responseSchema"] == {"type": "INTEGER"}
    else:
        assert message in str(refused(spec))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "it is not an object"),
        (b"5", "it is not an object"),
        (b"{", "it is not JSON"),
        (b"\xff\xfe{\x00", "it is not JSON: not UTF-8"),
        (b'{"type": "object",}', "it is not JSON: there is an extra comma"),
        (b'{"type": ' + b'{"type": ' * 3000 + b"1" + b"}" * 3001, "it is not JSON: nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    error = refused("bad.json", folder=tmp_path)
    assert message in str(error)
    assert error.file == str(tmp_path / "bad.json")


def test_a_module_is_searched_next_to_the_table_and_may_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(HERE / "models.py", tmp_path / "their_models.py")
    with (tmp_path / "their_models.py").open("a") as file:
        file.write("print('hello')\n")
    assert load_schema("their_models:Review", folder=tmp_path).settings["responseSchema"] == REVIEW
    assert capsys.readouterr().out == ""
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    assert "the module exits could not be imported: SystemExit: 3" in str(refused("exits:Model", folder=tmp_path))
