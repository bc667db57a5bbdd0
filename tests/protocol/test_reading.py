"""Values as protobuf JSON reads them, in every spelling that it takes."""

from __future__ import annotations

from typing import Any

import pytest

from gemini_batch.protocol.reading import Reader, is_base64, scalar


@pytest.mark.parametrize(
    "text", ["", "AA==", "AAA=", "AAAA", "AA", "AAA", "-_A=", "+/A=", "AAAA\nAAAA\r\n", " A A A A "]
)
def test_base64(text: str) -> None:
    """Both alphabets, with and without padding, and white space."""
    assert is_base64(text)


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=", "AAAA=", "A===", "=AAA", "AA==AA", "päth", "a.b", "data:x,AAAA"])
def test_what_is_no_base64(text: str) -> None:
    """An impossible length, padding at a wrong place, other characters."""
    assert not is_base64(text)


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("i", 5.0, 5),
        ("i", "5", 5),
        ("i", "-5", -5),
        ("i", 5.5, None),
        ("i", "5.0", None),
        ("i", 2**31, None),
        ("i", True, None),
        ("i", "1_0", None),
        ("l", 5, "5"),
        ("l", 2**63, None),
        ("l", 10**30, None),
        ("f", "0.5", 0.5),
        ("f", "1e5", 1e5),
        ("f", "-Infinity", float("-inf")),
        ("f", "1_0", None),
        ("f", " 1", None),
        ("f", True, None),
        ("s", 1, None),
        ("b", "true", None),
        ("o", [], None),
        ("d", "3.5s", "3.5s"),
        ("d", "3", None),
        ("d", "3.5 s", None),
        ("t", "2026-11-25T08:00:00.5Z", "2026-11-25T08:00:00.5Z"),
        ("t", "2026-11-25T08:00:00+01:00", "2026-11-25T08:00:00+01:00"),
        ("t", "2026-11-25 08:00", None),
        ("t", "2026-13-25T08:00:00Z", None),
    ],
)
def test_scalars(kind: str, value: Any, read: Any) -> None:
    """In canonical form, or None."""
    assert scalar(kind, value) == read


@pytest.mark.parametrize(
    ("value", "made"),
    [("LOW", "LOW"), ("low", "LOW"), (2, "LOW"), (2.0, "LOW"), (2.5, None), (99, None), ("HIHG", None)],
)
def test_enum_values(value: Any, made: str | None) -> None:
    """Words in any case, and numbers."""
    reader = Reader()
    assert reader.read("ThinkingConfig", {"thinking_level": value}) == {"thinkingLevel": made}
    assert bool(reader.violations) is (made is None)


def test_what_is_noted_besides() -> None:
    """Single values for lists, and what is newer than the schema, at their places."""
    reader = Reader()
    reader.read("GenerateContentRequest", {"contents": {"parts": {"text": "x"}}, "labels": {"a": "b"}}, ("request",))
    assert reader.singles == [("request", "contents"), ("request", "contents", "parts")]
    assert reader.newer == [("request", "labels")]
    assert not reader.violations


def test_the_same_field_twice() -> None:
    """In two spellings: the second is refused."""
    reader = Reader()
    assert reader.read("GenerationConfig", {"topP": 1, "top_p": 0.5}) == {"topP": 1}
    assert [one.described for one in reader.violations] == [
        "Invalid value at 'top_p' (top_p), the field is already set."
    ]
