"""Cuts a file of lines into blocks of whole lines, each of which can be read on its own, also by another process."""

from __future__ import annotations

import io
import os
from typing import IO, TYPE_CHECKING, NamedTuple

from gemini_batch.jsonl import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Blocks have about so many bytes: some milliseconds of work.
BLOCK = 512 * 1024
#: So many bytes are searched at once for the end of a line.
_SEARCHED = 16 * 1024


class Block(NamedTuple):
    """Whole lines of a file; the last one may lack its line ending. ``data``: their bytes, if there is no descriptor to
    read them from."""

    offset: int
    size: int
    data: bytes | None = None


def blocks(source: int, size: int) -> Iterator[Block]:
    """The blocks of the first ``size`` bytes of an open file. Raises OSError."""
    offset = 0
    while offset < size:
        end = min(size, _line_end(source, offset + BLOCK, size))
        yield Block(offset, end - offset)
        offset = end


def carried(source: IO[bytes]) -> Iterator[Block]:
    """The blocks of an open file that has no descriptor, each with its bytes; behind a line that is too long are none.

    Raises what reading ``source`` raises.
    """
    offset = 0
    while data := source.read(BLOCK):
        rest = b"" if data.endswith(b"\n") else source.readline(MAX_LINE + 1)
        yield Block(offset, len(data) + len(rest), data + rest)
        offset += len(data) + len(rest)
        if len(rest) > MAX_LINE:
            return


def _line_end(source: int, at: int, size: int) -> int:
    """The first offset after a line ending at or after ``at``."""
    while at < size:
        piece = _read(source, at, _SEARCHED)
        if not piece:
            break
        found = piece.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(piece)
    return at


def content(source: int | None, block: Block) -> bytes:
    """The bytes of a block; fewer if the file is shorter now. ``source`` None: the block has them. Raises OSError."""
    if source is None:
        return block.data or b""
    data = _read(source, block.offset, block.size)
    while len(data) < block.size and (more := _read(source, block.offset + len(data), block.size - len(data))):
        data += more
    return data


def opened(source: int | None, block: Block) -> IO[bytes]:
    """The bytes of a block, to be read line by line; one with a line that is too long is not read as a whole."""
    if source is None or block.size <= MAX_LINE:
        return io.BytesIO(content(source, block))
    return io.BufferedReader(_Range(source, block))


def _read(source: int, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(source, size, offset)
    os.lseek(source, offset, os.SEEK_SET)  # where there is no other process that shares the position
    return os.read(source, size)


class _Range(io.RawIOBase):
    """A part of an open file."""

    def __init__(self, source: int, block: Block) -> None:
        self._source, self._at, self._end = source, block.offset, block.offset + block.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = _read(self._source, self._at, min(len(buffer), self._end - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
