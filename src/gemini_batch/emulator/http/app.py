"""What every operation over HTTP has in common: callers, keys, errors, and work on batches before reading.

Operations have names (``batches.create``, ``files.upload.chunk``), which wire faults refer to. Whatever may block runs
in a thread; only the bytes of uploads and downloads pass through the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gemini_batch.emulator.http import openai_paths
from gemini_batch.emulator.http.broken_transport import Broken
from gemini_batch.emulator.http.callers import Callers, check_json
from gemini_batch.emulator.http.routes import operations
from gemini_batch.emulator.http.streamed import Streamed
from gemini_batch.emulator.http.wire_faults import Player
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Reply
from gemini_batch.emulator.messages.streams import error_body
from gemini_batch.emulator.state import models

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from typing import IO

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gemini_batch.emulator.http.routes import Work
    from gemini_batch.emulator.service.core import Emulator
    from gemini_batch.emulator.service.uploads import Chunk

_CHUNK = frozenset({"files.upload.chunk", "files.upload.query", "files.upload.cancel"})
_VERSIONS = frozenset({"v1", "v1beta", "v1alpha"})
_PIECE = 1 << 20
#: A body that is too large is read up to this size and discarded, so that its sender receives the refusal.
_PATIENCE = 256 << 20


class App:
    """One emulator over HTTP. ``hosts``: further names that it may be called by."""

    def __init__(self, world: Emulator, *, hosts: Iterable[str] = ()) -> None:
        self._world = world
        self._callers = Callers(hosts)
        self._player = Player(world)
        self._chunks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    def asgi(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[self._route(*one) for one in operations(self._world)],
            exception_handlers={404: _nowhere, 405: _nowhere},
            middleware=[Middleware(_Guarded, callers=self._callers)],
        )

    def _route(self, method: str, path: str, operation: str, work: Work | None) -> Route:
        head, _, rest = path[1:].partition("/")
        if head in ("upload", "download"):
            full = f"/{head}/{{version}}/{rest}"
        else:
            full = path if head == "emulator" else f"/{{version}}{path}"
        methods = ["POST", "PUT"] if operation == "files.upload" else [method]

        async def endpoint(request: Request) -> Response:
            named = _upload_operation(request) if operation == "files.upload" else operation
            response = await self._serve(request, named, work)
            self._world.on_answer(named, response.status_code)
            return response

        return Route(full, endpoint, methods=methods)

    async def _serve(self, request: Request, operation: str, work: Work | None) -> Response:
        try:
            call = self._call(request, operation)
            if request.method == "POST" and operation.startswith("emulator."):
                check_json(request.headers)
        except errors.ApiFailure as failure:
            await _drain(request)
            return _refused(failure, request, operation)
        # While nothing is armed, nothing intervenes.
        player = self._player if self._world.faults.wire else None
        try:
            if player and (breaking := player.incoming(call, request)) is not request:
                request, player = breaking, None
            if request.method not in ("GET", "HEAD") and operation not in _CHUNK:
                call = self._call(request, operation, await _body(request, self._world.limits.quotas.inline))
            if player and (answer := await player.before(call)) is not None:
                if not (isinstance(answer, Broken) and answer.abrupt):
                    await _drain(request)
                return answer
            response = await self._do(request, call, work)
        except errors.ApiFailure as failure:
            response = _refused(failure, request, operation)
        except Exception as error:  # noqa: BLE001 - whatever failed, the caller gets an answer that says so
            shown = f"The emulator failed: {type(error).__name__}: {error}"
            response = _refused(errors.internal(shown), request, operation)
        if player:
            response = await player.after(call, response)
        await _drain(request)
        return response

    async def _do(self, request: Request, call: Call, work: Work | None) -> Response:
        if call.operation in _CHUNK:
            return await self._chunk(request, call)
        if request.method == "GET" and not call.operation.startswith("emulator."):
            # Reading moves the batches on; an operation that changes something finds them as they were last read.
            await anyio.to_thread.run_sync(self._world.engine.advance)
        if call.operation == "files.download":
            return await self._download(call)
        if work is None:
            work = self._world.uploads.start
        made = await anyio.to_thread.run_sync(work, call)
        return _respond(made) if isinstance(made, Reply) else Streamed(made)

    def _call(self, request: Request, operation: str, body: bytes = b"") -> Call:
        if request.path_params.get("version", "v1") not in _VERSIONS:
            raise errors.not_found()
        if operation.startswith(openai_paths.PREFIX):
            openai_paths.check_version(request.path_params["version"])
            key = openai_paths.key(request.headers)
        else:
            key = request.headers.get("x-goog-api-key") or request.query_params.get("key") or ""
        keyless = operation in _CHUNK or operation.startswith("emulator.")
        if not key.strip() and not keyless:
            raise errors.no_key()
        names = {name: str(value) for name, value in request.path_params.items()}
        if tuned := names.pop("tuned", None):
            names["model"] = models.TUNED + tuned
        return Call(
            operation=operation,
            version=names.pop("version", ""),
            names=names,
            query=request.query_params,
            headers=request.headers,
            owner=self._world.store.project(key.strip()) if key else "",
            base=f"{request.url.scheme}://{request.url.netloc}",
            body=body,
            lenient=self._world.engine.lenient,
        )

    async def _chunk(self, request: Request, call: Call) -> Response:
        upload_id = call.query["upload_id"]
        lock = self._chunks.setdefault(upload_id, asyncio.Lock())
        async with lock:
            chunk = await anyio.to_thread.run_sync(self._world.uploads.open_chunk, call)
            try:
                return _respond(await self._receive(request, chunk))
            finally:
                chunk.close()

    async def _receive(self, request: Request, chunk: Chunk) -> Reply:
        pieces, held = [], 0
        try:
            async for piece in request.stream():
                pieces.append(piece)
                held += len(piece)
                if held >= _PIECE:
                    await anyio.to_thread.run_sync(chunk.write, b"".join(pieces))
                    pieces, held = [], 0
            if held:
                await anyio.to_thread.run_sync(chunk.write, b"".join(pieces))
        except ClientDisconnect:
            if held:
                await anyio.to_thread.run_sync(chunk.write, b"".join(pieces))
            await anyio.to_thread.run_sync(chunk.broken)
            return Reply(b"")
        return await anyio.to_thread.run_sync(chunk.answer)

    async def _download(self, call: Call) -> Response:
        file = await anyio.to_thread.run_sync(self._world.files.open, call)
        size = file.seek(0, 2)
        start, end, headers, status = 0, size, {"Content-Type": "application/octet-stream"}, 200
        if self._world.ranges:
            headers["Accept-Ranges"] = "bytes"
            wanted = _range(call.headers.get("range", ""), size)
            if wanted is not None:
                start, end = wanted
                status = 206
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            if wanted is not None and start >= end:
                file.close()
                raise errors.ApiFailure(
                    416, "OUT_OF_RANGE", "The range is not in the file.", headers={"Content-Range": f"bytes */{size}"}
                )
        headers["Content-Length"] = str(end - start)
        response = StreamingResponse(_pieces(file, start, end), status_code=status)
        response.raw_headers = _raw(headers)
        return response


class _Guarded:
    """Refuses callers that :class:`Callers` refuses, before any route is looked up."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and (refused := self._callers.refusal(Headers(scope=scope))):
            await _drain(Request(scope, receive))
            app = _respond(Reply.refused(refused))
        await app(scope, receive, send)


