"""``gemini-batch models``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click
import msgspec

from gemini_batch.cli import common
from gemini_batch.cli.outcome import write_json
from gemini_batch.errors import Next, UsageError
from gemini_batch.money.own_prices import FILE_NAME
from gemini_batch.prices import FEES, SAME_AS, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.catalog import Catalog, Model
    from gemini_batch.money.book import PriceBook
    from gemini_batch.prices import Fee, ShortRates


class FeeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a tool."""

    usd: float
    """USD for a thousand."""
    per: str
    """`query`: each query that the model makes counts; `prompt`: each prompt for which it makes any."""


class PriceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs from a day on. Rates are USD per million tokens, by kind; a kind that is absent is unknown."""

    since: str | None
    """First day, in UTC; the day on which a job is created counts. Null for your own price without one."""
    until: str | None
    """First day on which it does not hold any more; null if none is known."""
    batch: dict[str, float]
    """Rates in a batch."""
    batch_long: dict[str, float]
    """Rates in a batch for prompts of more than 200,000 tokens; empty if they are the same."""
    interactive: dict[str, float]
    """Rates outside a batch."""
    interactive_long: dict[str, float]
    """Rates outside a batch for prompts of more than 200,000 tokens; empty if they are the same."""
    flex: dict[str, float] | None
    """Rates of the service tier `flex`, short prompts; null if no page states them for this kind of model."""
    search: FeeFacts | None
    """Price of grounding with Google Search, the same in a batch and outside; null if unknown."""
    maps: FeeFacts | None
    """Price of grounding with Google Maps; null if unknown."""
    date: str | None
    """Day on which the source said so; null if all of it is your own."""
    source: str
    """Where it is from."""
    own: bool
    """True if `prices.toml` in the state folder sets it, or a part of it."""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One model on a day; None where a price is not known."""

    name: str
    """Name of the model."""
    kind: str
    """What the model makes."""
    methods: list[str]
    """What it can do in a batch; empty if nothing."""
    status: str
    """`going`: it shuts down within 60 days. `rerouted`: another model answers."""
    shutdown: str | None
    """Day of the shutdown."""
    replaced_by: str | None
    """Model to use instead."""
    batch_input: float | None
    """USD per million input tokens in a batch, today."""
    batch_output: float | None
    """USD per million output tokens in a batch, today."""
    interactive_input: float | None
    """USD per million input tokens outside a batch, today."""
    interactive_output: float | None
    """USD per million output tokens outside a batch, today."""
    prices: list[PriceFacts]
    """Everything that is known of its prices: that of today, then those that are announced. Empty if unknown."""
    context_tokens: int | None
    """Tokens of input, thinking and output together; null if not known."""
    max_output_tokens: int | None
    """Most tokens of one answer, thinking included; null if not known."""
    thinking_levels: list[str]
    """Values of `thinkingLevel` that it accepts; empty if not known."""
    thinking_default: str | None
    """Level used if a request names none; null if not known."""
    note: str
    """Anything else worth knowing."""
    source: str
    """Where these facts are from."""
    date: str
    """Day on which they were checked."""


@common.command(
    "models",
    click.argument("name", metavar="[MODEL]", required=False),
    click.option("--all", "everything", is_flag=True, help="Also list models that are gone or do not support batches."),
    asks=False,
)
def command(*, name: str | None, everything: bool, as_json: bool, quiet: bool, **_: object) -> int:
    """List the models that support batches today, with batch prices in USD per million tokens and shutdown dates.

    The data come from a dated catalog that is part of the program; the service is not called. Prices in the file
    prices.toml of the state folder replace the catalog's, and are marked. With MODEL, all that is known of its prices.
    """
    del quiet  # everything is the answer
    from gemini_batch.session import load_prices
    from gemini_batch.settings import load_settings

    file = load_settings().home / FILE_NAME
    prices, today = load_prices(file), dt.datetime.now(dt.UTC).date()
    book = prices.facts
    added = [_added(own.model, book) for own in prices.own if book.find(own.model) is None]
    if name is not None:
        known = book.find(name) or next((m for m in added if m.name == name.removeprefix("models/")), None)
        if known is None:
            near = book.suggest(name)
            raise UsageError(
                f"The catalog of {book.date} has no model {name!r}.",
                code="unknown_model",
                next=f"Did you mean {near}?" if near else Next("models", "--all"),
            )
        found = [known]
    else:
        found = [m for m in book.models.values() if everything or (m.methods and m.status_on(today) != "gone")]
        found += {m.name: m for m in added}.values()
    rows = [_row(model, prices, today) for model in found]
    if as_json:
        write_json("models", date=str(book.date), result=rows)
        return 0
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(_line(row, width, alone=name is not None))
    click.echo(f"USD per 1M tokens in batch, as known on {book.date}.", err=True)
    if any(price.own for row in rows for price in row.prices):
        click.echo(f"Your own prices, of {file}, are marked.", err=True)
    return 0


