"""A response as what the model said: one turn for each candidate, and its thoughts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers import shapes
from gemini_batch.catalog import Method
from gemini_batch.jsonl import loads
from gemini_batch.transcript.turns import Turn, pretty_text, turns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.answers.response_types import Candidate, Part

#: So many numbers of a vector are shown.
_NUMBERS = 4


def reply_of(response: bytes, *, method: Method, expects_json: bool = False) -> list[Turn]:
    """The turns of a response, in the service's shape or OpenAI's. Never raises: another shape is shown as it is.

    ``expects_json``: the request asked for JSON, which is shown on several lines.
    """
    try:
        if method is Method.EMBED:
            return [Turn("model", _vector(shapes.read_embedded(response)[1]))]
        candidates, readable = shapes.read_generated(response)
    except shapes.Unreadable:
        return [Turn("model", response.decode(errors="replace"))]
    found = list(_candidates(candidates.candidates or [], expects_json=expects_json))
    return found if found or readable else [Turn("model", response.decode(errors="replace"))]


def _candidates(candidates: Sequence[Candidate], *, expects_json: bool) -> Iterator[Turn]:
    for number, candidate in enumerate(candidates, 1):
        role = "model" if len(candidates) == 1 else f"candidate {number}"
        parts = candidate.content.parts if candidate.content is not None else None
        for turn in turns_of(role, [_plain(part) for part in parts or ()]):
            shown = pretty_text(turn.text) if expects_json and turn.role == role else None
            yield turn if shown is None else Turn(turn.role, shown)


def _plain(part: Part) -> dict[str, Any]:
    """The fields of a part that are there; those that the judge leaves undecoded are decoded."""
    fields: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(part).items():
        plain = _loose(bytes(value)) if isinstance(value, msgspec.Raw) else value
        if plain is not None:
            fields[name] = plain
    return fields


def _loose(raw: bytes) -> object:
    try:
        return loads(raw) if raw else None
    except (ValueError, RecursionError):
        return raw.decode(errors="replace")


def _vector(values: Sequence[object] | None) -> str:
    if not values:
        return "[no vector]"
    first = ", ".join(f"{value:.6g}" if isinstance(value, (int, float)) else str(value) for value in values[:_NUMBERS])
    return f"[vector of {len(values):,} numbers: {first}{', …' if len(values) > _NUMBERS else ''}]"
