"""``gemini-batch doctor``."""

from __future__ import annotations

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.outcome import as_invoked, clean, invoked, write_json
from gemini_batch.cli.screen import Screen, plural


@click.command("doctor", short_help="Check the ledger, the run folders and the service's list.")
@click.option(
    "--adopt", is_flag=True, help="Enter jobs into the ledger that the service lists and this home does not know."
)
@shared_options
def command(*, adopt: bool, offline: bool | None, as_json: bool, quiet: bool) -> int:
    """Check that the ledger, the run folders and the service still agree.

    Prints one finding a line. Ends with 0 if there is no problem, with 1 if there is; notes do not count.
    """
    from gemini_batch import aio

    with Screen(quiet=quiet or as_json) as screen:
        found = run(aio.doctor(adopt=adopt, settings=settings(offline), on_event=screen.emit))
        code = 0 if found.healthy else 1
        if as_json:
            write_json("doctor", result=found, exit_code=code)
            return code
        for one in found.findings:
            following = f" {invoked(one.next)}" if one.next else ""
            click.echo(clean(as_invoked(f"{one.level}: {one.about}: {one.message}{following}")))
        for name in found.adopted:
            click.echo(clean(f"adopted: {name}"))
        asked = "" if found.asked_service else " The service was not asked."
        verdict = "No problems." if found.healthy else "There are problems."
        runs, jobs = plural(found.runs, "run"), plural(found.jobs, "job")
        screen.say(f"{verdict} {runs}, {jobs}.{asked}")
    return code
