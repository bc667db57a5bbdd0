"""The names of a request's fields, and the names that people write instead of them.

The names are the protocol's, in both spellings that proto JSON reads, ``lowerCamel`` and ``snake_case``. The foreign
names come from other providers' formats, from the SDK's arguments and from fields that belong one level up or down;
each entry says what to write instead.
"""

from __future__ import annotations

import difflib
import functools
from typing import NamedTuple

from gemini_batch.protocol.spelling import camel, snake
from gemini_batch.protocol.tables import group, names


def both(names: str) -> frozenset[str]:
    """The names in a string, separated by spaces, in both spellings."""
    found = names.split()
    return frozenset(found) | frozenset(map(snake, found))


LINE = frozenset({"key", "request"})

GENERATE = names("GenerateContentRequest")
EMBED = names("EmbedContentRequest")
EMBED_CONFIG = names("EmbedContentConfig")
GENERATION_CONFIG = names("GenerationConfig")
CONTENT = names("Content")
PART = names("Part")
#: The data fields of a part; a part has exactly one of them.
PART_DATA = group("Part", "data")
TOOL = names("Tool")


class Word(NamedTuple):
    """A field name that does not belong where it is: what is wrong with it, and what to write instead."""

    what: str
    instead: str


_OPENAI = "is a field of OpenAI's batch format"
_SDK = "is an argument of the Python SDK, not a field of the request"

#: Next to ``key``. The service was observed to ignore such fields without an error. Next to a complete ``request`` most
#: of them are the user's own notes; without one, they are what the line was meant to say.
LINE_WORDS: dict[str, Word] = {
    "config": Word(
        "is the SDK's name for the settings and has no effect next to `request`",
        "Move its settings to `request.generationConfig` (system instruction, tools and safety settings to `request`).",
    ),
    "model": Word(
        "has no effect in a line: the job's model answers every line",
        "Remove it, and give the model with `--model` when you create the job.",
    ),
    "body": Word(_OPENAI, 'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` instead.'),
    "method": Word(_OPENAI, "Remove it. The job sets the method."),
    "url": Word(_OPENAI, "Remove it. The job sets the address."),
    "messages": Word(
        "is the chat format of other providers",
        'Write `"request": {"contents": [{"role": "user", "parts": [{"text": "…"}]}]}` instead.',
    ),
    "prompt": Word(
        "is not a field of a line",
        'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` in its place.',
    ),
    "text": Word(
        "is not a field of a line",
        'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` in its place.',
    ),
    "input": Word(
        "is not a field of a line",
        'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` in its place.',
    ),
    "params": Word(
        "is a field of Anthropic's batch format",
        'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` in its place.',
    ),
    "response": Word(
        "is a field of a result line", "Use the request file, not the result file, and remove this field."
    ),
}

#: Inside ``request``, next to ``contents``.
REQUEST_WORDS: dict[str, Word] = {
    "config": Word(
        "is the SDK's name for the settings",
        "In a request file, use `generationConfig`. System instruction, tools and safety settings go next to it, "
        "directly in `request`.",
    ),
    "key": Word("belongs next to `request`, not in it", "Move it one level up."),
    "customId": Word(_OPENAI, "Write `key` next to `request` instead."),
    "messages": Word(
        "is the chat format of other providers",
        'Write `"contents": [{"role": "user", "parts": [{"text": "…"}]}]`; a system message goes to '
        "`systemInstruction`.",
    ),
    "prompt": Word("is not a field of a request", 'Write `"contents": [{"parts": [{"text": "…"}]}]` instead.'),
    "text": Word("is not a field of a request", 'Write `"contents": [{"parts": [{"text": "…"}]}]` instead.'),
    "input": Word(
        "is another provider's field",
        'Write `"contents": [{"parts": [{"text": "…"}]}]`; for an embedding, `"content": {"parts": [{"text": "…"}]}`.',
    ),
    "parts": Word("belongs in a content", 'Write `"contents": [{"parts": […]}]`.'),
    "role": Word("belongs in a content", 'Write `"contents": [{"role": "user", "parts": […]}]`.'),
    "system": Word("is another provider's field", 'Write `"systemInstruction": {"parts": [{"text": "…"}]}` instead.'),
    "systemPrompt": Word(
        "is not a field of a request", 'Write `"systemInstruction": {"parts": [{"text": "…"}]}` instead.'
    ),
    "stream": Word("has no effect in a batch", "Remove it."),
    "requests": Word("puts several requests in one line", "Write one line, with its own key, for each request."),
    "request": Word("is nested in itself", "Remove one of the two levels of `request`."),
    "functions": Word("is another provider's field", 'Write `"tools": [{"functionDeclarations": […]}]` instead.'),
    "toolChoice": Word(
        "is another provider's field",
        'Write `"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}` instead.',
    ),
    "responseFormat": Word(
        "belongs in `request.generationConfig`",
        'For JSON answers, write `"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": '
        "{…}}`.",
    ),
    "httpOptions": Word(_SDK, "Remove it."),
    "automaticFunctionCalling": Word(_SDK, "Remove it."),
    "priority": Word("belongs to the job, not to a request", "Remove it."),
    "displayName": Word("belongs to the job, not to a request", "Remove it, and use `--name`."),
    "metadata": Word(
        "is not a field of a request", "Remove it. The `key` next to `request` comes back with the answer."
    ),
}

#: Other names for settings of ``generationConfig``, wherever they occur.
SETTING_WORDS: dict[str, str] = {
    "maxTokens": "maxOutputTokens",
    "maxCompletionTokens": "maxOutputTokens",
    "maxNewTokens": "maxOutputTokens",
    "maxTokensToSample": "maxOutputTokens",
    "stop": "stopSequences",
    "n": "candidateCount",
    "jsonSchema": "responseJsonSchema",
    "schema": "responseJsonSchema",
    "mimeType": "responseMimeType",
    "modalities": "responseModalities",
    "thinking": "thinkingConfig",
    "thinkingBudget": "thinkingConfig.thinkingBudget",
    "thinkingLevel": "thinkingConfig.thinkingLevel",
    "includeThoughts": "thinkingConfig.includeThoughts",
    "reasoningEffort": "thinkingConfig.thinkingLevel",
    "aspectRatio": "imageConfig.aspectRatio",
    "imageSize": "imageConfig.imageSize",
    "voiceConfig": "speechConfig.voiceConfig",
    "multiSpeakerVoiceConfig": "speechConfig.multiSpeakerVoiceConfig",
}


@functools.lru_cache(maxsize=1024)
def near(name: str, known: frozenset[str]) -> str | None:
    """The camelCase field that ``name`` probably misspells, or None.

    Cached, because an error in one line of a file is usually in all of them.
    """
    if name.startswith("_"):
        # Not a typing error: the service has internal fields of this form.
        return None
    candidates = {camel(field) for field in known}
    shape = camel(name.replace("-", "_"))
    by_case = {field.lower(): field for field in candidates}
    if found := by_case.get(shape.replace("_", "").lower()):
        return found
    close = difflib.get_close_matches(shape.lower(), by_case, n=1, cutoff=0.8)
    if not close and len(shape) > 2:  # `uri` for `fileUri`
        close = [field for field in by_case if field.endswith(shape.lower())]
    return by_case[close[0]] if len(close) == 1 else None
