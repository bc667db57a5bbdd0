"""Parses one raw line of results into an :class:`Answer`, or into the reason why it is not one.

The shapes observed: ``{"response": …, "key": …}`` and ``{"error": …, "key": …}`` in a result file, ``{"response": …,
"metadata": {"key": …}}`` inline, lines in OpenAI's shape, whose key is ``custom_id`` (:mod:`.openai_output`), and lines
of Vertex AI, ``{"status": "", "request": …, "response": …}``, which have no key but echo the request: the label
``LABEL`` in it, which was sent with it, stands for the key. ``status`` is an error where it is not empty.
``response`` and ``error`` keep the service's own bytes. Answers are joined by key or label only, so a line that has
neither, as a string, is not an answer, whatever else it has.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gemini_batch import jsonl
from gemini_batch.answers.openai_output import unwrapped
from gemini_batch.answers.response_types import Generated  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.vertex_place import LABEL

_OBJECT_OR_NULL = (b"{}", b"null", b'""')


class Answer(msgspec.Struct, frozen=True):
    """One line that has a key. ``labelled``: it has a label, which stands in ``key``.

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
    labelled: bool = False


class NotAnAnswer(msgspec.Struct, frozen=True):
    """A line that cannot be joined to a request: a code (``NOT_UTF8``, ``NOT_JSON``, ``NOT_AN_OBJECT``, ``NO_KEY`` or
    ``KEY_NOT_TEXT``) and a message."""

    reason: str
    message: str


class _Labels(msgspec.Struct, gc=False):
    key: str = msgspec.field(default="", name=LABEL)


class _Echo(msgspec.Struct, gc=False):
    labels: _Labels | None = None


class _Beside(msgspec.Struct, gc=False):
    """What a line says next to its response."""

    key: str = ""
    request: _Echo | None = None
    error: msgspec.Raw = msgspec.Raw()
    status: msgspec.Raw = msgspec.Raw()
    tier: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="serviceTier")


class _Line(_Beside, gc=False):
    response: msgspec.Raw = msgspec.Raw()


class _Generation(_Beside, gc=False):
    """A line whose response is read in the same pass."""

    response: Generated | None = None


class _Response(msgspec.Struct, gc=False):
    response: msgspec.Raw
    key: str = ""
    request: _Echo | None = None


_decode_response = msgspec.json.Decoder(_Response).decode
_decode_echo = msgspec.json.Decoder(_Echo).decode
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
    key = line.key or _label(line.request)
    if not key:
        return _read_closely(data)
    return Answer(key, _value(line.response), _error(line), tier=_tier(line.tier), labelled=not line.key)


def parse_generated(data: bytes) -> Answer | NotAnAnswer:
    """The same for a line of generated text: the response is read in the same pass, if it has the usual shape."""
    if (broken := _not_text(data)) is not None:
        return broken
    try:
        line = _decode_generation(data)
    except (msgspec.DecodeError, RecursionError):
        return parse_line(data)
    found = line.response
    key = line.key or _label(line.request)
    if not key or (found is not None and found.choices and not found.candidates):
        return parse_line(data)
    return Answer(key, None, _error(line), False, _tier(line.tier), found, not line.key)


def response_in(data: bytes) -> bytes | None:
    """The response in a line that was parsed before, as ``Answer.response``; None if it is no answer any more."""
    try:
        line = _decode_response(data)
        if line.key or _label(line.request):
            return bytes(line.response)
    except (msgspec.DecodeError, RecursionError):
        pass
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


def _label(request: _Echo | None) -> str:
    return "" if request is None or request.labels is None else request.labels.key


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
    if type(status) is str and (inner := _error_in(status)) is not None:
        return inner
    fine = not status or (type(status) is dict and not status.get("message") and status.get("code") in (0, "0", "OK"))
    return None if fine else value


def _error_in(status: str) -> bytes | None:
    """The error that a text of Vertex AI quotes: ``Bad Request: {"error": {…}}``."""
    try:
        quoted = _decode_object(status[status.index("{") : status.rindex("}") + 1].encode())
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, and so is a text without a bracket
        return None
    return _value(quoted.get("error", msgspec.Raw()))


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
    labelled = key is None or key == ""
    if labelled:
        key = _label(_echo(line.get("request")))
    if key == "":
        return NotAnAnswer("NO_KEY", "The line has no key, so it belongs to no request.")
    if type(key) is not str:
        return NotAnAnswer("KEY_NOT_TEXT", "The key of the line is not a string, so it belongs to no request.")
    absent = msgspec.Raw()
    error = _value(line.get("error", absent)) or _status(line.get("status", absent))
    return Answer(key, _value(line.get("response", absent)), error, repaired, labelled=labelled)


def _echo(raw: msgspec.Raw | None) -> _Echo | None:
    try:
        return None if raw is None else _decode_echo(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


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
