"""Answers to requests with a schema: verdict, message, the value in the result line, and the value as an instance."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.answers.result_line import result_line
from gemini_batch.answers.typed import value_of
from gemini_batch.answers.verdict import Judged, judge
from gemini_batch.catalog import Method
from gemini_batch.protocol.schema_checker import compile_schema

SCHEMA = {
    "type": "object",
    "properties": {"sentiment": {"enum": ["good", "bad"]}, "topics": {"type": "array", "items": {"type": "string"}}},
    "required": ["sentiment"],
}
GOOD = '{"sentiment": "good", "topics": ["x"]}'
BAD = '{"sentiment": "good", "topics": ["a", "b", 5]}'


def candidate(*texts: str, finish: str = "STOP") -> dict[str, Any]:
    return {"content": {"parts": [{"text": text} for text in texts], "role": "model"}, "finishReason": finish}


def judged(response: Any, *, schema: Any = SCHEMA, expects_json: bool = True, **more: Any) -> Judged:
    answer = parse_line(json.dumps({"key": "a", "response": response, **more}).encode())
    assert isinstance(answer, Answer)
    checker = compile_schema(json.dumps(schema).encode())
    return judge(answer, method=Method.GENERATE, expects_json=expects_json, checker=checker)


@pytest.mark.parametrize(
    ("response", "verdict", "reason"),
    [
        ({"candidates": [candidate(GOOD)]}, "succeeded", None),
        ({"candidates": [candidate('{"sentiment"', ': "good"}')]}, "succeeded", None),
        ({"candidates": [candidate(BAD)]}, "invalid", "SCHEMA"),
        ({"candidates": [candidate("{}")]}, "invalid", "SCHEMA"),
        ({"candidates": [candidate("null")]}, "invalid", "SCHEMA"),
        ({"candidates": [candidate("Here you are: " + GOOD)]}, "invalid", "NOT_JSON"),
        ({"candidates": [candidate(f"```json\n{GOOD}\n```")]}, "invalid", "JSON_IN_FENCES"),
        ({"candidates": [candidate(BAD, finish="MAX_TOKENS")]}, "truncated", "MAX_TOKENS"),
        ({"candidates": [candidate(BAD, finish="SAFETY")]}, "blocked", "SAFETY"),
        ({"candidates": [candidate(BAD, finish="NEW")]}, "failed", "UNKNOWN_FINISH_REASON"),
        ({"candidates": [candidate(" ")]}, "empty", "EMPTY_TEXT"),
        ({"candidates": [candidate(GOOD), candidate(BAD)]}, "invalid", "SCHEMA"),
        ({"candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}]},
         "succeeded", None),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, "blocked", "PROMPT_SAFETY"),
    ],
)  # fmt: skip
def test_a_schema_only_decides_about_answers_that_would_succeed(
    response: Any, verdict: str, reason: str | None
) -> None:
    found = judged(response)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_an_error_of_the_service_comes_first() -> None:
    found = judged({"candidates": [candidate(BAD)]}, error={"code": 13})
    assert (found.verdict, found.reason) == ("failed", "INTERNAL")


def test_the_message_has_the_path_and_the_run_keeps_it_without_the_value() -> None:
    found = judged({"candidates": [candidate(GOOD), candidate(BAD)]})
    assert found.message == 'Candidate 2: topics[2]: 5 is not of type "string"'
    assert found.said == 'topics[]: the value is not of type "string"'


@pytest.mark.parametrize(("text", "verdict"), [("good", "succeeded"), ("neither", "invalid"), ('"good"', "invalid")])
def test_a_word_of_an_enum_is_compared_as_it_stands(text: str, verdict: str) -> None:
    found = judged({"candidates": [candidate(text)]}, schema={"type": "string", "enum": ["good"]}, expects_json=False)
    assert found.verdict == verdict


@pytest.mark.parametrize(
    ("text", "schema", "verdict"),
    [
        ("12345678901234567890123", {"type": "integer"}, "succeeded"),
        ("12345678901234567890123", {"maximum": 12345678901234567890122}, "invalid"),
        ("1.0", {"type": "integer"}, "succeeded"),
        ("1.5", {"type": "integer"}, "invalid"),
        ("0.1", {"multipleOf": 0.1}, "succeeded"),
    ],
)
def test_numbers(text: str, schema: Any, verdict: str) -> None:
    assert judged({"candidates": [candidate(text)]}, schema=schema).verdict == verdict


# The value in the result line ----------------------------------------------------------------------------------------


def line(*texts: str, parsed: bool = True, verdict: Any = "succeeded", **more: Any) -> bytes:
    response = json.dumps({"candidates": [candidate(*texts)], **more}, ensure_ascii=False).encode()
    return result_line("a", verdict, response=response, method=Method.GENERATE, attempt=1, parsed=parsed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1.50, "b": 12345678901234567890123, "c": 1e2}', b'{"a": 1.50, "b": 12345678901234567890123, "c": 1e2}'),
        ('\n{\n  "a": "x\\ny"\r\n}\n', rb'{   "a": "x\ny"  }'),
        ('["ä", "\u2028"]', '["ä", "\u2028"]'.encode()),
        ("null", b"null"),
        ('"word"', b'"word"'),
    ],
)
def test_the_value_stands_next_to_the_text_as_it_was_written(text: str, expected: bytes) -> None:
    made = line(text)
    assert made.endswith(b',"parsed":%s},"attempt":1}' % expected)
    assert b"\n" not in made
    assert json.loads(made)["response"]["parsed"] == json.loads(text)
    assert json.loads(made)["response"]["text"] == text


def test_without_text_there_is_no_value() -> None:
    response = b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}]}'
    made = result_line("a", "succeeded", response=response, method=Method.GENERATE, attempt=1, parsed=True)
    assert made.endswith(b'"text":null,"parsed":null},"attempt":1}')


def test_a_line_for_which_no_json_was_requested_has_no_value() -> None:
    assert b'"parsed"' not in line(GOOD, parsed=False)


def test_a_field_of_the_service_with_that_name_is_replaced() -> None:
    response = json.dumps({"parsed": {"old": 1}, "candidates": [candidate(GOOD)]}).encode()
    made = result_line("a", "succeeded", response=response, method=Method.GENERATE, attempt=1, parsed=True)
    assert json.loads(made)["response"]["parsed"] == json.loads(GOOD)
    assert made.count(b'"parsed"') == 1


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_json, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_any_value_comes_through(value: Any, indent: Any, ascii_only: Any) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    made = line(text)
    assert made.count(b"\n") == 0
    assert json.loads(made)["response"]["parsed"] == value
    assert value_of(msgspec.json.decode(made), None) == msgspec.json.decode(text)


# The value as an instance --------------------------------------------------------------------------------------------


class Model(pydantic.BaseModel):
    a: int
    when: pydantic.AwareDatetime | None = None

    @pydantic.field_validator("a")
    @classmethod
    def small(cls, a: int) -> int:
        if a > 99:
            raise ValueError("too large")
        return a


@dataclass
class Plain:
    a: int


class Struct(msgspec.Struct):
    a: int


@pydantic.dataclasses.dataclass
class Both:
    a: int


@pytest.mark.parametrize(
    ("model", "text", "expected"),
    [
        (Model, '{"a": 5}', Model(a=5)),
        (Plain, '{"a": 5}', Plain(5)),
        (Struct, '{"a": 5}', Struct(5)),
        (Both, '{"a": 5}', Both(5)),
        (list[Model], '[{"a": 5}]', [Model(a=5)]),
        (list[Plain], '[{"a": 5}]', [Plain(5)]),
        (int, "12345678901234567890123", 12345678901234567890123),
        (None, '{"a": 5}', {"a": 5}),
    ],
)
def test_an_instance_of_the_class(model: Any, text: str, expected: Any) -> None:
    found = value_of(json.loads(line(text)), model)
    assert found == expected
    assert type(found) is type(expected)


def test_a_class_can_ask_for_more_than_its_schema() -> None:
    with pytest.raises(ValueError, match="too large"):
        value_of(json.loads(line('{"a": 500}')), Model)
    with pytest.raises(ValueError, match="Expected `int`"):
        value_of(json.loads(line('{"a": "x"}')), Plain)


def test_a_row_that_did_not_succeed_has_no_instance() -> None:
    assert value_of(json.loads(line('{"a": 5}', verdict="invalid")), Model) is None
    assert value_of({"key": "a", "verdict": "missing", "error": {}}, Model) is None
    assert value_of({"key": "a", "verdict": "succeeded", "response": {"text": None, "parsed": None}}, Model) is None
