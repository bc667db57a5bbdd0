"""The catalog: its facts hang together, its dates decide, and its money is right to the cent."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import tomllib
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gemini_batch import catalog
from gemini_batch.catalog import Catalog, Method, load
from gemini_batch.intake.model_advice import advice
from gemini_batch.prices import ShortRates
from gemini_batch.protocol.checks import broken
from gemini_batch.protocol.tables import enums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_batch.catalog import Model, Status

TODAY = dt.date(2026, 11, 22)
DOCUMENT: dict[str, Any] = tomllib.loads(
    Path(catalog.__file__).with_name("catalog.toml").read_text(encoding="utf-8"), parse_float=Decimal
)


def model(name: str) -> Model:
    found = load().find(name)
    assert found is not None, name
    return found


# The file itself


def fact_tables(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, table in document["limits"].items():
        yield f"limits.{name}", table
    for index, table in enumerate(document["fees"]):
        yield f"fees[{index}]", table
    for family in ("models", "families"):
        for name, table in document[family].items():
            yield f"{family}.{name}", table
            for part in ("shutdown", "enqueued_tokens", "thinking"):
                if part in table:
                    yield f"{family}.{name}.{part}", table[part]
            for index, price in enumerate(table.get("prices", [])):
                yield f"{family}.{name}.prices[{index}]", price


@pytest.mark.parametrize(("where", "table"), [pytest.param(*pair, id=pair[0]) for pair in fact_tables(DOCUMENT)])
def test_every_fact_names_its_public_source_and_its_day(where: str, table: dict[str, Any]) -> None:
    assert isinstance(table["date"], dt.date), where
    assert table["date"] <= DOCUMENT["date"], f"{where} is newer than the catalog"
    assert table["source"].startswith(("ai.google.dev/", "cloud.google.com/", "seen on the wire", "reported: ")), where


def rate_pairs(one: Model) -> Iterator[tuple[str, ShortRates, ShortRates]]:
    for price in one.prices:
        yield f"{one.name} from {price.start}", price.batch, price.interactive
        if price.batch.long is not None or price.interactive.long is not None:
            assert price.batch.long is not None, one.name
            assert price.interactive.long is not None, one.name
            yield f"{one.name} from {price.start}, long", price.batch.long, price.interactive.long


@pytest.mark.parametrize("one", [m for m in load().models.values() if m.prices], ids=lambda m: m.name)
def test_a_batch_is_never_dearer_and_both_prices_know_the_same_kinds(one: Model) -> None:
    for where, batch, interactive in rate_pairs(one):
        for kind in ShortRates.__struct_fields__:
            low, high = getattr(batch, kind), getattr(interactive, kind)
            assert (low is None) == (high is None), f"{where}: {kind}"
            if low is not None:
                assert 0 < low <= high, f"{where}: {kind}"
        assert batch.input is not None
        assert interactive.input == 2 * batch.input, f"{where}: the batch guide promises half"
        if batch.output is not None:
            assert interactive.output == 2 * batch.output, where


@pytest.mark.parametrize("one", load().models.values(), ids=lambda m: m.name)
def test_models_hang_together(one: Model) -> None:
    assert all(a.start < b.start for a, b in pairwise(one.prices)), "prices are in the order of their days"
    assert (one.embedding_dimension is not None) == (one.kind == "embedding") == (Method.EMBED in one.methods)
    if one.shutdown is not None:
        heir = load().models[one.shutdown.replaced_by]
        assert heir.status_on(load().date) == "current", "what replaces a model must not be going itself"
        assert heir.methods == one.methods
    if one.enqueued_tokens is not None:
        tiers = [t for t in map(one.enqueued_tokens.of_tier, (1, 2, 3)) if t is not None]
        assert tiers
        assert tiers == sorted(tiers)


@pytest.mark.parametrize("name", ["gemini-2.5-pro", "gemini-2.5-flash"])
def test_a_rerouted_model_costs_what_the_model_that_answers_costs(name: str) -> None:
    end = model(name).shutdown
    assert end is not None
    for day in (end.on, dt.date(2026, 12, 31), dt.date(2027, 1, 1), dt.date(2027, 6, 1)):
        mine, theirs = model(name).price_on(day), model(end.replaced_by).price_on(day)
        assert mine is not None
        assert theirs is not None
        for part in ("batch", "interactive", "flex", "search", "maps"):
            assert getattr(mine, part) == getattr(theirs, part), (day, part)


def test_an_alias_is_its_model() -> None:
    alias, real = model("nano-banana-pro-preview"), model("gemini-3-pro-image")
    assert alias.alias_of == real.name
    assert (alias.prices, alias.methods, alias.kind) == (real.prices, real.methods, real.kind)
    assert alias.date != real.date, "its own facts come first"
    with pytest.raises(msgspec.ValidationError, match="an alias of nothing"):
        catalog.parse({**DOCUMENT, "models": {"x": {"alias_of": "nothing"}}})


FOURTH = [m for m in load().models.values() if m.name.startswith("gemini-4-")]


@pytest.mark.parametrize("one", FOURTH, ids=lambda m: m.name)
def test_the_fourth_generation(one: Model) -> None:
    """Each has limits, prices, and the levels of the rules for requests: no other is accepted, none of them refused."""
    assert one.methods == (Method.GENERATE,)
    assert (one.context_tokens, one.max_output_tokens) == (1_048_576, 65_536)
    price = one.price_on(load().date)
    assert price is not None
    assert price.batch is not None
    assert price.interactive is not None
    assert price.batch.cached == (price.interactive.cached or 0) / 2
    assert one.thinking is not None
    assert one.thinking.default in {"", *one.thinking.levels}
    for level in enums()["ThinkingLevel"].values:
        asked = {
            "contents": [{"parts": [{"text": "x"}]}],
            "generationConfig": {"thinkingConfig": {"thinkingLevel": level}},
        }
        refused = bool(broken("GenerateContentRequest", asked, model=one.name))
        assert refused is (level not in {*one.thinking.levels, "THINKING_LEVEL_UNSPECIFIED"}), level


def test_the_four_of_the_fourth_generation() -> None:
    assert {one.name.removeprefix("gemini-4-") for one in FOURTH} == {"argon", "carbon", "hydrogen", "neon"}
    assert {one.name: one.thinking and one.thinking.default for one in FOURTH} == {
        "gemini-4-argon": "MEDIUM",
        "gemini-4-carbon": "",
        "gemini-4-hydrogen": "HIGH",
        "gemini-4-neon": "HIGH",
    }


def test_the_default_model_is_priced_and_can_be_batched() -> None:
    one = model(catalog.DEFAULT_MODEL)
    assert one.methods == (Method.GENERATE,)
    assert one.status_on(TODAY) == "current"
    assert one.price_on(TODAY) is not None
    assert model(catalog.EMBEDDING_MODEL).methods == (Method.EMBED,)


def test_limits_are_the_documented_ones() -> None:
    limits = load().limits
    got = {name: getattr(limits, name).value for name in limits.__struct_fields__}
    assert got == {
        "concurrent_jobs": 100,
        "vertex_jobs": 8,
        "vertex_requests": 200_000,
        "vertex_file_bytes": 10**9,
        "vertex_expiry_hours": 72 + 24,
        "input_file_bytes": 2 * 1024**3,
        "pdf_bytes": 50 * 1024**2,
        "storage_bytes": 20 * 1024**3,
        "inline_body_bytes": 20_971_520,
        "target_hours": 24,
        "job_expiry_hours": 48,
        "file_life_hours": 48,
        "results_kept_days": 42,
        "file_id_chars": 40,
        "display_name_chars": 512,
        "upload_granularity_bytes": 262_144,
    }


def test_a_misspelt_table_is_refused() -> None:
    table = {**DOCUMENT["models"]["gemini-3.8-flash"], "pricse": []}
    with pytest.raises(msgspec.ValidationError, match="pricse"):
        catalog.parse({**DOCUMENT, "models": {"gemini-3.8-flash": table}})


def test_fees_of_an_unknown_model_are_refused() -> None:
    fees = [{**DOCUMENT["fees"][0], "models": ["gemini-3.8-flsh"]}]
    with pytest.raises(msgspec.ValidationError, match=r"gemini-3\.8-flsh"):
        catalog.parse({**DOCUMENT, "fees": fees})


@pytest.mark.parametrize("one", load().models.values(), ids=lambda m: m.name)
def test_a_model_has_one_fee_on_any_day(one: Model) -> None:
    """A later entry begins on the day on which the earlier one ends, and every day with a price has one or none."""
    fees = sorted(one.fees, key=lambda fee: fee.start)
    assert all(a.until == b.start for a, b in pairwise(fees))
    for day in one.price_changes():
        assert sum(fee.holds_on(day) for fee in fees) <= 1
    for fee in fees:
        assert fee.search is not None
        assert fee.maps is not None


def test_the_file_is_read_once_and_not_at_import() -> None:
    assert load() is load()
    code = "import sys, gemini_batch.catalog as c; print(c.load.cache_info().currsize, 'tomllib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["0", "False"]


# Names


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("gemini-3.8-flash", "gemini-3.8-flash"),
        ("models/gemini-3.8-flash", "gemini-3.8-flash"),
        ("veo-3.1-generate-preview", "veo-3.1-generate-preview"),
        ("gemini-3.8-live-extended-thinking", "gemini-3.8-live-extended-thinking"),
        ("gemini-2.5-flash-native-audio-preview-12-2025", "gemini-2.5-flash-native-audio-preview-12-2025"),
    ],
)
def test_find(asked: str, name: str) -> None:
    assert model(asked).name == name


@pytest.mark.parametrize("asked", ["", "models/", "gemini-9-flash", "GEMINI-3.8-FLASH", "tunedModels/mine"])
def test_find_does_not_guess(asked: str) -> None:
    assert load().find(asked) is None


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("gemini-3-flash", "gemini-3-flash-preview"),
        ("gemini-3.8-flsh", "gemini-3.8-flash"),
        ("models/gemini-3.8-flash-ttt", "gemini-3.8-flash-tts"),
        ("GEMINI-3.8-FLASH", "gemini-3.8-flash"),
        ("gemini-embeding-2", "gemini-embedding-2"),
        ("gemini-2.5-flash-preview-ttss", None),
        ("gpt-5", None),
    ],
)
def test_suggest_never_proposes_what_is_gone(asked: str, near: str | None) -> None:
    found = load().suggest(asked)
    if near is None:
        assert found is None or model(found).status_on(TODAY) != "gone"
    else:
        assert found == near


# Days


@pytest.mark.parametrize(
    ("name", "day", "status"),
    [
        ("gemini-3.8-flash", "2026-11-22", "current"),
        ("gemini-2.5-pro", "2026-10-01", "current"),
        ("gemini-2.5-pro", "2026-10-02", "going"),
        ("gemini-2.5-pro", "2026-11-30", "going"),
        ("gemini-2.5-pro", "2026-12-01", "rerouted"),
        ("gemini-2.5-flash", "2027-03-01", "rerouted"),
        ("gemini-3-pro-preview", "2026-03-08", "going"),
        ("gemini-3-pro-preview", "2026-03-09", "gone"),
        ("gemini-3.1-flash-lite", "2026-11-22", "current"),
        ("gemini-3.1-flash-lite", "2027-05-06", "going"),
        ("gemini-3.1-flash-lite", "2027-05-07", "gone"),
        ("gemini-2.0-flash", "2026-11-22", "gone"),
        ("gemini-2.5-pro-preview-tts", "2026-11-22", "gone"),
        ("gemini-3-pro-image-preview", "2026-11-22", "gone"),
        ("gemini-embedding-2-preview", "2026-11-05", "going"),
        ("gemini-embedding-2-preview", "2026-11-06", "gone"),
        ("gemini-3.1-flash-tts-preview", "2026-11-16", "going"),
        ("gemini-3.1-flash-tts-preview", "2026-11-17", "gone"),
        ("nano-banana-pro-preview", "2026-11-25", "current"),
        ("gemini-3-flash-preview", "2027-12-31", "current"),
    ],
)
def test_status(name: str, day: str, status: Status) -> None:
    assert model(name).status_on(dt.date.fromisoformat(day)) == status


@pytest.mark.parametrize(
    ("name", "day", "batch_output"),
    [
        ("gemini-3.8-flash", "2026-12-31", 1.875),
        ("gemini-3.8-flash", "2027-01-01", 3.75),
        ("gemini-4-argon", "2026-11-30", 5.0),
        ("gemini-4-argon", "2026-12-01", 10.0),
        ("gemini-4-carbon", "2026-11-09", None),
        ("gemini-4-carbon", "2026-11-10", 5.0),
        ("gemini-4-carbon", "2026-12-01", 10.0),
        ("gemini-4-hydrogen", "2026-11-25", 3.75),
        ("gemini-4-hydrogen", "2027-06-01", 3.75),
        ("gemini-4-neon", "2026-11-25", 7.5),
        ("gemini-4-neon", "2027-06-01", 7.5),
        ("gemini-robotics-er-2-preview", "2026-12-31", 2.5),
        ("gemini-robotics-er-2-preview", "2027-01-01", 5.0),
        ("nano-banana-pro-preview", "2026-11-25", 6.0),
        ("gemini-2.5-pro", "2026-11-30", 5.0),
        ("gemini-2.5-pro", "2026-12-01", 1.875),
        ("gemini-3.1-flash-lite", "2027-05-07", None),
        ("gemini-3-pro-preview", "2026-11-22", None),
        ("gemini-flash-latest", "2026-11-22", None),
        ("gemini-3.8-flash", "2025-01-01", None),
    ],
)
def test_prices_have_days(name: str, day: str, batch_output: float | None) -> None:
    price = model(name).price_on(dt.date.fromisoformat(day))
    assert (price.batch.output if price and price.batch else None) == (
        None if batch_output is None else Decimal(str(batch_output))
    )


# Advice


def said(name: str, method: Method = Method.GENERATE, day: dt.date = TODAY, book: Catalog | None = None) -> list[str]:
    return [f"{a.severity}: {a.message} {a.next or ''}".strip() for a in advice(book or load(), name, method, day)]


@pytest.mark.parametrize("name", [catalog.DEFAULT_MODEL, "gemini-3.5-flash-lite", "models/gemini-3.5-flash"])
def test_nothing_to_say_about_a_good_choice(name: str) -> None:
    assert said(name) == []


@pytest.mark.parametrize(
    ("name", "method", "day", "severity", "words"),
    [
        ("gemini-3-pro-preview", Method.GENERATE, "2026-11-22", "error", ["2026-03-09", "gemini-3.1-pro-preview"]),
        ("gemini-2.0-flash", Method.GENERATE, "2026-11-22", "error", ["2026-06-01", "gemini-3.1-flash-lite"]),
        ("gemini-2.5-pro", Method.GENERATE, "2026-11-22", "warning", ["retires on 2026-12-01", "gemini-3.8-flash"]),
        (
            "gemini-2.5-flash",
            Method.GENERATE,
            "2026-12-02",
            "warning",
            ["retired on", "gemini-3.5-flash-lite", "price"],
        ),
        ("gemini-3.1-flash-lite", Method.GENERATE, "2027-05-01", "warning", ["2027-05-07", "gemini-3.5-flash-lite"]),
        ("gemini-2.5-flash-image", Method.GENERATE, "2026-11-22", "warning", ["2026-10-02", "2027-03-15"]),
        ("gemini-2.5-flash-lite", Method.GENERATE, "2026-11-22", "warning", ["used it before", "404"]),
        ("gemini-3.8-flash", Method.GENERATE, "2026-11-22", "note", ["2027-01-01", "0.375 → 0.75", "1.875 → 3.75"]),
        ("gemini-flash-latest", Method.GENERATE, "2026-11-22", "note", ["price", "unknown"]),
        ("gemini-embedding-2", Method.GENERATE, "2026-11-22", "error", ["only embeddings", catalog.DEFAULT_MODEL]),
        (
            "gemini-3.8-flash",
            Method.EMBED,
            "2026-11-22",
            "error",
            ["does not create embeddings", catalog.EMBEDDING_MODEL],
        ),
        ("veo-3.1-generate-preview", Method.GENERATE, "2026-11-22", "error", ["does not support batches", "video"]),
        ("gemma-4-31b-it", Method.GENERATE, "2026-11-22", "error", ["does not support batches", "Gemma"]),
        ("gemini-3.5-transcribe", Method.GENERATE, "2026-11-22", "error", ["does not support batches", "transcripts"]),
        ("gemini-3.8-live", Method.GENERATE, "2026-11-22", "error", ["does not support batches", "Live API"]),
        (
            "gemini-3.8-flsh",
            Method.GENERATE,
            "2026-11-22",
            "warning",
            [str(load().date), "mean gemini-3.8-flash?", "unknown"],
        ),
        ("tunedModels/mine", Method.GENERATE, "2026-11-22", "warning", ["not in the catalog", "gemini-batch models"]),
    ],
)
def test_advice(name: str, method: Method, day: str, severity: str, words: list[str]) -> None:
    lines = said(name, method, dt.date.fromisoformat(day))
    assert lines[0].startswith(f"{severity}: "), lines
    assert all(word in lines[0] for word in words), lines


def test_a_new_price_is_no_news_when_it_is_far_away_or_the_same() -> None:
    assert said("gemini-3.8-flash", day=dt.date(2026, 10, 15)) == []
    assert not any("price of gemini-2.5-flash changes" in line for line in said("gemini-2.5-flash"))
    assert any("0.625 → 0.375" in line for line in said("gemini-2.5-pro"))


def test_errors_come_first() -> None:
    order = [a.severity for a in advice(load(), "gemini-2.5-pro", Method.EMBED, TODAY)]
    assert order == ["error", "warning", "warning", "note"]


def test_every_model_can_be_talked_about_on_any_day() -> None:
    for name in load().models:
        for method in Method:
            for day in (dt.date(2025, 1, 1), TODAY, dt.date(2030, 1, 1)):
                for one in advice(load(), name, method, day):
                    assert one.message.endswith(".")
                    assert one.next is None or str(one.next).endswith((".", "?", ")"))


# The skill's page of models: the tables are those of the catalog, on its day


def usd(price: Decimal | None) -> str:
    return "?" if price is None else f"{float(price):g}"


def price_table(book: Catalog) -> list[str]:
    rows = ["| model | makes | input | output | cached input | notes |", "| --- | --- | --- | --- | --- | --- |"]
    for one in book.models.values():
        price, later = one.price_on(book.date), one.next_price(book.date)
        if price is None or one.status_on(book.date) == "gone":
            continue
        batch, calls = price.batch, price.interactive
        assert batch is not None
        assert calls is not None
        output = f"{usd(batch.output)} ({usd(calls.output)})" if batch.output is not None else "–"
        if batch.image_output is not None:
            output += f", images {usd(batch.image_output)} ({usd(calls.image_output)})"
        facts = []
        facts += [
            f"{kind.replace('_', ' ')} {usd(other)}"
            for kind in ("image_input", "video_input", "audio_input")
            if (other := getattr(batch, kind)) not in {None, batch.input}
        ]
        if batch.long is not None:
            facts.append(f"over 200,000 tokens: {usd(batch.long.input)}, {usd(batch.long.output)}")
        if one.shutdown is not None:
            heir = f"`{one.shutdown.replaced_by}`"
            ending = f"{heir} answers instead" if one.shutdown.then == "rerouted" else f"shut down; use {heir}"
            facts.append(f"from {one.shutdown.on}: {ending}")
        elif later is not None:
            facts.append(f"from {later.start}: {usd(later.batch.input)}, {usd(later.batch.output)}")
        if one.existing_users_only:
            facts.append("not for new users")
        cells = [
            f"`{one.name}`",
            one.kind,
            f"{usd(batch.input)} ({usd(calls.input)})",
            output,
            usd(batch.cached),
            "; ".join(facts),
        ]
        rows.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return rows


def retired_table(book: Catalog) -> list[str]:
    gone = [m for m in book.models.values() if m.shutdown and m.status_on(book.date) == "gone"]
    rows = [f"| `{m.name}` | {m.shutdown.on} | `{m.shutdown.replaced_by}` |" for m in gone if m.shutdown]
    return ["| model | shut down | use instead |", "| --- | --- | --- |", *rows]


PAGE = Path(__file__).parent.parent / "references" / "models-and-prices.md"


@pytest.mark.parametrize("table", [price_table, retired_table])
def test_the_page_of_models_shows_the_catalog(table: Callable[[Catalog], list[str]]) -> None:
    right = "\n".join(table(load()))
    header = right.partition("\n")[0]
    page = PAGE.read_text(encoding="utf-8")
    start = page.index(header)
    shown = page[start:].partition("\n\n")[0].rstrip("\n")
    assert shown == right, f"{PAGE.name} differs from the catalog; its table should be:\n{right}"
    assert str(load().date) in page
