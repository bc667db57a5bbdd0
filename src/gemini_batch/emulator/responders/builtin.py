"""The built-in responder: deterministic answers in the shape that the request asks for, clearly marked as offline.

Text repeats the beginning of the prompt; JSON satisfies its schema; images and sound are valid files; embeddings are
unit vectors, close to each other for texts that share words. No model is involved.
"""

from __future__ import annotations

import base64
import contextlib
import math
import re
import zlib
from collections.abc import Callable
from typing import Any

import msgspec

from gemini_batch.emulator.responders import media, schema_samples
from gemini_batch.emulator.state import models
from gemini_batch.errors import RowError
from gemini_batch.protocol import rules

#: (model, request in canonical form) -> response, as the service's JSON objects.
#: Raises :class:`RowError` for a row without an answer.
Responder = Callable[[str, dict[str, Any]], dict[str, Any]]

#: Appended to the model's name in every answer.
OFFLINE = "@offline"
_CHARACTERS_A_TOKEN = 4
_IMAGE_TOKENS = 1290
_MEDIA_TOKENS = 258
_AUDIO_TOKENS_A_SECOND = 25
_ECHO = 160
_MOST_CANDIDATES = 8
#: Base64, as the service's tokens are.
TO_CONTINUE = "b2ZmbGluZTogdGhlcmUgaXMgbW9yZQ=="

_json = msgspec.json.Encoder()


