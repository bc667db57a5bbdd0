"""The result line that a user reads. ``docs/result-line.md`` shows each form of it.

The response keeps the service's own bytes; added fields come at its end. So numbers keep their digits, unknown fields
keep their place, and a line costs little more than a copy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.reasons import MESSAGES
from gemini_batch.answers.response_types import Generated
from gemini_batch.answers.verdict import text_found, text_of
from gemini_batch.catalog import Method
from gemini_batch.jsonl import repair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_batch.answers.media import MediaWriter
    from gemini_batch.answers.reasons import Verdict


_EMPTY = re.compile(rb"\{\s*\}")


class _Added(msgspec.Struct, gc=False):
    """The fields that this program adds; a response has them only if this program wrote it before."""

    text: msgspec.Raw = msgspec.Raw()
    parsed: msgspec.Raw = msgspec.Raw()
    media: msgspec.Raw = msgspec.Raw()


class _Generated(Generated, rename="camel", gc=False):
    """The same, read together with what the model wrote."""

    text: msgspec.Raw = msgspec.Raw()
    parsed: msgspec.Raw = msgspec.Raw()
    media: msgspec.Raw = msgspec.Raw()


_encode = msgspec.json.Encoder().encode
_decode_generated = msgspec.json.Decoder(_Generated).decode
_decode_added = msgspec.json.Decoder(_Added).decode
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def result_line(
    key: str,
    verdict: Verdict,
    *,
    reason: str | None = None,
    code: int | None = None,
    message: str | None = None,
    response: bytes | None = None,
    method: Method,
    attempt: int,
    copied_from: str | None = None,
    text: bool = True,
    parsed: bool = False,
    media: MediaWriter | None = None,
    details: Mapping[str, object] | None = None,
) -> bytes:
    """One result as one line of JSON, without a line ending: ``key, verdict, response, error, attempt``, in this order.

    ``response`` is present if the service sent one, ``error`` with every verdict but ``succeeded``. ``text=False``
    leaves the response unchanged. ``parsed``: the text is JSON, and the response gets its value as well, or null if
    there is no text. ``copied_from``: the key of the identical request whose answer it is. With ``media``,
    images and audio are written to files and the line has their paths. ``details``: what the answer used, cost and is
    from; the last field. Raises ``ValueError`` if ``response`` is not
    JSON, ``OSError`` if a media file cannot be written.
    """
    pieces = [b'{"key":', _encode(key), b',"verdict":"', verdict.encode(), b'"']
    if response is not None:
        pieces += (b',"response":', _response(key, response, method=method, text=text, parsed=parsed, media=media))
    if verdict != "succeeded":
        reason, words = why(verdict, reason, message)
        pieces += (b',"error":', _encode({"code": code, "reason": reason, "message": words}))
    pieces += (b',"attempt":', str(attempt).encode())
    if copied_from is not None:
        pieces += (b',"copied_from":', _encode(copied_from))
    if details is not None:
        pieces += (b',"details":', _encode(details))
    pieces.append(b"}")
    return b"".join(pieces)


def why(verdict: Verdict, reason: str | None, message: str | None) -> tuple[str, str]:
    """The reason code of a request that did not succeed, and a sentence about it."""
    code = reason or verdict.upper()
    return code, message or MESSAGES.get(code) or "No further explanation is available."


def _response(
    key: str, response: bytes, *, method: Method, text: bool, parsed: bool, media: MediaWriter | None
) -> bytes:
    response, there = _read(response)
    if method is Method.EMBED or there is None:
        return response
    added: dict[str, object] = {}
    if text:
        added["text"] = words = _text(response, there)
        if parsed:
            added["parsed"] = _value(words)
    if media is not None:
        response, added["media"] = media.move_out(key, response)
    if there.text or there.parsed or there.media:
        fields = _decode_object(response)
        response = _encode({name: value for name, value in fields.items() if name not in added})
    return _append(response, added)


def _text(response: bytes, there: _Generated | _Added) -> str | None:
    if isinstance(there, _Generated) and (there.candidates or not there.choices):
        return text_found(there)
    return text_of(response)


def _value(text: str | None) -> msgspec.Raw | None:
    """The JSON of an answer as it stands, with every digit of its numbers, on one line."""
    if text is None or not text.strip():
        return None
    # As below: only between two tokens can a line ending stand unescaped.
    return msgspec.Raw(text.strip().replace("\r", " ").replace("\n", " ").encode())


def _read(response: bytes) -> tuple[bytes, _Generated | _Added | None]:
    """The same JSON, strict and on one line; None if it is not an object, to which no field can be added.

    The service formats inline answers over many lines.
    """
    response = response.strip()
    there: _Generated | _Added | None = None
    try:
        there = _decode_generated(response)
    except (msgspec.DecodeError, RecursionError):
        try:
            there = _decode_added(response)
        except (msgspec.ValidationError, RecursionError):
            pass
        except msgspec.DecodeError:
            repaired = repair(response)
            if repaired is None:
                raise ValueError("the response is not JSON") from None
            return _read(repaired)
    if b"\n" in response or b"\r" in response:
        # A line ending inside a JSON string is always escaped, so an unescaped one is between two tokens.
        response = response.replace(b"\r", b" ").replace(b"\n", b" ")
    return response, there


def _append(response: bytes, added: dict[str, object]) -> bytes:
    if not added:
        return response
    comma = b"" if _EMPTY.match(response) else b","
    return b"".join((response[:-1], comma, _encode(added)[1:]))
