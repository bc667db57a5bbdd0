"""``gemini-batch retry``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import TIMEOUT, verb
from gemini_batch.cli.results import exit_code
from gemini_batch.cli.run import OUTPUT, document, show

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.report.result_set import Results


@verb(
    "retry",
    click.argument("run_id", metavar="RUN"),
    click.option(
        "--only",
        metavar="VERDICTS",
        default="failed,missing",
        show_default=True,
        callback=lambda _context, _option, verdicts: [verdicts],
        help="truncated, blocked, empty, invalid, failed, missing.",
    ),
    click.option("--max-output-tokens", type=click.IntRange(min=1), metavar="N", help="For answers that were cut off."),
    click.option(
        "--temperature", type=click.FloatRange(0, 2), metavar="T", help="For answers that were blocked or invalid."
    ),
    click.option("--model", "-m", metavar="MODEL", help="Ask another model."),
    OUTPUT,
    TIMEOUT,
    document=document,
    ends=exit_code,
    streams=True,
)
def command(found: Results, screen: Screen, *, output: str | None, **_: object) -> str:
    """Send the requests of a run once more whose verdict is one of --only. This is paid for. RUN may also be the name
    of a job: its run is meant.

    What the new attempt answers replaces what was no success. Ends as run does.
    """
    return show(found, screen, output=output)
