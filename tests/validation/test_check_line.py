"""What is said about a line: every mis-shape that people bring, with the place and the way out."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_batch.catalog import Method
from gemini_batch.validation.conform import Terms
from gemini_batch.validation.validate import Checked, check_line

if TYPE_CHECKING:
    from gemini_batch.errors import Problem

TEXT = {"parts": [{"text": "Hello"}]}
ASK = {"contents": [TEXT]}
GOOD = {"key": "a", "request": ASK}


def line(**request: Any) -> dict[str, Any]:
    """A line for generation with these fields in its request."""
    return {"key": "a", "request": {**ASK, **request}}


def config(**values: Any) -> dict[str, Any]:
    """A line for generation with this ``generationConfig``."""
    return line(generationConfig=values)


def said(*contents: Any) -> dict[str, Any]:
    """A line with these contents."""
    return {"key": "a", "request": {"contents": list(contents)}}


def part(value: Any) -> dict[str, Any]:
    """A line with one content of this one part."""
    return said({"parts": [value]})


def embed(**request: Any) -> dict[str, Any]:
    """A line for an embedding."""
    return {"key": "a", "request": {"content": TEXT, **request}}


def encode(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()


def facts(found: object) -> tuple[object, ...]:
    """What is known of a good line, apart from the request itself."""
    assert isinstance(found, Checked), found
    return (found.key, found.method, found.expects_json, found.dimension, found.problems, found.schema)


def problems(value: Any) -> tuple[Problem, ...]:
    found = check_line(encode(value), 7)
    return found.problems if isinstance(found, Checked) else found


class Case(NamedTuple):
    """A line, the field that a finding names, and words of its message and of its way out."""

    line: Any
    field: str | None
    message: str
    next: str


ERRORS = [
    # not JSON
    Case(b"", None, "empty", "Remove it"),
    Case(b"   ", None, "empty", "Remove it"),
    Case(encode(GOOD) + b",", None, "column 72", "comma at the end"),
    Case(b"{'key': 'a'}", None, "column 2", "json.dumps"),
    Case(b"{", None, "Not valid JSON", "--fix"),
    Case(b'"key": "a",', None, "Not valid JSON", "--fix"),
    Case(b"},", None, "Not valid JSON", "--fix"),
    Case(encode(GOOD)[:-1], None, "Not valid JSON", '{"key"'),
    Case(encode(GOOD) + encode(GOOD), None, "more text after the first", "--fix"),
    Case(b'{"key": "a", "request": NaN}', None, "NaN is not JSON", "a number or null"),
    Case(b'{"key": "\xff"}', None, "not UTF-8", "Save the file as UTF-8"),
    Case(b'{"key": "\\ud83d"}', None, "surrogate", "both halves"),
    Case(b'{"key": "a",}', None, "column 13", '{"key"'),
    Case(b'{"key": ' + b"[" * 5000 + b"]" * 5000 + b"}", None, "nested too deeply", '{"key"'),
    Case(b'{"key": ' + b"1" * 5000 + b"}", None, "Not valid JSON", '{"key"'),
    Case(b"\xef\xbb\xbf" + encode(GOOD), None, "column 1", "byte order mark"),
    Case("{\u201ckey\u201d: \u201ca\u201d}".encode(), None, "column 2", "straight quotes"),
    Case(b"// the first batch", None, "column 1", "no comments"),
    Case(b"# the first batch", None, "column 1", "no comments"),
    # not an object
    Case([GOOD], None, "a list", "without brackets and commas"),
    Case(json.dumps(GOOD), None, "a string", "encoded twice"),
    Case(b"7", None, "a number", '{"key"'),
    Case(b"null", None, "null", '{"key"'),
    # the key
    Case({"request": ASK}, "key", "no `key`", "joined by it"),
    Case({"key": "", "request": ASK}, "key", "empty string", "unique key"),
    Case({"key": 12, "request": ASK}, "key", "a number", '"key": "12"'),
    Case({"key": 1.5, "request": ASK}, "key", "a number", '"key": "1.5"'),
    Case({"key": ["a"], "request": ASK}, "key", "a list", '"row-1"'),
    Case({"key": True, "request": ASK}, "key", "true or false", '"row-1"'),
    Case({"key": None, "request": ASK}, "key", "no `key`", "joined by it"),
    Case({"custom_id": "a", "request": ASK}, "custom_id", "instead of `key`", "Rename `custom_id` to `key`"),
    Case({"id": "a", "request": ASK}, "id", "instead of `key`", "Rename `id`"),
    Case({"metadata": {"key": "a"}, "request": ASK}, "key", "in `metadata`", "next to `request`"),
    Case({"keys": "a", "request": ASK}, "keys", "`keys` is not a field", "`key`"),
    # the request
    Case({"key": "a"}, "request", "no `request`", '{"key"'),
    Case({"key": "a", "request": "hello"}, "request", "a string", '{"key"'),
    Case({"key": "a", "request": [ASK]}, "request", "a list", '{"key"'),
    Case({"key": "a", "request": json.dumps(ASK)}, "request", "contains JSON", "encoded twice"),
    Case({"key": "a", "reqest": ASK}, "reqest", "not a field of a line", "`request`"),
    Case({"key": "a", **ASK}, "contents", "not inside `request`", '"request": {"contents"'),
    Case({"key": "a", "content": TEXT}, "content", "not inside `request`", '"request": {"content"'),
    # words next to key and request
    Case({**GOOD, "config": {}}, "config", "the SDK's name", "request.generationConfig"),
    Case({**GOOD, "generation_config": {}}, "generation_config", "next to `request`", "`request.generationConfig`"),
    Case({**GOOD, "systemInstruction": TEXT}, "systemInstruction", "next to `request`", "`request.systemInstruction`"),
    Case({**GOOD, "temperature": 1}, "temperature", "next to `request`", "request.generationConfig.temperature"),
    Case({**GOOD, "max_tokens": 1}, "max_tokens", "next to `request`", "request.generationConfig.maxOutputTokens"),
    Case({**GOOD, "taskType": "CLUSTERING"}, "taskType", "next to `request`", "`request.taskType`"),
    Case({**GOOD, "contents": [TEXT]}, "contents", "next to `request`", "`request.contents`"),
    Case({"key": "a", "request": {}, **ASK}, "contents", "next to `request`", "`request.contents`"),
    Case({**GOOD, "model": "m"}, "model", "the job's model", "Remove it"),
    Case({"key": "a", "response": {}}, "response", "result line", "request file"),
    Case({"custom_id": "a", "method": "POST", "url": "/v1", "body": {}}, "custom_id", "instead of `key`", "Rename"),
    Case({"custom_id": "a", "method": "POST", "url": "/v1", "body": {}}, "method", "OpenAI", "Remove it"),
    Case({"custom_id": "a", "method": "POST", "url": "/v1", "body": {}}, "url", "OpenAI", "Remove it"),
    Case({"custom_id": "a", "method": "POST", "url": "/v1", "body": {}}, "body", "OpenAI", '"request": {"contents"'),
    Case({"custom_id": "a", "params": {}}, "params", "Anthropic", '"request": {"contents"'),
    Case({"key": "a", "prompt": "hi"}, "prompt", "not a field", '"request": {"contents"'),
    Case({"key": "a", "messages": []}, "messages", "chat format", '"request": {"contents"'),
    # words next to contents
    Case(line(config={}), "request.config", "the SDK's name", "`generationConfig`"),
    Case(line(temperature=0.2), "request.temperature", "belongs in", '"generationConfig": {"temperature"'),
    Case(line(maxOutputTokens=5), "request.maxOutputTokens", "belongs in", "generationConfig"),
    Case(line(max_tokens=5), "request.max_tokens", "not a field", "generationConfig.maxOutputTokens"),
    Case(line(response_schema={}), "request.response_schema", "belongs in", '{"response_schema"'),
    Case(line(thinking_config={}), "request.thinking_config", "belongs in", '{"thinking_config"'),
    Case(line(thinking_budget=5), "request.thinking_budget", "not a field", "thinkingConfig.thinkingBudget"),
    Case(line(response_format={}), "request.response_format", "belongs in", "responseMimeType"),
    Case(line(temprature=0.2), "request.temprature", "not a field", "request.generationConfig.temperature"),
    Case(line(safetySetting=[]), "request.safetySetting", "not a field", "`safetySettings`"),
    Case(line(system="Be brief"), "request.system", "another provider", "systemInstruction"),
    Case(line(googleSearch={}), "request.googleSearch", "is a tool", '"tools": [{"googleSearch"'),
    Case(line(key="a"), "request.key", "next to `request`", "one level up"),
    Case(line(stream=True), "request.stream", "no effect", "Remove it"),
    Case(line(taskType="CLUSTERING"), "request.taskType", "for embeddings", '"content"'),
    Case(line(outputDimensionality=5), "request.outputDimensionality", "for embeddings", '"content"'),
    Case(line(content=TEXT), "request.content", "both `contents`", "Keep `contents`"),
    Case(line(model="gemini-3.8-flash"), "request.model", "`models/`", "Remove it"),
    Case(line(generation_config={}, generationConfig={}), "request.generationConfig", "there twice", "Remove one"),
    Case({"key": "a", "request": {"messages": []}}, "request.messages", "chat format", '"contents"'),
    Case({"key": "a", "request": {"prompt": "hi"}}, "request.prompt", "not a field", '"contents"'),
    Case({"key": "a", "request": {"parts": [{"text": "x"}]}}, "request.parts", "in a content", '"contents"'),
    Case({"key": "a", "request": {"request": ASK}}, "request.request", "in itself", "levels"),
    Case({"key": "a", "request": {"requests": [ASK]}}, "request.requests", "several requests", "each request"),
    Case({"key": "a", "request": {"contnets": [TEXT]}}, "request.contnets", "not a field", "`contents`"),
    Case({"key": "a", "request": {}}, "request.contents", "no `contents`", '"contents"'),
    Case({"key": "a", "request": {"contents": None}}, "request.contents", "no `contents`", '"contents"'),
    # system instruction and cache
    Case(line(systemInstruction="Be brief"), "request.systemInstruction", "a string", '{"parts": [{"text"'),
    Case(line(system_instruction=[TEXT]), "request.system_instruction", "a list", '{"parts": [{"text"'),
    Case(line(systemInstruction={"parts": []}), "request.systemInstruction.parts", "empty list", '{"text"'),
    Case(line(systemInstruction={"text": "x"}), "request.systemInstruction.text", "in a part", '"parts": [{"text"'),
    Case(
        line(cachedContent="cachedContents/x", tools=[{"googleSearch": {}}], systemInstruction=TEXT),
        "request.cachedContent",
        "combined with `systemInstruction` and `tools`",
        "when you create it",
    ),
    # contents
    Case(said(), "request.contents", "empty list", '[{"parts"'),
    Case({"key": "a", "request": {"contents": "hi"}}, "request.contents", "a string", '[{"parts"'),
    Case(said("hi"), "request.contents[0]", "a string", '{"parts"'),
    Case(said(TEXT, ["hi"]), "request.contents[1]", "a list", '{"parts"'),
    Case(said({"role": "user"}), "request.contents[0]", "no `parts`", '"parts"'),
    Case(said({"role": "assistant", **TEXT}), "request.contents[0].role", "`assistant`", '"role": "model"'),
    Case(said({"role": "system", **TEXT}), "request.contents[0].role", "`system`", "systemInstruction"),
    Case(said({"role": "User", **TEXT}), "request.contents[0].role", "`User`", '"user"'),
    Case(said({"role": 1, **TEXT}), "request.contents[0].role", "a number", "in quotes"),
    Case(said({"role": "user", "content": "x"}), "request.contents[0].content", "chat format", '"parts"'),
    Case(said({"text": "x"}), "request.contents[0].text", "in a part", '"parts": [{"text"'),
    Case(said({"parts": []}), "request.contents[0].parts", "empty list", '[{"text"'),
    Case(said({"parts": "x"}), "request.contents[0].parts", "a string", '[{"text"'),
    Case(said({"part": [{"text": "x"}]}), "request.contents[0].part", "not a field", "`parts`"),
    # parts
    Case(part("x"), "request.contents[0].parts[0]", "a string", '{"text"'),
    Case(part({}), "request.contents[0].parts[0]", "has no data", '{"text"'),
    Case(part({"text": 5}), "request.contents[0].parts[0].text", "a number", "in quotes"),
    Case(part({"txt": "x"}), "request.contents[0].parts[0].txt", "not a field of a part", "`text`"),
    Case(part({"type": "text", "text": "x"}), "request.contents[0].parts[0].type", "another provider", "Remove it"),
    Case(part({"image_url": {}}), "request.contents[0].parts[0].image_url", "another provider", "inlineData"),
    Case(part({"fileUri": "x"}), "request.contents[0].parts[0].fileUri", "belongs in `fileData`", '"fileData"'),
    Case(part({"parts": []}), "request.contents[0].parts[0].parts", "not in a part", "one level"),
    Case(
        part({"text": "x", "fileData": {"fileUri": "https://f"}}),
        "request.contents[0].parts[0]",
        "`text` and `fileData`",
        "a separate part",
    ),
    Case(part({"inlineData": "x"}), "request.contents[0].parts[0].inlineData", "a string", "`{…}`"),
    Case(
        part({"inlineData": {"data": "AAAA"}}), "request.contents[0].parts[0].inlineData.mimeType", "MIME", "image/png"
    ),
    Case(
        part({"inline_data": {"mime_type": "image/png"}}),
        "request.contents[0].parts[0].inline_data.data",
        "no `data`",
        '"data"',
    ),
    Case(
        part({"inlineData": {"mimeType": "image/png", "data": "data:image/png;base64,AAAA"}}),
        "request.contents[0].parts[0].inlineData.data",
        "data URL",
        "including the comma",
    ),
    Case(
        part({"inlineData": {"mimeType": "image/png", "data": "pictures/cat.png"}}),
        "request.contents[0].parts[0].inlineData.data",
        "not base64",
        "Encode the bytes",
    ),
    Case(
        part({"inlineData": {"mimetype": "image/png", "data": "AAAA"}}),
        "request.contents[0].parts[0].inlineData.mimetype",
        "not a field",
        "`mimeType`",
    ),
    Case(part({"fileData": {}}), "request.contents[0].parts[0].fileData.fileUri", "is missing", "https://"),
    Case(
        part({"fileData": {"fileUri": "./cat.png"}}),
        "request.contents[0].parts[0].fileData.fileUri",
        "is a path",
        "Upload",
    ),
    Case(part({"fileData": {"uri": "x"}}), "request.contents[0].parts[0].fileData.uri", "not a field", "`fileUri`"),
    # settings
    Case(config(temprature=1), "request.generationConfig.temprature", "not a setting", "`temperature`"),
    Case(config(max_tokens=1), "request.generationConfig.max_tokens", "not a setting", "maxOutputTokens"),
    Case(config(stop=["x"]), "request.generationConfig.stop", "not a setting", "stopSequences"),
    Case(config(thinkingBudget=0), "request.generationConfig.thinkingBudget", "not a setting", "thinkingConfig."),
    Case(
        config(systemInstruction=TEXT), "request.generationConfig.systemInstruction", "does not belong", "one level up"
    ),
    Case(config(tools=[]), "request.generationConfig.tools", "does not belong", "`request.tools`"),
    Case(config(taskType="X"), "request.generationConfig.taskType", "for embeddings", '"content"'),
    Case(line(generationConfig="x"), "request.generationConfig", "a string", '"temperature"'),
    Case(config(responseMimeType=1), "request.generationConfig.responseMimeType", "a number", "in quotes"),
    Case(config(thinkingConfig=5), "request.generationConfig.thinkingConfig", "a number", "`{…}`"),
    Case(
        config(thinkingConfig={"thinkingbudget": 5}),
        "request.generationConfig.thinkingConfig.thinkingbudget",
        "not a field",
        "`thinkingBudget`",
    ),
    Case(config(responseSchema="x"), "request.generationConfig.responseSchema", "a string", "`{…}`"),
    Case(
        config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}),
        "request.generationConfig.responseJsonSchema",
        "exclude each other",
        "one of them",
    ),
    # tools and safety
    Case(line(tools="x"), "request.tools", "a string", "googleSearch"),
    Case(line(tools=["googleSearch"]), "request.tools[0]", "a string", "googleSearch"),
    Case(line(tools=[{"type": "function"}]), "request.tools[0].type", "another provider", "functionDeclarations"),
    Case(line(tools=[{"googleSerch": {}}]), "request.tools[0].googleSerch", "not a tool", "`googleSearch`"),
    Case(line(safety_settings=["x"]), "request.safety_settings[0]", "a string", "`{…}`"),
    Case(line(safetySettings=[{"level": 1}]), "request.safetySettings[0].level", "not a field", "Remove it"),
    # embeddings
    Case({"key": "a", "request": {"content": "x"}}, "request.content", "a string", '{"parts"'),
    Case({"key": "a", "request": {"content": [TEXT]}}, "request.content", "exactly one", "each text"),
    Case({"key": "a", "request": {"content": {"parts": []}}}, "request.content.parts", "empty list", '[{"text"'),
    Case(embed(contents=None), "request.contents", "not a field of an embedding request", "`content`"),
    Case(embed(generationConfig={}), "request.content", "`generationConfig` is for generation", '"contents"'),
    Case(embed(autoTruncate=True), "request.autoTruncate", "belongs in", "embedContentConfig"),
    Case(embed(dimensions=5), "request.dimensions", "another provider", "outputDimensionality"),
    Case(embed(config={}), "request.config", "the SDK's name", "embedContentConfig"),
    Case(embed(task_typ="X"), "request.task_typ", "not a field", "`taskType`"),
    Case(embed(taskType="retrieval document"), "request.taskType", "not a value", "`RETRIEVAL_DOCUMENT`"),
    Case(embed(taskType="DOCUMENT"), "request.taskType", "not a value", "`RETRIEVAL_DOCUMENT`"),
    Case(embed(taskType="SOMETHING_ELSE_ENTIRELY"), "request.taskType", "not a value", "`CLUSTERING`"),
    Case(embed(task_type=["X"]), "request.task_type", "a list", "RETRIEVAL_DOCUMENT"),
    Case(embed(outputDimensionality=0), "request.outputDimensionality", "between 1 and 3072", "leave it out"),
    Case(embed(outputDimensionality=5000), "request.outputDimensionality", "between 1 and 3072", "leave it out"),
    Case(embed(output_dimensionality="many"), "request.output_dimensionality", "a whole number", "whole number"),
    Case({"key": "a", "request": {"content": {"parts": [{"text": ""}]}}}, "request.content", "is empty", "Add text"),
    Case(embed(embedContentConfig=5), "request.embedContentConfig", "a number", "`{…}`"),
    Case(embed(embedContentConfig={"titel": "x"}), "request.embedContentConfig.titel", "not a setting", "`title`"),
    # names that the tables do not have
    Case(line(somethingNew={}), "request.somethingNew", "not a field of a request", "rejects unknown"),
    Case(said({**TEXT, "mood": "good"}), "request.contents[0].mood", "not a field of a content", "rejects unknown"),
    Case(part({"hologram": {}}), "request.contents[0].parts[0].hologram", "not a field of a part", "rejects unknown"),
    Case(config(quantumMode=True), "request.generationConfig.quantumMode", "not a setting", "rejects unknown"),
    Case(config(_internal=True), "request.generationConfig._internal", "not a setting", "rejects unknown"),
    Case(
        config(thinkingConfig={"mode": 1}),
        "request.generationConfig.thinkingConfig.mode",
        "not a field",
        "rejects unknown",
    ),
    Case(line(tools=[{"teleport": {}}]), "request.tools[0].teleport", "not a tool", "rejects unknown"),
    Case(embed(novelty=1), "request.novelty", "not a field of an embedding request", "rejects unknown"),
    # schemas
    Case(
        config(responseMimeType="application/json", responseSchema={"type": "OBJECT", "additionalProperties": False}),
        "request.generationConfig.responseSchema.additionalProperties",
        "JSON Schema",
        "responseJsonSchema",
    ),
    Case(
        config(
            responseMimeType="application/json",
            response_schema={"type": "OBJECT", "properties": {"a": {"items": {"$ref": "#/$defs/A"}}}},
        ),
        "request.generationConfig.response_schema.properties.a.items.$ref",
        "`$ref` is JSON Schema",
        "`response_json_schema`",
    ),
    Case(
        config(responseMimeType="application/json", responseSchema={"anyOf": [{"type": ["STRING", "NULL"]}]}),
        "request.generationConfig.responseSchema.anyOf[0].type",
        "A list of types",
        "responseJsonSchema",
    ),
    Case(
        config(responseSchema={"type": "STRING"}), "request.generationConfig.responseSchema", "MIME type", "next to it"
    ),
    Case(
        line(tools=[{"functionDeclarations": [{"name": "f", "parameters": {"additionalProperties": False}}]}]),
        "request.tools[0].functionDeclarations[0].parameters.additionalProperties",
        "JSON Schema",
        "`parametersJsonSchema`",
    ),
]

WARNINGS = [
    Case({"key": "k" * 513, "request": ASK}, "key", "513 characters", "short"),
    Case({**GOOD, "custom_id": "b"}, "custom_id", "ignored", "Remove it"),
    Case({**GOOD, "note": "b"}, "note", "no effect", "by key"),
    Case({**GOOD, "metadata": {"source": "b"}}, "metadata", "no effect", "by key"),
    Case({**GOOD, "prompt": "b"}, "prompt", "no effect", "by key"),
    Case({**GOOD, "response": {}}, "response", "no effect", "by key"),
    Case({**GOOD, "title": "b"}, "title", "no effect", "by key"),
    Case({**GOOD, "n": 7}, "n", "no effect", "by key"),
    Case(line(model="models/gemini-3.8-flash"), "request.model", "job's model", "Remove it"),
    Case(line(serviceTier="flex"), "request.serviceTier", "no effect in a batch", "Remove it"),
    Case({"key": "a", "request": {"contents": TEXT}}, "request.contents", "an object", "`[…]`"),
    Case(said({"parts": {"text": "x"}}), "request.contents[0].parts", "an object", "`[…]`"),
    Case(said({"parts": [{"text": ""}]}), "request.contents[0].parts", "is empty", "Add text"),
    Case(
        part({"fileData": {"fileUri": "gs://b/x"}}), "request.contents[0].parts[0].fileData.fileUri", "Cloud", "Upload"
    ),
    Case(line(tools={"googleSearch": {}}), "request.tools", "an object", "`[…]`"),
    Case(config(stopSequences="x"), "request.generationConfig.stopSequences", "a list", "`[…]`"),
    Case(config(response_modalities="IMAGE"), "request.generationConfig.response_modalities", "a list", "`[…]`"),
    Case(line(systemInstruction={"parts": [{"text": ""}]}), "request.systemInstruction.parts", "is empty", "Add text"),
    Case(line(labels={"team": "a"}), "request.labels", "newer than", "Try a few lines"),
    Case(
        config(thinkingConfig={"thinkingLevel": "XHIGH"}),
        "request.generationConfig.thinkingConfig.thinkingLevel",
        "newer than",
        "Try a few lines",
    ),
    Case(
        part({"functionCall": {"name": "f", "args": {}}}),
        "request.contents[0].parts[0].thoughtSignature",
        "no `thoughtSignature`",
        "Copy",
    ),
    Case(
        line(
            tools=[{"mcpServers": [{"name": "x"}]}],
            generationConfig={"responseMimeType": "application/json", "responseJsonSchema": {}},
        ),
        "request.tools",
        "every request",
        "Remove one",
    ),
]


def named(cases: list[Case]) -> list[Any]:
    """The cases with ids that say their number and their place."""
    return [pytest.param(case, id=f"{number}-{case.field}") for number, case in enumerate(cases)]


@pytest.mark.parametrize("case", named(ERRORS))
def test_an_error_names_its_place_and_says_what_to_write(case: Case) -> None:
    found = check_line(encode(case.line), 7)
    assert isinstance(found, tuple), "the line was let through"
    match = [p for p in found if p.field == case.field and case.message in p.message and case.next in (p.next or "")]
    assert match, found
    assert match[0].severity == "error"
    assert {p.line for p in found} == {7}


@pytest.mark.parametrize("case", named(WARNINGS))
def test_a_warning_lets_the_line_through(case: Case) -> None:
    found = check_line(encode(case.line), 7)
    assert isinstance(found, Checked), found
    match = [
        p for p in found.problems if p.field == case.field and case.message in p.message and case.next in (p.next or "")
    ]
    assert match, found
    assert {p.severity for p in found.problems} == {"warning"}


ACCEPTED = [
    GOOD,
    said({"role": "user", **TEXT}, {"role": "model", **TEXT}, {"role": "user", **TEXT}),
    line(systemInstruction=TEXT, tools=[{"googleSearch": {}}, {"codeExecution": {}}], toolConfig={}),
    line(
        system_instruction={"role": "system", **TEXT},
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    ),
    line(systemInstruction=None, tools=None, generationConfig=None, cachedContent=None, safetySettings=None),
    line(cachedContent="cachedContents/x", systemInstruction=None),
    line(store=False),
    config(),
    config(temperature=0.2, topP=1, topK=40, maxOutputTokens=5, stopSequences=["x"], seed=1, candidateCount=1),
    config(response_modalities=["TEXT", "IMAGE"], imageConfig={"aspectRatio": "1:1", "imageSize": "1K"}),
    config(responseModalities=["AUDIO"], speechConfig={"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}),
    config(thinking_config={"thinking_level": "LOW", "include_thoughts": True}),
    part({"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}),
    part({"inline_data": {"mime_type": "image/png", "data": "iVBOR-_0KGgo"}}),
    part({"fileData": {"mimeType": "image/png", "fileUri": "https://x/v1beta/files/abc"}, "videoMetadata": {"fps": 1}}),
    part({"text": "x", "thought": True, "thoughtSignature": "c2ln"}),
    part({"text": "x", "inlineData": None, "fileData": None}),
    part({"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}),
    said({"role": "tool", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}),
    part({"functionResponse": {"name": "f", "response": {}}}),
    said({"parts": [{"text": ""}, {"text": "x"}]}),
]


@pytest.mark.parametrize("value", ACCEPTED, ids=range(len(ACCEPTED)))
def test_what_the_service_takes_passes_without_a_word(value: dict[str, Any]) -> None:
    assert facts(check_line(encode(value), 1)) == ("a", Method.GENERATE, False, None, (), None)


def test_all_problems_of_a_line_come_at_once() -> None:
    found = problems({"key": 1, "request": {"contents": "x", "temperature": 1, "generationConfig": {"topPP": 1}}})
    assert [p.field for p in found] == [
        "key",
        "request.temperature",
        "request.generationConfig.topPP",
        "request.contents",
    ]


def test_the_warnings_of_a_bad_line_come_along() -> None:
    found = problems({"key": "a", "note": 1, "request": {"contents": []}})
    assert [p.severity for p in found] == ["warning", "error"]


def test_findings_of_one_line_are_bounded() -> None:
    assert len(problems(said(*["x"] * 1000))) == 20


def test_a_bad_line_stays_bad_however_many_warnings_came_before() -> None:
    found = check_line(encode({**GOOD, **{f"note{n}": 1 for n in range(30)}, "request": {"contents": []}}), 1)
    assert isinstance(found, tuple)
    assert any(p.severity == "error" for p in found)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),
        ({"responseMimeType": "application/json"}, True),
        ({"response_mime_type": "application/json"}, True),
        ({"responseMimeType": "Application/JSON"}, True),
        ({"responseMimeType": "text/plain"}, False),
        ({"responseFormat": {"text": {"mimeType": "APPLICATION_JSON"}}}, True),
        ({"responseFormat": {"text": {"mimeType": "TEXT_PLAIN"}}}, False),
        ({"responseFormat": {"image": {}}}, False),
    ],
)
def test_json_answers_are_expected_where_they_are_asked_for(values: dict[str, Any], *, expected: bool) -> None:
    for spelling in ("generationConfig", "generation_config"):
        checked = check_line(encode(line(**{spelling: values})), 1)
        assert isinstance(checked, Checked)
        assert checked.expects_json is expected


@pytest.mark.parametrize(
    ("request_fields", "dimension"),
    [
        ({}, None),
        ({"outputDimensionality": 768}, 768),
        ({"output_dimensionality": "768"}, 768),
        ({"outputDimensionality": 768.0}, 768),
        ({"embedContentConfig": {"outputDimensionality": 256}}, 256),
        ({"embed_content_config": {"output_dimensionality": 256, "task_type": "CLUSTERING"}}, 256),
        ({"outputDimensionality": None, "taskType": 8, "title": "x"}, None),
    ],
)
def test_an_embedding_line_knows_its_dimension(request_fields: dict[str, Any], dimension: int | None) -> None:
    assert facts(check_line(encode(embed(**request_fields)), 1)) == ("a", Method.EMBED, False, dimension, (), None)


def test_a_key_is_kept_as_it_is() -> None:
    checked = check_line(encode({"key": "größe/#1 \u2028", "request": ASK}), 1)
    assert isinstance(checked, Checked)
    assert checked.key == "größe/#1 \u2028"


#: How fast examples are drawn depends on who else uses the machine.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = """
    key request contents content parts role text inlineData fileData mimeType data fileUri generationConfig config
    responseSchema responseMimeType thinkingConfig tools systemInstruction safetySettings cachedContent model
    outputDimensionality taskType embedContentConfig properties items anyOf type custom_id metadata
