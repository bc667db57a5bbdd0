"""The keys of a file or table that were given already, in a table on disk: memory does not grow with them."""

from __future__ import annotations

import mmap
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KeyDuplicates = Literal["error", "number", "first"]
"""What to do with a key that is used twice."""

#: Slots at first. A table has 2**n of them, and at least a quarter is empty: it grows before.
_SLOTS = 1 << 12
#: A slot has three 64-bit numbers: two hashes of the key, of which the first is 0 if the slot is empty, and a note.
_WIDTH = 3
#: The note has the place of the first use, and in its lowest bits the last number that was given.
_NUMBER_BITS = 24
_NUMBER = (1 << _NUMBER_BITS) - 1
_UNSIGNED = (1 << 64) - 1
_CHUNK = 1 << 20


class UsedKeys:
    """All keys that were given, each with the place of its first use: the number of a row, for example.

    Keys are compared by hashes of 128 bits, so two keys of a billion are taken for the same with a probability of less
    than 10**-20. A key takes 32 to 64 bytes of disk space.
    """

    def __init__(self, folder: Path, slots: int) -> None:
        self._folder = folder
        self._count = 0
        self._open(slots)

    @classmethod
    @contextmanager
    def on_disk(cls, folder: Path, expected: int = 0) -> Iterator[Self]:
        """Keep the keys in a temporary file in ``folder``. ``expected``: how many keys there may be, if known.

        Raises OSError here and in all methods if the disk is full.
        """
        slots = _SLOTS
        while slots * 3 < expected * 4:
            slots *= 2
        keys = cls(folder, slots)
        try:
            yield keys
        finally:
            keys._close()

    def first(self, key: str, place: int = 0) -> int | None:
        """Note that a key is used at a place; returns the place of its first use, or None if this is it."""
        slot = self._slot(key)
        if self._table[slot]:
            return self._table[slot + 2] >> _NUMBER_BITS
        self._table[slot] = hash(key) & _UNSIGNED or 1
        self._table[slot + 1] = hash(key + "\0") & _UNSIGNED
        self._table[slot + 2] = place << _NUMBER_BITS | 1
        self._count += 1
        if self._count > self._room:
            self._grow()
        return None

    def numbered(self, key: str, place: int = 0) -> str:
        """A key that was not used before: the same, or followed by ``-2``, ``-3`` and so on. It is noted."""
        wanted = key
        while self.first(wanted, place) is not None:
            slot = self._slot(key) + 2
            self._table[slot] += 1
            wanted = f"{key}-{self._table[slot] & _NUMBER}"
        return wanted

    def _slot(self, key: str) -> int:
        """Where the key is, or the empty slot where it belongs."""
        table, last = self._table, len(self._table)
        one = hash(key) & _UNSIGNED or 1
        slot = (one & self._mask) * _WIDTH
        while found := table[slot]:
            if found == one and table[slot + 1] == hash(key + "\0") & _UNSIGNED:
                break
            slot += _WIDTH
            if slot == last:
                slot = 0
        return slot

    def _open(self, slots: int) -> None:
        size = slots * _WIDTH * 8
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        for start in range(0, size, _CHUNK):  # a hole would be filled later, and a full disk would then end the process
            self._file.write(bytes(min(_CHUNK, size - start)))
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), size)
        self._table = memoryview(self._map).cast("Q")
        self._mask = slots - 1
        self._room = slots * 3 // 4

    def _close(self) -> None:
        self._table.release()
        self._map.close()
        self._file.close()

    def _grow(self) -> None:
        """Move all keys to a table of twice the size."""
        old, old_map, old_file = self._table, self._map, self._file
        self._open((self._mask + 1) * 2)
        table, last = self._table, len(self._table)
        for start in range(0, len(old), _WIDTH):
            if one := old[start]:
                slot = (one & self._mask) * _WIDTH
                while table[slot]:
                    slot = (slot + _WIDTH) % last
                table[slot : slot + _WIDTH] = old[start : start + _WIDTH]
        old.release()
        old_map.close()
        old_file.close()
