"""The result line: its fields, their order, and that nothing of the response is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.answers.result_line import result_line
from gemini_batch.catalog import Method

RESPONSE = b'{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"n":1.50}'


def line(response: bytes | None = RESPONSE, verdict: Any = "succeeded", **more: Any) -> bytes:
    return result_line("a", verdict, response=response, **{"method": Method.GENERATE, "attempt": 1, **more})


def test_a_good_line_is_the_response_with_its_text() -> None:
    assert line() == (
        b'{"key":"a","verdict":"succeeded","response":{"candidates":[{"content":{"parts":[{"text":"Hi"}]},'
        b'"finishReason":"STOP"}],"n":1.50,"text":"Hi"},"attempt":1}'
    )


def test_a_failed_line_has_its_error_and_no_response() -> None:
    assert line(None, "failed", reason="INTERNAL", code=13, message="Sorry.", attempt=3) == (
        b'{"key":"a","verdict":"failed","error":{"code":13,"reason":"INTERNAL","message":"Sorry."},"attempt":3}'
    )


def test_a_line_that_was_cut_off_has_both() -> None:
    shown = json.loads(line(verdict="truncated", reason="MAX_TOKENS"))
    assert list(shown) == ["key", "verdict", "response", "error", "attempt"]
    assert shown["response"]["text"] == "Hi"
    assert shown["error"] == {
        "code": None,
        "reason": "MAX_TOKENS",
        "message": "The answer was cut off at maxOutputTokens (thinking counts towards it).",
    }


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("response", [RESPONSE, None])
def test_error_is_there_exactly_where_the_verdict_is_not_a_success(verdict: str, response: bytes | None) -> None:
    shown = json.loads(line(response, verdict))
    assert ("error" in shown) == (verdict != "succeeded")
    assert ("response" in shown) == (response is not None)
    if "error" in shown:
        assert set(shown["error"]) == {"code", "reason", "message"}
        assert shown["error"]["reason"]
        assert shown["error"]["message"]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"{}", b'{"text":null}'),
        (b"{ }", b'{ "text":null}'),
        (b'{"a":1}', b'{"a":1,"text":null}'),
        (b' {"a":1 }\r', b'{"a":1 ,"text":null}'),
        (b'{"text":"old","a":1}', b'{"a":1,"text":null}'),
        (b'{"a":1,"text":"old"}', b'{"a":1,"text":null}'),
        (b'{"text":{"deep":1}}', b'{"text":null}'),
        (b'{"te\\u0078t":"old","a":1}', b'{"a":1,"text":null}'),
        (b'{"a":{"text":"kept"}}', b'{"a":{"text":"kept"},"text":null}'),
        (b'{\n  "a": [\n    1.0,\n    2e5\n  ]\n}', b'{   "a": [     1.0,     2e5   ] ,"text":null}'),
        (b"[1, 2]", b"[1, 2]"),
        (b'"words"', b'"words"'),
    ],
)
def test_text_is_added_once_and_at_the_end(response: bytes, expected: bytes) -> None:
    assert line(response) == b'{"key":"a","verdict":"succeeded","response":%s,"attempt":1}' % expected


def test_text_can_be_left_away() -> None:
    assert RESPONSE in line(text=False)
    assert b'"text":"old"' in line(b'{"text":"old"}', text=False)


def test_embeddings_are_left_as_they_are() -> None:
    response = b'{"embedding":{"values":[0.10,-2e-3]},"text":"?"}'
    assert response in line(response, method=Method.EMBED)


def test_a_line_is_one_line() -> None:
    pretty = json.dumps(json.loads(RESPONSE), indent=2).replace("\n", "\r\n").encode()
    written = line(pretty)
    assert b"\n" not in written
    assert b"\r" not in written
    assert json.loads(written)["response"] == {**json.loads(RESPONSE), "text": "Hi"}
    assert b"\n" not in line(pretty, method=Method.EMBED)


def test_separators_of_unicode_stay_inside_their_strings() -> None:
    text = "a\u2028b\u2029c\u0085d"
    body = {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}]}
    shown = json.loads(line(json.dumps(body, ensure_ascii=False).encode()))
    assert shown["response"] == {**body, "text": text}


def test_a_response_that_is_not_strict_json_is_written_strictly() -> None:
    shown = json.loads(line(b'{"a":NaN,"b":"\\ud83d"}'), parse_constant=pytest.fail)
    assert shown["response"] == {"a": None, "b": "\ufffd", "text": None}


def test_a_response_that_is_no_json_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        line(b'{"a":')


def test_keys_of_every_kind_are_escaped() -> None:
    key = 'quo"te \\ \n \u2028 ä 😀'
    written = result_line(key, "succeeded", response=b"{}", method=Method.GENERATE, attempt=1)
    assert b"\n" not in written
    assert json.loads(written)["key"] == key


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
objects = st.dictionaries(st.text(max_size=5) | st.sampled_from(["text", "media", "candidates"]), values, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects, st.booleans(), st.sampled_from([None, 2]))
def test_nothing_of_any_response_is_lost(response: dict[str, Any], ascii_only: Any, indent: int | None) -> None:
    data = json.dumps(response, ensure_ascii=ascii_only, indent=indent).encode("utf-8")
    written = line(data)
    assert b"\n" not in written
    shown = json.loads(written)["response"]
    assert "text" in shown
    response.pop("text", None)
    shown.pop("text")
    assert shown == response
    assert list(shown) == list(response)


@settings(deadline=None)
@given(st.lists(st.text(max_size=10), min_size=1, max_size=4))
def test_text_is_the_joined_text(texts: list[str]) -> None:
    body = {"candidates": [{"content": {"parts": [{"text": text} for text in texts]}}]}
    assert json.loads(line(json.dumps(body).encode()))["response"]["text"] == "".join(texts)
