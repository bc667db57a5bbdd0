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
from gemini_batch.answers.response_types import Generated  # noqa: TC001 - msgspec needs the type itself

_OBJECT_OR_NULL = (b"{}", b"null", b'""')


class Answer(msgspec.Struct, frozen=True):
    """One line that has a key.

    ``response`` and ``error`` are JSON bytes, or None if the line has none. ``repaired``: the line was not strict JSON
    (half a surrogate pair, NaN) and was rewritten with U+FFFD and null in those places. ``tier``: the service tier that
    served a call, where our own journal names one. ``generated``: the response, if it was read together with the line;
    ``response`` is None then.
    """

    key: str
    response: bytes | None = None
    error: bytes | None = None
    repaired: bool = False
    tier: str = ""
    generated: Generated | None = None


class NotAnAnswer(msgspec.Struct, frozen=True):
    """A line that cannot be joined to a request: a code (``NOT_UTF8``, ``NOT_JSON``, ``NOT_AN_OBJECT``, ``NO_KEY`` or
    ``KEY_NOT_TEXT``) and a message."""

    reason: str
    message: str


class _Beside(msgspec.Struct, gc=False):
    """What a line says next to its response."""

    key: str
    error: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    tier: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="serviceTier")


class _Line(_Beside, gc=False):
    response: msgspec.Raw = msgspec.Raw()


class _Generation(_Beside, gc=False):
    """A line whose response is read in the same pass."""

    response: Generated | None = None


class _Response(msgspec.Struct, gc=False):
    key: str
    response: msgspec.Raw


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_generation = msgspec.json.Decoder(_Generation).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse_line(data: bytes) -> Answer | NotAnAnswer:
    """Parse one line of raw results, without its line ending. Never raises."""
    if (broken := _not_text(data)) is not None:
        return broken
    try:
        line = _decode_line(data)
    except (msgspec.DecodeError, RecursionError):
        return _read_closely(data)
    if not line.key:
        return _read_closely(data)
    return Answer(line.key, _value(line.response), _error(line), tier=_tier(line.tier))


def parse_generated(data: bytes) -> Answer | NotAnAnswer:
    """The same for a line of generated text: the response is read in the same pass, if it has the usual shape."""
    if (broken := _not_text(data)) is not None:
        return broken
    try:
        line = _decode_generation(data)
    except (msgspec.DecodeError, RecursionError):
        return parse_line(data)
    found = line.response
    if not line.key or (found is not None and found.choices and not found.candidates):
        return parse_line(data)
    return Answer(line.key, None, _error(line), False, _tier(line.tier), found)


def response_in(data: bytes) -> bytes | None:
    """The response in a line that was parsed before, as ``Answer.response``; None if it is no answer any more."""
    try:
        return bytes(_decode_response(data).response)
    except (msgspec.DecodeError, RecursionError):
        answer = parse_line(data)
        return answer.response if isinstance(answer, Answer) else None


def _not_text(data: bytes) -> NotAnAnswer | None:
    """The decoder does not check what it leaves raw, so bytes that are not text would pass."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as bad:
            return NotAnAnswer("NOT_UTF8", f"The line is not UTF-8 text at byte {bad.start + 1}.")
    return None


def _error(line: _Beside) -> bytes | None:
    return _value(line.error) or _status(line.status)


def _tier(raw: msgspec.Raw) -> str:
    tier = raw and _plain(raw)
    return tier if type(tier) is str else ""


def _value(raw: msgspec.Raw) -> bytes | None:
    value = bytes(raw) if raw else b""
    return None if value in (b"", b"null") else value


def _status(raw: msgspec.Raw) -> bytes | None:
    """``status`` counts only if it is not empty; Vertex AI writes an empty string next to good answers."""
    value = bytes(raw) if raw else b""
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
