"""The parts of a response that a verdict depends on, as types.

They hold no cycles, so the garbage collector is not told of them: there are millions.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gemini_batch.jsonl import decode_as

Count = int | float | str | None


class Part(msgspec.Struct, rename="camel", gc=False):
    """A part of a content; fields other than ``text`` are kept as received."""

    text: str | None = None
    thought: bool | None = None
    inline_data: msgspec.Raw = msgspec.Raw()
    file_data: msgspec.Raw = msgspec.Raw()
    function_call: msgspec.Raw = msgspec.Raw()
    executable_code: msgspec.Raw = msgspec.Raw()
    code_execution_result: msgspec.Raw = msgspec.Raw()
    tool_call: msgspec.Raw = msgspec.Raw()
    tool_response: msgspec.Raw = msgspec.Raw()


class Content(msgspec.Struct, gc=False):
    """The content of a candidate; ``parts`` is often absent."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel", gc=False):
    """The judged fields of one candidate."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    citation_metadata: msgspec.Raw = msgspec.Raw()
    grounding_metadata: msgspec.Raw = msgspec.Raw()


class Grounding(msgspec.Struct, rename="camel", gc=False):
    """What is paid for of ``groundingMetadata``; every part is read on its own."""

    web_search_queries: msgspec.Raw = msgspec.Raw()
    image_search_queries: msgspec.Raw = msgspec.Raw()
    grounding_chunks: msgspec.Raw = msgspec.Raw()


class Feedback(msgspec.Struct, rename="camel", gc=False):
    """Why a prompt got no answer at all."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class Modality(msgspec.Struct, rename="camel", gc=False):
    """Tokens of one modality."""

    modality: str | None = None
    token_count: Count = None


class Tokens(msgspec.Struct, rename="camel", gc=False):
    """``usageMetadata``; counts are numbers, in some places strings."""

    prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    total_token_count: Count = None
    prompt_tokens_details: list[Modality] | None = None
    prompt_token_details: list[Modality] | None = None
    """The same in the answer to an embedding request."""
    cache_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None


class Generated(msgspec.Struct, rename="camel", gc=False):
    """``GenerateContentResponse``."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Tokens | None = None
    model_version: str | None = None
    choices: msgspec.Raw = msgspec.Raw()
    """A chat completion has these instead of candidates."""


class Vector(msgspec.Struct, gc=False):
    """An embedding. The typed pass accepts only numbers in ``values``."""

    values: list[float] | None = None


class Embedded(msgspec.Struct, rename="camel", gc=False):
    """``EmbedContentResponse``, with the ``tokenCount`` of its older form."""

    embedding: Vector | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Tokens | None = None
    token_count: Count = None
    model_version: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    """A list of embeddings has this instead."""


def piece(raw: msgspec.Raw | None, shape: Any) -> Any:
    """A part of a response as ``shape``, or None if it has another shape."""
    try:
        return None if raw is None else decode_as(raw, shape)
    except (msgspec.DecodeError, RecursionError):
        return None
