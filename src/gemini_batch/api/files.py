"""Files: the resumable upload, get, list, delete, and the download of results.

An upload is sent in chunks. After a failed one, the service is asked how much it has (``query``) and the rest is sent,
by the same process or by a later one that knows the session's URL. Chunks carry no key, like those of the official
Python client. A download is written as it arrives and continued with ``Range`` if the service supports that.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Protocol

import httpx2
import msgspec

from gemini_batch.api.bounds import Body, Patience, steadily
from gemini_batch.api.client import piece
from gemini_batch.api.error_answers import discarded
from gemini_batch.api.pages import pages
from gemini_batch.api.trouble import meaning, unknown_address, unknown_upload
from gemini_batch.errors import ApiError, NetworkError, ServiceError, StateError
from gemini_batch.jsonl import private_open
from gemini_batch.reading import to_int
from gemini_batch.wire import RemoteFile, RemoteFileList, file_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from gemini_batch.api.client import Client, Reply

CHUNK = 8 * 1024 * 1024
GRANULARITY = 256 * 1024
#: So much of a chunk is in memory.
_PIECE = 1024 * 1024
#: Most clients send ``application/jsonl``; the service was observed to refuse one or the other at times.
MIME_TYPES = ("application/jsonl", "text/plain", "jsonl")
_GOES_ON = "Run the same command again; it continues where this one stopped."
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
_COUNT = re.compile(r"[0-9]{1,18}")


class SessionLost(ServiceError):
    """The service no longer has the upload session; the upload must start again from the first byte."""

    code = "upload_session_lost"


class ReadAt(Protocol):
    """``read_at(offset, length)``: reads bytes of what is uploaded."""

    def __call__(self, offset: int, length: int, /) -> bytes: ...


async def start_upload(client: Client, *, name: str, display_name: str, mime_type: str, size: int) -> str:
    """Open an upload session for ``files/{name}`` and return its URL."""
    meta = {"name": f"files/{name}", "displayName": display_name, "mimeType": mime_type, "sizeBytes": str(size)}
    reply = await client.call(
        "POST",
        client.url("files", prefix="/upload"),
        content=msgspec.json.encode({"file": meta}),
        headers={
            "content-type": "application/json",
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": str(size),
            "x-goog-upload-header-content-type": mime_type,
        },
    )
    return client.session_url(reply.headers.get("x-goog-upload-url", ""))


async def query_upload(client: Client, url: str) -> tuple[str, int]:
    """Query a session: its status (``active``, ``final``, …) and the number of bytes received.

    Raises SessionLost if the service no longer has it.
    """
    try:
        reply = await client.call("POST", url, content=b"", headers={"x-goog-upload-command": "query"}, keyed=False)
    except ApiError as error:
        if unknown_upload(error):
            raise SessionLost("The service no longer knows this upload.") from error
        raise
    return client.header(reply, "x-goog-upload-status"), to_int(client.header(reply, "x-goog-upload-size-received"))


async def send_upload(
    client: Client,
    url: str,
    read_at: ReadAt,
    *,
    size: int,
    offset: int = 0,
    chunk: int = CHUNK,
    progress: Callable[[int], None] = lambda _: None,
) -> RemoteFile | None:
    """Send the bytes from ``offset`` and finalize; returns the file as the service describes it.

    Returns None if the upload is complete but the answer that describes the file was lost: call :func:`get`.
    Raises SessionLost, ApiError or NetworkError; StateError if there are fewer bytes to read than ``size``.
    """

    async def put(offset: int, length: int) -> tuple[str, Reply]:
        reply = await client.call(
            "POST",
            url,
            content=pieces(read_at, offset, length, size),
            headers={
                "content-length": str(length),
                "x-goog-upload-command": "upload, finalize" if offset + length >= size else "upload",
                "x-goog-upload-offset": str(offset),
                "content-type": "application/octet-stream",
            },
            keyed=False,
            repeat=False,
            idle=client.bounds.idle_large,
        )
        return client.header(reply, "x-goog-upload-status"), reply

    done = await send_chunks(
        client, put, lambda: query_upload(client, url), size=size, offset=offset, chunk=chunk, progress=progress
    )
    return None if done is None else _described(client, done)


async def send_chunks(
    client: Client,
    put: Callable[[int, int], Awaitable[tuple[str, Reply]]],
    query: Callable[[], Awaitable[tuple[str, int]]],
    *,
    size: int,
    offset: int,
    chunk: int,
    progress: Callable[[int], None],
) -> Reply | None:
    """Send what an upload session lacks, chunk by chunk; returns the answer that describes what was uploaded.

    ``put(offset, length)`` sends a chunk and returns the session's status (``active`` or ``final``) with the answer,
    ``query()`` asks for status and number of bytes. Returns None if the upload is complete but that answer was lost.
    Raises SessionLost, ApiError or NetworkError.
    """
    patience = Patience(client.bounds, offset)
    while True:
        length = min(chunk, size - offset)
        last = offset + length >= size
        try:
            status, reply = await put(offset, length)
            if status == "final" and last:
                return reply
            if status == "active" and not last:
                offset += length
                patience.reached(offset)
                progress(offset)
                continue
            failure: ServiceError = ServiceError(f"The service left the upload in state {status or 'unknown'!r}.")
        except (ApiError, NetworkError) as error:
            if unknown_address(error):
                raise SessionLost("The service no longer knows this upload.") from error
            if not meaning(error).repeatable:
                raise
            failure = error
        if patience.failed():
            raise failure
        await client.pause(patience.failures, failure)
        status, received = await query()
        if status == "final":
            return None
        if status not in {"active", ""}:
            raise SessionLost(f"The service ended this upload ({status}).") from failure
        offset = min(received, size)
        patience.reached(offset)
        progress(offset)


async def pieces(read_at: ReadAt, offset: int, length: int, size: int) -> AsyncIterator[bytes]:
    """What a chunk consists of, read in a thread while it is sent: several files are uploaded at the same time."""
    end = offset + length
    while offset < end:
        data = await asyncio.to_thread(read_at, offset, min(_PIECE, end - offset))
        if not data:
            raise StateError(
                f"The file was changed during the upload: it ended after {offset} of {size} bytes.", code="file_changed"
            )
        yield data
        offset += len(data)


class _Uploaded(msgspec.Struct):
    file: RemoteFile | None = None


def _described(client: Client, reply: Reply) -> RemoteFile | None:
    try:
        file = client.read(reply, _Uploaded).file
    except ServiceError:
        return None
    return file if file is not None and file_name(file.name) else None


async def get(client: Client, name: str) -> RemoteFile:
    """Get one file. If it is missing, expired, deleted or another project's, the service answers 403, not 404.

    Raises ServiceError for an answer that describes another file.
    """
    asked = name.removeprefix("files/")
    reply = await client.call("GET", client.url(f"files/{piece(asked)}"))
    found = client.read(reply, RemoteFile)
    if found.name != f"files/{asked}":
        raise discarded(f"The service was asked for files/{asked} and answered with {found.name[:200]!r}.")
    return found


def listing(client: Client, *, page_size: int = 100) -> AsyncIterator[list[RemoteFile]]:
    """List all files of the key's project, page by page. Raises ServiceError unless it can be read to its end."""
    return pages(client, client.url("files"), RemoteFileList, "files", RemoteFile, asked={"pageSize": str(page_size)})


