"""``gemini-batch estimate``; and the two lines that ``run`` says before it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import DEDUPE, LENIENT, MODEL_CHECK, SELECTION, verb
from gemini_batch.cli.table_options import TABLE
from gemini_batch.commands.estimate_words import all_lines

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.estimate import Estimate


@verb(
    "estimate",
    click.argument("what", metavar="[INPUT|RUN]", required=False),
    click.option("--model", "-m", metavar="MODEL", help="The model; default as for create."),
    MODEL_CHECK,
    *SELECTION,
    click.option("--new", is_flag=True, help="Count everything, whatever was answered before."),
    DEDUPE,
    LENIENT,
    *TABLE,
    click.option("--max-requests-per-job", type=click.IntRange(min=1), metavar="N", help="As for run."),
    click.option("--max-tokens-per-job", type=click.IntRange(min=1), metavar="N", help="As for run."),
    click.option("--tier", type=click.IntRange(1, 3), metavar="1|2|3", help="The project's tier."),
    click.option(
        "--count",
        type=click.IntRange(min=1),
        metavar="N",
        help="Let the service count the tokens of N prompts. This needs a key, and costs nothing.",
    ),
)
def command(found: Estimate, _screen: Screen, **_: object) -> None:
    """Say what a run would send, and what it would cost, before it does: requests that are new, tokens, price, jobs.
    Nothing is sent and nothing is stored. Needs no key and no network, except with --count.

    The input and the options are those of run; RUN stands for what is left of a run.
    """
    for line in all_lines(found):
        click.echo(line)
