"""Objects in Cloud Storage: the resumable upload, metadata, list, delete and download, by the JSON API.

An upload is described as the rest of the program knows uploads: a session that is asked how much it has, and a file.
"""

from __future__ import annotations

import asyncio
import glob
import re
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import msgspec

from gemini_batch.api import files
from gemini_batch.api.files import SessionLost
from gemini_batch.api.pages import pages
from gemini_batch.api.trouble import unknown_upload
from gemini_batch.errors import ApiError
from gemini_batch.jsonl import private_open
from gemini_batch.reading import Number, to_int
from gemini_batch.wire import ListPage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.api.client import Client, Reply
    from gemini_batch.api.files import ReadAt

#: Of a session that goes on (308) and one that is complete. cloud.google.com, *Resumable uploads*.
_GOES_ON = 308
_SESSION = frozenset({200, 201, _GOES_ON})
_COUNT = re.compile(r"[0-9]{1,20}")
_RANGE = re.compile(r"bytes=0-([0-9]{1,18})")
#: Bytes that are copied at a time.
_PIECE = 4 * 1024 * 1024


class StoredObject(msgspec.Struct, rename="camel"):
    """An object's metadata."""

    bucket: str = ""
    name: str = ""
    size: Number = None
    generation: str | None = None
    content_type: str | None = None
    md5_hash: str | None = None
    time_created: str | None = None


class _Objects(ListPage, rename="camel"):
    items: list[msgspec.Raw] | None = None


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and object of a ``gs://`` URI."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def _path(bucket: str, name: str) -> str:
    return f"b/{quote(bucket, safe='')}/o/{quote(name, safe='')}"


def _url(client: Client, path: str, *, prefix: str = "") -> str:
    return f"{client.base_url}{prefix}/storage/v1/{path}"


async def start_upload(client: Client, bucket: str, name: str, *, size: int, mime_type: str) -> str:
    """Open an upload session for an object and return its URL. Raises ApiError, also where the object is there."""
    reply = await client.call(
        "POST",
        _url(client, f"b/{quote(bucket, safe='')}/o", prefix="/upload"),
        # Only if no such object is there: what is overwritten could be the input of a job.
        params={"uploadType": "resumable", "name": name, "ifGenerationMatch": "0"},
        content=msgspec.json.encode({"name": name, "contentType": mime_type}),
        headers={
            "content-type": "application/json",
            "x-upload-content-type": mime_type,
            "x-upload-content-length": str(size),
        },
    )
    return client.session_url(reply.headers.get("location", ""))


async def query_upload(client: Client, url: str) -> tuple[str, int]:
    """Query a session: ``active`` or ``final``, and the number of bytes received. Raises SessionLost, ApiError."""
    try:
        reply = await client.call(
            "PUT", url, content=b"", headers={"content-range": "bytes */*"}, keyed=False, expected=_SESSION
        )
    except ApiError as error:
        if unknown_upload(error):
            raise SessionLost("Cloud Storage no longer knows this upload.") from error
        raise
    return _state(reply), _received(reply)


def _state(reply: Reply) -> str:
    return "active" if reply.status == _GOES_ON else "final"


def _received(reply: Reply) -> int:
    found = _RANGE.fullmatch(reply.headers.get("range", ""))
    return int(found[1]) + 1 if found else 0


async def send_upload(
    client: Client, url: str, read_at: ReadAt, *, size: int, offset: int, progress: Callable[[int], None]
) -> StoredObject | None:
    """Send the bytes from ``offset`` on; returns the object, None if the answer that describes it was lost.

    Raises SessionLost, ApiError or NetworkError; StateError if there are fewer bytes to read than ``size``.
    """

    async def put(start: int, length: int) -> tuple[str, Reply]:
        reply = await client.call(
            "PUT",
            url,
            content=files.pieces(read_at, start, length, size),
            headers={
                "content-length": str(length),
                "content-range": f"bytes {start}-{start + length - 1}/{size}",
                "content-type": "application/octet-stream",
            },
            keyed=False,
            repeat=False,
            idle=client.bounds.idle_large,
            expected=_SESSION,
        )
        if _state(reply) == "active" and _received(reply) != start + length:
            return "incomplete", reply  # less was kept than was sent: the session is asked
        return _state(reply), reply

    done = await files.send_chunks(
        client, put, lambda: query_upload(client, url), size=size, offset=offset, chunk=files.CHUNK, progress=progress
    )
    return None if done is None else client.read(done, StoredObject)


