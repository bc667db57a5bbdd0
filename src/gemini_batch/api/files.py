"""Files: the resumable upload, get, list, delete, and the download of results.

An upload is sent in chunks. After a failed one, the service is asked how much it has (``query``) and the rest is sent,
by the same process or by a later one that knows the session's URL. Chunks carry no key, like those of the official
Python client. A download is written as it arrives and continued with ``Range`` if the service supports that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import httpx2
import msgspec

from gemini_batch.api.client import piece
from gemini_batch.api.trouble import meaning, unknown_address, unknown_upload
from gemini_batch.errors import ApiError, NetworkError, ServiceError, StateError
from gemini_batch.jsonl import private_open
from gemini_batch.wire import RemoteFile, RemoteFileList, read, to_int

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gemini_batch.api.client import Client

CHUNK = 8 * 1024 * 1024
GRANULARITY = 256 * 1024
#: Attempts without progress before an upload or download is given up; any progress restarts the count.
PATIENCE = 6
#: Most clients send ``application/jsonl``; the service was observed to refuse one or the other at times.
MIME_TYPES = ("application/jsonl", "text/plain", "jsonl")
_GOES_ON = "Run the same command again; it continues where this one stopped."
_CHUNK_TIMEOUT = 300.0
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
    response = await client.call(
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
    url = response.headers.get("x-goog-upload-url")
    try:
        return client.at_home(url or "")
    except ValueError:
        raise ServiceError(
            "The service opened no upload session (no usable upload URL in its answer).", code="upload_refused"
        ) from None


async def query_upload(client: Client, url: str) -> tuple[str, int]:
    """Query a session: its status (``active``, ``final``, …) and the number of bytes received.

    Raises SessionLost if the service no longer has it.
    """
    try:
        response = await client.call("POST", url, content=b"", headers={"x-goog-upload-command": "query"}, keyed=False)
    except ApiError as error:
        if unknown_upload(error):
            raise SessionLost("The service no longer knows this upload.") from error
        raise
    received = to_int(response.headers.get("x-goog-upload-size-received"))
    return response.headers.get("x-goog-upload-status", ""), max(0, received)


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
    idle, furthest = 0, offset
    while True:
        data = _exactly(read_at, offset, min(chunk, size - offset), size)
        last = offset + len(data) >= size
        try:
            response = await client.call(
                "POST",
                url,
                content=data,
                headers={
                    "x-goog-upload-command": "upload, finalize" if last else "upload",
                    "x-goog-upload-offset": str(offset),
                    "content-type": "application/octet-stream",
                },
                keyed=False,
                repeat=False,
                timeout=_CHUNK_TIMEOUT,
            )
            status = response.headers.get("x-goog-upload-status", "")
            if status == "final" and last:
                return _described(response.content)
            if status == "active" and not last:
                offset += len(data)
                # Bytes reached before do not count as progress: a service that loses what it received gets no more
                # attempts.
                idle, furthest = (0, offset) if offset > furthest else (idle, furthest)
                progress(offset)
                continue
            failure: ServiceError = ServiceError(f"The service left the upload in state {status or 'unknown'!r}.")
        except (ApiError, NetworkError) as error:
            if unknown_address(error):
                raise SessionLost("The service no longer knows this upload.") from error
            if not meaning(error).repeatable:
                raise
            failure = error
        idle += 1
        if idle >= PATIENCE:
            raise failure
        await client.pause(idle, failure)
        status, received = await query_upload(client, url)
        if status == "final":
            return None
        if status not in {"active", ""}:
            raise SessionLost(f"The service ended this upload ({status}).") from failure
        offset = min(received, size)
        idle, furthest = (0, offset) if offset > furthest else (idle, furthest)
        progress(offset)


def _exactly(read_at: ReadAt, offset: int, length: int, size: int) -> bytes:
    data = read_at(offset, length)
    if len(data) != length:
        raise StateError(
            f"The file was changed during the upload: it ended after {offset + len(data)} of {size} bytes.",
            code="file_changed",
        )
    return data


class _Uploaded(msgspec.Struct):
    file: RemoteFile | None = None


def _described(body: bytes) -> RemoteFile | None:
    try:
        return read(body, _Uploaded).file
    except ServiceError:
        return None


async def get(client: Client, name: str) -> RemoteFile:
    """Get one file. If it is missing, expired, deleted or another project's, the service answers 403, not 404."""
    response = await client.call("GET", client.url(f"files/{piece(name.removeprefix('files/'))}"))
    return read(response.content, RemoteFile)


async def listing(client: Client, *, page_size: int = 100) -> AsyncIterator[list[RemoteFile]]:
    """List all files of the key's project, page by page."""
    token, seen = "", {""}
    while True:
        params = {"pageSize": str(page_size), **({"pageToken": token} if token else {})}
        page = read((await client.call("GET", client.url("files"), params=params)).content, RemoteFileList)
        yield page.files
        token = page.next_page_token
        if token in seen:  # the last page has none; a repeated one would loop forever
            return
        seen.add(token)


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
    is refused for them. Raises ApiError or NetworkError after too many attempts without progress.
    """
    quoted = piece(name.removeprefix("files/"))
    url = client.url(f"files/{quoted}:download")
    idle, furthest, restarted = 0, _held(part), False
    while True:
        try:
            return await _download_once(client, url, part, _held(part), progress)
        except _OtherPartError as error:
            failure: ServiceError = error
            part.unlink(missing_ok=True)
            # What an earlier process left may not be part of this file; after that, only new bytes count as progress.
            furthest, restarted = (furthest, True) if restarted else (0, True)
        except (ApiError, NetworkError) as error:
            if unknown_address(error) and "/download/" not in url:
                url = client.url(f"files/{quoted}:download", prefix="/download")  # the documentation's path
                continue
            if not meaning(error).repeatable:
                raise
            failure = error
        held = _held(part)
        idle, furthest = (0, held) if held > furthest else (idle + 1, furthest)
        if idle >= PATIENCE:
            raise failure
        await client.pause(max(1, idle), failure)


def _held(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


async def _download_once(
    client: Client, url: str, part: Path, offset: int, progress: Callable[[int, int | None], None]
) -> int:
    # `identity`: in a compressed body, offsets and lengths would not match the bytes on disk.
    headers = {"accept-encoding": "identity", **({"range": f"bytes={offset}-"} if offset else {})}
    expected = frozenset({200, 206, 416} if offset else {200, 206})
    async with client.stream("GET", url, params={"alt": "media"}, headers=headers, expected=expected) as response:
        start, total = _place(response, offset)
        if start == total:
            return start  # the file was already complete
        encoded = response.headers.get("content-encoding", "identity") != "identity"
        if encoded and start:
            raise _OtherPartError("The service sent part of a different encoding of the file.", sent=True)
        length = response.headers.get("content-length", "")
        stated = None if encoded or not _COUNT.fullmatch(length) else start + int(length)
        with private_open(part, "ab" if start else "wb") as file:
            done = start
            try:
                async for data in response.aiter_bytes() if encoded else response.aiter_raw():
                    file.write(data)
                    done += len(data)
                    progress(done, total if total is not None else stated)
            except httpx2.HTTPError as error:
                raise NetworkError(
                    f"The download was interrupted after {done} bytes.", sent=True, next=_GOES_ON
                ) from error
        came = response.num_bytes_downloaded
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
