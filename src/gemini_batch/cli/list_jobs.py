"""``gemini-batch list``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.common import verb
from gemini_batch.cli.outcome import clean, invoked
from gemini_batch.errors import Next
from gemini_batch.report.next_steps import to_adopt
from gemini_batch.transcript.sizes import size, span

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.report.job_view import JobStatus


@verb(
    "list",
    click.option("--alive", is_flag=True, help="Only jobs that have not ended."),
    click.option("--state", metavar="STATE", help="Only jobs in this state: succeeded, failed, running, …"),
    click.option("--name", metavar="TEXT", help="Only jobs whose display name contains TEXT."),
    click.option("--model", "-m", metavar="TEXT", help="Only jobs whose model's name contains TEXT."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the newest N jobs."),
    click.option("--refresh", is_flag=True, help="Poll each job of this key that may be alive."),
    click.option(
        "--remote", is_flag=True, help="Also list the jobs of this key's project that the ledger does not have."
    ),
    click.option(
        "--long", is_flag=True, help="Also show what each job cost, and how much room its run takes on this machine."
    ),
    method="list_jobs",
)
def command(found: list[JobStatus], screen: Screen, *, offline: bool | None, **options: Any) -> None:
    """List the jobs in the state folder, newest first, as last seen; --refresh polls them.

    Prints one job per line: name, state, done/total, its age or how long it took, when it expires or where its results
    are, model, display name. A run whose create command did not finish is listed by its id as NOT_CREATED. Repeat the
    command to create its job, or forget the run with clean --not-created.
    """
    for one in found:
        click.echo(clean(_line(one)))
    if (other := next((one.job for one in found if one.run is None and one.job), None)) is not None:
        screen.say(f"To work with a job that was not made on this machine: {invoked(to_adopt(other))}")
    if not found:
        if any(options[name] for name in ("alive", "state", "name", "model")):
            screen.say("No job matches. To list all jobs, leave out the options.")
        else:
            screen.say("No jobs in this state folder." + ("" if offline else " Add --offline to list offline jobs."))
            if not options["remote"]:
                screen.say(f"Next: {invoked(Next('list', '--remote', why='lists the jobs of the API key'))}")


def _age(age: float, one: JobStatus) -> str:
    from gemini_batch.report.job_view import CALLING, RunState

    if one.alive:
        return f"{span(age)} old"
    return f"started {span(age)} ago" if one.state in {RunState.NOT_CREATED, CALLING} else f"took {span(age)}"


def _line(one: JobStatus) -> str:
    from gemini_batch.report.job_view import CALLING, RunState
    from gemini_batch.report.money import amount, bounded

    age = "" if one.age is None else _age(one.age, one)
    if one.state in {RunState.NOT_CREATED, CALLING}:
        expires = ""
    elif one.alive:
        expires = "" if one.expires_in is None else f"expires in {span(one.expires_in)}"
    else:
        expires = f"results {one.results}"
    room = "" if one.size is None else size(one.size)
    cost = ""
    if one.usd is not None:
        cost = amount(one.usd) + (" not paid (offline)" if one.offline else "")
    possible = one.possibly_paid
    besides = (
        f"possibly paid: {bounded(possible)}"
        if possible and not one.offline and (possible.usd or possible.unknown)
        else ""
    )
    known = "" if one.run else "not made on this machine"
    parts = (
        one.job or one.run or "",
        one.state,
        f"{one.done}/{one.total}",
        age,
        expires,
        one.model,
        one.name,
        cost,
        besides,
        room,
        known,
    )
    return "  ".join(part for part in parts if part)
