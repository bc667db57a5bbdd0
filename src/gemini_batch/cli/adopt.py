"""``gemini-batch adopt``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import INPUT_FILE, JOB_NAME, verb
from gemini_batch.cli.outcome import clean, invoked
from gemini_batch.cli.results import summary_lines
from gemini_batch.cli.run import file_name
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.adopt import Adopted, Keys


def _code(found: Adopted, **_: object) -> int:
    return found.summary.exit_code if found.summary is not None else 0


@verb(
    "adopt",
    JOB_NAME,
    INPUT_FILE,
    click.option(
        "--output",
        "-o",
        metavar="FILE",
        callback=file_name,
        help="If the job has ended, write all result lines to FILE, as results does.",
    ),
    ends=_code,
)
def command(found: Adopted, screen: Screen, *, output: str | None, **_: object) -> str:
    """Make a run of a job that was created elsewhere (by an SDK, on another machine) and the file of its requests.

    Answers are joined to requests by key. After that, results, run, retry, status and show work on it as on any run;
    run waits for the job and sends requests that were not in it. Prints the run's id. This command sends nothing.
    """
    known = "Adopted" if found.is_new else "Known already:"
    what = f"{counted(found.requests, 'request')}, {found.model}"
    screen.say(clean(f"{known} {found.job} ({found.state}) as {found.run}: {what}."))
    if found.answered is None:
        screen.say("The job has not ended, so its keys are not known yet.")
    else:
        screen.say(f"{found.answered:,} of {found.requests:,} requests have an answer.")
    _say(screen, found.unknown_keys, "answers have a key that the file does not have, and are set aside")
    _say(screen, found.not_in_job, "requests were not in the job, and have not been sent")
    if found.summary is not None:
        for line in summary_lines(found.summary, output):
            screen.say(line)
    screen.say(f"Next: {invoked(found.next)}")
    return found.run


def _say(screen: Screen, keys: Keys | None, what: str) -> None:
    if keys is not None and keys.count:
        dots = ", …" if keys.count > len(keys.first) else ""
        screen.say(clean(f"{keys.count:,} {what}: {', '.join(keys.first)}{dots}"))
