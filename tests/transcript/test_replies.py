"""Responses as turns that people can read: candidates, thoughts, media, JSON, vectors, and any other shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini_batch.catalog import Method
from gemini_batch.transcript.replies import reply_of
from gemini_batch.transcript.turns import Turn


def candidates(*each: list[Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"} for parts in each]}


GENERATED: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "text": (candidates([{"text": "Be"}, {"text": "cause."}]), [("model", "Because.")]),
    "thoughts": (
        candidates([{"text": "hm", "thought": True}, {"text": "Because."}]),
        [("thought", "hm"), ("model", "Because.")],
    ),
    "candidates": (candidates([{"text": "a"}], [{"text": "b"}]), [("candidate 1", "a"), ("candidate 2", "b")]),
    "an image": (
        candidates([{"text": "Here:"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]),
        [("model", "Here:\n[image/png, 3 bytes]")],
    ),
    "a call": (
        candidates([{"functionCall": {"name": "f", "args": {"a": 1}}}]),
        [("model", '[calls f]\n{\n  "a": 1\n}')],
    ),
    "nothing": (candidates([]), []),
    "no content": ({"candidates": [{"finishReason": "SAFETY"}]}, []),
    "no candidates": ({"promptFeedback": {"blockReason": "SAFETY"}}, []),
    "a chat completion": (
        {
            "choices": [
                {
                    "finish_reason": "stop",
                    "message": {
                        "content": "Hi",
                        "tool_calls": [{"function": {"name": "f", "arguments": '{"a": 1}'}}],
                    },
                }
            ]
        },
        [("model", 'Hi\n[calls f]\n{\n  "a": 1\n}')],
    ),
    "not an object": ([1], [("model", "[1]")]),
    "odd candidates": ({"candidates": 7}, [("model", '{"candidates": 7}')]),
}


@pytest.mark.parametrize(("response", "turns"), GENERATED.values(), ids=GENERATED)
def test_a_response(response: Any, turns: list[tuple[str, str]]) -> None:
    found = reply_of(json.dumps(response).encode(), method=Method.GENERATE)

    assert found == [Turn(role, text) for role, text in turns]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"a":[1.50,2e3]}', '{\n  "a": [\n    1.50,\n    2e3\n  ]\n}'),
        ("[]", "[]"),
        ("7", "7"),
        ('{"a":', '{"a":'),
        ("Hello", "Hello"),
    ],
)
def test_json_has_several_lines_where_it_was_asked_for(text: str, shown: str) -> None:
    response = json.dumps(candidates([{"text": text}])).encode()

    assert reply_of(response, method=Method.GENERATE, expects_json=True) == [Turn("model", shown)]
    assert reply_of(response, method=Method.GENERATE) == [Turn("model", text)]


@pytest.mark.parametrize(
    ("response", "text"),
    [
        ({"embedding": {"values": [0.5, -1]}}, "[vector of 2 numbers: 0.5, -1]"),
        ({"embedding": {"values": [0.125] * 768}}, "[vector of 768 numbers: 0.125, 0.125, 0.125, 0.125, …]"),
        ({"embedding": {}}, "[no vector]"),
        ({"embedding": {"values": ["a"]}}, "[vector of 1 numbers: a]"),
        ([1], "[1]"),
    ],
)
def test_an_embedding(response: Any, text: str) -> None:
    assert reply_of(json.dumps(response).encode(), method=Method.EMBED) == [Turn("model", text)]
