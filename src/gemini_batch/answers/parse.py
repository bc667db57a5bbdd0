"""Parses one raw line of results into an :class:`Answer`, or into the reason why it is not one.

The shapes observed: ``{"response": …, "key": …}`` and ``{"error": …, "key": …}`` in a result file, ``{"response": …,
"metadata": {"key": …}}`` inline, ``status`` instead of ``error`` from some services, and lines in OpenAI's shape, whose
key is ``custom_id`` (:mod:`.openai_output`). ``response`` and ``error`` keep the service's own bytes. Answers are
joined by key only, so a line whose key is absent or not a string is not an answer, whatever else it has.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gemini_batch import jsonl
from gemini_batch.answers.openai_output import unwrapped

_OBJECT_OR_NULL = (b"{}", b"null", b'""')


class Answer(msgspec.Struct, frozen=True):
    """One line that has a key.

    ``response`` and ``error`` are JSON bytes, or None if the line has none. ``repaired``: the line was not strict JSON
    (half a surrogate pair, NaN) and was rewritten with U+FFFD and null in those places. ``tier``: the service tier that
    served a call, where our own journal names one.
    """

    key: str
    response: bytes | None = None
    error: bytes | None = None
    repaired: bool = False
    tier: str = ""


class NotAnAnswer(msgspec.Struct, frozen=True):
    """A line that cannot be joined to a request: a code (``NOT_UTF8``, ``NOT_JSON``, ``NOT_AN_OBJECT``, ``NO_KEY`` or
    ``KEY_NOT_TEXT``) and a message."""

    reason: str
    message: str


class _Line(msgspec.Struct):
    key: str
    response: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    tier: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="serviceTier")


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse_line(data: bytes) -> Answer | NotAnAnswer:
    """Parse one line of raw results, without its line ending. Never raises."""
    if not data.isascii():
        # The decoder does not check what it leaves raw, so bytes that are not text would pass.
        try:
            data.decode()
        except UnicodeDecodeError as bad:
            return NotAnAnswer("NOT_UTF8", f"The line is not UTF-8 text at byte {bad.start + 1}.")
    try:
        line = _decode_line(data)
    except (msgspec.DecodeError, RecursionError):
        return _read_closely(data)
    if not line.key:
        return _read_closely(data)
    tier = line.tier and _plain(line.tier)
    return Answer(
        line.key,
        _value(line.response),
        _value(line.error) or _status(line.status),
        tier=tier if type(tier) is str else "",
    )


def _value(raw: msgspec.Raw) -> bytes | None:
    value = bytes(raw)
    return None if value in (b"", b"null") else value


def _status(raw: msgspec.Raw) -> bytes | None:
    """``status`` counts only if it is not empty; Vertex AI writes an empty string next to good answers."""
    value = bytes(raw)
    if not value or value in _OBJECT_OR_NULL or value.upper() == b'"OK"':
        return None
    try:
        status = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value
    fine = not status or (type(status) is dict and not status.get("message") and status.get("code") in (0, "0", "OK"))
    return None if fine else value


def _read_closely(data: bytes) -> Answer | NotAnAnswer:
    repaired = False
    try:
        line = _decode_object(data)
    except msgspec.ValidationError:
        return NotAnAnswer("NOT_AN_OBJECT", "The line is JSON but not an object.")
    except (msgspec.DecodeError, RecursionError):
        fixed = jsonl.repair(data)
        if fixed is None:
            return NotAnAnswer("NOT_JSON", _what_is_wrong(data))
        try:
            line, repaired = _decode_object(fixed), True
        except (msgspec.DecodeError, RecursionError):
            return NotAnAnswer("NOT_AN_OBJECT", "The line is not an object.")
    key = _plain(line.get("key"))
    if key is None:
        metadata = _plain(line.get("metadata"))
        key = metadata.get("key") if type(metadata) is dict else None
    if key is None and "custom_id" in line:
        inside = unwrapped(line)
        key, line = _plain(line["custom_id"]), {"response": inside.response, "error": inside.error}
    if key is None or key == "":
        return NotAnAnswer("NO_KEY", "The line has no key, so it belongs to no request.")
    if type(key) is not str:
        return NotAnAnswer("KEY_NOT_TEXT", "The key of the line is not a string, so it belongs to no request.")
    absent = msgspec.Raw()
    error = _value(line.get("error", absent)) or _status(line.get("status", absent))
    return Answer(key, _value(line.get("response", absent)), error, repaired)


def _plain(raw: msgspec.Raw | None) -> Any:
    try:
        return None if raw is None else msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


def _what_is_wrong(data: bytes) -> str:
    try:
        jsonl.decode(data)
    except ValueError as bad:
        return f"The line is not valid JSON: {bad}."
    return "The line is not valid JSON."
