"""The vocabulary of verdicts: reasons, the codes of row errors, and the message for each.

``docs/verdicts.md`` is the same table for users. Finish and block reasons are those of the service's ``v1beta`` schema
of 2026-08 and of Google's clients of 2026-11; a reason that is not here never counts as success.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["succeeded", "truncated", "blocked", "empty", "invalid", "failed", "missing", "skipped"]
"""What became of a request; docs/verdicts.md explains each."""
#: In the order of reports: success, what a changed request may fix, what failed, what is absent.
VERDICTS: tuple[Verdict, ...] = ("succeeded", "truncated", "blocked", "empty", "invalid", "failed", "missing")

#: ``google.rpc.Code``.
GRPC_NAMES: dict[int, str] = {
    0: "OK",
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    11: "OUT_OF_RANGE",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    15: "DATA_LOSS",
    16: "UNAUTHENTICATED",
}
GRPC_CODES: dict[str, int] = {name: code for code, name in GRPC_NAMES.items()}
#: Row errors that may not recur for the same request. Code 1 is not one of them: whoever cancelled the job meant it.
TRANSIENT_CODES: frozenset[int] = frozenset({2, 4, 8, 10, 13, 14})
#: Row errors, and codes of failed jobs, that the same request or job gets again. An unknown code is not one of them.
LASTING_CODES: frozenset[int] = frozenset(GRPC_NAMES) - TRANSIENT_CODES - {0, 1}
#: Reasons of ``failed`` requests that the same request gets again.
LASTING_REASONS: frozenset[str] = frozenset(GRPC_NAMES[code] for code in LASTING_CODES) | {"MISSING_THOUGHT_SIGNATURE"}
#: The reason of ``truncated`` requests that set no ``maxOutputTokens``: a higher limit does not help.
MODEL_LIMIT = "MODEL_MAX_TOKENS"
#: Reasons of ``truncated`` requests that no value of ``maxOutputTokens`` changes.
OWN_LIMITS: frozenset[str] = frozenset({MODEL_LIMIT, "CONTINUATION"})
#: Codes of failed jobs whose requests are resent once: exhausted, internal, unavailable.
RESENT_CODES: frozenset[int] = frozenset({8, 13, 14})
#: Row errors have gRPC codes; an HTTP status instead of one is translated.
HTTP_CODES: dict[int, int] = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    408: 4,
    409: 10,
    412: 9,
    429: 8,
    499: 1,
    500: 13,
    501: 12,
    502: 14,
    503: 14,
    504: 4,
}

#: Finish reason -> verdict. STOP is omitted on purpose: its meaning depends on the content.
FINISHES: dict[str, Verdict] = {
    "MAX_TOKENS": "truncated",
    "CONTINUATION": "truncated",
    "SAFETY": "blocked",
    "RECITATION": "blocked",
    "LANGUAGE": "blocked",
    "BLOCKLIST": "blocked",
    "PROHIBITED_CONTENT": "blocked",
    "SPII": "blocked",
    "IMAGE_SAFETY": "blocked",
    "IMAGE_PROHIBITED_CONTENT": "blocked",
    "IMAGE_RECITATION": "blocked",
    "MODEL_ARMOR": "blocked",
    "PUP_LIMITED_DISABLED": "blocked",
    "NO_IMAGE": "empty",
    "OTHER": "failed",
    "IMAGE_OTHER": "failed",
    "MALFORMED_FUNCTION_CALL": "failed",
    "MALFORMED_RESPONSE": "failed",
    "UNEXPECTED_TOOL_CALL": "failed",
    "TOO_MANY_TOOL_CALLS": "failed",
    "MISSING_THOUGHT_SIGNATURE": "failed",
    "ESCALATION": "failed",
}

#: The message for a reason if the service sends none.
MESSAGES: dict[str, str] = {
    # finish reasons
    "MAX_TOKENS": "The answer was cut off at maxOutputTokens (thinking counts towards it).",
    MODEL_LIMIT: "The answer was cut off at the model's own limit, since the request sets no maxOutputTokens (thinking "
    "counts towards it). Ask for less, or use a model with a higher limit.",
    "CONTINUATION": "The answer was cut off at the most that the model writes in one request (thinking counts towards "
    "it). Ask for less, or split the request.",
    "SAFETY": "The answer was stopped by a safety filter.",
    "RECITATION": "The answer was stopped: it was too close to existing text.",
    "LANGUAGE": "The answer was stopped: its language is not supported.",
    "BLOCKLIST": "The answer was stopped: it contained a forbidden term.",
    "PROHIBITED_CONTENT": "The answer was stopped: it contained prohibited content.",
    "SPII": "The answer was stopped: it contained sensitive personal data.",
    "IMAGE_SAFETY": "The image was stopped by a safety filter.",
    "IMAGE_PROHIBITED_CONTENT": "The image was stopped: it showed prohibited content.",
    "IMAGE_RECITATION": "The image was stopped: it was too close to an existing one.",
    "MODEL_ARMOR": "The answer was stopped by Model Armor, a filter of the project.",
    "PUP_LIMITED_DISABLED": "The answer was stopped: the account is limited or disabled, because it violated the "
    "Prohibited Use Policy.",
    "NO_IMAGE": "An image was expected, but none was created.",
    "OTHER": "The model stopped for a reason that the service does not name.",
    "IMAGE_OTHER": "No image was created, for a reason that the service does not name.",
    "MALFORMED_FUNCTION_CALL": "The model wrote an invalid function call.",
    "MALFORMED_RESPONSE": "The model wrote an invalid response.",
    "UNEXPECTED_TOOL_CALL": "The model called a tool that the request does not offer.",
    "TOO_MANY_TOOL_CALLS": "The model called tools too many times in a row.",
    "MISSING_THOUGHT_SIGNATURE": "The request lacks the thought signature of an earlier turn.",
    "ESCALATION": "The service escalated the request and gave no answer.",
    "NO_FINISH_REASON": "The answer does not say that it is finished.",
    # prompts
    "PROMPT_SAFETY": "The prompt was blocked by a safety filter.",
    "PROMPT_OTHER": "The prompt was blocked for a reason that the service does not name.",
    "PROMPT_BLOCKLIST": "The prompt was blocked: it contains a forbidden term.",
    "PROMPT_PROHIBITED_CONTENT": "The prompt was blocked: it contains prohibited content.",
    "PROMPT_IMAGE_SAFETY": "The prompt was blocked: it contains an unsafe image.",
    # nothing in it
    "NO_RESPONSE": "The line has neither a response nor an error.",
    "NO_CANDIDATES": "The response has no candidates and gives no reason.",
    "NO_PARTS": "The answer is finished but empty.",
    "CITATIONS_ONLY": "The answer contains only citations.",
    "ONLY_THOUGHTS": "The answer contains only thoughts.",
    "ONLY_TOOL_STEPS": "The answer contains only steps of the service's own tools.",
    "EMPTY_TEXT": "The text of the answer is empty.",
    "NO_CONTENT": "No part of the answer has usable content.",
    "NO_EMBEDDING": "The response has no embedding.",
    # not what was requested
    "NOT_JSON": "JSON was requested, but the text is not a single JSON value.",
    "JSON_IN_FENCES": "JSON was requested, but the text has it inside a Markdown code block.",
    "SCHEMA": "The answer does not satisfy the schema of the request.",
    "BROKEN_MEDIA": "An image, audio or other file in the answer has no data, or its data is not base64.",
    "BAD_VECTOR": "The embedding contains a value that is not a finite number.",
    "DIMENSION": "The embedding does not have the requested length.",
    # no answer
    "NO_LINE": "The job ended, but the service sent no answer for this key.",
    "TO_BE_RESENT": "The request has no answer yet and is to be resent.",
    "JOB_GONE": "The service no longer had the job; someone else may have deleted it.",
    "RESULTS_GONE": "The service no longer had the results of the job when they were requested.",
    "OUTPUT_INCOMPLETE": "The output of the job had fewer answers than the service counted, and none for this key.",
    "RESULTS_DAMAGED": "The answer file was damaged on this machine, and the service no longer had the results.",
    "JOB_FAILED": "The job failed before this request was answered.",
    "JOB_EXPIRED": "The job expired before this request was answered.",
    "JOB_CANCELLED": "The job was cancelled before this request was answered.",
    # errors
    "UNREADABLE": "The response has an unknown shape.",
    "UNREADABLE_ERROR": "The line has an error that cannot be interpreted.",
    "OK_AS_ERROR": "The line has an error with code 0, which means success.",
}