async def get(client: Client, bucket: str, name: str) -> StoredObject:
    """The metadata of an object. Raises ApiError 404."""
    return client.read(await client.call("GET", _url(client, _path(bucket, name))), StoredObject)


async def delete(client: Client, bucket: str, name: str) -> None:
    """Delete an object. Raises ApiError 404."""
    await client.call("DELETE", _url(client, _path(bucket, name)), expected=frozenset({200, 204}))


async def listing(client: Client, bucket: str, prefix: str) -> list[StoredObject]:
    """All objects whose names begin so, in the order of their names. Raises ServiceError, ApiError."""
    url = _url(client, f"b/{quote(bucket, safe='')}/o")
    found = [
        stored
        async for page in pages(client, url, _Objects, "items", StoredObject, asked={"prefix": prefix})
        for stored in page
    ]
    return sorted(found, key=lambda stored: stored.name)


async def download(
    client: Client, objects: list[StoredObject], part: Path, *, progress: Callable[[int, int | None], None]
) -> int:
    """Download objects of lines one after the other to ``part``; returns its size.

    Each is a piece of its own until all are there, so that what an earlier process has of it is continued. A piece is
    one generation of an object, and as long as its bytes are: the size in a list is that of compressed bytes if the
    object is stored compressed. The size of the whole is stated while every size that was listed is right. After each
    object but the last, a line ends; it may be an empty one.
    """
    part.unlink(missing_ok=True)
    sizes = [to_int(stored.size) if stored.size is not None else None for stored in objects]
    total = None if None in sizes else sum(size + 1 for size in sizes if size is not None) - 1
    pieces, start = [_piece(part, number, stored) for number, stored in enumerate(objects)], 0
    for stored, piece, size in zip(objects, pieces, sizes, strict=True):
        came = await _download_one(client, stored, piece, _after(start, total, progress))
        total = total if came == size else None
        start += came + 1
    with private_open(part, "wb") as file:
        for piece in pieces:
            if piece != pieces[0]:
                file.write(b"\n")
            await _append(piece, file)
            piece.unlink()
    for left in part.parent.glob(f"{glob.escape(part.name)}-*"):  # of generations that are gone
        left.unlink()
    progress(start - 1, total)
    return start - 1


def _piece(part: Path, number: int, stored: StoredObject) -> Path:
    return part.with_name(f"{part.name}-{number}-{_generation(stored)}")


def _generation(stored: StoredObject) -> str:
    """Which of the objects that have had this name; empty if that is not stated."""
    return stored.generation if stored.generation and _COUNT.fullmatch(stored.generation) else ""


def _after(start: int, total: int | None, progress: Callable[[int, int | None], None]) -> Callable[[int, object], None]:
    return lambda done, _: progress(start + done, total)


async def _append(piece: Path, file: IO[bytes]) -> None:
    with piece.open("rb") as source:
        while data := source.read(_PIECE):
            file.write(data)
            await asyncio.sleep(0)


async def _download_one(
    client: Client, stored: StoredObject, piece: Path, progress: Callable[[int, int | None], None]
) -> int:
    path = _path(stored.bucket, stored.name)
    urls = [_url(client, path, prefix="/download"), _url(client, path)]
    # If the object is replaced meanwhile, the rest is not that of another one.
    params = {"generation": generation} if (generation := _generation(stored)) else {}
    came = await files.download_from(client, urls, piece, progress, params=params)
    if not piece.exists():
        with private_open(piece, "wb"):
            pass
    return came