def respond(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request for generation or for an embedding; its fields tell which."""
    return embedding(model, request) if "content" in request else generation(model, request)


def tokens(characters: int) -> int:
    """The approximate number of tokens in so many characters."""
    return (characters + _CHARACTERS_A_TOKEN - 1) // _CHARACTERS_A_TOKEN


def prompt_tokens(request: dict[str, Any]) -> int:
    """The approximate number of prompt tokens of a request for generation; 0 for an empty one."""
    return _prompt_tokens(request, *_read(request.get("contents") or []))


def prompt_size(request: dict[str, Any]) -> tuple[int, int]:
    """The approximate number of prompt tokens, and how many parts of the prompt are no text."""
    texts, others = _read(request.get("contents") or [])
    return _prompt_tokens(request, texts, others), others


def generation(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """A ``GenerateContentResponse``."""
    contents = request.get("contents")
    if not contents:
        raise RowError(3, "* GenerateContentRequest.contents: contents is not specified\n")
    texts, others = _read(contents)
    if not texts and not others:
        raise RowError(3, "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n")
    config = request.get("generationConfig") or {}
    prompted = max(1, _prompt_tokens(request, texts, others))
    # An empty text is a prompt too: the official client's tests send one and get an answer.
    prompt = texts[-1] if texts else ""
    seed = zlib.crc32("\n".join(texts).encode("utf-8", "surrogatepass"), int(config.get("seed") or 0) & 0xFFFFFFFF)
    count = max(1, min(int(config.get("candidateCount") or 1), _MOST_CANDIDATES))
    limit = int(config.get("maxOutputTokens") or 0)
    thoughts = _thoughts(model, config, seed, limit)
    wrote = 0
    candidates: list[dict[str, Any]] = []
    for index in range(count):
        parts, used, cut = _parts(model, request, prompt, seed=seed + index, limit=limit - thoughts if limit else 0)
        wrote += used
        if thoughts and (config.get("thinkingConfig") or {}).get("includeThoughts"):
            parts.insert(0, {"text": "Offline: there was nothing to think about.", "thought": True})
        content: dict[str, Any] = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        candidates.append({"content": content, "finishReason": "MAX_TOKENS" if cut else "STOP", "index": index})
        if any("googleSearch" in tool for tool in request.get("tools") or ()):
            candidates[-1]["groundingMetadata"] = {"webSearchQueries": [_essence(prompt) or "nothing"]}
        if cut and not limit and (rules.generation(model) or 0) >= rules.CONTINUES_FROM:
            if request.get("continuationToken"):  # the rest is short
                candidates[-1]["finishReason"] = "STOP"
            else:
                candidates[-1] |= {"finishReason": "CONTINUATION", "continuationToken": TO_CONTINUE}
    usage: dict[str, Any] = {
        "promptTokenCount": prompted,
        "candidatesTokenCount": wrote,
        "totalTokenCount": prompted + wrote + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompted}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if made := _made(candidates):
        usage["candidatesTokensDetails"] = [
            {"modality": "IMAGE", "tokenCount": made},
            {"modality": "TEXT", "tokenCount": wrote - made},
        ]
    return {
        "candidates": candidates,
        "usageMetadata": usage,
        "modelVersion": model + OFFLINE,
        "responseId": f"offline-{seed:08x}",
    }


def _made(candidates: list[dict[str, Any]]) -> int:
    """The tokens of the images in an answer."""
    parts = [part for candidate in candidates for part in candidate["content"].get("parts") or ()]
    images = [part for part in parts if part.get("inlineData", {}).get("mimeType", "").startswith("image/")]
    return _IMAGE_TOKENS * len(images)


def embedding(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """An ``EmbedContentResponse``."""
    texts, others = _read([request["content"]])
    if not any(texts) and not others:
        raise RowError(3, "* EmbedContentRequest.content: content is not specified\n")
    config = request.get("embedContentConfig") or {}
    asked = request.get("outputDimensionality", config.get("outputDimensionality"))
    most = models.embedding_dimension(model)
    dimension = most if asked is None else int(asked)
    if not 0 < dimension <= most:
        raise RowError(3, f"* EmbedContentRequest.output_dimensionality: must be between 1 and {most}\n")
    text = "\n".join(texts)
    used = max(1, tokens(len(text))) + _MEDIA_TOKENS * others
    return {
        "embedding": {"values": vector(text, dimension)},
        "usageMetadata": {
            "promptTokenCount": used,
            "promptTokenDetails": [{"modality": "TEXT", "tokenCount": used}],
        },
    }


def vector(text: str, dimension: int) -> list[float]:
    """A unit vector. Every word raises or lowers a few components, so texts that share words are close together."""
    values = [0.0] * dimension
    for word in re.findall(r"\w+", text.lower()) or [text]:
        mark = zlib.crc32(word.encode("utf-8", "surrogatepass"))
        for _ in range(8):
            mark = (mark * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
            values[(mark >> 8) % dimension] += 1.0 if mark & 0x80 else -1.0
    length = math.sqrt(sum(value * value for value in values))
    if not length:
        values[0] = length = 1.0
    return [value / length if value else 0.0 for value in values]


def _read(contents: list[Any]) -> tuple[list[str], int]:
    """All text of the contents, and how many other parts there are."""
    texts: list[str] = []
    others = 0
    for content in contents:
        for part in content.get("parts") or ():
            text = part.get("text")
            if text is None:
                others += 1
            else:
                texts.append(text)
    return texts, others


def _prompt_tokens(request: dict[str, Any], texts: list[str], others: int) -> int:
    characters = sum(map(len, texts))
    if system := request.get("systemInstruction"):
        characters += sum(len(part.get("text") or "") for part in system.get("parts") or ())
    return tokens(characters) + _MEDIA_TOKENS * others


def _thoughts(model: str, config: dict[str, Any], seed: int, limit: int) -> int:
    thinking = config.get("thinkingConfig") or {}
    if thinking.get("thinkingBudget") == 0 or thinking.get("thinkingLevel") == "MINIMAL" or not models.thinks(model):
        return 0
    some = 16 + seed % 48
    return min(some, limit // 2) if limit else some


def _parts(
    model: str, request: dict[str, Any], prompt: str, *, seed: int, limit: int
) -> tuple[list[dict[str, Any]], int, bool]:
    """The parts of one candidate, their tokens, and whether the limit cut them."""
    config = request.get("generationConfig") or {}
    modalities = config.get("responseModalities") or ()
    kind = models.kind_of(model)
    if "AUDIO" in modalities or (kind == "speech" and not modalities):
        sound = base64.b64encode(media.pcm(prompt, seed)).decode()
        part = {"inlineData": {"mimeType": media.AUDIO_TYPE, "data": sound}}
        return [part], math.ceil(media.seconds(prompt) * _AUDIO_TOKENS_A_SECOND), False
    try:
        called = _function_call(request, seed)
    except schema_samples.TooLong:
        return [], tokens(schema_samples.MOST_CHARACTERS), True
    if called is not None:
        return [{"functionCall": called}], tokens(len(_json.encode(called))), False
    pictures = "IMAGE" in modalities or (kind == "image" and not modalities)
    parts: list[dict[str, Any]] = []
    used, cut = 0, False
    if not pictures or "TEXT" in modalities or not modalities:
        text, cut = _text(config, prompt, seed)
        for stop in config.get("stopSequences") or ():
            text = text.partition(stop)[0] if stop else text
        if limit and tokens(len(text)) > limit:
            text, cut = text[: limit * _CHARACTERS_A_TOKEN], True
        used = tokens(len(text))
        if text:
            parts.append({"text": text})
    if pictures and not cut:
        ratio = (config.get("imageConfig") or {}).get("aspectRatio") or "1:1"
        picture = base64.b64encode(media.png(seed, ratio)).decode()
        parts.append({"inlineData": {"mimeType": "image/png", "data": picture}})
        used += _IMAGE_TOKENS
    return parts, used, cut


def _text(config: dict[str, Any], prompt: str, seed: int) -> tuple[str, bool]:
    """The text, and whether it is cut because its schema asks for more than a model can write."""
    try:
        return _whole_text(config, prompt, seed), False
    except schema_samples.TooLong as error:
        part = "" if error.part is None else _json.encode(error.part).decode()
        return part[: schema_samples.MOST_CHARACTERS].rstrip('"]}'), True


def _whole_text(config: dict[str, Any], prompt: str, seed: int) -> str:
    wanted = (config.get("responseFormat") or {}).get("text") or {}
    schema = config.get("responseJsonSchema", config.get("responseSchema", wanted.get("schema")))
    mime_type = config.get("responseMimeType") or ""
    if mime_type == "text/x.enum" and schema is not None:
        return str(schema_samples.sample(schema, seed))
    if mime_type == "application/json" or wanted.get("mimeType") == "APPLICATION_JSON":
        value = {"offline": True, "echo": _essence(prompt)}
        if schema is not None:
            # A schema that makes no sense is the service's to refuse.
            with contextlib.suppress(TypeError, ValueError, AttributeError, KeyError, IndexError):
                value = schema_samples.sample(schema, seed)
        return _json.encode(value).decode()
    if not prompt:
        return "This is an offline answer: no model was asked. There was no text in the request."
    return f"This is an offline answer: no model was asked. The request said: “{_essence(prompt)}”"


def _essence(prompt: str) -> str:
    """The beginning of a prompt on one line, cut at a word boundary."""
    line = " ".join(prompt[: 4 * _ECHO].split())
    if len(line) <= _ECHO:
        return line
    return line[:_ECHO].rsplit(" ", 1)[0].rstrip(".,;: ") + " …"


def _function_call(request: dict[str, Any], seed: int) -> dict[str, Any] | None:
    """A call of the first allowed function, if the request requires one."""
    calling = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    if calling.get("mode") != "ANY":
        return None
    allowed = calling.get("allowedFunctionNames")
    for tool in request.get("tools") or ():
        for function in tool.get("functionDeclarations") or ():
            if not allowed or function.get("name") in allowed:
                schema = function.get("parametersJsonSchema", function.get("parameters"))
                args = schema_samples.sample(schema, seed) if schema else {}
                return {"name": function.get("name", ""), "args": args}
    return None