async def delete(client: Client, name: str) -> None:
    """Delete one file."""
    await client.call("DELETE", client.url(f"files/{piece(name.removeprefix('files/'))}"))


class _OtherPartError(NetworkError):
    """The service cannot, or does not, continue from the bytes that are stored; they are discarded."""


async def download(
    client: Client, name: str, part: Path, *, progress: Callable[[int, int | None], None] = lambda *_: None
) -> int:
    """Download a result file to ``part``, continuing after the bytes that are already there; returns its size.

    ``progress`` is called with the number of bytes stored, and the size of the whole file if the service states it.
    Only the download path serves result files: their ids are longer than the Files API's own rule allows, so ``get``
    is refused for them. Raises ApiError or NetworkError after too many attempts without progress, as the bounds state.
    """
    quoted = piece(name.removeprefix("files/"))
    path = f"files/{quoted}:download"
    # The second is the documentation's.
    return await download_from(client, [client.url(path), client.url(path, prefix="/download")], part, progress)


async def download_from(
    client: Client,
    urls: Sequence[str],
    part: Path,
    progress: Callable[[int, int | None], None],
    *,
    params: Mapping[str, str] | None = None,
) -> int:
    """The same from the first of these addresses that is known. ``params``: what the query says besides."""
    url, *others = urls
    patience, restarted = Patience(client.bounds, held(part)), False
    while True:
        try:
            return await _download_once(client, url, part, held(part), progress, params=params or {})
        except _OtherPartError as error:
            failure: ServiceError = error
            part.unlink(missing_ok=True)
            # What an earlier process left may not be part of this file; after that, only new bytes count as progress.
            if not restarted:
                patience.restart()
            restarted = True
        except (ApiError, NetworkError) as error:
            if unknown_address(error) and others:
                url = others.pop(0)
                continue
            if not meaning(error).repeatable:
                raise
            failure = error
        if patience.failed(held(part)):
            raise failure
        await client.pause(max(1, patience.failures), failure)


