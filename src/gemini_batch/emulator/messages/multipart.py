"""Bodies of several parts (RFC 2046), read as they arrive: ``multipart/related`` and ``multipart/form-data``.

The parser holds at most one header block or the beginning of one delimiter, however large a part is, and never looks
into the bytes of a part except for the delimiter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The most bytes of one part's headers.
_LONGEST_HEADERS = 16 * 1024
#: The most bytes of padding after a delimiter, as the RFC calls the blanks there.
_LONGEST_PADDING = 256

_PARAMETER = re.compile(r';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_TO_PART = re.compile(rb"[ \t]*\r\n")
_UNDECIDED = re.compile(rb"-?|[ \t]*\r?")


class BadMultipart(ValueError):
    """A body that is not multipart, or ends too early; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a part. ``headers`` have names in lower case."""

    headers: Mapping[str, str] = field(default_factory=dict)


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` names. Raises :class:`BadMultipart`."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("multipart/related", "multipart/form-data"):
        raise BadMultipart(f"the Content-Type is {kind or 'missing'}, not multipart/related or multipart/form-data")
    found = _PARAMETER.search(content_type)
    if found is None:
        raise BadMultipart("the Content-Type has no boundary")
    quoted, plain = found.groups()
    boundary = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    if not _BOUNDARY.fullmatch(boundary):
        raise BadMultipart("the boundary in the Content-Type is not valid: it has 1 to 70 characters of ASCII")
    return boundary.encode("ascii")


class Multipart:
    """Reads one body, in pieces of any size."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The first delimiter may stand at the very beginning, without the line end that belongs to it.
        self._held = b"\r\n"
        self._read: Callable[[], tuple[Part | bytes | None, bool]] = self._preamble
        self._ended = False

    def feed(self, piece: bytes) -> Iterator[Part | bytes]:
        """What a piece adds: a part begins, or bytes of the part that began last. Raises :class:`BadMultipart`."""
        self._held += piece
        going = True
        while going:
            found, going = self._read()
            if found:
                yield found

    def close(self) -> None:
        """The body is over. Raises :class:`BadMultipart` unless its last delimiter was there."""
        if self._ended:
            return
        if self._read == self._preamble:
            raise BadMultipart("the body has no line with the boundary that the Content-Type names")
        raise BadMultipart("the body ends before its last delimiter, the boundary with two dashes after it")

    def _preamble(self) -> tuple[None, bool]:
        return None, self._until_delimiter()[1]

    def _body(self) -> tuple[bytes, bool]:
        return self._until_delimiter()

    def _until_delimiter(self) -> tuple[bytes, bool]:
        """The bytes before the next delimiter, or those that are certainly before it."""
        at = self._held.find(self._delimiter)
        if at < 0:
            safe = max(0, len(self._held) - len(self._delimiter) + 1)
            taken, self._held = self._held[:safe], self._held[safe:]
            return taken, False
        after = at + len(self._delimiter)
        rest = self._held[after : after + _LONGEST_PADDING]
        if rest.startswith(b"--"):
            taken, self._held = self._held[:at], b""
            self._read, self._ended = self._epilogue, True
        elif line := _TO_PART.match(rest):
            # The line end may belong to the blank line that ends an empty block of headers.
            taken, self._held = self._held[:at], self._held[after + line.end() - 2 :]
            self._read = self._headers
        elif _UNDECIDED.fullmatch(rest) and len(rest) < _LONGEST_PADDING:
            taken, self._held = self._held[:at], self._held[at:]
            return taken, False
        else:  # a longer line that begins like the delimiter: bytes of the part
            taken, self._held = self._held[:after], self._held[after:]
        return taken, True

    def _headers(self) -> tuple[Part | None, bool]:
        block, end, rest = self._held.partition(b"\r\n\r\n")
        if len(block) > _LONGEST_HEADERS:
            raise BadMultipart(f"the headers of a part are longer than {_LONGEST_HEADERS} bytes")
        if not end:
            return None, False
        headers = {}
        for line in filter(None, block.split(b"\r\n")):
            name, colon, value = line.partition(b":")
            if not colon or not name.strip():
                raise BadMultipart("a part has a header without a colon; a blank line must end its headers")
            headers[name.strip().decode("latin-1").lower()] = value.strip().decode("latin-1")
        # The blank line before the next delimiter may be all that the part has.
        self._held = rest
        self._read = self._first
        return Part(headers), True

    def _first(self) -> tuple[bytes, bool]:
        """The beginning of a part's bytes: a part without bytes ends with a delimiter at once."""
        bare = self._delimiter[2:]
        if len(self._held) < len(bare) and bare.startswith(self._held):
            return b"", False
        if self._held.startswith(bare):
            self._held = b"\r\n" + self._held
        self._read = self._body
        return b"", True

    def _epilogue(self) -> tuple[None, bool]:
        self._held = b""
        return None, False
