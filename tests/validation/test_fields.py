"""What a wrong name probably means, and that no foreign word is a name of the service."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.validation import fields


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
        ("sequences", "stopSequences"),
        ("Config", None),
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
