"""``validate``: the checks of create, alone; nothing is kept and nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.errors import InvalidInput, Problem
from gemini_batch.events import EventHandler, ignore_events, in_thread
from gemini_batch.intake.staging import stage
from gemini_batch.store.state_folder import RunFolder

if TYPE_CHECKING:
    from gemini_batch.catalog import Method


class Validated(msgspec.Struct, frozen=True, kw_only=True):
    """What a request file holds. ``problems`` has at most 10,000 of the errors and warnings; the counts are whole."""

    file: str
    valid: bool
    requests: int
    bytes: int
    method: Method | None
    errors: int
    warnings: int
    problems: list[Problem]


async def validate(source: Path, *, limit: int | None = None, emit: EventHandler = ignore_events) -> Validated:
    """Check every line of a request file as create does. Raises UsageError for a file that is none at all."""
    most = catalog.load().limits.input_file_bytes.value
    # Beside nothing of the user's: the copy that the check for repeated keys needs is as large as the file itself.
    with tempfile.TemporaryDirectory(prefix="gemini-batch-validate-") as folder:
        try:
            staged = await in_thread(
                lambda told: stage(source, RunFolder(Path(folder)), limit=limit, max_bytes=most, emit=told), emit
            )
        except InvalidInput as error:
            return Validated(
                file=str(source),
                valid=False,
                requests=0,
                bytes=0,
                method=None,
                errors=error.total,
                warnings=0,
                problems=list(error.problems),
            )
    return Validated(
        file=str(source),
        valid=True,
        requests=staged.requests,
        bytes=staged.bytes,
        method=staged.method,
        errors=0,
        warnings=staged.warning_count,
        problems=list(staged.warnings),
    )
