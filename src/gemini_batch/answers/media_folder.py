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
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import atomic_write, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

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
        self._ours: frozenset[tuple[str, str]] | None = None

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
        self.path.mkdir(parents=True, exist_ok=True)
        self.check_place()
        entry = _Entry(name, hashlib.sha256(data).hexdigest(), self._run)
        with (self.path / MANIFEST).open("ab") as manifest:
            manifest.write(msgspec.json.encode(entry) + b"\n")
        with atomic_write(self.path / name) as file:
            file.write(data)
        return True

    def _written(self) -> frozenset[tuple[str, str]]:
        """The names and hashes of all files that were written here; read once, when it is first needed."""
        if self._ours is None:
            self.check_place()
            found: set[tuple[str, str]] = set()
            with contextlib.suppress(FileNotFoundError), (self.path / MANIFEST).open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):  # cut off by a crash
                        entry = _decode(line)
                        found.add((entry.file, entry.sha256))
            self._ours = frozenset(found)
        return self._ours

    def _refused(
        self, path: Path, message: str, following: str = "Choose another folder, or move it away."
    ) -> UsageError:
        return UsageError(message, file=path, field=self._option, code="bad_output", next=following)


def _mode(path: Path) -> int | None:
    """The mode of what has this name, of a link itself; None if nothing has it."""
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None


def _is_regular(path: Path) -> bool:
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)
