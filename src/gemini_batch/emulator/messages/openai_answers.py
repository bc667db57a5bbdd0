"""The API's answers as OpenAI's clients read them: chat completions, their chunks, embeddings, usage.

Pure functions. Tokens spent on thinking are in ``total_tokens`` only, as at the service.
"""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.emulator.messages.openai_names import finish_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Characters of text in one chunk of a stream.
_CHUNK = 24


def completion(response: dict[str, Any], *, model: str, created: int) -> dict[str, Any]:
    """A chat completion. ``created``: seconds since 1970. A blocked prompt has one choice, without a message."""
    choices = [_choice(candidate, place) for place, candidate in enumerate(response.get("candidates") or ())]
    made = {"choices": choices or [_blocked(response)], **_head(response, model, created), "object": "chat.completion"}
    return made | {"usage": usage(response)}


def chunks(
    response: dict[str, Any], *, model: str, created: int, include_usage: bool = False
) -> Iterator[dict[str, Any]]:
    """The same as the chunks of a stream: per candidate its text, its function calls, and its finish reason.

    The finish reason is ``stop`` even after function calls, as in the service's streams.
    """
    head = {**_head(response, model, created), "object": "chat.completion.chunk"}
    for place, candidate in enumerate(response.get("candidates") or ()):
        choice = _choice(candidate, place)
        message = choice["message"]
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in _pieces(message.get("content") or "")]
        if calls := message.get("tool_calls"):
            deltas.append({"tool_calls": [{"index": number, **call} for number, call in enumerate(calls)]})
        for delta in deltas:
            yield {**head, "choices": [{"delta": {"role": "assistant", **delta}, "index": choice["index"]}]}
        finish = finish_of(_reason(candidate), calls=False)
        last = {"delta": {"role": "assistant"}, "finish_reason": finish, "index": choice["index"]}
        yield {**head, "choices": [last]}
    if not response.get("candidates"):
        yield {**head, "choices": [{"delta": {"role": "assistant"}, **_blocked(response)}]}
    if include_usage:
        yield {**head, "choices": [], "usage": usage(response)}


def embeddings(found: Sequence[dict[str, Any]], *, model: str, in_base64: bool) -> dict[str, Any]:
    """The list of embeddings; ``in_base64``: vectors as little-endian 32-bit floats in base64."""
    vectors = [one["embedding"]["values"] for one in found]
    used = sum(_count(one, "promptTokenCount") for one in found)
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if in_base64 else vector}
        for place, vector in enumerate(vectors)
    ]
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def usage(response: dict[str, Any]) -> dict[str, int]:
    """Token counts of an answer."""
    return {
        "prompt_tokens": _count(response, "promptTokenCount"),
        "completion_tokens": _count(response, "candidatesTokenCount"),
        "total_tokens": _count(response, "totalTokenCount"),
    }


def _head(response: dict[str, Any], model: str, created: int) -> dict[str, Any]:
    answered = response.get("modelVersion") or model
    return {"created": created, "id": str(response.get("responseId") or f"{answered}-{created}"), "model": answered}


def _choice(candidate: dict[str, Any], place: int) -> dict[str, Any]:
    parts = (candidate.get("content") or {}).get("parts") or ()
    texts = [part["text"] for part in parts if part.get("text") is not None and not part.get("thought")]
    calls = [_call(part, number) for number, part in enumerate(parts) if part.get("functionCall")]
    message: dict[str, Any] = {"role": "assistant"}
    if texts:
        message["content"] = "".join(texts)
    if calls:
        message["tool_calls"] = calls
    return {
        "finish_reason": finish_of(_reason(candidate), calls=bool(calls)),
        "index": candidate.get("index", place),
        "message": message,
    }


def _reason(candidate: dict[str, Any]) -> str:
    return str(candidate.get("finishReason") or "FINISH_REASON_UNSPECIFIED")


def _blocked(response: dict[str, Any]) -> dict[str, Any]:
    reason = (response.get("promptFeedback") or {}).get("blockReason") or "OTHER"
    return {"finish_reason": finish_of(str(reason), calls=False), "index": 0}


def _call(part: dict[str, Any], number: int) -> dict[str, Any]:
    called = part["functionCall"]
    made: dict[str, Any] = {
        "function": {
            "arguments": jsonl.encode(called.get("args") or {}).decode(),
            "name": str(called.get("name") or ""),
        },
        "id": str(called.get("id") or f"function-call-{number}"),
        "type": "function",
    }
    if part.get("thoughtSignature"):
        made["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return made


def _pieces(text: str) -> list[str]:
    return [text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK)]


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _count(response: dict[str, Any], name: str) -> int:
    value = (response.get("usageMetadata") or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
