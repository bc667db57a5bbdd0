"""``gemini-batch clean``."""

from __future__ import annotations

import sys

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.outcome import clean as clean_text
from gemini_batch.cli.outcome import write_json
from gemini_batch.cli.screen import Screen, plural, size
from gemini_batch.errors import UsageError


@click.command("clean", short_help="Delete input files at the service that no job needs any more.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@shared_options
def command(*, dry_run: bool, yes: bool, offline: bool | None, as_json: bool, quiet: bool) -> int:
    """Delete input files at the service that this home has uploaded and that no living job needs.

    Nothing else is touched: no results, no jobs, no files that somebody else has put there. Prints the files' names.
    """
    from gemini_batch import aio

    with Screen(quiet=quiet or as_json) as screen:
        chosen = settings(offline)
        plan = run(aio.clean(dry_run=True, settings=chosen, on_event=screen.tell))
        if not dry_run and (plan.deleted or plan.gone):
            if not yes:
                _ask(len(plan.deleted), plan.bytes)
            plan = run(aio.clean(dry_run=False, settings=chosen, on_event=screen.tell))
        if as_json:
            write_json("clean", result=plan)
            return 0
        for name in plan.deleted:
            click.echo(clean_text(name))
        for name, why in plan.kept.items():
            screen.say(f"kept {name}: {why}")
        verb = "would be deleted" if dry_run else "deleted"
        screen.say(
            f"{plural(len(plan.deleted), 'file')} {verb} ({size(plan.bytes)}); {len(plan.gone)} were gone already."
        )
    return 0


def _ask(count: int, total: int) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{plural(count, 'file')} ({size(total)}) would be deleted, and there is no terminal to ask in.",
            code="not_confirmed",
            next="Add --yes to delete them, or --dry-run to see which.",
        )
    click.confirm(f"Delete {plural(count, 'file')} ({size(total)}) at the service?", abort=True, err=True)
