"""Estimates as values: how long answers will be, how many tokens prompts have, and what that costs."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.answers.usage import Usage
from gemini_batch.money.book import default_book
from gemini_batch.money.estimates import (
    FEWEST,
    Cost,
    Lengths,
    Range,
    answer_tokens,
    counted_tokens,
    expected_cost,
)

DAY = dt.date(2026, 11, 26)


lengths = Lengths.of


def test_the_first_source_with_enough_answers_counts() -> None:
    few, many = lengths([10] * (FEWEST - 1)), lengths([20] * FEWEST)

    assert answer_tokens(100, {"trial": many}, None) == (Range(2000, 2000, 2000), "trial", FEWEST)
    assert answer_tokens(100, {"trial": few, "history": many}, None)[1:] == ("history", FEWEST)
    assert answer_tokens(100, {"trial": few}, 5000) == (Range(0, None, 5000), "bound", 0)
    assert answer_tokens(100, {}, None) == (Range(0, None, None), "bound", 0)


def test_what_requests_allow_bounds_what_is_expected() -> None:
    assert answer_tokens(100, {"trial": lengths([10, 30] * 10)}, 1500)[0] == Range(1500, 1500, 1500)


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


PRICE = default_book().price_on("gemini-3-flash-preview", DAY)
MILLION = Range(1_000_000, 1_000_000, 1_000_000)


def used(answers: int = 10, *, long: bool = False, **usage: int) -> dict[str, int]:
    """What some answers used, in sums."""
    sums = dict.fromkeys(Usage.__struct_fields__, 0) | usage
    searched = min(answers, sums["searches"])
    return sums | {"answers": answers, "known": answers, "uncounted": 0, "searched": searched, "long": int(long)}


def test_without_earlier_answers_all_tokens_are_text() -> None:
    found = expected_cost(10, MILLION, MILLION, PRICE, [])

    assert found == Cost(Decimal("1.75"), Decimal("1.75"), Decimal("1.75"), Decimal(0), Decimal("3.5"))


@pytest.mark.parametrize(
    ("model", "sums", "expected"),
    [
        ("gemini-3-flash-preview", used(input=70, output=3, thoughts=4), "1.75"),
        ("gemini-3-flash-preview", used(input=100, audio_input=100, output=1), "2"),  # 0.5 + 1.5
        ("gemini-3.1-flash-image", used(input=1, output=40, image_output=40), "30.25"),  # 0.25 + 30
        ("gemini-3.1-flash-image", used(input=1, output=40, image_output=20), "16"),  # 0.25 + (30 + 1.5) / 2
        ("gemini-2.5-pro", used(input=210_000, output=10, long=True), "8.75"),  # 1.25 + 7.5
        ("gemini-3-flash-preview", used(input=10, tool_use=30, output=1), "2.5"),  # 4 x 0.25 + 1.5
    ],
)
def test_the_kinds_of_earlier_tokens_give_the_rates(model: str, sums: dict[str, int], expected: str) -> None:
    found = expected_cost(10, MILLION, MILLION, default_book().price_on(model, DAY), [sums])

    assert found.expected == Decimal(expected)
    assert found.low == found.expected == found.high
    assert found.interactive == 2 * Decimal(expected)
    assert found.charges == 0


@pytest.mark.parametrize(
    ("model", "sums", "charges"),
    [
        ("gemini-3-flash-preview", used(searches=30), "4.2"),  # 300 queries
        ("gemini-2.5-flash", used(searches=30), "3.5"),  # 100 prompts
        ("gemini-2.5-flash", used(maps=5), "1.25"),  # 50 prompts
    ],
)
def test_searches_are_as_frequent_as_before(model: str, sums: dict[str, int], charges: str) -> None:
    none = Range(0, 0, 0)
    found = expected_cost(100, none, none, default_book().price_on(model, DAY), [sums])

    assert found.expected == found.charges == found.interactive == Decimal(charges)
    assert found.low is not None
    assert found.high is not None
    assert found.low < Decimal(charges) < found.high
    fewer = expected_cost(100, none, none, default_book().price_on(model, DAY), [sums] * 100)
    assert fewer.low is not None
    assert fewer.low > found.low


def test_what_nothing_tells_is_unknown() -> None:
    none = Range(0, 0, 0)
    # Paid by query, which answers do not state:
    assert expected_cost(10, MILLION, none, PRICE, [used(maps=5, input=10)]) == Cost(
        Decimal("0.25"), None, None, None, None
    )
    assert expected_cost(10, MILLION, MILLION, None, []) == Cost(None, None, None, None, None)
    assert expected_cost(10, none, none, None, []) == Cost(Decimal(0), Decimal(0), Decimal(0), Decimal(0), Decimal(0))
    uncacheable = default_book().price_on("gemini-3.1-flash-image", DAY)
    assert expected_cost(10, MILLION, none, uncacheable, [used(input=10, cached=10)]).expected is None
    assert expected_cost(10, Range(7, None, None), MILLION, PRICE, []).expected is None
    assert expected_cost(10, MILLION, Range(0, None, 10), PRICE, []) == Cost(
        Decimal("0.25"), None, Decimal("0.250015"), None, None
    )
