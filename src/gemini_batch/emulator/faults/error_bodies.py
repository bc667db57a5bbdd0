"""Error answers by name, for faults: the service's status and body, word for word where they are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch.emulator.messages.errors import ApiFailure, exhausted, no_cache

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOCALE = "type.googleapis.com/google.rpc.LocalizedMessage"
_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
#: Replaced by the id of the file, or the name of the model, that a call names.
NAME, MODEL = b"{file}", b"{model}"
_BAD_KEY = "API key not valid. Please pass a valid API key."
_JSON = "application/json; charset=UTF-8"


class Wording(NamedTuple):
    """One error answer."""

    status: int
    body: bytes
    content_type: str = _JSON


def _said(failure: ApiFailure) -> Wording:
    return Wording(failure.status, msgspec.json.encode(failure.body()))


def _sync_quota() -> ApiFailure:
    """429 of a synchronous call: it says when to retry, which a batch's 429 never does."""
    batch = exhausted()
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_input_token_count",
        "quotaId": "GenerateContentPaidTierInputTokensPerModelPerMinute",
        "quotaDimensions": {"location": "global", "model": "gemini-3.8-flash"},
        "quotaValue": "1000000",
    }
    details: list[Mapping[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
        *batch.details,
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"},
    ]
    return ApiFailure(429, "RESOURCE_EXHAUSTED", batch.message, details=details)


def _bad_key() -> ApiFailure:
    service = {"service": "generativelanguage.googleapis.com"}
    details: list[Mapping[str, Any]] = [
        {"@type": _INFO, "reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": service},
        {"@type": _LOCALE, "locale": "en-US", "message": _BAD_KEY},
    ]
    return ApiFailure(400, "INVALID_ARGUMENT", _BAD_KEY, details=details)


_HTML_502 = (
    b"<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n<title>Error 502 (Server Error)!!1</title>\n"
    b"<p><b>502.</b> <ins>That\xe2\x80\x99s an error.</ins>\n"
    b"<p>The server encountered a temporary error and could not complete your request.\n</html>\n"
)
_UPLOAD_503 = b'{"error":{"message":"","code":503,"status":"Service Unavailable"}}'

WORDINGS: dict[str, Wording] = {
    "quota": _said(exhausted()),
    "quota_sync": _said(_sync_quota()),
    "vertex_quota": _said(
        ApiFailure(
            429,
            "RESOURCE_EXHAUSTED",
            "Resource exhausted. Please try again later. Please refer to "
            "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        )
    ),
    "storage": _said(
        ApiFailure(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota: file_storage_bytes, limit: 21474836480.",
        )
    ),
    "bad_key": _said(_bad_key()),
    "billing": _said(
        ApiFailure(403, "PERMISSION_DENIED", "Billing is not active for this project. Enable it and try again.")
    ),
    "location": _said(
        ApiFailure(
            400, "FAILED_PRECONDITION", "User location is not supported for the API use without a billing account."
        )
    ),
    "not_found": _said(ApiFailure(404, "NOT_FOUND", "Requested entity was not found.")),
    "no_file": _said(
        ApiFailure(
            403,
            "PERMISSION_DENIED",
            "You do not have permission to access the File {file} or it may not exist.",
        )
    ),
    "no_cache": _said(no_cache()),
    "retired": _said(
        ApiFailure(
            404,
            "NOT_FOUND",
            "This model models/gemini-2.5-flash-lite is no longer available to new users. "
            "Please update your code to use models/gemini-3.5-flash-lite",
        )
    ),
    "ended": _said(ApiFailure(400, "FAILED_PRECONDITION", "The batch has ended and cannot be cancelled.")),
    "internal": _said(
        ApiFailure(
            500,
            "INTERNAL",
            "An internal error has occurred. Please retry or report in "
            "https://developers.generativeai.google/guide/troubleshooting",
        )
    ),
    "html_502": Wording(502, _HTML_502, "text/html; charset=UTF-8"),
    "overloaded": _said(ApiFailure(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    "high_demand": _said(
        ApiFailure(
            503,
            "UNAVAILABLE",
            "This model is currently experiencing high demand. Spikes in demand are usually temporary. "
            "Please try again later.",
        )
    ),
    "no_flex": _said(ApiFailure(400, "INVALID_ARGUMENT", "Flex API is not supported for model: {model}.")),
    "upload_503": Wording(503, _UPLOAD_503),
    "deadline": _said(ApiFailure(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete.")),
    "aborted": _said(ApiFailure(409, "ABORTED", "The operation was aborted.")),
    "timeout": _said(ApiFailure(408, "DEADLINE_EXCEEDED", "The request took too long to arrive.")),
}

#: The error for a status without a name.
BY_STATUS = {
    400: "ended",
    403: "no_file",
    404: "not_found",
    408: "timeout",
    409: "aborted",
    429: "quota",
    500: "internal",
    502: "html_502",
    503: "overloaded",
    504: "deadline",
}


def worded(status: int, name: str = "") -> Wording:
    """An error answer by name, or the usual one for a status."""
    if name:
        wording = WORDINGS[name]
        return wording._replace(status=status) if status else wording
    if status in BY_STATUS:
        return WORDINGS[BY_STATUS[status]]
    return _said(ApiFailure(status, "UNKNOWN", ""))
