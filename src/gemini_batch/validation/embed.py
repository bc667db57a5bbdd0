"""Embedding requests: an ``EmbedContentRequest``, field by field."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from gemini_batch.validation import contents, fields
from gemini_batch.validation.findings import clip, kind, pick, strangers
from gemini_batch.validation.generate import check_model

if TYPE_CHECKING:
    from gemini_batch.validation.findings import Findings


def check_embed(request: dict[str, object], found: Findings) -> int | None:
    """Check an ``EmbedContentRequest``. Returns the requested length of the vector, or None."""
    content = request["content"]
    generation = [name for name in strangers(request, fields.EMBED) if name in fields.GENERATE and name != "contents"]
    if generation:
        found.error(
            "request.content",
            f"`content` requests an embedding, but `{generation[0]}` is for generation.",
            'To generate text, write `"contents": [{"parts": [{"text": "…"}]}]`: plural, with a list.',
        )
    elif type(content) is list:
        found.error(
            "request.content",
            "`content` is a list; an embedding request takes exactly one content.",
            "Write one line for each text. To generate text, use `contents`.",
        )
    else:
        contents.check_content(content, "request.content", found)
    for name in strangers(request, fields.EMBED):
        if name not in fields.GENERATE:
            _explain_embed(name, found)
    check_model(request.get("model"), found)
    name, config = pick(request, "embedContentConfig", "embed_content_config")
    if config is not None:
        _check_embed_config(config, f"request.{name}", found)
    dimension = None
    for obj, path in ((request, "request"), (config, f"request.{name}")):
        if type(obj) is dict:
            _check_task(obj, path, found)
            dimension = _dimension(obj, path, found) or dimension
    return dimension


def _explain_embed(name: str, found: Findings) -> None:
    field = f"request.{name}"
    if name in fields.EMBED_CONFIG:
        found.error(
            field,
            f"`{name}` belongs in `request.embedContentConfig`.",
            f'Write `"embedContentConfig": {{"{name}": …}}`.',
        )
    elif name in ("dimensions", "dimension", "output_dimension", "outputDimension"):
        found.error(field, f"`{name}` is another provider's field.", "Use `outputDimensionality`.")
    elif name == "config":
        found.error(field, "`config` is the SDK's name for this field.", "Use `embedContentConfig`.")
    elif word := fields.REQUEST_WORDS.get(fields.camel(name)):
        found.error(field, f"`{name}` {word.what}.", word.instead)
    elif meant := fields.near(name, fields.EMBED):
        found.error(field, f"{clip(name)} is not a field of an embedding request.", f"Did you mean `{meant}`?")
    else:
        found.warn(
            field,
            f"{clip(name)} is not a known field of an embedding request.",
            "Check the spelling. The service may reject it.",
        )


def _check_embed_config(config: object, path: str, found: Findings) -> None:
    if type(config) is not dict:
        found.error(
            path, f"`embedContentConfig` is {kind(config)}; it must be an object.", "Write its fields inside `{…}`."
        )
        return
    for name in strangers(config, fields.EMBED_CONFIG):
        if meant := fields.near(name, fields.EMBED_CONFIG):
            found.error(f"{path}.{name}", f"{clip(name)} is not a setting.", f"Did you mean `{meant}`?")
        else:
            found.warn(
                f"{path}.{name}",
                f"{clip(name)} is not a known setting.",
                "Check the spelling. The service may reject it.",
            )


def _check_task(obj: dict[str, object], path: str, found: Findings) -> None:
    name, task = pick(obj, "taskType", "task_type")
    if task is None or type(task) is int:  # proto JSON also accepts the number of an enum value
        return
    if type(task) is not str:
        found.error(
            f"{path}.{name}",
            f"The task type is {kind(task)}; it must be a string.",
            'Write, for example, `"RETRIEVAL_DOCUMENT"`.',
        )
        return
    if task in fields.TASK_TYPES:
        return
    shape = task.upper().replace("-", "_").replace(" ", "_")
    if meant := difflib.get_close_matches(shape, sorted(fields.TASK_TYPES), n=1, cutoff=0.8):
        found.error(f"{path}.{name}", f"{clip(task)} is not a task type.", f"Did you mean `{meant[0]}`?")
    else:
        known = ", ".join(sorted(fields.TASK_TYPES - {"TASK_TYPE_UNSPECIFIED"}))
        found.warn(f"{path}.{name}", f"{clip(task)} is not a known task type.", f"Use one of these: {known}.")


def _dimension(obj: dict[str, object], path: str, found: Findings) -> int | None:
    name, value = pick(obj, "outputDimensionality", "output_dimensionality")
    if value is None:
        return None
    # Proto JSON reads 768, 768.0 and "768" alike.
    if (type(value) is float and value.is_integer()) or (type(value) is str and re.fullmatch(r"[0-9]{1,10}", value)):
        value = int(value)
    if type(value) is int and 0 < value < 2**31:
        return value
    found.error(f"{path}.{name}", "The dimension must be a whole number greater than 0.", "Write, for example, `768`.")
    return None
