"""``gemini-batch status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import run, settings, shared_options
from gemini_batch.cli.outcome import invoked, write_json
from gemini_batch.cli.screen import Screen, place, plural, span, tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.report.job_view import JobStatus, RunStatus


@click.command("status", short_help="How a job stands; --wait until it has ended.")
@click.argument("job_name", metavar="JOB_NAME")
@click.option("--wait", "-w", is_flag=True, help="Wait until the job has ended and its results can be fetched.")
@click.option(
    "--poll", type=click.FloatRange(min=0), metavar="SECONDS", help="Look every so often, instead of ever less."
)
@click.option("--exit-code", is_flag=True, help="End with 6 while the job is alive (for shell loops).")
@shared_options
def command(
    *,
    job_name: str,
    wait: bool,
    poll: float | None,
    exit_code: bool,
    offline: bool | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """How a job stands. JOB_NAME is what create printed (batches/…), or a run id.

    Prints the state (JOB_STATE_PENDING, _RUNNING, _SUCCEEDED, _FAILED, _CANCELLED, _EXPIRED or whatever the service
    says) on stdout, the rest on stderr. Ends with 0 while the job is alive or has succeeded, with 5 if it failed,
    expired or was cancelled. Waiting may be interrupted at any time: the job goes on.
    """
    from gemini_batch import aio
    from gemini_batch.report.job_view import RunStatus

    with Screen(quiet=quiet or as_json) as screen:
        seen = run(aio.status(job_name, wait=wait, settings=settings(offline, poll=poll), on_event=screen.emit))
        if isinstance(seen, RunStatus):
            return _show_run(seen, screen, as_json=as_json, exit_code=exit_code, waited=wait)
        code = 5 if seen.ended_badly else 6 if exit_code and not seen.succeeded else 0
        if as_json:
            write_json("status", result=seen, exit_code=code)
            return code
        for line in _lines(seen):
            screen.say(line)
    click.echo(seen.state)
    return code


def _show_run(seen: RunStatus, screen: Screen, *, as_json: bool, exit_code: bool, waited: bool) -> int:
    """A run: a line a job, and how many requests are answered."""
    unfinished = (exit_code and seen.alive) or (waited and seen.waiting)
    code = 6 if unfinished else 5 if seen.ended_badly else 0
    if as_json:
        write_json("status", result=seen, exit_code=code)
        return code
    screen.say(f"{seen.run} · {seen.model}{' · offline' if seen.offline else place(seen.backend)}")
    for job in seen.jobs:
        screen.say(f"  {job.job or 'not created yet'}  {job.state}  {job.done:,}/{job.total:,}")
    screen.say(f"{seen.answered:,} of {plural(seen.requests, 'request')} answered, {seen.waiting:,} to be sent")
    if seen.next:
        screen.say(f"Next: {invoked(seen.next)}")
    click.echo(seen.state)
    return code


def _lines(seen: JobStatus) -> Iterator[str]:
    head = " · ".join(part for part in (seen.job or seen.run, seen.name, seen.model) if part)
    yield head + (" · offline" if seen.offline else place(seen.backend))
    if seen.total:
        yield tally(seen.done, seen.failed_count, seen.pending_count, seen.total)
    if seen.age is not None:
        if seen.alive:
            left = "" if seen.expires_in is None else f", expires in {span(seen.expires_in)}"
            yield f"{span(seen.age)} old{left}"
        elif seen.ended:
            yield f"ended after {span(seen.age)}, at {seen.ended}"
    if seen.usual is not None:
        yield f"usual here for {seen.model}: {span(seen.usual)} (median of {seen.usual_of})"
    if seen.error is not None:
        code = "" if seen.error.code is None else f" (code {seen.error.code})"
        message = seen.error.message or ("no message" if code else "")
        if message:
            yield f"The service's error{code}: {message}"
        if seen.error.meaning:
            yield seen.error.meaning
    if seen.next:
        yield f"Next: {invoked(seen.next)}"
