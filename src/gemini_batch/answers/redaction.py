"""Removes the API key from the service's own words in a file of raw answers, before the file is put into place.

The answers themselves are the user's data and stay as they came, byte for byte, even where a model writes a key.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.jsonl import LongLine, read_all_lines

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.safe_text import Redactor

#: A line without any of these holds nothing but an answer. Names and values can be written with escapes.
_MARKS = (b"error", b"status", b"Message", b"\\u00")
#: The service's words inside a response.
_WORDS = frozenset({"finishMessage", "blockReasonMessage"})


def redact_errors(part: Path, redactor: Redactor) -> None:
    """Rewrite the file where the service's words hold the key; a file without it is left alone. Raises OSError."""
    with part.open("rb") as file:
        if not any(_leaks(line, redactor) for line in read_all_lines(file)):
            return
        clean = part.with_suffix(".clean")
        file.seek(0)
        with clean.open("wb") as target:
            for line in read_all_lines(file):
                _write(target, line, redactor)
    clean.replace(part)


def _leaks(line: jsonl.Line | LongLine, redactor: Redactor) -> bool:
    if isinstance(line, LongLine):
        return False
    return any(mark in line.data for mark in _MARKS) and redactor.holds_secret(line.data)


def _write(target: IO[bytes], line: jsonl.Line | LongLine, redactor: Redactor) -> None:
    if isinstance(line, LongLine):
        target.write(b"{}\n")  # it is no answer; only its place is kept
    else:
        target.write((_redacted(line.data, redactor) if _leaks(line, redactor) else line.data) + b"\n")


def _redacted(data: bytes, redactor: Redactor) -> bytes:
    try:
        line = jsonl.loads(data)
    except (ValueError, RecursionError):
        return redactor.in_bytes(data)
    if not isinstance(line, dict):
        return redactor.in_bytes(data)
    safe = {
        name: value if name == "key" else _clean(value, redactor, words=name not in {"response", "metadata"})
        for name, value in line.items()
    }
    return jsonl.dumps(safe)


def _clean(value: Any, redactor: Redactor, *, words: bool) -> Any:
    """The value without the key in the service's words: in every string if ``words``, else in the fields for them."""
    if isinstance(value, dict):
        return {
            redactor(name) if words else name: _clean(inner, redactor, words=words or name in _WORDS)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_clean(inner, redactor, words=words) for inner in value]
    return redactor(value) if words and isinstance(value, str) else value
