"""From the bytes of an answer line to a key and its answer, whatever arrives."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_batch.answers.parse import Answer, NotAnAnswer, parse_generated, parse_line, response_in

RESPONSE = b'{"candidates":[],"x":1.50}'
#: A line of Vertex AI.
VERTEX = (
    b'{"status":%s,"processed_time":"2026-11-27T01:02:03+00:00",'
    b'"request":{"contents":[],"labels":{"team":"a","gemini-batch-key":"4f0c"}},"response":%s}'
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"response":%s,"key":"a"}' % RESPONSE, Answer("a", RESPONSE)),
        (b'{"key":"a","response":%s}' % RESPONSE, Answer("a", RESPONSE)),
        (b' {"key" : "a", "response" : %s }\r' % RESPONSE, Answer("a", RESPONSE)),
        (b'{"error":{"code":3},"key":"a"}', Answer("a", None, b'{"code":3}')),
        (b'{"response":{},"error":{"code":3},"key":"a"}', Answer("a", b"{}", b'{"code":3}')),
        (b'{"response":null,"error":null,"key":"a"}', Answer("a")),
        (b'{"key":"a"}', Answer("a")),
        (b'{"key":"a","response":"text"}', Answer("a", b'"text"')),
        (b'{"key":"\\u00e4 \\ud83d\\ude00","response":{}}', Answer("ä 😀", b"{}")),
        ('{"key":"ä😀","response":{"t":"\u2028"}}'.encode(), Answer("ä😀", '{"t":"\u2028"}'.encode())),
        (b'{"metadata":{"key":"a"},"response":{}}', Answer("a", b"{}")),
        (b'{"metadata":{"key":"b"},"key":"a","response":{}}', Answer("a", b"{}")),
        (b'{"metadata":{"key":"a","n":1},"key":null,"response":{}}', Answer("a", b"{}")),
        (b'{"key":"a","response":{"n":1e400}}', Answer("a", b'{"n":1e400}')),
        (VERTEX % (b'""', RESPONSE), Answer("4f0c", RESPONSE, labelled=True)),
        (VERTEX % (b'""', b'{"n":NaN}'), Answer("4f0c", b'{"n":null}', None, True, labelled=True)),
        (
            VERTEX % (b'"Bad Request: {\\"error\\": {\\"code\\": 400, \\"message\\": \\"no\\"}}"', b"{}"),
            Answer("4f0c", b"{}", b'{"code": 400, "message": "no"}', labelled=True),
        ),
        (
            VERTEX % (b'"Error: {\\"error\\": {\\"code\\": 429}} (later)"', b"{}"),
            Answer("4f0c", b"{}", b'{"code": 429}', labelled=True),
        ),
        (
            VERTEX % (b'"Bad Request: {not JSON}"', b"{}"),
            Answer("4f0c", b"{}", b'"Bad Request: {not JSON}"', labelled=True),
        ),
        (b'{"key":"a","request":{"labels":{"gemini-batch-key":"b"}},"response":{}}', Answer("a", b"{}")),
        (b'{"key":"a","request":[],"response":{}}', Answer("a", b"{}")),
    ],
)
def test_lines_with_a_key_are_answers(line: bytes, expected: Answer) -> None:
    assert parse_line(line) == expected


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b'""', None),
        (b'"OK"', None),
        (b'"ok"', None),
        (b"null", None),
        (b"{}", None),
        (b'{"code":0}', None),
        (b'{"code": 0, "message": ""}', None),
        (b'{"code":3}', b'{"code":3}'),
        (b'{"message":"bad"}', b'{"message":"bad"}'),
        (b'"Bad Request: {}"', b'"Bad Request: {}"'),
        (b"7", b"7"),
    ],
)
def test_status_is_an_error_where_it_says_something(status: bytes, error: bytes | None) -> None:
    assert parse_line(b'{"status":%s,"response":{},"key":"a"}' % status) == Answer("a", b"{}", error)


def test_error_comes_before_status() -> None:
    line = b'{"status":"Bad","error":{"code":3},"key":"a"}'
    assert parse_line(line) == Answer("a", None, b'{"code":3}')


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "NOT_JSON"),
        (b"<html>", "NOT_JSON"),
        (b'{"response":{"candidates":[{"content', "NOT_JSON"),
        (b'{"key":"a"} {"key":"b"}', "NOT_JSON"),
        (b'{"key":' + b"1" * 5000 + b"}", "NO_KEY"),
        (b'{"key":"a","response":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "NOT_JSON"),
        (b'{"key":"\xff","response":{}}', "NOT_UTF8"),
        (b'{"key":"a","response":{"t":"\xc3"}}', "NOT_UTF8"),
        (b"[]", "NOT_AN_OBJECT"),
        (b'["key"]', "NOT_AN_OBJECT"),
        (b"null", "NOT_AN_OBJECT"),
        (b'"NaN"', "NOT_AN_OBJECT"),
        (b"NaN", "NOT_AN_OBJECT"),
        (b'{"response":{}}', "NO_KEY"),
        (b'{"response":{},"key":null}', "NO_KEY"),
        (b'{"response":{},"key":""}', "NO_KEY"),
        (b'{"response":{},"metadata":{}}', "NO_KEY"),
        (b'{"response":{},"metadata":"a"}', "NO_KEY"),
        (b'{"response":{},"metadata":{"key":""}}', "NO_KEY"),
        (b'{"response":{},"key":7}', "KEY_NOT_TEXT"),
        (b'{"response":{},"key":["a"]}', "KEY_NOT_TEXT"),
        (b'{"response":{},"key":true}', "KEY_NOT_TEXT"),
        (b'{"response":{},"metadata":{"key":7}}', "KEY_NOT_TEXT"),
    ],
)
def test_lines_without_a_usable_key_are_none(line: bytes, reason: str) -> None:
    found = parse_line(line)
    assert isinstance(found, NotAnAnswer)
    assert found.reason == reason
    assert found.message
    assert parse_generated(line) == found


@pytest.mark.parametrize(
    ("line", "response"),
    [
        (rb'{"key":"a","response":{"t":"x\ud83dy"}}', {"t": "x\ufffdy"}),
        (rb'{"key":"a","response":{"t":"\udc00\ud83d"}}', {"t": "\ufffd\ufffd"}),
        (b'{"key":"a","response":{"v":[1.5,NaN,-Infinity]}}', {"v": [1.5, None, None]}),
        ('{"key":"a","response":{"v":NaN,"t":"ä"}}'.encode(), {"v": None, "t": "ä"}),
    ],
)
def test_what_is_nearly_json_is_repaired_and_says_so(line: bytes, response: object) -> None:
    found = parse_line(line)
    assert isinstance(found, Answer)
    assert found.repaired
    assert found.response is not None
    assert json.loads(found.response, parse_constant=pytest.fail) == response
    assert response_in(line) == found.response
    assert parse_generated(line) == found


def test_a_repaired_line_keeps_its_good_pairs_and_great_numbers() -> None:
    found = parse_line(rb'{"key":"a","response":{"t":"\ud83d\ude00","n":12345678901234567890123,"v":NaN}}')
    assert isinstance(found, Answer)
    assert found.response == '{"t":"😀","n":12345678901234567890123,"v":null}'.encode()


@given(st.binary(max_size=60))
@example(b'{"key":"a"}')
def test_any_bytes_are_read(data: bytes) -> None:
    found = parse_line(data)
    assert isinstance(found, NotAnAnswer) or found.key


@given(st.text(min_size=1), st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=3))
def test_any_key_comes_back_with_its_own_bytes(key: str, response: dict[str, object]) -> None:
    body = json.dumps(response, ensure_ascii=False).encode()
    line = b'{"response":%s,"key":%s}' % (body, json.dumps(key).encode())
    assert parse_line(line) == Answer(key, body)


@pytest.mark.parametrize(
    "request_", [b"null", b"{}", b'{"labels":null}', b'{"labels":{"team":"a"}}', b'{"labels":[]}', b"7"]
)
def test_a_line_without_key_and_label_belongs_to_no_request(request_: bytes) -> None:
    found = parse_line(b'{"status":"","request":%s,"response":{}}' % request_)
    assert isinstance(found, NotAnAnswer)
    assert found.reason == "NO_KEY"


def test_the_response_of_a_line_with_a_label() -> None:
    line = VERTEX % (b'""', RESPONSE)
    assert response_in(line) == RESPONSE
    generated = parse_generated(line)
    assert isinstance(generated, Answer)
    assert (generated.key, generated.labelled) == ("4f0c", True)
    assert generated.generated is not None
