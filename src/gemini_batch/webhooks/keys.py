"""The public keys of the service: fetched from its address when they are needed, kept, and fetched again if none fits.

They need PyJWT, the extra ``webhooks``, which is loaded when it is first needed. No API key is sent.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gemini_batch.errors import UsageError
from gemini_batch.jsonl import NotJson, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwt import PyJWK

PATH = "/.well-known/jwks.json"
#: Seconds after which keys are fetched again, and within which they are not, whatever arrives.
_KEEP, _REST = 3600.0, 60.0
_PATIENCE = 10.0
_MOST_BYTES = 1 << 20


class NoKeysError(Exception):
    """The keys cannot be had now."""


def check_library() -> None:
    """Raise UsageError if PyJWT is missing."""
    try:
        import cryptography
        import jwt

        del cryptography, jwt
    except ImportError:
        raise UsageError(
            "The webhooks of one job are signed with keys, and PyJWT, which checks them, is not installed.",
            code="missing_extra",
            next="Run pip install 'gemini-batch[webhooks]'.",
        ) from None


class Keys:
    """The public keys at one base URL. Safe to use from many threads."""

    def __init__(self, base_url: str, clock: Callable[[], float]) -> None:
        self._url = base_url + PATH
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: list[PyJWK] = []
        self._fetched: float | None = None
        self._asked: float | None = None

    def known(self) -> list[PyJWK]:
        """The keys, at most an hour old. Raises :class:`NoKeysError`."""
        with self._guard:
            if self._fetched is None or self._clock() - self._fetched >= _KEEP:
                self._fetch()
            return self._kept

    def newer(self) -> list[PyJWK] | None:
        """The keys, fetched again; None if that was done a moment ago. Raises :class:`NoKeysError`."""
        with self._guard:
            if self._asked is not None and self._clock() - self._asked < _REST:
                return None
            self._fetch()
            return self._kept

    def _fetch(self) -> None:
        if self._fetched is None and self._asked is not None and self._clock() - self._asked < 1.0:
            raise NoKeysError  # so that forged deliveries do not make us ask without end
        self._asked = self._clock()
        self._kept = _parsed(_get(self._url))
        self._fetched = self._clock()


def _get(url: str) -> bytes:
    import httpx2

    pieces, size = [], 0
    try:
        with httpx2.stream("GET", url, timeout=_PATIENCE, follow_redirects=False) as answer:
            if answer.status_code != 200:
                raise NoKeysError
            for piece in answer.iter_bytes():
                pieces.append(piece)
                size += len(piece)
                if size > _MOST_BYTES:
                    raise NoKeysError
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        raise NoKeysError from None
    return b"".join(pieces)


def _parsed(data: bytes) -> list[PyJWK]:
    import jwt

    try:
        sent = decode(data)
    except NotJson:
        raise NoKeysError from None
    entries = sent.get("keys") if isinstance(sent, dict) else None
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            found.append(jwt.PyJWK(entry))
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # of a kind that is not known here
    if not found:
        raise NoKeysError
    return found
