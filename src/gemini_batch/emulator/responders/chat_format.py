"""Translation between formats: a ``GenerateContentRequest`` to a chat completion, and its answer back.

Pure functions, no network. What an OpenAI-compatible server cannot express is refused by name, as the row's error
(code 3). Sampling options without a counterpart (``topK``, ``thinkingConfig``, ``safetySettings``, logprobs) are left
out; ``docs/local-models.md`` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from gemini_batch import jsonl
from gemini_batch.emulator.messages.openai_names import AUDIO, FINISH, JSON, MODES, SETTINGS
from gemini_batch.emulator.responders.builtin import OFFLINE
from gemini_batch.errors import RowError
from gemini_batch.protocol.openapi_schema import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Keywords of the API's Schema that JSON Schema lacks or expresses differently.


class _Call(NamedTuple):
    name: str
    id: str


def chat_request(model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The body of ``POST …/chat/completions``. Raises :class:`RowError` (3) for what it cannot express."""
    messages: list[dict[str, Any]] = []
    if system := request.get("systemInstruction"):
        messages.append({"role": "system", "content": _text_of(system.get("parts") or (), "systemInstruction")})
    calls: list[_Call] = []
    for content in request.get("contents") or ():
        messages += _messages(content, calls)
    if not any(message["role"] != "system" for message in messages):
        raise RowError(3, "* GenerateContentRequest.contents: contents is not specified\n")
    body: dict[str, Any] = {"model": model, "messages": messages}
    config = request.get("generationConfig") or {}
    body |= {theirs: config[ours] for ours, theirs in SETTINGS.items() if config.get(ours) is not None}
    if body.get("n") == 1:
        del body["n"]
    if made := _response_format(config):
        body["response_format"] = made
    return body | _tools(request)


def chat_answer(model: str, completion: Any, *, thoughts: bool = False) -> dict[str, Any]:
    """A ``GenerateContentResponse`` from a chat completion.

    ``model`` is the requested model; a model named in the completion takes precedence. ``thoughts``: whether the
    model's reasoning becomes thought parts. Raises :class:`RowError` (13) if it is not a chat completion.
    """
    choices = completion.get("choices") if isinstance(completion, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices) or not choices:
        raise RowError(13, f"the answer is not a chat completion: {_shown(completion)}")
    answer: dict[str, Any] = {
        "candidates": [_candidate(choice, place, thoughts=thoughts) for place, choice in enumerate(choices)],
    }
    if usage := _usage(completion.get("usage")):
        answer["usageMetadata"] = usage
    answer["modelVersion"] = f"{completion.get('model') or model}{OFFLINE}"
    if completion.get("id"):
        answer["responseId"] = str(completion["id"])
    return answer


