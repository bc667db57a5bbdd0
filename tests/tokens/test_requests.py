"""Request lines as what of them is counted."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.tokens import media
from gemini_batch.tokens.classes import NOTHING, count, plus
from gemini_batch.tokens.media import NONE, Size
from gemini_batch.tokens.requests import Tally, tally

MODEL = "gemini-3-flash-preview"
PICTURE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}


def line(request: object) -> bytes:
    return json.dumps({"key": "k", "request": request}).encode()


def prompt(*parts: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}], **more}


def one(request: object, files: dict[str, Size] | None = None, model: str = MODEL) -> Tally:
    return tally([line(request)], model, files)


def of_text(*texts: str) -> tuple[int, ...]:
    total = NOTHING
    for text in texts:
        total = plus(total, count(text.encode()))
    return total


@pytest.mark.parametrize(
    ("request_", "texts", "contents"),
    [
        (prompt({"text": "Hello"}), ["Hello"], 1),
        (prompt({"text": "a b"}, {"text": "c"}), ["a b", "c"], 1),
        (prompt({"text": "Hi"}, systemInstruction={"parts": [{"text": "Be brief."}]}), ["Hi", "Be brief."], 2),
        (prompt({"text": "Hi"}, system_instruction={"parts": [{"text": "Be brief."}]}), ["Hi", "Be brief."], 2),
        (prompt({"text": "Hi"}, systemInstruction=None, tools=None, cachedContent=None), ["Hi"], 1),
        ({"content": {"parts": [{"text": "to embed"}]}, "taskType": "RETRIEVAL_QUERY"}, ["to embed"], 1),
        ({"contents": {"parts": {"text": "no lists"}}}, ["no lists"], 1),
        ({"contents": [{"parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]}, ["a", "b"], 2),
        (prompt({"text": "thought", "thought": True, "thoughtSignature": "AAAA"}), ["thought"], 1),
        (prompt({"text": "x"}, generationConfig={"responseJsonSchema": {"type": "object"}}), ["x"], 1),
        ({"contents": []}, [], 0),
    ],
)
def test_texts(request_: dict[str, Any], texts: list[str], contents: int) -> None:
    assert one(request_) == Tally(rows=1, contents=contents, text=of_text(*texts))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"key": "k"}', b'{"request": 1}', b'{"request": null}', b"\xff"])
def test_a_line_that_cannot_be_read_is_unknown(data: bytes) -> None:
    assert tally([data], MODEL) == Tally(rows=1, unknown={"line": 1})


def test_half_a_surrogate_pair_is_counted() -> None:
    found = tally([rb'{"request": {"contents": [{"parts": [{"text": "a \ud83d b"}]}]}}'], MODEL)
    assert (found.rows, found.unknown) == (1, {})
    assert sum(found.text)


DECLARED = [{"name": "add", "description": "Add x and y", "parameters": {"type": "object"}}]


@pytest.mark.parametrize("name", ["functionDeclarations", "function_declarations"])
def test_declarations_of_functions_are_counted_apart(name: str) -> None:
    found = one(prompt({"text": "x"}, tools=[{name: DECLARED}]))
    assert found.text == of_text("x")
    assert sum(found.calls) > 20
    assert not found.unknown


def test_the_same_tools_of_many_rows_are_counted_for_each() -> None:
    tools = [{"functionDeclarations": DECLARED}, {"googleSearch": {}}]
    found = tally([line(prompt({"text": "x"}, tools=tools))] * 3, MODEL)
    single = one(prompt({"text": "x"}, tools=tools))
    assert found.calls == tuple(3 * count for count in single.calls)
    assert found.unknown == {"tool of the service": 3}


@pytest.mark.parametrize(
    "part",
    [
        {"functionCall": {"name": "add", "args": {"x": 1}}},
        {"function_response": {"name": "add", "response": {"result": 3}}},
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
    ],
)
def test_calls_and_their_answers_are_counted_apart(part: dict[str, Any]) -> None:
    found = one(prompt({"text": "x"}, part))
    assert found.text == of_text("x")
    assert sum(found.calls) > 4


@pytest.mark.parametrize("tool", ["googleSearch", "codeExecution", "urlContext", "google_maps"])
def test_tools_that_the_service_runs_are_unknown(tool: str) -> None:
    assert one(prompt({"text": "x"}, tools=[{tool: {}}])).unknown == {"tool of the service": 1}


@pytest.mark.parametrize("name", ["cachedContent", "cached_content"])
def test_cached_content_is_unknown(name: str) -> None:
    found = one(prompt({"text": "x"}, **{name: "cachedContents/abc"}))
    assert (found.unknown, found.text) == ({"cached content": 1}, of_text("x"))


@pytest.mark.parametrize("kind", ["text/plain", "text/csv; charset=utf-8", "application/json"])
def test_attached_text_is_text(kind: str) -> None:
    data = base64.b64encode("Ein Test, größer.".encode()).decode()
    found = one(prompt({"text": "x"}, {"inlineData": {"mimeType": kind, "data": data}}))
    assert found == Tally(rows=1, contents=1, text=of_text("x", "Ein Test, größer."))


@pytest.mark.parametrize(
    ("settings", "part", "resolution"),
    [
        ({}, {}, ""),
        ({"mediaResolution": "MEDIA_RESOLUTION_LOW"}, {}, "LOW"),
        ({"media_resolution": "MEDIA_RESOLUTION_MEDIUM"}, {}, "MEDIUM"),
        ({}, {"mediaResolution": {"level": "MEDIA_RESOLUTION_ULTRA_HIGH"}}, "ULTRA_HIGH"),
        ({"mediaResolution": "MEDIA_RESOLUTION_LOW"}, {"media_resolution": {"level": "MEDIA_RESOLUTION_HIGH"}}, "HIGH"),
        ({"mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED"}, {"mediaResolution": 7}, ""),
    ],
)
def test_pictures(settings: dict[str, Any], part: dict[str, Any], resolution: str) -> None:
    found = one(prompt({**PICTURE, **part}, {"text": "What is it?"}, generationConfig=settings))
    assert found.media == media.picture(MODEL, resolution)
    assert (found.text, found.unknown) == (of_text("What is it?"), {})


URI = "https://generativelanguage.googleapis.com/v1beta/files/a"


@pytest.mark.parametrize(
    ("kind", "size", "name"),
    [
        ("audio/mp3", Size(seconds=60), "audio"),
        ("video/mp4", Size(seconds=60), "video"),
        ("application/pdf", Size(pages=3), "PDF"),
    ],
)
def test_files_count_if_their_size_is_known(kind: str, size: Size, name: str) -> None:
    request = prompt({"fileData": {"fileUri": URI, "mimeType": kind}})
    assert (
        one(request).unknown
        == one(request, {"other": size}).unknown
        == one(request, {URI: Size()}).unknown
        == {name: 1}
    )
    found = one(request, {URI: size})
    assert found.unknown == {}
    assert found.media > NONE
    assert one(request, {URI: size}, "gemini-9.1-flash").unknown == {name: 1}


def test_a_picture_by_its_uri_counts_as_any_picture() -> None:
    assert one(prompt({"file_data": {"file_uri": URI, "mime_type": "image/webp"}})).media == media.picture(MODEL)


@pytest.mark.parametrize(
    "part", [{"fileData": {"fileUri": URI}}, {"inlineData": {"mimeType": "font/ttf", "data": "AAAA"}}]
)
def test_other_files_are_unknown(part: dict[str, Any]) -> None:
    assert one(prompt(part)).unknown == {"file": 1}


@pytest.mark.parametrize(
    ("video", "size", "seconds"),
    [
        ({"startOffset": "10s", "endOffset": "40s"}, Size(), 30),
        ({"endOffset": "12.5s"}, Size(seconds=600), 12.5),
        ({"start_offset": "60s"}, Size(seconds=90), 30),
        ({"endOffset": "600s"}, Size(seconds=90), 90),
        ({"startOffset": "60s"}, Size(), None),
        ({"startOffset": "9s", "endOffset": "3s"}, Size(), 0),
        ({"endOffset": "soon"}, Size(), None),
    ],
)
def test_the_part_of_a_video_that_is_sent(video: dict[str, Any], size: Size, seconds: float | None) -> None:
    part = {"fileData": {"fileUri": URI, "mimeType": "video/mp4"}, "videoMetadata": video}
    found = one(prompt(part), {URI: size})
    second = media.video_second(MODEL)
    assert second is not None
    if seconds is None:
        assert found.unknown == {"video": 1}
    else:
        assert found.media == second.times(seconds)


def test_more_frames_cost_more() -> None:
    part = {"fileData": {"fileUri": URI, "mimeType": "video/mp4"}, "videoMetadata": {"endOffset": "10s", "fps": 5}}
    expected = media.video_second(MODEL, frames=5)
    assert expected is not None
    assert one(prompt(part)).media == expected.times(10)


REQUESTS = st.sampled_from(
    [
        prompt({"text": "Hello"}),
        prompt({"text": "ja 12"}, tools=[{"functionDeclarations": DECLARED}]),
        prompt({"text": "один"}, PICTURE),
        prompt({"text": "x"}, cachedContent="cachedContents/c"),
        {"contents": 7},
    ]
)


@given(st.lists(REQUESTS, max_size=8))
def test_the_tally_of_lines_is_the_sum_of_theirs(requests: list[dict[str, Any]]) -> None:
    total = Tally()
    for request in requests:
        total += one(request)
    assert tally(map(line, requests), MODEL) == total


def test_many_lines_are_counted_in_pieces() -> None:
    text = "word " * 2000
    found = tally([line(prompt({"text": text}))] * 200, MODEL)
    assert found.text == tuple(200 * count for count in of_text(text))
