"""Serving the emulator: in a thread (:func:`serve`), or until interrupted (:func:`run_forever`).

The socket listens before :func:`serve` returns, so the first request is never refused. Stopping closes idle connections
at once, gives requests in progress a moment to finish, and leaves unfinished batches at a checkpoint. Nothing is
logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gemini_batch.emulator.engine.engine import BUDGET
from gemini_batch.emulator.http import broken_transport
from gemini_batch.emulator.http.app import App
from gemini_batch.emulator.responders.builtin import Responder, respond
from gemini_batch.emulator.service.core import Emulator
from gemini_batch.emulator.vertex.storage.objects import bucket_name
from gemini_batch.errors import Terminated

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from uvicorn.server import ServerState

    from gemini_batch.emulator.http.startup import Setup

#: How long the background thread sleeps when there is no work, in seconds.
_IDLE = 0.05
#: How long a stop waits for requests in progress, in seconds.
_GRACE = 2.0
_TICK = 0.001


@dataclass(frozen=True, slots=True)
class Running:
    """A served emulator: its base URL (``http://127.0.0.1:PORT``) and the :class:`Emulator` behind it."""

    url: str
    emulator: Emulator


@contextlib.contextmanager
def serve(
    data: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    queue_delay: float = 0.0,
    rows_per_second: float | None = None,
    background: bool = False,
    responder: Responder = respond,
    ranges: bool = True,
    lenient: bool = False,
    bearer: bool = False,
    list_outputs: bool = False,
    openai_rows: bool = False,
    rehearsal: bool = False,
    setup: Setup | None = None,
    allow_hosts: Iterable[str] = (),
    deliver_to: Iterable[str] = (),
    buckets: Iterable[str] = (),
) -> Iterator[Running]:
    """Serve ``data`` from a thread until the block ends.

    ``queue_delay``: seconds that new batches stay PENDING. ``rows_per_second``: their speed; None is as fast as
    possible. ``background``: batches make progress without requests. ``ranges``: whether downloads honour HTTP Range.
    ``rehearsal``: rows may refer to files and caches that were never here, because the service may have them.
    ``lenient``: refuse only what the service certainly refuses. ``bearer``: accept OAuth tokens as well as API keys.
    ``list_outputs``: show output files in the list of files. ``openai_rows``: accept files of rows in OpenAI's shape
    for every job. ``setup``: the faults and quotas to start with.
    ``allow_hosts``: names that a caller's ``Host`` may have, besides ``host`` and those of the loopback.
    ``deliver_to``: hosts that webhooks may be delivered to, besides addresses of the loopback. ``buckets``: buckets of
    Cloud Storage to create, unless they exist.
    Raises ``OSError`` if the port is taken, :class:`~gemini_batch.errors.StateError` for data of a newer version,
    :class:`~gemini_batch.errors.UsageError` for a wrong name of a bucket.
    """
    named = [bucket_name(bucket) for bucket in buckets]
    listener = _listen(host, port)
    try:
        emulator = Emulator(
            data,
            responder,
            ranges=ranges,
            rehearsal=rehearsal,
            lenient=lenient,
            bearer=bearer,
            list_outputs=list_outputs,
        )
    except BaseException:
        listener.close()
        raise
    emulator.batches.queue_delay = queue_delay
    emulator.batches.rows_per_second = rows_per_second
    emulator.deliveries.hosts = frozenset(deliver_to)
    emulator.batches.openai_rows = openai_rows
    for bucket in named:
        emulator.cloud.objects.ensure_bucket(bucket)
    if setup is not None:
        setup.apply(emulator)
    server = _server(App(emulator, hosts=filter(None, [host, *allow_hosts])))
    threads = [threading.Thread(target=server.run, args=([listener],), name="emulator", daemon=True)]
    threads.append(threading.Thread(target=emulator.deliveries.run, name="gemini-batch webhooks", daemon=True))
    if background:
        threads.append(threading.Thread(target=_work, args=(emulator,), name="gemini-batch batches", daemon=True))
    for thread in threads:
        thread.start()
    address, bound = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    try:
        yield Running(f"http://{shown}:{bound}", emulator)
    finally:
        emulator.engine.stop.set()
        emulator.deliveries.end()
        server.end()
        for thread in threads:
            thread.join()
        emulator.close()


def run_forever(
    data: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    queue_delay: float = 0.0,
    rows_per_second: float | None = None,
    responder: Responder = respond,
    lenient: bool = False,
    bearer: bool = False,
    list_outputs: bool = False,
    openai_rows: bool = False,
    setup: Setup | None = None,
    allow_hosts: Iterable[str] = (),
    deliver_to: Iterable[str] = (),
    buckets: Iterable[str] = (),
) -> None:
    """Serve until interrupted, with progress in the background; the base URL is the first line on stdout.

    Without ``data``, everything is kept in a temporary folder that is removed at the end. After a clean stop,
    ``KeyboardInterrupt`` passes through, and SIGTERM raises :class:`~gemini_batch.errors.Terminated`.
    """
    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _terminated))
        folder = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gemini-batch-emulator-")))
        running = stack.enter_context(
            serve(
                folder,
                host=host,
                port=port,
                queue_delay=queue_delay,
                rows_per_second=rows_per_second,
                background=True,
                responder=responder,
                lenient=lenient,
                bearer=bearer,
                list_outputs=list_outputs,
                openai_rows=openai_rows,
                setup=setup,
                allow_hosts=allow_hosts,
                deliver_to=deliver_to,
                buckets=buckets,
            )
        )
        sys.stdout.write(f"{running.url}\n")
        sys.stdout.flush()
        threading.Event().wait()


