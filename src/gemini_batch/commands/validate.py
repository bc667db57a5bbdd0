"""``validate``: the checks of create, alone, of a file or of its corrected copy; nothing is sent."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import catalog
from gemini_batch.commands.fixing import Correction, with_origins, write_copy
from gemini_batch.errors import InvalidInput, Next, Problem, UsageError
from gemini_batch.events import EventHandler, ignore_events, in_thread
from gemini_batch.intake.model_checks import check_model_name
from gemini_batch.intake.staging import stage
from gemini_batch.store.state_folder import RunFolder
from gemini_batch.validation import repairs
from gemini_batch.validation.conform import Terms

if TYPE_CHECKING:
    from gemini_batch.catalog import Method
    from gemini_batch.intake.staging import Staged
    from gemini_batch.used_keys import KeyDuplicates


class Validated(msgspec.Struct, frozen=True, kw_only=True):
    """What a request file holds."""

    file: str
    """Path of the file that was checked; with `--fix`, of the corrected copy."""
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
    """The command that sends the requests or, if there are errors, corrects the file; null if `--fix` left errors."""
    fixed: Correction | None
    """What `--fix` changed; null without it."""


async def validate(
    source: Path,
    *,
    model: str | None = None,
    model_check: bool = True,
    limit: int | None = None,
    lenient: bool = False,
    fix: Path | None = None,
    key_from: str | None = None,
    key_duplicates: KeyDuplicates = "error",
    force: bool = False,
    offline: bool = False,
    emit: EventHandler = ignore_events,
) -> Validated:
    """Check every line of a request file as create does. Raises UsageError for a file that is none at all.

    ``model``: check the rules of this model, too. ``model_check`` False: refuse no line by a rule of its model.
    ``lenient``: refuse only lines that the service certainly refuses. ``fix``: write a corrected copy here, and check
    that one; ``key_from``, ``key_duplicates``, ``force``: how. ``offline``: whether the create that is proposed is to
    be.
    """
    if model is not None:
        check_model_name(model)
    _check_arguments(fix, limit=limit, key_from=key_from, key_duplicates=key_duplicates)
    terms = Terms((model or "").removeprefix("models/") if model_check else "", lenient)
    most = catalog.load().limits.input_file_bytes.value

    def work(folder: Path, told: EventHandler) -> tuple[Correction | None, Staged | InvalidInput]:
        fixed = None
        if fix is not None:
            fixed = write_copy(
                source,
                fix,
                folder,
                terms=terms,
                key_from=key_from or None,
                key_duplicates=key_duplicates,
                force=force,
                emit=told,
            )
        try:
            staged = stage(
                fix or source,
                RunFolder(folder),
                limit=limit,
                max_bytes=most,
                terms=terms,
                offline=offline,
                whole=fix is None,
                emit=told,
            )
        except InvalidInput as error:
            if fix is not None:
                error.problems = tuple(with_origins(error.problems, folder))
            return fixed, error
        if fix is not None:
            staged = dataclasses.replace(staged, warnings=tuple(with_origins(staged.warnings, folder)))
        return fixed, staged

    # Not next to the user's files: the copy that the check for repeated keys needs is as large as the file itself.
    with tempfile.TemporaryDirectory(prefix="gemini-batch-validate-") as folder:
        fixed, found = await in_thread(lambda told: work(Path(folder), told), emit)
    checked = str(fix or source)
    if isinstance(found, InvalidInput):
        return Validated(
            file=checked,
            valid=False,
            requests=0,
            bytes=0,
            method=None,
            errors=found.total,
            warnings=found.warnings,
            problems=list(found.problems),
            next=repairs.fixed(source) if fixed is None else None,
            fixed=fixed,
        )
    first = () if limit is None else ("--limit", str(limit))
    where = ("--offline",) if offline else ()
    judged = (
        *(("--model", model) if model else ()),
        *(() if model_check else ("--model-check", "off")),
        *(("--lenient",) if lenient else ()),
    )
    # A larger file needs several jobs; without --fix, it was refused.
    following = "create" if limit is not None or found.bytes <= most else "run"
    return Validated(
        file=checked,
        valid=True,
        requests=found.requests,
        bytes=found.bytes,
        method=found.method,
        errors=0,
        warnings=found.warning_count,
        problems=list(found.warnings),
        next=Next(following, checked, *judged, *first, *where, why="" if offline else "this costs money"),
        fixed=fixed,
    )


def _check_arguments(fix: Path | None, *, limit: int | None, key_from: str | None, key_duplicates: str) -> None:
    """Refuse arguments that do not go together. Raises UsageError."""
    if key_duplicates not in ("error", "number", "first"):
        what = f"{key_duplicates!r} is not a way to treat repeated keys. Use error, number or first."
    elif fix is None and (key_from is not None or key_duplicates != "error"):
        what = "--key-from and --key-duplicates belong to --fix."
    elif fix is not None and limit is not None:
        what = "--fix corrects the whole file; --limit checks a part of it. Use one of them."
    else:
        return
    raise UsageError(what, code="bad_argument", next=Next("validate", "--help"))
