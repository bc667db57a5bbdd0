"""``gemini-batch emulator``."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from gemini_batch.cli.common import Number


@click.command("emulator", short_help="Serve a local Gemini API for tests and trials.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="Port to listen on; default: any free port.",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Data folder; default: a temporary folder, removed at exit.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Accept requests for this host, besides localhost and loopback addresses; repeatable.",
)
@click.option(
    "--deliver-to",
    "receivers",
    multiple=True,
    metavar="NAME",
    help="Deliver webhooks to this host, besides localhost and loopback addresses; repeatable.",
)
@click.option(
    "--queue-delay",
    type=Number(0, 30 * 86_400),
    default=0.0,
    metavar="SECONDS",
    help="How long new jobs stay PENDING (default 0).",
)
@click.option(
    "--rows-per-second",
    type=Number(0, 1e9, min_open=True),
    metavar="N",
    help="How fast jobs are processed; default: as fast as possible.",
)
@click.option(
    "--responder",
    "spec",
    metavar="SPEC",
    help="What answers instead of generated text: module:function, a Python function (model, request) -> response; or "
    "openai=URL[,model=NAME][,concurrency=N][,timeout=SECONDS], an OpenAI-compatible server.",
)
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="ID",
    help="Arm a failure scenario by name; repeatable.",
)
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Read faults and quotas from a TOML file.",
)
@click.option(
    "--tier",
    type=click.IntRange(1, 3),
    metavar="1|2|3",
    help="Quotas of this tier: 100 jobs alive, the models' enqueued tokens. Default: no quotas.",
)
@click.option(
    "--lenient",
    is_flag=True,
    help="Refuse only what the service certainly refuses: accept unknown fields and values outside documented ranges.",
)
@click.option("--bearer", is_flag=True, help="Accept OAuth tokens (Authorization: Bearer) as well as API keys.")
@click.option("--list-outputs", is_flag=True, help="Show output files in the list of files, too.")
@click.option(
    "--openai-rows",
    is_flag=True,
    help="Accept files of OpenAI-shaped rows (custom_id, method, url, body) for every job, as some clients send them.",
)
@click.option(
    "--bucket",
    "buckets",
    multiple=True,
    metavar="NAME",
    help="Create this bucket of Cloud Storage, for batch jobs of Vertex AI; repeatable.",
)
@click.option("--list-scenarios", is_flag=True, help="Print the failure scenarios and exit.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(
    *,
    port: int,
    data: Path | None,
    hosts: tuple[str, ...],
    receivers: tuple[str, ...],
    queue_delay: float,
    rows_per_second: float | None,
    spec: str | None,
    scenarios: tuple[str, ...],
    faults: Path | None,
    tier: int | None,
    lenient: bool,
    bearer: bool,
    list_outputs: bool,
    openai_rows: bool,
    buckets: tuple[str, ...],
    list_scenarios: bool,
    debug: bool,
) -> int:
    """Serve a local Gemini API: files, batches, models; and batch jobs of Vertex AI, with their buckets. It accepts any
    API key, and refuses web pages. Nothing leaves this machine, unless --responder names a server elsewhere, whose key
    is read from OPENAI_API_KEY, or --deliver-to a host.

    Prints its base URL as the first line on stdout. Point a client at it with GOOGLE_GEMINI_BASE_URL=URL: this tool,
    the official SDKs and other clients work unchanged. For Vertex AI, they use GOOGLE_VERTEX_BASE_URL and
    STORAGE_EMULATOR_HOST. Ctrl-C stops it. Started again with the same --data, it
    continues.
    """
    del debug  # read where errors are shown
    if list_scenarios:
        from gemini_batch.emulator.faults.scenarios import SCENARIOS

        for name, scenario in SCENARIOS.items():
            click.echo(f"{name:<4} {scenario.about}")
        return 0
    from gemini_batch.emulator.http.callers import allowed_host
    from gemini_batch.emulator.http.server import run_forever
    from gemini_batch.emulator.http.startup import setup

    begin = partial(
        run_forever,
        data,
        port=port,
        allow_hosts=[allowed_host(host) for host in hosts],
        deliver_to=[allowed_host(host, "--deliver-to") for host in receivers],
        queue_delay=queue_delay,
        rows_per_second=rows_per_second,
        lenient=lenient,
        bearer=bearer,
        list_outputs=list_outputs,
        openai_rows=openai_rows,
        buckets=buckets,
        setup=setup(scenarios, file=faults, tier=tier),
    )
    if spec is None:
        begin()
        return 0
    from gemini_batch.emulator.responders.registry import opened

    with opened(spec, folder=Path.cwd(), openai_key=os.environ.get("OPENAI_API_KEY")) as responder:
        begin(responder=responder)
    return 0
