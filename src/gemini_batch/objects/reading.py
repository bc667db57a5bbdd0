"""Reads an object by ranges, and only as long as it is the same object."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from gemini_batch.errors import StateError, UsageError
from gemini_batch.jsonl import private_open
from gemini_batch.objects import stores
from gemini_batch.objects.stores import Precondition

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.errors import Error
    from gemini_batch.objects.address import Address
    from gemini_batch.objects.stores import Seen

#: Bytes of a range that is fetched to a file, and of one that is read where it is needed.
_PIECE, _RANGE = 4 * 1024 * 1024, 1024 * 1024


class ObjectReader(io.RawIOBase):
    """An object as a file that is only read; ``changed`` makes the error for one that is another object by now."""

    def __init__(self, address: Address, seen: Seen, changed: Callable[[], Error]) -> None:
        super().__init__()
        self._address, self._seen, self._changed, self._at = address, seen, changed, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._seen.bytes}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read the next bytes; 0 at the end."""
        end = min(self._at + len(buffer), self._seen.bytes)
        if end <= self._at:
            return 0
        try:
            content = stores.read(self._address, self._at, end, self._seen)
        except Precondition:
            raise self._changed() from None
        buffer[: len(content)] = content
        self._at = end
        return len(content)


def open_object(address: Address, seen: Seen, changed: Callable[[], Error]) -> io.BufferedReader:
    """An object as a file, read by ranges."""
    return io.BufferedReader(ObjectReader(address, seen, changed), _RANGE)


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """An object that is read like a file, as long as it is the one that was seen."""

    address: Address
    seen: Seen

    def open(self) -> io.BufferedReader:
        """Open it. Reading raises UsageError if it changed, ServiceError."""
        return open_object(self.address, self.seen, lambda: changed(self.address))


def changed(address: object, what: str = "object") -> UsageError:
    """The error for an object, or a table, that is another one than when its reading began."""
    return UsageError(
        f"The {what} changed while it was read; nothing was sent.",
        file=str(address),
        code="file_changed",
        next="Wait until no other program writes it, then run the same command again.",
    )


def replaced(address: object, what: str = "object") -> StateError:
    """The error for a place that holds another object, or ``what``, than before it was to be written."""
    return StateError(
        f"Another {what} was written to this place meanwhile, and stays as it is.",
        file=str(address),
        code="object_replaced",
        next=f"Choose another name for the results, or remove that {what}, and run the same command again.",
    )


def fetch(address: Address, path: Path, told: Callable[[int, int], object]) -> tuple[Seen, str]:
    """Copy an object to a private file; returns what it is, and its SHA-256 in hex.

    A range that fails is asked for again; what was fetched before is kept. ``told``: what is done so far, of how much.
    Raises UsageError if there is none or it changes meanwhile, ServiceError, OSError.
    """
    seen, digest = stores.look_at(address), hashlib.sha256()
    with private_open(path, "wb") as file:
        try:
            _copy(address, seen, file, digest.update, told)
        except Precondition:
            raise changed(address) from None
    return seen, digest.hexdigest()


def hash_of(address: Address, seen: Seen, told: Callable[[int, int], object]) -> str:
    """The SHA-256 of an object, in hex. Raises Precondition, ServiceError."""
    digest = hashlib.sha256()
    _copy(address, seen, None, digest.update, told)
    return digest.hexdigest()


def _copy(
    address: Address,
    seen: Seen,
    file: IO[bytes] | None,
    add: Callable[[memoryview], object],
    told: Callable[[int, int], object],
) -> None:
    for start in range(0, seen.bytes, _PIECE):
        piece = stores.read(address, start, min(start + _PIECE, seen.bytes), seen)
        add(piece)
        if file is not None:
            file.write(piece)
        told(start + len(piece), seen.bytes)
