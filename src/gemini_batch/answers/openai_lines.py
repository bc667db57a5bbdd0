"""Output lines in OpenAI's shape: ``{"custom_id": …, "response": {"status_code": …, "body": …}, "error": …}``.

The service writes them for files of OpenAI-shaped requests. ``custom_id`` is the key, ``body`` the response; a status
of 400 or more, and ``error``, become a row error of the ordinary shape.
"""

from __future__ import annotations

from typing import Any

import msgspec

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ABSENT = msgspec.Raw()
#: Codes of rows that OpenAI's batches did not answer, as gRPC codes.
_CODES = {"batch_expired": 4, "request_timeout": 4, "batch_cancelled": 1}


class Unwrapped(msgspec.Struct, frozen=True):
    """What is inside a line: the response and the error, as raw JSON, empty if absent."""

    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


def unwrapped(line: dict[str, msgspec.Raw]) -> Unwrapped:
    """The response and the error of a line. Never raises; a response of another shape is kept as it is."""
    error = line.get("error", _ABSENT)
    if bytes(error) not in (b"", b"null"):
        return Unwrapped(error=_error(error))
    response = line.get("response", _ABSENT)
    try:
        inside = _decode_object(response)
    except (msgspec.DecodeError, RecursionError):
        return Unwrapped(response)
    status, body = _plain(inside.get("status_code", _ABSENT)), inside.get("body", _ABSENT)
    if type(status) is int and status >= 400:
        said = {"code": status, "message": _message(_plain(body))}
        return Unwrapped(error=msgspec.Raw(msgspec.json.encode(said)))
    return Unwrapped(body)


def _error(raw: msgspec.Raw) -> msgspec.Raw:
    """An error of the line itself: with a code that has a counterpart, in the ordinary shape."""
    value = _plain(raw)
    code = value.get("code") if type(value) is dict else None
    if type(code) is not str or code not in _CODES:
        return raw
    return msgspec.Raw(msgspec.json.encode({"code": _CODES[code], "message": _message(value)}))


def _message(body: Any) -> str:
    """What an error says: ``{"error": {"message": …}}``, also in a list; without such a message, nothing."""
    if type(body) is list and body:
        body = body[0]
    if type(body) is dict:
        error = body.get("error", body)
        said = error.get("message") if type(error) is dict else error
        return said if type(said) is str else ""
    return ""


def _plain(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw) if bytes(raw) else None
    except (msgspec.DecodeError, RecursionError):
        return None
