"""The tokens that a request used, by kind: the basis of its cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gemini_batch.answers.response_types import Modality, Tokens


_DIGITS = re.compile(r"[0-9]{1,15}")
#: A larger count is invalid; the limit also keeps sums within SQLite's integers.
_MOST = 10**15


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer.

    ``input``: the whole prompt, including ``cached`` and ``audio_input``. ``output``: what was written, including
    ``image_output`` but not ``thoughts``, which are billed as output too. ``tool_use``: what tools added to the prompt,
    not included in ``input``. ``known``: the answer stated its usage; otherwise all counts are 0.
    """

    input: int = 0
    cached: int = 0
    output: int = 0
    thoughts: int = 0
    tool_use: int = 0
    audio_input: int = 0
    image_output: int = 0
    known: bool = False


UNKNOWN = Usage()


def usage_of(tokens: Tokens | None, token_count: object = None) -> Usage:
    """Read ``usageMetadata``, or the bare ``tokenCount`` of an older embedding response.

    Zero counts are omitted on the wire. If the candidates' count is absent but the total is present, the rest of the
    total is output.
    """
    if tokens is None:
        alone = count(token_count)
        return UNKNOWN if alone is None else Usage(input=alone, known=True)
    prompt = count(tokens.prompt_token_count)
    if prompt is None:
        return UNKNOWN
    thoughts = count(tokens.thoughts_token_count) or 0
    tool_use = count(tokens.tool_use_prompt_token_count) or 0
    output = count(tokens.candidates_token_count)
    if output is None:
        output = max(0, (count(tokens.total_token_count) or 0) - prompt - thoughts - tool_use)
    return Usage(
        prompt,
        count(tokens.cached_content_token_count) or 0,
        output,
        thoughts,
        tool_use,
        _modality(tokens.prompt_tokens_details, "AUDIO"),
        _modality(tokens.candidates_tokens_details, "IMAGE"),
        known=True,
    )


def _modality(details: list[Modality] | None, name: str) -> int:
    if not details:
        return 0
    return sum(count(one.token_count) or 0 for one in details if one.modality == name)


def count(value: object) -> int | None:
    """A count as on the wire (``4``, ``4.0``, ``"4"``), or None for anything else."""
    if type(value) is int:
        return value if 0 <= value < _MOST else None
    if type(value) is str:
        return int(value) if _DIGITS.fullmatch(value) else None
    if type(value) is float and value.is_integer() and 0 <= value < _MOST:
        return int(value)
    return None
