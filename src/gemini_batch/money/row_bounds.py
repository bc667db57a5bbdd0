"""The most tokens that one request can be charged for, read from its line.

A token is at least one byte of the request, so a request of text has no more prompt tokens than bytes. An answer,
thoughts included, has no more tokens than ``maxOutputTokens``; without that, than the model's limit.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

#: Kinds of requests: prompts of text, with pictures or documents, with what may have sound; and requests that are
#: charged for other things than tokens (searches, for example), so that tokens bound nothing.
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


_decode = msgspec.json.Decoder(_Line).decode


def row_bound(data: bytes, *, embeds: bool) -> RowBound:
    """The bound of a request, from its line, which has been checked. ``embeds``: it asks for an embedding."""
    media = b"nlineData" in data or b"nline_data" in data or b"ileData" in data or b"ile_data" in data
    whole = media or b"achedContent" in data or b"ached_content" in data
    prompt = None if whole else len(data)
    kind = _kind(data) if media else TEXT
    if embeds:
        return RowBound(kind, prompt, 0)
    if not (b"OutputTokens" in data or b"output_tokens" in data or b"andidate" in data or b'"tools"' in data):
        return RowBound(kind, prompt, None)
    request = _decode(data).request
    config = request.generationConfig or request.generation_config or _Config()
    most = _count(config.maxOutputTokens, config.max_output_tokens)
    answers = _count(config.candidateCount, config.candidate_count) or 1
    if not _tools_are_free(request.tools) or (answers > 1 and most is None):
        return RowBound(UNBOUNDED, prompt, most)
    return RowBound(kind, prompt, None if most is None else most * answers)


def _kind(data: bytes) -> int:
    """Whether the attachments of a prompt certainly have no sound."""
    silent = len(_SILENT.findall(data))
    return PICTURES if silent == len(_TYPED.findall(data)) >= len(_ATTACHED.findall(data)) else SOUND


def _count(*stated: object) -> int | None:
    """A number in either spelling; the service takes it as text, too."""
    for value in stated:
        if isinstance(value, (int, float)) or (isinstance(value, str) and value.strip().isdecimal()):
            return int(value)
    return None


def _tools_are_free(tools: object) -> bool:
    listed = tools if isinstance(tools, list) else [tools]
    return all(tool is None or (isinstance(tool, dict) and tool.keys() <= _FREE_TOOLS) for tool in listed)
