"""``gemini-batch validate``."""

from __future__ import annotations

import shlex

import click

from gemini_batch.cli.common import local_options, run
from gemini_batch.cli.outcome import show_problems, write_json
from gemini_batch.cli.screen import Screen
from gemini_batch.cli.wording import plural, size


@click.command("validate", short_help="The checks of create, alone.")
@click.argument("input_file", metavar="INPUT_FILE", type=click.Path())
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Check only the first N requests.")
@local_options
def command(*, input_file: str, limit: int | None, offline: bool | None, as_json: bool, quiet: bool) -> int:
    """Check every line of a request file as create does; needs no key and no network, keeps nothing.

    Prints "valid" or "invalid" on stdout, the problems on stderr. Ends with 0 if the file can be sent, 1 if lines
    need mending, 2 if it is no request file at all.
    """
    del offline  # nothing is asked of anybody
    from gemini_batch import aio

    with Screen(quiet=quiet or as_json) as screen:
        found = run(aio.validate(input_file, limit=limit, on_event=screen.emit))
        code = 0 if found.valid else 1
        if as_json:
            write_json("validate", result=found, exit_code=code)
            return code
        show_problems(found.problems, found.errors + found.warnings, input_file)
        if found.valid:
            kind = "embeddings" if found.method == "embed" else "generation"
            screen.say(f"{plural(found.requests, 'request')} for {kind}, {size(found.bytes)}.")
            screen.say(f"Next: gemini-batch create {shlex.quote(input_file)}")
        else:
            screen.say(f"{plural(found.errors, 'problem')}; create would send nothing.")
    click.echo("valid" if found.valid else "invalid")
    return code
