"""The built-in answers: deterministic, and in the shape that was asked for."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.emulator.responders import media, schema_samples
from gemini_batch.emulator.responders.builtin import generation, respond
from gemini_batch.errors import RowError

MODEL = "gemini-3.8-flash"


def ask(text: str = "Say something nice.", model: str = MODEL, **config: Any) -> dict[str, Any]:
    return generation(model, {"contents": [{"parts": [{"text": text}]}], "generationConfig": config})


def parts(response: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = response["candidates"][0]["content"]["parts"]
    return found


def test_text() -> None:
    """It says that it is offline, and what was asked; the same again for the same request."""
    response = ask("Describe\n the  blue kettle.")
    assert "offline" in parts(response)[0]["text"]
    assert "Describe the blue kettle." in parts(response)[0]["text"]
    assert response["modelVersion"] == f"{MODEL}@offline"
    assert response["candidates"][0]["finishReason"] == "STOP"
    assert response == ask("Describe\n the  blue kettle.")
    assert response["responseId"] != ask("Another.")["responseId"]
    usage = response["usageMetadata"]
    assert usage["promptTokenCount"] == 7
    assert usage["totalTokenCount"] == sum(
        usage[name] for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )


@pytest.mark.parametrize("limit", [1, 2, 5, 20])
def test_a_limit_of_tokens_cuts(limit: int) -> None:
    """Thoughts count too."""
    response = ask(maxOutputTokens=limit)
    usage = response["usageMetadata"]
    assert response["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert usage["candidatesTokenCount"] + usage.get("thoughtsTokenCount", 0) <= limit
    assert parts(response)[0]["text"].startswith("This")


def test_a_limit_that_is_wide_enough_cuts_nothing() -> None:
    """STOP, as without a limit."""
    assert parts(ask(maxOutputTokens=1000)) == parts(ask())


def test_thinking_can_be_seen_and_turned_off() -> None:
    """A thought comes first; a budget of 0 means none."""
    assert parts(ask(thinkingConfig={"includeThoughts": True}))[0]["thought"] is True
    assert "thoughtsTokenCount" not in ask(thinkingConfig={"thinkingBudget": 0})["usageMetadata"]


def test_several_candidates_and_stop_sequences() -> None:
    """One content each; what follows the stop sequence is left out."""
    assert [one["index"] for one in ask(candidateCount=3)["candidates"]] == [0, 1, 2]
    assert parts(ask(stopSequences=["offline"]))[0]["text"] == "This is an "


def test_an_image() -> None:
    """A PNG that decodes to as many pixels as it says, in the aspect ratio asked for."""
    response = ask(responseModalities=["TEXT", "IMAGE"], imageConfig={"aspectRatio": "16:9"})
    text, image = parts(response)
    assert "text" in text
    assert image["inlineData"]["mimeType"] == "image/png"
    data = base64.b64decode(image["inlineData"]["data"])
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        chunks[kind] = body
        at += 12 + length
    width, height = struct.unpack_from(">II", chunks[b"IHDR"])
    assert (width, height) == (64, 36)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)


@pytest.mark.parametrize("ratio", ["", "x", "0:1", "1:0", "-1:2", "21:9", "1:8", "999999:1"])
def test_any_aspect_ratio_gives_an_image(ratio: str) -> None:
    """Nonsense is square."""
    assert media.png(1, ratio)


def test_speech() -> None:
    """24 kHz, 16 bit, mono; longer for longer texts."""
    (short,) = parts(ask("Hi.", responseModalities=["AUDIO"]))
    (long,) = parts(ask("Hi. " * 50, model="gemini-3.8-flash-tts"))
    assert short["inlineData"]["mimeType"] == "audio/L16;codec=pcm;rate=24000"
    sizes = [len(base64.b64decode(part["inlineData"]["data"])) for part in (short, long)]
    assert sizes[0] % 2 == 0
    assert sizes[0] == round(media.seconds("Hi.") * 24_000) * 2
    assert sizes[1] > 10 * sizes[0]


def test_a_function_call_where_one_is_insisted_on() -> None:
    """Of an allowed function, with arguments that fit."""
    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}
    request = {
        "contents": [{"parts": [{"text": "x"}]}],
        "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g", "parameters": schema}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}},
    }
    (part,) = parts(generation(MODEL, request))
    assert part["functionCall"]["name"] == "g"
    assert isinstance(part["functionCall"]["args"]["city"], str)


@pytest.mark.parametrize("request_value", [{}, {"contents": []}, {"contents": [{"parts": []}]}, {"content": {}}])
def test_nothing_to_answer(request_value: dict[str, Any]) -> None:
    """Code 3."""
    with pytest.raises(RowError) as caught:
        respond(MODEL, request_value)
    assert caught.value.code == 3


def test_an_empty_text_is_answered() -> None:
    """As at the service; no text at all is something else, and nothing can be embedded."""
    response = ask("")
    assert "offline" in parts(response)[0]["text"]
    assert response["usageMetadata"]["promptTokenCount"] == 1
    with pytest.raises(RowError, match="content is not specified"):
        respond("gemini-embedding-001", {"content": {"parts": [{"text": ""}]}})


def test_json_without_a_schema() -> None:
    """An object that says that it is offline."""
    value = json.loads(parts(ask("Hello.", responseMimeType="application/json"))[0]["text"])
    assert value == {"offline": True, "echo": "Hello."}


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
    {"type": "object", "properties": {"n": {"type": "number", "minimum": 2, "exclusiveMaximum": 3}}, "required": ["n"]},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 4},
    {"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 9}, "uniqueItems": True, "minItems": 2},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
    {"enum": ["red", "green", 3, None]},
    {"const": {"x": [1]}},
    {"type": ["null", "integer"], "multipleOf": 7, "minimum": 1},
    {"type": "string", "minLength": 30},
    {"type": "string", "maxLength": 2},
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{4}(x|yz)?$"},
    {"type": "string", "pattern": "^[^abc\\s]+@(foo|bar)\\.com$"},
    {"type": "string", "format": "date-time"},
    {"type": "string", "format": "date"},
    {"type": "string", "format": "email"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "uri"},
    {"anyOf": [{"type": "null"}, {"type": "object", "required": ["k"], "properties": {"k": {"const": 1}}}]},
    {"oneOf": [{"type": "integer", "minimum": 10}, {"type": "string"}]},
    {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"required": ["b"]}], "type": "object"},
    {
        "$ref": "#/$defs/tree",
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                    "parent": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]},
                },
                "required": ["name", "children", "parent"],
                "additionalProperties": False,
            }
        },
    },
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}, "required": ["c"], "maxProperties": 1},
    {"type": "integer", "maximum": -5},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
    {"type": "number", "multipleOf": 0.5, "minimum": 1.2, "maximum": 1.9},
    {},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:50])
def test_json_satisfies_its_schema(schema: dict[str, Any]) -> None:
    """Under many seeds, judged by a validator that is not ours."""
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for seed in range(40):
        value = schema_samples.sample(schema, seed)
        assert list(validator.iter_errors(value)) == [], value
    text = parts(ask(responseMimeType="application/json", responseJsonSchema=schema))[0]["text"]
    assert validator.is_valid(json.loads(text))


def test_the_apis_own_schema() -> None:
    """Upper-case types, int64 bounds as strings, nullable, an order of properties."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["x", "y"]}, "minItems": "3", "maxItems": "3"},
            "a": {"type": "INTEGER", "nullable": True, "minimum": 4, "maximum": 4},
        },
        "required": ["a", "b"],
        "propertyOrdering": ["a", "b"],
    }
    value = schema_samples.sample(schema, 1)
    assert list(value) == ["a", "b"]
    assert value["a"] == 4
    assert len(value["b"]) == 3
    assert set(value["b"]) <= {"x", "y"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["type", "items", "anyOf", "allOf", "$ref", "properties", "minItems", "pattern", "required"]),
        st.sampled_from(["#", "#/properties/a", "[", "string", "array", 3, None]) | json_values,
    )
)
def test_a_senseless_schema_never_hangs(schema: dict[str, Any]) -> None:
    """It may fail, and then its row does; it always ends."""
    try:
        schema_samples.sample(schema, 1)
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, schema_samples.TooLong):
        return


