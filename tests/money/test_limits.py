"""Prices of bounds, and the days and months of limits: tables, without a run."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.money.book import default_book
from gemini_batch.money.limits import PICO, RowPrices, day_of, month_of, nano, row_prices, usd
from gemini_batch.money.row_bounds import PICTURES, SOUND, TEXT, UNBOUNDED

BOOK = default_book()


def at(day: str) -> float:
    return dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC).timestamp()


def prices(model: str, day: str, answer: int | None = None) -> RowPrices | None:
    return row_prices(BOOK, model, at(day), answer=answer)


@pytest.mark.parametrize(
    ("model", "day", "output"),
    [
        ("gemini-4-argon", "2026-11-27T23:59:59", 5.0),
        ("gemini-4-argon", "2026-11-28T00:00:00", 10.0),
        ("gemini-4-argon", "2026-12-01T00:00:00", 10.0),
        ("models/gemini-4-argon", "2026-12-01T00:00:00", 10.0),
        # From its last day on, another model answers at its own price.
        ("gemini-2.5-flash", "2026-11-27T23:59:59", 1.25),
        ("gemini-2.5-pro", "2026-11-28T00:00:00", 7.5),
        # One that is about to go answers nothing from its last day on, so its price stays known.
        ("gemini-3.1-flash-lite", "2027-05-04T00:00:00", 0.75),
        ("gemini-3.1-flash-lite", "2027-05-06T23:59:59", 0.75),
        ("gemini-3.1-flash-lite", "2027-05-07T00:00:00", None),
        ("gemini-4-argon", "2026-01-01T00:00:00", None),
        ("a-model-of-mine", "2026-11-27T00:00:00", None),
    ],
)
def test_the_highest_price_that_can_apply(model: str, day: str, output: float | None) -> None:
    found = prices(model, day)
    assert (None if found is None else found.output / 1e6) == output


def test_what_an_embedding_and_a_picture_cost_at_most() -> None:
    embeds, draws = prices("gemini-embedding-2", "2026-11-27"), prices("gemini-3-pro-image", "2026-11-27", 10)
    assert embeds is not None
    assert embeds.most(TEXT, 100, 0) == 100 * (embeds.text or 0) > 0
    assert draws is not None
    assert draws.most(TEXT, 100, 10) is None, "nobody says that maxOutputTokens limits pictures"


ROW = RowPrices(text=2, pictures=3, sound=5, output=7, prompt_limit=1000, answer_limit=100)


@pytest.mark.parametrize(
    ("row", "bound", "most"),
    [
        (ROW, (TEXT, 10, 20), 10 * 2 + 20 * 7),
        (ROW, (PICTURES, None, 20), 1000 * 3 + 20 * 7),
        (ROW, (SOUND, None, None), 1000 * 5 + 100 * 7),
        (ROW, (TEXT, 5000, None), 1000 * 2 + 100 * 7),
        (ROW, (TEXT, 10, 0), 10 * 2),
        (ROW, (UNBOUNDED, 10, 20), None),
        (ROW._replace(answer=50), (TEXT, 10, 20), 10 * 2 + 50 * 7),
        (ROW._replace(answer=50), (TEXT, 10, 0), 10 * 2),
        (ROW._replace(answer_limit=None), (TEXT, 10, None), None),
        (ROW._replace(answer_limit=None, answer=50), (TEXT, 10, None), 10 * 2 + 50 * 7),
        (ROW._replace(prompt_limit=None), (SOUND, None, 20), None),
        (ROW._replace(sound=None), (SOUND, None, 20), None),
    ],
    ids=str,
)
def test_what_a_request_costs_at_most(
    row: RowPrices, bound: tuple[int, int | None, int | None], most: int | None
) -> None:
    assert row.most(*bound) == most


@given(stamp=st.floats(1.5e9, 4e9) | st.integers(17_000, 47_000).map(lambda day: day * 86_400.0))
def test_a_time_is_in_one_day_and_one_month(stamp: float) -> None:
    for period in (day_of, month_of):
        begin, end = period(stamp)
        assert begin <= stamp < end
        assert period(begin) == (begin, end)
        assert period(end)[0] == end
    assert dt.datetime.fromtimestamp(month_of(stamp)[0], dt.UTC).day == 1


@given(amount=st.decimals(0, 1_000_000, allow_nan=False))
def test_amounts_are_rounded_up(amount: Decimal) -> None:
    """So that what is proposed as a limit is never less than what it has to hold."""
    assert Decimal(nano(amount)) >= amount * 10**9 > nano(amount) - 1
    assert Decimal(usd(nano(amount))) * 10**9 >= nano(amount)
    assert PICO * 1000 == 10**6
