"""What OpenAI's clients ask, field by field, as the API's own request; and that no body is too odd to be refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.emulator.messages import openai_requests
from gemini_batch.emulator.messages.errors import ApiFailure
from gemini_batch.emulator.responders.chat_format import chat_request

HELLO = [{"role": "user", "content": "Hello."}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hello."}]}]
PIXEL = "aGVsbG8="


def asked(*, model: str = "gemini-3.8-flash", **body: Any) -> dict[str, Any]:
    return openai_requests.chat({"model": model, "messages": HELLO, **body}).request


def refused(**body: Any) -> str:
    with pytest.raises(ApiFailure) as caught:
        asked(**body)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("body", "config"),
    [
        ({}, {}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"top_p": 0.9, "n": 2}, {"topP": 0.9, "candidateCount": 2}),
        ({"max_tokens": 5}, {"maxOutputTokens": 5}),
        ({"max_completion_tokens": 6}, {"maxOutputTokens": 6}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"maxOutputTokens": 6}),
        ({"stop": "END"}, {"stopSequences": ["END"]}),
        ({"stop": ["END", "."]}, {"stopSequences": ["END", "."]}),
        ({"presence_penalty": 0.5}, {"presencePenalty": 0.5}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"responseMimeType": "application/json"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}},
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
        ),
        ({"reasoning_effort": "none"}, {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}),
        ({"reasoning_effort": "high"}, {"thinkingConfig": {"thinkingLevel": "HIGH"}}),
        ({"reasoning_effort": "none", "model": "gemini-2.5-flash"}, {"thinkingConfig": {"thinkingBudget": 0}}),
        ({"reasoning_effort": "low", "model": "models/gemini-2.5-pro"}, {"thinkingConfig": {"thinkingBudget": 1024}}),
        (
            {"extra_body": {"google": {"thinking_config": {"thinking_budget": 7, "include_thoughts": True}}}},
            {"thinkingConfig": {"thinkingBudget": 7, "includeThoughts": True}},
        ),
        ({"user": "u", "parallel_tool_calls": True, "stream_options": {"include_usage": True}}, {}),
        ({"temperature": None, "stop": None, "tools": None, "reasoning_effort": None}, {}),
    ],
)
def test_settings(body: dict[str, Any], config: dict[str, Any]) -> None:
    assert asked(**body) == {"contents": CONTENTS, "generationConfig": config}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (
            [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "text", "text": "!"}]},
            ],
            {"systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "!"}]}, "contents": []},
        ),
        (
            [*HELLO, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Well?", "name": "me"}],
            {
                "contents": [
                    *CONTENTS,
                    {"role": "model", "parts": [{"text": "Hi."}]},
                    {"role": "user", "parts": [{"text": "Well?"}]},
                ]
            },
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "See."},
                        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
                        {"type": "image_url", "image_url": "https://example.com/a.png"},
                        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "wav"}},
                        {"type": "input_audio", "input_audio": {"data": PIXEL, "format": "mp3"}},
                    ],
                }
            ],
            {
                "contents": [
                    {
                        "role": "user",
                        "parts": [
                            {"text": "See."},
                            {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                            {"fileData": {"fileUri": "https://example.com/a.png"}},
                            {"inlineData": {"mimeType": "audio/wav", "data": PIXEL}},
                            {"inlineData": {"mimeType": "audio/mp3", "data": PIXEL}},
                        ],
                    }
                ]
            },
        ),
        (
            [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {"name": "f", "arguments": '{"a":1}'},
                            "extra_content": {"google": {"thought_signature": PIXEL}},
                        },
                        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
                    ],
                },
                {"role": "tool", "tool_call_id": "c2", "content": '{"b": 2}'},
                {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "Sunny."}]},
                {"role": "tool", "tool_call_id": "c9", "name": "h", "content": "[1]"},
            ],
            {
                "contents": [
                    {
                        "role": "model",
                        "parts": [
                            {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"}, "thoughtSignature": PIXEL},
                            {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
                        ],
                    },
                    {
                        "role": "user",
                        "parts": [
                            {"functionResponse": {"name": "g", "response": {"b": 2}, "id": "c2"}},
                            {"functionResponse": {"name": "f", "response": {"result": "Sunny."}, "id": "c1"}},
                            {"functionResponse": {"name": "h", "response": {"result": [1]}, "id": "c9"}},
                        ],
                    },
                ]
            },
        ),
    ],
)
def test_messages(messages: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert asked(messages=messages) == {"generationConfig": {}, **expected}


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("required", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
    ],
)
def test_tools(choice: Any, config: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {}}
    tools = [{"type": "function", "function": {"name": "f", "description": "F.", "parameters": schema, "strict": True}}]
    found = asked(tools=tools, tool_choice=choice)
    declared = {"name": "f", "description": "F.", "parametersJsonSchema": schema}
    assert found["tools"] == [{"functionDeclarations": [declared]}]
    assert found["toolConfig"] == {"functionCallingConfig": config}


def test_a_cache_is_named() -> None:
    found = asked(extra_body={"google": {"cached_content": "cachedContents/x"}})
    assert found["cachedContent"] == "cachedContents/x"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            {"seed": 1, "top_k": 2},
            'Unknown name "seed": Cannot find field.\nInvalid JSON payload received. Unknown name "top_k"',
        ),
        ({"extra_body": {"google": {"odd": 1}}}, "Unknown name \"odd\" at 'extra_body.google'"),
        ({"temperature": "hot"}, "$.temperature"),
        ({"messages": "Hello."}, "$.messages"),
        ({"messages": [{"role": "friend", "content": ""}]}, "$.messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
            "content part type: file at messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,x"}}]}
                ]
            },
            "Invalid data URL at messages[0].content[0]",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,?"}}],
                    }
                ]
            },
            "inline_data.data",
        ),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": ""}]},
            "no earlier message has a function call",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}]},
            "Invalid function arguments at messages[0]",
        ),
        ({"tool_choice": "maybe"}, "Invalid tool_choice: maybe"),
        ({"response_format": {"type": "json_schema"}}, "the schema is missing"),
        ({"reasoning_effort": "extreme"}, "Invalid reasoning_effort: extreme. Valid values are: high"),
        (
            {"reasoning_effort": "low", "extra_body": {"google": {"thinking_config": {"thinking_budget": 7}}}},
            "Only one of reasoning_effort",
        ),
        ({"extra_body": {"google": {"thinking_config": 7}}}, "thinking"),
    ],
)
def test_refusals(body: dict[str, Any], said: str) -> None:
    assert said in refused(**body)


def test_lenient_ignores_unknown_names() -> None:
    body = {"model": "m", "messages": HELLO, "seed": 1}
    assert openai_requests.chat(body, lenient=True).request == {"contents": CONTENTS, "generationConfig": {}}


def test_there_and_back() -> None:
    """What the other direction makes of a request is read as the same request."""
    request = {
        "contents": [*CONTENTS, {"role": "model", "parts": [{"text": "Hi."}]}, *CONTENTS],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"temperature": 0.5, "topP": 0.5, "maxOutputTokens": 9, "stopSequences": ["."]},
    }
    assert openai_requests.chat(chat_request("m", request)).request == request


NAMES = st.sampled_from(
    [
        *openai_requests._Chat.__struct_fields__,
        *openai_requests._Embeddings.__struct_fields__,
        *["role", "content", "type"],
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("user"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)


@given(value=JSON, messages=st.lists(st.dictionaries(NAMES, JSON, max_size=3), max_size=2), lenient=st.booleans())
def test_any_body_is_read_or_refused(value: Any, messages: list[Any], *, lenient: bool) -> None:
    """It never fails in another way."""
    bodies = [value]
    if isinstance(value, dict):
        bodies.append({**value, "model": "m", "messages": messages})
        bodies.append({**value, "model": "m", "messages": [{"role": "user", **one} for one in messages]})
    for body in bodies:
        for read in (openai_requests.chat, openai_requests.embeddings, openai_requests.batch):
            try:
                read(body, lenient=lenient)
            except ApiFailure as failure:
                assert failure.status == 400  # noqa: PT017 - either outcome is right
