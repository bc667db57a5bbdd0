"""Responders by the value of ``--responder``.

``module:function`` is any function ``(model, request) -> response`` on the service's JSON objects; Python searches the
module in the working folder first. ``openai=URL`` is any OpenAI-compatible server. An ``async`` function and a server
get several requests at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import operator
import sys
import threading
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from gemini_batch.emulator.responders.builtin import Responder

CONCURRENCY = 8
_USAGE = ("promptTokenCount", "totalTokenCount", "cachedContentTokenCount")
_HOW = "Write --responder module:function, or --responder openai=URL,model=NAME."


class Pool:
    """An async function as a responder with up to ``limit`` answers in progress, on its own event loop.

    It implements :class:`gemini_batch.emulator.engine.prefetch.Concurrent`. ``close`` is awaited on the loop at the
    end.
    """

    def __init__(
        self,
        answer: Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]],
        *,
        limit: int = CONCURRENCY,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.limit = limit
        self._answer = answer
        self._close = close
        self._slots = asyncio.Semaphore(limit)
        self._loop = asyncio.new_event_loop()
        # A daemon thread: a process that is told to stop does not wait for a model that is still writing.
        self._thread = threading.Thread(target=self._loop.run_forever, name="gemini-batch responder", daemon=True)
        self._thread.start()

    def __call__(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request and block until it is done."""
        return self.submit(model, request).result()

    def submit(self, model: str, request: dict[str, Any]) -> Future[dict[str, Any]]:
        """Start an answer as soon as one of the ``limit`` slots is free."""
        return asyncio.run_coroutine_threadsafe(self._one(model, request), self._loop)

    async def _one(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        async with self._slots:
            return await self._answer(model, request)

    def close(self) -> None:
        """Cancel the answers in progress and stop the loop."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._close is not None:
            await self._close()


@contextlib.contextmanager
def opened(spec: str, *, folder: Path, openai_key: str | None = None) -> Iterator[Responder]:
    """The responder that ``spec`` names, until the block ends.

    ``folder``: searched for modules first. ``openai_key``: the key of an OpenAI-compatible server; never stored.
    Raises :class:`UsageError` for a spec, a module or a function that cannot be used.
    """
    head, *options = spec.split(",")
    if head.startswith("openai="):
        responder = _server(head.removeprefix("openai="), options, openai_key)
    else:
        responder = _function(head, options, folder)
    try:
        yield responder
    finally:
        if isinstance(responder, Pool):
            responder.close()


def _server(url: str, options: list[str], key: str | None) -> Responder:
    from gemini_batch.emulator.responders.openai import TIMEOUT, OpenAI, Server

    given = _options(options, {"model", "concurrency", "timeout"})
    limit = _limit(given)
    try:
        timeout = float(given.get("timeout", TIMEOUT))
    except ValueError:
        timeout = 0.0
    if not 0 < timeout <= 86_400:
        raise UsageError(f"timeout={given['timeout']} is not a number of seconds up to one day (86400).", next=_HOW)
    server = OpenAI(Server(url=url, model=given.get("model"), timeout=timeout), key=key, concurrency=limit)
    return Pool(server, limit=limit, close=server.close)


def _function(name: str, options: list[str], folder: Path) -> Responder:
    module_name, colon, path = name.partition(":")
    if not colon or not module_name or not path:
        raise UsageError(f"{name!r} does not name a responder.", next=_HOW)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the first line on stdout is the emulator's URL
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script that exits when it is imported is not usable as a module
        raise UsageError(
            f"The module {module_name} could not be imported: {type(error).__name__}: {error}",
            next=f"Python searches {folder} first. Try: python -c 'import {module_name}'",
        ) from error
    try:
        function = operator.attrgetter(path)(module)
        inspect.signature(function).bind("model", {})
    except AttributeError:
        raise UsageError(f"There is no {path} in {module.__file__ or module_name}.", next=_HOW) from None
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} does not accept two arguments, the model and the request.",
            next="Write it as: def answer(model: str, request: dict) -> dict",
        ) from None
    given = _options(options, {"concurrency"})
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):

        async def answer(model: str, request: dict[str, Any]) -> dict[str, Any]:
            return _checked(await function(model, request))

        return Pool(answer, limit=_limit(given))
    if given:
        raise UsageError(
            f"{name} is not an async function, so it answers one request at a time.",
            next="Make it an async function, or omit concurrency.",
        )
    return lambda model, request: _checked(function(model, request))


def _options(options: list[str], known: set[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if name not in known or not equals or not value or name in given:
            raise UsageError(
                f"{option!r} is not an option of this responder; its options are {', '.join(sorted(known))}.", next=_HOW
            )
        given[name] = value
    return given


def _limit(given: dict[str, str]) -> int:
    text = given.get("concurrency", str(CONCURRENCY))
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 1000):
        raise UsageError(f"concurrency={text} is not a number from 1 to 1000.", next=_HOW)
    return int(text)


def _checked(response: Any) -> dict[str, Any]:
    """A function's return value, if it can be an answer. Raises ``TypeError``, which becomes the row's error."""
    if not isinstance(response, dict):
        raise TypeError(f"the responder returned {type(response).__name__}, not a dict")
    usage = response.get("usageMetadata")
    counts = usage if isinstance(usage, dict) else {}
    if (usage is not None and counts is not usage) or not all(isinstance(counts.get(n, 0), int) for n in _USAGE):
        raise TypeError("usageMetadata in the responder's answer must be a dict of whole numbers")
    return response
