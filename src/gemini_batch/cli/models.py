"""``gemini-batch models``."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import click
import msgspec

from gemini_batch.cli import common
from gemini_batch.cli.outcome import write_json
from gemini_batch.errors import Next, UsageError

if TYPE_CHECKING:
    from gemini_batch.catalog import Model


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
    """USD per million input tokens in a batch."""
    batch_output: float | None
    """USD per million output tokens in a batch."""
    interactive_input: float | None
    """USD per million input tokens outside a batch."""
    interactive_output: float | None
    """USD per million output tokens outside a batch."""
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

    The data come from a dated catalog that is part of the program; the service is not called.
    """
    del quiet  # everything is the answer
    from gemini_batch import catalog

    book, today = catalog.load(), dt.datetime.now(dt.UTC).date()
    if name is not None:
        one = book.find(name)
        if one is None:
            near = book.suggest(name)
            raise UsageError(
                f"The catalog of {book.date} has no model {name!r}.",
                code="unknown_model",
                next=f"Did you mean {near}?" if near else Next("models", "--all"),
            )
        found = [one]
    else:
        found = [m for m in book.models.values() if everything or (m.methods and m.status_on(today) != "gone")]
    rows = [_row(model, today) for model in found]
    if as_json:
        write_json("models", date=str(book.date), result=rows)
        return 0
    width = max(len(row.name) for row in rows)
    for row in rows:
        click.echo(_line(row, width, alone=name is not None))
    click.echo(f"USD per 1M tokens in batch, as known on {book.date}.", err=True)
    return 0


def _row(model: Model, today: dt.date) -> ModelFacts:
    price = model.price_on(today)
    return ModelFacts(
        name=model.name,
        kind=model.kind,
        methods=list(model.methods),
        status=model.status_on(today),
        shutdown=str(model.shutdown.on) if model.shutdown else None,
        replaced_by=model.shutdown.replaced_by if model.shutdown else None,
        batch_input=price.batch.input if price else None,
        batch_output=price.batch.output if price else None,
        interactive_input=price.interactive.input if price else None,
        interactive_output=price.interactive.output if price else None,
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
    text = f"{row.name:{width}}  {row.kind:9}  {prices:26}{end}".rstrip()
    if not alone:
        return text
    levels = f"Thinking levels: {', '.join(row.thinking_levels)}." if row.thinking_levels else ""
    if row.thinking_default:
        levels = f"{levels} Default: {row.thinking_default}."
    return "\n".join(part for part in (text, levels, row.note) if part)


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"${amount:g}"
