"""Judges a raw answer line: what became of one request.

A total function of the answer's shape and finish reason: it never raises, and anything unknown never counts as
success. It never returns ``missing``, which is the verdict for keys without a line. The table is in
``docs/verdicts.md``.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gemini_batch import jsonl
from gemini_batch.answers import response_types, shapes
from gemini_batch.answers.inline_data import BlobState, state_of
from gemini_batch.answers.reasons import FINISHES, GRPC_CODES, GRPC_NAMES, HTTP_CODES, MESSAGES, Verdict
from gemini_batch.answers.usage import UNKNOWN, Usage, usage_of_embedded, usage_of_generated
from gemini_batch.catalog import Method
from gemini_batch.jsonl import decode_as, repair
from gemini_batch.safe_text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.answers.parse import Answer
    from gemini_batch.protocol.schema_checker import Checker


_FENCE = re.compile(r"```[A-Za-z0-9]*[ \t]*\r?\n(.*?)```", re.DOTALL)
_WORD = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_NOTHING = (b"", b"null", b"{}")


class Judged(msgspec.Struct, frozen=True):
    """The verdict on one answer.

    ``reason``: a code such as ``MAX_TOKENS`` or ``INTERNAL``, None if succeeded. ``code``: the gRPC code of a row
    error. ``said``: what a run keeps of the message: the service's own, what names an unknown code of it, or what the
    answer's JSON lacks of its schema, without index and value; None if there is no such thing.
    ``message``: the whole message, ours if the service sends none, after the number of the candidate if there are
    several; None if succeeded.
    """

    key: str
    verdict: Verdict
    reason: str | None = None
    code: int | None = None
    message: str | None = None
    usage: Usage = UNKNOWN
    has_response: bool = False
    model_version: str | None = None
    said: str | None = None


class _Finding(msgspec.Struct, frozen=True):
    """A verdict that is not ``succeeded``, with its reason; ``message``: the service's, ``ours``: our own.

    ``where``: what precedes either of them. ``kept``: ours as in ``Judged.said``.
    """

    verdict: Verdict
    reason: str
    message: str | None = None
    code: int | None = None
    ours: str | None = None
    where: str = ""
    kept: str | None = None


_NO_RESPONSE = _Finding("empty", "NO_RESPONSE")


class _Form(NamedTuple):
    """The form of answer that a request asks for."""

    expects_json: bool
    checker: Checker | None


#: Made once: most requests have no schema, and a file has millions of answers.
_ANY_TEXT, _ANY_JSON = _Form(expects_json=False, checker=None), _Form(expects_json=True, checker=None)


def judge(
    answer: Answer,
    *,
    method: Method,
    expects_json: bool = False,
    checker: Checker | None = None,
    dimension: int | None = None,
) -> Judged:
    """Judge one answer line. Never raises.

    ``expects_json``, ``checker`` and ``dimension`` say what the request asked for. ``checker`` compares the JSON with a
    schema, or the text itself if no JSON is expected.
    """
    response = answer.response if answer.generated is None else answer.generated
    if response is None:
        finding: _Finding | None = _NO_RESPONSE
        usage, model = UNKNOWN, None
    elif isinstance(response, bytes) and method is not Method.GENERATE:
        finding, usage, model = _judge_embedded(response, dimension)
    else:
        form = _ANY_JSON if expects_json else _ANY_TEXT
        finding, usage, model = _judge_generated(response, form if checker is None else _Form(expects_json, checker))
    if answer.error is not None:
        finding = _judge_error(answer.error)
    if finding is None:
        return Judged(answer.key, "succeeded", None, None, None, usage, True, model)
    said = printable(finding.message or "").strip() or None
    kept = said or printable(finding.kept or "").strip() or None
    return Judged(
        answer.key,
        finding.verdict,
        finding.reason,
        finding.code,
        finding.where + (said or _ours(finding)),
        usage,
        response is not None,
        model,
        kept,
    )


def _ours(finding: _Finding) -> str:
    """Our own words for a finding about which the service says nothing."""
    return printable(finding.ours or "") or MESSAGES.get(finding.reason) or f"The service says {finding.reason}."


def _judge_generated(
    response: bytes | response_types.Generated, form: _Form
) -> tuple[_Finding | None, Usage, str | None]:
    try:
        found, readable = shapes.read_generated(response) if isinstance(response, bytes) else (response, True)
    except shapes.Unreadable as bad:
        return _Finding("failed", "UNREADABLE", ours=f"The answer cannot be used: {bad}."), UNKNOWN, None
    finding = _judge_candidates(found.candidates or [], form)
    if finding is None and not readable:
        finding = _Finding("failed", "UNREADABLE")
    elif not found.candidates:
        finding = _judge_prompt(found.prompt_feedback) or _Finding("empty", "NO_CANDIDATES")
    return finding, usage_of_generated(found), found.model_version


def _judge_prompt(feedback: response_types.Feedback | None) -> _Finding | None:
    if feedback is None or not feedback.block_reason:
        return None
    reason = feedback.block_reason if _WORD.fullmatch(feedback.block_reason) else "UNKNOWN"
    return _Finding("blocked", f"PROMPT_{reason}", feedback.block_reason_message)


def _judge_candidates(candidates: Sequence[response_types.Candidate], form: _Form) -> _Finding | None:
    """The first candidate that did not succeed decides; its number is in the message if there are several."""
    for number, candidate in enumerate(candidates, 1):
        finding = _judge_candidate(candidate, form)
        if finding is not None:
            if len(candidates) == 1:
                return finding
            return msgspec.structs.replace(finding, where=f"Candidate {number}: ")
    return None


def _judge_candidate(candidate: response_types.Candidate, form: _Form) -> _Finding | None:
    finish = candidate.finish_reason
    if finish != "STOP":
        if not finish or finish == "FINISH_REASON_UNSPECIFIED":
            return _Finding("failed", "NO_FINISH_REASON", candidate.finish_message)
        verdict = FINISHES.get(finish)
        if verdict is None:
            return _Finding("failed", "UNKNOWN_FINISH_REASON", f"The finish reason {finish[:100]!r} is unknown.")
        return _Finding(verdict, finish, candidate.finish_message)
    parts = candidate.content.parts if candidate.content is not None else None
    blobs = _blobs(parts) if parts else None
    if blobs and BlobState.BROKEN in blobs:
        return _Finding("invalid", "BROKEN_MEDIA")
    text = _text(parts)
    if not text or text.isspace():
        reason = None if blobs and BlobState.WHOLE in blobs else _why_empty(candidate, parts or [])
        if reason is not None:
            return _Finding("empty", reason)
        text = None
    if blobs and BlobState.EMPTY in blobs:
        return _Finding("invalid", "BROKEN_MEDIA")
    return None if text is None else _judge_form(text, form)


def _blobs(parts: list[response_types.Part]) -> set[BlobState] | None:
    """The states of the blobs among the parts of an answer; None for most answers, which have none."""
    for part in parts:
        if part.inline_data:
            return {state_of(part.inline_data) for part in parts if not part.thought}
    return None


def _text(parts: list[response_types.Part] | None) -> str | None:
    if parts and len(parts) == 1:  # most answers
        return None if parts[0].thought else parts[0].text
    texts = [part.text for part in parts or () if part.text is not None and not part.thought]
    return "".join(texts) if texts else None


def _why_empty(candidate: response_types.Candidate, parts: list[response_types.Part]) -> str | None:
    """Why a finished candidate without text and media is empty; None if it has other usable content."""
    answered = [part for part in parts if not part.thought]
    if any(map(_is_useful, answered)):
        return None
    if not parts:
        return "NO_PARTS" if bytes(candidate.citation_metadata) in _NOTHING else "CITATIONS_ONLY"
    if any(part.text is not None for part in answered):
        return "EMPTY_TEXT"
    if not answered:
        return "ONLY_THOUGHTS"
    if any(_holds(part.tool_call) or _holds(part.tool_response) for part in answered):
        return "ONLY_TOOL_STEPS"
    return "NO_CONTENT"


def _is_useful(part: response_types.Part) -> bool:
    return (
        _holds(part.function_call)
        or _holds(part.executable_code)
        or _holds(part.code_execution_result)
        or _holds(part.file_data)
    )


def _holds(raw: msgspec.Raw) -> bool:
    return len(memoryview(raw)) > 4 and bytes(memoryview(raw)[:1]) == b"{"


def _judge_form(text: str, form: _Form) -> _Finding | None:
    value: Any = text
    if form.expects_json:
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return _not_json(text)
    flaw = None if form.checker is None else form.checker.flaw(value)
    return None if flaw is None else _Finding("invalid", "SCHEMA", ours=flaw.exact, kept=flaw.general)


def _not_json(text: str) -> _Finding:
    fenced = _FENCE.search(text)
    if fenced is not None and _is_json(fenced[1]):
        return _Finding("invalid", "JSON_IN_FENCES")
    try:
        jsonl.decode(text.encode("utf-8", "surrogatepass"))
    except ValueError as bad:
        ours = f"JSON was requested, but the text is not a single JSON value: {bad}."
        return _Finding("invalid", "NOT_JSON", ours=ours)
    return _Finding("invalid", "NOT_JSON")


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _judge_embedded(response: bytes, dimension: int | None) -> tuple[_Finding | None, Usage, str | None]:
    try:
        found, values = shapes.read_embedded(response)
    except shapes.Unreadable as bad:
        return _Finding("failed", "UNREADABLE", ours=f"The answer cannot be used: {bad}."), UNKNOWN, None
    finding: _Finding | None = None
    if not values:
        finding = _judge_prompt(found.prompt_feedback) or _Finding("empty", "NO_EMBEDDING")
    elif not _are_finite(values):
        finding = _Finding("invalid", "BAD_VECTOR")
    elif dimension is not None and len(values) != dimension:
        ours = f"The embedding has {len(values)} values; {dimension} were requested."
        finding = _Finding("invalid", "DIMENSION", ours=ours)
    return finding, usage_of_embedded(found), found.model_version


def _are_finite(values: Sequence[object]) -> bool:
    try:
        return all((type(value) is float or type(value) is int) and math.isfinite(value) for value in values)
    except OverflowError:  # an integer beyond the range of a double
        return False


class _Status(msgspec.Struct):
    code: int | float | str | None = None
    message: str | None = None
    status: str | None = None


def _judge_error(error: bytes) -> _Finding:
    status = _read_status(error)
    message = status.message or None
    number = _code(status)
    if number is None:
        return _Finding("failed", "UNREADABLE_ERROR", message)
    if number == 0:
        return _Finding("failed", "OK_AS_ERROR", message, 0)
    reason = GRPC_NAMES.get(number)
    if reason is None:
        return _Finding("failed", "UNKNOWN_CODE", message or f"The error has the unknown code {number}.", number)
    return _Finding("failed", reason, message, number, f"The service says {reason} without an explanation.")


def error_code(error: bytes) -> int | None:
    """The gRPC code of a row error; a number of neither gRPC nor HTTP is kept, and None stands for no number."""
    return _code(_read_status(error))


def _code(status: _Status) -> int | None:
    """The gRPC code of an error, from its number or name; a number of neither gRPC nor HTTP is kept."""
    number = status.code
    if type(number) is int and abs(number) < 2**31:
        return HTTP_CODES.get(number, number)
    if type(number) is float and number.is_integer() and abs(number) < 2**31:
        return HTTP_CODES.get(int(number), int(number))
    if type(number) is str and re.fullmatch(r"-?[0-9]{1,9}", number):
        return HTTP_CODES.get(int(number), int(number))
    return GRPC_CODES.get(str(number), GRPC_CODES.get(status.status or ""))


def _read_status(error: bytes) -> _Status:
    try:
        return decode_as(error, _Status)
    except (msgspec.DecodeError, RecursionError):
        return _loose_status(repair(error))


def _loose_status(error: bytes | None) -> _Status:
    """An error of another shape: the fields that can be read, or its text."""
    try:
        value = msgspec.json.decode(error or b"{}")
    except (msgspec.DecodeError, RecursionError):
        return _Status()
    if type(value) is str:
        name = value.split(":", 1)[0].strip().upper().replace(" ", "_")
        return _Status(status=name, message=value or None)
    if type(value) is not dict:
        return _Status()
    code, message, status = value.get("code"), value.get("message"), value.get("status")
    return _Status(
        code=code if type(code) in (int, float, str) else None,
        message=message if type(message) is str else None,
        status=status if type(status) is str else None,
    )


def text_of(response: bytes) -> str | None:
    """The text of a response: the non-thought text parts of its first candidate, joined. None if it has none."""
    try:
        found, _ = shapes.read_generated(response)
    except shapes.Unreadable:
        return None
    return text_found(found)


def text_found(found: response_types.Generated) -> str | None:
    """The text of a response that was read: that of its first candidate."""
    return text_in(found.candidates[0]) if found.candidates else None


def text_in(candidate: response_types.Candidate) -> str | None:
    """The text of a candidate: its text parts that are not thoughts, joined. None if it has none."""
    return None if candidate.content is None else _text(candidate.content.parts)
