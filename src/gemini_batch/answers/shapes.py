"""Reads, tolerantly, the parts of a response that a verdict depends on.

A well-formed response is decoded in one typed pass that skips everything else. A malformed response is read again
piece by piece, so that an invalid ``usageMetadata`` does not spoil a good candidate, nor the other way round. A chat
completion and a list of embeddings, in output lines of OpenAI's shape, are read as the same types.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers import openai_output
from gemini_batch.answers.response_types import Candidate, Count, Embedded, Feedback, Generated, Tokens, piece
from gemini_batch.jsonl import repair

if TYPE_CHECKING:
    from collections.abc import Sequence


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
        found = _decode_generated(response)
    except (msgspec.DecodeError, RecursionError):
        whole = _object(response)
    else:
        if not found.choices or found.candidates:
            return found, True
        whole = _object(response)
    if "choices" in whole and "candidates" not in whole:
        return openai_output.generated(whole)
    found = Generated(
        prompt_feedback=piece(whole.get("promptFeedback"), Feedback),
        usage_metadata=piece(whole.get("usageMetadata"), Tokens),
        model_version=piece(whole.get("modelVersion"), str),
    )
    raw = whole.get("candidates")
    if raw is None or bytes(raw) == b"null":
        return found, True
    candidates = piece(raw, list[msgspec.Raw])
    if not candidates:
        return found, candidates is not None
    read = [piece(candidate, Candidate) for candidate in candidates]
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
        if not found.data or found.embedding is not None:
            return found, None if found.embedding is None else found.embedding.values
        whole = _object(response)
    if "data" in whole and "embedding" not in whole:
        return openai_output.embedded(whole)
    found = Embedded(
        prompt_feedback=piece(whole.get("promptFeedback"), Feedback),
        usage_metadata=piece(whole.get("usageMetadata"), Tokens),
        token_count=piece(whole.get("tokenCount"), Count),
        model_version=piece(whole.get("modelVersion"), str),
    )
    embedding = piece(whole.get("embedding"), dict[str, msgspec.Raw]) or {}
    return found, piece(embedding.get("values"), list[object])


def _object(response: bytes) -> dict[str, msgspec.Raw]:
    repaired = repair(response)
    if repaired is None:
        raise Unreadable("the response is not JSON")
    try:
        return _decode_object(repaired)
    except msgspec.DecodeError:
        raise Unreadable("the response is not a JSON object") from None
