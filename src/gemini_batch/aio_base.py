"""What the verbs of ``AsyncGeminiBatch`` share: a session that is opened once and closed at the end.

Here a verb also becomes a function, which opens and closes a client for one call.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

from gemini_batch.events import EventHandler, ignore_events
from gemini_batch.session import Session
from gemini_batch.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")
Client = TypeVar("Client", bound="AsyncBase")


class AsyncBase:
    """The life of an asynchronous client: the class with the verbs says what its arguments mean."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        offline: bool | None = None,
        on_event: EventHandler = ignore_events,
    ) -> None:
        self._settings = settings
        self._offline = offline
        self._on_event = on_event
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


def as_function(
    client: type[Client], method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """A verb as a function: one call, with the settings of the environment, and everything closed afterwards."""

    async def function(*args: P.args, **kwargs: P.kwargs) -> T:
        async with client() as batch:
            return await method(batch, *args, **kwargs)

    return named_as(method, function)


def named_as(method: Callable[..., Any], function: Callable[P, T]) -> Callable[P, T]:
    """Give a function the module, the name, the documentation and the parameters (without ``self``) of a method."""
    _, *parameters = inspect.signature(method).parameters.values()
    signature = inspect.signature(method).replace(parameters=parameters)
    vars(functools.update_wrapper(function, method)).update(__signature__=signature)
    del vars(function)["__wrapped__"]  # it would show `self` again
    function.__qualname__ = method.__name__
    return function
