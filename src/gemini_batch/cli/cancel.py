"""``gemini-batch cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import JOB_NAME, verb
from gemini_batch.cli.outcome import invoked

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.cancel import Cancelled


@verb(
    "cancel",
    JOB_NAME,
    click.option(
        "--no-wait",
        "wait",
        is_flag=True,
        flag_value=False,
        default=True,
        help="Return at once instead of waiting for the end.",
    ),
)
def command(done: Cancelled, screen: Screen, **_: object) -> str:
    """Ask the service to stop a job, or all active jobs of a run; wait for the end and keep the answers.

    Requests answered by then may be billed. A job that was running usually still ends as JOB_STATE_SUCCEEDED, with
    its unanswered requests marked as cancelled. Prints the final state on stdout.
    """
    if done.answers is not None:
        screen.say(f"{done.job}: {done.state}; {done.answers:,} of {done.requests or 0:,} requests were answered.")
    if done.next:
        screen.say(f"Next: {invoked(done.next)}")
    return done.state
