"""Outcomes of single rows, and of ordinary calls: the responder's answer, replaced as a fault asks.

For embeddings only errors, usage and vectors can be changed; the other outcomes are for generation.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.emulator.faults.model import matches
from gemini_batch.emulator.responders import media
from gemini_batch.emulator.responders.builtin import TO_CONTINUE
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_batch.emulator.faults.armed import Armed
    from gemini_batch.emulator.faults.model import RowFault
    from gemini_batch.emulator.responders.builtin import Responder

    Response = dict[str, Any]

#: About one megabyte of base64: what huge answers are made of.
_MEGABYTE = "A" * 1_048_576
_THOUGHT = "First I look at what is asked, then at what could be meant."
_SIGNATURE = base64.b64encode(b"offline: nothing was thought").decode()
_THOUGHT_TOKENS = 512


def key_of(tag: bytes) -> str:
    """The key in a line's tag (``,"key":"…"`` or ``,"metadata":{"key":"…"}``); other metadata as JSON; else empty."""
    if not tag:
        return ""
    value = next(iter(msgspec.json.decode(b"{" + tag[1:] + b"}").values()))
    if isinstance(value, dict) and "key" in value:
        value = value["key"]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def player(
    armed: Sequence[Armed[RowFault]], batch_id: str, respond: Responder
) -> Callable[[bytes, str, Response], Response]:
    """A responder that also takes the row's tag, and plays the first fault that fits the row, if any.

    It raises :class:`RowError` for rows that fail, without calling ``respond``.
    """

    def play(tag: bytes, model: str, request: Response) -> Response:
        key = key_of(tag)
        for one in armed:
            if _meant(one.fault, key, request) and one.take_for(f"{batch_id} {key}"):
                return reshape(one.fault, lambda: respond(model, request))
        return respond(model, request)

    return play


def on_call(armed: Sequence[Armed[RowFault]], respond: Responder) -> Responder:
    """A responder that plays the first fault whose turn it is. A call has no key: only faults for every key fit it.

    It raises :class:`RowError` for calls that fail, without calling ``respond``.
    """

    def play(model: str, request: Response) -> Response:
        for one in armed:
            if _meant(one.fault, "", request) and one.take():
                if one.fault.row == "nothing":
                    return {}
                return reshape(one.fault, lambda: respond(model, request))
        return respond(model, request)

    return play


def _meant(fault: RowFault, key: str, request: Response) -> bool:
    if fault.row == "schema_missed" and "responseJsonSchema" not in (request.get("generationConfig") or {}):
        return False
    return matches(fault.key, key)


def _message(code: int, fault: RowFault) -> str:
    if fault.message is not None:
        return fault.message
    return _MESSAGES.get(code, "")


_MESSAGES = {
    3: "Request contains an invalid argument.",
    4: "Deadline expired before operation could complete.",
    8: "Resource has been exhausted (e.g. check quota).",
    13: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    14: "The service is currently unavailable.",
}


