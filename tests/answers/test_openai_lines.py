"""Output lines in OpenAI's shape: joined by ``custom_id``, judged, counted and written like all others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.answers.parse import Answer, NotAnAnswer, parse_line
from gemini_batch.answers.result_line import result_line
from gemini_batch.answers.usage import Usage
from gemini_batch.answers.verdict import Judged, judge
from gemini_batch.catalog import Method


def completion(message: Any = None, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Yes."} if message is None else message
    return {"choices": [{"finish_reason": finish, "index": 0, "message": message}], "model": "gemini-x", **more}


def line(body: Any = None, *, status: Any = 200, error: Any = None, **more: Any) -> bytes:
    response = None if body is None else {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"id": "batch_req_1", "custom_id": "a", "response": response, "error": error, **more}).encode()


def judged(data: bytes, *, method: Method = Method.GENERATE, **asked: Any) -> Judged:
    found = parse_line(data)
    assert isinstance(found, Answer), found
    assert found.key == "a"
    return judge(found, method=method, **asked)


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (completion(), ("succeeded", None)),
        (completion({"content": None, "tool_calls": [CALL]}, "tool_calls"), ("succeeded", None)),
        (completion({"tool_calls": [CALL]}, "stop"), ("succeeded", None)),
        (completion(finish="length"), ("truncated", "MAX_TOKENS")),
        (completion(finish="content_filter"), ("blocked", "SAFETY")),
        (completion(finish="content_filter: RECITATION"), ("blocked", "RECITATION")),
        (completion(finish="content_filter: something new"), ("blocked", "SAFETY")),
        (completion(finish="RECITATION"), ("blocked", "RECITATION")),
        (completion({"role": "assistant", "refusal": "No."}), ("blocked", "SAFETY")),
        (
            completion({}, "function_call_filter: MALFORMED_FUNCTION_CALL"),
            ("failed", "MALFORMED_FUNCTION_CALL"),
        ),
        (
            {"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT", "index": 0}]},
            ("blocked", "PROHIBITED_CONTENT"),
        ),
        (completion({"role": "assistant"}), ("empty", "NO_PARTS")),
        (completion({"role": "assistant", "content": " \n"}), ("empty", "EMPTY_TEXT")),
        (completion(finish=None), ("failed", "NO_FINISH_REASON")),
        (completion(finish="surprise"), ("failed", "UNKNOWN_FINISH_REASON")),
        (completion(finish=7), ("failed", "UNREADABLE")),
        (completion(["odd"]), ("failed", "UNREADABLE")),
        ({"choices": []}, ("empty", "NO_CANDIDATES")),
        ({"choices": "none"}, ("failed", "UNREADABLE")),
        (
            {"choices": [completion()["choices"][0], {"finish_reason": "length", "message": {"content": "x"}}]},
            ("truncated", "MAX_TOKENS"),
        ),
        ({}, ("empty", "NO_CANDIDATES")),
        ("text", ("failed", "UNREADABLE")),
    ],
)
def test_bodies(body: Any, expected: tuple[str, str | None]) -> None:
    """The finish reason and what the message has decide, as in an ordinary answer."""
    found = judged(line(body))
    assert (found.verdict, found.reason) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (line({"error": {"code": 400, "message": "Bad."}}, status=400), ("INVALID_ARGUMENT", 3, "Bad.")),
        (line([{"error": {"message": "Bad."}}], status=404), ("NOT_FOUND", 5, "Bad.")),
        (line({"error": "Slow down."}, status=429), ("RESOURCE_EXHAUSTED", 8, "Slow down.")),
        (line({"error": {"code": "rate_limit_exceeded"}}, status=429), ("RESOURCE_EXHAUSTED", 8, None)),
        (line(completion(), status=500), ("INTERNAL", 13, None)),
        (line(17, status=503), ("UNAVAILABLE", 14, None)),
        (line(error={"code": "batch_expired", "message": "Late."}), ("DEADLINE_EXCEEDED", 4, "Late.")),
        (line(error={"code": "batch_cancelled"}), ("CANCELLED", 1, None)),
        (line(completion(), error={"code": "request_timeout"}), ("DEADLINE_EXCEEDED", 4, None)),
        (line(error={"code": "surprise", "message": "Odd."}), ("UNREADABLE_ERROR", None, "Odd.")),
        (line(error={"code": 3, "message": "Ours."}), ("INVALID_ARGUMENT", 3, "Ours.")),
    ],
)
def test_errors(data: bytes, expected: tuple[str, int | None, str | None]) -> None:
    """A status of 400 and more, and an error of the line, are row errors with the codes of all others."""
    found = judged(data)
    assert found.verdict == "failed"
    assert (found.reason, found.code, found.said) == expected
    assert not found.has_response


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"promptTokens": 4, "completionTokens": 5, "totalTokens": 20}, Usage(4, 0, 5, 11, known=True)),
        ({"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9}, Usage(4, 0, 5, 0, known=True)),
        ({"promptTokens": "4", "completionTokens": "5", "totalTokens": "9"}, Usage(4, 0, 5, 0, known=True)),
        ({"promptTokens": 4, "completionTokens": None}, Usage(4, 0, 0, 0)),
        ({"promptTokens": [4]}, Usage()),
        ({}, Usage()),
        ("none", Usage()),
    ],
)
def test_usage(usage: Any, expected: Usage) -> None:
    """In both spellings; what only the total has was spent on thinking."""
    found = judged(line(completion(usage=usage)))
    assert (found.verdict, found.usage, found.model_version) == ("succeeded", expected, "gemini-x")


def test_the_page_names_the_finish_reasons() -> None:
    """Each word of its table is read as it says."""
    page = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text("utf-8")
    section = page.partition("## Lines in OpenAI's shape")[2].partition("\n## ")[0]
    read = dict(re.findall(r"^\| (`.+`) \| `([A-Z_]+)` \|$", section, re.MULTILINE))
    assert len(read) == 3
    for words, reason in read.items():
        for word in re.findall(r"`(\w+)`", words):
            found = judged(line(completion(finish=word)))
            assert (found.reason or "STOP") == reason


def test_json_is_checked_here_too() -> None:
    assert judged(line(completion({"content": '{"a": 1}'})), expects_json=True).verdict == "succeeded"
    assert judged(line(completion({"content": "a: 1"})), expects_json=True).reason == "NOT_JSON"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": [{"embedding": [0.5, 1, 2]}]}, ("succeeded", None)),
        ({"data": [{"embedding": [0.5, 1]}]}, ("invalid", "DIMENSION")),
        ({"data": [{"embedding": [0.5, "x", 2]}]}, ("invalid", "BAD_VECTOR")),
        ({"data": [{"embedding": "AAAA"}]}, ("empty", "NO_EMBEDDING")),
        ({"data": []}, ("empty", "NO_EMBEDDING")),
        ({"data": 7}, ("empty", "NO_EMBEDDING")),
    ],
)
def test_embeddings(body: Any, expected: tuple[str, str | None]) -> None:
    usage = {"usage": {"promptTokens": 3, "totalTokens": 3}}
    found = judged(line({**body, **usage}), method=Method.EMBED, dimension=3)
    assert (found.verdict, found.reason) == expected
    assert found.usage.input == 3


def test_the_result_line_has_the_body_as_it_came_and_its_text() -> None:
    found = parse_line(
        b'{"custom_id":"a","response":{"status_code":200,"body":{"choices":[{"message":{"content":"Hi"},'
        b'"finish_reason":"stop"}],"n":1.50}},"error":null}'
    )
    assert isinstance(found, Answer)
    written = result_line("a", "succeeded", response=found.response, method=Method.GENERATE, attempt=1)
    assert b'"n":1.50,"text":"Hi"}' in written


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"custom_id":null,"response":{}}', "NO_KEY"),
        (b'{"custom_id":"","response":{}}', "NO_KEY"),
        (b'{"custom_id":7,"response":{}}', "KEY_NOT_TEXT"),
        (b'{"id":"batch_req_1","response":{}}', "NO_KEY"),
        (b'{"custom_id":"a","response":{"status_code":200', "NOT_JSON"),
    ],
)
def test_lines_without_a_usable_id_are_set_aside(data: bytes, reason: str) -> None:
    found = parse_line(data)
    assert isinstance(found, NotAnAnswer)
    assert found.reason == reason


def test_a_key_decides_before_a_custom_id() -> None:
    assert parse_line(b'{"custom_id":"b","key":"a","response":{}}') == Answer("a", b"{}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "status_code",
                    "body",
                    "choices",
                    "message",
                    "content",
                    "tool_calls",
                    "finish_reason",
                    "usage",
                    "promptTokens",
                    "data",
                    "embedding",
                    "error",
                    "code",
                    "refusal",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(response=JSON, error=JSON, custom_id=JSON, method=st.sampled_from(Method), json_wanted=st.booleans())
def test_any_odd_line_is_judged_or_set_aside(
    response: Any, error: Any, custom_id: Any, method: Method, *, json_wanted: bool
) -> None:
    """It never raises; without text and without error nothing succeeds."""
    data = json.dumps({"custom_id": custom_id, "response": response, "error": error}).encode()
    found = parse_line(data)
    if not isinstance(custom_id, str) or not custom_id:
        assert isinstance(found, NotAnAnswer)
        return
    assert isinstance(found, Answer)
    verdict = judge(found, method=method, expects_json=json_wanted)
    if error is not None or not isinstance(response, dict) or "body" not in response:
        assert verdict.verdict != "succeeded"
    if found.response is not None:
        result_line("a", verdict.verdict, response=found.response, method=method, attempt=1)
