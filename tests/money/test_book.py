"""Which price holds on a day: the catalog's, the user's own over it, and the highest that can apply."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_batch.catalog import load
from gemini_batch.errors import UsageError
from gemini_batch.money.book import PriceBook, default_book, price_on
from gemini_batch.money.own_prices import parse
from gemini_batch.prices import Fee, Kind
from gemini_batch.session import load_prices

if TYPE_CHECKING:
    from gemini_batch.prices import Price

FILE = Path("prices.toml")
TODAY = dt.date(2026, 11, 26)


def book(text: str) -> PriceBook:
    return PriceBook(load(), parse(text, FILE))


def rate(price: Price | None, kind: Kind = Kind.INPUT) -> Decimal | None:
    return price.batch.of(kind) if price is not None and price.batch is not None else None


OWN = """
[[prices]]
model = "gemini-3.8-flash"
from = 2026-12-01
until = 2027-02-01
batch = { input = 0.3 }
search = { usd = 10, per = "prompt" }

[[prices]]
model = "models/my-model"
batch = { input = 7, output = 8 }
"""


@pytest.mark.parametrize(
    ("day", "input_usd", "output_usd", "search", "own", "start", "until"),
    [
        ("2026-11-30", "0.375", "1.875", 14, False, "2026-10-01", "2027-01-01"),
        ("2026-12-01", "0.3", "1.875", 10, True, "2026-12-01", "2027-01-01"),
        ("2027-01-01", "0.3", "3.75", 10, True, "2027-01-01", "2027-02-01"),
        ("2027-02-01", "0.75", "3.75", 14, False, "2027-01-01", None),
    ],
)
def test_own_prices_replace_the_catalogs_kind_by_kind_on_their_days(
    day: str, input_usd: str, output_usd: str, search: int, own: bool, start: str, until: str | None
) -> None:
    price = price_on("models/gemini-3.8-flash", dt.date.fromisoformat(day), prices=book(OWN))
    assert price is not None
    assert (rate(price), rate(price, Kind.OUTPUT)) == (Decimal(input_usd), Decimal(output_usd))
    assert (price.search is not None and price.search.usd == search, price.own) == (True, own)
    assert (str(price.start), price.until and str(price.until)) == (start, until)
    assert rate(price) == (price.flex and price.flex.of(Kind.INPUT)), "flex costs what a batch does"


def test_a_model_that_only_the_user_prices() -> None:
    price = book(OWN).price_on("my-model", TODAY)
    assert price is not None
    assert (rate(price), price.interactive, price.flex, price.search) == (Decimal(7), None, None, None)
    assert default_book().price_on("my-model", TODAY) is None


def test_long_prompts_have_a_table_of_their_own() -> None:
    text = '[[prices]]\nmodel = "gemini-3.1-pro-preview"\nbatch = { input = 0.5, long = { output = 5 } }\n'
    price = book(text).price_on("gemini-3.1-pro-preview", TODAY)
    assert price is not None
    assert price.batch is not None
    short, long = price.batch.at(long=False), price.batch.at(long=True)
    assert (short.input, short.output, long.input, long.output) == (Decimal("0.5"), Decimal(6), Decimal(2), Decimal(5))


def test_prices_of_a_model_count_for_its_alias_unless_that_has_its_own() -> None:
    text = '[[prices]]\nmodel = "gemini-3-pro-image"\nbatch = { input = 5, output = 6 }\n'
    assert rate(book(text).price_on("nano-banana-pro-preview", TODAY)) == 5
    both = text + '[[prices]]\nmodel = "nano-banana-pro-preview"\nbatch = { input = 4 }\n'
    found = book(both).price_on("nano-banana-pro-preview", TODAY)
    assert (rate(found), rate(found, Kind.OUTPUT)) == (Decimal(4), Decimal(6))


@pytest.mark.parametrize(
    ("model", "days", "input_usd", "output_usd", "search"),
    [
        ("gemini-3.8-flash", ("2026-11-26", "2026-11-28"), "0.375", "1.875", Fee(Decimal(14), "query")),
        ("gemini-3.8-flash", ("2026-12-30", "2027-01-01"), "0.75", "3.75", Fee(Decimal(14), "query")),
        # Long prompts cost more.
        ("gemini-3.1-pro-preview", ("2026-11-26", "2026-11-26"), "2", "9", Fee(Decimal(14), "query")),
        # Another model answers from December on, which costs less; its searches count one by one.
        ("gemini-2.5-pro", ("2026-11-30", "2026-12-02"), "1.25", "7.5", Fee(Decimal(35), "query")),
        ("gemini-2.5-pro", ("2026-11-26", "2026-11-28"), "1.25", "7.5", Fee(Decimal(35), "prompt")),
        ("gemini-robotics-er-2-preview", ("2026-11-26", "2026-11-28"), "0.5", "2.5", None),
    ],
)
def test_the_highest_price_that_can_apply(
    model: str, days: tuple[str, str], input_usd: str, output_usd: str, search: Fee | None
) -> None:
    price = default_book().highest(model, *map(dt.date.fromisoformat, days))
    assert price is not None
    assert (rate(price), rate(price, Kind.OUTPUT), price.search) == (Decimal(input_usd), Decimal(output_usd), search)
    assert price.batch is not None
    assert price.batch.at(long=True) == price.batch


@pytest.mark.parametrize(
    ("model", "days"),
    [
        ("gemini-flash-latest", ("2026-11-26", "2026-11-28")),
        ("gemini-99-ultra", ("2026-11-26", "2026-11-28")),
        # It is gone on the last day.
        ("gemini-3.1-flash-lite", ("2027-05-06", "2027-05-08")),
    ],
)
def test_no_highest_price_where_none_is_known_on_a_day(model: str, days: tuple[str, str]) -> None:
    assert default_book().highest(model, *map(dt.date.fromisoformat, days)) is None


def test_a_kind_that_is_not_known_on_one_of_the_days_has_no_highest_price() -> None:
    price = default_book().highest("gemini-2.5-flash", dt.date(2026, 11, 30), dt.date(2026, 12, 1))
    assert rate(price, Kind.AUDIO_INPUT) == Decimal("0.5")
    price = default_book().highest("gemini-2.5-pro", dt.date(2026, 11, 30), dt.date(2026, 12, 1))
    assert rate(price, Kind.AUDIO_INPUT) is None


def test_own_prices_count_in_the_highest() -> None:
    text = '[[prices]]\nmodel = "gemini-3.8-flash"\nfrom = 2026-11-27\nuntil = 2026-11-28\nbatch = { input = 9 }\n'
    price = book(text).highest("gemini-3.8-flash", dt.date(2026, 11, 26), dt.date(2026, 11, 28))
    assert (rate(price), price is not None and price.own) == (Decimal(9), True)


# The file of the user


def entry(rest: str) -> str:
    return f'[[prices]]\nmodel = "gemini-3.8-flash"\n{rest}\n'


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("[[prices]\n", ":1", "not TOML"),
        ('x = 1\n[[prices]]\nmodel = "m"\n', ":x", "[[prices]]"),
        ("prices = 3\n", ":prices", "[[prices]]"),
        ("prices = [3]\n", ":prices[0]", "object"),
        ("[[prices]]\nbatch = { input = 1 }\n", ":prices[0]", "model"),
        ('[[prices]]\nmodel = " "\nbatch = { input = 1 }\n', ":prices[0].model", "empty"),
        (entry("batch = { inptu = 1 }"), ":prices[0].batch", "inptu"),
        (entry("batch = { input = true }"), ":prices[0].batch.input", "bool"),
        (entry("batch = { input = -1 }"), ":prices[0].batch.input", "-1 is not a price"),
        (entry("batch = { input = nan }"), ":prices[0].batch.input", "is not a price"),
        (entry("batch = { input = inf }"), ":prices[0].batch.input", "is not a price"),
        (entry("batch = { input = 10000000 }"), ":prices[0].batch.input", "is not a price"),
        (entry("batch = { input = 1, long = { output = -2 } }"), ":prices[0].batch.long.output", "-2 is not a price"),
        (entry('search = { usd = -1, per = "query" }'), ":prices[0].search.usd", "is not a price"),
        (entry('search = { usd = 1, per = "call" }'), ":prices[0].search.per", "call"),
        (entry("from = 2026-01-01"), ":prices[0]", "sets no price"),
        (entry('from = "soon"\nbatch = { input = 1 }'), ":prices[0].from", "date"),
        (entry("from = 2026-02-01\nuntil = 2026-02-01\nbatch = { input = 1 }"), ":prices[0].until", "not after"),
        (entry("batch = { input = 1 }") * 2, ":prices[1]", "batch.input"),
        (
            entry("until = 2026-03-02\nbatch = { input = 1 }") + entry("from = 2026-03-01\nbatch = { input = 1 }"),
            ":prices[1]",
            "prices[0] sets it too",
        ),
    ],
)
def test_a_mistake_names_its_place_and_what_to_do(text: str, place: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, FILE)
    error = caught.value
    assert (error.reason_code, error.exit_code) == ("bad_prices", 2)
    assert error.place == f"prices.toml{place}"
    assert words in error.message
    assert error.next


@pytest.mark.parametrize(
    "text",
    [
        "",
        entry("until = 2026-03-01\nbatch = { input = 1 }") + entry("from = 2026-03-01\nbatch = { input = 1 }"),
        entry("batch = { input = 1 }") + entry("batch = { output = 1 }"),
        entry("batch = { input = 0 }"),
        entry("batch = { input = 0.000000000001 }"),
    ],
)
def test_what_is_right(text: str) -> None:
    assert len(parse(text, FILE)) == text.count("[[prices]]")


def test_the_file_is_read_if_it_is_there(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    assert load_prices(file) == default_book()
    file.write_text(OWN, encoding="utf-8")
    assert len(load_prices(str(file)).own) == 2
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="UTF-8"):
        load_prices(file)
