"""The shape of a run's requests: what they ask for, without what each of them is about."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec


def shape_of(request: dict[str, Any], prompt: str | None = None) -> str:
    """A hash of a run's first request, without texts and media, and of the template of a table's ``prompt``.

    Runs of the same shape and model have answers of similar length.
    """
    settings = {name: value for name, value in request.items() if name not in {"contents", "content"}}
    turns = request.get("contents") or request.get("content")
    known: list[Any] = [settings, _outline(turns), prompt]
    return hashlib.blake2b(msgspec.json.encode(known, order="sorted"), digest_size=16).hexdigest()


def _outline(value: Any) -> Any:
    """The same structure with empty texts."""
    match value:
        case dict():
            return {name: _outline(inner) for name, inner in value.items()}
        case list():
            return [_outline(inner) for inner in value]
        case str():
            return ""
        case _:
            return value
