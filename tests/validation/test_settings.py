"""What a request says next to contents that are only text: reading that alone gives what reading the line gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.catalog import Method
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.money.row_bounds import row_bound
from gemini_batch.validation.contents import is_text
from gemini_batch.validation.request_traits import estimate_tokens
from gemini_batch.validation.validate import Checked, check_line

_FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"
_NAMES = [
    *("fileUri", "inlineData", '{"candidateCount": 2}', '"tools"', "cachedContent", "maxOutputTokens", "serviceTier"),
    *("googleSearch", "\ud7ff", "\\u0066ileUri", '"data":"' + "A" * 80 + '"', '"attachment:sha256-' + "1" * 64 + '"'),
]
_SETTINGS: dict[str, list[Any]] = {
    "generationConfig": [
        {"maxOutputTokens": 5},
        {"max_output_tokens": "7", "temperature": 0.5},
        {"candidateCount": 1},
        {"candidateCount": 2},
        {"responseModalities": ["TEXT", "IMAGE"]},
        {},
    ],
    "generation_config": [{"maxOutputTokens": 9}],
    "systemInstruction": [{"parts": [{"text": "fileUri"}]}, {"parts": [{"fileData": {"fileUri": _FILE}}]}],
    "tools": [[{"googleSearch": {}}], [{"functionDeclarations": [{"name": "f"}]}], []],
    "cachedContent": ["cachedContents/abc"],
    "serviceTier": ["flex"],
    "safetySettings": [[]],
}
_text = st.builds("".join, st.lists(st.sampled_from(_NAMES) | st.text(max_size=5), min_size=1, max_size=3))
_contents = st.lists(
    st.fixed_dictionaries({"parts": st.lists(st.fixed_dictionaries({"text": _text}), min_size=1, max_size=2)}),
    min_size=1,
    max_size=2,
)
_requests = st.fixed_dictionaries(
    {"contents": _contents}, optional={name: st.sampled_from(values) for name, values in _SETTINGS.items()}
)


@given(_requests, st.booleans())
def test_the_settings_alone_tell_what_the_line_tells(request_: dict[str, Any], ascii_only: bool) -> None:
    line = json.dumps({"key": "k", "request": request_}, ensure_ascii=ascii_only)
    data = line.encode("utf-8", "surrogatepass")
    checked = check_line(data, 1)
    if not isinstance(checked, Checked):
        return
    assert (checked.settings is not None) == is_text(request_["contents"])
    if checked.settings is None:
        return
    origin = Origin("https://x", "key", "m")

    # A line whose text only mentions media is taken for one that may have some; knowing better tells better.
    calm = json.dumps({"key": "k", "request": {**request_, "contents": [{"parts": [{"text": "x"}]}]}}).encode()
    by_line = row_bound(calm, embeds=False)
    bound = row_bound(data, embeds=False, settings=checked.settings)
    assert bound == by_line._replace(input=None if by_line.input is None else len(data))
    marks = origin.marks_of("k", checked.request, Method.GENERATE, checked.settings)
    assert marks == origin.marks(data, Method.GENERATE)
    assert estimate_tokens(calm, only_text=True) == estimate_tokens(calm)


@pytest.mark.parametrize("mentioned", ["attachment:sha256-" + "1" * 64, '"data": "' + "A" * 600 + '"'])
def test_text_that_mentions_media_counts_as_text(mentioned: str) -> None:
    data = json.dumps({"key": "k", "request": {"contents": [{"parts": [{"text": f'"{mentioned}'}]}]}}).encode()
    checked = check_line(data, 1)
    assert isinstance(checked, Checked)
    assert checked.settings is not None
    assert estimate_tokens(data, only_text=True) == len(data) // 4


@pytest.mark.parametrize(
    "content",
    [
        {"parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}]},
        {"parts": [{"text": "x"}, {"fileData": {"mimeType": "image/png", "fileUri": _FILE}}]},
        {"parts": [{"text": "x", "thought": True}]},
        {"parts": [{"text": "x"}], "fileData": {"fileUri": _FILE}},
        {"parts": [{"text": ""}]},
        {"parts": []},
    ],
)
def test_other_contents_are_read_whole(content: dict[str, Any]) -> None:
    found = check_line(json.dumps({"key": "a", "request": {"contents": [content]}}).encode(), 1)

    assert not isinstance(found, Checked) or found.settings is None
