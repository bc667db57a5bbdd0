"""Request lines as turns that people can read: every kind of part, both spellings, and lines that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.transcript.prompts import prompt_of
from gemini_batch.transcript.turns import Turn

PNG = {"mimeType": "image/png", "data": "A" * 1_600_000}


def contents(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"contents": [{"parts": list(parts)}], **more}


REQUESTS: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "text": (contents({"text": "Why?"}), [("user", "Why?")]),
    "texts are one text": (contents({"text": "Wh"}, {"text": "y?"}), [("user", "Why?")]),
    "a conversation": (
        {
            "systemInstruction": {"role": "user", "parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "1"}]},
                {"role": "model", "parts": [{"text": "2"}]},
                {"role": "user", "parts": [{"text": "3"}]},
            ],
        },
        [("system", "Be brief."), ("user", "1"), ("model", "2"), ("user", "3")],
    ),
    "snake case": (
        {
            "system_instruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]}],
            "generation_config": {"temperature": 0},
        },
        [
            ("system", "Be brief."),
            ("user", "[image/png, 3 bytes]"),
            ("settings", '{\n  "generationConfig": {\n    "temperature": 0\n  }\n}'),
        ],
    ),
    "media": (contents({"text": "What?"}, {"inlineData": PNG}), [("user", "What?\n[image/png, 1.2 MB]")]),
    "media before text": (contents({"inlineData": PNG}, {"text": "What?"}), [("user", "[image/png, 1.2 MB]\nWhat?")]),
    "media without data": (contents({"inlineData": {"mimeType": "a/b"}}), [("user", "[a/b, no data]")]),
    "media that is odd": (contents({"inlineData": 7}), [("user", "[inlineData]\n7")]),
    "a file": (
        contents({"fileData": {"mimeType": "audio/mpeg", "fileUri": "https://x/files/a"}}),
        [("user", "[audio/mpeg, https://x/files/a]")],
    ),
    "a file without a type": (contents({"fileData": {"fileUri": "u"}}), [("user", "[unknown type, u]")]),
    "a call": (
        contents({"functionCall": {"name": "weather", "args": {"city": "Ulm"}}}),
        [("user", '[calls weather]\n{\n  "city": "Ulm"\n}')],
    ),
    "a call without arguments": (contents({"functionCall": {"name": "now"}}), [("user", "[calls now]")]),
    "a result": (
        contents({"functionResponse": {"name": "weather", "response": {"sun": True}}}),
        [("user", '[result of weather]\n{\n  "sun": true\n}')],
    ),
    "code": (
        contents({"executableCode": {"language": "PYTHON", "code": "print(1)"}}),
        [("user", "[code, PYTHON]\nprint(1)")],
    ),
    "its result": (
        contents({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}),
        [("user", "[result of the code, OUTCOME_OK]\n1")],
    ),
    "a thought of an earlier turn": (
        {"contents": [{"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "yes"}]}]},
        [("thought", "hm"), ("model", "yes")],
    ),
    "what says something about a part": (
        contents({"text": "a", "thoughtSignature": "x", "videoMetadata": {"fps": 1}}),
        [("user", "a")],
    ),
    "an unknown part": (contents({"hologram": {"depth": 3}}), [("user", '[hologram]\n{\n  "depth": 3\n}')]),
    "a long string is cut": (
        contents({"hologram": "z" * 2001}),
        [("user", f'[hologram]\n"{"z" * 2000}… (2,001 characters)"')],
    ),
    "an embedding": (
        {"content": {"parts": [{"text": "museum"}]}, "taskType": "RETRIEVAL_QUERY"},
        [("user", "museum"), ("settings", '{\n  "taskType": "RETRIEVAL_QUERY"\n}')],
    ),
    "contents as one object": ({"contents": {"parts": [{"text": "a"}]}}, [("user", "a")]),
    "contents as text": ({"contents": "Hello"}, [("user", "Hello")]),
    "an instruction as text": ({"systemInstruction": "Be brief.", "contents": []}, [("system", "Be brief.")]),
    "parts as one object": ({"contents": [{"parts": {"text": "a"}}]}, [("user", "a")]),
    "null fields": ({"contents": None, "tools": None, "systemInstruction": None}, []),
    "a number as role": ({"contents": [{"role": 7, "parts": [{"text": "a"}]}]}, [("user", "a")]),
}


@pytest.mark.parametrize(("request_", "turns"), REQUESTS.values(), ids=REQUESTS)
def test_a_request(request_: Any, turns: list[tuple[str, str]]) -> None:
    line = json.dumps({"key": "a", "request": request_}).encode()

    assert prompt_of(line) == [Turn(role, text) for role, text in turns]


@pytest.mark.parametrize("line", [b"", b"null", b"[1]", b'{"key": 1}', b'{"request": []}', b"\xff{"])
def test_a_line_of_another_shape_is_shown_as_it_is(line: bytes) -> None:
    assert prompt_of(line) == [Turn("user", line.decode(errors="replace"))]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["parts", "role", "text", "inlineData", "fileData", "functionCall", "args", "thought"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(_JSON, _JSON, _JSON)
def test_nothing_raises(instruction: object, contents: object, rest: object) -> None:
    request = {"systemInstruction": instruction, "contents": contents, "tools": rest}

    for turn in prompt_of(json.dumps({"key": "a", "request": request}).encode()):
        assert isinstance(turn.role, str)
        assert isinstance(turn.text, str)
