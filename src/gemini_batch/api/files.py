"""Files: the resumable upload, get, list, delete, and the download of results.

An upload goes in chunks; after a broken one the service is asked how far it got (``query``) and the rest is sent from
there, in the same process or in a later one that was given the session's URL. Chunks carry no key, as the official
Python client's do not. A download is written as it comes and continued by ``Range`` where the service honours it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

import httpx2
import msgspec

from gemini_batch.api.client import worth_repeating
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.wire import RemoteFile, RemoteFileList, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from gemini_batch.api.client import Client

CHUNK = 8 * 1024 * 1024
GRANULARITY = 256 * 1024
#: Tries without any progress before an upload or download is given up; any progress starts the count again.
PATIENCE = 6
#: ``application/jsonl`` is what most clients send; the service was seen to refuse one or another at times.
MIME_TYPES = ("application/jsonl", "text/plain", "jsonl")
_CHUNK_TIMEOUT = 300.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-")


class SessionLost(ServiceError):
    """The service no longer knows the upload session; the upload starts again from the first byte."""

    code = "upload_session_lost"


class ReadAt(Protocol):
    """``read_at(offset, length)``: the bytes of the thing to upload."""

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
    if not url:
        raise ServiceError("The service opened no upload session (no upload URL in its answer).", code="upload_refused")
    return client.at_home(url)


async def query_upload(client: Client, url: str) -> tuple[str, int]:
    """Ask a session how it stands: its status (``active``, ``final``, …) and the bytes received.

    Raises SessionLost where the service does not know it any more.
    """
    try:
        response = await client.call("POST", url, content=b"", headers={"x-goog-upload-command": "query"}, keyed=False)
    except ApiError as error:
        if error.status in {400, 404, 410}:
            raise SessionLost("The service no longer knows this upload.") from error
        raise
    received = response.headers.get("x-goog-upload-size-received", "0")
    return response.headers.get("x-goog-upload-status", ""), int(received) if received.isdigit() else 0


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
    """Send the bytes from ``offset`` on and finalize; returns the file as the service describes it.

    None where the upload is complete but the answer that describes the file was lost: ask with :func:`get`.
    Raises SessionLost, ApiError or NetworkError.
    """
    idle = 0
    while True:
        data = read_at(offset, min(chunk, size - offset))
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
                offset, idle = offset + len(data), 0
                progress(offset)
                continue
            failure: ServiceError = ServiceError(f"The service left the upload in state {status or 'unknown'!r}.")
        except (ApiError, NetworkError) as error:
            if isinstance(error, ApiError) and error.status in {404, 410}:
                raise SessionLost("The service no longer knows this upload.") from error
            if not worth_repeating(error):
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
        if received > offset:
            idle = 0
        offset = min(received, size)
        progress(offset)


def _described(body: bytes) -> RemoteFile | None:
    class _Envelope(msgspec.Struct):
        file: RemoteFile | None = None

    try:
        return read(body, _Envelope).file
    except ServiceError:
        return None


async def get(client: Client, name: str) -> RemoteFile:
    """One file. A file that is missing, expired, deleted or another project's is a 403, not a 404."""
    response = await client.call("GET", client.url(f"files/{quote(name.removeprefix('files/'), safe='')}"))
    return read(response.content, RemoteFile)


async def listing(client: Client, *, page_size: int = 100) -> AsyncIterator[list[RemoteFile]]:
    """All files of the key's project, page by page."""
    token = ""
    while True:
        params = {"pageSize": str(page_size), **({"pageToken": token} if token else {})}
        page = read((await client.call("GET", client.url("files"), params=params)).content, RemoteFileList)
        yield page.files
        if not page.next_page_token or page.next_page_token == token:
            return
        token = page.next_page_token


async def delete(client: Client, name: str) -> None:
    """Delete one file."""
    await client.call("DELETE", client.url(f"files/{quote(name.removeprefix('files/'), safe='')}"))


async def download(client: Client, name: str, part: Path, *, progress: Callable[[int], None] = lambda _: None) -> int:
    """Download a result file into ``part``, going on from the bytes that are there already; returns its size.

    Only the download path knows result files: their ids are longer than the Files API's own rule allows, so that
    asking for one by ``get`` is refused. Raises ApiError or NetworkError when there was no progress for long.
    """
    quoted = quote(name.removeprefix("files/"), safe="")
    url = client.url(f"files/{quoted}:download")
    idle = 0
    while True:
        offset = part.stat().st_size if part.exists() else 0
        try:
            return await _download_once(client, url, part, offset, progress)
        except (ApiError, NetworkError) as error:
            if isinstance(error, ApiError) and error.status == 416 and offset:
                part.unlink()  # what is there is longer than the file: not ours, start again
            elif isinstance(error, ApiError) and error.status == 404 and "/download/" not in url:
                url = client.url(f"files/{quoted}:download", prefix="/download")  # the documentation's path
            elif not worth_repeating(error):
                raise
            else:
                idle = 0 if part.exists() and part.stat().st_size > offset else idle + 1
                if idle >= PATIENCE:
                    raise
                await client.pause(max(1, idle), error)


async def _download_once(client: Client, url: str, part: Path, offset: int, progress: Callable[[int], None]) -> int:
    # `identity`: a compressed body would make offsets and lengths speak of other bytes than those on disk.
    headers = {"accept-encoding": "identity", **({"range": f"bytes={offset}-"} if offset else {})}
    async with client.stream("GET", url, params={"alt": "media"}, headers=headers) as response:
        continued = _CONTENT_RANGE.match(response.headers.get("content-range", ""))
        start = int(continued.group(1)) if response.status_code == 206 and continued else 0
        if start not in {0, offset}:
            raise NetworkError("The service sent another part of the file than was asked for.", sent=True)
        length = response.headers.get("content-length", "")
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            done = start
            try:
                async for piece in response.aiter_raw():
                    file.write(piece)
                    done += len(piece)
                    progress(done)
            except httpx2.HTTPError as error:
                raise NetworkError(f"The download broke off after {done} bytes.", sent=True) from error
        if length.isdigit() and done - start != int(length):
            raise NetworkError(f"The download ended early: {done - start} of {length} bytes.", sent=True)
        return done
