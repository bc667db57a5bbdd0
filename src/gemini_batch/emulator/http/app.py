"""What every operation over HTTP has in common: callers, keys, errors, and work on batches before reading.

Operations have names (``batches.create``, ``files.upload.chunk``), which wire faults refer to. Whatever may block
runs in a thread; the bytes of uploads and downloads pass through the event loop, and so do small ordinary calls that
the built-in generator answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gemini_batch.emulator.http import bodies, openai_paths
from gemini_batch.emulator.http.broken_transport import Broken
from gemini_batch.emulator.http.callers import Callers, check_json, credential, vertex_owner
from gemini_batch.emulator.http.routes import operations
from gemini_batch.emulator.http.streamed import Streamed
from gemini_batch.emulator.http.unserved import unserved
from gemini_batch.emulator.http.wire_faults import Player
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.messages.calls import Call, Download, Reply
from gemini_batch.emulator.messages.streams import STREAM, error_body
from gemini_batch.emulator.responders import builtin
from gemini_batch.emulator.service.whole_uploads import WholeUpload, is_whole
from gemini_batch.emulator.state import models
from gemini_batch.emulator.vertex import loads
from gemini_batch.emulator.vertex.routes import QUOTED
from gemini_batch.emulator.vertex.storage import uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from gemini_batch.emulator.http.routes import Work
    from gemini_batch.emulator.messages.calls import Receiver
    from gemini_batch.emulator.messages.streams import Stream
    from gemini_batch.emulator.service.core import Emulator

_CHUNK = frozenset({"files.upload.chunk", "files.upload.query", "files.upload.cancel"})
_WHOLE = "files.upload.whole"
_STREAMED = _CHUNK | {_WHOLE, loads.INSERT} | uploads.RECEIVED
#: The key of what is called when a request is over, in its scope.
_LEAVING = "gemini_batch.leaving"
_ANSWERED = frozenset({"models.generateContent", "models.embedContent", STREAM})
#: The largest body, in bytes, of a call that is answered without a thread.
_SMALL = 64 * 1024
_VERSIONS = frozenset({"v1", "v1beta", "v1alpha"})
#: Paths without a version begin with these.
_UNVERSIONED = frozenset({"emulator", ".well-known", "storage", "bigquery"})
#: Operations of other hosts, which have versions of their own, and which need no credentials: Google's clients send
#: none to an emulator.
_OPEN = ("storage.", "bigquery.")
_VERTEX_VERSIONS = frozenset({"v1", "v1beta1"})


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
        if head in ("upload", "download") and not path.startswith(QUOTED):
            full = f"/{head}/{{version}}/{rest}"
        else:
            full = path if head in _UNVERSIONED or path.startswith(QUOTED) else f"/{{version}}{path}"
        methods = ["POST", "PUT"] if operation == "files.upload" else method.split("|")

        async def endpoint(request: Request) -> Response:
            named = _named(request, operation)
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
            await bodies.drain(request)
            return _refused(failure, request, operation)
        # While nothing is armed, nothing intervenes.
        player = self._player if self._world.faults.wire else None
        try:
            if player and (breaking := player.incoming(call, request)) is not request:
                request, player = breaking, None
            if request.method not in ("GET", "HEAD") and operation not in _STREAMED:
                call = call.with_body(await bodies.read(request, self._world.limits.quotas.inline))
            leaving: list[Callable[[], None]] = request.scope.setdefault(_LEAVING, [])
            if player and (answer := await player.before(call, leaving)) is not None:
                if not (isinstance(answer, Broken) and answer.abrupt):
                    await bodies.drain(request)
                return answer
            response = await self._do(request, call, work)
        except errors.ApiFailure as failure:
            response = _refused(failure, request, operation)
        except Exception as error:  # noqa: BLE001 - whatever failed, the caller gets an answer that says so
            shown = f"The emulator failed: {type(error).__name__}: {error}"
            response = _refused(errors.internal(shown), request, operation)
        if player:
            response = await player.after(call, response)
        await bodies.drain(request)
        return response

    async def _do(self, request: Request, call: Call, work: Work | None) -> Response:
        if call.operation in _STREAMED:
            return await self._received(request, call, self._receiver(call, work))
        if request.method == "GET" and not call.operation.startswith("emulator."):
            # Reading moves the batches on; an operation that changes something finds them as they were last read.
            await anyio.to_thread.run_sync(self._world.engine.advance)
        if call.operation == "files.download":
            file = await anyio.to_thread.run_sync(self._world.files.open, call)
            return bodies.send(file, call.headers.get("range", ""), ranges=self._world.ranges)
        if work is None:
            work = self._world.uploads.start
        if self._quick(call):
            made = work(call)
        else:
            made = await anyio.to_thread.run_sync(work, call)
        if isinstance(made, Download):
            wanted = call.headers.get("range", "")
            return bodies.send(made.file, wanted, ranges=self._world.ranges, further=made.headers)
        return _respond(made) if isinstance(made, Reply) else Streamed(cast("Stream", made))

    def _receiver(self, call: Call, work: Work | None) -> Callable[[], Receiver]:
        if call.operation in _CHUNK:
            return lambda: self._world.uploads.open_chunk(call)
        if call.operation == _WHOLE:
            return lambda: WholeUpload(self._world.uploads, call)
        assert work is not None
        return lambda: cast("Receiver", work(call))

    def _quick(self, call: Call) -> bool:
        """Whether the work takes less time than a thread: the built-in generator answers a small call."""
        return (
            call.operation in _ANSWERED and len(call.body) <= _SMALL and self._world.engine.responder is builtin.respond
        )

    def _call(self, request: Request, operation: str) -> Call:
        if operation.startswith(_OPEN):
            return self._made(request, operation, "")
        if "project" in request.path_params:
            return self._made(request, operation, vertex_owner(request, _VERTEX_VERSIONS))
        if request.path_params.get("version", "v1") not in _VERSIONS:
            raise errors.not_found()
        if operation.startswith(openai_paths.PREFIX):
            openai_paths.check_version(request.path_params["version"])
            known = openai_paths.key(request.headers)
        else:
            known = credential(request.headers, request.query_params, bearer=self._world.bearer)
        keyless = operation in _CHUNK or operation.startswith("emulator.") or operation == "webhooks.keys"
        if not known and not keyless:
            raise errors.no_key()
        return self._made(request, operation, self._world.store.project(known) if known else "")

    def _made(self, request: Request, operation: str, owner: str) -> Call:
        names = {name: str(value) for name, value in request.path_params.items()}
        if request.scope["path"].startswith(QUOTED):
            names = {name: unquote(value) for name, value in names.items()}
        if tuned := names.pop("tuned", None):
            names["model"] = models.TUNED + tuned
        return Call(
            operation=operation,
            version=names.pop("version", ""),
            names=names,
            query=request.query_params,
            headers=request.headers,
            owner=owner,
            base=f"{request.scope['scheme']}://{request.headers['host']}",
            lenient=self._world.engine.lenient,
        )

    async def _received(self, request: Request, call: Call, begin: Callable[[], Receiver]) -> Response:
        """Pass a body on as it arrives. The chunks of one upload take turns."""
        bodies.check_uncoded(request)
        upload_id = call.query.get("upload_id")
        lock = self._chunks.setdefault(upload_id, asyncio.Lock()) if upload_id else contextlib.nullcontext()
        async with lock:
            receiver = await anyio.to_thread.run_sync(begin)
            try:
                return _respond(await bodies.receive(request, receiver))
            finally:
                receiver.close()


class _Guarded:
    """Refuses callers that :class:`Callers` refuses, before any route is looked up."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith(QUOTED):
            scope["path"] = _undecoded(scope)
        if scope["type"] == "http" and (refused := self._callers.refusal(Headers(scope=scope))):
            await bodies.drain(Request(scope, receive))
            app = _respond(Reply.refused(refused))
        try:
            await app(scope, receive, send)
        finally:
            for leave in scope.get(_LEAVING, ()):
                leave()


