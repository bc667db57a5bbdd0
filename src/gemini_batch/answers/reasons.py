"""The words of verdicts: reasons, the numbers of row errors, and what to say about each.

``docs/verdicts.md`` is the same table for people. Finish and block reasons are those of the service's ``v1beta`` schema
of 2026-08; one that is not here is never taken for a success.
"""

from __future__ import annotations

from typing import Literal

Verdict = Literal["succeeded", "truncated", "blocked", "empty", "invalid", "failed", "missing"]
"""What became of a request; docs/verdicts.md explains each."""
#: In the order of reports: the good, what a changed request may mend, what went wrong, what is not there.
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
#: Row errors that the same request may well not meet again. Code 1 is one of them only if nobody cancelled the job.
TRANSIENT_CODES: frozenset[int] = frozenset({1, 2, 4, 8, 10, 13, 14})
#: Codes of failed jobs whose requests are sent once more: exhausted, internal, unavailable.
RESENT_CODES: frozenset[int] = frozenset({8, 13, 14})
#: Row errors carry gRPC numbers; where an HTTP status stands in their place, it is translated.
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

#: Finish reason -> verdict. STOP is missing on purpose: what it means is seen in the content.
FINISHES: dict[str, Verdict] = {
    "MAX_TOKENS": "truncated",
    "SAFETY": "blocked",
    "RECITATION": "blocked",
    "LANGUAGE": "blocked",
    "BLOCKLIST": "blocked",
    "PROHIBITED_CONTENT": "blocked",
    "SPII": "blocked",
    "IMAGE_SAFETY": "blocked",
    "IMAGE_PROHIBITED_CONTENT": "blocked",
    "IMAGE_RECITATION": "blocked",
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

#: What to say where the service says nothing itself.
MESSAGES: dict[str, str] = {
    # finish reasons
    "MAX_TOKENS": "The answer was cut off at maxOutputTokens (thinking counts towards it).",
    "SAFETY": "The answer was stopped by a safety filter.",
    "RECITATION": "The answer was stopped because it repeated existing text too closely.",
    "LANGUAGE": "The answer was stopped: its language is not supported.",
    "BLOCKLIST": "The answer was stopped: it held a forbidden term.",
    "PROHIBITED_CONTENT": "The answer was stopped: it held prohibited content.",
    "SPII": "The answer was stopped: it held sensitive personal data.",
    "IMAGE_SAFETY": "The image was stopped by a safety filter.",
    "IMAGE_PROHIBITED_CONTENT": "The image was stopped: it showed prohibited content.",
    "IMAGE_RECITATION": "The image was stopped: it repeated an existing one too closely.",
    "NO_IMAGE": "An image was expected and none was made.",
    "OTHER": "The model stopped for a reason that the service does not name.",
    "IMAGE_OTHER": "No image was made, for a reason that the service does not name.",
    "MALFORMED_FUNCTION_CALL": "The model wrote a function call that cannot be read.",
    "MALFORMED_RESPONSE": "The model wrote a response that cannot be read.",
    "UNEXPECTED_TOOL_CALL": "The model called a tool that the request does not offer.",
    "TOO_MANY_TOOL_CALLS": "The model called tools too many times in a row.",
    "MISSING_THOUGHT_SIGNATURE": "The request lacks the thought signature of an earlier turn.",
    "ESCALATION": "The service handed the request over and gave no answer.",
    "NO_FINISH_REASON": "The answer does not say that it is finished.",
    # prompts
    "PROMPT_SAFETY": "The prompt was blocked by a safety filter.",
    "PROMPT_OTHER": "The prompt was blocked for a reason that the service does not name.",
    "PROMPT_BLOCKLIST": "The prompt was blocked: it holds a forbidden term.",
    "PROMPT_PROHIBITED_CONTENT": "The prompt was blocked: it holds prohibited content.",
    "PROMPT_IMAGE_SAFETY": "The prompt was blocked: an image in it is unsafe.",
    # nothing in it
    "NO_RESPONSE": "The line holds neither a response nor an error.",
    "NO_CANDIDATES": "The response holds no candidates, and no reason for it.",
    "NO_PARTS": "The answer is finished, but nothing is in it.",
    "CITATIONS_ONLY": "The answer holds citations and nothing else.",
    "ONLY_THOUGHTS": "The answer holds thoughts and nothing else.",
    "ONLY_TOOL_STEPS": "The answer holds steps of the service's own tools and nothing else.",
    "EMPTY_TEXT": "The text of the answer is empty.",
    "NO_CONTENT": "No part of the answer holds anything that can be used.",
    "NO_EMBEDDING": "The response holds no embedding.",
    # not what was asked for
    "NOT_JSON": "JSON was asked for, and the text is not one JSON value.",
    "JSON_IN_FENCES": "JSON was asked for; the text has it inside a Markdown code block.",
    "BROKEN_MEDIA": "An image, sound or other file in the answer has no data, or data that is not base64.",
    "BAD_VECTOR": "The embedding holds something that is not a finite number.",
    "DIMENSION": "The embedding has another length than was asked for.",
    # no answer
    "NO_LINE": "The job ended, and the service sent no answer for this key.",
    "NOT_SENT": "The request has not been sent.",
    "JOB_GONE": "The service no longer knew its job; somebody may have deleted it.",
    "RESULTS_GONE": "The service no longer had the results of its job when they were asked for.",
    "JOB_FAILED": "The job failed before this request was answered.",
    "JOB_EXPIRED": "The job expired before this request was answered.",
    "JOB_CANCELLED": "The job was cancelled before this request was answered.",
    # errors
    "UNREADABLE": "The response has no shape that we know.",
    "UNREADABLE_ERROR": "The line holds an error that says nothing that we can read.",
    "OK_AS_ERROR": "The line holds an error with code 0, which would mean that there is none.",
}
