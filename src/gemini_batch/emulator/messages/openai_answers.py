"""The API's answers as OpenAI's clients read them: chat completions, their chunks, embeddings, usage.

Pure functions. Tokens spent on thinking are in ``total_tokens`` only, as at the service.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

from gemini_batch import jsonl
from gemini_batch.emulator.messages import streams
from gemini_batch.emulator.messages.openai_names import finish_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def completion(response: dict[str, Any], *, model: str, created: int) -> dict[str, Any]:
    """A chat completion. ``created``: seconds since 1970. A blocked prompt has one choice, without a message."""
    choices = [_choice(candidate, place) for place, candidate in enumerate(response.get("candidates") or ())]
    made = {"choices": choices or [_blocked(response)], **_head(response, model, created), "object": "chat.completion"}
    return made | {"usage": usage(response)}


def chunks(
    response: dict[str, Any], *, model: str, created: int, include_usage: bool = False
) -> Iterator[dict[str, Any]]:
    """The same as the chunks of a stream: those of a native stream, translated one by one; usage only if it is wanted.

    The finish reason is ``stop`` even after function calls, as in the service's streams.
    """
    head = {**_head(response, model, created), "object": "chat.completion.chunk"}
    called: Counter[int] = Counter()
    for chunk in streams.chunks(response):
        choices = [_delta(candidate, place, called) for place, candidate in enumerate(chunk.get("candidates") or ())]
        yield {**head, "choices": choices or [{"delta": {"role": "assistant"}, **_blocked(response)}]}
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
    message = _message(candidate)
    return {
        "finish_reason": finish_of(_reason(candidate), calls="tool_calls" in message),
        "index": candidate.get("index", place),
        "message": message,
    }


def _delta(candidate: dict[str, Any], place: int, called: Counter[int]) -> dict[str, Any]:
    """One choice of a chunk. ``called``: how many calls each candidate has so far."""
    index = candidate.get("index", place)
    delta = _message(candidate, calls=called[index])
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": number, **call} for number, call in enumerate(calls, called[index])]
        called[index] += len(calls)
    made = {"delta": delta, "index": index}
    return made | {"finish_reason": finish_of(_reason(candidate), calls=False)} if "finishReason" in candidate else made


def _message(candidate: dict[str, Any], *, calls: int = 0) -> dict[str, Any]:
    """What a candidate says. ``calls``: how many calls it had in earlier chunks."""
    parts = (candidate.get("content") or {}).get("parts") or ()
    texts = [part["text"] for part in parts if part.get("text") is not None and not part.get("thought")]
    called = [part for part in parts if part.get("functionCall")]
    message: dict[str, Any] = {"role": "assistant"}
    if texts:
        message["content"] = "".join(texts)
    if called:
        message["tool_calls"] = [_call(part, number) for number, part in enumerate(called, calls)]
    return message


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


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _count(response: dict[str, Any], name: str) -> int:
    value = (response.get("usageMetadata") or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
