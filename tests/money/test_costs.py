"""What one answer costs, by hand; and what sums of costs are."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.answers.usage import Usage
from gemini_batch.money.costs import cost
from gemini_batch.prices import ZERO, Kind, PriceUsed, Spend, Unpriced, total

TODAY = dt.date(2026, 11, 22)


def usage(**counts: int) -> Usage:
    return Usage(**counts, known=True)


@pytest.mark.parametrize(
    ("model", "used", "batch", "interactive"),
    [
        # Of 1,300,000 tokens 200,000 came from a cache and 100,000 are sound that did not.
        (
            "gemini-3-flash-preview",
            usage(input=1_300_000, cached=200_000, audio_input=100_000, output=500_000),
            {"input": "0.25", "cached": "0.01", "audio_input": "0.05", "output": "0.75"},
            "2.11",
        ),
        (
            "gemini-3-flash-preview",
            usage(input=100_000, cached=90_000, cached_audio=40_000, audio_input=45_000),
            {"input": "0.00125", "cached": "0.0025", "cached_audio": "0.004", "audio_input": "0.0025"},
            "0.014",
        ),
        (
            "gemini-3-flash-preview",
            usage(thoughts=1_000, tool_use=2_000),
            {"thoughts": "0.0015", "tool_use": "0.0005"},
            "0.004",
        ),
        # Sound costs the same as text, also in a cache.
        (
            "gemini-3.5-flash-lite",
            usage(input=3_000, cached=1_000, audio_input=2_000, cached_audio=500),
            {"input": "0.000075", "audio_input": "0.000225", "cached": "0.00001", "cached_audio": "0.00001"},
            "0.00063",
        ),
        # Images and video in a prompt cost what text does, where they have no price of their own.
        (
            "gemini-3.8-flash",
            usage(input=1_000, image_input=258, video_input=300),
            {"input": "0.00016575", "image_input": "0.00009675", "video_input": "0.0001125"},
            "0.00075",
        ),
        (
            "gemini-embedding-2",
            usage(input=1_000, image_input=258, video_input=300),
            {"input": "0.0000442", "image_input": "0.00005805", "video_input": "0.0018"},
            "0.0038045",
        ),
        ("gemini-3.1-pro-preview", usage(input=200_000, output=2_000), {"input": "0.2", "output": "0.012"}, "0.424"),
        (
            "gemini-3.1-pro-preview",
            usage(input=300_000, cached=100_000, output=2_000),
            {"input": "0.4", "cached": "0.04", "output": "0.018"},
            "0.876",
        ),
        # No other price for long prompts: the same price.
        ("gemini-3.8-flash", usage(input=300_000), {"input": "0.1125"}, "0.225"),
        (
            "gemini-3-pro-image",
            usage(input=100, output=1_300, image_output=1_290),
            {"input": "0.0001", "output": "0.00006", "image_output": "0.0774"},
            "0.15512",
        ),
        (
            "gemini-3.8-flash-tts",
            usage(input=1_000, output=32_000, audio_output=32_000),
            {"input": "0.00025", "audio_output": "0.144"},
            "0.2885",
        ),
        ("gemini-embedding-001", usage(input=2_000_000), {"input": "0.15"}, "0.3"),
        # Each query counts, or each prompt that made any.
        ("gemini-3.8-flash", usage(searches=3), {"search": "0.042"}, "0.042"),
        ("gemini-2.5-flash", usage(searches=3, maps=1), {"search": "0.035", "maps": "0.025"}, "0.06"),
        ("gemini-3.8-flash", usage(), {}, "0"),
        ("models/gemini-3.8-flash", usage(input=1_000_000), {"input": "0.375"}, "0.75"),
    ],
)
def test_cost_by_hand(model: str, used: Usage, batch: dict[str, str], interactive: str) -> None:
    found = cost(used, model, TODAY)
    by_hand = {Kind(kind): Decimal(usd) for kind, usd in batch.items()}
    assert found.by_kind == by_hand
    assert (found.interactive, found.at_least) == (Decimal(interactive), False)
    assert found.exact == found.batch == sum(by_hand.values(), Decimal(0))


@pytest.mark.parametrize(
    ("model", "used", "batch", "left"),
    [
        ("gemini-3.8-flash", usage(input=10, audio_input=4), "0.00000225", {("price", "audio_input"): 4}),
        ("gemini-3-flash-preview", usage(output=10, image_output=4), "0.000009", {("price", "image_output"): 4}),
        ("gemini-embedding-001", usage(output=3), None, {("price", "output"): 3}),
        ("gemini-3.1-flash-image", usage(input=8, cached=8), None, {("price", "cached"): 8}),
        ("gemini-3.1-pro-preview", usage(input=300_000, audio_input=1), "0.599998", {("price", "audio_input"): 1}),
        ("gemini-99-ultra", usage(input=10, searches=2), None, {("price", None): 1}),
        ("gemini-flash-latest", usage(input=10), None, {("price", None): 1}),
        ("gemini-3-pro-preview", usage(input=10), None, {("price", None): 1}),
        ("gemini-robotics-er-2-preview", usage(input=10, searches=2), "0.000005", {("price", "search"): 2}),
        ("gemini-robotics-er-2-preview", usage(input=10, maps=1), "0.000005", {("price", "maps"): 1}),
        # Each query of Google Maps is paid for, and answers do not state them.
        ("gemini-3.8-flash", usage(input=1_000, maps=1), "0.000375", {("searches", "maps"): 1}),
        ("gemini-3.8-flash", Usage(input=1_000), "0.000375", {("usage", None): 1}),
        ("gemini-3.8-flash", Usage(), None, {("usage", None): 1}),
        ("gemini-99-ultra", Usage(), None, {("usage", None): 1}),
    ],
)
def test_what_has_no_price_is_named_and_does_not_count_as_nothing(
    model: str, used: Usage, batch: str | None, left: dict[tuple[str, str | None], int]
) -> None:
    found = cost(used, model, TODAY)
    assert found.batch == (None if batch is None else Decimal(batch))
    assert (found.exact, found.at_least) == (None, True)
    assert {(one.why, one.kind and one.kind.value): count for one, count in found.unpriced.items()} == left
    assert {one.model for one in found.unpriced} == {model}


def test_the_price_of_the_day_counts() -> None:
    used = usage(input=1_000_000)
    before, after = (cost(used, "gemini-4-argon", dt.date(2026, *day)) for day in ((11, 30), (12, 1)))
    assert (before.exact, after.exact) == (Decimal(1), Decimal(2))
    assert {one.start for one in (before + after).prices} == {dt.date(2026, 10, 13), dt.date(2026, 12, 1)}
    assert (before + after).exact == 3


@pytest.mark.parametrize(
    "given",
    [
        {"promptTokenCount": 8, "candidatesTokenCount": 4},
        {"usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 4}, "text": "x"},
        {
            "candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 4},
            "text": "x",
        },
        Usage(input=8, output=4, known=True),
    ],
)
def test_usage_in_any_form(given: Any) -> None:
    assert cost(given, "gemini-3.8-flash", TODAY).exact == Decimal("0.0000105")


def test_a_response_tells_its_searches_and_an_embedding_its_tokens() -> None:
    grounded = {
        "candidates": [{"content": {"parts": [{"text": "x"}]}, "groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
        "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 4},
    }
    assert cost(grounded, "gemini-3.8-flash", TODAY).exact == Decimal("0.0280105")
    assert cost({"embedding": {"values": [1.0]}, "tokenCount": 20}, "gemini-embedding-001", TODAY).exact == Decimal(
        "0.0000015"
    )
    assert cost({"candidates": 7}, "gemini-3.8-flash", TODAY).exact is None


# Sums

spends = st.builds(
    cost,
    st.builds(
        Usage,
        input=st.integers(0, 500_000),
        output=st.integers(0, 10**6),
        thoughts=st.integers(0, 10**6),
        searches=st.integers(0, 3),
        maps=st.integers(0, 1),
        known=st.booleans(),
    ),
    st.sampled_from(["gemini-3.8-flash", "gemini-2.5-flash", "gemini-99-ultra", "gemini-embedding-001"]),
    st.sampled_from([TODAY, dt.date(2027, 1, 1)]),
)


@given(spends, spends, spends)
def test_costs_add_up_in_any_order(one: Spend, two: Spend, three: Spend) -> None:
    assert (one + two) + three == one + (two + three)
    assert one + two == two + one
    assert one + Spend() == one
    assert total([one, two, three]).priced == one.priced + two.priced + three.priced


def test_nothing_is_known_to_be_nothing_and_something_unknown_is_not() -> None:
    unknown = Spend(unpriced={Unpriced("usage", "m"): 1})
    assert (Spend().batch, Spend().exact) == (ZERO, ZERO)
    assert (unknown.batch, unknown.exact) == (None, None)
    known = Spend({Kind.INPUT: Decimal(1)}, Decimal(2), prices=frozenset({PriceUsed("m", None, None, True)}))
    assert ((known + unknown).batch, (known + unknown).exact, (known + unknown).interactive) == (
        Decimal(1),
        None,
        Decimal(2),
    )
    without = Spend({Kind.INPUT: Decimal(1)}, None)
    assert (known + without).interactive is None
