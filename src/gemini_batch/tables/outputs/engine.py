"""The database engine that joins and writes: in memory, without a network, with bounded memory."""

from __future__ import annotations

import contextlib
import errno
import glob
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import StateError, UsageError
from gemini_batch.tables.extra import needed
from gemini_batch.tables.outputs.kinds import literal

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
    duckdb = needed("duckdb", "A table")
    settings = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "memory_limit": f"{memory // MEGABYTE}MiB",
        "preserve_insertion_order": "true",
        "temp_directory": path_text(temporary),
    }
    with duckdb.connect(":memory:", config=settings) as db:
        db.execute("SET TimeZone = 'UTC'")
        try:
            yield db
        except duckdb.OutOfMemoryException as error:
            raise StateError(
                f"Joining the table needs more than {memory // MEGABYTE} MB of memory ({_first_line(error)}).",
                next="Free some disk space, so that the rest can be kept there, and run the same command again.",
            ) from error
        except duckdb.IOException as error:
            text = _first_line(error)
            full = "No space left" in text or "not enough space" in text
            raise OSError(errno.ENOSPC if full else errno.EIO, "No space left on device" if full else text) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


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
    return literal(glob.escape(path_text(path)))
