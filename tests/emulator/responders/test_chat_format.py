"""The translation, field by field: what a chat completion is asked, and what its answer becomes."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.responders.conftest import completion
from gemini_batch.emulator.responders.chat_format import (
    chat_answer,
    chat_request,
    embedding_answer,
    embedding_request,
)
from gemini_batch.errors import RowError
from gemini_batch.protocol.openapi_schema import translated

HELLO = [{"role": "user", "parts": [{"text": "Hello."}]}]


def asked(**request: Any) -> dict[str, Any]:
    return chat_request("m", {"contents": HELLO, **request})


def messages(*contents: dict[str, Any]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = chat_request("m", {"contents": list(contents)})["messages"]
    return made


def refused(**request: Any) -> str:
    with pytest.raises(RowError) as caught:
        asked(**request)
    assert caught.value.code == 3
    return caught.value.message


def test_the_least() -> None:
    """A prompt is a message; nothing is added that was not asked for."""
    assert asked() == {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}


def test_system_instruction_and_turns() -> None:
    """The system comes first; user and model take turns; thoughts of before are not sent back."""
    made = chat_request(
        "m",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
            "contents": [
                {"parts": [{"text": "One?"}]},
                {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "Two."}]},
                {"role": "user", "parts": [{"text": "And"}, {"text": "three?"}]},
            ],
        },
    )
    assert made["messages"] == [
        {"role": "system", "content": "Be brief.\nBe kind."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "And\nthree?"},
    ]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"topP": 0.9}, {"top_p": 0.9}),
        ({"maxOutputTokens": 100}, {"max_tokens": 100}),
        ({"stopSequences": ["END", "."]}, {"stop": ["END", "."]}),
        ({"seed": 0}, {"seed": 0}),
        ({"presencePenalty": 0.1, "frequencyPenalty": -0.2}, {"presence_penalty": 0.1, "frequency_penalty": -0.2}),
        ({"candidateCount": 3}, {"n": 3}),
        ({"candidateCount": 1}, {}),
        ({"topK": 40, "thinkingConfig": {"thinkingBudget": 0}, "responseLogprobs": True}, {}),
        ({"responseMimeType": "text/plain"}, {}),
        ({"responseModalities": ["TEXT"]}, {}),
        ({"responseMimeType": "application/json"}, {"response_format": {"type": "json_object"}}),
    ],
)
def test_generation_config(config: dict[str, Any], expected: dict[str, Any]) -> None:
    made = asked(generationConfig=config)
    assert {name: value for name, value in made.items() if name not in ("model", "messages")} == expected


JSON_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


@pytest.mark.parametrize(
    "config",
    [
        {"responseMimeType": "application/json", "responseJsonSchema": JSON_SCHEMA},
        {"responseFormat": {"text": {"mimeType": "APPLICATION_JSON", "schema": JSON_SCHEMA}}},
    ],
)
def test_json_schema_goes_through_as_it_is(config: dict[str, Any]) -> None:
    made = asked(generationConfig=config)["response_format"]
    assert made == {"type": "json_schema", "json_schema": {"name": "answer", "schema": JSON_SCHEMA}}


def test_a_response_schema_becomes_json_schema() -> None:
    """Types in small letters, nullable said the other way, counts as numbers, properties in the order wished for."""
    schema = {
        "type": "OBJECT",
        "properties": {
            "tags": {"type": "ARRAY", "minItems": "1", "maxItems": "3", "items": {"type": "STRING"}},
            "kind": {"type": "STRING", "format": "enum", "enum": ["x", "y"], "nullable": True},
            "both": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
            "when": {"type": "STRING", "format": "date-time", "example": "now"},
        },
        "required": ["tags"],
        "propertyOrdering": ["when", "kind"],
    }
    made = translated(schema)
    assert made == {
        "type": "object",
        "properties": {
            "when": {"type": "string", "format": "date-time"},
            "kind": {"type": ["string", "null"], "enum": ["x", "y", None]},
            "tags": {"type": "array", "minItems": 1, "maxItems": 3, "items": {"type": "string"}},
            "both": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
        },
        "required": ["tags"],
    }
    assert list(made["properties"]) == ["when", "kind", "tags", "both"]
    config = {"responseMimeType": "application/json", "responseSchema": {"type": "TYPE_UNSPECIFIED"}}
    assert asked(generationConfig=config)["response_format"]["json_schema"]["schema"] == {}


def test_pictures_and_sound() -> None:
    """Data URLs, with base64 as they want it whatever spelling came."""
    (made,) = messages(
        {
            "role": "user",
            "parts": [
                {"text": "What is it?"},
                {"inlineData": {"mimeType": "image/png", "data": "_-8"}},
                {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}},
            ],
        }
    )
    assert made["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,/+8="}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    ]


def test_functions_and_their_answers() -> None:
    """Declarations, calls of before and their responses, tied together by id or else by name."""
    call = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
    known = {"functionCall": {"name": "time", "id": "t1"}}
    made = chat_request(
        "m",
        {
            "contents": [
                *HELLO,
                {"role": "model", "parts": [{"text": "I look."}, call, known]},
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "time", "id": "t1", "response": {"now": 12}}},
                        {"functionResponse": {"name": "weather", "response": {"sky": "grey"}}},
                        {"text": "Well?"},
                    ],
                },
            ],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "weather", "description": "d", "parameters": {"type": "OBJECT", "properties": {}}},
                        {"name": "time", "parametersJsonSchema": {"type": "object"}},
                        {"name": "other"},
                    ]
                }
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather", "time"]}},
        },
    )
    assert made["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
                {"id": "t1", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": '{"now":12}'},
        {"role": "tool", "tool_call_id": "call-1", "content": '{"sky":"grey"}'},
        {"role": "user", "content": "Well?"},
    ]
    assert made["tools"] == [
        {
            "type": "function",
            "function": {"name": "weather", "description": "d", "parameters": {"type": "object", "properties": {}}},
        },
        {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}},
    ]
    assert made["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"tools": [{"googleSearch": {}}]}, "googleSearch"),
        ({"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "IMAGE"),
        ({"generationConfig": {"responseFormat": {"audio": {"mimeType": "AUDIO_MP3"}}}}, "responseFormat.audio"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "text/x.enum"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "files/x"}}]}]}, "fileData"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": ""}}]}]}, "video/mp4"),
        ({"contents": [{"parts": [{"executableCode": {"code": "1"}}]}]}, "executableCode"),
        ({"contents": [{"role": "model", "parts": [{"inlineData": {"data": "A"}}]}, *HELLO]}, "inlineData"),
        ({"systemInstruction": {"parts": [{"inlineData": {"mimeType": "image/png"}}]}}, "systemInstruction"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"parts": [{"text": ""}]}]}, "contents is not specified"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(request_: dict[str, Any], named: str) -> None:
    assert named in refused(**request_)


def test_an_answer() -> None:
    assert chat_answer("asked", completion("Good.")) == {
        "candidates": [
            {"content": {"parts": [{"text": "Good."}], "role": "model"}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
        "modelVersion": "small-1@offline",
        "responseId": "chatcmpl-1",
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("stop", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("tool_calls", "STOP"),
        ("eos_token", "STOP"),
        ("abort", "OTHER"),
        (None, "OTHER"),
    ],
)
def test_finish_reasons(theirs: str | None, ours: str) -> None:
    """An unknown one is never guessed into a good one."""
    made = completion("Good.")
    made["choices"][0]["finish_reason"] = theirs
    assert chat_answer("m", made)["candidates"][0]["finishReason"] == ours


def test_thinking_is_told_apart() -> None:
    """In the tokens always; in the parts where the request asked to see it."""
    made = completion("42", reasoning_content="Let me see.")
    made["usage"] = {
        "prompt_tokens": 7,
        "completion_tokens": 30,
        "completion_tokens_details": {"reasoning_tokens": 20},
        "prompt_tokens_details": {"cached_tokens": 5},
    }
    shown = chat_answer("m", made, thoughts=True)
    assert shown["candidates"][0]["content"]["parts"] == [{"text": "Let me see.", "thought": True}, {"text": "42"}]
    assert shown["usageMetadata"] == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 10,
        "totalTokenCount": 37,
        "thoughtsTokenCount": 20,
        "cachedContentTokenCount": 5,
    }
    assert chat_answer("m", made)["candidates"][0]["content"]["parts"] == [{"text": "42"}]


def test_calls_refusals_and_nothing() -> None:
    """Function calls are parts; a refusal is a safety stop that says so; an empty answer has no parts."""
    function = {"name": "f", "arguments": '{"a": 1}'}
    called = chat_answer("m", completion(None, finish="tool_calls", tool_calls=[{"id": "c", "function": function}]))
    assert called["candidates"][0] == {
        "content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}, "id": "c"}}], "role": "model"},
        "finishReason": "STOP",
        "index": 0,
    }
    broken = completion(None, tool_calls=[{"function": {"name": "f", "arguments": "{"}}])
    assert chat_answer("m", broken)["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
    no = chat_answer("m", completion(None, refusal="I will not."))["candidates"][0]
    assert (no["finishReason"], no["finishMessage"]) == ("SAFETY", "I will not.")
    empty = chat_answer("m", completion("", finish="length"))["candidates"][0]
    assert empty == {"content": {"role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}


def test_several_choices_and_no_usage() -> None:
    made = completion([{"type": "text", "text": "A"}])  # type: ignore[arg-type]
    made["choices"].append({"message": {"content": "B"}, "finish_reason": "stop"})
    del made["usage"], made["model"], made["id"]
    answer = chat_answer("asked", made)
    texts = [one["content"]["parts"][0]["text"] for one in answer["candidates"]]
    assert texts == ["A", "B"]
    assert [one["index"] for one in answer["candidates"]] == [0, 1]
    assert answer["modelVersion"] == "asked@offline"
    assert "usageMetadata" not in answer
    assert "responseId" not in answer


@pytest.mark.parametrize("strange", [None, [], "text", {}, {"choices": []}, {"choices": ["x"]}, {"error": "full"}])
def test_what_is_no_completion(strange: Any) -> None:
    with pytest.raises(RowError) as caught:
        chat_answer("m", strange)
    assert caught.value.code == 13
    assert "not a chat completion" in caught.value.message


def test_embeddings() -> None:
    request = {"content": {"parts": [{"text": "red"}, {"text": "blue"}]}, "taskType": "CLUSTERING"}
    assert embedding_request("m", request) == {"model": "m", "input": "red\nblue"}
    short = {**request, "embedContentConfig": {"outputDimensionality": 2}}
    assert embedding_request("m", short)["dimensions"] == 2
    answer = {"data": [{"embedding": [0.6, 0.8]}], "usage": {"prompt_tokens": 2}}
    expected = {"embedding": {"values": [0.6, 0.8]}, "usageMetadata": {"promptTokenCount": 2}}
    assert embedding_answer(short, answer) == expected


def test_embeddings_that_are_none() -> None:
    """Base64, nothing, or another dimension than was asked for: an error of the row, never a wrong vector."""
    request = {"content": {"parts": [{"text": "red"}]}, "outputDimensionality": 3}
    for strange, code in (
        ({"data": [{"embedding": "AAAA"}]}, 13),
        ({"data": []}, 13),
        ({}, 13),
        ({"data": [{"embedding": [1.0, 0.0]}]}, 3),
    ):
        with pytest.raises(RowError) as caught:
            embedding_answer(request, strange)
        assert caught.value.code == code, strange
    picture = {"inlineData": {"mimeType": "image/png", "data": "A"}}
    for parts in ([], [picture]):
        with pytest.raises(RowError) as caught:
            embedding_request("m", {"content": {"parts": parts}})
        assert caught.value.code == 3
