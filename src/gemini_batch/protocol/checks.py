"""The rules that a request breaks: what the service refuses although its names and types are right.

The values stand in ``schema.json`` and, with their sources, in :mod:`rules`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.protocol import content_checks, setting_checks
from gemini_batch.protocol.judging import Broken, Judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.protocol.reading import Place

#: Longer settings (an image in the system instruction) are judged anew in every line instead of being kept in memory.
_KEPT = 64 * 1024


#: The field that says what to work on; everything else in a request is its settings.
CONTENTS = {"GenerateContentRequest": "contents", "EmbedContentRequest": "content"}


def broken(message: str, request: dict[str, Any], *, model: str = "") -> list[Broken]:
    """The rules that a ``GenerateContentRequest`` or ``EmbedContentRequest`` in canonical form breaks.

    What a request says next to its contents is the same in most lines of a file, so its verdict is remembered.
    """
    field = CONTENTS[message]
    found: list[Broken] = []
    if len(request) > (field in request):
        try:
            settings = jsonl.encode({name: value for name, value in request.items() if name != field})
        except RecursionError:
            return [Broken((), "The request is nested too deeply.", "Flatten it.", "message too deep", certain=True)]
        judged = _remembered if len(settings) <= _KEPT else _remembered.__wrapped__
        found += judged(message, settings, model)
    return found + broken_contents(message, request.get(field), model=model)


def broken_contents(message: str, value: Any, *, model: str = "") -> list[Broken]:
    """The rules that the contents of a request break."""
    return Judge(message, _CONTENTS, model).message(message, {CONTENTS[message]: value})


def broken_settings(message: str, request: dict[str, Any], *, model: str = "") -> list[Broken]:
    """The rules that the rest of a request breaks."""
    found = Judge(message, _SETTINGS, model).message(message, request)
    return [one for one in found if one.place[0] != CONTENTS[message]]


@lru_cache(maxsize=64)
def _remembered(message: str, settings: bytes, model: str) -> tuple[Broken, ...]:
    return tuple(broken_settings(message, jsonl.decode(settings), model=model))


_ANYWHERE: dict[str, Callable[[Judge, dict[str, Any], Place], None]] = {
    "Content": content_checks.content,
    "Part": content_checks.part,
    "Blob": content_checks.blob,
    "FunctionResponseBlob": content_checks.blob,
    "GenerationConfig": setting_checks.config,
    "ThinkingConfig": setting_checks.thinking,
    "Schema": setting_checks.schema,
    "FunctionDeclaration": setting_checks.function,
    "SpeechConfig": setting_checks.speech,
    "SafetySetting": setting_checks.safety,
    "FunctionCallingConfig": setting_checks.calling,
    "Interval": setting_checks.interval,
}
_SETTINGS = {**_ANYWHERE, "GenerateContentRequest": setting_checks.request}
_CONTENTS = {
    **_ANYWHERE,
    "GenerateContentRequest": content_checks.contents,
    "EmbedContentRequest": content_checks.embedding,
}
