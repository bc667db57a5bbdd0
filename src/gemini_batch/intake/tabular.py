"""From a table to the file of its requests, and to what the run keeps of the table."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.errors import InvalidInput, UsageError
from gemini_batch.events import Transfer
from gemini_batch.jsonl import private_open, utf8_text
from gemini_batch.objects.names import real, said
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.making.attachments import INLINE_MAX, Attachments
from gemini_batch.tables.making.builder import Builder
from gemini_batch.tables.making.prepare import make_requests
from gemini_batch.tables.making.recipe import Asked, Kind, Recipe, make_recipe
from gemini_batch.tables.note import SkippedRow, TableNote, new_columns
from gemini_batch.tables.sources.snapshot import Given, take_snapshot
from gemini_batch.tables.sources.source import find_source, query
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_batch.errors import Problem
    from gemini_batch.events import EventHandler
    from gemini_batch.tables.making.attachments import Stored
    from gemini_batch.tables.sources.snapshot import Snapshot
    from gemini_batch.tables.sources.source import Source
    from gemini_batch.validation.conform import Terms

#: The name of standard input.
STDIN = "-"
_PIECE = 1024 * 1024
#: The largest attachment in a request that must hold it: as base64 it stays below the service's 20 MiB.
INLINE_MOST = 15_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TableInput:
    """A table and what is asked of each row.

    ``rows``: a file name, ``-`` for standard input, or the rows themselves; None if ``sql`` selects them. ``prefix``:
    what the names of new columns begin with. ``attach_roots``: folders from which files may be attached, besides the
    table's own.
    """

    rows: Any
    asked: Asked
    sql: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    prefix: str | None = None
    attach_roots: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """The table as messages name it."""
        if self.sql is not None:
            return "--sql"
        return said(str(self.rows)) if isinstance(self.rows, (str, Path)) else "the rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The requests of a table in a scratch folder, and what a run keeps of the table."""

    requests: Path
    snapshot: Path
    skipped: Path
    note: TableNote
    recipe: Recipe
    notes: tuple[str, ...]
    attachments: tuple[Stored, ...]

    @property
    def answer_schema(self) -> bytes | None:
        """The schema that answers are checked with, as JSON."""
        return None if self.recipe.schema is None else self.recipe.schema.json

    def in_rows(self, error: InvalidInput) -> InvalidInput:
        """The same error about the rows of the table that the request lines were made of."""
        problems = self.by_row(error.problems)
        return InvalidInput(self.note.source, problems, total=error.total, warnings=error.warnings, unit="row")

    def by_row(self, problems: Iterable[Problem]) -> list[Problem]:
        """Problems of request lines as problems of the rows of the table that the lines were made of."""
        decode = msgspec.json.Decoder(SkippedRow).decode
        with self.skipped.open("rb") as file:
            skipped = [decode(line).row for line in file]
        return [
            replace(one, message=f"Row {_row(one.line, skipped):,}: {one.message}", line=None) if one.line else one
            for one in problems
        ]


def _row(line: int, skipped: Iterable[int]) -> int:
    for row in skipped:
        if row > line:
            break
        line += 1
    return line


