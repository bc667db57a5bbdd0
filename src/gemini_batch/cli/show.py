"""``gemini-batch show``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.common import verb
from gemini_batch.cli.pager import page
from gemini_batch.cli.row_view import as_text, on_screen
from gemini_batch.cli.screen import screen_width
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.show import Shown


def _if_any(_context: click.Context, _parameter: click.Parameter, words: Sequence[str]) -> list[str] | None:
    return list(words) or None


@verb(
    "show",
    click.argument("run_id", metavar="RUN"),
    click.argument("keys", metavar="[KEY]...", nargs=-1, callback=_if_any),
    click.option(
        "--verdict",
        metavar="VERDICTS",
        multiple=True,
        callback=_if_any,
        help="Only rows with these verdicts, such as truncated,blocked.",
    ),
    click.option(
        "--grep", metavar="TEXT", help="Only rows with TEXT in the key, the prompt or the answer, in any case."
    ),
    click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only N of these rows, chosen at random."),
    click.option(
        "--sample-seed",
        type=int,
        default=0,
        metavar="S",
        help="Another seed, another sample; the same command shows the same rows (default 0).",
    ),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N of these rows."),
    click.option("--no-pager", is_flag=True, help="Do not page on a terminal."),
    document=lambda found, **_: {"result": found.summary},
    each="row",
    asks=False,
    streams=True,
)
def command(found: Shown, screen: Screen, *, no_pager: bool, **_: Any) -> None:
    """Show rows of a run, prompt and answer side by side. RUN is a run id or the name of one of its jobs.

    Without a KEY or an option, all rows are shown, in input order. Each has its verdict, reason and attempts, the model
    that answered, tokens, and its cost at batch price. Rows that were not sent, or whose job is alive, are shown with
    their place. Only what is held on this machine is read: this needs no network and no key, and costs nothing. On a
    terminal, the rows go through PAGER, or less. With --json, each row is a JSON line; the last line is about the run.
    """
    count = 0

    def pieces() -> Iterator[str]:
        nonlocal count
        width = screen_width(sys.stdout) if sys.stdout.isatty() else None
        colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in {"dumb", "unknown"}
        for row in found:
            count += 1
            yield as_text(row) if width is None else on_screen(row, width, colours=colours)

    page(pieces(), pager=not no_pager)
    if not count:
        screen.say(f"None of the {counted(found.summary.requests, 'row')} of {found.summary.run} matches.")
