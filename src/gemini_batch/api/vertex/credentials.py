"""Access tokens for Google Cloud, from application-default credentials."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from gemini_batch.api.error_answers import LOG_IN
from gemini_batch.errors import NetworkError, ServiceError, UsageError
from gemini_batch.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
#: What an emulator on this machine gets. No real token is ever sent there.
_FOR_EMULATORS = "no-token-is-needed-here"


class Tokens:
    """Gives the token that a call is sent with, and refreshes it shortly before it expires.

    ``find``: finds the credentials of the machine; by default google-auth does.
    """

    def __init__(self, find: Callable[[], tuple[Any, Callable[[], Any]]] | None = None) -> None:
        self._search = find or application_default
        self._found: tuple[Any, Callable[[], Any]] | None = None
        self._refreshing = asyncio.Lock()

    @property
    def billed_to(self) -> str:
        """The project whose quota the calls of a person's credentials use, as the credentials name it."""
        credentials = self._found[0] if self._found is not None else None
        return getattr(credentials, "quota_project_id", None) or ""

    async def find(self) -> None:
        """Find the credentials, unless they are found. Raises UsageError if there are none."""
        if self._found is None:
            self._found = await asyncio.to_thread(self._search)

    async def authorize(self) -> tuple[str, Secret]:
        """The scheme and the token.

        Raises UsageError if there are no credentials, NetworkError or ServiceError if no token can be had now.
        """
        async with self._refreshing:
            await self.find()
            return "Bearer", Secret(await asyncio.to_thread(self._token))

    def _token(self) -> str:
        assert self._found is not None
        credentials, request = self._found
        if not credentials.valid:
            _refresh(credentials, request)
        return str(credentials.token)


class NoTokens:
    """The same for an emulator on this machine."""

    billed_to = ""

    async def authorize(self) -> tuple[str, Secret]:
        """The scheme and the word that stands for a token."""
        return "Bearer", Secret(_FOR_EMULATORS)


def application_default() -> tuple[Any, Callable[[], Any]]:
    """The credentials of this machine, and what makes a request of google-auth. Raises UsageError."""
    try:
        import google.auth
        import google.auth.exceptions
        from google.auth.transport.requests import Request
    except ImportError:
        raise UsageError(
            "Vertex AI needs google-auth, which is not installed.",
            code="missing_extra",
            next="Run pip install 'gemini-batch[vertex]'.",
        ) from None
    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError:
        raise UsageError(
            # The cause may quote what is in the file.
            f"The file that {_FILE} names holds no credentials that can be used, or cannot be read."
            if os.environ.get(_FILE)
            else "There are no application-default credentials for Google Cloud on this machine.",
            code="no_credentials",
            next=f"Use {LOG_IN}.",
        ) from None
    return credentials, Request


def _refresh(credentials: Any, request: Callable[[], Any]) -> None:
    from google.auth.exceptions import RefreshError, TransportError

    try:
        credentials.refresh(request())
    except TransportError as error:
        raise NetworkError(
            "No access token could be fetched: Google's token service cannot be reached.",
            sent=False,
            next="Check the network, then run the same command again.",
        ) from error
    except RefreshError:
        # The cause may quote what was sent.
        raise ServiceError(
            "Google refused to renew the application-default credentials of this machine.",
            code="credentials_refused",
            next=f"Log in again: {LOG_IN}.",
        ) from None
