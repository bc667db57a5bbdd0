"""``gemini-batch cancel``."""

from __future__ import annotations

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.outcome import invoked, write_json
from gemini_batch.cli.screen import Screen


@click.command("cancel", short_help="Ask for a job's end and keep what it has answered.")
@click.argument("job_name", metavar="JOB_NAME")
@click.option("--no-wait", is_flag=True, help="Only ask; do not follow the job to its end.")
@shared_options
def command(*, job_name: str, no_wait: bool, offline: bool | None, as_json: bool, quiet: bool) -> int:
    """Ask the service to stop a job, follow it to its end, and keep whatever it has answered.

    What was answered by then is paid for. A job that was running mostly ends as JOB_STATE_SUCCEEDED all the same, with
    the requests that were not served marked as cancelled. Prints the last state.
    """
    from gemini_batch import aio

    with Screen(quiet=quiet or as_json) as screen:
        done = run(aio.cancel(job_name, wait=not no_wait, settings=settings(offline), on_event=screen.emit))
        if as_json:
            write_json("cancel", result=done)
            return 0
        if done.answers is not None:
            screen.say(f"{done.job}: {done.state}; {done.answers:,} of {done.requests or 0:,} requests were answered.")
        if done.next:
            screen.say(f"Next: {invoked(done.next)}")
    click.echo(done.state)
    return 0
