"""``listen``: receives deliveries of webhooks; and what ``run`` shares with it: a delivery ends a pause.

A delivery never says more than that it is time to poll. Whether a job has ended is what the service answers.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from gemini_batch.errors import Next, UsageError
from gemini_batch.events import Notice
from gemini_batch.settings import checked_webhook_url, webhook_secrets
from gemini_batch.webhooks import HOST, PORT
from gemini_batch.webhooks.keys import Keys, check_library
from gemini_batch.webhooks.receiver import Receiver, Verifier
from gemini_batch.world import Bell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_batch.session import Session
    from gemini_batch.settings import Settings
    from gemini_batch.webhooks.signatures import Delivery, Reason
    from gemini_batch.world import World

#: What is wrong with a delivery that was refused, in words.
REASONS: dict[Reason, str] = {
    "headers_missing": "it is not signed: a header of a delivery is missing",
    "headers_malformed": "a header is malformed",
    "stale": "it was not sent within the last five minutes, by the clock of this machine",
    "signature_wrong": "its signature is wrong",
    "signature_unknown": "its kind of signature is not known",
    "no_secret": "it is signed with a secret, and GEMINI_WEBHOOK_SECRET is not set",
    "no_keys": "it is signed with a key of the service, which cannot be checked now",
    "not_an_event": "its content is not an event",
    "too_large": "it is too large",
    "not_a_post": "it is not a POST",
    "too_slow": "its content did not arrive in time",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where deliveries for a run arrive: the public URL, which is passed to the service, and the port behind it."""

    url: str
    port: int


def address(url: str | None, port: int | None) -> Address | None:
    """The address, if there is a URL. Raises UsageError if it is unusable, or there is only a port."""
    if url is None:
        if port is not None:
            raise UsageError(
                "A port for webhooks is useless without their public address.",
                field="--webhook-port",
                code="bad_argument",
                next="Add --webhook-url URL.",
            )
        return None
    checked_webhook_url(url)
    return Address(url, PORT if port is None else port)


def listen(
    settings: Settings,
    world: World,
    *,
    host: str = HOST,
    port: int = PORT,
    once: bool = False,
    timeout: float | None = None,
    on_ready: Callable[[str], None],
    on_delivery: Callable[[Delivery], None],
    on_refusal: Callable[[Reason], None],
) -> int:
    """Receive deliveries until interrupted; returns how many were genuine.

    ``once``: only one. ``timeout``: no longer than so many seconds. ``on_ready`` is called with the address, and
    ``on_delivery`` with each delivery, on this thread. Raises UsageError if the port is in use, a secret is unusable,
    or nothing could be checked.
    """
    _refuse_silent(settings)
    secrets = webhook_secrets()
    try:
        check_library()
        keys = Keys(settings.base_url, world.monotonic)
    except UsageError:
        if not secrets:
            raise
        keys = None
    arrived: SimpleQueue[Delivery] = SimpleQueue()
    count, end = 0, None if timeout is None else world.monotonic() + timeout
    verifier = Verifier([secret.reveal() for secret in secrets], keys, world.now)
    with Receiver(verifier, host=host, port=port, on_delivery=arrived.put, on_refusal=on_refusal) as receiver:
        on_ready(receiver.address)
        with contextlib.suppress(Empty):
            while not (once and count):
                on_delivery(arrived.get(timeout=None if end is None else max(0.0, end - world.monotonic())))
                count += 1
    return count


@contextlib.asynccontextmanager
async def ringing(session: Session, address: Address | None) -> AsyncIterator[Bell[Notice] | None]:
    """A bell that rings for each genuine delivery; None without an address.

    Raises UsageError if the port is in use, or signatures cannot be checked.
    """
    if address is None:
        yield None
        return
    _refuse_silent(session.settings)
    check_library()
    secrets = [secret.reveal() for secret in webhook_secrets()]
    world, bell = session.world, Bell[Notice]()
    verifier = Verifier(secrets, Keys(session.settings.base_url, world.monotonic), world.now)
    told: set[Reason] = set()

    def heard(delivery: Delivery) -> None:
        about = f" for {delivery.job}" if delivery.job else ""
        bell.ring(Notice(f"A webhook says {delivery.type}{about}; polling now."))

    def refused(reason: Reason) -> None:
        if reason not in told:  # once for each reason: anyone can send here
            told.add(reason)
            bell.leave(Notice(f"A delivery was refused: {REASONS[reason]}.", "warning"))

    with Receiver(verifier, port=address.port, on_delivery=heard, on_refusal=refused) as receiver:
        session.emit(Notice(f"Listening for webhooks on {receiver.address}; polling continues."))
        yield bell


def _refuse_silent(settings: Settings) -> None:
    """Refuse to wait for deliveries of a backend that sends none. Raises UsageError."""
    if settings.vertex is not None:
        raise UsageError(
            "Vertex AI does not announce the end of a job, so no webhook is called.",
            code="not_at_vertex",
            next="Leave out webhooks: jobs are polled. Or use --backend gemini.",
        )
    if settings.offline:
        raise UsageError(
            "With --offline, nothing is delivered: the emulator runs only while a command works.",
            code="bad_argument",
            next=Next("emulator", why="then set GOOGLE_GEMINI_BASE_URL to the address that it prints"),
        )
