"""``gemini-batch run``; and what ``retry``, which ends like it, shares with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import POLL, TIMEOUT, is_stdout, verb
from gemini_batch.cli.results import exit_code, next_step, summary_lines
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.report.result_set import Results


def file_name(_context: click.Context, _option: click.Parameter, output: str | None) -> str | None:
    """``-o`` of run and retry is a file: failures are written beside it, and stdout carries the run's id."""
    if is_stdout(output):
        raise UsageError(
            "stdout carries the run's id here, so the results need a file.",
            field="--output",
            code="bad_output",
            next="Type: -o results.jsonl, or afterwards: gemini-batch results RUN -o -",
        )
    return output


OUTPUT = click.option(
    "--output",
    "-o",
    metavar="FILE",
    callback=file_name,
    help="Write all result lines of the run to FILE, and those without a good answer next to it: to failures.jsonl if "
    "FILE is results.jsonl, else to NAME.failures.jsonl.",
)


def document(found: Results, *, output: str | None, **_: object) -> dict[str, object]:
    """The summary, and where the results are."""
    return {"result": found.summary, "output": output}


def show(found: Results, screen: Screen, *, output: str | None, **_: object) -> str:
    """The end of a run: its summary, and the id alone on stdout."""
    from gemini_batch.report.result_set import failures_beside

    summary = found.summary
    for line in summary_lines(summary, output):
        screen.say(line)
    if output is not None and not summary.all_succeeded:
        screen.say(f"Without a good answer, with verdict, reason and request: {failures_beside(Path(output))}")
    if output is None:
        screen.say(f"Next: gemini-batch results {summary.run} -o results.jsonl")
    if summary.next:
        screen.say(f"{'Next' if output is not None else 'Then'}: {next_step(summary.next, output)}")
    return summary.run


@verb(
    "run",
    click.argument("what", metavar="INPUT_FILE|RUN"),
    OUTPUT,
    click.option("--model", "-m", metavar="MODEL", help="As for create."),
    click.option("--name", "-n", metavar="NAME", help="The jobs' display name."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N requests, as a trial."),
    click.option("--new", is_flag=True, help="Another run even if these requests have one; it is paid for again."),
    click.option("--max-requests-per-job", type=click.IntRange(min=1), metavar="N", help="Default: 50000."),
    click.option(
        "--max-tokens-per-job", type=click.IntRange(min=1), metavar="N", help="By estimate; default: no bound."
    ),
    click.option(
        "--attempts", type=click.IntRange(1, 10), metavar="N", help="Jobs that a request may be in; default: 3."
    ),
    click.option(
        "--tier",
        type=click.IntRange(1, 3),
        metavar="1|2|3",
        help="The project's tier: its queue is not overfilled then.",
    ),
    POLL,
    TIMEOUT,
    document=document,
    ends=exit_code,
    streams=True,
)
def command(found: Results, screen: Screen, *, output: str | None, **_: object) -> str:
    """Do all of it: check a file, cut it into jobs, send them as there is room, wait, collect, and send again what
    failed in passing. The same command again, or run RUN, goes on where it stopped, whatever stopped it.

    Ends with 0 if every request succeeded, 1 if some did not (the failures file says which and why), 5 if nothing
    could be had, 6 if it is not finished, or if --timeout ended the waiting.
    """
    return show(found, screen, output=output)