def held(part: Path) -> int:
    """The bytes of a part; 0 if there is none."""
    return part.stat().st_size if part.exists() else 0


async def _download_once(
    client: Client,
    url: str,
    part: Path,
    offset: int,
    progress: Callable[[int, int | None], None],
    *,
    params: Mapping[str, str],
) -> int:
    # `identity`: in a compressed body, offsets and lengths would not match the bytes on disk.
    headers = {"accept-encoding": "identity", **({"range": f"bytes={offset}-"} if offset else {})}
    expected = frozenset({200, 206, 416} if offset else {200, 206})
    asked = {"alt": "media", **params}
    async with client.stream("GET", url, params=asked, headers=headers, expected=expected) as response:
        start, total = _place(response, offset)
        if start == total:
            return start  # the file was already complete
        body = Body(response, most=client.bounds.download - start)
        if start and not body.is_plain:
            raise _OtherPartError("The service sent part of a different encoding of the file.", sent=True)
        length = response.headers.get("content-length", "")
        stated = None if not body.is_plain or not _COUNT.fullmatch(length) else start + int(length)
        # Only the checksum at its end tells whether a compressed body is right, so nothing goes on from its middle.
        place = part if body.is_plain else part.with_suffix(".unpacked")
        try:
            with private_open(place, "ab" if start else "wb") as file:
                done = start
                try:
                    async for data in steadily(body, client.bounds, client.world.monotonic):
                        file.write(data)
                        done += len(data)
                        progress(done, total if total is not None else stated)
                except httpx2.HTTPError as error:
                    raise NetworkError(
                        f"The download was interrupted after {done} bytes.", sent=True, next=_GOES_ON
                    ) from error
            if place != part:
                place.replace(part)
        finally:
            if place != part:
                place.unlink(missing_ok=True)
        came = body.received
        if _COUNT.fullmatch(length) and came != int(length):
            raise NetworkError(f"The download is incomplete: {came} of {length} bytes.", sent=True, next=_GOES_ON)
        if total is not None and done != total:
            raise NetworkError(f"The download is incomplete: {done} of {total} bytes.", sent=True, next=_GOES_ON)
        return done


def _place(response: httpx2.Response, offset: int) -> tuple[int, int | None]:
    """The offset of the bytes in an answer, and the size of the whole file if it is stated.

    A 200 answer is the whole file, whatever was requested. Raises _OtherPartError for a different part.
    """
    stated = response.headers.get("content-range", "")
    if response.status_code == 416:
        if stated == f"bytes */{offset}":
            return offset, offset
        raise _OtherPartError("More bytes are stored than the file has.", sent=True)
    if response.status_code == 200:
        return 0, None
    found = _CONTENT_RANGE.fullmatch(stated)
    if found is None or int(found[1]) != offset:
        raise _OtherPartError("The service sent a different part of the file than was requested.", sent=True)
    return offset, None if found[2] == "*" else int(found[2])
