"""Bounds: nothing that the service does holds a call for ever, or fills the memory."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import tracemalloc
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.script import BASE, KEY, Body, Endless, Script, Waits, ask, error
from gemini_batch.api import batches, files, models
from gemini_batch.api.bounds import DEFAULT, Bounds, Patience
from gemini_batch.api.bounds import Body as AnswerBody
from gemini_batch.api.client import Client
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.settings import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from gemini_batch.api.client import Client as AnyClient

#: Real time: what drips has to be waited for by the event loop's own clock.
HURRIED = Bounds(call=0.05, window=0.05, listing=0.05, failures=2)


async def _pages(client: AnyClient) -> None:
    async for _ in batches.listing(client):
        pass


async def _files(client: AnyClient) -> None:
    async for _ in files.listing(client):
        pass


def _create(client: AnyClient) -> Awaitable[object]:
    return batches.create(client, model="m", method=Method.GENERATE, display_name="d", file_name="files/f")


def _start(client: AnyClient) -> Awaitable[object]:
    return files.start_upload(client, name="f", display_name="d", mime_type="jsonl", size=1)


def _chunk(client: AnyClient) -> Awaitable[object]:
    return files.send_upload(client, f"{BASE}/upload", lambda _at, length: b"x" * length, size=1)


#: Every operation of the API but the download, which is bounded by its progress.
OPERATIONS: dict[str, Callable[[AnyClient], Awaitable[object]]] = {
    "get a job": lambda client: batches.get(client, "b"),
    "get a large job": lambda client: batches.get(client, "b", server_timeout=1),
    "create a job": _create,
    "cancel a job": lambda client: batches.cancel(client, "b"),
    "delete a job": lambda client: batches.delete(client, "b"),
    "list jobs": _pages,
    "get a file": lambda client: files.get(client, "f"),
    "delete a file": lambda client: files.delete(client, "f"),
    "list files": _files,
    "start an upload": _start,
    "query an upload": lambda client: files.query_upload(client, f"{BASE}/upload"),
    "send a chunk": _chunk,
    "get a model": lambda client: models.get(client, "m"),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS)


class Drip(httpx2.AsyncByteStream):
    """A byte now and then, for ever."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b" "


def hurried(
    script: Callable[[httpx2.Request], httpx2.Response],
    question: Callable[[AnyClient], Awaitable[Any]],
    bounds: Bounds = HURRIED,
    waits: Waits | None = None,
) -> Any:
    async def run() -> Any:
        world = (waits or Waits()).world()
        transport = httpx2.MockTransport(script)
        async with Client(BASE, Secret(KEY), world=world, transport=transport, bounds=bounds) as client:
            return await question(client)

    return asyncio.run(run())


# Time ---------------------------------------------------------------------------------------------------------------


@every_operation
@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_body_that_drips_ends_the_call(operation: str, status: int) -> None:
    script = Endless(lambda _: httpx2.Response(status, stream=Drip()))
    with pytest.raises(NetworkError, match="did not answer completely within") as caught:
        hurried(script, OPERATIONS[operation])
    assert caught.value.sent
    assert len(script.requests) <= HURRIED.failures * 2


@every_operation
@pytest.mark.parametrize("asked", ["400", "99999", "9" * 400])
def test_no_pause_is_longer_than_a_call(operation: str, asked: str) -> None:
    waits = Waits()
    script = Endless(lambda _: error(429, "RESOURCE_EXHAUSTED", headers={"retry-after": asked}))
    with pytest.raises(ApiError):
        ask(script, OPERATIONS[operation], waits=waits)
    assert waits.seconds == []


@every_operation
def test_all_pauses_together_are_not_longer_than_a_call(operation: str) -> None:
    waits = Waits()
    script = Endless(lambda _: error(429, "RESOURCE_EXHAUSTED", headers={"retry-after": "100"}))
    with pytest.raises(ApiError):
        ask(script, OPERATIONS[operation], waits=waits)
    if operation != "send a chunk":  # each chunk is a call
        assert sum(waits.seconds) <= DEFAULT.call + 1.0


# Bytes --------------------------------------------------------------------------------------------------------------


