"""A receiver on this machine: an HTTP server in a thread that checks deliveries and hands on the genuine ones.

It answers before anything is done about a delivery. Each delivery is handed on once: an id that was seen is answered
with 200 and forgotten. A body is bounded, in size and in time, and so is what is remembered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import UsageError
from gemini_batch.webhooks import HOST, PORT
from gemini_batch.webhooks.keys import NoKeysError
from gemini_batch.webhooks.signatures import Refused, by_key, by_secret, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from gemini_batch.webhooks.keys import Keys
    from gemini_batch.webhooks.signatures import Delivery, Reason

#: An event is a pointer; this is many times its size.
_MOST_BYTES = 64 << 10
_PATIENCE = 10.0
#: Ids that are remembered: those of more deliveries than a day has for one project.
_MOST_IDS = 100_000


class Verifier:
    """Checks deliveries. ``keys``: None if signatures with a key cannot be checked. Safe to use from many threads."""

    def __init__(self, secrets: Sequence[bytes], keys: Keys | None, now: Callable[[], float]) -> None:
        self._secrets, self._keys, self._now = secrets, keys, now
        self._guard = threading.Lock()
        self._seen: OrderedDict[str, None] = OrderedDict()

    def check(self, headers: Iterable[tuple[str, str]], body: bytes) -> Delivery | None:
        """The delivery, or None if it was there before. Raises :class:`Refused`."""
        delivery = self._genuine(headers, body)
        with self._guard:
            if delivery.id in self._seen:
                return None
            self._seen[delivery.id] = None
            if len(self._seen) > _MOST_IDS:
                self._seen.popitem(last=False)
        return delivery

    def _genuine(self, headers: Iterable[tuple[str, str]], body: bytes) -> Delivery:
        message = read(headers, body, self._now())
        if found := by_secret(message, self._secrets):
            return found
        if message.needs_keys:
            if found := self._by_key(message):
                return found
        elif not message.has_secret:
            raise Refused("signature_unknown", 401)
        elif not self._secrets:
            raise Refused("no_secret", 401)
        raise Refused("signature_wrong", 401)

    def _by_key(self, message: Any) -> Delivery | None:
        if self._keys is None:
            raise Refused("no_keys", 401)
        try:
            if found := by_key(message, self._keys.known(), self._now()):
                return found
            newer = self._keys.newer()  # the service may have new keys
        except NoKeysError:
            raise Refused("no_keys", 503) from None  # the service tries again
        return None if newer is None else by_key(message, newer, self._now())


class Receiver:
    """Receives until the block ends. Use as a context manager; both callbacks run in the receiver's threads.

    ``port`` 0 is any free one; :attr:`address` says which. Raises UsageError (``port_in_use``) if it cannot listen.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        host: str = HOST,
        port: int = PORT,
        on_delivery: Callable[[Delivery], None],
        on_refusal: Callable[[Reason], None],
    ) -> None:
        self._verifier = verifier
        self._host, self._port = host, port
        self._on_delivery, self._on_refusal = on_delivery, on_refusal

    def __enter__(self) -> Receiver:
        import uvicorn

        listening = _listen(self._host, self._port)
        self.address = "http://{}:{}".format(*_shown(listening.getsockname()))
        config = uvicorn.Config(
            self._app,
            interface="asgi3",
            loop="asyncio",
            http="h11",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            limit_concurrency=100,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
        )
        self._listening = listening
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([listening],), name="gemini-batch webhooks", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        delivery: Delivery | None = None
        try:
            headers, body = await _post(scope, receive)
            delivery = await asyncio.to_thread(self._verifier.check, headers, body)
            status = 200
        except Refused as refused:
            status = refused.status
            self._on_refusal(refused.reason)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        if delivery is not None:
            self._on_delivery(delivery)


async def _post(scope: Any, receive: Any) -> tuple[list[tuple[str, str]], bytes]:
    """The headers and the body of a POST."""
    if scope["method"] != "POST":
        raise Refused("not_a_post", 405)
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return headers, await _body(receive)


async def _body(receive: Any) -> bytes:
    pieces, size, more = [], 0, True
    try:
        async with asyncio.timeout(_PATIENCE):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("too_slow")
                pieces.append(message.get("body", b""))
                size += len(pieces[-1])
                if size > _MOST_BYTES:
                    raise Refused("too_large", 413)
                more = message.get("more_body", False)
    except TimeoutError:
        raise Refused("too_slow", 408) from None
    return b"".join(pieces)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two programs share one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        with contextlib.suppress(OSError):
            listening.close()
        raise UsageError(
            f"Nothing can listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}.",
            code="port_in_use",
            next="End the program that uses the port, or choose another port and let the public address lead there.",
        ) from None
    return listening


def _shown(name: Any) -> tuple[str, int]:
    host, port = name[:2]
    return (f"[{host}]" if ":" in host else host), port
