"""Answers that fail on the wire: late, never, reset, cut, longer or shorter than declared, slow.

The connection is really broken, not simulated: :func:`with_transport` gives each request its transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    import threading
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from starlette.types import Message, Receive, Scope, Send

    from gemini_batch.emulator.faults.model import WireFault

#: The key of the transport in a request's scope.
TRANSPORT = "gemini_batch.transport"
_TICK = 0.05
_DRIP = 16


def with_transport(app: Any, transport: Callable[[], asyncio.Transport]) -> Any:
    """An ASGI application that finds its connection in the scope."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        scope[TRANSPORT] = transport()
        await app(scope, receive, send)

    return served


def break_connection(scope: Scope, how: str) -> None:
    """End the connection now: ``reset`` discards unsent bytes, ``close`` still sends them."""
    transport: asyncio.Transport | None = scope.get(TRANSPORT)
    if transport is None or transport.is_closing():
        return
    if how == "close":
        transport.close()
        return
    with contextlib.suppress(OSError):
        # A linger time of zero turns the close into a reset.
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def cut_request(request: Request, fault: WireFault) -> Request:
    """A request whose connection breaks after ``fault.receive`` bytes of its body, or after all of them."""
    left = fault.receive or 0
    over = False

    async def receive() -> Message:
        nonlocal left, over
        if over:
            break_connection(request.scope, fault.drop or "reset")
            return {"type": "http.disconnect"}
        message = await request.receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")[:left]
            left -= len(body)
            over = left <= 0 or not message.get("more_body", False)
            return {"type": "http.request", "body": body, "more_body": True}
        return message

    return Request(request.scope, receive)


class _Over(Exception):
    """Nothing more will be sent."""


class Broken(Response):
    """An answer that is sent as a fault asks, if at all.

    ``delay``: how many seconds late, of the clock ``now``, which may be moved forward.
    """

    def __init__(
        self, inner: Response, fault: WireFault, stop: threading.Event, *, delay: float, now: Callable[[], float]
    ) -> None:
        super().__init__(status_code=inner.status_code)
        self.raw_headers = inner.raw_headers
        self._inner = inner
        self._fault = fault
        self._stop = stop
        self._delay = delay
        self._now = now

    @property
    def abrupt(self) -> bool:
        """Whether the rest of the request is not read."""
        return bool(self._fault.drop) and not self._delay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, or break the connection."""
        fault = self._fault
        stays = await self._pause(self._delay, receive, self._now) if self._delay else True
        if stays and fault.silence:
            await self._pause(fault.silence, receive)
        if not stays or fault.silence or (fault.drop and fault.cut is None):
            break_connection(scope, fault.drop or "close")
            await _gone(receive)
        else:
            try:
                await self._inner(scope, receive, self._spoiled(scope, receive, send))
            except _Over:
                break_connection(scope, fault.drop or "close")
        await _close(self._inner)

    async def _pause(self, seconds: float, receive: Receive, clock: Callable[[], float] = time.monotonic) -> bool:
        """Wait; False if the caller disconnected or the emulator is stopping."""
        end = clock() + seconds
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            while (left := end - clock()) > 0:
                await asyncio.sleep(min(_TICK, left))
                if leaving.done() or self._stop.is_set():
                    return False
        finally:
            leaving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leaving
        return True

    def _spoiled(self, scope: Scope, receive: Receive, send: Send) -> Callable[[Message], Awaitable[None]]:
        fault = self._fault
        limit = fault.cut
        sent = 0

        async def spoiled(message: Message) -> None:
            nonlocal limit, sent
            if message["type"] == "http.response.start":
                if fault.length:
                    headers, declared = _declared(message["headers"], fault.length)
                    message = {**message, "headers": headers}
                    if fault.length < 0:
                        limit = min(declared, declared if limit is None else limit)
                await send(message)
                return
            body, more = message.get("body", b""), message.get("more_body", False)
            if limit is not None:
                body = body[: max(0, limit - sent)]
            full = limit is not None and sent + len(body) >= limit
            if fault.drip:
                for start in range(0, len(body), _DRIP):
                    await send({**message, "body": body[start : start + _DRIP], "more_body": True})
                    if not await self._pause(_DRIP / fault.drip, receive):
                        raise _Over
            sent += len(body)
            rest = b"" if fault.drip else body
            if full and fault.length < 0 and fault.cut is None:
                await send({**message, "body": rest, "more_body": False})
                raise _Over
            ends = not more and fault.length <= 0 and not full
            await send({**message, "body": rest, "more_body": not ends})
            if full or (not more and not ends):
                raise _Over

        del scope
        return spoiled


def _declared(headers: list[tuple[bytes, bytes]], by: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """The headers with another Content-Length, and that length."""
    declared, changed = 0, []
    for name, value in headers:
        if name.lower() == b"content-length":
            declared = max(0, int(value) + by)
            changed.append((name, b"%d" % declared))
        else:
            changed.append((name, value))
    # Without this, a caller would reuse a connection that is about to end.
    changed.append((b"Connection", b"close"))
    return changed, declared


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _close(response: Response) -> None:
    """Release the resources of an answer that was not sent completely."""
    if isinstance(response, StreamingResponse):
        body: AsyncGenerator[Any, None] | Any = response.body_iterator
        if hasattr(body, "aclose"):
            await body.aclose()
