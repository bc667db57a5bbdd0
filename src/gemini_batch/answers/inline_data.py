"""The base64 of ``inlineData``: whether an image, audio or another blob in an answer can be read, and its bytes.

The judge calls :func:`state_of` for every answer, and the media writer decodes with :func:`bytes_of`. Both follow the
same rule, so that no answer counts as succeeded if its file cannot be written.
"""

from __future__ import annotations

import binascii
from enum import Enum

import msgspec

_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
#: Characters checked at once: a line may have hundreds of megabytes, and only this much of it is copied.
_PIECE = 1 << 18


class BlobState(Enum):
    """The state of an ``inlineData`` field."""

    #: No blob: the field is absent or null.
    ABSENT = "absent"
    #: A blob without ``data``: absent, null or an empty string.
    EMPTY = "empty"
    #: A blob whose ``data`` is not base64, or something that is not a blob.
    BROKEN = "broken"
    WHOLE = "whole"


class _Blob(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw()


_decode_blob = msgspec.json.Decoder(_Blob | None).decode
_decode_text = msgspec.json.Decoder(str).decode


def state_of(inline_data: msgspec.Raw) -> BlobState:
    """The state of ``inlineData``, given as JSON; its MIME type does not matter. Never raises."""
    if not inline_data:
        return BlobState.ABSENT
    try:
        blob = _decode_blob(inline_data)
        if blob is None:
            return BlobState.ABSENT
        data = memoryview(blob.data)
        if len(data) <= 4 and bytes(data) in (b"", b"null", b'""'):
            return BlobState.EMPTY
        if data[0] == ord('"') and _is_base64(data[1:-1]):
            return BlobState.WHOLE
        # Most base64 contains no escape and need not be decoded.
        readable = _is_base64(memoryview(_decode_text(blob.data).encode()))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return BlobState.BROKEN
    return BlobState.WHOLE if readable else BlobState.BROKEN


def _is_base64(text: memoryview) -> bool:
    """Whether :func:`bytes_of` can decode ``text``, at a sixth of its cost and in little memory."""
    length = len(text)
    while length and text[length - 1] == ord("="):
        length -= 1
    if not length or length % 4 == 1:
        return False
    return not any(
        bytes(text[start : min(start + _PIECE, length)]).translate(None, _ALPHABET)
        for start in range(0, length, _PIECE)
    )


def bytes_of(data: str) -> bytes:
    """Decode base64 as proto JSON permits it: either alphabet, with or without padding. Raises ``binascii.Error``."""
    try:
        plain = data.encode("ascii").translate(_TO_STANDARD).rstrip(b"=")
    except UnicodeEncodeError:
        raise binascii.Error("not ASCII") from None
    if not plain:
        raise binascii.Error("empty")
    return binascii.a2b_base64(plain + b"=" * (-len(plain) % 4), strict_mode=True)


class _Typed(msgspec.Struct):
    mime_type: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="mimeType")


_decode_typed = msgspec.json.Decoder(_Typed | None).decode


def is_image(inline_data: msgspec.Raw) -> bool:
    """Whether ``inlineData``, given as JSON, says that it is an image. Never raises."""
    try:
        blob = _decode_typed(inline_data)
        return blob is not None and _decode_text(blob.mime_type).startswith("image/")
    except (msgspec.DecodeError, RecursionError):
        return False
