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
        help="Only ask; do not follow the job to its end.",
    ),
)
def command(done: Cancelled, screen: Screen, **_: object) -> str:
    """Ask the service to stop a job, follow it to its end, and keep whatever it has answered.

    What was answered by then is paid for. A job that was running mostly ends as JOB_STATE_SUCCEEDED all the same, with
    the requests that were not served marked as cancelled. Prints the last state.
    """
    if done.answers is not None:
        screen.say(f"{done.job}: {done.state}; {done.answers:,} of {done.requests or 0:,} requests were answered.")
    if done.next:
        screen.say(f"Next: {invoked(done.next)}")
    return done.state
