"""``gemini-batch prepare``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import INPUT, LENIENT, verb
from gemini_batch.cli.outcome import invoked
from gemini_batch.cli.table_options import TABLE
from gemini_batch.transcript.sizes import counted, size

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.prepare import PreparedFile


@verb(
    "prepare",
    INPUT,
    click.option("--output", "-o", metavar="FILE", required=True, help="Write the requests to FILE."),
    click.option("--model", "-m", metavar="MODEL", help="Check the rules of this model, too."),
    click.option("--force", is_flag=True, help="Replace FILE, whatever it contains."),
    LENIENT,
    *TABLE,
    asks=False,
)
def command(made: PreparedFile, screen: Screen, **_: object) -> str:
    """Make the request file of a table, one line per row, without sending it. Needs no key and no network.

    The file is the input of create and run. Prints its name on stdout. Exits with 2 if no request can be made from a
    row.
    """
    rows = counted(made.rows, "row")
    screen.say(f"{counted(made.requests, 'request')} from {rows}, {size(made.bytes)}.")
    if made.next:
        screen.say(f"Next: {invoked(made.next)}")
    return made.file