def _undecoded(scope: Scope) -> str:
    """The path as it was sent."""
    return scope["raw_path"].partition(b"?")[0].decode("latin-1") if "raw_path" in scope else quote(scope["path"])


def _named(request: Request, operation: str) -> str:
    """The operation that a request means, where its path alone does not say it."""
    if operation == "files.upload":
        return _upload_operation(request)
    if operation == uploads.ANY:
        return uploads.operation(request.method, request.query_params, request.headers)
    if operation == "storage.objects.get" and request.query_params.get("alt") == "media":
        return "storage.objects.download"
    return operation


def _upload_operation(request: Request) -> str:
    if "upload_id" not in request.query_params:
        return _WHOLE if is_whole(request.headers, request.query_params) else "files.upload.start"
    command = request.headers.get("x-goog-upload-command", "").strip().lower()
    return f"files.upload.{command}" if command in ("query", "cancel") else "files.upload.chunk"


async def _nowhere(request: Request, error: Exception) -> Response:
    del error
    await bodies.drain(request)
    if refused := openai_paths.refusal(request.url.path):
        return _refused(refused, request, openai_paths.PREFIX)
    name = unserved(request.method, request.url.path)
    return _respond(Reply.refused(errors.unserved(name) if name else errors.not_found()))


def _refused(failure: errors.ApiFailure, request: Request, operation: str) -> Response:
    reply = Reply.refused(failure)
    return _respond(replace(reply, body=error_body(operation, request.query_params, reply.body)))


def _respond(reply: Reply) -> Response:
    response = Response(reply.body, reply.status)
    response.raw_headers = bodies.raw({**reply.headers, "Content-Length": str(len(reply.body))})
    return response
