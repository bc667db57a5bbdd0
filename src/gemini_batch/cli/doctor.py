"""``gemini-batch doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gemini_batch.cli.common import verb
from gemini_batch.cli.outcome import clean, invoked
from gemini_batch.errors import Next
from gemini_batch.transcript.sizes import counted, size

if TYPE_CHECKING:
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.doctor import Diagnosis


def _code(found: Diagnosis, **_: object) -> int:
    return 0 if found.healthy else 1


@verb(
    "doctor",
    ends=_code,
)
def command(found: Diagnosis, screen: Screen, **_: object) -> None:
    """Check that the ledger, the run folders and the service still agree.

    Prints one finding per line. Exits with 0 if there is no problem, with 1 if there is; notes do not count.
    """
    for one in found.findings:
        following = f"Next: {invoked(one.next)}" if isinstance(one.next, Next) else one.next or ""
        click.echo(clean(f"{one.level}: {one.about}: {one.message} {following}".rstrip()))
    asked = "" if found.asked_service else " The service was not asked."
    verdict = "No problems." if found.healthy else "There are problems."
    if found.size:
        largest = ", ".join(f"{one.run} {size(one.size)}" for one in found.largest)
        screen.say(
            f"The state folder takes {size(found.size)}" + (f"; the largest runs: {largest}." if largest else ".")
        )
    screen.say(f"{verdict} {counted(found.runs, 'run')}, {counted(found.jobs, 'job')}.{asked}")
