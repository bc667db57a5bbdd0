"""The command line: a command parses, calls one library function, and shows what came of it.

stdout carries the answer only; everything for eyes goes to stderr. Errors are turned into words and exit codes in one
place, :func:`execute`. Commands are loaded when they are used, so that ``--help`` imports no network.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from gemini_batch._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

#: name -> (module, one line for --help). Written out here so that help needs no command's own imports.
COMMANDS = {
    "create": ("create", "Check a request file or a table, upload it and create one batch job."),
    "status": ("status", "Show the state of a job or a run; --wait blocks until it ends."),
    "results": ("results", "Fetch the answers: one line per key, in input order."),
    "run": ("run", "Do everything: check, send in as many jobs as needed, wait, collect, resend."),
    "retry": ("retry", "Resend requests of a run that did not succeed, with changed settings."),
    "show": ("show", "Show rows of a run: prompt and answer side by side, verdict, attempts, cost."),
    "list": ("list_jobs", "List the jobs in the state folder, newest first."),
    "report": ("report", "Show what jobs used and cost, by day, model or run; as a page with charts, too."),
    "adopt": ("adopt", "Make a run of a job that was created elsewhere."),
    "cancel": ("cancel", "Stop a job or a run, and keep its answers."),
    "clean": ("clean", "Delete uploaded input files that no job needs."),
    "estimate": ("estimate", "Say what a run would send and cost, and send nothing."),
    "prepare": ("prepare", "Make the request file of a table without sending it."),
    "validate": ("validate", "Check a request file without sending it."),
    "models": ("models", "List the models that support batches, with prices and shutdown dates."),
    "listen": ("listen", "Receive webhooks: print one JSON line for each verified delivery."),
    "doctor": ("doctor", "Check the ledger and the run folders against the service."),
    "skill": ("skill", "Install the skill for coding agents that comes with this package."),
    "emulator": ("emulator", "Serve a local Gemini API for tests and trials."),
}

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of a job's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = import_module(f"gemini_batch.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def commands_by_name(self, name: str) -> click.Command:
        """The command of that name, which must exist."""
        command = self.get_command(click.Context(self), name)
        assert command is not None
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same with a guess where the name is nearly one, or that of a script of the skill."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and (meant := _meant(args[0])):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {meant}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """List the commands from the table above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _meant(word: str) -> str | None:
    from difflib import get_close_matches

    words = {**{name: name for name in COMMANDS}, **{f"get_{name}": name for name in COMMANDS}}
    words |= {f"check_{name}": name for name in COMMANDS} | {f"{name}_batch": name for name in COMMANDS}
    near = get_close_matches(word.lower().removesuffix(".py").replace("-", "_"), words, n=1, cutoff=0.7)
    return words[near[0]] if near else None


@click.group(cls=Commands, context_settings=CONTEXT, epilog="Every command has --help. Docs: README.md, docs/.")
@click.version_option(__version__, prog_name="gemini-batch", message="%(prog)s %(version)s")
def cli() -> None:
    """Send large numbers of requests through the Gemini Batch API, at half price.

    You get one honest answer per request. Nothing is lost, nothing is paid for twice.
    """


def execute(words: Sequence[str], *, script: str | None = None) -> int:
    """Run one command and return the documented exit code; :func:`gemini_batch.start.main` is what calls this.

    ``script``: the name of a script that stands for the first word, for the usage line.
    """
    try:
        if script is None:
            code = _invoke(cli, "gemini-batch", words)
        else:
            code = _invoke(cli.commands_by_name(words[0]), script, words[1:])
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        return _closed_pipe()
    except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - the one place where errors become words
        from gemini_batch.cli.outcome import show_error

        try:
            code = show_error(error, words)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            return _closed_pipe()


def _invoke(command: click.Command, name: str, words: Sequence[str]) -> Any:
    """What click's own ``main`` does, without its answers to interruptions and closed pipes."""
    with command.make_context(name, list(words)) as context:
        return command.invoke(context)


def _closed_pipe() -> int:
    from gemini_batch.cli.outcome import CLOSED_PIPE, quiet_pipe

    quiet_pipe()
    return CLOSED_PIPE
