"""Estimates as values: how long answers will be, how many tokens prompts have, and what that costs."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.money.book import default_book
from gemini_batch.money.estimates import FEWEST, Lengths, Range, answer_tokens, counted_tokens, token_cost

DAY = dt.date(2026, 11, 26)


def lengths(values: list[int]) -> Lengths:
    return Lengths(len(values), sum(values), sum(value * value for value in values))


def test_the_first_source_with_enough_answers_counts() -> None:
    few, many = lengths([10] * (FEWEST - 1)), lengths([20] * FEWEST)

    assert answer_tokens(100, {"trial": many}, None) == (Range(2000, 2000, 2000), "trial", FEWEST)
    assert answer_tokens(100, {"trial": few, "history": many}, None)[1:] == ("history", FEWEST)
    assert answer_tokens(100, {"trial": few}, 5000) == (Range(0, None, 5000), "bound", 0)
    assert answer_tokens(100, {}, None) == (Range(0, None, None), "bound", 0)


def test_what_requests_allow_bounds_what_is_expected() -> None:
    assert answer_tokens(100, {"trial": lengths([10, 30] * 10)}, 1500)[0] == Range(1550, 1500, 1500)._replace(
        low=answer_tokens(100, {"trial": lengths([10, 30] * 10)}, None)[0].low
    )


@given(st.lists(st.integers(0, 5000), min_size=FEWEST, max_size=50), st.integers(1, 10_000))
def test_a_range_holds_what_is_expected(values: list[int], requests: int) -> None:
    found = answer_tokens(requests, {"trial": lengths(values)}, None)[0]
    assert found.expected is not None
    assert found.high is not None
    assert 0 <= found.low <= found.expected <= found.high


def test_the_range_holds_the_truth_nineteen_times_of_twenty() -> None:
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        trial, rest = ([round(chance.gammavariate(2, 300)) for _ in range(count)] for count in (40, 500))
        found = answer_tokens(len(rest), {"trial": lengths(trial)}, None)[0]
        assert found.high is not None
        held += found.low <= sum(rest) <= found.high
    assert 0.91 <= held / 400 <= 0.99


def test_lengths_can_be_added() -> None:
    assert lengths([1, 2]) + lengths([3]) == lengths([1, 2, 3])


@pytest.mark.parametrize("among", [True, False])
def test_counts_correct_an_estimate_that_is_always_wrong_by_the_same(among: bool) -> None:
    sample = [(10, 15), (20, 30), (40, 60)]
    assert counted_tokens(sample, 100, 2000, among=among) == Range(3000, 3000, 3000)


def test_when_all_prompts_are_counted_the_sum_is_exact() -> None:
    assert counted_tokens([(10, 7), (3, 100)], 2, 13, among=True) == Range(107, 107, 107)
    assert counted_tokens([(10, 7), (3, 100)], 2, 13, among=False).low < 107


def test_the_range_of_counted_prompts_holds_the_truth_nineteen_times_of_twenty() -> None:
    chance = random.Random(11)
    held = 0
    for _ in range(400):
        prompts = [(size := chance.randint(20, 400), round(size * chance.uniform(0.7, 1.3))) for _ in range(600)]
        found = counted_tokens(prompts[:60], 600, sum(guess for guess, _ in prompts), among=True)
        assert found.high is not None
        held += found.low <= sum(count for _, count in prompts) <= found.high
    assert 0.91 <= held / 400 <= 0.99


def test_token_cost() -> None:
    price = default_book().price_on("gemini-3-flash-preview", DAY)

    assert token_cost(1_000_000, 1_000_000, price) == Decimal("0.25") + Decimal("1.5")
    assert token_cost(1_000_000, 1_000_000, price, interactive=True) == Decimal("0.5") + Decimal(3)
    assert token_cost(None, 1, price) is token_cost(1, None, price) is token_cost(1, 1, None) is None
    assert token_cost(0, 0, price) == 0
