"""Reads, tolerantly, the parts of a response that a verdict depends on.

A well-formed response is decoded in one typed pass that skips everything else. A malformed response is read again
piece by piece, so that an invalid ``usageMetadata`` does not spoil a good candidate, nor the other way round.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.jsonl import decode_as, repair

if TYPE_CHECKING:
    from collections.abc import Sequence


Count = int | float | str | None


class Part(msgspec.Struct, rename="camel"):
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


class Content(msgspec.Struct):
    """The content of a candidate; ``parts`` is often absent."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    """The judged fields of one candidate."""

    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    citation_metadata: msgspec.Raw = msgspec.Raw()


class Feedback(msgspec.Struct, rename="camel"):
    """Why a prompt got no answer at all."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class Modality(msgspec.Struct, rename="camel"):
    """Tokens of one modality."""

    modality: str | None = None
    token_count: Count = None


class Tokens(msgspec.Struct, rename="camel"):
    """``usageMetadata``; counts are numbers, in some places strings."""

    prompt_token_count: Count = None
    cached_content_token_count: Count = None
    candidates_token_count: Count = None
    thoughts_token_count: Count = None
    tool_use_prompt_token_count: Count = None
    total_token_count: Count = None
    prompt_tokens_details: list[Modality] | None = None
    candidates_tokens_details: list[Modality] | None = None


class Generated(msgspec.Struct, rename="camel"):
    """``GenerateContentResponse``."""

    candidates: list[Candidate] | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Tokens | None = None
    model_version: str | None = None


class Vector(msgspec.Struct):
    """An embedding. The typed pass accepts only numbers in ``values``."""

    values: list[float] | None = None


class Embedded(msgspec.Struct, rename="camel"):
    """``EmbedContentResponse``, with the ``tokenCount`` of its older form."""

    embedding: Vector | None = None
    prompt_feedback: Feedback | None = None
    usage_metadata: Tokens | None = None
    token_count: Count = None
    model_version: str | None = None


class Unreadable(ValueError):
    """The response, or the part of it that matters, has an unknown shape."""


_decode_generated = msgspec.json.Decoder(Generated).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_embedded = msgspec.json.Decoder(Embedded).decode


def read_generated(response: bytes) -> tuple[Generated, bool]:
    """Read the response to a generation request; returns it, and whether all its candidates have the right shape.

    ``candidates`` ends before the first one that has another shape. Raises :class:`Unreadable` if the response is not a
    JSON object.
    """
    try:
        return _decode_generated(response), True
    except (msgspec.DecodeError, RecursionError):
        whole = _object(response)
    found = Generated(
        prompt_feedback=_piece(whole.get("promptFeedback"), Feedback),
        usage_metadata=_piece(whole.get("usageMetadata"), Tokens),
        model_version=_piece(whole.get("modelVersion"), str),
    )
    raw = whole.get("candidates")
    if raw is None or bytes(raw) == b"null":
        return found, True
    candidates = _piece(raw, list[msgspec.Raw])
    if not candidates:
        return found, candidates is not None
    read = [_piece(candidate, Candidate) for candidate in candidates]
    found.candidates = list(takewhile(lambda candidate: candidate is not None, read))
    return found, len(found.candidates) == len(read)


def read_embedded(response: bytes) -> tuple[Embedded, Sequence[object] | None]:
    """Read the response to an embedding request; returns it, and the values of its vector. Raises :class:`Unreadable`.

    The values are floats in a well-formed response and anything otherwise; None if there is no list of them.
    """
    try:
        found = _decode_embedded(response)
    except (msgspec.DecodeError, RecursionError):
        whole = _object(response)
    else:
        return found, None if found.embedding is None else found.embedding.values
    found = Embedded(
        prompt_feedback=_piece(whole.get("promptFeedback"), Feedback),
        usage_metadata=_piece(whole.get("usageMetadata"), Tokens),
        token_count=_piece(whole.get("tokenCount"), Count),
        model_version=_piece(whole.get("modelVersion"), str),
    )
    embedding = _piece(whole.get("embedding"), dict[str, msgspec.Raw]) or {}
    return found, _piece(embedding.get("values"), list[object])


def _piece(raw: msgspec.Raw | None, shape: Any) -> Any:
    """A part of a response as ``shape``, or None if it has another shape."""
    try:
        return None if raw is None else decode_as(raw, shape)
    except (msgspec.DecodeError, RecursionError):
        return None


def _object(response: bytes) -> dict[str, msgspec.Raw]:
    repaired = repair(response)
    if repaired is None:
        raise Unreadable("the response is not JSON")
    try:
        return _decode_object(repaired)
    except msgspec.DecodeError:
        raise Unreadable("the response is not a JSON object") from None
