"""Removes the API key from the service's own words in a file of raw answers, before the file is put into place.

What a model has written is the user's data and stays as it came, byte for byte, even if there is a key in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.jsonl import LongLine, private_open, read_all_lines

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.safe_text import Redactor

#: Bytes that are searched together.
_BLOCK = 1024 * 1024
#: Where a line holds what a model has written, or the user's own key; lists have no place of their own.
_KEPT = frozenset(
    {
        ("key",),
        ("metadata", "key"),
        ("response", "candidates", "content"),
        ("response", "embedding"),
        ("response", "embeddings"),
        ("custom_id",),
        ("response", "body", "choices", "message"),
        ("response", "body", "data", "embedding"),
    }
)


def holds_key(part: Path, redactor: Redactor) -> bool:
    """Whether the key is in a line of the file, in any form. Raises OSError."""
    with part.open("rb") as file:
        before = b""
        while block := file.read(_BLOCK):
            # The last line may go on in the next block; of a very long one, as much is kept as a key can take.
            block = before + block
            if not redactor.is_free(block) and any(map(redactor.holds_secret, block.split(b"\n"))):
                return True
            before = block[max(block.rfind(b"\n") + 1, len(block) - _BLOCK) :]
    return False


def redact_words(part: Path, redactor: Redactor) -> bool:
    """Rewrite the file where the service's words hold the key; a file without it is left alone, and gives False.

    Raises OSError.
    """
    if not holds_key(part, redactor):
        return False
    clean = part.with_suffix(".clean")
    with part.open("rb") as file, private_open(clean, "wb") as target:
        for line in read_all_lines(file):
            # A line beyond the limit is no answer; only its place is kept.
            target.write((b"{}" if isinstance(line, LongLine) else redacted(line.data, redactor)) + b"\n")
    clean.replace(part)
    return True


def redacted(data: bytes, redactor: Redactor) -> bytes:
    """One line of raw answers without the key in the service's words; the same bytes if it is not there."""
    if not redactor.holds_secret(data):
        return data
    try:
        line = jsonl.loads(data)
        if isinstance(line, dict):
            clean = _without(line, redactor)
            return data if clean == line else jsonl.dumps(clean)
    except (ValueError, RecursionError):
        pass
    return redactor.in_bytes(data)


def _without(value: Any, redactor: Redactor, place: tuple[str, ...] = ()) -> Any:
    if place in _KEPT:
        return value
    if isinstance(value, dict):
        return {redactor.without(name): _without(inner, redactor, (*place, name)) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without(inner, redactor, place) for inner in value]
    return redactor.without(value) if isinstance(value, str) else value
