"""``gemini-batch run``; and what ``retry``, which ends like it, shares with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli import shards
from gemini_batch.cli.common import (
    BUDGET,
    DEDUPE,
    LENIENT,
    MODEL_CHECK,
    POLL,
    SELECTION,
    STYLE,
    TIMEOUT,
    call_method,
    duration,
    is_stdout,
    verb,
)
from gemini_batch.cli.outcome import invoked
from gemini_batch.cli.results import exit_code, step_lines, summary_lines
from gemini_batch.cli.table_options import TABLE
from gemini_batch.errors import Next, UsageError
from gemini_batch.webhooks import PORT

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.client import GeminiBatch
    from gemini_batch.report.result_set import Results


def file_name(_context: click.Context, _option: click.Parameter, output: str | None) -> str | None:
    """``-o`` of run and retry is a file: failures are written next to it, and stdout carries the run's id."""
    if is_stdout(output):
        raise UsageError(
            "This command prints the run id on stdout, so the results need a file.",
            field="--output",
            code="bad_output",
            next="Use -o results.jsonl. To print results, use the results command afterwards.",
        )
    return output


OUTPUT = click.option(
    "--output",
    "-o",
    metavar="FILE",
    callback=file_name,
    help="Write the results to FILE: a table if it ends in .csv, .tsv, .parquet, .ndjson, .db or .xlsx, else result "
    "lines, with the requests that did not succeed next to it (failures.jsonl, or NAME.failures.jsonl). It may be the "
    "address of an object, as INPUT may: s3://, gs:// or az://, or a table of BigQuery: bq://project.dataset.table.",
)


def document(found: Results, *, output: str | None, **_: object) -> dict[str, object]:
    """The summary, and where the results are."""
    return {"result": found.summary, "output": output}


def show(
    found: Results,
    screen: Screen,
    *,
    output: str | None,
    details: bool,
    spreadsheet: bool,
    output_dir: str | None = None,
    **_: object,
) -> str:
    """The end of a run: its summary on stderr, its id on stdout."""
    from gemini_batch.objects.address import is_address, is_table, parse
    from gemini_batch.report.output_files import failures_file
    from gemini_batch.report.result_set import TableStyle

    summary = found.summary
    for line in summary_lines(summary, output, output_dir):
        screen.say(line)
    failed = None if output is None or is_table(output) else failures_file(Path(output))
    if failed is not None and not summary.all_succeeded:
        where = parse(output).sibling(failed.name) if output is not None and is_address(output) else failed
        screen.say(f"Requests that did not succeed, with verdict and reason: {where}")
    written = output is not None or output_dir is not None
    if not written:
        file = "results.csv" if found.of_table else "results.jsonl"
        screen.say(f"Next: {invoked(Next('results', summary.run, '-o', file))}")
    style = TableStyle(details=details, spreadsheet=spreadsheet).words
    for line in step_lines(summary, output, style, "Next" if written else "Then"):
        screen.say(line)
    return summary.run


def _call(batch: GeminiBatch, **options: Any) -> Any:
    return call_method(batch, "run", **options) if options["shards"] is None else shards.run_shards(batch, **options)


def _document(found: Any, **options: Any) -> dict[str, object]:
    return document(found, **options) if options["shards"] is None else shards.document(found, **options)


def _ends(found: Any, **options: Any) -> int:
    return exit_code(found) if options["shards"] is None else shards.exit_code(found)


@verb(
    "run",
    click.argument("what", metavar="[INPUT|RUN]", required=False),
    shards.OPTION,
    OUTPUT,
    click.option("--model", "-m", metavar="MODEL", help="The model; default as for create."),
    MODEL_CHECK,
    click.option("--name", "-n", metavar="NAME", help="Display name of the jobs."),
    *SELECTION,
    click.option(
        "--new", is_flag=True, help="Start another run even if these requests have one. This costs money again."
    ),
    DEDUPE,
    LENIENT,
    *TABLE,
    *STYLE,
    click.option(
        "--max-requests-per-job", type=click.IntRange(min=1), metavar="N", help="Requests per job (default 50000)."
    ),
    click.option(
        "--max-tokens-per-job",
        type=click.IntRange(min=1),
        metavar="N",
        help="Estimated tokens per job (default: no limit).",
    ),
    click.option("--attempts", type=click.IntRange(1, 10), metavar="N", help="Attempts per request (default 3)."),
    click.option(
        "--tier",
        type=click.IntRange(1, 3),
        metavar="1|2|3",
        help="The project's tier; keeps enqueued tokens under its limit.",
    ),
    click.option(
        "--via",
        type=click.Choice(["batch", "flex", "auto"]),
        help="How requests are sent: in batches (default), or each as a call of its own at the same price, with the "
        "service tier flex: answers in minutes, while this command runs. auto: small or urgent work as calls.",
    ),
    click.option(
        "--flex-rows", type=click.IntRange(0), metavar="N", help="With auto, the most requests of small work (500)."
    ),
    click.option(
        "--flex-tokens",
        type=click.IntRange(0),
        metavar="N",
        help="With auto, the most tokens in the prompts of small work (1000000).",
    ),
    click.option(
        "--deadline",
        type=duration,
        metavar="TIME",
        help="With auto, when the results are needed: 2h. Larger work goes as calls, too, if a batch would be late.",
    ),
    click.option(
        "--concurrency", type=click.IntRange(1, 1000), metavar="N", help="Calls in flight at most (default 64)."
    ),
    click.option(
        "--finish-via",
        type=click.Choice(["flex"]),
        help="Cancel the run's jobs that take too long, keep their answers, and send the rest as calls. What the "
        "service was working on may be paid for twice.",
    ),
    click.option(
        "--after", type=duration, metavar="TIME", help="The age from which a job takes too long (default 24h)."
    ),
    click.option(
        "--allow-standard",
        is_flag=True,
        default=None,
        help="Go on if calls are served, and charged, as standard ones, at twice the price.",
    ),
    *BUDGET,
    POLL,
    TIMEOUT,
    click.option(
        "--webhook-url",
        metavar="URL",
        help="Public address at which the service announces that a job has ended; it makes the next poll come at once.",
    ),
    click.option(
        "--webhook-port",
        type=click.IntRange(1, 65535),
        metavar="PORT",
        help=f"Port on this machine to which that address leads (default {PORT}).",
    ),
    call=_call,
    document=_document,
    ends=_ends,
    streams=True,
)
def command(found: Any, screen: Screen, **options: Any) -> str:
    """Do everything: check a file, split it into jobs, send them as the queue has room, wait, collect, and resend
    requests that failed temporarily. This costs money. The same command, or run RUN, continues after any interruption.

    Exits with 0 if every request succeeded, 1 if some did not (the failures file says which and why), 5 if there are no
    answers, 6 if the run has not finished or --timeout ended the wait.
    """
    return show(found, screen, **options) if options["shards"] is None else shards.show(found, screen)
