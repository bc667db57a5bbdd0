"""``gemini-batch emulator``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("emulator", short_help="Serve a local Gemini API for tests and trials.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="PORT", help="0, the default: any free one.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep everything there; default: a folder that goes with the process.",
)
@click.option(
    "--queue-delay",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="SECONDS",
    help="How long new jobs stay PENDING.",
)
@click.option(
    "--rows-per-second",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="How fast jobs are worked off; default: as fast as it goes.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def command(*, port: int, data: Path | None, queue_delay: float, rows_per_second: float | None, debug: bool) -> int:
    """Serve a local Gemini API: files, batches, models. Any API key is good; nothing leaves this machine.

    Prints its base URL as the first line on stdout. Point a client at it with GOOGLE_GEMINI_BASE_URL=<that URL>: this
    tool, the official SDKs and others work with it unchanged. Ctrl-C ends it; with --data it goes on from there.
    """
    del debug  # read where errors are shown
    from gemini_batch.emulator.server import run_forever

    run_forever(data, port=port, queue_delay=queue_delay, rows_per_second=rows_per_second)
    return 0
