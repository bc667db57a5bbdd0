"""The blocking client, and each of its verbs as a function.

The verbs are those of :class:`gemini_batch.AsyncGeminiBatch`, derived from them one by one, so the two cannot differ.
They run on an event loop in a thread of its own, and the caller's thread waits for events and for the end. So they also
work where a loop is running already, as in a notebook, and events arrive on the thread that called.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import weakref
from concurrent.futures import Future
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from gemini_batch.aio import named_as
from gemini_batch.async_client import AsyncGeminiBatch
from gemini_batch.errors import Interrupted
from gemini_batch.events import Event, EventHandler, Notice, ignore_events

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gemini_batch.settings import Settings

__all__ = [
    "GeminiBatch",
    "adopt",
    "cancel",
    "clean",
    "create",
    "doctor",
    "estimate",
    "list_jobs",
    "prepare",
    "results",
    "retry",
    "run",
    "run_shards",
    "show",
    "spend_report",
    "status",
    "validate",
]

P = ParamSpec("P")
T = TypeVar("T")
#: What a call is told from the loop's thread: its events, and at last the task that has ended.
Inbox = SimpleQueue[Event | asyncio.Task[Any]]

#: Waiting for a queue hears Ctrl-C at once; on Windows only when the time is up. In seconds.
_WAKE = 0.5 if sys.platform == "win32" else None
#: The inbox of the call that is being worked on; its tasks and threads inherit the context.
_inbox: ContextVar[Inbox] = ContextVar("inbox")


def _post(event: Event) -> None:
    _inbox.get().put(event)


def _next(inbox: Inbox) -> Event | asyncio.Task[Any]:
    while True:
        try:
            return inbox.get(timeout=_WAKE)
        except Empty:
            continue


def _drain(inbox: Inbox, heard: EventHandler | None) -> None:
    """Wait until the work has stopped, and pass on what it has to say."""
    while not isinstance(one := _next(inbox), asyncio.Task):
        if heard is not None and isinstance(one, Notice):
            heard(one)


class _LoopThread:
    """An event loop in a thread of its own with one AsyncGeminiBatch; both begin with the first call."""

    def __init__(self, make: Callable[[], AsyncGeminiBatch]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._opened: Future[tuple[asyncio.AbstractEventLoop, AsyncGeminiBatch]] = Future()
        self._closed = False
        self._closing = asyncio.Event()
        self._ended: Future[None] = Future()
        self._tasks: set[asyncio.Task[Any]] = set()

    def call(self, work: Callable[[AsyncGeminiBatch], Coroutine[Any, Any, T]], on_event: EventHandler) -> T:
        """Do ``work`` on the loop and handle its events here.

        An exception that is raised here meanwhile (Ctrl-C, or by the handler) goes on when the work has stopped. A
        second one stops that, too: at once, where the first one lets what was begun come to its end.
        """
        inbox: Inbox = SimpleQueue()
        begun: list[asyncio.Task[T]] = []

        def begin() -> None:
            _inbox.set(inbox)
            task = loop.create_task(coroutine)
            begun.append(task)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(inbox.put)

        def stop() -> None:
            begun[0].cancel()

        with self._lock:
            loop, batch = self._open()
            coroutine = work(batch)
            loop.call_soon_threadsafe(begin)
        try:
            while not isinstance(one := _next(inbox), asyncio.Task):
                on_event(one)
        except BaseException as error:
            told = isinstance(error, (KeyboardInterrupt, Interrupted))  # not by the handler, which may fail again
            heard = on_event if told else None
            loop.call_soon_threadsafe(stop)
            try:
                _drain(inbox, heard)
            except (KeyboardInterrupt, Interrupted):
                loop.call_soon_threadsafe(stop)
                _drain(inbox, heard)
                raise
            raise
        if begun[0].cancelled():
            raise RuntimeError("this client was closed during the call")
        return begun[0].result()

    def close(self) -> None:
        """Stop what is being done, and end the thread."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._thread is None or self._opened.exception() is not None:
                return
            self._opened.result()[0].call_soon_threadsafe(self._closing.set)
        if threading.current_thread() is not self._thread:  # the garbage collector runs anywhere
            self._thread.join()
            self._ended.result()

    def _open(self) -> tuple[asyncio.AbstractEventLoop, AsyncGeminiBatch]:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="gemini-batch", daemon=True)
            thread.start()
            self._thread = thread
        return self._opened.result()

    def _run(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the loop, or by close
            if not self._opened.done():
                self._opened.set_exception(error)
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)

    async def _serve(self) -> None:
        async with self._make() as batch:
            self._opened.set_result((asyncio.get_running_loop(), batch))
            await self._closing.wait()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _blocking(
    method: Callable[Concatenate[AsyncGeminiBatch, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[GeminiBatch, P], T]:
    """The same verb for a caller who does not ``await``."""

    def verb(self: GeminiBatch, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.call(lambda batch: method(batch, *args, **kwargs), self._on_event)

    functools.update_wrapper(verb, method)
    verb.__qualname__, verb.__module__ = f"GeminiBatch.{method.__name__}", __name__
    return verb


class GeminiBatch:
    """The verbs, over one ledger and one connection, which are opened when they are first needed.

    ``settings``: by default those of the environment and of a ``.env`` in the working folder, read at the first call
    that needs them. ``offline``: True for the local emulator, False for the service, whatever the settings say.
    ``on_event`` is called on the thread that called the verb; see :mod:`gemini_batch.events`. Calls from several
    threads may overlap. Ctrl-C ends the waiting, never the job.

    Use it as a context manager, or call :meth:`close` at the end; a closed client raises ``RuntimeError``.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        offline: bool | None = None,
        on_event: EventHandler = ignore_events,
    ) -> None:
        self._on_event = on_event
        self._loop = _LoopThread(functools.partial(AsyncGeminiBatch, settings, offline=offline, on_event=_post))
        self._forgotten = weakref.finalize(self, self._loop.close)  # also at the end of the program

    def __enter__(self) -> GeminiBatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close ledger and connection. Jobs are not touched."""
        self._forgotten.detach()
        self._loop.close()

    create = _blocking(AsyncGeminiBatch.create)
    status = _blocking(AsyncGeminiBatch.status)
    results = _blocking(AsyncGeminiBatch.results)
    run = _blocking(AsyncGeminiBatch.run)
    run_shards = _blocking(AsyncGeminiBatch.run_shards)
    retry = _blocking(AsyncGeminiBatch.retry)
    show = _blocking(AsyncGeminiBatch.show)
    spend_report = _blocking(AsyncGeminiBatch.spend_report)
    estimate = _blocking(AsyncGeminiBatch.estimate)
    prepare = _blocking(AsyncGeminiBatch.prepare)
    validate = _blocking(AsyncGeminiBatch.validate)
    list_jobs = _blocking(AsyncGeminiBatch.list_jobs)
    adopt = _blocking(AsyncGeminiBatch.adopt)
    cancel = _blocking(AsyncGeminiBatch.cancel)
    clean = _blocking(AsyncGeminiBatch.clean)
    doctor = _blocking(AsyncGeminiBatch.doctor)


def _shortcut(method: Callable[Concatenate[GeminiBatch, P], T]) -> Callable[P, T]:
    """A verb as a function: one call, with the settings of the environment, and everything closed after it."""

    def function(*args: P.args, **kwargs: P.kwargs) -> T:
        with GeminiBatch() as batch:
            return method(batch, *args, **kwargs)

    return named_as(method, function, __name__)


adopt = _shortcut(GeminiBatch.adopt)
cancel = _shortcut(GeminiBatch.cancel)
clean = _shortcut(GeminiBatch.clean)
create = _shortcut(GeminiBatch.create)
doctor = _shortcut(GeminiBatch.doctor)
estimate = _shortcut(GeminiBatch.estimate)
list_jobs = _shortcut(GeminiBatch.list_jobs)
prepare = _shortcut(GeminiBatch.prepare)
results = _shortcut(GeminiBatch.results)
retry = _shortcut(GeminiBatch.retry)
run = _shortcut(GeminiBatch.run)
run_shards = _shortcut(GeminiBatch.run_shards)
show = _shortcut(GeminiBatch.show)
spend_report = _shortcut(GeminiBatch.spend_report)
status = _shortcut(GeminiBatch.status)
validate = _shortcut(GeminiBatch.validate)
