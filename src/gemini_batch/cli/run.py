"""``gemini-batch run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import is_stdout, run, settings, shared_options
from gemini_batch.cli.outcome import write_json
from gemini_batch.cli.results import next_step, summary_lines
from gemini_batch.cli.screen import JsonEvents, Screen
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gemini_batch.report.result_set import Results


@click.command("run", short_help="All of it: check, send in as many jobs as needed, wait, collect, send again.")
@click.argument("what", metavar="INPUT_FILE|RUN")
@click.option("--output", "-o", metavar="FILE", help="Write all result lines to FILE, and failures beside it.")
@click.option("--model", "-m", metavar="MODEL", help="As for create.")
@click.option("--name", "-n", metavar="NAME", help="The jobs' display name.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N requests, as a trial.")
@click.option("--new", is_flag=True, help="Another run even if these requests have one; it is paid for again.")
@click.option("--max-requests-per-job", type=click.IntRange(min=1), metavar="N", help="Default: 50000.")
@click.option("--max-tokens-per-job", type=click.IntRange(min=1), metavar="N", help="By estimate; default: no bound.")
@click.option("--attempts", type=click.IntRange(1, 10), metavar="N", help="Jobs that a request may be in; default: 3.")
@click.option(
    "--tier", type=click.IntRange(1, 3), metavar="1|2|3", help="The project's tier: its queue is not overfilled then."
)
@click.option(
    "--poll", type=click.FloatRange(min=0), metavar="SECONDS", help="Look every so often, instead of ever less."
)
@shared_options
def command(
    *, what: str, output: str | None, offline: bool | None, as_json: bool, quiet: bool, poll: float | None, **given: Any
) -> int:
    """Do all of it: check a file, cut it into jobs, send them as there is room, wait, collect, and send again what
    failed in passing. The same command again, or run RUN, goes on where it stopped, whatever stopped it.

    Ends with 0 if every request succeeded, 1 if some did not (failures.jsonl beside the results says which and why),
    5 if nothing could be had.
    """
    check_file_name(output)
    from gemini_batch import aio

    with JsonEvents() if as_json else Screen(quiet=quiet) as screen:
        found = run(aio.run(what, output=output, settings=settings(offline, poll=poll), on_event=screen.emit, **given))
        return show(found, "run", output, as_json=as_json, say=screen.say)


def check_file_name(output: str | None) -> None:
    """``-o`` of run and retry is a file: failures are written beside it, and stdout carries the run's id."""
    if is_stdout(output):
        raise UsageError(
            "stdout carries the run's id here, so the results need a file.",
            field="--output",
            code="bad_output",
            next="Type: -o results.jsonl, or afterwards: gemini-batch results RUN -o -",
        )


def show(found: Results, name: str, output: str | None, *, as_json: bool, say: Callable[[str], None]) -> int:
    """The end of a run: its summary, and the id alone on stdout; returns the exit code."""
    from gemini_batch.report.result_set import failures_beside

    summary = found.summary
    if as_json:
        write_json(name, result=summary, output=output, exit_code=summary.exit_code)
        return summary.exit_code
    for line in summary_lines(summary, output):
        say(line)
    if output is not None and not summary.all_succeeded:
        say(f"Without a good answer, with verdict, reason and request: {failures_beside(Path(output))}")
    if output is None:
        say(f"Next: gemini-batch results {summary.run} -o results.jsonl")
    if summary.next:
        say(f"{'Next' if output is not None else 'Then'}: {next_step(summary.next, output)}")
    click.echo(summary.run)
    return summary.exit_code
