"""The models that the emulator serves, and their methods: the catalog's models in the shape of the API's ``Model``."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from gemini_batch import catalog
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.protocol import rules

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["generate", "embed"]

#: The API's batch methods, by kind of request.
BATCH_METHOD: dict[Kind, str] = {"generate": "batchGenerateContent", "embed": "asyncBatchEmbedContent"}
_METHODS: dict[str, list[str]] = {
    "generate": ["generateContent", "countTokens", "batchGenerateContent"],
    "embed": ["embedContent", "countTokens", "asyncBatchEmbedContent"],
}
#: The prefix of a tuned model's name; other names are kept without their ``models/``.
TUNED = "tunedModels/"
#: The limits of models whose own limits are not known; shown, never enforced.
_INPUT_TOKENS, _OUTPUT_TOKENS = 1_048_576, 65_536


def serving(name: str, kind: Kind, *, now: int, version: str, method: str) -> str:
    """The model that answers for ``name``: itself, or its successor if the service re-routes a retired one.

    Every tuned model exists and supports every method, since the emulator cannot tune models.

    Raises :class:`errors.ApiFailure` (404) for a model that is unknown, shut down, or does not support ``method``.
    """
    if name.startswith(TUNED):
        return name
    model = catalog.load().find(name)
    if model is None or kind not in model.methods:
        raise errors.no_model(name, version, method)
    match model.status_on(_day(now)):
        case "gone" if model.shutdown is not None and not model.shutdown.doubt:
            raise errors.not_found(
                f"This model models/{name} is no longer available. "
                f"Please update your code to use models/{model.shutdown.replaced_by}"
            )
        case "rerouted" if model.shutdown is not None:
            return model.shutdown.replaced_by
        case _:
            return name


def resource(name: str) -> str:
    """A model's resource name: ``models/…`` or ``tunedModels/…``."""
    return name if name.startswith(TUNED) else f"models/{name}"


@lru_cache(maxsize=256)
def embedding_dimension(name: str) -> int:
    """The number of dimensions of this model's embeddings, unless the request asks for another."""
    model = catalog.load().find(name)
    return (model.embedding_dimension if model else None) or 3072


@lru_cache(maxsize=256)
def kind_of(name: str) -> str:
    """What a model generates: ``text``, ``image``, ``speech``, ``embedding`` or ``other``."""
    model = catalog.load().find(name)
    return model.kind if model else "text"


def thinks(name: str) -> bool:
    """Whether a model's usage shows thinking tokens: true for text models."""
    return kind_of(name) == "text"


def has_caches(name: str, *, lenient: bool = False) -> bool:
    """Whether there are cached contents for a model: not for those of images and speech.

    Probably not for Gemini 4 either; ``lenient`` assumes that there are.
    """
    return kind_of(name) == "text" and (lenient or (rules.generation(name) or 0) < rules.NO_CACHE_FROM)


def cache_minimum(name: str) -> int:
    """The fewest tokens of a cache for a model.

    From the guide *Context caching* (2026-10-13), and for Flash-Lite as measured by a user (2026-09-07).
    """
    if "flash-lite" in name:
        return 1024
    return 2048 if name.startswith("gemini-2.5-") else 4096


def describe(name: str, *, now: int, version: str) -> dict[str, Any]:
    """The API's ``Model``. Raises :class:`errors.ApiFailure` (404) for a model that is unknown or shut down."""
    if name.startswith(TUNED):
        return {"name": name, "displayName": name.removeprefix(TUNED), "state": "ACTIVE"}
    model = catalog.load().find(name)
    if model is None or (model.status_on(_day(now)) == "gone" and not (model.shutdown and model.shutdown.doubt)):
        raise errors.no_model(name, version, "GetModel")
    embeds = "embed" in model.methods
    described: dict[str, Any] = {
        "name": f"models/{model.name}",
        "version": "001",
        "displayName": model.name.replace("-", " ").title(),
        "description": "Served by the offline emulator: no model runs behind it.",
        "inputTokenLimit": 8192 if embeds else _INPUT_TOKENS,
        "outputTokenLimit": 1 if embeds else (model.max_output_tokens or _OUTPUT_TOKENS),
        "supportedGenerationMethods": [name for method in model.methods for name in _METHODS[method]],
    }
    if "generate" in model.methods:
        if has_caches(name):
            described["supportedGenerationMethods"].insert(2, "createCachedContent")
        described |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
        if thinks(name):
            described["thinking"] = True
    return described


def every(*, now: int, version: str) -> Iterator[dict[str, Any]]:
    """All models that are not shut down, sorted by name."""
    for name in sorted(catalog.load().models):
        try:
            yield describe(name, now=now, version=version)
        except errors.ApiFailure:
            continue


def _day(now: int) -> dt.date:
    return dt.datetime.fromtimestamp(now / SECOND, dt.UTC).date()
