"""Decoding one line strictly, and saying in plain words what is wrong with one that is not JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.jsonl import NotJson, decode, encode


@pytest.mark.parametrize(
    ("data", "message", "column"),
    [
        (b"", "expecting value", 1),
        (b"   ", "expecting value", 4),
        (b"{", "expecting property name", 2),
        (b'{"a": 1', "expecting ',' delimiter", 8),
        (b'{"a": [1, 2}', "expecting ',' delimiter", 12),
        (b'{"a": 1,}', "there is an extra comma before the closing bracket", 9),
        (b"[1, 2,]", "there is an extra comma before the closing bracket", 7),
        (b'{"a": [1 , ] }', "there is an extra comma before the closing bracket", 12),
        (b"[,]", "there is an extra comma before the closing bracket", 3),
        (b"[1,,]", "there is an extra comma before the closing bracket", 5),
        (b"[1,,2]", "expecting value", 4),
        (b"[1,", "expecting value", 4),
        (b"{'a': 1}", "expecting property name enclosed in double quotes", 2),
        (b"{a: 1}", "expecting property name enclosed in double quotes", 2),
        (b'{"a" 1}', "expecting ':' delimiter", 6),
        (b'{"a": "b}', "unterminated string", 7),
        (b'{"a": "\\x"}', "invalid \\escape", 8),
        (b'{"a": "\\u12"}', "invalid \\uXXXX escape", 9),
        (b'{"a": "tab\there"}', "invalid control character", 11),
        (b"{} {}", "there is more text after the first JSON value", 4),
        (b'{"a": 1}{"b": 2}', "there is more text after the first JSON value", 9),
        (b'{"a": 1},', "there is more text after the first JSON value", 9),
        (b"// note\n{}", "expecting value", 1),
        (b'{"a": True}', "expecting value", 7),
        (b'{"a": None}', "expecting value", 7),
        (b'{"a": 01}', "expecting ',' delimiter", 8),
        (b'{"a": +1}', "expecting value", 7),
        (b"hello", "expecting value", 1),
        ('{"ключ": tru}'.encode(), "expecting value", 10),  # columns count characters, not bytes
        ('{"a": "😀", b}'.encode(), "expecting property name", 12),
        (b"\xef\xbb\xbf{}", "byte order mark", 1),
        (b"\xff\xfe{\x00}\x00", "not UTF-8 text at byte 1 of the line", 1),
        (b'{"a": "caf\xe9"}', "not UTF-8 text at byte 11 of the line", 11),
        ('{"é": "'.encode() + b'\xe9"}', "not UTF-8 text at byte 9 of the line", 8),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8 text at byte 8 of the line", 8),
        (b'{"a": "\xc0\xaf"}', "not UTF-8 text at byte 8 of the line", 8),
        (b'{"a": NaN}', "NaN is not JSON", None),
        (b'{"a": [Infinity]}', "Infinity is not JSON", None),
        (b'{"a": -Infinity}', "-Infinity is not JSON", None),
        (b'{"a": "\\ud800"}', "half of a surrogate pair", None),
        (b'{"a": "\\udc00 x"}', "half of a surrogate pair", None),
        (b'{"\\ud800": 1}', "half of a surrogate pair", None),
        (b'{"a": "\\ud83d\\ud83d"}', "half of a surrogate pair", None),
        (b"[" * 100_000, "nested too deeply", None),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply", None),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply", None),
        (b'{"a": 1e999}', "out of range", None),
        (b"[" + b"1" * 5000 + b", NaN]", "NaN is not JSON", None),
        (b"[" + b"1" * 5000 + b",}", "there is an extra comma before the closing bracket", 5003),
        (b"[" + b"1" * 5000 + b"]", "out of range", None),
    ],
)
def test_what_is_wrong_is_said_in_words(data: bytes, message: str, column: int | None) -> None:
    with pytest.raises(NotJson) as caught:
        decode(data)
    assert message.lower() in str(caught.value).lower()
    assert caught.value.column == column
    assert "msgspec" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b' {"a" : 1}\r', {"a": 1}),
        (b'"text"', "text"),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "😀"}),
        (b'{"a":"\xe2\x80\xa8"}', {"a": "\u2028"}),
        (b'{"a":"\\u0000"}', {"a": "\x00"}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"[" * 100 + b"]" * 100, json.loads("[" * 100 + "]" * 100)),
        (b"-0.0", 0.0),
        (b"18446744073709551615", 2**64 - 1),
    ],
)
def test_what_is_json_is_decoded(data: bytes, value: Any) -> None:
    assert decode(data) == value


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_what_was_encoded_is_one_line_and_decodes_to_itself(value: Any) -> None:
    data = encode(value)
    assert b"\n" not in data
    assert decode(data) == value
    assert decode(json.dumps(value).encode()) == value


def explained(data: bytes) -> bool:
    """Whether the line is refused; with words and a column inside the line, or none."""
    try:
        decode(data)
    except NotJson as error:
        return bool(str(error)) and (error.column is None or 1 <= error.column <= len(data) + 1)
    return False


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_explained(data: bytes) -> None:
    if not explained(data):
        value = decode(data)
        assert not isinstance(value, float) or math.isfinite(value)
        json.loads(data)


@given(VALUES, st.integers(min_value=0), st.binary(min_size=1, max_size=3))
def test_a_damaged_line_is_a_value_or_explained(value: Any, at: int, damage: bytes) -> None:
    data = bytearray(encode(value))
    place = at % (len(data) + 1)
    data[place : place + 1] = damage
    if not explained(bytes(data)):
        decode(bytes(data))


@given(VALUES)
def test_a_line_that_was_cut_is_explained(value: Any) -> None:
    data = encode([value])
    assert all(explained(data[:length]) for length in range(len(data)))
