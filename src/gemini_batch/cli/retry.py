"""``gemini-batch retry``."""

from __future__ import annotations

import click

from gemini_batch.cli.common import run, settings, shared_options, timeout_option
from gemini_batch.cli.run import check_file_name, show
from gemini_batch.cli.screen import JsonEvents, Screen


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
@timeout_option
@shared_options
def command(
    *,
    run_id: str,
    only: str,
    max_output_tokens: int | None,
    temperature: float | None,
    model: str | None,
    output: str | None,
    timeout: float | None,
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

    with JsonEvents() if as_json else Screen(quiet=quiet) as screen:
        again = aio.retry(
            run_id,
            only=[only],
            max_output_tokens=max_output_tokens,
            temperature=temperature,
            model=model,
            output=output,
            timeout=timeout,
            settings=settings(offline),
            on_event=screen.emit,
        )
        return show(run(again), "retry", output, as_json=as_json, say=screen.say)
