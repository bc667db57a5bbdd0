"""The table of a run: its snapshot in the run folder, and what is needed to join the answers to it."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.catalog import Method
from gemini_batch.errors import StateError
from gemini_batch.jsonl import atomic_write, private_folder, sync_folder
from gemini_batch.tables.outputs.columns import answer_columns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.tables.outputs.columns import Column

_NOTE = "table.json"
_FOLDER = "tables"


class SkippedRow(msgspec.Struct, frozen=True):
    """A row of the table that is not sent: its number (from 1), its key if it has one of its own, and why."""

    row: int
    key: str | None
    reason: str
    message: str


class TableNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a run knows of its table. The n-th request belongs to the n-th row that is not skipped."""

    name: str
    """Name of the folder with the snapshot."""
    source: str
    """What the user named."""
    columns: list[str]
    """Names of its columns."""
    rows: int
    """Number of rows."""
    skipped: dict[str, int]
    """Number of rows that are not sent, by reason."""
    schema: dict[str, Any] | None = None
    """The schema of the answers; its properties become columns."""
    dimensions: int | None = None
    """The length of the embeddings, if it was asked for."""
    media: bool = False
    """Whether the answers are images or speech."""
    prefix: str | None = None
    """What the names of the new columns begin with."""


def new_columns(
    note: TableNote, method: Method, *, details: bool = False, media: bool = False, prefix: str | None = None
) -> tuple[Column, ...]:
    """The columns that the answers add to a table. Raises UsageError if one has the name of a column of the table.

    ``details``, ``media``: with those columns; ``prefix``: another one than the note has.
    """
    return answer_columns(
        note.schema,
        method="embed" if method is Method.EMBED else "generate",
        media=media or note.media,
        details=details,
        prefix=prefix or note.prefix,
        taken=note.columns,
        dimensions=note.dimensions,
    )


class Table:
    """The table of a run, in the run's ``folder``."""

    def __init__(self, folder: Path, note: TableNote) -> None:
        self.note = note
        self._folder = folder / _FOLDER / note.name

    @property
    def snapshot(self) -> Path:
        """The rows, as a Parquet file."""
        return self._folder / "table.parquet"

    def skipped(self) -> Iterator[SkippedRow]:
        """The rows that are not sent, in order. Raises OSError."""
        decode = msgspec.json.Decoder(SkippedRow).decode
        with (self._folder / "skipped.jsonl").open("rb") as file:
            for line in file:
                yield decode(line)


def table_of(folder: Path) -> Table | None:
    """The table of the run in ``folder``, if it has one. Raises StateError if the note about it cannot be read."""
    path = folder / _NOTE
    try:
        return Table(folder, msgspec.json.decode(path.read_bytes(), type=TableNote))
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise StateError(f"The note about the table cannot be read: {error}.", file=path, code="damaged") from error


def keep_table(folder: Path, note: TableNote, snapshot: Path, skipped: Path) -> None:
    """Make this the table of the run in ``folder``; the files are moved there. Earlier snapshots are removed.

    The note is written last, so the table is always complete. Raises OSError.
    """
    place = folder / _FOLDER / note.name
    private_folder(place)
    snapshot.rename(place / "table.parquet")
    skipped.rename(place / "skipped.jsonl")
    sync_folder(place)
    with atomic_write(folder / _NOTE, private=True) as file:
        file.write(msgspec.json.encode(note))
    for other in (folder / _FOLDER).iterdir():
        if other.name != note.name:
            with contextlib.suppress(OSError):  # on Windows, a file that is being read stays
                shutil.rmtree(other)
