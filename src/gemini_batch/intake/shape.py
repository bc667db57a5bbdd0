"""The shape of a run's requests: what they ask for, without what each of them is about."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from pathlib import Path


def shape_of(requests: Path, prompt: str | None = None) -> str:
    """A hash of the first request without its texts and media, and of the template of a table's ``prompt``.

    Runs of the same shape and model have answers of similar length. Raises OSError.
    """
    with requests.open("rb") as file:
        request = msgspec.json.decode(file.readline())["request"]
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
