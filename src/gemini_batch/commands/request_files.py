"""Request files that commands write for the user: complete or not at all, and never over a file that would be lost."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import atomic_write, sha256_of
from gemini_batch.store.sqlite import state_error

if TYPE_CHECKING:
    from pathlib import Path

_PIECE = 1024 * 1024


def check_place(output: Path) -> None:
    """Refuse a place that cannot hold a file. Raises UsageError."""
    if output.is_dir() or not output.parent.is_dir():
        raise UsageError(
            "This is a folder." if output.is_dir() else "The folder for the file does not exist.",
            file=output if output.is_dir() else output.parent,
            field="--output",
            code="bad_output",
            next="Name a file in a folder that exists.",
        )

    if output.exists() and not output.is_file():
        raise UsageError(
            "This is not a regular file.", file=output, field="--output", code="bad_output", next="Name a file."
        )


def put(requests: Path, output: Path, *, force: bool) -> None:
    """Copy a request file to its place. Raises UsageError for a file that would be lost, StateError."""
    try:
        if output.is_file() and output.stat().st_size and not force:
            if sha256_of(output) == sha256_of(requests):
                return
            raise UsageError(
                "This file exists and has other content, which would be lost.",
                file=output,
                field="--output",
                code="bad_output",
                next="Choose another name, or use --force.",
            )
        with requests.open("rb") as source, atomic_write(output) as file:
            shutil.copyfileobj(source, file, _PIECE)
    except OSError as error:
        raise state_error(error, output, "request file") from error
