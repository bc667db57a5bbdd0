"""The journal of a job's calls: which ones went out, and the answers. It survives the end of the process.

What always holds: a call goes out only when it is on disk that it will, and the next one in its place only when it is
on disk what became of it. So after a crash, exactly the calls that were in flight are in doubt, besides those whose
connection had broken: they may have been paid for. The journal has two files: records of calls, and answers as lines of
a result file. One process writes both; after its end they are only read.
"""

from __future__ import annotations

import os
from array import array
from typing import IO, TYPE_CHECKING, NamedTuple

from gemini_batch.jsonl import private_folder, private_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

#: A record is four times the number of a request in its run (``seq``), plus one of these.
_SENT, _REFUSED, _BROKEN = range(3)
_BYTES = array("q").itemsize
_PIECE = 64 * 1024
_sync = getattr(os, "fdatasync", os.fsync)


class Calls(NamedTuple):
    """What a journal says of calls, by the numbers of the requests.

    ``sent``: requests of which a call went out that was not refused. ``broken``: those of them whose connection broke.
    """

    sent: frozenset[int]
    broken: frozenset[int]


class Journal:
    """The journal of one job, open for writing. Raises OSError, also if it exists."""

    def __init__(self, calls: Path, answers: Path) -> None:
        private_folder(calls.parent)
        private_folder(answers.parent)
        self._calls = private_open(calls, "xb")
        self._answers = private_open(answers, "xb")

    def write(self, lines: Sequence[bytes], refused: Iterable[int], broken: Iterable[int], sent: Iterable[int]) -> None:
        """Record answers, each a line with its line ending, then what became of other calls, then the calls that are to
        go out; returns when all of it is on disk. Raises OSError."""
        if lines:
            self._answers.writelines(lines)
            _flush(self._answers)
        kinds = ((_REFUSED, refused), (_BROKEN, broken), (_SENT, sent))
        records = array("q", [4 * number + kind for kind, numbers in kinds for number in numbers])
        if records:
            self._calls.write(records.tobytes())
            _flush(self._calls)

    def close(self) -> None:
        """Close both files. Raises OSError if what a write left behind finds no room either."""
        try:
            self._calls.close()
        finally:
            self._answers.close()


def _flush(file: IO[bytes]) -> None:
    file.flush()
    _sync(file.fileno())


def read_calls(path: Path) -> Calls | None:
    """Read which calls went out; None if there is no journal. Half a record was not complete before its call.

    Raises OSError.
    """
    if not path.exists():
        return None
    records, data = array("q"), path.read_bytes()
    records.frombytes(data[: len(data) // _BYTES * _BYTES])
    sent, broken = set[int](), set[int]()
    for record in records:
        number, kind = divmod(record, 4)
        if kind == _REFUSED:
            sent.discard(number)
        elif kind == _BROKEN:
            broken.add(number)
        else:
            sent.add(number)
    return Calls(frozenset(sent), frozenset(broken))


def cut_to_lines(path: Path) -> None:
    """Cut half a line off the end of a file of answers: its process ended while it wrote. Raises OSError."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _PIECE)
            file.seek(begin)
            if (last := file.read(end - begin).rfind(b"\n")) >= 0:
                file.truncate(begin + last + 1)
                return
            end = begin
        file.truncate(0)
