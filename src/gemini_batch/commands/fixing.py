"""``validate --fix``: a corrected copy of a request file, and what was changed in it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.commands.request_files import check_place, put
from gemini_batch.errors import Problem, UsageError
from gemini_batch.events import EventHandler, Transfer
from gemini_batch.jsonl import LineTooLong
from gemini_batch.objects.names import real
from gemini_batch.store.sqlite import state_error
from gemini_batch.used_keys import UsedKeys
from gemini_batch.validation.fixing.copying import Draft, Origins, Tally
from gemini_batch.validation.inputfile import check_file, check_unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

    from gemini_batch.used_keys import KeyDuplicates
    from gemini_batch.validation.conform import Terms

_TELL_EVERY = 16 * 1024 * 1024


class Change(msgspec.Struct, frozen=True):
    """One kind of change that ``validate --fix`` made."""

    what: str
    """What was changed, in words."""
    count: int
    """Number of requests, or lines, to which it was done."""
    lines: list[int]
    """The first of their lines in the original, at most 5."""


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """A corrected copy of a request file."""

    original: str
    """Path of the file that was read; it did not change."""
    lines: int
    """Number of lines in the copy."""
    changes: list[Change]
    """What was changed; empty if nothing had to be."""


def write_copy(
    source: Path,
    output: Path,
    folder: Path,
    *,
    terms: Terms,
    key_from: str | None,
    key_duplicates: KeyDuplicates,
    force: bool,
    emit: EventHandler,
) -> Correction:
    """Write a corrected copy of ``source`` to ``output``, complete or not at all.

    ``folder`` is for temporary files; what :func:`with_origins` needs stays there. Raises UsageError for a file that
    cannot be read as requests, and for an output that would replace something; StateError.
    """
    check_file(source, fixing=True)
    check_place(output)
    if real(output) == real(source) or (output.exists() and output.samefile(source)):
        raise UsageError(
            "This is the file that is read; --fix never changes it.",
            file=output,
            field="--output",
            code="bad_output",
            next="Choose another name for the corrected copy.",
        )
    tally, copy = Tally(), folder / "copy.jsonl"
    try:
        with source.open("rb") as reader, UsedKeys.on_disk(folder) as keys:
            draft = Draft(folder, keys, tally)
            _read(reader, source, draft, terms=terms, key_from=key_from, emit=emit)
            with copy.open("wb") as sink, (folder / "origins").open("wb") as origins:
                draft.copy(sink, Origins(origins), key_duplicates)
            draft.remove()
        put(copy, output, force=force)
        copy.unlink()
    except OSError as error:
        raise state_error(error, folder, "folder for temporary files") from error
    changes = [Change(what, kind.count, list(kind.lines)) for what, kind in tally.kinds.items()]
    return Correction(original=str(source), lines=draft.count, changes=changes)


def _read(
    reader: IO[bytes], source: Path, draft: Draft, *, terms: Terms, key_from: str | None, emit: EventHandler
) -> None:
    before = os.fstat(reader.fileno())
    told = 0

    def tell(offset: int) -> None:
        nonlocal told
        if offset - told >= _TELL_EVERY:
            told = offset
            emit(Transfer("reading", offset, before.st_size))

    try:
        draft.write(reader, terms=terms, key_from=key_from, tell=tell)
    except LineTooLong as long:
        raise UsageError(
            "The value that begins here is too long for a request.",
            file=source,
            line=long.number,
            code="line_too_long",
            next="Check where it should end: a quotation mark or a bracket may be missing.",
        ) from None
    check_unchanged(before, os.fstat(reader.fileno()), source)
    if not draft.count:
        raise UsageError(
            "The file has no requests.",
            file=source,
            code="empty_file",
            next="Write one request on each line: "
            '{"key": "1", "request": {"contents": [{"parts": [{"text": "Hello"}]}]}}',
        )


def with_origins(problems: Sequence[Problem], folder: Path) -> list[Problem]:
    """The problems of a copy, each with the line of the original."""
    with (folder / "origins").open("rb") as file:
        origins = Origins(file)
        return [one if one.line is None else dataclasses.replace(one, original=origins[one.line]) for one in problems]
