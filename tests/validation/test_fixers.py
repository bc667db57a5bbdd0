# ruff: noqa: E501 - a table reads best with one case a line
"""Each fixer: what comes in, what comes out, and what is said about it; what is not certain stays."""

from __future__ import annotations

import copy
import json
from typing import Any, NamedTuple

import pytest

from gemini_batch.validation.fixing import exact
from gemini_batch.validation.fixing.fixers import fix_lines
from gemini_batch.validation.validate import Checked, check_line

HI = [{"parts": [{"text": "Hi"}]}]
ASK: dict[str, Any] = {"contents": HI}


def line(**request: Any) -> dict[str, Any]:
    """A line with a request of these fields, and contents unless they are given."""
    return {"key": "a", "request": {**ASK, **request}}


def setting(**config: Any) -> dict[str, Any]:
    """A line with these settings."""
    return line(generationConfig=config)


def said(*contents: Any) -> dict[str, Any]:
    """A line with these contents."""
    return {"key": "a", "request": {"contents": list(contents)}}


def part(*parts: Any) -> dict[str, Any]:
    """A line with these parts."""
    return said({"parts": list(parts)})


def embed(**request: Any) -> dict[str, Any]:
    """A line that asks for an embedding."""
    return {"key": "a", "request": {"content": HI[0], **request}}


class Case(NamedTuple):
    """A value, the lines that it becomes, and words of its changes."""

    value: Any
    lines: list[Any]
    changes: tuple[str, ...]


def becomes(value: Any, fixed: Any, *changes: str) -> Case:
    return Case(value, [fixed], changes)