def _terminated(number: int, frame: object) -> NoReturn:
    del number, frame
    raise Terminated("The emulator was stopped by SIGTERM.")


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, with TCP named explicitly: asyncio disables Nagle's algorithm only for such sockets."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def _work(emulator: Emulator) -> None:
    while not emulator.engine.stop.is_set():
        if not emulator.engine.advance(BUDGET):
            emulator.engine.stop.wait(_IDLE)


def _server(app: App) -> Any:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    asked = threading.Event()

    class Server(uvicorn.Server):
        """uvicorn's server with a prompt stop: its own checks only ten times a second whether it should stop."""

        _ending: asyncio.Event | None = None
        _loop: asyncio.AbstractEventLoop | None = None

        def end(self) -> None:
            """Stop, from any thread, at any time."""
            asked.set()
            loop, ending = self._loop, self._ending
            if loop is not None and ending is not None:
                with contextlib.suppress(RuntimeError):  # the loop has just ended
                    loop.call_soon_threadsafe(ending.set)

        async def main_loop(self) -> None:
            self._ending = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            if not asked.is_set():
                await self._ending.wait()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            for one in sockets or []:
                # Not closed yet: a connection that is being accepted would be left incomplete.
                with contextlib.suppress(NotImplementedError):
                    asyncio.get_running_loop().remove_reader(one)
            await _close(self.server_state)
            for server in self.servers:
                server.close()
            for one in sockets or []:
                one.close()

    class Protocol(H11Protocol):
        """h11, because httptools writes header names in lower case, and some clients expect Title-Case."""

        def __init__(self, *args: Any, **named: Any) -> None:
            super().__init__(*args, **named)
            self.app = broken_transport.with_transport(self.app, lambda: self.transport)

    config = uvicorn.Config(
        app.asgi(),
        loop="asyncio",
        http=Protocol,
        lifespan="off",
        ws="none",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=60,
    )
    return Server(config)


async def _close(state: ServerState) -> None:
    """Close all connections: idle ones now, others after their answer, slow ones when the grace period ends."""
    loop, told = asyncio.get_running_loop(), set[Any]()
    end = loop.time() + _GRACE
    while loop.time() < end:
        # Tasks are requests, and connections that are being accepted.
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in state.connections - told:
            told.add(connection)
            connection.shutdown()
        if tasks:
            await asyncio.wait(tasks, timeout=_TICK)
        elif state.connections:
            await asyncio.sleep(_TICK)
        else:
            break
    for connection in list(state.connections):
        connection.transport.abort()
    await asyncio.sleep(0)
