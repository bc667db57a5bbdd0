"""What answers teach the estimates."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.tokens.estimate import Estimate, estimate_line, estimate_lines
from gemini_batch.tokens.learning import LEAST, Observed, key_of, learn, observe
from gemini_batch.tokens.media import Range

MODEL = "gemini-3-flash-preview"


def estimated(tokens: int, rows: int = 1) -> Estimate:
    return Estimate(rows=rows, range=Range(tokens * 500, tokens * 1000, tokens * 2000))


def seen(*pairs: tuple[int, int]) -> Observed:
    total = Observed()
    for expected, counted in pairs:
        total = total.plus(observe(estimated(expected), counted))
    return total


def test_the_expected_number_moves_to_what_was_counted() -> None:
    found = learn(estimated(10_000, rows=100), seen(*[(100, 130 + wobble % 3) for wobble in range(50)]))
    assert found.tokens == pytest.approx(13_100, rel=0.01)
    assert found.low <= found.tokens <= found.high
    assert found.basis == "learned from 50 rows here"
    assert found.measured


def test_the_band_narrows_with_more_rows_and_never_below_two_percent() -> None:
    general, widths = estimated(10_000, rows=100), []
    for rows in (5, 20, 200, 2000):
        found = learn(general, seen(*[(100, 90 if at % 2 else 110) for at in range(rows)]))
        widths.append((found.high - found.low) / found.tokens)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] < (general.high - general.low) / general.tokens
    alike = learn(general, seen(*[(100, 120)] * 1000))
    assert alike.tokens == 12_000
    assert [alike.low, alike.high] == pytest.approx([11_760, 12_240], abs=1)


def test_rows_that_differ_much_keep_a_wide_band() -> None:
    one = learn(estimated(100), seen(*[(100, 40 if at % 2 else 160) for at in range(50)]))
    assert one.low < 40
    assert one.high > 160


@pytest.mark.parametrize(
    "observed",
    [Observed(), seen(*[(100, 130)] * (LEAST - 1)), Observed(rows=9, counted=90)],
    ids=["none", "few", "zero"],
)
def test_too_little_teaches_nothing(observed: Observed) -> None:
    assert learn(estimated(100), observed) == estimated(100)


def test_what_is_unknown_stays_unknown() -> None:
    general = Estimate(rows=2, range=Range(50, 100, 200), unknown={"audio": 2})
    assert learn(general, seen(*[(10, 11)] * 9)).unknown == {"audio": 2}


@pytest.mark.parametrize(
    "wrong", [Estimate(rows=2), Estimate(), Estimate(rows=1, learned=9), Estimate(rows=1, unknown={"PDF": 1})]
)
def test_only_the_general_estimate_of_one_known_row_teaches(wrong: Estimate) -> None:
    with pytest.raises(ValueError, match="one row"):
        observe(wrong, 10)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=9), st.integers(0, 9))
def test_sums_do_not_depend_on_how_they_are_added(pairs: list[tuple[int, int]], at: int) -> None:
    assert seen(*pairs) == seen(*pairs[:at]).plus(seen(*pairs[at:])) == seen(*reversed(pairs))


@given(
    st.lists(st.tuples(st.integers(1, 10**5), st.integers(0, 10**5)), min_size=LEAST, max_size=30),
    st.integers(0, 10**7),
)
def test_learned_bands_are_in_order(pairs: list[tuple[int, int]], tokens: int) -> None:
    found = learn(estimated(tokens, rows=3), seen(*pairs))
    assert 0 <= found.range.low <= found.range.tokens <= found.range.high


def test_the_learned_band_holds_in_95_percent_of_batches() -> None:
    """Rows of one template: the service counts 1.2 times the estimate, and each row deviates by itself."""
    dice = random.Random(13)

    def row() -> tuple[int, int]:
        expected = dice.randint(50, 400)
        return expected, max(1, round(expected * 1.2 * dice.gauss(1, 0.15)))

    held = 0
    for _ in range(400):
        observed = seen(*[row() for _ in range(12)])
        batch = [row() for _ in range(40)]
        found = learn(estimated(sum(expected for expected, _ in batch), rows=40), observed)
        held += found.low <= sum(counted for _, counted in batch) <= found.high
    assert held >= 380


def test_keys_tell_models_scripts_and_templates_apart() -> None:
    def line(text: str) -> bytes:
        return json.dumps({"request": {"contents": [{"parts": [{"text": text}]}]}}).encode()

    english, russian = estimate_line(line("Good morning"), MODEL), estimate_line(line("Доброе утро"), MODEL)
    keys = {
        key_of(english, MODEL), key_of(russian, MODEL), key_of(english, "gemini-2.5-pro"), key_of(english, MODEL, "t1"),
        key_of(english, f"models/{MODEL}"),
    }  # fmt: skip
    assert len(keys) == 4
    assert key_of(estimate_lines([line("Good"), line("morning")], MODEL), MODEL) == key_of(english, MODEL)
