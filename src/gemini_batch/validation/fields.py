"""The words of a request, and the words people write in their place.

One table a level of the line: what the service's ``v1beta`` schema of 2026-08 names there. Every name counts in both
spellings that proto JSON reads, ``lowerCamel`` and ``snake_case``. The foreign words come from other providers'
formats, from the SDK's arguments and from fields that belong one level up or down; each knows what to write instead.
"""

from __future__ import annotations

import difflib
import functools
import re
from typing import NamedTuple

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
_UNDERSCORE = re.compile(r"_([a-z0-9])")


def snake(name: str) -> str:
    """``maxOutputTokens`` -> ``max_output_tokens``."""
    return _HUMP.sub(lambda hump: "_" + hump[1].lower(), name)


def camel(name: str) -> str:
    """``max_output_tokens`` -> ``maxOutputTokens``; a leading underscore stays."""
    return _UNDERSCORE.sub(lambda bar: bar[1].upper(), name) if "_" in name[1:] else name


def both(names: str) -> frozenset[str]:
    """The names of a table, separated by spaces, in both spellings."""
    found = names.split()
    return frozenset(found) | frozenset(map(snake, found))


LINE = frozenset({"key", "request"})

GENERATE = both(
    "model contents systemInstruction tools toolConfig safetySettings generationConfig cachedContent serviceTier store"
)
EMBED = both("model content embedContentConfig taskType title outputDimensionality")
EMBED_CONFIG = both("taskType title outputDimensionality autoTruncate documentOcr audioTrackExtraction")

GENERATION_CONFIG = both(
    "temperature topP topK candidateCount maxOutputTokens stopSequences seed presencePenalty frequencyPenalty "
    "responseMimeType responseSchema responseJsonSchema responseFormat responseModalities responseLogprobs logprobs "
    "mediaResolution speechConfig imageConfig thinkingConfig audioTranscriptionConfig translationConfig "
    "enableAffectiveDialog enableEnhancedCivicAnswers"
)
THINKING_CONFIG = both("includeThoughts thinkingBudget thinkingLevel")
IMAGE_CONFIG = both("aspectRatio imageSize")
SPEECH_CONFIG = both("voiceConfig multiSpeakerVoiceConfig languageCode")

CONTENT = both("role parts")
#: The fields of a part of which it holds exactly one.
PART_DATA = both(
    "text inlineData fileData functionCall functionResponse executableCode codeExecutionResult toolCall toolResponse"
)
PART = PART_DATA | both("thought thoughtSignature videoMetadata mediaResolution mediaProcessing partMetadata")
BLOB = both("mimeType data")
FILE_DATA = both("mimeType fileUri")

TOOL = both(
    "functionDeclarations googleSearch googleSearchRetrieval codeExecution urlContext fileSearch googleMaps "
    "computerUse mcpServers"
)
SAFETY_SETTING = both("category threshold")

#: What ``responseSchema`` understands: an OpenAPI subset, not JSON Schema.
SCHEMA = both(
    "type format title description nullable enum items minItems maxItems properties required propertyOrdering "
    "minProperties maxProperties anyOf minimum maximum minLength maxLength pattern default example"
)

TASK_TYPES = frozenset(
    {
        "TASK_TYPE_UNSPECIFIED",
        "RETRIEVAL_QUERY",
        "RETRIEVAL_DOCUMENT",
        "SEMANTIC_SIMILARITY",
        "CLASSIFICATION",
        "CLUSTERING",
        "QUESTION_ANSWERING",
        "FACT_VERIFICATION",
        "CODE_RETRIEVAL_QUERY",
    }
)


class Word(NamedTuple):
    """A word that does not belong where it stands: what it is, and what to write instead."""

    what: str
    instead: str


_OPENAI = "belongs to an OpenAI batch line"
_SDK = "is an argument of the Python SDK, not a field of the request"

