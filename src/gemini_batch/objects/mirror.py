"""Local files in the place of objects while a command works: fetched before, put back after.

The files lie in a private folder as the objects lie in their buckets, so what is next to an object, or in the same
folder, is so here, too.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.answers import media_folder
from gemini_batch.errors import StateError, UsageError
from gemini_batch.jsonl import private_folder, sha256_of
from gemini_batch.objects import names, stores
from gemini_batch.objects.address import Address, before_wild
from gemini_batch.objects.reading import fetch, hash_of, replaced
from gemini_batch.objects.stores import Precondition

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.objects.stores import Seen

    Told = Callable[[str, int, int], object]


def _silent(*_: object) -> None:
    """Tell nothing."""


class Mirror:
    """Files in ``folder``, which is private, and removed at the end. ``told``: what goes which way, and how far."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.realpath(folder))
        self._roots: dict[Path, str] = {}
        #: Objects that were fetched, with the hash of what they held.
        self._fetched: dict[Path, tuple[Address, Seen, str]] = {}
        #: Files that are written for their objects.
        self._written: list[Path] = []
        #: The media that earlier commands wrote next to these, with their hashes.
        self._media: set[tuple[Path, str]] = set()

    def close(self) -> None:
        """Remove the files, which stand in for nothing any more."""
        names.forget(self._roots)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, address: Address) -> Path:
        """The file that stands in for an object, in a folder that exists. Raises StateError."""
        scheme, _, bucket = address.root.partition("://")
        root = self.folder / scheme / bucket if bucket else self.folder / scheme
        if root not in self._roots:
            self._roots[root] = address.root
            names.stand_in(root, address.root)
        path = root.joinpath(*address.name.split("/"))
        try:
            private_folder(path.parent)
        except OSError as error:
            raise StateError(
                f"No file on this machine can stand in for this object: {error.strerror}.", file=str(address)
            ) from error
        return path

    def address(self, path: Path) -> Address:
        """The object that a file stands in for."""
        root = next(root for root in self._roots if path.is_relative_to(root))
        return Address(self._roots[root], path.relative_to(root).as_posix())

    def fetch(self, address: Address, told: Told) -> Path:
        """Fetch an object. Raises UsageError if there is none, ServiceError, OSError."""
        path = self.path(address)
        seen, sha256 = fetch(address, path, lambda done, total: told("reading", done, total))
        self._fetched[path] = address, seen, sha256
        return path

    def fetch_to_write(self, address: Address, told: Told = _silent) -> Path:
        """The file for an object that may be written: with what it holds now, if there is one.

        Raises UsageError, ServiceError, StateError, OSError.
        """
        path = self.path(address)
        if path not in self._written:
            self._written.append(path)
            if path not in self._fetched and stores.look(address) is not None:
                self.fetch(address, told)
        return path

    def fetch_list_of_media(self, output: Path, told: Told) -> None:
        """Fetch the list of the media that were written next to an output, if there is one: those may be replaced.

        Raises UsageError, ServiceError, OSError.
        """
        folder = media_folder.folder_of(output)
        address = self.address(folder / media_folder.MANIFEST)
        if stores.look(address) is not None:
            self.fetch(address, told)
            self._media |= {(folder / name, sha256) for name, sha256 in media_folder.written_in(folder)}

    def fetch_all(self, pattern: Address, told: Told) -> Path:
        """Fetch every object that a pattern matches; returns the pattern of the files. Raises UsageError if none does.

        As in a folder of files, ``*`` matches no slash, and ``**`` any number of folders.
        """
        folder = before_wild(pattern)
        found = [name for name, _ in stores.listed(pattern.root, folder) if _matches(name, pattern.name)]
        if not found:
            raise UsageError(f"No object matches {pattern}.", code="file_not_found", next="Check the pattern.")
        for name in found:
            self.fetch(Address(pattern.root, name), told)
        return self.path(Address(pattern.root, f"{folder}/_" if folder else "_")).parent.joinpath(
            *pattern.name.removeprefix(folder).strip("/").split("/")
        )

    def put(self, path: Path, told: Told) -> None:
        """Write a file to its object: whole or not at all. Raises StateError if another one is there than before."""
        address = self.address(path)
        known, size = self._fetched.get(path), path.stat().st_size
        if known is not None and known[2] == sha256_of(path):
            return
        now = self._look(path)
        if known is None and now is not None:
            there = hash_of(address, now, _silent)
            if there == sha256_of(path):
                return
            if (path, there) not in self._media:
                raise replaced(address)
        told("writing", 0, size)
        stores.put_file(address, path)
        told("writing", size, size)

    def put_all(self, told: Told = _silent) -> None:
        """Write the files that may have been written, and media that belong to them, to their objects, if they are new
        or were changed; delete the objects of those that were removed.

        Raises StateError, UsageError, ServiceError, OSError.
        """
        for path in self._written:
            folder = media_folder.folder_of(path)
            files = sorted(folder.iterdir()) if folder.is_dir() else []
            for file in sorted(files, key=(folder / media_folder.MANIFEST).__ne__):  # before what it lists
                self.put(file, told)
        for path in self._written:
            if path.exists():
                self.put(path, told)
            elif path in self._fetched:
                self._look(path)
                stores.delete(self._fetched.pop(path)[0])

    def _look(self, path: Path) -> Seen | None:
        """What is in the place of a file now. Raises StateError if it is another object than was fetched."""
        address, known = self.address(path), self._fetched.get(path)
        now = stores.look(address)
        if known is not None and now is not None and not now.is_same_as(known[1]):
            raise replaced(address)
        return now

    def fetch_small(self, path: Path) -> Seen | None:
        """Fetch a small object that is written by :meth:`put_small`; None if there is none."""
        found = stores.read_small(self.address(path))
        if found is None:
            return None
        path.write_bytes(found[0])
        return found[1]

    def put_small(self, path: Path, there: Seen | None) -> Seen:
        """Write a small file to its object, if this is still what was seen. Raises StateError if it is not."""
        try:
            return stores.put_if(self.address(path), path.read_bytes(), there)
        except Precondition:
            raise replaced(self.address(path)) from None

    def drop(self, path: Path) -> None:
        """Remove a file; what is known of its object is forgotten."""
        path.unlink(missing_ok=True)
        self._fetched.pop(path, None)
        self._written = [one for one in self._written if one != path]


def _matches(name: str, pattern: str) -> bool:
    def below(parts: list[str], sought: list[str]) -> bool:
        if not sought:
            return not parts
        if sought[0] == "**":
            return any(below(parts[at:], sought[1:]) for at in range(len(parts) + 1))
        return bool(parts) and fnmatch.fnmatchcase(parts[0], sought[0]) and below(parts[1:], sought[1:])

    return below(name.split("/"), pattern.split("/"))
