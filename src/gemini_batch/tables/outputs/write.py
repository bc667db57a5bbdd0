"""Writes the joined table to a file, in the format that the end of its name asks for."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import atomic_write, sha256_of
from gemini_batch.tables.extra import needed
from gemini_batch.tables.outputs.database import TABLE, check_database, write_sqlite
from gemini_batch.tables.outputs.engine import MEMORY, path_text
from gemini_batch.tables.outputs.join import joined
from gemini_batch.tables.outputs.lines import write_csv, write_ndjson
from gemini_batch.tables.outputs.workbook import check_sheet, write_workbook
from gemini_batch.tables.sources import duck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gemini_batch.tables.outputs.cells import Cells
    from gemini_batch.tables.outputs.columns import Column
    from gemini_batch.tables.outputs.join import Joined

Format = Literal["parquet", "csv", "tsv", "ndjson", "sqlite", "xlsx"]
#: The format of each ending of a file's name.
ENDINGS: dict[str, Format] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".ndjson": "ndjson",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".xlsx": "xlsx",
}
#: Endings of formats that are not written, each with one that is: a file must be what its name says.
_OTHERS = {
    **dict.fromkeys((".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), ".xlsx"),
    **dict.fromkeys((".feather", ".arrow", ".ipc", ".orc", ".avro", ".pickle", ".pkl", ".h5"), ".parquet"),
    **dict.fromkeys((".duckdb", ".mdb", ".accdb"), ".db"),
    ".json": ".ndjson or .jsonl",
}
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
#: What can be written to a pipe or a terminal.
_STREAMS: frozenset[Format] = frozenset({"csv", "tsv", "ndjson"})


def format_of(output: Path) -> Format | None:
    """The format that the name of a file asks for; None if it is not that of a table."""
    return ENDINGS.get(output.suffix.lower())


def check_ending(output: Path) -> None:
    """Refuse a name that asks for a format that is not written. Raises UsageError."""
    ending = output.suffix.lower()
    if ending in _COMPRESSED:
        instead = f"Leave out {ending}; compress the file afterwards, or choose .parquet, which is compressed."
    elif ending in _OTHERS:
        instead = f"Choose a name that ends in {_OTHERS[ending]}."
    elif "::" in ending and format_of(Path(output.name.partition("::")[0])) == "sqlite":
        instead = f"Leave out what follows ::; the table of a database is called {TABLE}."
    else:
        return
    raise UsageError(
        f"Results are not written in the format {ending}.",
        file=output,
        field="--output",
        code="bad_output",
        next=instead,
    )


def check_format(form: Format, *, rows: int = 0, columns: int = 0) -> None:
    """Refuse what certainly cannot be written: a library is missing, or a table of this size does not fit.

    Raises UsageError.
    """
    needed("duckdb", "A table")
    if form == "xlsx":
        needed("openpyxl", "An Excel file")
        check_sheet(rows, columns)
    elif form == "sqlite":
        check_database(columns)


def write_table(
    snapshot: Path | None,
    answers: Iterable[Cells],
    columns: Sequence[Column],
    output: Path,
    *,
    spreadsheet: bool = False,
    record: Callable[[str], object] = lambda _: None,
    temporary: Path | None = None,
    memory: int = MEMORY,
    as_format: Format | None = None,
) -> int:
    """Write every row of ``snapshot`` with its new cells; returns the number of rows.

    ``snapshot``: the user's columns, as Parquet; if it is None, the table has the new columns alone. ``answers``: one
    :class:`Cells` for each row, in order. The file appears complete or not at all. ``record`` is called before it
    appears, with its SHA-256 in hex; not for a pipe. ``spreadsheet``: CSV and TSV that spreadsheets open safely.
    ``temporary``: the folder for temporary files;
    next to ``output`` if it is None. ``memory``: bytes that the join may hold. ``as_format``: the format, whatever the
    name of the file.

    Raises UsageError if the format cannot hold the table, StateError if there are not as many answers as rows,
    ``OSError`` from the file system. Then nothing was written or replaced.
    """
    kind = as_format or format_of(output)
    if kind is None:
        raise UsageError(
            "The end of this name is not that of a table.",
            file=output,
            field="--output",
            code="bad_output",
            next=f"Choose a name that ends in {', '.join(ENDINGS)}.",
        )
    stream = output.exists() and not output.is_file()
    if stream and kind not in _STREAMS:
        raise UsageError(
            f"A table in the format {kind} can only be written to a file.",
            file=output,
            field="--output",
            code="bad_output",
            next="Name a file, or choose .csv or .ndjson.",
        )
    near = output if temporary is None and not stream else (temporary or Path.cwd()) / output.name
    with joined(snapshot, answers, columns, near, memory=memory) as found:
        check_format(kind, rows=found.rows, columns=len(found.columns))
        if stream:
            with output.open("wb") as file:
                _write(found, kind, file, spreadsheet=spreadsheet)
            return found.rows
        with atomic_write(output) as file:
            _write(found, kind, file, spreadsheet=spreadsheet)
            file.flush()
            record(sha256_of(Path(file.name)))
        return found.rows


def _write(found: Joined, kind: Format, file: IO[bytes], *, spreadsheet: bool) -> None:
    match kind:
        case "csv":
            write_csv(found, file, spreadsheet=spreadsheet)
        case "tsv":
            write_csv(found, file, separator="\t", spreadsheet=spreadsheet)
        case "ndjson":
            write_ndjson(found, file)
        case "sqlite":
            write_sqlite(found, file.name)
        case "xlsx":
            write_workbook(found, file)
        case "parquet":
            _write_parquet(found, file)


def _write_parquet(found: Joined, file: IO[bytes]) -> None:
    """Let the engine write into the file that is open: same name, same file."""
    if sys.platform != "linux":
        # Elsewhere, the lock on the file would also lock out the engine.
        with contextlib.suppress(ImportError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_UN)
    path = duck.text(path_text(Path(file.name)))
    options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {found.group}, USE_TMP_FILE false"
    # Parquet has no lists of a fixed size, and duckdb writes them so that null rows cannot be read.
    arrays = [
        f"{name}::{kind.children[0][1]}[] AS {name}"
        for name, kind in ((duck.name(column), kind) for column, kind in zip(found.columns, found.types, strict=True))
        if kind.id == "array"
    ]
    chosen = f"* REPLACE ({', '.join(arrays)})" if arrays else "*"
    found.db.execute(f"COPY (SELECT {chosen} FROM ({found.query})) TO {path} ({options})")