def prepare(
    table: TableInput, scratch: Path, *, name: str, terms: Terms, emit: EventHandler, uploads: bool = True
) -> Prepared:
    """Write the snapshot and the requests of a table to ``scratch``, a private folder. ``name``: of the snapshot.

    ``uploads``: whether this becomes a run, which can upload large attachments and writes a table; in a request file,
    attachments must fit into their requests.
    Raises UsageError for what is no table, for a prompt that does not fit it and for rows from which no request can be
    made (InvalidInput); StateError if ``scratch`` cannot be written.
    """
    try:
        recipe = make_recipe(table.asked)
        source = _source(table, scratch)
        snapshot = take_snapshot(source, scratch, encoding=table.encoding, delimiter=table.delimiter)
        attachments = Attachments(
            Path() if isinstance(source, Given) else source.folder,
            table.attach_roots,
            INLINE_MAX if uploads else INLINE_MOST,
            uploads=uploads,
        )
        builder = Builder(recipe, tuple(snapshot.columns), attach=attachments.part)
        note = _note(table, recipe, snapshot, name)
        if uploads:
            new_columns(note, recipe.method)  # what would collide is said before the work is done
        made = make_requests(
            snapshot,
            builder,
            scratch,
            name=table.name,
            progress=lambda done, total: emit(Transfer("preparing", done, total, "rows")),
        )
    except UsageError as error:
        if error.file == str(_stdin_in(scratch)):
            error.file = "standard input"
        raise
    except OSError as error:
        raise state_error(error, scratch, "run folder") from error
    check_recipe(made.path, terms._replace(prepared=True))
    schema = recipe.schema
    said = () if schema is None else (*schema.notes, *((schema.notice,) if schema.notice else ()))
    return Prepared(
        requests=made.path,
        snapshot=snapshot.path,
        skipped=made.skipped,
        note=msgspec.structs.replace(note, skipped=made.reasons),
        recipe=recipe,
        notes=(*snapshot.notes, *said, *made.notes),
        attachments=tuple(attachments.stored.values()),
    )


def check_not_read(table: TableInput, output: Path, option: str) -> None:
    """Refuse an output that the table is read from, or would be read from the next time. Raises UsageError."""
    if table.sql is None and (not isinstance(table.rows, (str, Path)) or str(table.rows) == STDIN):
        return
    source = find_source(str(table.rows)) if table.sql is None else query(table.sql)
    if source.holds(output, real):
        raise UsageError(
            f"{table.name} is the input, and this would become a part of it."
            if not output.is_file()
            else "The rows are read from this file, which would be replaced.",
            file=output,
            field=option,
            code="bad_output",
            next="Choose another place for the results.",
        )


def check_named(table: TableInput) -> None:
    """Refuse to write a file for each row of a table whose keys would be hashes of requests. Raises UsageError."""
    if not make_recipe(table.asked).key:
        raise UsageError(
            "--output-dir names each file by the key of its row, and without --key, keys are derived from requests: "
            "no one could tell which file belongs to which row.",
            field="--output-dir",
            code="no_key",
            next="Name the column that identifies a row: --key id, or --key path for a folder of files.",
        )


def _note(table: TableInput, recipe: Recipe, snapshot: Snapshot, name: str) -> TableNote:
    """What a run keeps of a table of which no row is skipped."""
    dimensions = recipe.settings.get("outputDimensionality")
    return TableNote(
        name=name,
        source=utf8_text(table.name),
        columns=list(snapshot.columns),
        rows=snapshot.rows,
        skipped={},
        schema=None if recipe.schema is None else recipe.schema.original,
        dimensions=dimensions if isinstance(dimensions, int) else None,
        media=recipe.kind in {Kind.IMAGE, Kind.SPEECH},
        prefix=table.prefix,
    )


def _source(table: TableInput, scratch: Path) -> Source | Given:
    if table.sql is not None:
        if table.rows is not None:
            raise UsageError(
                "--sql names its tables itself.",
                field="--sql",
                code="bad_argument",
                next="Leave out the input file; write select … from 'file.parquet'.",
            )
        return query(table.sql)
    if isinstance(table.rows, str) and table.rows == STDIN:
        return replace(find_source(str(_from_stdin(scratch))), name="standard input", folder=Path())
    return find_source(str(table.rows)) if isinstance(table.rows, (str, Path)) else Given(table.rows)


def _stdin_in(scratch: Path) -> Path:
    return scratch / "stdin"


def _from_stdin(scratch: Path) -> Path:
    path = _stdin_in(scratch)
    with private_open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file, _PIECE)
    return path


def check_recipe(requests: Path, terms: Terms) -> None:
    """Refuse settings that no row can be sent with, once instead of for every row. Raises UsageError."""
    with requests.open("rb") as file:
        checked = check_line(file.readline().rstrip(b"\n"), 1, terms)
    if isinstance(checked, Checked):
        return
    first = next(problem for problem in checked if problem.severity == "error")
    raise UsageError(
        f"The requests cannot be sent: {first.message}",
        field=first.field and first.field.removeprefix("request."),
        code="invalid_input",
        next=first.next,
    )
