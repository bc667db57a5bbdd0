"""The estimates: sums, bands, and what they say about themselves."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.tokens.classes import SCRIPTS
from gemini_batch.tokens.estimate import Estimate, estimate_line, estimate_lines
from gemini_batch.tokens.media import Range

MODEL = "gemini-3-flash-preview"
MODELS = st.sampled_from(
    [MODEL, "gemini-2.0-flash", "gemini-2.5-pro", "gemini-3.8-flash", "gemini-embedding-2", "other"]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["What is the capital of France?", "こんにちは、世界。", "Здравствуй, мир!", '{"a": [1, 2.5]}', "สวัสดี", "🌡️"]
)


def line(*texts: str) -> bytes:
    return json.dumps({"request": {"contents": [{"parts": [{"text": text} for text in texts]}]}}).encode()


@given(TEXTS, MODELS)
def test_bands_are_in_order_and_never_negative(text: str, model: str) -> None:
    found = estimate_line(line(text), model)
    assert 0 <= found.low <= found.tokens <= found.high
    assert not found.unknown


@given(TEXTS, TEXTS, MODELS)
def test_nothing_falls_when_text_is_appended(text: str, more: str, model: str) -> None:
    before, after = estimate_line(line(text), model), estimate_line(line(text + more), model)
    assert all(one <= two for one, two in zip(before.range, after.range, strict=True))


@given(st.lists(TEXTS, max_size=6), MODELS)
def test_lines_have_the_sum_of_their_estimates(texts: list[str], model: str) -> None:
    total = Estimate()
    for text in texts:
        total += estimate_line(line(text), model)
    assert estimate_lines(map(line, texts), model) == total


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the capital of France?", 8),
        ("The quick brown fox jumps over the lazy dog.", 11),
        ("吾輩は猫である。名前はまだ無い。", 10),
        ("안녕하세요, Gemini! 오늘 날씨 어때?", 13),
    ],
)
def test_short_prompts(text: str, expected: int) -> None:
    found = estimate_line(line(text), MODEL)
    assert found.low <= expected <= found.high
    assert abs(found.tokens - expected) <= 3
    assert found.measured
    assert found.basis == "general"


@pytest.mark.parametrize(
    ("model", "overhead"),
    [("gemini-2.0-flash", 0), ("gemini-2.5-flash", 1), (MODEL, 1), ("gemini-flash-latest", 1), ("gemini-4-argon", 1)],
)
def test_each_content_costs_a_token_since_gemini_2_5(model: str, overhead: int) -> None:
    several = json.dumps({"request": {"contents": [{"parts": [{"text": ""}]}] * 10}}).encode()
    assert estimate_line(several, model).tokens == 10 * overhead


@pytest.mark.parametrize(
    ("text", "script", "unmeasured"),
    [
        ("Good morning, 12 °C!", "latin", set()),
        ("Доброе утро, Gemini", "cyrillic", set()),
        ("สวัสดีตอนเช้า", "thai", {"thai"}),
        ("Good morning သာယာ", "latin", {"burmese"}),
        ("", "", set()),
    ],
)
def test_scripts_without_recorded_counts_are_unmeasured(text: str, script: str, unmeasured: set[str]) -> None:
    found = estimate_line(line(text), MODEL)
    assert (found.script, set(found.unmeasured), found.measured) == (script, unmeasured, not unmeasured)


def test_the_band_of_an_unmeasured_script_reaches_to_one_token_for_each_byte() -> None:
    text = "ខ្មែរ" * 10
    found = estimate_line(line(text), MODEL)
    assert found.high >= len(text.encode())


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "gemini-embedding-001", "models/other"])
def test_a_model_without_recorded_counts_is_unmeasured_and_has_a_wider_band(model: str) -> None:
    text = line("What is the capital of France? " * 20)
    found, known = estimate_line(text, model), estimate_line(text, MODEL)
    assert found.unmeasured == {model.removeprefix("models/")}
    assert found.low < known.low
    assert found.tokens == known.tokens
    assert found.high > known.high


def test_what_is_unknown_is_counted_and_not_zero_silently() -> None:
    request = {"contents": [{"parts": [{"fileData": {"fileUri": "u", "mimeType": "audio/mp3"}}]}]}
    audio = json.dumps({"request": request}).encode()
    found = estimate_lines([audio, line("x"), audio, b"{"], MODEL)
    assert (found.rows, found.unknown) == (4, {"audio": 2, "line": 1})


def test_the_ends_are_rounded_outwards() -> None:
    found = Estimate(rows=1, range=Range(1999, 2499, 3001))
    assert (found.low, found.tokens, found.high) == (1, 2, 4)


def test_a_sum_is_learned_only_if_all_is() -> None:
    one, other = Estimate(rows=1, learned=7), Estimate(rows=2, learned=9)
    assert (one + other).basis == "learned from 7 rows here"
    assert (one + dataclasses.replace(other, learned=0)).basis == "general"
    assert (Estimate() + one).learned == (one + Estimate()).learned == 7


def test_scripts_name_known_classes() -> None:
    assert set(estimate_line(line("a é ж 日 か 🌡 –"), MODEL).scripts) <= set(SCRIPTS)