def _upload_operation(request: Request) -> str:
    if "upload_id" not in request.query_params:
        return "files.upload.start"
    command = request.headers.get("x-goog-upload-command", "").strip().lower()
    return f"files.upload.{command}" if command in ("query", "cancel") else "files.upload.chunk"


async def _nowhere(request: Request, error: Exception) -> Response:
    del error
    if refused := openai_paths.refusal(request.url.path):
        return _refused(refused, request, openai_paths.PREFIX)
    return _respond(Reply.refused(errors.not_found()))


async def _body(request: Request, limit: int) -> bytes:
    """The body; of one that is too large for the service, only as much as shows that."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
    return b"".join(pieces)


async def _drain(request: Request) -> None:
    """Read the rest of a body, so that its sender receives the answer."""
    size = 0
    with contextlib.suppress(ClientDisconnect, RuntimeError):  # the client left, or everything was read
        async for piece in request.stream():
            size += len(piece)
            if size > _PATIENCE:
                return


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


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _refused(failure: errors.ApiFailure, request: Request, operation: str) -> Response:
    reply = Reply.refused(failure)
    return _respond(replace(reply, body=error_body(operation, request.query_params, reply.body)))


def _respond(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = _raw({**reply.headers, "Content-Length": str(len(reply.body))})
    return response
