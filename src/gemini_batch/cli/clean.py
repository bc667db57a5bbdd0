"""``gemini-batch clean``."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import verb
from gemini_batch.cli.outcome import clean as clean_text
from gemini_batch.errors import UsageError
from gemini_batch.transcript.sizes import counted, size

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.client import GeminiBatch
    from gemini_batch.commands.clean import Cleaned


_AGE = re.compile(r"(\d{1,6})\s*([hdw])", re.IGNORECASE)
_HOURS = {"h": 1, "d": 24, "w": 168}


def _age(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """``90d``, ``12h``, ``2w`` as seconds."""
    if text is None:
        return None
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is not an age. Write 90d, 2w or 12h.")
    return int(found[1]) * _HOURS[found[2].lower()] * 3600.0


def _clean(
    batch: GeminiBatch,
    *,
    dry_run: bool,
    not_created: bool,
    local: bool,
    older_than: float | None,
    keep_results: bool,
    yes: bool,
    **_: object,
) -> Cleaned:
    """What would go, the question, and then the same in earnest."""

    def work(*, dry_run: bool) -> Cleaned:
        return batch.clean(
            dry_run=dry_run,
            not_created=not_created,
            local=local,
            older_than=older_than,
            keep_results=keep_results,
        )

    plan = work(dry_run=True)
    if dry_run or not (plan.deleted or plan.gone or plan.forgotten or plan.freed):
        return plan
    if not yes:
        _ask(plan)
    return work(dry_run=False)


@verb(
    "clean",
    click.option("--dry-run", is_flag=True, help="Show what would be deleted."),
    click.option("--not-created", is_flag=True, help="Also forget runs that the list shows as NOT_CREATED."),
    click.option(
        "--local",
        is_flag=True,
        help="Instead, delete requests and answers on this machine of runs that finished long ago. Their rows are "
        "forgotten: they would be sent and paid for again.",
    ),
    click.option(
        "--older-than", metavar="AGE", callback=_age, help="With --local: finished that long ago (default 90d)."
    ),
    click.option(
        "--keep-results", is_flag=True, help="With --local: delete only copies that no result and no retry needs."
    ),
    click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation."),
    call=_clean,
)
def command(done: Cleaned, screen: Screen, *, not_created: bool, **_: object) -> None:
    """Delete input files and attachments at the service, uploaded from this state folder, that no active job needs.

    Nothing else is touched: no results, no jobs, no files from elsewhere. Prints the names of the
    files and, with --not-created, the ids of the forgotten runs. To create the job of a forgotten run after all, repeat
    its create command. With --local, nothing is deleted at the service, and verdicts, tokens and cost are kept; answers
    that other runs use stay. It prints the ids of the runs of which something was deleted.
    """
    for name in (*done.deleted, *done.forgotten, *done.freed):
        click.echo(clean_text(name))
    for name, why in done.kept.items():
        screen.say(f"kept {name}: {why}")
    for one in done.lent:
        screen.say(f"kept {one.run}: {', '.join(one.used_by)} {'uses' if len(one.used_by) == 1 else 'use'} its answers")
    screen.say(_summary(done))
    if left := len(done.not_created) - len(done.forgotten):
        how = (
            "in doubt, or in use by another process"
            if not_created
            else "--not-created forgets runs that were never sent"
        )
        screen.say(f"{counted(left, 'run')} listed as NOT_CREATED: {how}.")


def _summary(plan: Cleaned) -> str:
    done = ("would delete", "would forget") if plan.dry_run else ("deleted", "forgot")
    parts = _parts(plan, *done)
    if plan.gone:
        parts.append(f"{counted(len(plan.gone), 'file')} already gone")
    text = ", ".join(parts) or "nothing to delete"
    return f"{text[0].upper()}{text[1:]}."


def _parts(plan: Cleaned, delete: str, forget: str) -> list[str]:
    found = []
    if plan.deleted:
        found.append(f"{delete} {counted(len(plan.deleted), 'file')} ({size(plan.bytes)}) at the service")
    if plan.forgotten:
        found.append(f"{forget} {counted(len(plan.forgotten), 'run')}")
    if plan.freed:
        paid = f", and {forget} {counted(plan.forgotten_answers, 'answer')}, whose rows would be paid for again"
        what = f"{delete} {size(plan.freed_bytes)} of {counted(len(plan.freed), 'run')} on this machine"
        found.append(what + (paid if plan.forgotten_answers else ""))
    return found


def _ask(plan: Cleaned) -> None:
    what = " and ".join(_parts(plan, "delete", "forget"))
    if not what:
        return  # only what the service has deleted by itself is noted
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"This would {what}. There is no terminal to ask for confirmation.",
            code="not_confirmed",
            next="Add --yes to confirm, or --dry-run to see the list.",
        )
    click.confirm(f"{what[0].upper()}{what[1:]}?", abort=True, err=True)
