"""The most tokens of a request: whatever it says, and however it says it, it is never charged for more."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.money.row_bounds import PICTURES, SOUND, TEXT, UNBOUNDED, row_bound

CONTENTS = [{"parts": [{"text": "Hi"}]}]


def line_of(**request: Any) -> bytes:
    return msgspec.json.encode({"key": "k", "request": {"contents": CONTENTS, **request}})


def escaped(data: bytes, name: str) -> bytes:
    """The same line, with the first letter of a name as an escape."""
    assert f'"{name}"'.encode() in data
    return data.replace(f'"{name}"'.encode(), f'"\\u{ord(name[0]):04x}{name[1:]}"'.encode())


@pytest.mark.parametrize(
    ("config", "most"),
    [
        ({}, None),
        ({"temperature": 1}, None),
        ({"maxOutputTokens": 8}, 8),
        ({"max_output_tokens": 8}, 8),
        ({"maxOutputTokens": "8"}, 8),
        ({"maxOutputTokens": 8.0}, 8),
        ({"maxOutputTokens": 8.2}, 9),
        ({"maxOutputTokens": 0}, None),
        ({"maxOutputTokens": "0"}, None),
        ({"maxOutputTokens": -1}, None),
        ({"maxOutputTokens": True}, None),
        ({"maxOutputTokens": None}, None),
        ({"maxOutputTokens": "8e2"}, None),
        ({"maxOutputTokens": "８"}, None),
        ({"maxOutputTokens": [8]}, None),
        ({"maxOutputTokens": 8, "max_output_tokens": 9}, 9),
        ({"maxOutputTokens": 9, "max_output_tokens": 8}, 9),
        ({"maxOutputTokens": 9, "max_output_tokens": "?"}, None),
        ({"maxOutputTokens": None, "max_output_tokens": 9}, 9),
    ],
    ids=repr,
)
def test_the_limit_of_an_answer(config: dict[str, Any], most: int | None) -> None:
    for name in ("generationConfig", "generation_config"):
        data = line_of(**{name: config})
        assert row_bound(data, embeds=False) == (TEXT, len(data), most)


@pytest.mark.parametrize(
    ("one", "other", "most"),
    [({"maxOutputTokens": 8}, {"maxOutputTokens": 9}, 9), ({"maxOutputTokens": 8}, None, 8), (None, None, None)],
)
def test_both_names_of_the_settings(one: Any, other: Any, most: int | None) -> None:
    data = line_of(generationConfig=one, generation_config=other, tools=[])
    assert row_bound(data, embeds=False).output == most
    data = line_of(generationConfig=other, generation_config=one, tools=None)
    assert row_bound(data, embeds=False).output == most


@pytest.mark.parametrize(
    ("answers", "kind"),
    [(None, TEXT), (0, TEXT), (1, TEXT), ("1", TEXT), (2, UNBOUNDED), ("2", UNBOUNDED), ("+8", UNBOUNDED),
     (1.5, UNBOUNDED), (True, UNBOUNDED), ([], UNBOUNDED), (-1, UNBOUNDED)],
    ids=repr,
)  # fmt: skip
def test_nothing_bounds_several_answers(answers: Any, kind: int) -> None:
    for name in ("candidateCount", "candidate_count"):
        data = line_of(generationConfig={name: answers, "maxOutputTokens": 8})
        assert row_bound(data, embeds=False) == (kind, len(data), 8)
        if answers is not None:
            assert row_bound(escaped(data, name), embeds=False).kind == kind


@pytest.mark.parametrize(
    ("tools", "kind"),
    [
        (None, TEXT),
        ([], TEXT),
        ({}, TEXT),
        ([{}], TEXT),
        ([None], TEXT),
        ([{"functionDeclarations": [{"name": "f"}]}], TEXT),
        ({"function_declarations": [{"name": "f"}]}, TEXT),
        ([{"googleSearch": {}}], UNBOUNDED),
        ([{"google_search": {}}], UNBOUNDED),
        ({"googleSearch": {}}, UNBOUNDED),
        ([{"functionDeclarations": [], "googleMaps": {}}], UNBOUNDED),
        ([{"functionDeclarations": []}, {"codeExecution": {}}], UNBOUNDED),
        ([{"urlContext": {}}], UNBOUNDED),
        ([{"whatever": {}}], UNBOUNDED),
        ("googleSearch", UNBOUNDED),
    ],
)
def test_tools_that_cost_more_than_tokens(tools: Any, kind: int) -> None:
    data = line_of(tools=tools)
    assert row_bound(data, embeds=False).kind == kind
    assert row_bound(escaped(data, "tools"), embeds=False).kind == kind


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "aGk="}}, PICTURES),
        ({"inline_data": {"mime_type": "image/png", "data": "aGk="}}, PICTURES),
        ({"fileData": {"mimeType": "application/pdf", "fileUri": "u"}}, PICTURES),
        ({"fileData": {"mimeType": "text/plain", "fileUri": "u"}}, PICTURES),
        ({"fileData": {"mimeType": "audio/mp3", "fileUri": "u"}}, SOUND),
        ({"file_data": {"mime_type": "video/mp4", "file_uri": "u"}}, SOUND),
        ({"fileData": {"fileUri": "u"}}, SOUND),
        ({"fileData": {"mimeType": "", "fileUri": "u"}}, SOUND),
    ],
)
def test_media(part: dict[str, Any], kind: int) -> None:
    data = line_of(contents=[{"parts": [part, {"text": "What is it?"}]}])
    name = next(iter(part))
    for one in (data, escaped(data, name)):
        assert row_bound(one, embeds=False) == (kind, None, None)
        assert row_bound(one, embeds=True) == (kind, None, 0)
    both = line_of(contents=[{"parts": [part, {"fileData": {"fileUri": "u"}}]}])
    assert row_bound(both, embeds=False).kind == SOUND


@pytest.mark.parametrize("name", ["cachedContent", "cached_content"])
def test_nothing_shows_how_long_cached_content_is(name: str) -> None:
    data = line_of(**{name: "cachedContents/x"})
    assert row_bound(data, embeds=False) == row_bound(escaped(data, name), embeds=False) == (SOUND, None, None)


@given(text=st.text(st.characters(codec="utf-8")), ascii_only=st.booleans())
def test_a_text_has_no_more_tokens_than_bytes(text: str, ascii_only: bool) -> None:
    """However a line is written, it is no shorter than its text in UTF-8, and a token is at least one byte of it."""
    data = json.dumps({"key": "k", "request": {"contents": [{"parts": [{"text": text}]}]}}, ensure_ascii=ascii_only)
    line = data.encode()
    found = row_bound(line, embeds=False)
    assert found.kind in {TEXT, SOUND, UNBOUNDED, PICTURES}
    assert found.input is None or found.input == len(line) > len(text.encode())
