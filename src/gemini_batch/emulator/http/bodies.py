"""What passes through the event loop as a stream: the bodies of requests, and the bytes of uploads and downloads."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Reply
from gemini_batch.emulator.messages.gzipped import coding_of, inflate, unknown_coding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import IO

    from starlette.requests import Request

    from gemini_batch.emulator.messages.calls import Receiver

_PIECE = 1 << 20
#: A body that is too large is read up to this size and discarded, so that its sender receives the refusal.
_PATIENCE = 256 << 20


async def read(request: Request, limit: int) -> bytes:
    """A whole body, inflated if it is gzip.

    Raises :class:`errors.ApiFailure` if it has more than ``limit`` bytes, as sent or inflated (400), or another coding.
    """
    coding = coding_of(request.headers.get("content-encoding", ""))
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise errors.too_large(limit)
    body = b"".join(pieces)
    if coding:
        body = await anyio.to_thread.run_sync(inflate, body, limit)
        if len(body) > limit:
            raise errors.too_large(limit)
    return body


async def drain(request: Request) -> None:
    """Read the rest of a body, so that its sender receives the answer."""
    size = 0
    with contextlib.suppress(ClientDisconnect, RuntimeError):  # the client left, or everything was read
        async for piece in request.stream():
            size += len(piece)
            if size > _PATIENCE:
                return


def check_uncoded(request: Request) -> None:
    """The bytes of files are sent as they are. Raises :class:`errors.ApiFailure` (415)."""
    if coding := coding_of(request.headers.get("content-encoding", "")):
        raise unknown_coding(coding)


async def receive(request: Request, receiver: Receiver) -> Reply:
    """Pass a body to its receiver, about a megabyte at a time."""
    pieces, held = [], 0
    try:
        async for piece in request.stream():
            pieces.append(piece)
            held += len(piece)
            if held >= _PIECE:
                await anyio.to_thread.run_sync(receiver.write, b"".join(pieces))
                pieces, held = [], 0
        if held:
            await anyio.to_thread.run_sync(receiver.write, b"".join(pieces))
    except ClientDisconnect:
        if held:
            await anyio.to_thread.run_sync(receiver.write, b"".join(pieces))
        await anyio.to_thread.run_sync(receiver.broken)
        return Reply(b"")
    return await anyio.to_thread.run_sync(receiver.answer)


def send(file: IO[bytes], wanted: str, *, ranges: bool, further: Mapping[str, str] | None = None) -> Response:
    """The bytes of a file, or of the range that the header ``wanted`` names; ``further`` headers.

    Raises :class:`errors.ApiFailure` (416) for a range that is not in the file.
    """
    size = file.seek(0, 2)
    start, end, headers, status = 0, size, {"Content-Type": "application/octet-stream", **(further or {})}, 200
    if ranges:
        headers["Accept-Ranges"] = "bytes"
        asked = _range(wanted, size)
        if asked is not None:
            start, end = asked
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        if asked is not None and start >= end:
            file.close()
            raise errors.ApiFailure(
                416, "OUT_OF_RANGE", "The range is not in the file.", headers={"Content-Range": f"bytes */{size}"}
            )
    headers["Content-Length"] = str(end - start)
    response = StreamingResponse(_pieces(file, start, end), status_code=status)
    response.raw_headers = raw(headers)
    return response


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers with their names as they are written here: Starlette would write them in lower case."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _pieces(file: IO[bytes], start: int, end: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(start)
        left = end - start
        while left > 0:
            piece = await anyio.to_thread.run_sync(file.read, min(_PIECE, left))
            if not piece:
                return
            left -= len(piece)
            yield piece


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single byte range; None if there is none, or it is not understood."""
    unit, _, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not (first + last).isdecimal():
        return None
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
