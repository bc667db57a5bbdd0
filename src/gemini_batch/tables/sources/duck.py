"""duckdb: opened without network and with bounded memory; names and text for its SQL; its errors in our words."""

from __future__ import annotations

import contextlib
import decimal
import glob
import json
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import StateError, UsageError
from gemini_batch.stopping import check, interruptible
from gemini_batch.tables.extra import needed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Above it, duckdb writes what it holds to the scratch folder.
MEMORY_LIMIT = "1GB"
#: Each thread has buffers of its own, so that the memory of all of them is bounded on any machine.
_THREADS = 4
#: Rows that are fetched at a time.
FETCHED = 4096
_ADVICE = re.compile(
    r"(?:\n\s*| )(Try setting '|Possible fixes:|Possible solutions?:|Possible Solution:|LINE \d+:|Candidate).*",
    re.DOTALL,
)
_KIND = re.compile(r"^(?:[A-Z][A-Za-z]* )+Error: ")


def _number(digits: str) -> float | decimal.Decimal:
    near = float(digits)
    return near if abs(near) < float("inf") else decimal.Decimal(digits)


@contextlib.contextmanager
def one_thread(db: Any) -> Iterator[None]:
    """Let what is done with a connection be done in one thread."""
    (before,) = db.execute("SELECT current_setting('threads')").fetchone()
    db.execute("SET threads = 1")
    try:
        yield
    finally:
        db.execute(f"SET threads = {before}")


@contextlib.contextmanager
def duckdb(scratch: Path) -> Iterator[Any]:
    """A connection whose temporary files are in ``scratch``; it never installs anything from the network.

    Its queries are interrupted if the work around them is told to stop.
    Its SQL does not see variables of Python.
    """
    made = needed("duckdb", "Reading and writing tables").connect(
        config={
            "autoinstall_known_extensions": False,
            "python_enable_replacements": False,
            "memory_limit": MEMORY_LIMIT,
            "threads": min(_THREADS, os.cpu_count() or 1),
            "temp_directory": str(scratch),
            "preserve_insertion_order": True,
        }
    )
    try:
        made.execute("SET TimeZone = 'UTC'")
        made.execute("SET enable_progress_bar = false")
        with interruptible(made.interrupt):
            yield made
    finally:
        made.close()


def failure() -> type[Exception]:
    """The class of duckdb's errors."""
    error: type[Exception] = needed("duckdb", "Reading and writing tables").Error
    return error


_decode = msgspec.json.Decoder().decode


def decoded(value: str) -> Any:
    """The value of a JSON column; a number beyond all doubles is a Decimal."""
    try:
        return _decode(value)
    except msgspec.DecodeError:  # NaN, Infinity or 1e400, which duckdb reads
        return json.loads(value, parse_float=_number)


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def name(value: str) -> str:
    """A name of a column or table as SQL writes it."""
    return '"' + value.replace('"', '""') + '"'


def reading(file: Path) -> str:
    """The path of one file to read as SQL writes it: its name is no pattern."""
    return text(glob.escape(str(file)))


def own_parquet(file: Path) -> str:
    """The rows of a Parquet file of our own as SQL names them: folders above it called key=value add no columns."""
    return f"read_parquet({reading(file)}, hive_partitioning = false)"


def paths(files: tuple[Path, ...]) -> str:
    """A list of files to read as SQL writes it."""
    return "[" + ", ".join(map(reading, files)) + "]"


def said(error: Exception) -> str:
    """What an error of duckdb says, without its kind and its advice, on one line."""
    message = _ADVICE.sub("", _KIND.sub("", str(error).strip()))
    return " ".join(message.split()).removesuffix(".")[:400]


@contextlib.contextmanager
def explained(what: str, *, file: Path | str | None, next: str) -> Iterator[None]:  # noqa: A002
    """Turn duckdb's errors into UsageError: the input cannot be read. Raises StateError where the disk is full."""
    module = needed("duckdb", "Reading and writing tables")
    try:
        yield
    except module.Error as error:
        check()
        message = said(error)
        if isinstance(error, (module.IOException, module.OutOfMemoryException)) and "o space left" in str(error):
            raise StateError(f"{what}: {message}.", code="disk_full", next="Free disk space.") from error
        raise UsageError(f"{what}: {message}.", file=file, code="not_a_table", next=next) from error
