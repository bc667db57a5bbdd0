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

#: The fields that hold what a model has written, or the user's own key.
_KEPT = frozenset({"key", "content", "embedding"})


def redact_words(part: Path, redactor: Redactor) -> None:
    """Rewrite the file where the service's words hold the key; a file without it is left alone. Raises OSError."""
    clean = part.with_suffix(".clean")
    with part.open("rb") as file:
        if not any(isinstance(line, jsonl.Line) and redactor.holds_secret(line.data) for line in read_all_lines(file)):
            return
        file.seek(0)
        with private_open(clean, "wb") as target:
            for line in read_all_lines(file):
                # A line beyond the limit is no answer; only its place is kept.
                target.write((b"{}" if isinstance(line, LongLine) else redacted(line.data, redactor)) + b"\n")
    clean.replace(part)


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


def _without(value: Any, redactor: Redactor) -> Any:
    if isinstance(value, dict):
        return {
            redactor.without(name): inner if name in _KEPT else _without(inner, redactor)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_without(inner, redactor) for inner in value]
    return redactor.without(value) if isinstance(value, str) else value
