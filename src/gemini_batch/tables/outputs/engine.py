"""The database engine that joins and writes: in memory, without a network, with bounded memory."""

from __future__ import annotations

import contextlib
import errno
import glob
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import StateError, UsageError
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEGABYTE = 1 << 20
#: What the engine may hold in memory; more is written to the temporary folder.
MEMORY = 512 * MEGABYTE


@contextlib.contextmanager
def connected(temporary: Path, *, memory: int = MEMORY) -> Iterator[Any]:
    """A duckdb connection that keeps the order of rows, loads no extension, and reads and writes times in UTC.

    ``temporary``: a folder that it creates if it needs more than ``memory`` bytes. Its errors become ``OSError`` (the
    disk) and StateError (memory).
    """
    path_text(temporary)
    with duck.duckdb(temporary) as db:
        import duckdb

        db.execute("SET autoload_known_extensions = false")
        db.execute(f"SET memory_limit = '{memory // MEGABYTE}MiB'")
        try:
            yield db
        except duckdb.OutOfMemoryException as error:
            raise StateError(
                f"Joining the table needs more than {memory // MEGABYTE} MB of memory ({duck.said(error)}).",
                next="Free some disk space, so that the rest can be kept there, and run the same command again.",
            ) from error
        except duckdb.IOException as error:
            text = duck.said(error)
            full = "No space left" in text or "not enough space" in text
            raise OSError(errno.ENOSPC if full else errno.EIO, "No space left on device" if full else text) from error


def path_text(path: Path) -> str:
    """A path as the engine takes it. Raises UsageError if its name is not text."""
    text = str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "The name of this place is not UTF-8 text, and tables cannot be written there.",
            file=path,
            code="bad_output",
            next="Choose another place.",
        ) from None
    return text


def reading(path: Path) -> str:
    """The path of one file to read, as SQL: its name is not a pattern."""
    return duck.text(glob.escape(path_text(path)))
