"""``gemini-batch status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import JOB_NAME, POLL, TIMEOUT, verb
from gemini_batch.cli.outcome import invoked
from gemini_batch.cli.wording import place, tally
from gemini_batch.transcript.sizes import counted, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.cli.screen import Screen
    from gemini_batch.report.job_view import JobStatus, RunStatus


def _code(seen: JobStatus | RunStatus, *, wait: bool, exit_code: bool, **_: object) -> int:
    from gemini_batch.report.job_view import RunStatus

    if isinstance(seen, RunStatus) and wait and seen.waiting:
        return 6
    if seen.ended_badly:
        return 5
    return 6 if exit_code and not seen.succeeded else 0


@verb(
    "status",
    JOB_NAME,
    click.option("--wait", "-w", is_flag=True, help="Wait until the job has ended and its results are available."),
    POLL,
    TIMEOUT,
    click.option(
        "--exit-code", is_flag=True, help="Exit with 6 while the job is alive or not created yet; for use in a loop."
    ),
    ends=_code,
)
def command(seen: JobStatus | RunStatus, screen: Screen, **_: object) -> str:
    """Show the state of a job (batches/…, as create printed it) or of a run (run-…) and its jobs.

    Prints the state (JOB_STATE_PENDING, _RUNNING, _SUCCEEDED, _FAILED, _CANCELLED, _EXPIRED or whatever the service
    reports) on stdout, everything else on stderr. Exits with 0 while the job is alive or if it succeeded, with 5 if it
    failed, expired or was cancelled, with 6 if --timeout ended the wait or if, after --wait, requests of the run are
    still to be sent. You can interrupt the wait at any time: the job continues.
    """
    from gemini_batch.report.job_view import RunStatus

    for line in _run_lines(seen) if isinstance(seen, RunStatus) else _lines(seen):
        screen.say(line)
    return seen.state


def _run_lines(seen: RunStatus) -> Iterator[str]:
    """A run: one line per job, and how many requests have an answer or an error."""
    from gemini_batch.report.job_view import CALLING

    yield f"{seen.run} · {seen.model}{' · offline' if seen.offline else place(seen.backend)}"
    for job in seen.jobs:
        name = job.job or ("calls" if job.state == CALLING else "not created yet")
        yield f"  {name}  {job.state}  {job.done:,}/{job.total:,}"
    yield f"{seen.answered:,} of {counted(seen.requests, 'request')} answered or failed, {_to_be_sent(seen)}"
    if seen.next:
        yield f"Next: {invoked(seen.next)}"


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
        yield f"{seen.model} jobs usually take {span(seen.usual)} here (median of {counted(seen.usual_of, 'job')})"
    if seen.error is not None:
        code = "" if seen.error.code is None else f" (code {seen.error.code})"
        message = seen.error.message or ("no message" if code else "")
        if message:
            yield f"The service's error{code}: {message}"
        if seen.error.meaning:
            yield seen.error.meaning
    if seen.next:
        yield f"Next: {invoked(seen.next)}"


def _to_be_sent(seen: RunStatus) -> str:
    unsent = seen.not_sent - seen.held_back
    again = seen.waiting - unsent
    held = f", {seen.held_back:,} left out by --limit or --sample" if seen.held_back else ""
    return f"{unsent:,} to be sent" + (f", {again:,} to be resent" if again else "") + held
