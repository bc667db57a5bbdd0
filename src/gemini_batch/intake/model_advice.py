"""What to say about a model before anything is sent: whether it is gone, its methods, and a price that changes soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gemini_batch.catalog import DEFAULTS, SOON, Method
from gemini_batch.errors import Next

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence

    from gemini_batch.catalog import Catalog, Model
    from gemini_batch.prices import ShortRates


@dataclass(frozen=True, slots=True)
class Advice:
    """A message about a model before anything is sent. An ``error`` is certain to fail, or to be refused."""

    severity: Literal["error", "warning", "note"]
    message: str
    next: str | Next | None = None


def advice(catalog: Catalog, name: str, method: Method, day: dt.date, *, priced: bool = False) -> Sequence[Advice]:
    """The messages about sending ``method`` requests to the model ``name`` on ``day``, most severe first.

    ``priced``: the user has set a price of the model, so nothing is said of the catalog's.
    """
    if (model := catalog.find(name)) is None:
        return [_unknown(catalog, name)]
    found = [*_method_advice(model, method), *_shutdown_advice(model, day)]
    if model.existing_users_only and model.status_on(day) in ("current", "going"):
        found.append(
            Advice(
                "warning",
                f"{model.name} is available only to projects that have used it before; others get 404.",
                f"If it is refused, use {model.shutdown.replaced_by if model.shutdown else DEFAULTS[method]}.",
            )
        )
    if model.methods:
        if not priced:
            found += _price_advice(model, day)
        if model.note:
            found.append(Advice("note", model.note))
    return sorted(found, key=lambda one: ("error", "warning", "note").index(one.severity))


def _unknown(catalog: Catalog, name: str) -> Advice:
    near = catalog.suggest(name)
    return Advice(
        "warning",
        f"The model {name!r} is not in the catalog of {catalog.date}; its price is unknown.",
        f"Did you mean {near}?" if near else Next("models", why="lists the models that support batches"),
    )


def _method_advice(model: Model, method: Method) -> list[Advice]:
    if not model.methods:
        why = f" {model.note}" if model.note else ""
        return [
            Advice("error", f"{model.name} does not support batches.{why}", f"Use, for example, {DEFAULTS[method]}.")
        ]
    if method in model.methods:
        return []
    if method is Method.GENERATE:
        message = f"{model.name} creates only embeddings, but these requests ask for generated content."
    else:
        message = f"{model.name} does not create embeddings, but these requests ask for them."
    return [Advice("error", message, f"Use, for example, {DEFAULTS[method]}.")]


def _shutdown_advice(model: Model, day: dt.date) -> list[Advice]:
    end = model.shutdown
    if end is None:
        return []
    match model.status_on(day):
        case "current":
            return []
        case "going" if end.then == "rerouted":
            return [
                Advice(
                    "warning",
                    f"{model.name} retires on {end.on}; from then on, {end.replaced_by} answers instead, "
                    f"at the price of {end.replaced_by}.",
                    f"Use {end.replaced_by} now to choose for yourself when to switch.",
                )
            ]
        case "going":
            return [
                Advice("warning", f"{model.name} shuts down on {end.on}.", f"Use {end.replaced_by} instead."),
            ]
        case "rerouted":
            return [
                Advice(
                    "warning",
                    f"{model.name} retired on {end.on}; {end.replaced_by} answers instead, "
                    f"at the price of {end.replaced_by}.",
                    f"Use {end.replaced_by}.",
                )
            ]
        case "gone":
            doubt = f" ({end.doubt})" if end.doubt else ""
            return [
                Advice(
                    "warning" if end.doubt else "error",
                    f"{model.name} was shut down on {end.on}{doubt}.",
                    f"Use {end.replaced_by} instead.",
                )
            ]


def _price_advice(model: Model, day: dt.date) -> list[Advice]:
    found: list[Advice] = []
    now, later = model.price_on(day), model.next_price(day)
    if now is None and model.status_on(day) != "gone":
        found.append(Advice("note", f"The price of {model.name} is unknown."))
    if now is not None and now.batch is not None and later is not None and later.start - day <= SOON:
        change = _change(now.batch, later.batch)
        if change:
            message = f"The batch price of {model.name} changes on {later.start}: {change} (USD per million tokens)."
            found.append(Advice("note", message))
    return found


def _change(now: ShortRates, later: ShortRates) -> str:
    kinds = (("input", now.input, later.input), ("output", now.output, later.output))
    return ", ".join(
        f"{kind} {before} → {after}"
        for kind, before, after in kinds
        if before is not None and after is not None and before != after
    )
