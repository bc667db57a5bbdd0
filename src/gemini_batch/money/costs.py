"""What answers cost: from what they used to exact amounts by kind. One path for one answer and for sums of many."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers import shapes
from gemini_batch.answers.response_types import Generated, Tokens
from gemini_batch.answers.usage import Usage, usage_of_embedded, usage_of_generated
from gemini_batch.money.book import PriceBook, default_book
from gemini_batch.prices import LONG_PROMPT, Kind, Price, Spend, Unpriced, spend

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping


def cost(usage: Usage | Mapping[str, Any], model: str, day: dt.date, *, prices: PriceBook | None = None) -> Spend:
    """What one answer of ``model`` costs at the prices of ``day``, the UTC day on which its job was created.

    ``usage``: a ``Usage``, or the ``response`` of a result line, or its ``usageMetadata`` alone (which does not tell
    searches). ``prices``: as :func:`load_prices` reads them; by default those of the catalog alone.
    """
    found = usage if isinstance(usage, Usage) else _read(usage)
    price = (prices or default_book()).price_on(model, day)
    return cost_of_answer(found, model.removeprefix("models/"), price)


def cost_of_answer(usage: Usage, model: str, price: Price | None) -> Spend:
    """What one answer cost, without or with a price."""
    sums = msgspec.structs.asdict(usage) | {"answers": 1, "searched": int(usage.searches > 0), "uncounted": 0}
    return cost_of(sums, model, price, long=usage.input > LONG_PROMPT)


def cost_of(sums: Mapping[str, int], model: str, price: Price | None, *, long: bool) -> Spend:
    """What some answers cost. ``sums``: of their ``Usage``, as ``Rows.usage`` gives them."""
    counts = counts_of(sums, price)
    found = spend(counts, price, model, long=long, answers=sums["answers"])
    left: dict[Unpriced, int] = {}
    if unknown := sums["answers"] - sums["known"]:
        left[Unpriced("usage", model)] = unknown
    if sums["uncounted"]:
        left[Unpriced("searches", model, Kind.SEARCH)] = sums["uncounted"]
    if sums["maps"] and Kind.MAPS not in counts:
        left[Unpriced("searches", model, Kind.MAPS)] = sums["maps"]
    return found + Spend(unpriced=MappingProxyType(left)) if left else found


def counts_of(sums: Mapping[str, int], price: Price | None) -> dict[Kind, int]:
    """What some answers used by kind, each token once: tokens, and uses as the price counts them."""
    return _tokens(sums) | _uses(sums, price)


def _tokens(sums: Mapping[str, int]) -> dict[Kind, int]:
    audio = sums["audio_input"] - sums["cached_audio"]
    rest = sums["input"] - sums["cached"] - audio - sums["image_input"] - sums["video_input"]
    return {
        Kind.INPUT: max(0, rest),
        Kind.IMAGE_INPUT: sums["image_input"],
        Kind.VIDEO_INPUT: sums["video_input"],
        Kind.AUDIO_INPUT: max(0, audio),
        Kind.CACHED: max(0, sums["cached"] - sums["cached_audio"]),
        Kind.CACHED_AUDIO: sums["cached_audio"],
        Kind.TOOL_USE: sums["tool_use"],
        Kind.OUTPUT: max(0, sums["output"] - sums["image_output"] - sums["audio_output"]),
        Kind.THOUGHTS: sums["thoughts"],
        Kind.IMAGE_OUTPUT: sums["image_output"],
        Kind.AUDIO_OUTPUT: sums["audio_output"],
    }


def _uses(sums: Mapping[str, int], price: Price | None) -> dict[Kind, int]:
    """What is paid for each use: queries, or prompts that made any, as the model's fee says.

    Answers with places of Google Maps do not tell how many queries found them: where each is paid for, that is unknown.
    """
    search = price.search if price is not None else None
    maps = price.maps if price is not None else None
    uses = {Kind.SEARCH: sums["searched"] if search is not None and search.per == "prompt" else sums["searches"]}
    if maps is None or maps.per == "prompt":
        uses[Kind.MAPS] = sums["maps"]
    return uses


def _read(given: Mapping[str, Any]) -> Usage:
    """The usage in a response, or in its ``usageMetadata`` alone."""
    plain = msgspec.json.encode(dict(given))
    if not any(name in given for name in ("usageMetadata", "candidates", "embedding", "tokenCount")):
        return usage_of_generated(Generated(usage_metadata=msgspec.json.decode(plain, type=Tokens)))
    try:
        if "embedding" in given or "tokenCount" in given:
            return usage_of_embedded(shapes.read_embedded(plain)[0])
        return usage_of_generated(shapes.read_generated(plain)[0])
    except shapes.Unreadable:
        return Usage()
