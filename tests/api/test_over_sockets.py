"""The same over real sockets: against the emulator, against nobody, and against somebody who hangs up."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import pytest

from api.script import KEY, Waits
from engine.fake import Killed
from gemini_batch.api import batches, files
from gemini_batch.api.client import Client
from gemini_batch.catalog import Method
from gemini_batch.emulator.http.server import serve
from gemini_batch.errors import NetworkError
from gemini_batch.reading import to_int
from gemini_batch.settings import Secret
from gemini_batch.wire import hash_matches, remote_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from gemini_batch.wire import RemoteFile

T = TypeVar("T")
ROWS = 2500
LINE = '{"key":"%d","request":{"contents":[{"parts":[{"text":"Say %s"}]}]}}\n'
#: More than two of the smallest chunks that the service grants.
CONTENT = "".join(LINE % (row, "x" * 200) for row in range(ROWS)).encode()


def ask(url: str, question: Callable[[Client], Awaitable[T]], *, waits: Waits | None = None) -> T:
    async def run() -> T:
        async with Client(url, Secret(KEY), world=(waits or Waits()).world()) as client:
            return await question(client)

    return asyncio.run(run())


def read_at(start: int, length: int) -> bytes:
    return CONTENT[start : start + length]


async def upload(client: Client) -> RemoteFile | None:
    url = await files.start_upload(
        client, name="f-1", display_name="d", mime_type="application/jsonl", size=len(CONTENT)
    )
    return await files.send_upload(client, url, read_at, size=len(CONTENT), chunk=files.GRANULARITY)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_whole_life_at_the_emulator(ranges: bool, tmp_path: Path) -> None:
    import hashlib

    part = tmp_path / "answers.part"

    async def life(client: Client) -> tuple[int, str]:
        held = await upload(client)
        assert held is not None
        assert to_int(held.size_bytes) == len(CONTENT)
        assert held.sha256_hash
        assert hash_matches(hashlib.sha256(CONTENT).hexdigest(), held.sha256_hash)
        made = remote_job(
            await batches.create(
                client, model="gemini-3.8-flash", method=Method.GENERATE, display_name="d", file_name="files/f-1"
            )
        )
        seen, looks = made, 0
        while not seen.has_output and looks < 100:
            seen, looks = remote_job(await batches.get(client, made.name)), looks + 1
        assert seen.output_file is not None
        assert (seen.total, seen.succeeded) == (ROWS, ROWS)
        return await files.download(client, seen.output_file, part), seen.output_file

    async def again(client: Client) -> int:
        return await files.download(client, output, part)

    with serve(tmp_path / "data", ranges=ranges) as emulator:
        size, output = ask(emulator.url, life)
        whole = part.read_bytes()
        assert size == len(whole)
        assert whole.count(b"\n") == ROWS
        for held in (whole[: size // 2], whole, whole + b"not ours"):  # left by an earlier process
            part.write_bytes(held)
            assert ask(emulator.url, again) == size
            assert part.read_bytes() == whole


def test_upload_goes_on_in_another_process(tmp_path: Path) -> None:
    async def begin(client: Client) -> str:
        url = await files.start_upload(
            client, name="f-1", display_name="d", mime_type="application/jsonl", size=len(CONTENT)
        )

        def breaks(start: int, length: int) -> bytes:
            if start:
                raise Killed
            return read_at(start, length)

        with pytest.raises(Killed):
            await files.send_upload(client, url, breaks, size=len(CONTENT), chunk=files.GRANULARITY)
        return url

    async def go_on(client: Client) -> RemoteFile | None:
        status, offset = await files.query_upload(client, session)
        assert (status, offset) == ("active", files.GRANULARITY)
        return await files.send_upload(client, session, read_at, size=len(CONTENT), offset=offset)

    async def stands(client: Client) -> tuple[str, int]:
        return await files.query_upload(client, session)

    with serve(tmp_path) as emulator:
        session = ask(emulator.url, begin)
        held = ask(emulator.url, go_on)
        assert held is not None
        assert to_int(held.size_bytes) == len(CONTENT)
        assert ask(emulator.url, stands)[0] == "final"


@contextmanager
def hangs_up(answer: bytes, times: int) -> Iterator[str]:
    """Somebody who reads a request, says ``answer`` and closes the door, so many times."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_them() -> None:
            for _ in range(times):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve_them, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=10)
        assert not thread.is_alive()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        HEAD + b'Content-Length: 100\r\n\r\n{"name": "bat',
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"nam\r\n',
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"\x00\x01\x02 this is not HTTP\r\n\r\n",
    ],
)
def test_answer_that_breaks_off_may_have_arrived(answer: bytes) -> None:
    async def create(client: Client) -> object:
        return await batches.create(client, model="m", method=Method.GENERATE, display_name="d", file_name="files/f")

    with hangs_up(answer, 1) as url, pytest.raises(NetworkError) as caught:
        ask(url, create)
    assert caught.value.sent


def test_harmless_request_survives_hanging_up() -> None:
    body = HEAD + b"Content-Length: 100\r\n\r\n{"
    waits = Waits()
    with hangs_up(body, 6) as url, pytest.raises(NetworkError):
        ask(url, lambda client: batches.get(client, "b"), waits=waits)
    assert waits.seconds == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_download_that_breaks_off_keeps_what_came(tmp_path: Path) -> None:
    part = tmp_path / "part"
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789"
    with hangs_up(body, 7) as url, pytest.raises(NetworkError, match="interrupted"):
        ask(url, lambda client: files.download(client, "files/f", part))
    assert part.read_bytes() == b"0123456789"


def test_nobody_listens() -> None:
    waits = Waits()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and never listening: every connection is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NetworkError, match="cannot be reached") as caught:
            ask(url, lambda client: batches.get(client, "b"), waits=waits)
    assert not caught.value.sent
    assert waits.seconds == [1.0, 2.0]
