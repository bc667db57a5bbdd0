"""``gemini-batch list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.outcome import clean, write_json
from gemini_batch.cli.screen import Screen, span

if TYPE_CHECKING:
    from gemini_batch.report.job_view import JobStatus


@click.command("list", short_help="The jobs that this home knows, newest first.")
@click.option("--alive", is_flag=True, help="Only jobs that have not ended.")
@click.option("--state", metavar="STATE", help="Only jobs in this state: succeeded, failed, running, …")
@click.option("--name", metavar="TEXT", help="Only jobs whose display name contains TEXT.")
@click.option("--model", "-m", metavar="TEXT", help="Only jobs whose model's name contains TEXT.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N.")
@click.option("--refresh", is_flag=True, help="Ask the service about each job that may be alive.")
@click.option("--remote", is_flag=True, help="Also the jobs of this key's project that this home does not know.")
@shared_options
def command(
    *,
    alive: bool,
    state: str | None,
    name: str | None,
    model: str | None,
    limit: int | None,
    refresh: bool,
    remote: bool,
    offline: bool | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """The jobs that this home knows, newest first, as they were last seen; --refresh looks again.

    One job a line on stdout: name, state, done/total, its age or how long it took, when it expires or where its results
    are, model, display name. A run whose create did not finish stands there by its id, as NOT_CREATED: the same create
    makes its job, clean --not-created forgets it.
    """
    from gemini_batch import aio

    with Screen(quiet=quiet or as_json) as screen:
        found = run(
            aio.jobs(
                alive=alive,
                state=state,
                name=name,
                model=model,
                limit=limit,
                refresh=refresh,
                remote=remote,
                settings=settings(offline),
                on_event=screen.emit,
            )
        )
        if as_json:
            write_json("list", result=found)
            return 0
        for one in found:
            click.echo(clean(_line(one)))
        if not found:
            if alive or state or name or model:
                screen.say("No job fits all of that. Without options all are listed.")
            else:
                screen.say("No jobs." if offline else "No jobs. Offline ones are listed with --offline.")
    return 0


def _age(age: float, one: JobStatus) -> str:
    from gemini_batch.report.job_view import RunState

    if one.alive:
        return f"{span(age)} old"
    return f"begun {span(age)} ago" if one.state == RunState.NOT_CREATED else f"took {span(age)}"


def _line(one: JobStatus) -> str:
    from gemini_batch.report.job_view import RunState

    age = "" if one.age is None else _age(one.age, one)
    if one.state == RunState.NOT_CREATED:
        expires = ""
    elif one.alive:
        expires = "" if one.expires_in is None else f"expires in {span(one.expires_in)}"
    else:
        expires = f"results {one.results}"
    known = "" if one.run else "unknown here"
    parts = (one.job or one.run or "", one.state, f"{one.done}/{one.total}", age, expires, one.model, one.name, known)
    return "  ".join(part for part in parts if part)
