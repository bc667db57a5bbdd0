"""``gemini-batch listen``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from gemini_batch.cli import common
from gemini_batch.cli.outcome import write_json, write_line
from gemini_batch.webhooks import HOST, PORT

if TYPE_CHECKING:
    from gemini_batch.webhooks.signatures import Delivery, Reason


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What was received until the end."""

    deliveries: int
    """Number of verified deliveries."""


@common.command(
    "listen",
    click.option("--port", type=click.IntRange(0, 65535), default=PORT, metavar="PORT", help=f"Port (default {PORT})."),
    click.option("--host", default=HOST, metavar="ADDRESS", help=f"Address to listen on (default {HOST})."),
    click.option("--once", is_flag=True, help="Exit after the first verified delivery."),
    click.option(
        "--timeout", type=common.duration, metavar="TIME", help="Stop listening after this time (90s, 9m, 1h30m)."
    ),
    asks=False,
)
def command(
    *,
    port: int,
    host: str,
    once: bool,
    timeout: float | None,
    offline: bool | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Receive deliveries of webhooks, and print one JSON line for each that is verified; everything else is refused.

    Listens on this machine only; a tunnel or a proxy leads the public address here. The secrets of registered webhooks
    are read from GEMINI_WEBHOOK_SECRET, the keys for the webhooks of one job are fetched from the service. A delivery
    says that it is time to poll: the job itself says whether it has ended.

    Exits with 0 if there was a delivery, 6 if --timeout ended the wait without one.
    """
    from gemini_batch.cli.screen import Screen
    from gemini_batch.commands.listen import REASONS, listen
    from gemini_batch.settings import load_settings
    from gemini_batch.world import World

    common.check_stdout()

    def show(delivery: Delivery) -> None:
        write_line(event="delivery", **msgspec.structs.asdict(delivery))

    def refuse(reason: Reason) -> None:
        screen.say(f"Refused: {REASONS[reason]}.")

    with Screen(quiet=quiet) as screen, common.terminable():
        count = listen(
            load_settings(offline=offline),
            World(),
            host=host,
            port=port,
            once=once,
            timeout=timeout,
            on_ready=lambda address: screen.say(f"Listening on {address}"),
            on_delivery=show,
            on_refusal=refuse,
        )
    code = 0 if count else 6
    if as_json:
        write_json("listen", result=Received(deliveries=count), exit_code=code)
    return code
