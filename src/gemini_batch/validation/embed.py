"""Embedding requests: an ``EmbedContentRequest``, field by field.

As for generation, what was found about everything but the content is remembered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.protocol import checks
from gemini_batch.protocol.reading import scalar
from gemini_batch.protocol.spelling import camel
from gemini_batch.validation import contents, fields
from gemini_batch.validation.conform import Terms, conform
from gemini_batch.validation.findings import Findings, pick, strangers
from gemini_batch.validation.generate import KEPT, check_model

if TYPE_CHECKING:
    from gemini_batch.errors import Problem


_MESSAGE = "EmbedContentRequest"
_NO_TERMS = Terms()


class _Checked(NamedTuple):
    """What was found about the settings of a request, without a line number, and the length of its vector."""

    problems: tuple[Problem, ...]
    dimension: int | None


def check_embed(request: dict[str, Any], found: Findings, terms: Terms = _NO_TERMS) -> int | None:
    """Check an ``EmbedContentRequest``. Returns the requested length of the vector, or None."""
    content = request["content"]
    dimension = None
    if len(request) > 1:
        encoded = jsonl.encode({name: value for name, value in request.items() if name != "content"})
        checked = (_settings if len(encoded) <= KEPT else _settings.__wrapped__)(encoded, terms)
        found.take(checked.problems)
        dimension = checked.dimension
    if contents.is_plain([content]):
        return dimension
    if type(content) is list:
        found.error(
            "request.content",
            "`content` is a list; an embedding request takes exactly one content.",
            "Write one line for each text. To generate text, use `contents`.",
        )
    else:
        contents.check_content(content, "request.content", found)
    conform(
        _MESSAGE,
        {"content": content},
        found,
        lambda made: checks.broken_contents(_MESSAGE, made.get("content"), model=terms.model),
        lenient=terms.lenient,
    )
    return dimension


@lru_cache(maxsize=64)
def _settings(encoded: bytes, terms: Terms) -> _Checked:
    request = jsonl.decode(encoded)
    found = Findings(0)
    unknown = strangers(request, fields.EMBED)
    generation = [name for name in unknown if name in fields.GENERATE and request[name] is not None]
    if generation:
        found.error(
            "request.content",
            f"`content` requests an embedding, but `{generation[0]}` is for generation.",
            'To generate text, write `"contents": [{"parts": [{"text": "…"}]}]`: plural, with a list.',
        )
    for name in unknown:
        if name not in fields.GENERATE:
            _explain_embed(name, found)
    check_model(request.get("model"), found)
    conform(
        _MESSAGE,
        {name: value for name, value in request.items() if name not in generation},
        found,
        lambda made: checks.broken_settings(_MESSAGE, made, model=terms.model),
        lenient=terms.lenient,
    )
    dimension = None
    for obj in (request, pick(request, "embedContentConfig", "embed_content_config")[1]):
        if type(obj) is dict:
            dimension = scalar("i", pick(obj, "outputDimensionality", "output_dimensionality")[1]) or dimension
    return _Checked(tuple(found.problems), dimension)


def _explain_embed(name: str, found: Findings) -> None:
    """Explain a name that has another place or another spelling; :func:`conform` reports the rest."""
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
    elif word := fields.REQUEST_WORDS.get(camel(name)):
        found.error(field, f"`{name}` {word.what}.", word.instead)
