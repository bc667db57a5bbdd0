"""Request bodies with a ``Content-Encoding``: gzip is inflated within a limit, everything else is refused by name."""

from __future__ import annotations

import zlib

from gemini_batch.emulator.messages.errors import ApiFailure, invalid

_GZIP = 31  # zlib's word for: a gzip header, the largest window
#: Each member costs a copy of what follows it.
_MOST_MEMBERS = 100


def coding_of(header: str) -> str:
    """``gzip``, or empty for a body that is sent as it is. Raises :class:`ApiFailure` (415) for other codings."""
    named = [word.strip().lower() for word in header.split(",")]
    codings = [word for word in named if word not in ("", "identity")]
    if not codings:
        return ""
    if codings in (["gzip"], ["x-gzip"]):
        return "gzip"
    raise unknown_coding(", ".join(codings))


def unknown_coding(coding: str) -> ApiFailure:
    """415: a coding that is not read here."""
    return ApiFailure(
        415,
        "INVALID_ARGUMENT",
        f"Content-Encoding: {coding[:100]} is not supported for this request. JSON may be sent with gzip; the bytes of "
        "a file are sent as they are.",
        headers={"Accept-Encoding": "gzip"},
    )


def inflate(data: bytes, limit: int) -> bytes:
    """The content of gzip data, of one member or several; one byte more than ``limit`` if it is larger than that.

    Raises :class:`ApiFailure` (400) for data that is not gzip, or is not complete.
    """
    pieces: list[bytes] = []
    left = limit + 1
    while left and (data or not pieces):
        if len(pieces) == _MOST_MEMBERS:
            raise invalid(f"The body has more than {_MOST_MEMBERS} gzip members.")
        member = zlib.decompressobj(_GZIP)
        try:
            piece = member.decompress(data, left)
        except zlib.error as error:
            raise invalid(f"The body says Content-Encoding: gzip, and cannot be inflated: {error}.") from None
        pieces.append(piece)
        left -= len(piece)
        if left and not member.eof:
            raise invalid("The body says Content-Encoding: gzip, and its data ends too early.")
        data = member.unused_data
    return b"".join(pieces)
