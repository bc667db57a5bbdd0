"""``docs/reference/command-line.md``: the ``--help`` of every command."""

from __future__ import annotations

from gemini_batch.cli import COMMANDS, cli

#: Columns of the printed help; wide enough for its tables, narrow enough for a page.
WIDTH = 88

INTRODUCTION = """\
# Command line

What `--help` prints, for every command. The scripts of the skill are four of them: `create_batch.py` is `create`,
`check_status.py` is `status`, `get_results.py` is `results`, `run_batch.py` is `run`, with the same options. [JSON
output](json.md) describes what `--json` prints, [exit codes](../exit-codes.md) how each command ends.

This page is generated; `make docs-reference` writes it.
"""


def page() -> str:
    """The whole page."""
    context = cli.make_context("gemini-batch", [], resilient_parsing=True, terminal_width=WIDTH)
    parts = [INTRODUCTION, _section("gemini-batch", cli.get_help(context))]
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        inner = command.make_context(name, [], parent=context, resilient_parsing=True)
        parts.append(_section(name, command.get_help(inner)))
    return "\n".join(parts)


def _section(heading: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {heading}\n\n```text\n{lines}\n```\n"
