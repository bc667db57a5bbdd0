"""``gemini-batch retry``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.common import BUDGET, MODEL_CHECK, TABLE_STYLE, TIMEOUT, Number, verb
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
        help="Verdicts to resend: truncated, blocked, empty, invalid, failed, missing.",
    ),
    click.option(
        "--max-output-tokens", type=click.IntRange(min=1), metavar="N", help="New limit, for answers that were cut off."
    ),
    click.option(
        "--temperature",
        type=Number(0, 2),
        metavar="T",
        help="New temperature, for answers that were blocked or invalid.",
    ),
    click.option("--model", "-m", metavar="MODEL", help="Send the requests to another model."),
    MODEL_CHECK,
    *BUDGET,
    OUTPUT,
    *TABLE_STYLE,
    TIMEOUT,
    document=document,
    ends=exit_code,
    streams=True,
)
def command(found: Results, screen: Screen, **options: Any) -> str:
    """Resend the requests of a run whose verdict is one of --only. This costs money. RUN is a run id or the name of one
    of its jobs.

    A new answer replaces an earlier one that had not succeeded. The exit codes are those of run.
    """
    return show(found, screen, **options)
