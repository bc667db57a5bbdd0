"""The most tokens that one request can be charged for, read from its line.

A token is at least one byte of the request, so a request of text has no more prompt tokens than bytes. An answer,
thoughts included, has no more tokens than ``maxOutputTokens``; without that, than the model's limit. What is not
understood bounds nothing: where a request says something twice, or in a way that the service may read differently, the
larger reading counts.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Kinds of requests: prompts of text, with pictures or documents, with what may have sound; and requests that nothing
#: bounds, because they are charged for other things than tokens (searches, for example) or ask for several answers.
TEXT, PICTURES, SOUND, UNBOUNDED = range(4)
#: What each attachment of a prompt without sound names as its type.
_SILENT = re.compile(rb'"mime_?[tT]ype"\s*:\s*"(?:image/|text/|application/pdf")')
_TYPED = re.compile(rb'"mime_?[tT]ype"\s*:')
_ATTACHED = re.compile(rb'"(?:inline_?[dD]ata|file_?[dD]ata)"\s*:')

#: The only tools that cost nothing besides the tokens of the request itself and of the answer.
_FREE_TOOLS = frozenset({"functionDeclarations", "function_declarations"})


class RowBound(NamedTuple):
    """At most so many tokens; None: as many as the model takes or gives."""

    kind: int
    input: int | None
    output: int | None


class _Config(msgspec.Struct):
    maxOutputTokens: Any = None  # noqa: N815 - the service's names
    max_output_tokens: Any = None
    candidateCount: Any = None  # noqa: N815
    candidate_count: Any = None


class _Request(msgspec.Struct):
    generationConfig: _Config | None = None  # noqa: N815
    generation_config: _Config | None = None
    tools: Any = None


class _Line(msgspec.Struct):
    request: _Request


class _Said(NamedTuple):
    """What a request says: its kind, whether its size bounds its prompt, and the limit of its answer."""

    kind: int
    bounded: bool
    output: int | None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_settings = msgspec.json.Decoder(_Request).decode
#: Longer settings are read anew for every line instead of being kept in memory.
_KEPT = 64 * 1024


def row_bound(data: bytes, *, embeds: bool, settings: bytes | None = None) -> RowBound:
    """The bound of a request, from its line, which has been checked. ``embeds``: it asks for an embedding.

    ``settings``: what it says next to its contents, as JSON, if these are known to be only text.
    """
    if settings is None:
        said = _read(data)
    else:
        said = _of_settings(settings) if len(settings) <= _KEPT else _of_settings.__wrapped__(settings)
    return RowBound(said.kind, len(data) if said.bounded else None, 0 if embeds else said.output)


@lru_cache(maxsize=64)
def _of_settings(settings: bytes) -> _Said:
    return _said(settings, _decode_settings)


def _read(data: bytes) -> _Said:
    if b"\\u" in data:  # a name may be written with escapes, too
        data = msgspec.json.encode(msgspec.json.decode(data))
    return _said(data, lambda line: _decode_line(line).request)


def _said(data: bytes, read: Callable[[bytes], _Request]) -> _Said:
    """What is said in ``data``, where names of fields can stand; ``read`` gives its settings, if they are needed."""
    media = b"nlineData" in data or b"nline_data" in data or b"ileData" in data or b"ile_data" in data
    cached = b"achedContent" in data or b"ached_content" in data
    kind = SOUND if cached else _kind(data) if media else TEXT
    bounded = not (media or cached)
    if not (b"OutputTokens" in data or b"output_tokens" in data or b"andidate" in data or b'"tools"' in data):
        return _Said(kind, bounded, None)
    request = read(data)
    configs = [config for config in (request.generationConfig, request.generation_config) if config is not None]
    most = _largest(value for one in configs for value in (one.maxOutputTokens, one.max_output_tokens))
    answers = [value for one in configs for value in (one.candidateCount, one.candidate_count) if value is not None]
    if not _tools_are_free(request.tools) or any(_count(value) not in {0, 1} for value in answers):
        kind = UNBOUNDED
    return _Said(kind, bounded, most)


def _kind(data: bytes) -> int:
    """Whether the attachments of a prompt certainly have no sound."""
    silent = len(_SILENT.findall(data))
    return PICTURES if silent == len(_TYPED.findall(data)) >= len(_ATTACHED.findall(data)) else SOUND


def _largest(stated: Iterable[object]) -> int | None:
    """The limit that certainly holds; None if none is stated, or if one is not understood.

    The service may take 0 for "not set".
    """
    counts = [_count(value) for value in stated if value is not None]
    known = [count for count in counts if count is not None and count > 0]
    return max(known) if known and len(known) == len(counts) else None


def _count(value: object) -> int | None:
    """A whole number; the service takes it as text, too. None for what is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return math.ceil(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else None


def _tools_are_free(tools: object) -> bool:
    listed = tools if isinstance(tools, list) else [tools]
    return all(tool is None or (isinstance(tool, dict) and tool.keys() <= _FREE_TOOLS) for tool in listed)
