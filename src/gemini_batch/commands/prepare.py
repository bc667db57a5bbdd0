"""``prepare``: make the request file of a table, and send nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.catalog import Method  # noqa: TC001 - msgspec needs the type itself
from gemini_batch.commands.request_files import check_place, put
from gemini_batch.errors import InvalidInput, Next
from gemini_batch.events import EventHandler, Notice, ignore_events, in_thread
from gemini_batch.intake.staging import stage
from gemini_batch.intake.tabular import check_not_read
from gemini_batch.intake.tabular import prepare as prepare_table
from gemini_batch.store.state_folder import RunFolder
from gemini_batch.validation.conform import Terms

if TYPE_CHECKING:
    from gemini_batch.intake.tabular import Prepared, TableInput


class PreparedFile(msgspec.Struct, frozen=True, kw_only=True):
    """What ``prepare`` wrote."""

    file: str
    """Path of the request file."""
    rows: int
    """Number of rows in the table."""
    requests: int
    """Number of requests in the file."""
    bytes: int
    """Size of the file."""
    method: Method
    """What the requests ask for."""
    skipped: dict[str, int]
    """Number of rows without a request, by reason."""
    warnings: list[str]
    """Warnings about the requests, as sentences."""
    next: Next | None
    """The command that sends the requests."""


async def prepare(
    table: TableInput,
    output: Path,
    *,
    model: str | None = None,
    lenient: bool = False,
    force: bool = False,
    offline: bool = False,
    emit: EventHandler = ignore_events,
) -> PreparedFile:
    """Write the requests of a table to ``output``, complete or not at all. Needs no key, and stores nothing else.

    ``force``: replace a file that has other content. Raises UsageError (InvalidInput with the rows from which no
    request can be made), StateError.
    """
    check_place(output)
    check_not_read(table, output, "--output")
    terms = Terms((model or "").removeprefix("models/"), lenient)
    with tempfile.TemporaryDirectory(prefix=".gemini-batch-prepare-", dir=output.parent) as folder:
        scratch = Path(folder)

        def work(told: EventHandler) -> tuple[Prepared, PreparedFile]:
            made = prepare_table(table, scratch, name="table", terms=terms, emit=told, uploads=False)
            try:
                staged = stage(
                    made.requests,
                    RunFolder(scratch),
                    max_bytes=None,
                    terms=terms,
                    answer_schema=made.answer_schema,
                    emit=told,
                )
            except InvalidInput as error:
                raise made.in_rows(error) from error
            put(made.requests, output, force=force)
            where = ("--offline",) if offline else ()
            found = PreparedFile(
                file=str(output),
                rows=made.note.rows,
                requests=staged.requests,
                bytes=staged.bytes,
                method=staged.method,
                skipped=made.note.skipped,
                warnings=sorted({problem.message for problem in staged.warnings}),
                next=Next("run", str(output), "-o", "results.jsonl", *where, why="" if offline else "this costs money"),
            )
            return made, found

        made, found = await in_thread(work, emit)
    for sentence in (*made.notes, *found.warnings):
        emit(Notice(sentence))
    return found
