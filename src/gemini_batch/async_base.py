"""What the verbs of an asynchronous client share: a session that is opened once and closed at the end."""

from __future__ import annotations

import dataclasses
from typing import Self

from gemini_batch.events import EventHandler, ignore_events
from gemini_batch.session import Session
from gemini_batch.settings import Settings, load_settings


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
