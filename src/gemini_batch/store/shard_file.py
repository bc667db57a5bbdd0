"""Requests that stay where they are: the file of a shard, and the proof that it is still the one that was checked."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

import msgspec

from gemini_batch.errors import StateError
from gemini_batch.jsonl import atomic_write, decode_as, sha256_of
from gemini_batch.objects import stores
from gemini_batch.objects.address import parse
from gemini_batch.objects.reading import hash_of, open_object
from gemini_batch.objects.stores import Precondition, Seen

_OTHER = "This shard was changed after it was checked, so its requests are not those of its run."


class ShardFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of requests that a run refers to. ``times``: when its content and its properties were changed last, in
    nanoseconds; if either differs, the hash is compared. ``path`` is the address of an object if ``seen`` says what
    this was when it was checked."""

    path: str
    bytes: int
    sha256: str
    times: tuple[int, int] = (0, 0)
    seen: Seen | None = None

    @property
    def file(self) -> Path | None:
        """The file; None for an object."""
        return Path(self.path) if self.seen is None else None

    def open(self) -> BinaryIO:
        """The open file; an object is read by ranges.

        Raises StateError if it is gone, or is not what was checked; of an object, also ServiceError, and both while it
        is read.
        """
        if self.seen is not None:
            return self._open_object(self.seen)
        path = Path(self.path)
        try:
            file = path.open("rb")
        except OSError as error:
            raise _changed(path, f"This shard cannot be read any more: {error.strerror}.") from error
        now = os.fstat(file.fileno())
        same = now.st_size == self.bytes
        if same and times_of(now) != self.times:
            same = sha256_of(path) == self.sha256
        if not same:
            file.close()
            raise _changed(path, _OTHER)
        return file

    def _open_object(self, seen: Seen) -> BinaryIO:
        address = parse(self.path)
        now = stores.look(address)
        if now is None:
            raise _changed(self.path, "This shard is not in its bucket any more.")
        if not now.is_same_as(seen):
            with contextlib.suppress(Precondition):
                if now.bytes == self.bytes and hash_of(address, now, lambda *_: None) == self.sha256:
                    return open_object(address, now, lambda: _changed(self.path, _OTHER))
            raise _changed(self.path, _OTHER)
        return open_object(address, now, lambda: _changed(self.path, _OTHER))


def times_of(stat: os.stat_result) -> tuple[int, int]:
    """When a file was changed: a program can set the first of these times, but not the second one."""
    return stat.st_mtime_ns, stat.st_ctime_ns


def _changed(path: Path | str, what: str) -> StateError:
    following = "Restore the file as it was. Requests that were changed belong in a shard of their own."
    return StateError(what, file=path, code="shard_changed", next=following)


def keep_shard(note: Path, shard: ShardFile) -> None:
    """Write down which file holds the requests of a run. Raises OSError."""
    with atomic_write(note, private=True) as file:
        file.write(msgspec.json.encode(shard) + b"\n")


def kept_shard(note: Path) -> ShardFile | None:
    """The file that holds the requests of a run; None if the run has a copy of its own. Raises StateError."""
    try:
        return decode_as(note.read_bytes(), ShardFile)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StateError(f"The note of where the run's requests are cannot be read: {error}.", file=note) from error
