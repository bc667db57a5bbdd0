"""What the catalog says otherwise than two published lists: the prices of genai-prices, the models of google-genai.

Each difference is one line of text. ``reasons.toml`` holds the reason for each, by patterns as in a shell: whoever
updates one of the lists sees what is new, and which reasons are no longer needed.
"""

from __future__ import annotations

import datetime as dt
import tomllib
from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from gemini_batch.catalog import Catalog, load

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from genai_prices.types import ModelInfo

    from gemini_batch.catalog import Model
    from gemini_batch.prices import Rates, ShortRates

#: The kinds of tokens, here and in genai-prices.
_KINDS = {
    "input": "input_mtok",
    "image_input": "input_image_mtok",
    "video_input": "input_video_mtok",
    "audio_input": "input_audio_mtok",
    "cached": "cache_read_mtok",
    "cached_audio": "cache_audio_read_mtok",
    "output": "output_mtok",
    "image_output": "output_image_mtok",
    "audio_output": "output_audio_mtok",
}
#: Families of models that can be in a list of Google's; others, of other makers, are sold by Google as well.
_OURS = ("gemini-", "gemma-", "veo-", "imagen-", "lyria-", "nano-banana-")


class Compared(NamedTuple):
    """``unexplained`` differences have no reason, ``idle`` reasons no difference; ``explained``: both."""

    unexplained: list[str]
    idle: list[str]
    explained: dict[str, str]


def compare(found: Iterable[str], reasons: Mapping[str, str]) -> Compared:
    """Put differences and reasons together."""
    explained: dict[str, str] = {}
    unexplained: list[str] = []
    used: set[str] = set()
    for difference in found:
        fitting = [pattern for pattern in reasons if fnmatchcase(difference, pattern)]
        used.update(fitting)
        if fitting:
            explained[difference] = reasons[fitting[0]]
        else:
            unexplained.append(difference)
    return Compared(unexplained, [pattern for pattern in reasons if pattern not in used], explained)


def reasons() -> dict[str, str]:
    """The reasons by their patterns."""
    document = tomllib.loads(Path(__file__).with_name("reasons.toml").read_text("utf-8"))
    return {pattern: why for why, patterns in document.items() for pattern in patterns}


def differences(today: dt.date) -> list[str]:
    """All differences today, on the catalog's day, and on every later day on which either side changes a price."""
    book = load()
    found: dict[str, None] = {}
    for difference in (*_of_prices(book, today), *_of_models(book)):
        found.setdefault(difference)
    return list(found)


def _of_prices(book: Catalog, today: dt.date) -> Iterator[str]:
    from genai_prices.data_snapshot import get_snapshot

    theirs = [provider for provider in get_snapshot().providers if provider.id == "google"][0].models  # noqa: RUF015
    for name, model in book.models.items():
        fitting = next((one for one in theirs if one.is_match(name)), None)
        if fitting is None:
            if model.prices and model.status_on(book.date) != "gone":
                yield f"{name}: not in genai-prices"
            continue
        for day in sorted({today, book.date, *_changes(model, fitting, book.date)}):
            if model.status_on(day) != "gone":
                yield from _on(day, model, fitting)
    for one in theirs:
        if one.id.startswith(_OURS) and book.find(one.id) is None:
            yield f"{one.id}: in genai-prices, not in the catalog"


def _changes(model: Model, theirs: ModelInfo, since: dt.date) -> Iterator[dt.date]:
    """The days after ``since`` on which a price changes here or there."""
    from genai_prices.types import StartDateConstraint

    priced = [*(theirs.prices if isinstance(theirs.prices, list) else ()), *(theirs.price_variants or ())]
    days = [*model.price_changes()]
    days += [one.constraint.start_date for one in priced if isinstance(one.constraint, StartDateConstraint)]
    yield from (day for day in days if day > since)


def _on(day: dt.date, model: Model, theirs: ModelInfo) -> Iterator[str]:
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    price = model.price_on(day)
    for mode, context in (("interactive", None), ("batch", {"processing": "batch"})):
        rates: Rates | None = getattr(price, mode) if price else None
        listed = theirs.get_prices(noon, context)
        fee = price.search if price else None
        search = None if fee is None else fee.usd
        yield from _differ_in(f"{model.name}: {mode} search", search, listed.web_searches_kcount)
        for kind, there in _KINDS.items():
            value = getattr(listed, there, None)
            tiers = getattr(value, "tiers", ())
            base = getattr(value, "base", value)
            yield from _differ(f"{model.name}: {mode} {kind}", rates, kind, base)
            if tiers or (rates and rates.long):
                above = tiers[0].price if tiers else base
                yield from _differ(
                    f"{model.name}: {mode} {kind} of long prompts", rates and (rates.long or rates), kind, above
                )


def _differ(what: str, rates: ShortRates | None, kind: str, theirs: Any) -> Iterator[str]:
    ours = getattr(rates, kind) if rates else None
    yield from _differ_in(what, ours, theirs)


def _differ_in(what: str, ours: Decimal | None, theirs: Any) -> Iterator[str]:
    other = None if theirs is None else Decimal(str(theirs))
    if ours != other:
        yield f"{what} {_usd(ours)} here, {_usd(other)} in genai-prices"


def _usd(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{float(amount):g}"


def _of_models(book: Catalog) -> Iterator[str]:
    from google.genai import interactions

    listed = {name for part in get_args(interactions.Model) for name in get_args(part) if isinstance(name, str)}
    for name in sorted(listed):
        if book.find(name) is None:
            yield f"{name}: in google-genai, not in the catalog"
        elif (model := book.find(name)) and model.status_on(book.date) == "gone":
            yield f"{name}: in google-genai, gone here"
    for name, model in book.models.items():
        if name not in listed and model.kind != "embedding" and model.status_on(book.date) != "gone":
            yield f"{name}: not in google-genai"