#: Beside ``key``. The service has been seen to ignore such words without an error. Beside a whole ``request`` most of
#: them are somebody's notes; in the place of one, they are what the line was meant to say.
LINE_WORDS: dict[str, Word] = {
    "config": Word(
        "is the SDK's word, and beside `request` it has no effect",
        "Move its settings to `request.generationConfig` (system instruction, tools and safety settings to `request`).",
    ),
    "model": Word(
        "has no effect in a line: the job's model answers every line",
        "Take it out and name the model when the job is created.",
    ),
    "body": Word(_OPENAI, 'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` in its place.'),
    "method": Word(_OPENAI, "Take it out: the job knows its method."),
    "url": Word(_OPENAI, "Take it out: the job knows its address."),
    "messages": Word(
        "is the chat format of other providers",
        'Write `"request": {"contents": [{"role": "user", "parts": [{"text": "…"}]}]}` in its place.',
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
        "belongs to an Anthropic batch line",
        'Write `"request": {"contents": [{"parts": [{"text": "…"}]}]}` in its place.',
    ),
    "response": Word(
        "belongs to a line of results", "Give the file of requests, not the file of results, and take this field out."
    ),
}

#: Inside ``request``, beside ``contents``.
REQUEST_WORDS: dict[str, Word] = {
    "config": Word(
        "is the SDK's word",
        "In a request file it is called `generationConfig`; system instruction, tools and safety settings stand beside "
        "it, in `request` itself.",
    ),
    "key": Word("stands beside `request`, not in it", "Move it one level up."),
    "customId": Word(_OPENAI, "Write `key` beside `request` instead."),
    "messages": Word(
        "is the chat format of other providers",
        'Write `"contents": [{"role": "user", "parts": [{"text": "…"}]}]`; a system message goes to '
        "`systemInstruction`.",
    ),
    "prompt": Word("is not a field of a request", 'Write `"contents": [{"parts": [{"text": "…"}]}]` instead.'),
    "text": Word("is not a field of a request", 'Write `"contents": [{"parts": [{"text": "…"}]}]` instead.'),
    "input": Word(
        "is another provider's word",
        'Write `"contents": [{"parts": [{"text": "…"}]}]`; for an embedding `"content": {"parts": [{"text": "…"}]}`.',
    ),
    "parts": Word("stands inside a content", 'Write `"contents": [{"parts": […]}]` around it.'),
    "role": Word("stands inside a content", 'Write `"contents": [{"role": "user", "parts": […]}]`.'),
    "system": Word("is another provider's word", 'Write `"systemInstruction": {"parts": [{"text": "…"}]}` instead.'),
    "systemPrompt": Word(
        "is not a field of a request", 'Write `"systemInstruction": {"parts": [{"text": "…"}]}` instead.'
    ),
    "stream": Word("has no meaning in a batch", "Take it out."),
    "requests": Word(
        "would put several requests into one line", "Write one line, with a key of its own, for each request."
    ),
    "request": Word("stands in itself", "Take one of the two levels of `request` away."),
    "functions": Word("is another provider's word", 'Write `"tools": [{"functionDeclarations": […]}]` instead.'),
    "toolChoice": Word(
        "is another provider's word",
        'Write `"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}` instead.',
    ),
    "responseFormat": Word(
        "belongs under `request.generationConfig`",
        'For JSON answers write `"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": '
        "{…}}`.",
    ),
    "labels": Word(
        "belongs to Vertex AI; the Gemini API's schema does not have it, and unknown fields are refused there",
        "Take it out; what comes back with the answer is the `key` beside `request`.",
    ),
    "httpOptions": Word(_SDK, "Take it out."),
    "automaticFunctionCalling": Word(_SDK, "Take it out."),
    "priority": Word("belongs to the job, not to a request", "Take it out."),
    "displayName": Word("belongs to the job, not to a request", "Take it out and give it as `--name`."),
    "metadata": Word("is not part of a request", "Take it out; the `key` beside `request` is what comes back."),
}

#: Other words for a setting of ``generationConfig``, wherever they stand.
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
    """The camelCase field that ``name`` most probably is a misspelling of, or None.

    Remembered, because what is wrong in one line of a file mostly is wrong in all of them.
    """
    if name.startswith("_"):
        # Not a slip of the finger: the service has internal fields of this form.
        return None
    candidates = {camel(field) for field in known}
    shape = camel(name.replace("-", "_"))
    by_case = {field.lower(): field for field in candidates}
    if found := by_case.get(shape.replace("_", "").lower()):
        return found
    close = difflib.get_close_matches(shape.lower(), by_case, n=1, cutoff=0.8)
    return by_case[close[0]] if close else None
