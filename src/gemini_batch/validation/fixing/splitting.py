"""Splits bytes into JSON values, whatever stands between them: the elements of an array, or values one after another.

The bytes are read in chunks; in memory are one value and one chunk. What is between values (white space, commas, byte
order marks, Unicode line separators, a backslash and an ``n``) is dropped and named in ``dropped``.
"""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING, NamedTuple

from gemini_batch.jsonl import MAX_LINE, LineTooLong

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1024 * 1024
#: The longest separator is three bytes.
_LONGEST = 3
_BETWEEN = re.compile(rb"[ \t\r\n]+|,|\\[nrt]|\xef\xbb\xbf|\xe2\x80[\xa8\xa9]|\xc2\x85")
_IN_STRING = re.compile(rb'["\\]')
_OUTSIDE = re.compile(rb'["{}\[\]]')
#: Where something that is no object, list or string ends.
_JUNK_END = re.compile(rb"[,\]\r\n]")
_NAMES = {
    b",": "commas between objects",
    b"\\": "`\\n` in letters between objects",
    b"\xef": "byte order marks",
    b"\xe2": "Unicode line separators between objects",
    b"\xc2": "Unicode line separators between objects",
}


class Piece(NamedTuple):
    """One value, or what is in the place of one, as it stands; ``number``: the line on which it begins, from 1."""

    number: int
    data: bytes


class Splitter:
    """The values of a stream that begins at line ``number``. ``dropped``: what was found between them so far.

    ``arrays``: whether elements of arrays were among them. ``limit``: the maximum bytes of a value; a longer one raises
    :class:`LineTooLong`.
    """

    def __init__(self, source: IO[bytes], *, number: int = 1, limit: int = MAX_LINE) -> None:
        self.dropped: set[str] = set()
        self.arrays = False
        self._source, self._number, self._limit = source, number, limit
        self._buffer = bytearray()
        self._at = self._counted = 0
        self._ended = False

    def __iter__(self) -> Iterator[Piece]:
        inside = False
        while self._skip():
            first = bytes(self._buffer[self._at : self._at + 1])
            if first == b"[" and not inside:
                inside = self.arrays = True
                self._at += 1
            elif first == b"]" and inside:
                inside = False
                self._at += 1
            else:
                number = self._line()
                start = self._at
                end = self._end_of_value(first)
                if end - start > self._limit:
                    raise LineTooLong(number, 0, self._limit)
                yield Piece(number, bytes(self._buffer[start:end]).rstrip())
                self._at = end
                self._forget()

    def _more(self) -> bool:
        """Read a chunk. False at the end of the stream."""
        chunk = b"" if self._ended else self._source.read(_CHUNK)
        self._ended = not chunk
        self._buffer += chunk
        if len(self._buffer) - self._at > self._limit + 2 * _CHUNK:
            raise LineTooLong(self._line(), 0, self._limit)
        return bool(chunk)

    def _skip(self) -> bool:
        """Go to the next byte of a value or bracket. False if there is none."""
        while True:
            if len(self._buffer) - self._at < _LONGEST and self._more():
                continue
            found = _BETWEEN.match(self._buffer, self._at)
            if found is None:
                return self._at < len(self._buffer)
            name = _NAMES.get(found[0][:1])
            if name is not None:
                self.dropped.add(name)
            self._at = found.end()
            if self._at > _CHUNK:
                self._forget()

    def _line(self) -> int:
        """The line of the current byte. Old files end their lines with a carriage return alone."""
        between = self._buffer[self._counted : self._at]
        self._number += between.count(b"\n") + between.count(b"\r") - between.count(b"\r\n")
        self._counted = self._at
        return self._number

    def _forget(self) -> None:
        """Drop what was read from the buffer."""
        self._line()
        del self._buffer[: self._at]
        self._at = self._counted = 0

    def _find(self, pattern: re.Pattern[bytes], start: int) -> int | None:
        while (found := pattern.search(self._buffer, start)) is None:
            start = max(start, len(self._buffer))  # an escape may end beyond it
            if not self._more():
                return None
        return found.start()

    def _end_of_value(self, first: bytes) -> int:
        """The end of the value that begins here; the end of the stream if it has none."""
        if first not in (b"{", b"[", b'"'):
            return self._find(_JUNK_END, self._at + 1) or len(self._buffer)
        depth, place = 0, self._at
        while (found := self._find(_OUTSIDE, place)) is not None:
            sign = self._buffer[found]
            place = found + 1
            if sign == 0x22:
                end = self._end_of_string(place)
                if end is None:
                    break
                place = end
            else:
                depth += 1 if sign in b"{[" else -1
            if depth <= 0:
                return place
        return len(self._buffer)

    def _end_of_string(self, place: int) -> int | None:
        while (found := self._find(_IN_STRING, place)) is not None:
            if self._buffer[found] == 0x22:
                return found + 1
            place = found + 2
        return None
