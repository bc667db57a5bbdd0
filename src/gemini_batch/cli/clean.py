"""``gemini-batch clean``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.outcome import clean as clean_text
from gemini_batch.cli.outcome import write_json
from gemini_batch.cli.screen import Screen
from gemini_batch.cli.wording import plural, size
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from gemini_batch.commands.clean import Cleaned


@click.command("clean", short_help="Delete input files at the service that no job needs any more.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--not-created", is_flag=True, help="Also forget runs that are NOT_CREATED in the list.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@shared_options
def command(*, dry_run: bool, not_created: bool, yes: bool, offline: bool | None, as_json: bool, quiet: bool) -> int:
    """Delete input files at the service that this home has uploaded and that no living job needs.

    Nothing else is touched: no results, no jobs, no files that somebody else has put there. Prints the files' names
    (and, with --not-created, the ids of the runs that are forgotten; the same create makes their job after all).
    """
    from gemini_batch import aio

    with Screen(quiet=quiet or as_json) as screen:
        chosen = settings(offline)
        plan = run(aio.clean(dry_run=True, not_created=not_created, settings=chosen, on_event=screen.emit))
        if not dry_run and (plan.deleted or plan.gone or plan.forgotten):
            if not yes:
                _ask(plan)
            plan = run(aio.clean(dry_run=False, not_created=not_created, settings=chosen, on_event=screen.emit))
        if as_json:
            write_json("clean", result=plan)
            return 0
        for name in (*plan.deleted, *plan.forgotten):
            click.echo(clean_text(name))
        for name, why in plan.kept.items():
            screen.say(f"kept {name}: {why}")
        screen.say(_summary(plan))
        if left := len(plan.not_created) - len(plan.forgotten):
            how = "in doubt or being worked on" if not_created else "--not-created forgets what was not sent"
            screen.say(f"{plural(left, 'run')} NOT_CREATED in the list: {how}.")
    return 0


def _summary(plan: Cleaned) -> str:
    done = ("would delete", "would forget") if plan.dry_run else ("deleted", "forgot")
    parts = _parts(plan, *done)
    if plan.gone:
        parts.append(f"{plural(len(plan.gone), 'file')} gone already")
    text = ", ".join(parts) or "nothing to delete"
    return f"{text[0].upper()}{text[1:]}."


def _parts(plan: Cleaned, delete: str, forget: str) -> list[str]:
    found = []
    if plan.deleted:
        found.append(f"{delete} {plural(len(plan.deleted), 'file')} ({size(plan.bytes)}) at the service")
    if plan.forgotten:
        found.append(f"{forget} {plural(len(plan.forgotten), 'run')}")
    return found


def _ask(plan: Cleaned) -> None:
    what = " and ".join(_parts(plan, "delete", "forget"))
    if not what:
        return  # only what the service has deleted by itself is noted
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"This would {what}, and there is no terminal to ask in.",
            code="not_confirmed",
            next="Add --yes to do it, or --dry-run to see which.",
        )
    click.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)