def embedding_request(model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The body of ``POST …/embeddings``. Task types and titles have no counterpart and are left out."""
    text = _text_of((request.get("content") or {}).get("parts") or (), "content")
    if not text:
        raise RowError(3, "* EmbedContentRequest.content: content is not specified\n")
    body: dict[str, Any] = {"model": model, "input": text}
    if (dimension := _dimension(request)) is not None:
        body["dimensions"] = dimension
    return body


def embedding_answer(request: Mapping[str, Any], answer: Any) -> dict[str, Any]:
    """An ``EmbedContentResponse``. Raises :class:`RowError`: 13 if it is not an embedding, 3 for a wrong dimension."""
    data = answer.get("data") if isinstance(answer, dict) else None
    first = data[0] if isinstance(data, list) and data else None
    values = first.get("embedding") if isinstance(first, dict) else None
    if not isinstance(values, list) or not values or not all(isinstance(value, int | float) for value in values):
        raise RowError(13, f"the answer is not an embedding: {_shown(answer)}")
    asked = _dimension(request)
    if asked is not None and asked != len(values):
        raise RowError(3, f"this model's embeddings have {len(values)} dimensions, not the requested {asked}.")
    made: dict[str, Any] = {"embedding": {"values": values}}
    if (used := _whole(answer.get("usage"), "prompt_tokens")) is not None:
        made["usageMetadata"] = {"promptTokenCount": used}
    return made


def _no(what: str) -> RowError:
    return RowError(3, f"This responder cannot pass on {what}.")


def _shown(value: Any) -> str:
    if isinstance(value, dict) and (error := value.get("error")):
        value = error.get("message", error) if isinstance(error, dict) else error
    text = value if isinstance(value, str) else jsonl.encode(value).decode()
    return text if len(text) <= 300 else text[:300] + "…"


def _dimension(request: Mapping[str, Any]) -> int | None:
    config = request.get("embedContentConfig") or {}
    asked = request.get("outputDimensionality", config.get("outputDimensionality"))
    return None if asked is None else int(asked)


def _text_of(parts: Iterable[Mapping[str, Any]], where: str) -> str:
    """The text of parts that may contain nothing else."""
    for part in parts:
        if other := next((name for name in ("inlineData", "fileData", "functionCall") if part.get(name)), None):
            raise _no(f"{other} in {where}")
    return "\n".join(part["text"] for part in parts if part.get("text") and not part.get("thought"))


def _messages(content: Mapping[str, Any], calls: list[_Call]) -> list[dict[str, Any]]:
    """The messages of one content; ``calls`` are the function calls that have no response yet."""
    parts = [part for part in content.get("parts") or () if not part.get("thought")]
    if content.get("role") == "model":
        return [_said(parts, calls)] if parts else []
    made: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []
    for part in parts:
        if response := part.get("functionResponse"):
            made.append(_returned(response, calls))
        else:
            said += _piece(part)
    if said:
        plain = all(piece["type"] == "text" for piece in said)
        made.append({"role": "user", "content": "\n".join(piece["text"] for piece in said) if plain else said})
    return made


def _piece(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One part of a user's message."""
    if "text" in part:
        return [{"type": "text", "text": part["text"]}] if part["text"] else []
    if blob := part.get("inlineData"):
        kind, data = str(blob.get("mimeType") or ""), blob.get("data") or ""
        if kind.startswith("image/"):
            return [{"type": "image_url", "image_url": {"url": f"data:{kind};base64,{_padded(data)}"}}]
        if kind in AUDIO:
            return [{"type": "input_audio", "input_audio": {"data": _padded(data), "format": AUDIO[kind]}}]
        raise _no(f"inlineData of the type {kind or 'nothing'}: only images, WAV and MP3")
    if part.get("fileData"):
        raise _no("fileData: put the image into the request as inlineData")
    name = next((key for key, value in part.items() if value), "an empty part")
    raise _no(f"{name} in contents")


def _padded(data: str) -> str:
    """Base64 for data URLs: the standard alphabet, padded. The API also accepts the URL-safe alphabet."""
    data = data.replace("-", "+").replace("_", "/").rstrip("=")
    return data + "=" * (-len(data) % 4)


def _said(parts: list[dict[str, Any]], calls: list[_Call]) -> dict[str, Any]:
    """An earlier message of the model: text and function calls."""
    called: list[dict[str, Any]] = []
    for part in parts:
        if call := part.get("functionCall"):
            made = _Call(str(call.get("name") or ""), str(call.get("id") or f"call-{len(calls) + 1}"))
            calls.append(made)
            arguments = jsonl.encode(call.get("args") or {}).decode()
            called.append({"id": made.id, "type": "function", "function": {"name": made.name, "arguments": arguments}})
        elif "text" not in part:
            name = next((key for key, value in part.items() if value), "an empty part")
            raise _no(f"{name} in the model's messages")
    text = "\n".join(part["text"] for part in parts if part.get("text"))
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    return message | {"tool_calls": called} if called else message | {"content": text}


def _returned(response: Mapping[str, Any], calls: list[_Call]) -> dict[str, Any]:
    """A function's response, matched to its call by id, else to the first open call of that name."""
    name, wanted = str(response.get("name") or ""), response.get("id")
    match = next((call for call in calls if (call.id == wanted if wanted else call.name == name)), None)
    if match is not None:
        calls.remove(match)
    content = jsonl.encode(response.get("response") or {}).decode()
    return {"role": "tool", "tool_call_id": match.id if match else str(wanted or name), "content": content}


def _response_format(config: Mapping[str, Any]) -> dict[str, Any] | None:
    wanted = config.get("responseFormat") or {}
    if other := next((name for name in ("audio", "image") if wanted.get(name)), None):
        raise _no(f"responseFormat.{other}: this server writes text")
    if others := [name for name in config.get("responseModalities") or () if name != "TEXT"]:
        raise _no(f"the response modality {others[0]}: this server writes text")
    text = wanted.get("text") or {}
    kind = config.get("responseMimeType") or (JSON if text.get("mimeType") == "APPLICATION_JSON" else "")
    if kind not in ("", "text/plain", JSON):
        raise _no(f"the responseMimeType {kind}")
    if kind != JSON:
        return None
    schema = config.get("responseJsonSchema", text.get("schema"))
    if schema is None and config.get("responseSchema") is not None:
        schema = translated(config["responseSchema"])
    if schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _tools(request: Mapping[str, Any]) -> dict[str, Any]:
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or ()
    made: list[dict[str, Any]] = []
    for tool in request.get("tools") or ():
        if other := next((name for name in tool if name != "functionDeclarations"), None):
            raise _no(f"the tool {other}: only functions of your own")
        for function in tool.get("functionDeclarations") or ():
            if allowed and function.get("name") not in allowed:
                continue
            parameters = function.get("parametersJsonSchema")
            if parameters is None and function.get("parameters"):
                parameters = translated(function["parameters"])
            known = {"name": function.get("name"), "description": function.get("description"), "parameters": parameters}
            made.append({"type": "function", "function": {key: value for key, value in known.items() if value}})
    if not made:
        return {}
    choice = MODES.get(calling.get("mode") or "")
    return {"tools": made, "tool_choice": choice} if choice else {"tools": made}


def _candidate(choice: dict[str, Any], place: int, *, thoughts: bool) -> dict[str, Any]:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    parts: list[dict[str, Any]] = []
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thoughts and isinstance(thought, str):
        parts.append({"text": thought, "thought": True})
    said = message.get("content")
    if isinstance(said, list):  # some servers answer with a list of parts
        said = "".join(str(piece.get("text") or "") for piece in said if isinstance(piece, dict))
    if said and isinstance(said, str):
        parts.append({"text": said})
    finish = FINISH.get(str(choice.get("finish_reason") or ""), "OTHER")
    for call in message.get("tool_calls") or ():
        made = _function_call(call)
        if made is None:
            finish = "MALFORMED_FUNCTION_CALL"
        else:
            parts.append({"functionCall": made})
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"} if parts else {"role": "model"}}
    if refusal := message.get("refusal"):
        finish, candidate["finishMessage"] = "SAFETY", str(refusal)
    index = choice.get("index")
    return candidate | {"finishReason": finish, "index": index if isinstance(index, int) else place}


def _function_call(call: Any) -> dict[str, Any] | None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        return None
    try:
        arguments = jsonl.decode(str(function.get("arguments") or "{}").encode())
    except jsonl.NotJson:
        return None
    if not isinstance(arguments, dict) or not function.get("name"):
        return None
    made = {"name": str(function["name"]), "args": arguments}
    return made | {"id": str(call["id"])} if call.get("id") else made


def _usage(usage: Any) -> dict[str, Any]:
    """Token counts, with thinking tokens separate if the server reports them. Empty if there are none."""
    prompt, wrote = _whole(usage, "prompt_tokens"), _whole(usage, "completion_tokens")
    if prompt is None and wrote is None:
        return {}
    prompt, wrote = prompt or 0, wrote or 0
    thought = min(wrote, _whole(usage.get("completion_tokens_details"), "reasoning_tokens") or 0)
    made = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": wrote - thought,
        "totalTokenCount": prompt + wrote,
    }
    if thought:
        made["thoughtsTokenCount"] = thought
    if cached := _whole(usage.get("prompt_tokens_details"), "cached_tokens"):
        made["cachedContentTokenCount"] = min(prompt, cached)
    return made


def _whole(values: Any, name: str) -> int | None:
    value = values.get(name) if isinstance(values, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