def reshape(fault: RowFault, answer: Callable[[], Response]) -> Response:
    """The answer, changed as the fault asks. Raises :class:`RowError`, and asks for no answer, if the row fails."""
    match fault.row:
        case "nothing":
            raise RowError(0, field="")
        case "error" | "status":
            code = 13 if fault.code is None else fault.code
            raise RowError(code, _message(code, fault), details=fault.details, field=fault.row)
        case "no_usage":
            return {name: value for name, value in answer().items() if name != "usageMetadata"}
        case "partial_usage":
            response = answer()
            usage = response.get("usageMetadata") or {}
            kept = {name: usage[name] for name in ("promptTokenCount", "totalTokenCount") if name in usage}
            return {**response, "usageMetadata": kept}
        case "short_vector":
            return _with_vector(answer(), lambda values: values[: len(values) // 2])
        case "nan_vector":
            # Not-a-number is a string in the service's JSON.
            return _with_vector(answer(), lambda values: ["NaN", *values[1:]])
        case "blocked":
            feedback = {"blockReason": fault.reason or "PROHIBITED_CONTENT"}
            return {"promptFeedback": feedback, **_rest(answer(), wrote=0)}
        case "no_candidates":
            return _rest(answer(), wrote=0)
        case (
            "finish"
            | "citations"
            | "cut_empty"
            | "cut_half"
            | "thought_first"
            | "empty_text"
            | "signed"
            | "text"
            | "schema_missed"
            | "function_call"
            | "image"
            | "sound"
            | "huge"
        ):
            return _generated(fault, answer())


def _with_vector(response: Response, change: Callable[[list[Any]], list[Any]]) -> Response:
    embedding = response.get("embedding") or {}
    return {**response, "embedding": {**embedding, "values": change(list(embedding.get("values") or ()))}}


def _rest(response: Response, *, wrote: int, thoughts: int = 0) -> Response:
    """An answer without its candidates, with usage for ``wrote`` and ``thoughts`` tokens."""
    before = response.get("usageMetadata") or {}
    prompt = int(before.get("promptTokenCount", 0))
    usage: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": wrote,
        "totalTokenCount": prompt + wrote + thoughts,
    }
    if not wrote:
        del usage["candidatesTokenCount"]
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    of_cache = ("cachedContentTokenCount", "cacheTokensDetails")
    usage |= {name: before[name] for name in of_cache if name in before}
    kept: Response = {name: response[name] for name in ("modelVersion", "responseId") if name in response}
    return {"usageMetadata": usage, **kept}


def _generated(fault: RowFault, response: Response) -> Response:
    """The outcomes that show in the first candidate."""
    old = (response.get("candidates") or [{}])[0]
    before: list[dict[str, Any]] = list((old.get("content") or {}).get("parts") or ())
    parts = _said(fault, before) if fault.row in _SAID else _drawn(fault)
    thoughts = _THOUGHT_TOKENS if fault.row in ("cut_empty", "thought_first") else 0
    finish = fault.reason or _FINISH.get(fault.row, "STOP")
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "finishReason": finish, "index": 0}
    if fault.row == "cut_empty":
        candidate["content"] = {"role": "model"}
    elif not parts:
        del candidate["content"]
    if fault.row == "citations":
        source = {"startIndex": 0, "endIndex": 80, "uri": "https://example.org/original"}
        candidate["citationMetadata"] = {"citationSources": [source]}
    if finish == "CONTINUATION":
        candidate["continuationToken"] = TO_CONTINUE
    if finish == "SAFETY":
        rating = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
        candidate["safetyRatings"] = [rating]
    wrote = int((response.get("usageMetadata") or {}).get("candidatesTokenCount", 1)) if parts else 0
    return {"candidates": [candidate], **_rest(response, wrote=wrote, thoughts=thoughts)}


_FINISH = {"finish": "SAFETY", "cut_empty": "MAX_TOKENS", "cut_half": "MAX_TOKENS"}
_SAID = frozenset(
    {"finish", "citations", "cut_empty", "cut_half", "thought_first", "empty_text", "signed", "text", "schema_missed"}
)
#: Used if the fault has no text of its own.
_MISSED = "Here is what I found: nothing was asked, so there is nothing to fill in."


def _said(fault: RowFault, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of a text answer."""
    if fault.row == "thought_first":
        return [{"text": _THOUGHT, "thought": True}, *parts]
    if fault.row == "signed":
        return [{**parts[0], "thoughtSignature": _SIGNATURE}, *parts[1:]] if parts else []
    if fault.row == "schema_missed":
        return [{"text": fault.text or _MISSED}]
    if fault.row in ("empty_text", "text") or fault.text:
        return [{"text": fault.text}]
    if fault.row == "cut_half":
        text = "".join(part.get("text", "") for part in parts)
        return [{"text": text[: max(1, len(text) // 2)]}]
    return []


def _drawn(fault: RowFault) -> list[dict[str, Any]]:
    """The part of an answer that is not text."""
    if fault.row == "function_call":
        return [{"functionCall": {"name": fault.text or "look_up", "args": {"what": "the weather"}}}]
    if fault.row == "image":
        return [_blob("image/png", base64.b64encode(media.png(fault.seed)).decode())]
    if fault.row == "sound":
        return [_blob(media.AUDIO_TYPE, base64.b64encode(media.pcm("A tone.", fault.seed)).decode())]
    size = round((fault.megabytes or 8) * len(_MEGABYTE)) // 4 * 4
    return [_blob("image/png", (_MEGABYTE * (size // len(_MEGABYTE) + 1))[:size])]


def _blob(mime_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime_type, "data": data}}
