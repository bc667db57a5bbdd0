"""``gemini-batch run --shards``: what it takes of the options of ``run``, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gemini_batch.cli.common import call_method
from gemini_batch.cli.outcome import invoked
from gemini_batch.cli.wording import place
from gemini_batch.errors import Next, UsageError
from gemini_batch.transcript.sizes import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.cli.screen import Screen
    from gemini_batch.client import GeminiBatch
    from gemini_batch.report.shards.answers import ShardsSummary

OPTION = click.option(
    "--shards",
    metavar="MANIFEST",
    type=click.Path(),
    help="Work off the request files that a manifest names, where they are, instead of INPUT; -o is a folder then. "
    "All may be addresses of objects.",
)
#: The options that go with it.
TAKEN = frozenset(
    (
        *("shards", "output", "model", "model_check", "new", "lenient", "attempts", "tier"),
        *("max_requests_per_job", "max_tokens_per_job", "max_usd", "max_usd_basis", "max_usd_unknown"),
        *("backend", "project", "location", "bucket", "poll", "timeout", "offline", "as_json", "quiet", "debug"),
    )
)


def run_shards(batch: GeminiBatch, *, shards: str, output: str | None, **options: Any) -> ShardsSummary:
    """Call the library, if the options go together. Raises UsageError."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in TAKEN:
            what = "INPUT" if isinstance(parameter, click.Argument) else parameter.opts[0]
            raise UsageError("This cannot be used with --shards.", field=what, code="bad_argument")
    if output is None:
        raise UsageError(
            "--shards needs a folder for the results.",
            field="--output",
            code="bad_argument",
            next="Name one: -o answers",
        )
    found: ShardsSummary = call_method(batch, "run_shards", manifest=shards, output=output, **options)
    return found


def document(found: ShardsSummary, *, output: str | None, **_: object) -> dict[str, object]:
    """The summary, and where the results are."""
    return {"result": found, "output": output}


def exit_code(found: ShardsSummary) -> int:
    """0: every request succeeded; 1: some did not; 5: there are no answers."""
    return found.exit_code


def lines(found: ShardsSummary) -> Iterator[str]:
    """The summary for people."""
    at = place(found.backend)
    yield f"{counted(found.finished, 'shard')} of {found.shards:,} finished{at}"
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in found.verdicts.items())
    yield f"{counted(found.requests, 'request')}: {verdicts or 'no answers'}"
    if found.offline:
        yield "offline: generated here, nothing was paid"
    elif found.usd is not None:
        from gemini_batch.report.billing import usd

        known = "at Google's prices; what is asked there is not known" if at else "as far as it is known"
        yield f"cost: ${usd(found.usd)} in batch, {known}"
    yield f"Written: {found.folder} (counted in {found.manifest})"


def show(found: ShardsSummary, screen: Screen) -> str:
    """The end of a run over shards: its summary on stderr, the manifest of answers on stdout."""
    for line in lines(found):
        screen.say(line)
    if found.next is not None:
        screen.say(f"Next: {invoked(found.next) if isinstance(found.next, Next) else found.next}")
    return found.manifest