"""
words = st.sampled_from(WORDS.split())
lifelike: st.SearchStrategy[Any] = st.recursive(
    json_values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)


def assert_sound(found: Checked | tuple[Problem, ...]) -> None:
    if isinstance(found, Checked):
        assert found.key
        assert all(p.severity == "warning" for p in found.problems)
    else:
        assert any(p.severity == "error" for p in found)
        assert all(p.message and p.next for p in found)


@relaxed
@given(st.binary(max_size=60))
def test_any_bytes_are_judged(data: bytes) -> None:
    assert_sound(check_line(data, 1))


@relaxed
@given(lifelike | st.fixed_dictionaries({"key": lifelike, "request": lifelike}))
def test_any_json_is_judged(value: Any) -> None:
    assert_sound(check_line(json.dumps(value).encode(), 1))


@relaxed
@given(st.fixed_dictionaries({"key": st.just("a"), "request": st.dictionaries(words, lifelike, max_size=5)}))
def test_any_request_is_judged(value: Any) -> None:
    assert_sound(check_line(json.dumps(value).encode(), 1))


def test_good_lines_are_checked_fast() -> None:
    data = encode(line(systemInstruction=TEXT, generationConfig={"temperature": 0.2, "maxOutputTokens": 512}))
    rounds = 2_000

    def seconds() -> float:
        start = time.perf_counter()
        for number in range(rounds):
            check_line(data, number)
        return time.perf_counter() - start

    # About 225,000 a second on one core of an ordinary machine; a tenth of it leaves room for a busy one.
    assert rounds / min(seconds() for _ in range(5)) > 20_000


@pytest.mark.parametrize(
    ("labels", "refused"),
    [
        (None, False),
        ({"team_a": "my_team-1", "ä": ""}, False),
        ({f"n{number}": "" for number in range(63)}, False),
        ({f"n{number}": "" for number in range(64)}, True),
        ({"gemini-batch-key": "mine"}, True),
        ({"1a": "x"}, True),
        ({"": "x"}, True),
        ({"a": "X"}, True),
        ({"a": "x" * 64}, True),
        ({"a": None}, True),
        (["a"], True),
    ],
)
def test_labels_of_a_request_for_vertex_ai(labels: object, refused: bool) -> None:
    found = check_line(encode({"key": "a", "request": {**ASK, "labels": labels}}), 1, Terms(vertex=True))
    problems = found if isinstance(found, tuple) else found.problems
    assert any(problem.field.startswith("request.labels") for problem in problems if problem.field) is refused


@pytest.mark.parametrize("name", ["cachedContent", "cached_content"])
def test_batches_of_vertex_ai_cannot_use_a_cache(name: str) -> None:
    cache = "projects/p/locations/global/cachedContents/c"
    found = check_line(encode({"key": "a", "request": {**ASK, name: cache}}), 1, Terms(vertex=True, lenient=True))
    assert isinstance(found, tuple)
    assert [problem.field for problem in found] == [f"request.{name}"]
    without = check_line(encode({"key": "a", "request": {**ASK, name: None}}), 1, Terms(vertex=True))
    assert not isinstance(without, tuple)


def test_a_file_of_the_gemini_api_is_none_of_vertex_ai() -> None:
    file = {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc", "mimeType": "image/png"}
    line = encode({"key": "a", "request": {"contents": [{"parts": [{"fileData": file}]}]}})
    assert not isinstance(check_line(line, 1), tuple)
    found = check_line(line, 1, Terms(vertex=True))
    assert isinstance(found, tuple)
    assert "which Vertex AI cannot read" in found[0].message
