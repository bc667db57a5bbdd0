"""The emulator's refusals: the service's error bodies, word for word where they are known.

:class:`ApiFailure` ends a request; :class:`gemini_batch.errors.RowError` ends one row of a batch and nothing else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_HELP = "type.googleapis.com/google.rpc.Help"
_QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"
_RETRY = "type.googleapis.com/google.rpc.RetryInfo"


class ApiFailure(Exception):
    """One refused request: HTTP status, status name, message, and any details and headers."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = tuple(details)
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """``{"error": {code, message, status, details?}}``."""
        error: dict[str, Any] = {"code": self.status, "message": self.message, "status": self.reason}
        if self.details:
            error["details"] = list(self.details)
        return {"error": error}


def invalid(message: str, *, headers: Mapping[str, str] | None = None) -> ApiFailure:
    """400: the request is invalid."""
    return ApiFailure(400, "INVALID_ARGUMENT", message, headers=headers)


def invalid_fields(violations: Sequence[tuple[str, str]]) -> ApiFailure:
    """400 for a body with names or values that its message does not have: (path, description) of each."""
    detail = {
        "@type": _BAD_REQUEST,
        "fieldViolations": [
            {"field": field, "description": text} if field else {"description": text} for field, text in violations
        ],
    }
    return ApiFailure(400, "INVALID_ARGUMENT", "\n".join(text for _, text in violations), details=[detail])


def no_key() -> ApiFailure:
    """403: a request without an API key."""
    message = (
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API."
    )
    return ApiFailure(403, "PERMISSION_DENIED", message)


def no_file(file_id: str) -> ApiFailure:
    """403, not 404: a file that never existed, was deleted, has expired, or belongs to another project."""
    message = f"You do not have permission to access the File {file_id} or it may not exist."
    return ApiFailure(403, "PERMISSION_DENIED", message)


def no_cache() -> ApiFailure:
    """403, not 404: a cache that never existed, was deleted, has expired, or belongs to another project."""
    return ApiFailure(403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)")


def not_found(message: str = "Requested entity was not found.") -> ApiFailure:
    """404, with the message that the service uses for batches."""
    return ApiFailure(404, "NOT_FOUND", message)


def no_model(name: str, version: str, method: str) -> ApiFailure:
    """404: the model does not exist, or does not support this method."""
    return not_found(
        f"models/{name} is not found for API version {version}, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods."
    )


def exhausted() -> ApiFailure:
    """429 as the service answers when a batch is created: it names neither the limit nor a time to retry."""
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. To monitor your current usage, head to: "
        "https://ai.dev/rate-limit. "
    )
    link = {
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
    }
    return ApiFailure(429, "RESOURCE_EXHAUSTED", message, details=[{"@type": _HELP, "links": [link]}])


def rate_exceeded(violations: Sequence[Mapping[str, Any]], wait: float) -> ApiFailure:
    """429 of an ordinary call: it names the quotas (``QuotaFailure``) and the seconds until one more call fits."""
    known = exhausted()
    lines = [
        f"\n* Quota exceeded for metric: {one['quotaMetric']}, limit: {one['quotaValue']}, "
        f"model: {one['quotaDimensions']['model']}"
        for one in violations
    ]
    message = f"{known.message}{''.join(lines)}\nPlease retry in {wait:.9f}s."
    details: list[Mapping[str, Any]] = [
        *known.details,
        {"@type": _QUOTA, "violations": list(violations)},
        {"@type": _RETRY, "retryDelay": f"{math.ceil(wait)}s"},
    ]
    return ApiFailure(429, known.reason, message, details=details)


def no_principal() -> ApiFailure:
    """401: a method that wants a person or a service account; an API key is neither."""
    message = (
        "API keys are not supported by this API. Expected OAuth2 access token or other authentication credentials "
        "that assert a principal. See https://cloud.google.com/docs/authentication"
    )
    return ApiFailure(401, "UNAUTHENTICATED", message)


def no_token() -> ApiFailure:
    """401: a call of Vertex AI without an OAuth token."""
    message = (
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "CREDENTIALS_MISSING"}
    return ApiFailure(401, "UNAUTHENTICATED", message, details=[{**detail, "domain": "googleapis.com"}])


def too_large(limit: int) -> ApiFailure:
    """400: a body of JSON over the limit, in bytes."""
    return invalid(f"Request payload size exceeds the limit: {limit} bytes.")


def unserved(operation: str) -> ApiFailure:
    """501: a method of the service that the emulator does not have.

    Not 404, which programs take for "there is none": they would make a cache anew, or count a delete as done.
    """
    return ApiFailure(501, "UNIMPLEMENTED", f"The emulator does not serve {operation}.")


def exists(what: str) -> ApiFailure:
    """409: an id chosen by the caller is already taken."""
    return ApiFailure(409, "ALREADY_EXISTS", f"{what} already exists.")


_BY_GRPC_CODE = {
    1: (499, "CANCELLED"),
    3: (400, "INVALID_ARGUMENT"),
    4: (504, "DEADLINE_EXCEEDED"),
    5: (404, "NOT_FOUND"),
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    14: (503, "UNAVAILABLE"),
}


def of_row(code: object, message: str) -> ApiFailure:
    """What a row's gRPC code is as the answer to a single request."""
    status, reason = _BY_GRPC_CODE.get(code, (500, "INTERNAL")) if isinstance(code, int) else (500, "INTERNAL")
    return ApiFailure(status, reason, message)


def internal(message: str) -> ApiFailure:
    """500: the emulator itself failed."""
    return ApiFailure(500, "INTERNAL", message)