class Flood(httpx2.AsyncByteStream):
    """The same bytes for ever; counts how often they were taken."""

    def __init__(self, first: bytes, then: bytes) -> None:
        self.taken, self._first, self._then = 0, first, then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._first
        while True:
            self.taken += 1
            assert self.taken < 10_000, "nothing stops this body"
            yield self._then


@every_operation
def test_a_body_without_end_is_not_read_into_memory(operation: str) -> None:
    flood = Flood(b'{"name": "', b"x" * 65536)
    with pytest.raises(ServiceError, match="longer than") as caught:
        hurried(lambda _: httpx2.Response(200, stream=flood), OPERATIONS[operation], Bounds(answer=10**6, job=10**6))
    assert caught.value.reason_code == "answer_too_long"
    assert flood.taken <= 17


@every_operation
def test_a_gigabyte_of_gzip_does_not_fill_the_memory(operation: str) -> None:
    bomb = gzip.compress(bytes(64 * 2**20), 9)
    tracemalloc.start()
    try:
        with pytest.raises(ServiceError, match="longer than"):
            hurried(
                lambda _: httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Body(bomb)),
                OPERATIONS[operation],
                Bounds(answer=2 * 2**20, job=2 * 2**20),
            )
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "identity, gzip", "x" * 1000])
@every_operation
def test_only_the_encoding_that_was_asked_for_is_read(operation: str, encoding: str) -> None:
    script = Endless(lambda _: httpx2.Response(200, headers={"content-encoding": encoding}, stream=Body(b"\x00" * 9)))
    with pytest.raises(ServiceError, match="was not asked for"):
        ask(script, OPERATIONS[operation])
    assert set(script.sent("accept-encoding")) == {"gzip"}


async def _read(data: bytes, cuts: list[int], most: int = 10**9) -> bytes:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    response = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Body(*pieces))
    return b"".join([piece async for piece in AnswerBody(response, most=most)])


@given(parts=st.lists(st.binary(max_size=3000), max_size=3), cuts=st.lists(st.integers(0, 10**4), max_size=6))
def test_compressed_bodies_are_read_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    """Also of several members, one after the other."""
    data = b"".join(gzip.compress(part) for part in parts)
    assert asyncio.run(_read(data, cuts)) == b"".join(parts)


@given(content=st.binary(min_size=1, max_size=3000), missing=st.integers(1, 20), cuts=st.lists(st.integers(0, 10**4)))
def test_a_compressed_body_that_is_cut_off_is_not_the_answer(content: bytes, missing: int, cuts: list[int]) -> None:
    data = gzip.compress(content)
    with pytest.raises(httpx2.DecodingError):
        asyncio.run(_read(data[: max(1, len(data) - missing)], cuts))


# Pages --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("walk", "kind"), [(_pages, "operations"), (_files, "files")])
@pytest.mark.parametrize("tokens", ["ever new", "ever the same", "in a circle"])
def test_a_list_without_end_is_not_taken_for_a_whole_one(
    walk: Callable[[AnyClient], Awaitable[object]], kind: str, tokens: str
) -> None:
    numbers = itertools.count(1)
    different = {"ever new": 10**9, "ever the same": 1, "in a circle": 3}[tokens]

    def page(_: httpx2.Request) -> httpx2.Response:
        token = f"t{next(numbers) % different}"
        return httpx2.Response(200, json={kind: [{"name": "x"}], "nextPageToken": token})

    script = Endless(page, most=60)
    with pytest.raises(ServiceError, match="does not end") as caught:
        hurried(script, walk, Bounds(pages=50))
    assert caught.value.reason_code == "endless_list"
    assert len(script.requests) <= 50


def test_a_list_that_takes_too_long_is_not_taken_for_a_whole_one() -> None:
    waits = Waits()

    def slow(request: httpx2.Request) -> httpx2.Response:
        waits.seconds.append(100.0)
        return httpx2.Response(200, json={"nextPageToken": f"t{len(waits.seconds)}"})

    with pytest.raises(ServiceError):
        ask(slow, _pages, waits=waits)
    assert sum(waits.seconds) <= DEFAULT.listing + 100


