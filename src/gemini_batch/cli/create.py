"""``gemini-batch create``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import BUDGET, DEDUPE, INPUT, LENIENT, MODEL_CHECK, SELECTION, verb
from gemini_batch.cli.outcome import invoked
from gemini_batch.cli.table_options import TABLE
from gemini_batch.cli.wording import place
from gemini_batch.errors import Next
from gemini_batch.transcript.sizes import counted, size

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.create import Created


#: The options that make the input a table.
_ASKING = ("prompt", "prompt_file", "request_file", "kind", "sql")


@verb(
    "create",
    INPUT,
    click.option(
        "--model", "-m", metavar="MODEL", help="Default: gemini-3-flash-preview (embedding lines: gemini-embedding-2)."
    ),
    MODEL_CHECK,
    click.option("--name", "-n", metavar="NAME", help="The display name, sent to the service unchanged."),
    *SELECTION,
    click.option("--inline", is_flag=True, help="Send the requests in the call itself, without a file (under 20 MB)."),
    click.option(
        "--new", is_flag=True, help="Create another job even if these requests have one. This costs money again."
    ),
    DEDUPE,
    LENIENT,
    *BUDGET,
    *TABLE,
)
def command(made: Created, screen: Screen, **options: object) -> str:
    """Check a JSONL file, upload it and create one batch job.

    Prints the job's name, for the next command: JOB=$(gemini-batch create requests.jsonl). A line of the file is
    {"key": "unique", "request": {"contents": [{"parts": [{"text": "…"}]}]}}. Every line is checked before anything
    is sent. If the requests already have a job, the command prints its name and sends nothing.
    """
    file = "results.csv" if any(options[name] for name in _ASKING) else "results.jsonl"
    if made.job == made.run:
        screen.say(_none_made(made))
        screen.say(f"Next: {invoked(_following(made, file))}")
        return made.run
    if not made.attached:
        screen.say(_made(made))
    ended = made.state in {"JOB_STATE_SUCCEEDED", "JOB_STATE_CANCELLED", "JOB_STATE_EXPIRED"}
    following = Next("results", made.job, "-o", file) if ended else Next("status", made.job, "--wait")
    screen.say(f"Next: {invoked(following)}")
    return made.job


def _none_made(made: Created) -> str:
    """Why there is no job: where the answers are, or will be."""
    if made.elsewhere:
        requests = "1 request is" if made.elsewhere == 1 else f"{made.elsewhere:,} requests are"
        return f"Nothing to send: {requests} in a job of another run."
    requests = "1 request was" if made.remembered == 1 else f"{made.remembered:,} requests were"
    return f"Nothing to send: {requests} answered before."


def _following(made: Created, file: str) -> Next:
    if made.elsewhere:
        return Next("run", made.run, "-o", file, why="waits for the answers")
    return Next("results", made.run, "-o", file)


def _made(made: Created) -> str:
    where = " (offline: answers are generated here, nothing is paid)" if made.offline else place(made.backend, ", at ")
    trial = f" as a trial ({made.held_back:,} more not sent)" if made.held_back else ""
    return f"Created {made.name}: {counted(made.requests, 'request')}, {size(made.bytes)}, {made.model}{trial}{where}."