HUGE = 2_000_000_000
TEXT = {"type": "string"}
TWICE = {"$ref": "#/$defs/again"}


def nested(depth: int, word: str = "items", **more: Any) -> dict[str, Any]:
    """Arrays (or objects) in each other."""
    schema: dict[str, Any] = dict(TEXT)
    for _ in range(depth):
        schema = {"type": "array", "items": schema, **more} if word == "items" else {word: [schema, {}], **more}
    return schema


#: What would take gigabytes or hours, in a few bytes.
BOMBS: dict[str, dict[str, Any]] = {
    "items": {"type": "array", "items": TEXT, "minItems": HUGE},
    "items as a string": {"type": "array", "items": TEXT, "minItems": str(10**30)},
    "items of nothing": {"type": "array", "minItems": HUGE},
    "unique items": {"type": "array", "items": {"type": "integer"}, "minItems": HUGE, "uniqueItems": True},
    "unique items of a few": {"type": "array", "items": {"enum": [1, 2]}, "minItems": HUGE, "uniqueItems": True},
    "length": {"type": "string", "minLength": HUGE},
    "length within": {"type": "object", "properties": {"a": {"type": "string", "minLength": HUGE}}},
    "properties": {"type": "object", "minProperties": HUGE},
    "a pattern": {"type": "string", "pattern": "a{2000000000}"},
    "a pattern of patterns": {"type": "string", "pattern": "(((a{9999}){9999}){9999}){9999}"},
    "a pattern of nothing": {"type": "string", "pattern": "((()" + "{9999})" * 2 + "{9999}"},
    "items of items": nested(10, minItems=1000),
    "a tree": {
        "$ref": "#/$defs/again",
        "$defs": {
            "again": {
                "type": "object",
                "properties": {f"p{number}": TWICE for number in range(30)},
                "required": [f"p{number}" for number in range(30)],
            }
        },
    },
    "all of itself": {"allOf": [TWICE, TWICE], "$defs": {"again": {"allOf": [TWICE, TWICE]}}},
    "a large constant, often": {"type": "array", "items": {"const": "x" * 100_000}, "minItems": HUGE},
    "long names": {"type": "array", "items": {"required": ["n" * 100_000], "type": "object"}, "minItems": HUGE},
    "many branches, often": {
        "type": "array",
        "minItems": HUGE,
        "items": {"anyOf": [{"type": "object", "properties": {f"a{n}": TEXT}} for n in range(5000)]},
    },
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_schema_that_asks_for_too_much_is_cut(bomb: str) -> None:
    """As a model is cut at its limit of output tokens; quickly, and in little memory."""
    (candidate,) = ask(responseMimeType="application/json", responseJsonSchema=BOMBS[bomb])["candidates"]
    assert candidate["finishReason"] == "MAX_TOKENS"
    text = "".join(part["text"] for part in candidate["content"].get("parts", ()))
    assert len(text) <= schema_samples.MOST_CHARACTERS
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_the_fourth_generation_can_be_asked_to_continue() -> None:
    """Only where its own limit was reached; and the next answer is the last."""

    def ends(limit: int | None = None, token: str = "") -> tuple[str, str]:
        config = {
            "responseMimeType": "application/json",
            "responseJsonSchema": BOMBS["items"],
            "maxOutputTokens": limit,
        }
        request = {"contents": [{"parts": [{"text": "x"}]}], "generationConfig": config, "continuationToken": token}
        (candidate,) = generation("gemini-4-neon", request)["candidates"]
        return candidate["finishReason"], candidate.get("continuationToken", "")

    reason, token = ends()
    assert (reason, bool(token)) == ("CONTINUATION", True)
    assert ends(token=token) == ("STOP", "")
    assert ends(limit=40) == ("MAX_TOKENS", "")


@pytest.mark.parametrize("bomb", ["items", "length within", "properties"])
def test_a_call_whose_arguments_are_too_much_is_cut(bomb: str) -> None:
    """There is no half of a call."""
    calling = {
        "contents": [{"parts": [{"text": "x"}]}],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": BOMBS[bomb]}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }
    (candidate,) = generation(MODEL, calling)["candidates"]
    assert candidate == {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "schema",
    [
        nested(3000, minItems=2),
        nested(3000, "anyOf"),
        nested(3000, "allOf"),
        {"type": "object", "properties": {f"p{n}": TEXT for n in range(10_000)}, "maxProperties": 1},
        {"type": "string", "pattern": "(" * 5000 + ")" * 5000},
        {"type": "string", "pattern": "a{99999999999999999999}"},
    ],
    ids=["nested arrays", "nested choices", "nested parts", "dropped properties", "parentheses", "a large number"],
)
def test_a_schema_that_is_deep_or_wide_ends(schema: dict[str, Any]) -> None:
    """With a value, or cut."""
    (candidate,) = ask(responseMimeType="application/json", responseJsonSchema=schema)["candidates"]
    assert candidate["finishReason"] in {"STOP", "MAX_TOKENS"}
    assert len(json.dumps(candidate)) < 2 * schema_samples.MOST_CHARACTERS


def test_a_large_schema_within_bounds_is_satisfied() -> None:
    """A hundred thousand characters are none too many."""
    schema = {"type": "array", "items": {"type": "string", "minLength": 100}, "minItems": 1000}
    assert len(schema_samples.sample(schema)) == 1000
