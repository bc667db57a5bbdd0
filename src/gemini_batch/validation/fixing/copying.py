"""Writes a corrected copy of a request file, in two passes: values and names, then keys, which concern all lines.

Memory holds one line, the number of each kind of change, and nothing for each line: keys and the origin of each line
are on disk.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from gemini_batch.validation.fixing import exact
from gemini_batch.validation.fixing.fixers import fix_lines
from gemini_batch.validation.fixing.reading import Row, rows
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gemini_batch.used_keys import KeyDuplicates, UsedKeys
    from gemini_batch.validation.conform import Terms

#: Lines that are named for each kind of change.
FIRST_LINES = 5
#: Kinds of changes that are told apart; a file can have any number of misspelt names.
_MOST_KINDS = 500
_OTHERS = "other changes"
#: What the second pass knows of a line: its line in the original, the length of the draft, what its key needs.
_RECORD = struct.Struct("<QQB")
_GOOD, _KEYLESS, _REPEATED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of change: how many values it was made to, and the first of their lines, as the original counts."""

    count: int = 0
    lines: tuple[int, ...] = ()


@dataclass
class Tally:
    """The changes to a file by kind, in the order in which they were made first."""

    kinds: dict[str, Kind] = field(default_factory=dict)

    def add(self, line: int, changes: tuple[str, ...]) -> None:
        """Count the changes to one value."""
        for change in dict.fromkeys(changes):
            kind = change if change in self.kinds or len(self.kinds) < _MOST_KINDS else _OTHERS
            before = self.kinds.get(kind, Kind())
            first = before.lines
            if len(first) < FIRST_LINES and line not in first:
                first = (*first, line)
            self.kinds[kind] = Kind(before.count + 1, first)


class Origins:
    """Which line of the original each line of the copy comes from."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, line: int) -> None:
        """Add the origin of the next line."""
        self._file.write(line.to_bytes(8, "little"))

    def __getitem__(self, line: int) -> int:
        """The origin of a line of the copy, from 1."""
        self._file.seek((line - 1) * 8)
        return int.from_bytes(self._file.read(8), "little")


class Draft:
    """The lines of a file after the first pass, in a folder for temporary files."""

    def __init__(self, folder: Path, keys: UsedKeys, tally: Tally) -> None:
        self._lines, self._records = folder / "draft.jsonl", folder / "draft.records"
        self._keys, self._tally = keys, tally
        self._numbers = True
        self.count = 0

    def write(
        self,
        source: IO[bytes],
        *,
        terms: Terms,
        key_from: str | None,
        tell: Callable[[int], None],
    ) -> None:
        """Read the original and correct each line by itself. Raises :class:`LineTooLong`.

        ``tell`` is called with the offset that was reached, for each line.
        """
        self._numbers = key_from is None
        with self._lines.open("wb") as lines, self._records.open("wb") as records:
            for row in rows(source):
                changed = row.changes
                for data, key, changes in _lines(row, terms, key_from):
                    state = _GOOD
                    if key is None:
                        state = _KEYLESS
                    elif key and self._keys.first(key) is not None:
                        state = _REPEATED
                    lines.write(data)
                    records.write(_RECORD.pack(row.number, len(data), state))
                    changed = (*changed, *changes)
                    self.count += 1
                self._tally.add(row.number, changed)
                tell(source.tell())

    def remove(self) -> None:
        """Delete the files of the draft."""
        self._lines.unlink()
        self._records.unlink()

    def copy(self, sink: IO[bytes], origins: Origins, duplicates: KeyDuplicates) -> None:
        """Give each line its key, and write it with a line end. ``count`` is then the number of lines of the copy."""
        number = 1
        with self._lines.open("rb") as lines, self._records.open("rb") as records:
            while record := records.read(_RECORD.size):
                line, length, state = _RECORD.unpack(record)
                data = lines.read(length)
                if state == _REPEATED and duplicates == "first":
                    self._tally.add(line, ("removed lines whose key an earlier line has",))
                    continue
                if state == _KEYLESS and self._numbers:
                    data = self._with_key(line, data, f"row-{number}")
                elif state == _REPEATED and duplicates == "number":
                    data = self._renumbered(line, data)
                sink.write(data + b"\n")
                origins.add(line)
                number += 1
        self.count = number - 1

    def _with_key(self, line: int, data: bytes, key: str) -> bytes:
        self._tally.add(line, ("numbered lines without a key",))
        return exact.encode({"key": None, **exact.decode(data)} | {"key": self._keys.numbered(key)})

    def _renumbered(self, line: int, data: bytes) -> bytes:
        self._tally.add(line, ("numbered keys that an earlier line has",))
        value = exact.decode(data)
        return exact.encode({**value, "key": self._keys.numbered(value["key"])})


def _lines(row: Row, terms: Terms, key_from: str | None) -> Iterator[tuple[bytes, str | None, tuple[str, ...]]]:
    """The corrected lines of a row: bytes, key, changes. The key is None where one is to be given, empty if it is no
    line of a request.
    """
    if not row.data:
        return
    checked = check_line(row.data, row.number, terms)
    if isinstance(checked, Checked) and not checked.problems:
        yield row.data, checked.key, ()
        return
    try:
        value = exact.decode(row.data)
    except ValueError:
        yield row.data, "", ()
        return
    for fixed in fix_lines(value, key_from):
        data = row.data if fixed.value == value and not fixed.changes else exact.encode(fixed.value)
        yield data, _key_of(fixed.value), fixed.changes


def _key_of(value: Any) -> str | None:
    if type(value) is not dict:
        return ""
    key = value.get("key")
    if type(key) is str and key:
        return key
    return None if key in (None, "") and type(value.get("request")) is dict else ""  # a key of another type stays
