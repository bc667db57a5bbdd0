"""``gemini-batch skill install``."""

from __future__ import annotations

from pathlib import Path

import click

from gemini_batch.cli import common
from gemini_batch.cli.outcome import clean, write_json
from gemini_batch.transcript.sizes import counted


@common.command(
    "skill",
    click.argument("action", metavar="install", type=click.Choice(["install"])),
    click.option("--user", is_flag=True, help="Install into your home folder, for all projects."),
    click.option("--claude", is_flag=True, help="Install into .claude/skills instead of .agents/skills."),
    click.option("--force", is_flag=True, help="Replace files that were edited or come from elsewhere."),
    asks=False,
)
def command(*, user: bool, claude: bool, force: bool, as_json: bool, quiet: bool, **_: object) -> int:
    """Copy the skill for coding agents from this package to the working folder, as .agents/skills/gemini-batch.

    Needs no network. The same command brings an earlier copy up to date. Files that were edited are not replaced
    without --force; files that are not part of the skill stay. Prints the folder of the skill.
    """
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.skill import NAME, install, replacing

    common.check_stdout()
    chosen = [option for option, given in (("--user", user), ("--claude", claude)) if given]
    folder = Path(".claude" if claude else ".agents", "skills", NAME)
    found = install(Path.home() / folder if user else folder, force=force, again=replacing(*chosen))
    if as_json:
        write_json("skill", result=found)
        return 0
    with Screen(quiet=quiet) as screen:
        done = f"{counted(len(found.written), 'file')} written" if found.written or found.removed else "up to date"
        screen.say(clean(f"The skill of gemini-batch {found.version}: {done}."))
    click.echo(clean(found.folder))
    return 0
