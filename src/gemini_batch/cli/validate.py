"""``gemini-batch validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gemini_batch.catalog import Method
from gemini_batch.cli.common import INPUT_FILE, LENIENT, MODEL_CHECK, call_method, verb
from gemini_batch.cli.outcome import clean, invoked, show_problems
from gemini_batch.transcript.sizes import counted, size

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.client import GeminiBatch
    from gemini_batch.commands.fixing import Change, Correction
    from gemini_batch.commands.validate import Validated


def _code(found: Validated, **_: object) -> int:
    return 0 if found.valid else 1


def _call(batch: GeminiBatch, *, fixing: bool, fix: str | None, **options: Any) -> Any:
    if fixing != (fix is not None):
        raise click.UsageError("--fix and --output belong together: --fix -o FIXED.jsonl")
    return call_method(batch, "validate", fix=fix, **options)


@verb(
    "validate",
    INPUT_FILE,
    click.option("--model", "-m", metavar="MODEL", help="Check the rules of this model, too."),
    MODEL_CHECK,
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Check only the first N requests."),
    LENIENT,
    click.option("--fix", "fixing", is_flag=True, help="Write a corrected copy, list the changes, and check the copy."),
    click.option("--output", "-o", "fix", metavar="FILE", help="With --fix: where to write the copy."),
    click.option(
        "--key-from",
        metavar="PATH",
        help="With --fix: take missing keys from this field, such as meta.id; otherwise, lines are numbered.",
    ),
    click.option(
        "--key-duplicates",
        type=click.Choice(["error", "number", "first"]),
        default="error",
        help="With --fix: report lines with a repeated key, number their keys, or keep only the first line.",
    ),
    click.option("--force", is_flag=True, help="With --fix: replace FILE, whatever it contains."),
    call=_call,
    ends=_code,
    asks=False,
)
def command(found: Validated, screen: Screen, *, input_file: str, **_: object) -> str:
    """Check every line of a request file as create does, without a key or a network. Nothing is sent or stored.

    With --fix, write a corrected copy of the file and check that. What cannot be corrected with certainty stays as it
    is and is reported. The file itself never changes.

    Prints "valid" or "invalid" on stdout, and the problems on stderr. Exits with 0 if the file can be sent, 1 if some
    lines must be fixed, 2 if it is not a request file.
    """
    if found.fixed is not None:
        _show_changes(found.fixed, found.file, screen)
    show_problems(found.problems, found.errors + found.warnings, found.file if found.fixed else input_file)
    if found.valid:
        kind = "embeddings" if found.method is Method.EMBED else "generation"
        screen.say(f"{counted(found.requests, 'request')} for {kind}, {size(found.bytes)}.")
    else:
        screen.say(f"{counted(found.errors, 'problem')}; create would refuse the file.")
    if found.next:
        screen.say(f"Next: {invoked(found.next)}")
    return "valid" if found.valid else "invalid"


def _show_changes(fixed: Correction, copy: str, screen: Screen) -> None:
    lines = counted(fixed.lines, "line")
    if not fixed.changes:
        screen.say(f"Wrote {clean(copy)} ({lines}). Nothing had to be changed.")
        return
    screen.say(f"Wrote {clean(copy)} ({lines}). Changes to {clean(fixed.original)}:")
    for change in fixed.changes:
        screen.say(f"  {clean(_shown(change))}")


def _shown(change: Change) -> str:
    """``renamed `id` to `key`: 2 (line 1, 2)``."""
    first = ", ".join(map(str, change.lines))
    more = ", …" if change.count > len(change.lines) else ""
    return f"{change.what}: {change.count:,} (line {first}{more})"
