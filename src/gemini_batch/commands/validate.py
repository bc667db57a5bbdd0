"""``validate``: the checks of create, alone; nothing is kept and nothing is sent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.errors import InvalidInput, Next, Problem
from gemini_batch.events import EventHandler, ignore_events, in_thread
from gemini_batch.intake.model_checks import check_model_name
from gemini_batch.intake.staging import stage
from gemini_batch.store.state_folder import RunFolder
from gemini_batch.validation.conform import Terms

if TYPE_CHECKING:
    from gemini_batch.catalog import Method


class Validated(msgspec.Struct, frozen=True, kw_only=True):
    """What a request file holds."""

    file: str
    """Path of the file."""
    valid: bool
    """True if `create` would send it."""
    requests: int
    """Number of requests; 0 if there are errors."""
    bytes: int
    """Size of the requests; 0 if there are errors."""
    method: Method | None
    """What the requests ask for; null if there are errors."""
    errors: int
    """Number of errors."""
    warnings: int
    """Number of warnings."""
    problems: list[Problem]
    """Errors and warnings in the order of the lines, at most 10,000."""
    next: Next | None
    """The command that sends the requests; null if there are errors."""


async def validate(
    source: Path,
    *,
    model: str | None = None,
    model_check: bool = True,
    limit: int | None = None,
    lenient: bool = False,
    offline: bool = False,
    emit: EventHandler = ignore_events,
) -> Validated:
    """Check every line of a request file as create does. Raises UsageError for a file that is none at all.

    ``model``: check the rules of this model, too. ``model_check`` False: refuse no line by a rule of its model.
    ``lenient``: refuse only lines that the service certainly refuses. ``offline``: whether the create that is proposed
    is to be.
    """
    if model is not None:
        check_model_name(model)
    terms = Terms((model or "").removeprefix("models/") if model_check else "", lenient)
    most = catalog.load().limits.input_file_bytes.value
    # Not next to the user's files: the copy that the check for repeated keys needs is as large as the file itself.
    with tempfile.TemporaryDirectory(prefix="gemini-batch-validate-") as folder:
        try:
            staged = await in_thread(
                lambda told: stage(
                    source,
                    RunFolder(Path(folder)),
                    limit=limit,
                    max_bytes=most,
                    terms=terms,
                    offline=offline,
                    emit=told,
                ),
                emit,
            )
        except InvalidInput as error:
            return Validated(
                file=str(source),
                valid=False,
                requests=0,
                bytes=0,
                method=None,
                errors=error.total,
                warnings=error.warnings,
                problems=list(error.problems),
                next=None,
            )
    first = () if limit is None else ("--limit", str(limit))
    where = ("--offline",) if offline else ()
    judged = (
        *(("--model", model) if model else ()),
        *(() if model_check else ("--model-check", "off")),
        *(("--lenient",) if lenient else ()),
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
        next=Next("create", str(source), *judged, *first, *where, why="" if offline else "this costs money"),
    )