def _added(name: str, book: Catalog) -> Model:
    """A model that only the user's own prices know."""
    from gemini_batch.catalog import Model

    note = "Not in the catalog; only your own price of it is known."
    return Model(name=name, kind="other", note=note, date=book.date, source=FILE_NAME)


def _prices(name: str, prices: PriceBook, today: dt.date) -> Iterator[PriceFacts]:
    """The price of today and those that follow it."""
    for day in prices.changes(name, today, dt.date.max):
        price = prices.price_on(name, day)
        if price is not None:
            batch, interactive = price.batch, price.interactive
            yield PriceFacts(
                since=str(price.start) if price.start else None,
                until=str(price.until) if price.until else None,
                batch=_rates(batch),
                batch_long=_rates(batch.long if batch else None),
                interactive=_rates(interactive),
                interactive_long=_rates(interactive.long if interactive else None),
                flex=None if price.flex is None else _rates(price.flex),
                search=_fee(price.search),
                maps=_fee(price.maps),
                date=str(price.date) if price.date else None,
                source=price.source or FILE_NAME,
                own=price.own,
            )


def _rates(rates: ShortRates | None) -> dict[str, float]:
    if rates is None:
        return {}
    return {kind.value: float(usd) for kind in Kind if kind not in FEES and (usd := rates.of(kind)) is not None}


def _fee(fee: Fee | None) -> FeeFacts | None:
    return None if fee is None else FeeFacts(usd=float(fee.usd), per=fee.per)


def _row(model: Model, prices: PriceBook, today: dt.date) -> ModelFacts:
    price = prices.price_on(model.name, today)
    batch = _rates(price.batch if price else None)
    interactive = _rates(price.interactive if price else None)
    return ModelFacts(
        name=model.name,
        kind=model.kind,
        methods=list(model.methods),
        status=model.status_on(today),
        shutdown=str(model.shutdown.on) if model.shutdown else None,
        replaced_by=model.shutdown.replaced_by if model.shutdown else None,
        batch_input=batch.get("input"),
        batch_output=batch.get("output"),
        interactive_input=interactive.get("input"),
        interactive_output=interactive.get("output"),
        prices=list(_prices(model.name, prices, today)),
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        thinking_levels=list(model.thinking.levels) if model.thinking else [],
        thinking_default=(model.thinking.default or None) if model.thinking else None,
        note=model.note,
        source=model.source,
        date=str(model.date),
    )


def _line(row: ModelFacts, width: int, *, alone: bool) -> str:
    output = "" if row.kind == "embedding" and row.batch_output is None else f"  out {_usd(row.batch_output)}"
    prices = f"in {_usd(row.batch_input)}{output}"
    word = "gone since" if row.status == "gone" else "until"
    end = "" if row.shutdown is None else f"  {word} {row.shutdown}, then {row.replaced_by}"
    own = "  your own price" if row.prices and row.prices[0].own else ""
    text = f"{row.name:{width}}  {row.kind:9}  {prices:26}{own}{end}".rstrip()
    if not alone:
        return text
    levels = f"Thinking levels: {', '.join(row.thinking_levels)}." if row.thinking_levels else ""
    if row.thinking_default:
        levels = f"{levels} Default: {row.thinking_default}."
    priced = [line for price in row.prices for line in _price_lines(price)]
    return "\n".join(part for part in (text, *priced, levels, row.note) if part)


def _price_lines(price: PriceFacts) -> Iterator[str]:
    """A price for people: its days, each kind in a batch and interactively, and where it is from."""
    days = f"from {price.since}" if price.since else "on any day"
    yield f"Price {days}{f' until {price.until}' if price.until else ''}, in a batch (interactively):"
    for words, batch, interactive in (
        ("", price.batch, price.interactive),
        (", prompts over 200,000 tokens", price.batch_long, price.interactive_long),
    ):
        for kind, usd in batch.items():
            if usd != batch.get(SAME_AS.get(Kind(kind), Kind(kind)).value) or Kind(kind) not in SAME_AS:
                yield f"  {kind.replace('_', ' ')}{words}: {_usd(usd)} ({_usd(interactive.get(kind))})"
    for tool, fee in (("Google Search", price.search), ("Google Maps", price.maps)):
        if fee is not None:
            each = "queries" if fee.per == "query" else "prompts that use it"
            yield f"  {tool}: {_usd(fee.usd)} for 1,000 {each}"
    date = f", {price.date}" if price.date else ""
    own = " with your own price" if price.own and price.date else ""
    yield f"  {price.source}{date}{own}"


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"${amount:g}"