REST = [{"request": ASK, "metadata": {"key": "x"}}, {"request": ASK, "metadata": {"key": "y", "team": 7}}]
TOOL = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
DECLARED = [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": TOOL["parameters"]}]}]
PNG = "data:image/png;base64,aGk="
BLOB = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
PERSON = {"type": "object", "properties": {"name": {"type": "string"}}}

FIXED: dict[str, Case] = {
    # the line
    "id": becomes({"id": "a", "request": ASK}, line(), "renamed `id` to `key`"),
    "custom_id": becomes({"custom_id": "a", "request": ASK}, line(), "renamed `custom_id` to `key`"),
    "id, a number": becomes({"id": 2**60 + 1, "request": ASK}, {"key": "1152921504606846977", "request": ASK}, "renamed `id`"),
    "Key": becomes({"Key": "a", "request": ASK}, line(), "renamed `Key` to `key`"),
    "a misspelt key": becomes({"keys": "a", "request": ASK}, line(), "renamed `keys` to `key`"),
    "key, a number": becomes({"key": 7, "request": ASK}, {"key": "7", "request": ASK}, "number in `key`"),
    "key in metadata": becomes({"metadata": {"key": "a"}, "request": ASK}, line(), "out of `metadata`"),
    "key in metadata with more": becomes({"metadata": {"key": "a", "x": 1}, "request": ASK}, {**line(), "metadata": {"x": 1}}, "out of `metadata`"),
    "key in the request": becomes({"request": {"key": "a", **ASK}}, line(), "out of `request`"),
    "no key": becomes({"request": ASK, "note": 1, "temperature": 1}, {"request": {**ASK, "generationConfig": {"temperature": 1}}, "note": 1}, "moved `temperature`"),
    "a bare request": becomes(ASK, {"request": ASK}, "into `request`"),
    "a bare request with a key": becomes({"key": "a", **ASK, "temperature": 1}, setting(temperature=1), "into `request`", "moved `temperature`"),
    "a bare embedding": becomes({"id": "a", "content": HI[0], "title": "t"}, embed(title="t"), "into `request`", "renamed `id`"),
    "a bare request and a title": becomes({"key": "a", **ASK, "title": "t"}, {"key": "a", "title": "t", "request": ASK}, "into `request`"),
    "a prompt": becomes({"key": "a", "prompt": "Hi"}, line(), "into `request`", "put `prompt` into `contents`"),
    "messages alone": becomes({"key": "a", "messages": [{"role": "user", "content": "Hi"}]}, said({"role": "user", "parts": [{"text": "Hi"}]}), "into `request`", "translated `messages`"),
    "Request": becomes({"key": "a", "Request": ASK}, line(), "renamed `Request` to `request`"),
    "a setting next to the request": becomes({**line(), "temperature": 0.5}, setting(temperature=0.5), "moved `temperature` to `request.generationConfig.temperature`"),
    "a field next to the request": becomes({**line(), "system_instruction": HI[0]}, line(system_instruction=HI[0]), "moved `system_instruction` to `request.systemInstruction`"),
    "config next to the request": becomes({**line(), "config": {"temperature": 1, "system_instruction": "Be brief"}}, line(generationConfig={"temperature": 1}, systemInstruction={"parts": [{"text": "Be brief"}]}), "moved the settings in `config`"),
    "model next to the request": becomes({**line(), "model": "gemini-2.5-flash"}, line(), "removed `model` (give the model of the job with `--model`)"),
    "encoded twice": becomes(json.dumps(line()), line(), "encoded twice"),
    "a request encoded twice": becomes({"key": "a", "request": json.dumps(ASK)}, line(), "encoded twice"),
    # one value, many lines
    "a list": Case([line(), {"id": "b", "request": ASK}], [line(), {"key": "b", "request": ASK}], ("each object of a list", "renamed `id`")),
    "a REST body": Case({"batch": {"display_name": "x", "input_config": {"requests": {"requests": REST}}}}, [{"key": "x", "request": ASK}, {"key": "y", "request": ASK, "metadata": {"team": 7}}], ("body of a call",)),
    "a REST body without keys": Case({"inputConfig": {"requests": {"requests": [{"request": ASK}]}}}, [{"request": ASK}], ("body of a call",)),
    "a list of requests": Case({"requests": [ASK, {"model": "models/x", "content": HI[0]}]}, [{"request": ASK}, {"request": {"model": "models/x", "content": HI[0]}}], ("body of a call", "into `request`")),
    "a failure": Case({"key": "a", "verdict": "failed", "reason": "INTERNAL", "line": line(), "code": 500}, [line()], ("failures file",)),
    # OpenAI's lines
    "an OpenAI line": becomes(
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}, {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": PNG}}]}], "max_tokens": 5, "temperature": 0.25, "stop": "END", "n": 1, "top_p": 0.5, "seed": 3, "response_format": {"type": "json_object"}, "stream": False}},
        {"key": "a", "request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Ho"}]}, {"role": "user", "parts": [{"text": "?"}, BLOB]}], "systemInstruction": {"parts": [{"text": "Be brief"}]}, "generationConfig": {"responseMimeType": "application/json", "maxOutputTokens": 5, "temperature": 0.25, "stopSequences": ["END"], "candidateCount": 1, "top_p": 0.5, "seed": 3}}},
        "OpenAI's batch format", "translated `messages`", "system messages", "translated `response_format`", "renamed `custom_id`", "removed `stream`",
    ),
    "an OpenAI line with tools": becomes(
        {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"x\": 1.50}"}}]}, {"role": "tool", "tool_call_id": "c1", "content": "21"}], "tools": [{"type": "function", "function": TOOL}], "tool_choice": "required"}},
        {"key": "a", "request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"functionCall": {"id": "c1", "name": "f", "args": {"x": 1.5}}}]}, {"role": "user", "parts": [{"functionResponse": {"id": "c1", "name": "f", "response": {"result": "21"}}}]}], "tools": DECLARED, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}},
        "OpenAI's batch format", "translated `tools`", "translated `tool_choice`",
    ),
    "an OpenAI line with a schema": becomes({"custom_id": "a", "body": {"messages": [{"role": "user", "content": "Hi"}], "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": PERSON}}, "max_completion_tokens": 9}}, {"key": "a", "request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": PERSON, "maxOutputTokens": 9}}}, "translated `response_format`"),
    "an OpenAI embedding": becomes({"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "text-embedding-3-small", "input": "Hi", "dimensions": 256, "encoding_format": "float"}}, embed(outputDimensionality=256), "OpenAI's batch format", "renamed `dimensions`"),
    "an OpenAI line with what is OpenAI's": becomes({"custom_id": "a", "body": {"messages": [{"role": "user", "content": "Hi"}], "user": "u", "metadata": {"x": "y"}, "store": False, "logprobs": True, "top_logprobs": 3}}, {"key": "a", "request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"responseLogprobs": True, "logprobs": 3}}}, "removed `user` (OpenAI's own)", "removed `metadata`"),
    "an Anthropic line": becomes({"custom_id": "a", "params": {"model": "claude", "max_tokens": 9, "system": "Be brief", "stop_sequences": ["END"], "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}]}], "tools": [{"name": "f", "description": "d", "input_schema": TOOL["parameters"]}]}}, {"key": "a", "request": {"contents": [{"role": "user", "parts": [{"text": "Hi"}, BLOB]}], "systemInstruction": {"parts": [{"text": "Be brief"}]}, "generationConfig": {"maxOutputTokens": 9, "stop_sequences": ["END"]}, "tools": DECLARED}}, "Anthropic's batch format", "renamed `system` to `systemInstruction`"),
    # places and names in the request
    "a setting": becomes(line(temperature=0.2), setting(temperature=0.2), "moved `temperature` to `request.generationConfig.temperature`"),
    "a setting in snake case": becomes(line(max_output_tokens=5), setting(max_output_tokens=5), "moved `max_output_tokens`"),
    "max_tokens": becomes(line(max_tokens=5), setting(maxOutputTokens=5), "moved `max_tokens` to `request.generationConfig.maxOutputTokens`"),
    "maxTokens among settings": becomes(setting(maxTokens=5), setting(maxOutputTokens=5), "moved `maxTokens` to `request.generationConfig.maxOutputTokens`"),
    "a setting, with others there": becomes(line(temperature=1, generation_config={"topK": 3}), line(generation_config={"topK": 3, "temperature": 1}), "moved `temperature`"),
    "thinking_config": becomes(line(thinking_config={"thinking_budget": 0}), setting(thinking_config={"thinking_budget": 0}), "moved `thinking_config`"),
    "thinkingBudget": becomes(line(thinkingBudget=0), setting(thinkingConfig={"thinkingBudget": 0}), "moved `thinkingBudget`"),
    "reasoning_effort": becomes(line(reasoning_effort="low"), setting(thinkingConfig={"thinkingLevel": "LOW"}), "moved `reasoning_effort`"),
    "aspectRatio": becomes(setting(aspectRatio="1:1"), setting(imageConfig={"aspectRatio": "1:1"}), "moved `aspectRatio`"),
    "a misspelt setting": becomes(setting(temprature=1), setting(temperature=1), "renamed `temprature` to `temperature`"),
    "mixed spelling": becomes(setting(max_outputTokens=1), setting(maxOutputTokens=1), "renamed `max_outputTokens` to `maxOutputTokens`"),
    "mixed spelling of a field": becomes(line(Safety_settings=[]), line(safetySettings=[]), "renamed `Safety_settings`"),
    "hyphens": becomes(setting(**{"max-output-tokens": 1}), setting(maxOutputTokens=1), "renamed `max-output-tokens`"),
    "the same field twice": becomes(setting(topK=1, top_k=1), setting(topK=1), "removed `top_k`, which repeats `topK`"),
    "an unknown null": becomes(line(labels2=None), line(), "unknown fields that are null"),
    "a quoted truth": becomes(setting(responseLogprobs="true"), setting(responseLogprobs=True), "true or false"),
    "systemInstruction among settings": becomes(setting(systemInstruction=HI[0], seed=1), line(generationConfig={"seed": 1}, systemInstruction=HI[0]), "moved `systemInstruction` to `request.systemInstruction`"),
    "a tool next to contents": becomes(line(googleSearch={}), line(tools=[{"googleSearch": {}}]), "moved `googleSearch` to `request.tools`"),
    "tools, an object": becomes(line(tools={"googleSearch": {}}), line(tools=[{"googleSearch": {}}]), "made a list of `tools`"),
    "response_format, text": becomes(line(response_format={"type": "text"}, generation_config={}), line(generation_config={}), "translated `response_format`"),
    "response_format, an object": becomes(line(response_format={"type": "json_object"}, generation_config={}), line(generation_config={"responseMimeType": "application/json"}), "translated `response_format`"),
    "functions": becomes(line(functions=[TOOL]), line(tools=DECLARED), "translated `functions`"),
    "one safety setting": becomes(line(safety_settings={"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}), line(safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]), "made a list of `safety_settings`"),
    "one modality": becomes(setting(responseModalities="TEXT"), setting(responseModalities=["TEXT"]), "made a list of `responseModalities`"),
    "stream": becomes(line(stream=False), line(), "removed `stream` (it has no effect in a batch)"),
    "model in the request": becomes(line(model="gemini-2.5-flash"), line(), "removed `model`"),
    "request in request": becomes({"key": "a", "request": {"request": ASK}}, line(), "two levels of `request`"),
    "prompt in the request": becomes({"key": "a", "request": {"prompt": "Hi"}}, line(), "put `prompt` into `contents`"),
    "parts in the request": becomes({"key": "a", "request": {"role": "user", "parts": [{"text": "Hi"}]}}, said({"role": "user", "parts": [{"text": "Hi"}]}), "put `parts` into `contents`"),
    "system in the request": becomes(line(system="Be brief"), line(systemInstruction={"parts": [{"text": "Be brief"}]}), "renamed `system` to `systemInstruction`"),
    # the SDK
    "a dump of the SDK": becomes(
        {"key": "a", "request": {"model": None, "contents": [{"parts": [{"video_metadata": None, "inline_data": None, "text": "Hi"}], "role": "user"}], "metadata": None, "config": {"http_options": None, "system_instruction": "Be brief", "temperature": 0.1, "top_p": None, "response_mime_type": "application/json", "response_schema": {"type": "OBJECT", "additional_properties": None, "defs": None, "properties": {"n": {"type": "STRING", "ref": None}}}, "tools": [{"google_search": {"exclude_domains": None}, "retrieval": None}], "thinking_config": {"include_thoughts": None, "thinking_budget": 0}, "should_return_http_response": None}}},
        {"key": "a", "request": {"model": None, "contents": [{"parts": [{"video_metadata": None, "inline_data": None, "text": "Hi"}], "role": "user"}], "systemInstruction": {"parts": [{"text": "Be brief"}]}, "generationConfig": {"temperature": 0.1, "response_mime_type": "application/json", "response_schema": {"type": "OBJECT", "properties": {"n": {"type": "STRING"}}}, "thinking_config": {"thinking_budget": 0}}, "tools": [{"google_search": {}}]}},
        "unknown fields that are null", "moved the settings in `config`", "put the system instruction into `parts`",
    ),
    "a config that contradicts in part": becomes(line(config={"temperature": 2, "seed": 3}, generationConfig={"temperature": 1}), line(config={"temperature": 2}, generationConfig={"temperature": 1, "seed": 3}), "moved the settings in `config`"),
    "config in the request": becomes(line(config={"temperature": 1, "safetySettings": []}), line(generationConfig={"temperature": 1}, safetySettings=[]), "moved the settings in `config`"),
    "the voice of the SDK": becomes(setting(speech_config="Kore"), setting(speech_config={"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}), "name of the voice"),
    "contents, a string": becomes(line(contents="Hi"), line(), "into `parts`"),
    "contents, strings": becomes(line(contents=["Hi", "Ho"]), part({"text": "Hi"}, {"text": "Ho"}), "into `parts`"),
    "contents, strings and a content": becomes(line(contents=["Hi", {"role": "model", "parts": [{"text": "Ho"}]}]), said({"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Ho"}]}), "into `parts`"),
    "contents, an object": becomes(line(contents=HI[0]), line(), "made a list of `contents`"),
    "contents, parts": becomes(line(contents=[{"text": "Hi"}]), line(), "into `parts`"),
    "system instruction, a string": becomes(line(system_instruction="Be brief"), line(system_instruction={"parts": [{"text": "Be brief"}]}), "the system instruction into `parts`"),
    "system instruction, a list": becomes(line(systemInstruction=["A", {"text": "B"}]), line(systemInstruction={"parts": [{"text": "A"}, {"text": "B"}]}), "the system instruction into `parts`"),
    "system instruction, a text": becomes(line(systemInstruction={"text": "A"}), line(systemInstruction={"parts": [{"text": "A"}]}), "the system instruction into `parts`"),
    # contents
    "assistant": becomes(said({"role": "assistant", "parts": [{"text": "Hi"}]}), said({"role": "model", "parts": [{"text": "Hi"}]}), "role `assistant` by `model`"),
    "bot": becomes(said({"role": "bot", "parts": [{"text": "Hi"}]}), said({"role": "model", "parts": [{"text": "Hi"}]}), "role `bot` by `model`"),
    "User": becomes(said({"role": "User", "parts": [{"text": "Hi"}]}), said({"role": "user", "parts": [{"text": "Hi"}]}), "role `User` by `user`"),
    "system": becomes(said({"role": "system", "parts": [{"text": "Be brief"}]}, HI[0]), line(systemInstruction={"parts": [{"text": "Be brief"}]}), "role `system` to `request.systemInstruction`"),
    "content in a content": becomes(said({"role": "user", "content": "Hi"}), said({"role": "user", "parts": [{"text": "Hi"}]}), "renamed `content` to `parts`"),
    "text in a content": becomes(said({"role": "user", "text": "Hi"}), said({"role": "user", "parts": [{"text": "Hi"}]}), "put `text` of a content into `parts`"),
    "parts, a string": becomes(said({"parts": "Hi"}), line(), "made a list of `parts`"),
    "parts, an object": becomes(said({"parts": {"text": "Hi"}}), line(), "made a list of `parts`"),
    "a part, a string": becomes(part("Hi"), line(), "a text in `parts` into an object"),
    "type in a part": becomes(part({"type": "text", "text": "Hi"}), line(), "from the chat format"),
    "image_url in a part": becomes(part({"type": "image_url", "image_url": {"url": PNG}}), part(BLOB), "from the chat format"),
    "a misspelt part": becomes(part({"inlinedata": BLOB["inlineData"]}), part(BLOB), "renamed `inlinedata` to `inlineData`"),
    "data in a part": becomes(part(BLOB["inlineData"]), part(BLOB), "moved `data` to `inlineData`"),
    "fileUri in a part": becomes(part({"fileUri": "https://x.example/a.pdf", "mimeType": "application/pdf"}), part({"fileData": {"fileUri": "https://x.example/a.pdf", "mimeType": "application/pdf"}}), "moved `fileUri` to `fileData`"),
    "a data URL": becomes(part({"inlineData": {"mimeType": "image/png", "data": PNG}}), part(BLOB), "`data:` URL"),
    "a data URL as file": becomes(part({"fileData": {"fileUri": PNG}}), part(BLOB), "`data:` URL"),
    "text and data in a part": becomes(part({"text": "?", **BLOB}), part({"text": "?"}, BLOB), "a part of its own"),
    # embeddings
    "content, a string": becomes(embed(content="Hi"), embed(), "put `content` into `parts`"),
    "content, a list of one": becomes(embed(content=HI), embed(), "instead of a list"),
    "config of an embedding": becomes(embed(config={"task_type": "CLUSTERING", "title": None}), embed(embedContentConfig={"task_type": "CLUSTERING", "title": None}), "renamed `config` to `embedContentConfig`"),
    "dimensions": becomes(embed(dimensions=256), embed(outputDimensionality=256), "renamed `dimensions` to `outputDimensionality`"),
    "autoTruncate": becomes(embed(autoTruncate=True), embed(embedContentConfig={"autoTruncate": True}), "moved `autoTruncate`"),
    # schemas
    "references": becomes(setting(responseMimeType="application/json", responseSchema={"$defs": {"P": PERSON, "T": {"type": "string"}}, "type": "object", "properties": {"p": {"$ref": "#/$defs/P", "description": "who"}, "l": {"type": "array", "items": {"$ref": "#/$defs/T"}}}}), setting(responseMimeType="application/json", responseSchema={"type": "object", "properties": {"p": {**PERSON, "description": "who"}, "l": {"type": "array", "items": {"type": "string"}}}}), "inlined the references"),
    "a property named $ref": becomes(setting(responseMimeType="application/json", responseSchema={"$schema": "x", "type": "object", "properties": {"$ref": {"type": "string"}}}), setting(responseMimeType="application/json", responseSchema={"type": "object", "properties": {"$ref": {"type": "string"}}}), "removed `$schema`"),
    "additionalProperties": becomes(setting(responseMimeType="application/json", responseSchema={**PERSON, "additionalProperties": False}), setting(responseMimeType="application/json", responseSchema=PERSON), "removed `additionalProperties`"),
    "parameters": becomes(line(tools=[{"functionDeclarations": [{"name": "f", "parameters": {**PERSON, "additionalProperties": False}}]}]), line(tools=[{"functionDeclarations": [{"name": "f", "parameters": PERSON}]}]), "removed `additionalProperties` from `parameters`"),
    "a schema alone": becomes(setting(response_schema=PERSON), setting(response_schema=PERSON, responseMimeType="application/json"), "added `responseMimeType`"),
    "a list of types": becomes(setting(responseMimeType="application/json", responseSchema={"type": ["string", "null"]}), setting(responseMimeType="application/json", responseSchema={"type": "string", "nullable": True}), "as `nullable`"),
    "const": becomes(setting(responseMimeType="application/json", responseSchema={"type": "string", "const": "x"}), setting(responseMimeType="application/json", responseSchema={"type": "string", "enum": ["x"]}), "as `enum`"),
    "allOf with one": becomes(setting(responseMimeType="application/json", responseSchema={"allOf": [{"$ref": "#/definitions/P"}], "description": "d", "definitions": {"P": PERSON}}), setting(responseMimeType="application/json", responseSchema={**PERSON, "description": "d"}), "inlined", "`allOf`"),
}  # fmt: skip

#: What could mean more than one thing, or what the service cannot do.
LEFT: dict[str, Any] = {
    "two prompts": {"key": "a", "prompt": "x", "text": "y"},
    "no request": {"key": "a"},
    "nothing known": {"x": 1},
    "a number": 3,
    "a list of numbers": [1, 2],
    "a string": "Hi",
    "a file as input of a call": {"batch": {"inputConfig": {"fileName": "files/x"}}},
    "settings that contradict": {**setting(temperature=1), "temperature": 2},
    "settings in the request that contradict": line(temperature=2, generationConfig={"temperature": 1}),
    "spellings that contradict": setting(topK=1, top_k=2),
    "a setting of another type": line(temperature="warm"),
    "a format that contradicts": line(response_format={"type": "json_object"}, generationConfig={"responseMimeType": "text/plain"}),
    "a config that contradicts": line(config={"temperature": 2}, generationConfig={"temperature": 1}),
    "a config where there are no settings": line(config={"temperature": 2}, generationConfig=7),
    "an unknown setting": setting(numberOfImages=2),
    "a setting that is no object": line(generationConfig="x", temperature=1),
    "an unknown part": part({"type": "video_url", "video_url": {"url": "https://x.example/v"}}),
    "a system content at the end": said(HI[0], {"role": "system", "parts": [{"text": "x"}]}),
    "a system content alone": said({"role": "system", "parts": [{"text": "x"}]}),
    "a system content next to an instruction": line(systemInstruction=HI[0], contents=[{"role": "system", "parts": [{"text": "x"}]}, HI[0]]),
    "an unknown role": said({"role": "narrator", "parts": [{"text": "x"}]}),
    "data of two types": part({"inlineData": {"mimeType": "image/jpeg", "data": PNG}}),
    "a path as file": part({"fileData": {"fileUri": "scans/p1.pdf", "mimeType": "application/pdf"}}),
    "a schema that refers to itself": setting(responseMimeType="application/json", responseSchema={"$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"}),
    "a schema that refers elsewhere": setting(responseMimeType="application/json", responseSchema={"$ref": "https://x.example/s"}),
    "a schema of words alone": setting(responseSchema={"type": "STRING", "enum": ["a"]}),
    "oneOf": setting(responseMimeType="application/json", responseSchema={"oneOf": [{"type": "string"}]}),
    "a map": setting(responseMimeType="application/json", responseSchema={"type": "object", "additionalProperties": {"type": "string"}}),
    "two texts to embed": embed(content=HI * 2),
    "a key that is a list": {"key": ["a"], "request": ASK},
}  # fmt: skip


def fixed(value: Any, key_from: str | None = None) -> tuple[list[Any], list[str]]:
    """What a value becomes through its bytes, and the changes to all of its lines."""
    found = fix_lines(exact.decode(exact.encode(value)), key_from)
    lines = [json.loads(exact.encode(one.value)) for one in found]
    return lines, list(dict.fromkeys(change for one in found for change in one.changes))


@pytest.mark.parametrize("case", FIXED.values(), ids=FIXED)
def test_what_is_certain_is_fixed(case: Case) -> None:
    """The lines, in words what was changed; once fixed, nothing is left to fix, and no fixer touches its input."""
    before = copy.deepcopy(case.value)

    lines, changes = fixed(case.value)

    assert lines == case.lines
    assert [word for word in case.changes if not any(word in change for change in changes)] == []
    assert case.value == before
    for one in lines:
        assert fixed(one) == ([one], [])


@pytest.mark.parametrize("name", [name for name, case in FIXED.items() if case.lines[0].get("key")])
def test_what_is_fixed_is_valid(name: str) -> None:
    """As the same check says that refused the value, or warned of it."""
    case = FIXED[name]
    refused = check_line(exact.encode(case.value), 1)
    assert not isinstance(refused, Checked) or refused.problems
    for one in case.lines:
        found = check_line(exact.encode(one), 1)
        assert isinstance(found, Checked) != ("in part" in name), found


@pytest.mark.parametrize("value", LEFT.values(), ids=LEFT)
def test_what_is_not_certain_stays(value: Any) -> None:
    """It is reported, as before."""
    lines, changes = fixed(value)
    assert (lines, changes) == ([value], [])
    assert not isinstance(check_line(exact.encode(value), 1), Checked)


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ("meta.id", {"meta": {"id": "x"}, "request": ASK}, "x"),
        ("ids.1", {"ids": ["a", "b"], "request": ASK}, "b"),
        ("n", {"n": 12345678901234567890, "request": ASK}, "12345678901234567890"),
        ("n", {"n": 1.5, "request": ASK}, "1.5"),
        ("request.contents.0.parts.0.text", {"request": ASK}, "Hi"),
        ("meta.id", {"id": "other", "meta": {"id": "x"}, "request": ASK}, "x"),
        ("meta.id", {"key": "mine", "meta": {"id": "x"}, "request": ASK}, "mine"),
        ("metadata.id", {"metadata": {"id": "x"}, **ASK}, "x"),
        ("meta.id", {"id": "other", "request": ASK}, None),
        ("meta.id", {"meta": {"id": ""}, "request": ASK}, None),
        ("meta.id", {"meta": {"id": None}, "request": ASK}, None),
        ("ids.7", {"ids": ["a"], "request": ASK}, None),
        ("meta", {"meta": {"id": "x"}, "request": ASK}, None),
    ],
)
def test_keys_from_a_path(path: str, value: Any, key: str | None) -> None:
    """A line's own key counts first; what the path does not find stays without a key."""
    (found,), _ = fixed(value, path)
    assert found.get("key") == key


def test_numbers_and_texts_stay_exact() -> None:
    """Next to a change in the same line."""
    text = (
        '{"id":"a","request":{"contents":[{"parts":[{"text":"\\u2028\\"ö"}]}],"x":[9007199254740993,1.10,-0.0,1E+400]}}'
    )
    found = fix_lines(exact.decode(text.replace("1E+400", "1E+40")))
    made = exact.encode(found[0].value).decode()
    assert made == text.replace('"id"', '"key"').replace("\\u2028", "\u2028").replace("1E+400", "1E+40")
