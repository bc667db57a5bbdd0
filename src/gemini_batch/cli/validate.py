"""``gemini-batch validate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.catalog import Method
from gemini_batch.cli.common import INPUT_FILE, LENIENT, MODEL_CHECK, verb
from gemini_batch.cli.outcome import invoked, show_problems
from gemini_batch.cli.wording import plural
from gemini_batch.transcript.sizes import size

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.validate import Validated


def _code(found: Validated, **_: object) -> int:
    return 0 if found.valid else 1


@verb(
    "validate",
    INPUT_FILE,
    click.option("--model", "-m", metavar="MODEL", help="Check the rules of this model, too."),
    MODEL_CHECK,
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Check only the first N requests."),
    LENIENT,
    ends=_code,
    asks=False,
)
def command(found: Validated, screen: Screen, *, input_file: str, **_: object) -> str:
    """Check every line of a request file as create does, without a key or a network. Nothing is stored.

    Prints "valid" or "invalid" on stdout, and the problems on stderr. Exits with 0 if the file can be sent, 1 if some
    lines must be fixed, 2 if it is not a request file.
    """
    show_problems(found.problems, found.errors + found.warnings, input_file)
    if found.valid:
        kind = "embeddings" if found.method is Method.EMBED else "generation"
        screen.say(f"{plural(found.requests, 'request')} for {kind}, {size(found.bytes)}.")
    else:
        screen.say(f"{plural(found.errors, 'problem')}; create would refuse the file.")
    if found.next:
        screen.say(f"Next: {invoked(found.next)}")
    return "valid" if found.valid else "invalid"
