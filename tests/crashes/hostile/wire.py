"""What happens to a request on its way to the service, and to the answer on its way back.

A transport below the real client, so that bounds, lengths, encodings, redirects and repetitions are exercised. It does
what a connection would do: a silence lasts until the client's own timeout.
"""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx2

from crashes.hostile.service import NOT_FOUND, Answer

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable

    from crashes.hostile.service import Service

#: Before the service has done anything.
BEFORE = ("refused", "unreachable", "reset", "408", "429", "500", "502", "503", "504", "proxy", "login", "redirect")
#: After it has done its part, in place of its answer.
AFTER = ("lost", "silent", "408", "429", "500", "502", "503", "504", "proxy", "nonsense", "created", "endless", "part")
#: To the answer itself; the client may still get all of it.
BODY = ("gzip", "damaged gzip", "cut", "cut in silence", "short length", "long length", "slow", "drips", "brotli")
ALL = (*BEFORE, *AFTER, *BODY, "absent once")
_REASONS = {408: "", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 502: "", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
_NONSENSE = (b"", b"{}", b"null", b"[]", b"<html>all is well</html>", b'{"name":5}', b'{"metadata":{}}', b"\xff\xfe")


@dataclass(frozen=True, slots=True)
class Weather:
    """How often something goes wrong, and what; a storm of so many seconds begins every so often."""

    chance: float
    kinds: tuple[str, ...]
    storms: float = 0.0
    storm: str = "503"


class Body(httpx2.AsyncByteStream):
    """The pieces of a body with the seconds before each; an exception among them is raised in its place."""

    def __init__(self, pieces: list[tuple[float, bytes | Exception]], breathe: Callable[[], None]) -> None:
        self._pieces, self._breathe = pieces, breathe

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for seconds, piece in self._pieces:
            self._breathe()
            if seconds:
                await asyncio.sleep(seconds)
            if isinstance(piece, Exception):
                raise piece
            yield piece


class Wire(httpx2.AsyncBaseTransport):
    """One client's way to the service. ``breathe`` is called wherever the client may die."""

    def __init__(
        self, service: Service, weather: Weather, chance: random.Random, breathe: Callable[[], None], key: str
    ) -> None:
        self._service, self._weather, self._chance, self._breathe, self._key = service, weather, chance, breathe, key
        self._hidden: set[str] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One request."""
        url = str(request.url)
        assert url.startswith("https://hostile.invalid/"), f"another host was asked: {url}"
        body = await request.aread()
        self._breathe()
        kind = self._kind(request, url)
        read = float(request.extensions["timeout"]["read"])
        if kind in BEFORE and (kind not in AFTER or self._chance.random() < 0.5):
            return self._instead(kind)
        if kind == "part":
            self._service.receive_part(urlsplit(url).path, body)
            raise httpx2.WriteError("Broken pipe")
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer = self._service.handle(request.method, url, headers, body)
        self._breathe()
        if kind == "lost":
            raise httpx2.ReadError("Connection reset by peer")
        if kind == "silent":
            await asyncio.sleep(read)
            raise httpx2.ReadTimeout("timed out")
        if kind == "absent once":
            return self._whole(Answer.error(404, *NOT_FOUND))
        if kind in AFTER:
            return self._instead(kind)
        return self._bent(answer, kind, read)

    def _kind(self, request: httpx2.Request, url: str) -> str:
        """What goes wrong with this request; "" if nothing does."""
        if self._service.healthy:
            return ""
        weather, now = self._weather, asyncio.get_running_loop().time()
        kind = ""
        if weather.storms and now % weather.storms < weather.storms / 3:
            kind = weather.storm
        elif self._chance.random() < weather.chance:
            kind = self._chance.choice(weather.kinds)
        if kind == "part" and request.headers.get("x-goog-upload-command", "query") == "query":
            return "lost"
        if kind == "absent once":
            # The service says of a job or its output that it is not there, once each: five times in a row is the truth.
            if url in self._hidden or request.method != "GET" or ("/batches/" not in url and ":download" not in url):
                return ""
            self._hidden.add(url)
        return kind

    def _instead(self, kind: str) -> httpx2.Response:
        chance = self._chance
        match kind:
            case "refused":
                raise httpx2.ConnectError("Connection refused")
            case "unreachable":
                raise httpx2.ConnectTimeout("")
            case "reset":
                raise httpx2.ReadError("Connection reset by peer")
            case "proxy":
                return self._whole(Answer(chance.choice([403, 404, 502]), b"<html>proxy</html>"))
            case "login":
                return self._whole(Answer(200, b"<html>Please log in.</html>", {"content-type": "text/html"}))
            case "redirect":
                headers = {"location": f"https://elsewhere.invalid/?key={self._key}"}
                return self._whole(Answer(chance.choice([301, 302, 303, 307, 308]), b"", headers))
            case "nonsense":
                return self._whole(Answer(200, chance.choice(_NONSENSE)))
            case "created":
                return self._whole(Answer(chance.choice([201, 202, 204]), b"{}"))
            case "endless":
                pieces: list[tuple[float, bytes | Exception]] = [(50.0, b" ")] * 2_000
                return httpx2.Response(200, stream=Body(pieces, self._breathe))
            case _:
                status = int(kind)
                asked = chance.choice([None, None, "1", "7", "99999", "-3", "soon", "Wed, 21 Oct 2099 07:28:00 GMT"])
                headers = {"retry-after": asked} if asked else {}
                if chance.random() < 0.2:
                    return self._whole(Answer(status, b"upstream error", headers))
                message = f"It went wrong with {self._key}."
                return self._whole(Answer.error(status, _REASONS[status], message, **headers))

    def _whole(self, answer: Answer) -> httpx2.Response:
        return httpx2.Response(answer.status, headers=answer.headers, stream=Body([(0.0, answer.body)], self._breathe))

    def _bent(self, answer: Answer, kind: str, read: float) -> httpx2.Response:
        data, headers, chance = answer.body, dict(answer.headers), self._chance
        pieces: list[tuple[float, bytes | Exception]] = [(0.0, data)]
        at = chance.randrange(len(data) + 1)
        identity = "content-range" in headers or "content-length" in headers
        match kind:
            case "gzip" | "damaged gzip" if identity:  # a proxy that compresses knows no lengths
                headers.pop("content-length", None)
        match kind:
            case "gzip" | "damaged gzip" if answer.status != 206:
                packed = gzip.compress(data, mtime=0)
                packed = packed if kind == "gzip" else packed[: len(packed) // 2] + chance.choice([b"", b"\0\xff\0"])
                pieces, headers["content-encoding"] = [(0.0, packed)], "gzip"
            case "brotli":
                headers["content-encoding"] = "br"
            case "cut":
                error = httpx2.RemoteProtocolError("peer closed connection without sending complete message body")
                pieces = [(0.0, data[:at]), (0.0, error)]
            case "cut in silence":
                headers.pop("content-length", None)
                pieces = [(0.0, data[:at])]
            case "short length":
                pieces, headers["content-length"] = [(0.0, data[:at])], str(at)
            case "long length":
                headers["content-length"] = str(len(data) + 10)
            case "slow":
                pieces = [(chance.uniform(0.0, read - 1), data[n : n + 2_000]) for n in range(0, len(data), 2_000)]
            case "drips":
                pieces = [(read - 1, data[n : n + 1]) for n in range(len(data))]
            case _:
                pass
        return httpx2.Response(answer.status, headers=headers, stream=Body(pieces, self._breathe))


def draw_weather(chance: random.Random) -> Weather:
    """The weather of a world: calm, bad or terrible, of a few kinds or of all."""
    kinds: tuple[Any, ...] = ALL if chance.random() < 0.3 else tuple(chance.sample(ALL, chance.randint(1, 6)))
    return Weather(
        chance=chance.choice([0.0, 0.05, 0.15, 0.3, 0.6]),
        kinds=kinds,
        storms=chance.choice([0.0, 0.0, 900.0, 9_000.0]),
        storm=chance.choice(["429", "500", "503", "lost", "refused"]),
    )
