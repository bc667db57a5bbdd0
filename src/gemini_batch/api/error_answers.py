"""Reads an HTTP error answer, whatever its body is, into an ApiError with safe text and the next step."""

from __future__ import annotations

import contextlib
import email.utils
import re
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.api.bounds import LONGEST_ASKED
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.errors import ApiError, Next, ServiceError
from gemini_batch.jsonl import decode_as
from gemini_batch.reading import cleaned, read_loosely
from gemini_batch.safe_text import Redactor
from gemini_batch.wire import ErrorBody, ErrorEnvelope

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How credentials for Google Cloud come to a machine.
LOG_IN = "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS=FILE for a service account"
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)s$")
#: The status with which a proxy asks for credentials; it is never the service's.
PROXY_REFUSED = 407
#: Reasons of ``google.rpc.ErrorInfo`` for a key, or its project, that is refused (cloud.google.com, ``ErrorReason``).
_KEY_REASONS = ("API_KEY_", "CONSUMER_", "ACCESS_TOKEN_", "CREDENTIALS_MISSING", "ACCOUNT_STATE_INVALID")
_NO_SECRET = Redactor("")


def api_error(
    status: int, body: bytes, headers: Mapping[str, str], *, clean: Redactor = _NO_SECRET, keyed: bool = True
) -> ApiError:
    """The error for an HTTP error answer, whatever its body is: an envelope, a list of one, HTML, or nothing.

    ``clean`` makes all of its text safe. ``keyed``: an API key was sent; False: an access token.
    """
    if status == PROXY_REFUSED:
        return proxy_refused()
    body = clean.in_bytes(body)  # before anything is shortened: half a key is secret too
    parsed = cleaned(_error_body(body), clean)
    message = (parsed.message or "").strip() if parsed else _first_words(body, clean)
    details = _details(parsed)
    reason = (parsed.status or _first_reason(parsed.errors)) if parsed else ""
    error = ApiError(
        f"The service answered {status}{f' {reason}' if reason else ''}: {message or 'no explanation'}",
        status=status,
        reason=reason,
        retry_after=_retry_after(headers, details),
        details=details,
        **_advice(status, details, message, keyed=keyed),
    )
    if error.next is None and meaning(error) is Trouble.PASSING:
        error.next = "The problem is on the service's side. Run the same command again in a few minutes."
    return error


def discarded(message: str) -> ServiceError:
    """The error for an answer about something else than was asked for; a proxy may have mixed up two callers."""
    return ServiceError(
        message, code="unreadable_answer", next="That answer was discarded. Run the same command again later."
    )


def proxy_refused() -> ApiError:
    """The error for a proxy that did not let a request through to the service without other credentials."""
    return ApiError(
        f"A proxy between this machine and the service refused the request ({PROXY_REFUSED}): it wants a user name and "
        "a password, or does not accept those it got. The service was not asked.",
        status=PROXY_REFUSED,
        code="proxy_refused",
        next="Set HTTPS_PROXY (and ALL_PROXY, if it is set) to http://USER:PASSWORD@HOST:PORT, or ask whoever runs the "
        "proxy.",
    )


def _error_body(body: bytes) -> ErrorBody | None:
    """The content of an envelope, or of the first in a list; a field with a value of another type counts as absent."""
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        if found := decode_as(body, list[msgspec.Raw]):
            body = bytes(found[0])
    envelope = read_loosely(body, ErrorEnvelope)
    return envelope.error if envelope else None


def _first_reason(errors: object) -> str:
    """The reason that Cloud Storage gives, in the form of a status: ``NOT_FOUND`` for ``notFound``."""
    first = errors[0] if isinstance(errors, list) and errors else None
    reason = first.get("reason") if isinstance(first, dict) else None
    return _CAPITAL.sub(r"_\1", reason).upper() if isinstance(reason, str) else ""


def _details(parsed: ErrorBody | None) -> tuple[Mapping[str, object], ...]:
    found = parsed.details if parsed else None
    return tuple(detail for detail in found if isinstance(detail, dict)) if isinstance(found, list) else ()


def _first_words(body: bytes, clean: Redactor) -> str:
    text = re.sub(r"<[^>]*>", " ", body[:2000].decode("utf-8", "replace"))
    return " ".join(clean(text).split())[:200]


def _retry_after(headers: Mapping[str, str], details: tuple[Mapping[str, object], ...]) -> float | None:
    """The seconds that the service asks for, at most a day."""
    asked = _asked(headers, details)
    return None if asked is None else min(asked, LONGEST_ASKED)


def _asked(headers: Mapping[str, str], details: tuple[Mapping[str, object], ...]) -> float | None:
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and (found := _DURATION.match(delay)):
            return float(found.group(1))
    value = headers.get("retry-after", "")
    if value.isdecimal():
        return float(value)
    if value and headers.get("date"):
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            until = email.utils.parsedate_to_datetime(value)
            return max(0.0, (until - email.utils.parsedate_to_datetime(headers["date"])).total_seconds())
    return None


def about_the_key(status: int, details: tuple[Mapping[str, object], ...], message: str) -> bool:
    """Whether an error speaks of the key itself, and so says nothing of the object that was asked for.

    A leaked key, for example, is refused with 403 "Your API key was reported as leaked", for every object.
    """
    reasons = [str(detail.get("reason")) for detail in details]
    if any(reason.startswith(_KEY_REASONS) for reason in reasons):
        return True
    return status == 403 and "api key" in message.lower()


def _advice(status: int, details: tuple[Mapping[str, object], ...], message: str, *, keyed: bool) -> dict[str, Any]:
    """The error code and the next step, where the status alone determines them."""
    if status == 401 and not keyed:
        return {"code": "credentials_refused", "next": f"Log in again: {LOG_IN}."}
    if status == 401 or about_the_key(status, details, message):
        return {"code": "api_key_refused", "next": "Check GEMINI_API_KEY (GOOGLE_API_KEY is read before it)."}
    if 300 <= status < 400:
        return {
            "code": "redirected",
            "next": "Redirects are not followed, because the key is sent to one host only. "
            f"Correct {'GOOGLE_GEMINI_BASE_URL' if keyed else 'GOOGLE_VERTEX_BASE_URL or STORAGE_EMULATOR_HOST'}.",
        }
    if status == 429 and "file_storage" in message:
        return {
            "code": "storage_full",
            "next": Next(
                "clean",
                why="deletes uploads that no job needs; then run the same command again. Files expire after 48 hours",
            ),
        }
    if status == 429:
        return {"code": "resource_exhausted", "next": "Nothing is lost. Run the same command again later."}
    return {}
