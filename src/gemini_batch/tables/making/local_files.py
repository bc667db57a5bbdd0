"""Opens files that a table names: regular files only, without blocking, and never another file than was checked."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: A FIFO without a writer would block, and a link would lead elsewhere.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))


class NotAFileError(OSError):
    """The path is a folder, a device, a FIFO or a socket; ``str()`` names it."""


_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
)


def status_of(path: Path) -> os.stat_result:
    """The status of a regular file. Raises NotAFileError for anything else, which is not opened, and ``OSError``."""
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFileError(next((what for test, what in _KINDS if test(status.st_mode)), "a device"))
    return status


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file whose path has no links in it.

    Raises NotAFileError for anything else, also if another process has put a link in its place; and ``OSError``.
    """
    status = status_of(path)
    with open(path, "rb", opener=lambda name, _: os.open(name, _FLAGS)) as file:
        found = os.fstat(file.fileno())
        same = (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)
        if not same or os.path.realpath(path) != str(path):
            raise NotAFileError("a path that another process is changing")
        yield file


def mark_of(file: IO[bytes]) -> tuple[int, int]:
    """Size and time of the last change, by which a file is known to be unchanged while it is read."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
