"""A folder for the files of answers, which may hold files of the user's too: those are never replaced.

A manifest in the folder lists each file that was written there, with its hash, before the file appears. An existing
file is replaced only if it is in the manifest with the hash that it has now. Everything else is the user's: a link, a
FIFO, a folder, a file of another program, a file of ours that was edited.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import open_part, path_of_part, put_in_place, sha256_of, short_name, sweep, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: So many files appear together at most, of so many bytes; and so many are synced at a time.
_TOGETHER, _BYTES, _SYNCING = 64, 64 * 1024 * 1024, 8
#: The name of the manifest: JSON lines with ``file``, ``sha256`` and ``run``.
MANIFEST = ".gemini-batch-media.jsonl"


class _Entry(msgspec.Struct):
    file: str
    sha256: str
    run: str


_decode = msgspec.json.Decoder(_Entry).decode


class MediaFolder:
    """One folder; it is created for the first file.

    ``run``: the run whose files are written, for the manifest. ``option``: what named the folder, for errors.
    """

    def __init__(self, path: Path, *, run: str = "", option: str = "--media-dir") -> None:
        self.path = path
        self._run = run
        self._option = option
        self._ours: set[tuple[str, str]] | None = None
        self._begun = self._grouping = False
        #: The files that were written and have not appeared: what they become, and the open parts; and their bytes.
        self._parts: list[tuple[Path, IO[bytes]]] = []
        self._size = 0

    def check_place(self) -> None:
        """Refuse a path that is not a folder and cannot become one. Raises UsageError."""
        if (self.path.exists() or self.path.is_symlink()) and not self.path.is_dir():
            what = "a link to nothing" if self.path.is_symlink() and not self.path.exists() else "not a folder"
            raise self._refused(self.path, f"This is {what}.", "Name a folder, or a name that is not taken.")
        manifest = self.path / MANIFEST
        if _mode(manifest) is not None and not _is_regular(manifest):
            raise self._refused(manifest, "This is not a file.", "Move it away.")

    def is_empty(self) -> bool:
        """Whether there is nothing that a file could replace."""
        try:
            with os.scandir(self.path) as entries:
                return next(entries, None) is None
        except FileNotFoundError:
            return True

    def check(self, name: str, data: bytes) -> bool:
        """Whether ``name`` has to be written: False if it holds these bytes already.

        Raises UsageError if the name is taken by something that this program did not write.
        """
        path = self.path / name
        mode = _mode(path)
        if mode is None:
            return True
        if not stat.S_ISREG(mode):
            raise self._refused(path, f"{self._option} would replace this, and it is not a file.")
        held = sha256_of(path)
        if held == hashlib.sha256(data).hexdigest():
            return False
        if (name, held) not in self._written():
            raise self._refused(path, f"{self._option} would replace this file, which gemini-batch did not write.")
        return True

    def write(self, name: str, data: bytes) -> bool:
        """Write a file, unless it is there; returns whether it was written. Raises UsageError, ``OSError``."""
        if not self.check(name, data):
            return False
        if not self._begun:
            self._begin()
        entry = _Entry(name, hashlib.sha256(data).hexdigest(), self._run)
        with (self.path / MANIFEST).open("ab") as manifest:
            manifest.write(msgspec.json.encode(entry) + b"\n")
        self._written().add((name, entry.sha256))
        part = open_part(self.path / name)
        self._parts.append((self.path / name, part))
        part.write(data)
        self._size += len(data)
        if not self._grouping or len(self._parts) >= _TOGETHER or self._size >= _BYTES:
            self._put_in_place()
        return True

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Let files appear in groups, and all of them by the end: syncing each alone would take most of the time."""
        self._grouping = True
        try:
            yield
            self._put_in_place()
        finally:
            self._grouping = False
            self._drop()

    def _put_in_place(self) -> None:
        """Let the files that were written appear, complete and synced."""
        if not self._parts:
            return
        try:
            with ThreadPoolExecutor(_SYNCING) as pool:
                for _ in pool.map(_sync, [part for _, part in self._parts]):
                    pass
            for path, part in self._parts:
                put_in_place(path, part)
            sync_folder(self.path)
        finally:
            self._drop()

    def _drop(self) -> None:
        """Remove what was written and has not appeared."""
        for path, part in self._parts:
            part.close()
            path_of_part(path, part).unlink(missing_ok=True)
        self._parts, self._size = [], 0

    def _begin(self) -> None:
        """Make the folder, and remove what killed processes left in it."""
        self._begun = True
        self.path.mkdir(parents=True, exist_ok=True)
        self.check_place()
        sweep(self.path, {short_name(name) for name, _ in self._written()}, now=self.path.stat().st_mtime)

    def _written(self) -> set[tuple[str, str]]:
        """The names and hashes of all files that were written here; read once, then added to."""
        if self._ours is None:
            self.check_place()
            self._ours = written_in(self.path)
        return self._ours

    def _refused(
        self, path: Path, message: str, following: str = "Choose another folder, or move it away."
    ) -> UsageError:
        return UsageError(message, file=path, field=self._option, code="bad_output", next=following)


def folder_of(output: Path) -> Path:
    """The folder for the media of results, next to these."""
    return output.with_name(f"{output.stem}-media")


def written_in(folder: Path) -> set[tuple[str, str]]:
    """The names and hashes of all files that its manifest lists. Raises OSError."""
    found: set[tuple[str, str]] = set()
    with contextlib.suppress(FileNotFoundError), (folder / MANIFEST).open("rb") as lines:
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):  # cut off by a crash
                entry = _decode(line)
                found.add((entry.file, entry.sha256))
    return found


def _mode(path: Path) -> int | None:
    """The mode of what has this name, of a link itself; None if nothing has it."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None


def _is_regular(path: Path) -> bool:
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def _sync(part: IO[bytes]) -> None:
    part.flush()
    os.fsync(part.fileno())
