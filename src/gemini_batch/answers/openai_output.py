"""Output in OpenAI's shape, which the service writes for files of OpenAI-shaped requests.

A line is ``{"custom_id": …, "response": {"status_code": …, "body": …}, "error": …}``: ``custom_id`` is the key,
``body`` the response; a status of 400 or more, and ``error``, become a row error of the ordinary shape. A body is a
chat completion or a list of embeddings; usage is read in both spellings (``promptTokens``, ``prompt_tokens``).
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers.reasons import FINISHES
from gemini_batch.answers.response_types import Candidate, Content, Embedded, Generated, Part, Tokens, piece

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ABSENT = msgspec.Raw()
#: Codes of rows that OpenAI's batches did not answer, as gRPC codes.
_CODES = {"batch_expired": 4, "request_timeout": 4, "batch_cancelled": 1}


class Unwrapped(msgspec.Struct, frozen=True):
    """What is inside a line: the response and the error, as raw JSON, empty if absent."""

    response: msgspec.Raw = _ABSENT
    error: msgspec.Raw = _ABSENT


def unwrapped(line: dict[str, msgspec.Raw]) -> Unwrapped:
    """The response and the error of a line. Never raises; a response of another shape is kept as it is."""
    error = line.get("error", _ABSENT)
    if bytes(error) not in (b"", b"null"):
        return Unwrapped(error=_error(error))
    response = line.get("response", _ABSENT)
    try:
        inside = _decode_object(response)
    except (msgspec.DecodeError, RecursionError):
        return Unwrapped(response)
    status, body = _plain(inside.get("status_code", _ABSENT)), inside.get("body", _ABSENT)
    if type(status) is int and status >= 400:
        said = {"code": status, "message": _message(_plain(body))}
        return Unwrapped(error=msgspec.Raw(msgspec.json.encode(said)))
    return Unwrapped(body)


def _error(raw: msgspec.Raw) -> msgspec.Raw:
    """An error of the line itself: with a code that has a counterpart, in the ordinary shape."""
    value = _plain(raw)
    code = value.get("code") if type(value) is dict else None
    if type(code) is not str or code not in _CODES:
        return raw
    return msgspec.Raw(msgspec.json.encode({"code": _CODES[code], "message": _message(value)}))


def _message(body: Any) -> str:
    """What an error says: ``{"error": {"message": …}}``, also in a list; without such a message, nothing."""
    if type(body) is list and body:
        body = body[0]
    if type(body) is dict:
        error = body.get("error", body)
        said = error.get("message") if type(error) is dict else error
        return said if type(said) is str else ""
    return ""


def _plain(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw) if bytes(raw) else None
    except (msgspec.DecodeError, RecursionError):
        return None


# Bodies ---------------------------------------------------------------------------------------------------------------

_FINISHED = frozenset({"stop", "tool_calls", "function_call"})
_FILTERED = "content_filter"


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: _Message | None = None


def generated(body: Mapping[str, msgspec.Raw]) -> tuple[Generated, bool]:
    """A chat completion as the response to a generation request, and whether all its choices have the right shape.

    The candidates end before the first choice that has another shape.
    """
    raw = piece(body.get("choices"), list[msgspec.Raw])
    read = [piece(choice, _Choice) for choice in raw or ()]
    choices = list(takewhile(lambda choice: choice is not None, read))
    found = Generated(
        candidates=[_candidate(choice) for choice in choices],
        usage_metadata=_tokens(body.get("usage")),
        model_version=piece(body.get("model"), str),
    )
    return found, raw is not None and len(choices) == len(read)


def embedded(body: Mapping[str, msgspec.Raw]) -> tuple[Embedded, Sequence[object] | None]:
    """A list of embeddings as the response to an embedding request, and the values of its first vector."""
    found = Embedded(usage_metadata=_tokens(body.get("usage")), model_version=piece(body.get("model"), str))
    data = piece(body.get("data"), list[msgspec.Raw])
    first = piece(data[0], dict[str, msgspec.Raw]) if data else None
    return found, piece(first.get("embedding"), list[object]) if first else None


def _candidate(choice: _Choice) -> Candidate:
    message = choice.message or _Message()
    parts = [] if message.content is None else [Part(text=message.content)]
    parts += [Part(function_call=call) for call in message.tool_calls or ()]
    finish, said = _finish(choice.finish_reason or "")
    if message.refusal:
        finish, said = "SAFETY", message.refusal
    return Candidate(Content(parts), finish, said)


def _finish(reason: str) -> tuple[str, str | None]:
    """The API's finish reason, and what else is known of it. A reason without a counterpart stays as it is.

    The service writes its own reason behind a colon: ``content_filter: RECITATION``.
    """
    if reason in _FINISHED:
        return "STOP", None
    if reason == "length":
        return "MAX_TOKENS", None
    word, _, detail = reason.partition(":")
    if detail.strip() in FINISHES:
        return detail.strip(), None
    return ("SAFETY", detail.strip() or None) if word == _FILTERED else (reason, None)


def _tokens(raw: msgspec.Raw | None) -> Tokens | None:
    """Usage; what the total has beyond prompt and completion was spent on thinking."""
    usage: dict[str, Any] | None = piece(raw, dict[str, Any])
    if usage is None:
        return None
    prompt, wrote, total = (
        usage.get(f"{name}Tokens", usage.get(f"{name}_tokens")) for name in ("prompt", "completion", "total")
    )
    made = Tokens(
        prompt_token_count=_count(prompt), candidates_token_count=_count(wrote), total_token_count=_count(total)
    )
    if type(prompt) is int and type(wrote) is int and type(total) is int:
        made.thoughts_token_count = max(0, total - prompt - wrote)
    return made


def _count(value: object) -> int | float | str | None:
    return value if type(value) is int or type(value) is float or type(value) is str else None