@pytest.mark.parametrize("page", [{"operations": {}}, {"operations": "none"}, {"nextPageToken": 5}, {"operations": 1}])
def test_a_page_that_is_none_is_not_the_last(page: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="could not be read") as caught:
        ask(Script(httpx2.Response(200, json=page)), _pages)
    assert caught.value.reason_code == "unreadable_answer"


# Downloads ----------------------------------------------------------------------------------------------------------


def test_a_download_that_drips_is_given_up(tmp_path: Path) -> None:
    """Each piece comes in time, and all together far too slowly; the clock of the world is the one that counts."""
    waits = Waits()

    class Slow(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(100_000):
                waits.seconds.append(1.0)
                yield b"x"

    part = tmp_path / "part"
    with pytest.raises(NetworkError, match="too slow"):
        ask(
            Endless(lambda _: httpx2.Response(200, stream=Slow()), most=DEFAULT.crumbs),
            lambda client: files.download(client, "files/f", part),
            waits=waits,
        )
    assert sum(waits.seconds) < 2 * DEFAULT.crumbs * DEFAULT.window


def test_a_download_that_stands_still_is_given_up(tmp_path: Path) -> None:
    class Still(httpx2.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.sleep(3600)

    with pytest.raises(NetworkError):
        hurried(
            Endless(lambda _: httpx2.Response(200, stream=Still())),
            lambda client: files.download(client, "files/f", tmp_path / "part"),
            Bounds(window=0.05, failures=2),
        )


def test_a_download_of_crumbs_is_given_up(tmp_path: Path) -> None:
    """One new byte each time is progress, and no way to get a file."""
    content = b"x" * 5000

    def crumb(request: httpx2.Request) -> httpx2.Response:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        headers = {"content-range": f"bytes {start}-4999/5000"}
        return httpx2.Response(206 if start else 200, headers=headers, stream=Body(content[start : start + 1], reset()))

    def reset() -> Exception:
        return httpx2.ReadError("reset")

    script = Endless(crumb)
    with pytest.raises(NetworkError):
        ask(script, lambda client: files.download(client, "files/f", tmp_path / "part"))
    assert len(script.requests) == DEFAULT.crumbs


def test_a_download_has_a_most(tmp_path: Path) -> None:
    flood = Flood(b"x", b"x" * 65536)
    with pytest.raises(ServiceError, match="longer than"):
        hurried(
            lambda _: httpx2.Response(200, stream=flood),
            lambda client: files.download(client, "files/f", tmp_path / "part"),
            Bounds(download=10**6),
        )


@given(steps=st.lists(st.one_of(st.integers(0, 200_000), st.none()), max_size=100))
def test_patience_ends_without_progress_and_lasts_with_it(steps: list[int | None]) -> None:
    """A number is a failure after that many new bytes, None one after no new byte."""
    patience, moved, silent, since = Patience(DEFAULT, 0), 0, 0, 0
    mark = 0
    for step in steps:
        moved += step or 0
        silent = 0 if step else silent + 1
        if moved >= mark + DEFAULT.progress:
            since, mark = 0, moved
        since += 1
        assert patience.failed(moved) == (silent >= DEFAULT.failures or since >= DEFAULT.crumbs)


@pytest.mark.parametrize("part", ["the status line", "a header", "a chunk's size"])
def test_nothing_of_an_answer_may_drip(part: str) -> None:
    """Over a socket: no idle time of the HTTP library ends these, since a byte comes now and then."""
    start = {
        "the status line": b"HTTP/1.1 20",
        "a header": b"HTTP/1.1 200 OK\r\nx-slow: ",
        "a chunk's size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    }[part]

    async def run() -> None:
        handlers: list[asyncio.Task[None]] = []

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                writer.write(start)
                while True:
                    writer.write(b"0")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handlers.append(asyncio.ensure_future(drip(reader, writer)))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                async with Client(url, Secret(KEY), world=Waits().world(), bounds=HURRIED) as client:
                    await batches.get(client, "b")
            finally:
                await asyncio.gather(*handlers)

    with pytest.raises(NetworkError, match="did not answer completely"):
        asyncio.run(run())
