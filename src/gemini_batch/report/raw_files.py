"""Reads the raw answers of a run, which lie in one file for each job, of this run or of others."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from gemini_batch.store.state_folder import RunFolder

_MOST = 64


class RawFiles:
    """Raw files of a run by name, at most 64 of them open at a time. Use as a context manager."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._open: dict[str, IO[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def __getitem__(self, name: str) -> IO[bytes]:
        """The file of that name, open for reading. Raises OSError."""
        file = self._open.pop(name, None)
        if file is None:
            if len(self._open) >= _MOST:
                self._open.pop(next(iter(self._open))).close()  # the one that was asked for longest ago
            file = self._folder.answers(name).open("rb")
        self._open[name] = file
        return file
