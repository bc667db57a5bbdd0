"""What the verbs of an asynchronous client share: a session that is opened once and closed at the end."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from gemini_batch.events import Event, EventHandler, Notice, ignore_events
from gemini_batch.objects.address import is_address
from gemini_batch.objects.names import renamed
from gemini_batch.session import Session
from gemini_batch.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")
B = TypeVar("B", bound="AsyncBase")


class AsyncBase:
    """The life of an asynchronous client; :class:`gemini_batch.AsyncGeminiBatch` says what the arguments mean."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        offline: bool | None = None,
        on_event: EventHandler = ignore_events,
    ) -> None:
        self._settings = settings
        self._offline = offline
        self._on_event = on_event if on_event is ignore_events else _with_addresses(on_event)
        self._opened: Session | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the ledger and the connection. Jobs are not affected."""
        self._closed = True
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__()

    def _session(self) -> Session:
        """What all calls share. Raises UsageError for invalid settings."""
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._opened is None:
            settings = self._settings or load_settings(offline=self._offline)
            if self._offline is not None:
                settings = dataclasses.replace(settings, offline=self._offline)
            self._opened = Session(settings, emit=self._on_event)
            self._opened.name_ignored()
        return self._opened


def _with_addresses(on_event: EventHandler) -> EventHandler:
    """The same handler, to which notices name addresses instead of the files that stand in for objects."""

    def handle(event: Event) -> None:
        on_event(renamed(event) if isinstance(event, Notice) else event)

    return handle


def takes_addresses(
    *, reads: str | None = None, writes: str | None = None, folders: tuple[str, ...] = (), keeps: bool = True
) -> Callable[
    [Callable[Concatenate[B, P], Coroutine[Any, Any, T]]], Callable[Concatenate[B, P], Coroutine[Any, Any, T]]
]:
    """Let a verb take the address of an object for the argument ``reads``, and for ``writes``.

    ``folders``: arguments that name folders on this machine only. ``keeps``: whether the verb works with the state
    folder; what it writes is locked then.
    """

    def decorate(verb: Callable[Concatenate[B, P], Coroutine[Any, Any, T]]) -> Any:
        names = [name for name in (reads, writes, *folders) if name is not None]
        takes_tables = "table" in inspect.signature(verb).parameters

        @functools.wraps(verb)
        async def with_objects(self: B, *args: P.args, **kwargs: P.kwargs) -> T:
            bound = inspect.signature(verb).bind(self, *args, **kwargs)
            given = bound.arguments
            if not any(is_address(given.get(name)) for name in names):
                return await verb(self, *args, **kwargs)
            from gemini_batch.commands.objects import Objects, refuse_folder, shown

            for name in folders:
                refuse_folder(f"--{name.replace('_', '-')}", given.get(name))
            async with Objects(self._session if keeps else None, self._on_event) as objects:
                if writes is not None and is_address(given.get(writes)):
                    given[writes] = await objects.write(given[writes], field=f"--{writes}", lock=keeps)
                if reads is not None and is_address(given.get(reads)):
                    given[reads] = await objects.read(given[reads], given.get("table", {}) if takes_tables else None)
                return shown(await verb(*bound.args, **bound.kwargs))

        return with_objects

    return decorate
