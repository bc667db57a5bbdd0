"""A network between a client and a service: ``throttle.py URL [ROUND_TRIP_MS] [MBIT_A_SECOND]``; prints its own URL.

Each connection has its own bandwidth in both directions, and every byte arrives half a round trip later. Without
numbers it only counts. ``GET /wire`` is answered here: bytes, calls and connections so far, and the moments at which
the first and the last data of a large body passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

_PIECE = 64 * 1024
#: What is read ahead of the bandwidth, in seconds.
_AHEAD = 0.02
_CALL = re.compile(rb"(?:^|\n)([A-Z]+) (/\S*) HTTP/1\.1\r\n")
_NAME = re.compile(r"/(batches|files|models)/[^/:?]+")


class Wire:
    """Passes connections on, and counts what passes."""

    def __init__(self, url: str, round_trip: float, bandwidth: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._delay, self._bandwidth = round_trip / 2, bandwidth
        self.up = self.down = self.connections = 0
        self.calls: Counter[str] = Counter()
        self.first = self.last = 0.0

    def counted(self) -> dict[str, object]:
        """What has passed so far."""
        return {
            "up": self.up, "down": self.down, "connections": self.connections, "calls": dict(self.calls),
            "first": self.first, "last": self.last,
        }  # fmt: skip

    async def connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Pass one connection on until both sides have closed it."""
        begun = await client.read(_PIECE)
        if begun.startswith(b"GET /wire "):
            body = json.dumps(self.counted()).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
            to_client.write(head.encode() + body)
            await to_client.drain()
            to_client.close()
            return
        self.connections += 1
        with contextlib.suppress(OSError):
            server, to_server = await asyncio.open_connection(self._host, self._port)
            await asyncio.gather(
                self._pass(client, to_server, up=True, begun=begun), self._pass(server, to_client, up=False)
            )

    def _count(self, data: bytes, *, up: bool) -> None:
        if not up:
            self.down += len(data)
            return
        self.up += len(data)
        for method, path in _CALL.findall(data):
            named = _NAME.sub(r"/\1/…", path.decode().partition("?")[0])
            self.calls[f"{method.decode()} {named}"] += 1
        if len(data) > _PIECE // 4:
            self.last = time.monotonic()
            self.first = self.first or self.last

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool, begun: bytes = b""
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.ensure_future(self._arrive(under_way, writer))
        free, data = 0.0, begun or await reader.read(_PIECE)
        with contextlib.suppress(OSError):
            while data:
                self._count(data, up=up)
                free = max(free, time.monotonic()) + (len(data) / self._bandwidth if self._bandwidth else 0.0)
                under_way.put_nowait((free + self._delay, data))
                await asyncio.sleep(max(0.0, free - _AHEAD - time.monotonic()))
                data = await reader.read(_PIECE)
        under_way.put_nowait((free + self._delay, b""))
        await arriving

    async def _arrive(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = await under_way.get()
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                if not data:
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


async def main(url: str, round_trip: float, bandwidth: float) -> None:
    """Serve until this process is ended."""
    server = await asyncio.start_server(Wire(url, round_trip, bandwidth).connected, "127.0.0.1", 0, limit=_PIECE)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    milliseconds, megabits = (float(word) for word in (*sys.argv[2:], "0", "0")[:2])
    asyncio.run(main(sys.argv[1], milliseconds / 1000, megabits * 1_000_000 / 8))
