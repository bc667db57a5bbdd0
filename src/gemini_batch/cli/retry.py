"""``gemini-batch retry``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.run import check_file_name, show
from gemini_batch.cli.screen import JsonEvents, Screen
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from gemini_batch.settings import Settings


@click.command("retry", short_help="Send named failures of a run once more, with a change that can help.")
@click.argument("run_id", metavar="RUN")
@click.option(
    "--only",
    metavar="VERDICTS",
    default="failed,missing",
    show_default=True,
    help="truncated, blocked, empty, invalid, failed, missing.",
)
@click.option("--max-output-tokens", type=click.IntRange(min=1), metavar="N", help="For answers that were cut off.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), metavar="T", help="For answers that were blocked or invalid."
)
@click.option("--model", "-m", metavar="MODEL", help="Ask another model.")
@click.option("--output", "-o", metavar="FILE", help="Write all result lines of the run to FILE.")
@shared_options
def command(
    *,
    run_id: str,
    only: str,
    max_output_tokens: int | None,
    temperature: float | None,
    model: str | None,
    output: str | None,
    offline: bool | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Send the requests of a run once more whose verdict is one of --only. This is paid for. RUN may also be the name
    of a job: its run is meant.

    What the new attempt answers replaces what was no success. Ends as run does.
    """
    check_file_name(output)
    from gemini_batch import aio

    chosen = settings(offline)
    with JsonEvents() if as_json else Screen(quiet=quiet) as screen:
        again = aio.retry(
            run_id,
            only=[only],
            max_output_tokens=max_output_tokens,
            temperature=temperature,
            model=model,
            output=output,
            settings=chosen,
            on_event=screen.tell,
        )
        try:
            found = run(again)
        except UsageError as error:
            if error.reason_code == "nothing_to_retry":
                error.next = _what_would_be_sent(run_id, chosen)
            raise
        return show(found, "retry", output, as_json=as_json, say=screen.say)


def _what_would_be_sent(run_id: str, chosen: Settings) -> str:
    """The verdicts that there are, each with the options that would send it again."""
    from gemini_batch import aio
    from gemini_batch.runs.again import retry_options

    whole = run(aio.results(run_id, settings=chosen)).summary.run  # a job's name speaks of that job alone
    summary = run(aio.results(whole, settings=chosen)).summary
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in summary.verdicts.items())
    options = retry_options(summary.verdicts)
    if not options:
        return f"All of it is well: {counts}."
    commands = " or ".join(f"gemini-batch retry {summary.run} {words}" for words in options)
    return f"There are {counts}. Type: {commands}"
