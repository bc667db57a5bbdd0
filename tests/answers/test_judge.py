"""The table of verdicts: each shape of an answer and each finish reason, and that nothing unknown is a success."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_batch.answers.parse import Answer, parse_generated, parse_line, response_in
from gemini_batch.answers.reasons import FINISHES, GRPC_NAMES, HTTP_CODES, MESSAGES, TRANSIENT_CODES, VERDICTS
from gemini_batch.answers.usage import Usage
from gemini_batch.answers.verdict import Judged, judge, text_of
from gemini_batch.catalog import Method

TEXT = {"text": "Hello"}
CALL = {"functionCall": {"name": "f", "args": {}}}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
CODE = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
OUTPUT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
FILE = {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example/f"}}
THOUGHT = {"text": "Hmm", "thought": True}
TOOL = {"toolCall": {"toolType": "GOOGLE_SEARCH"}}


def response(*parts: Any, finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """A response with one candidate of these parts."""
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": finish, **more}
    return {"candidates": [{name: value for name, value in candidate.items() if value is not None}]}


def verdict(body: Any, **asked: Any) -> tuple[str, str | None]:
    found = judged(body, **asked)
    return found.verdict, found.reason


def judged_both_ways(data: bytes, *, method: Any, **asked: Any) -> Judged:
    """The verdict on a line, which is the same if its response is read together with it."""
    answer = parse_line(data)
    assert isinstance(answer, Answer)
    found = judge(answer, method=method, **asked)
    if method is Method.GENERATE:
        whole = parse_generated(data)
        assert isinstance(whole, Answer)
        assert judge(whole, method=method, **asked) == found
    if answer.response is not None:
        assert response_in(data) == answer.response
    return found


def judged(body: Any, *, error: Any = None, method: Any = Method.GENERATE, **asked: Any) -> Judged:
    line: dict[str, Any] = {"key": "a"}
    if body is not None:
        line["response"] = body
    if error is not None:
        line["error"] = error
    found = judged_both_ways(json.dumps(line).encode(), method=method, **asked)
    assert found.key == "a"
    assert (found.verdict == "succeeded") == (found.reason is None) == (found.message is None)
    return found


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([TEXT], ("succeeded", None)),
        ([THOUGHT, TEXT], ("succeeded", None)),
        ([{"text": "Hello", "thoughtSignature": "c2ln"}], ("succeeded", None)),
        ([{"text": ""}, TEXT], ("succeeded", None)),
        ([CALL], ("succeeded", None)),
        ([CALL, {"text": ""}], ("succeeded", None)),
        ([IMAGE], ("succeeded", None)),
        ([TEXT, IMAGE], ("succeeded", None)),
        ([CODE], ("succeeded", None)),
        ([CODE, OUTPUT], ("succeeded", None)),
        ([FILE], ("succeeded", None)),
        ([], ("empty", "NO_PARTS")),
        ([THOUGHT], ("empty", "ONLY_THOUGHTS")),
        ([{**IMAGE, "thought": True}], ("empty", "ONLY_THOUGHTS")),
        ([{"text": ""}], ("empty", "EMPTY_TEXT")),
        ([{"text": " \n"}], ("empty", "EMPTY_TEXT")),
        ([THOUGHT, {"text": ""}], ("empty", "EMPTY_TEXT")),
        ([TOOL], ("empty", "ONLY_TOOL_STEPS")),
        ([{"toolResponse": {"toolType": "GOOGLE_SEARCH"}}], ("empty", "ONLY_TOOL_STEPS")),
        ([{}], ("empty", "NO_CONTENT")),
        ([{"hologram": {"data": "x"}}], ("empty", "NO_CONTENT")),
        ([{"inlineData": {"mimeType": "image/png", "data": ""}}], ("empty", "NO_CONTENT")),
        ([{"inlineData": {"mimeType": "image/png", "data": None}}], ("empty", "NO_CONTENT")),
        ([{"functionCall": {}}], ("empty", "NO_CONTENT")),
        ([{"functionCall": None}], ("empty", "NO_CONTENT")),
        (["Hello"], ("failed", "UNREADABLE")),
        ([{"text": 5}], ("failed", "UNREADABLE")),
        ([{"text": "a", "thought": "yes"}], ("failed", "UNREADABLE")),
    ],
)
def test_what_a_finished_candidate_holds_decides(parts: list[Any], expected: tuple[str, str | None]) -> None:
    assert verdict(response(*parts)) == expected


BROKEN = ("invalid", "BROKEN_MEDIA")
SUCCESS = ("succeeded", None)


def media(data: Any, mime: Any = "image/png", **more: Any) -> dict[str, Any]:
    """A part with a picture or sound in it."""
    return {"inlineData": {"mimeType": mime, "data": data}, **more}


@pytest.mark.parametrize("mime", ["image/png", "audio/L16;rate=24000", "video/mp4", "application/pdf", "", None, 7])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("iVBORw0KGgo=", SUCCESS),
        ("iVBORw0KGgo", SUCCESS),  # the padding may be left out
        ("-_-_", SUCCESS),
        ("+/+/", SUCCESS),
        ("%%%%", BROKEN),
        ("AAAA AAAA", BROKEN),
        ("AAAA\n", BROKEN),
        ("AA=A", BROKEN),
        ("AAAAA", BROKEN),  # no number of bytes has a base64 of five characters
        ("\u00e4\u00e4\u00e4\u00e4", BROKEN),
        (7, BROKEN),
        ({}, BROKEN),
    ],
)
def test_media_that_cannot_be_read_is_no_success(data: Any, mime: Any, expected: tuple[str, str | None]) -> None:
    assert verdict(response(media(data, mime))) == expected
    assert verdict(response(TEXT, media(data, mime))) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([IMAGE, media("%"), IMAGE], BROKEN),
        ([media("%"), TEXT], BROKEN),
        ([media("%"), CALL], BROKEN),
        ([{"inlineData": "%"}, TEXT], BROKEN),
        ([{"inlineData": []}], BROKEN),
        ([{"inlineData": None}, TEXT], SUCCESS),
        ([{"inlineData": {"data": "AAAA"}}], SUCCESS),
        # without data there is no picture: alone it is nothing, and beside a text the picture is lost
        ([media("")], ("empty", "NO_CONTENT")),
        ([{"inlineData": {"mimeType": "image/png"}}], ("empty", "NO_CONTENT")),
        ([{"inlineData": {}}], ("empty", "NO_CONTENT")),
        ([media(""), {"text": " "}], ("empty", "EMPTY_TEXT")),
        ([TEXT, media("")], BROKEN),
        ([TEXT, media(None)], BROKEN),
        ([IMAGE, {"inlineData": {"mimeType": "image/png"}}], BROKEN),
        # a draft among the thoughts is not the answer
        ([media("%", thought=True), IMAGE], SUCCESS),
        ([media("", thought=True), TEXT], SUCCESS),
        ([media("%", thought=True)], ("empty", "ONLY_THOUGHTS")),
    ],
)
def test_every_part_of_the_answer_has_to_be_readable(parts: list[Any], expected: tuple[str, str | None]) -> None:
    assert verdict(response(*parts)) == expected


def test_the_media_of_every_candidate_are_judged() -> None:
    body = response(IMAGE)
    body["candidates"] += response(media("%"))["candidates"]
    assert verdict(body) == ("invalid", "BROKEN_MEDIA")
    body["candidates"].reverse()
    assert verdict(body) == BROKEN


def test_an_answer_that_is_not_finished_stays_what_it_is() -> None:
    assert verdict(response(media("%"), finish="MAX_TOKENS")) == ("truncated", "MAX_TOKENS")
    assert verdict(response(media("%"), finish="IMAGE_SAFETY")) == ("blocked", "IMAGE_SAFETY")


@pytest.mark.parametrize(
    ("details", "known"),
    [
        ([{"modality": "IMAGE", "tokenCount": 1290}], True),
        ([{"modality": "TEXT", "tokenCount": 1290}], False),
        (None, False),
    ],
)
def test_broken_media_is_counted_as_used(details: Any, known: bool) -> None:
    """Tokens of images cost more than others, so an image whose tokens are not counted apart is not known."""
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 1290, "candidatesTokensDetails": details}
    found = judged({**response(media("%")), "usageMetadata": usage})
    assert (found.usage.known, found.usage.input, found.usage.output) == (known, 7, 1290)
    assert (found.has_response, found.message) == (True, MESSAGES["BROKEN_MEDIA"])


@pytest.mark.parametrize(
    ("data", "expected"),
    [(rb"AA\/AAA\u003d\u003d", SUCCESS), (rb"AA\u0020A", BROKEN), (rb"AAA\u003dAAA", BROKEN), (rb"AA\n=", BROKEN)],
)
def test_escapes_in_base64_are_read(data: bytes, expected: tuple[str, str | None]) -> None:
    """JSON may write ``=`` as ``\\u003d`` and ``/`` as ``\\/``."""
    body = json.dumps(response(media("?"))).encode().replace(b"?", data)
    found = judge(Answer("a", body), method=Method.GENERATE)
    assert (found.verdict, found.reason) == expected


@pytest.mark.parametrize("spoiled", [0, 300_000, 2_999_999])
def test_a_fault_anywhere_in_a_large_picture_is_found(spoiled: int) -> None:
    data = "A" * 3_000_000
    assert verdict(response(media(data))) == SUCCESS
    assert verdict(response(media(f"{data[:spoiled]}!{data[spoiled + 1 :]}"))) == BROKEN


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ("empty", "NO_CANDIDATES")),
        ({"candidates": []}, ("empty", "NO_CANDIDATES")),
        ({"candidates": None}, ("empty", "NO_CANDIDATES")),
        ({"usageMetadata": {"promptTokenCount": 9}, "modelVersion": "m"}, ("empty", "NO_CANDIDATES")),
        ({"promptFeedback": {}}, ("empty", "NO_CANDIDATES")),
        ({"promptFeedback": {"safetyRatings": []}, "candidates": []}, ("empty", "NO_CANDIDATES")),
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, ("blocked", "PROMPT_PROHIBITED_CONTENT")),
        ({"promptFeedback": {"blockReason": "SAFETY"}, "candidates": []}, ("blocked", "PROMPT_SAFETY")),
        ({"promptFeedback": {"blockReason": "OTHER"}}, ("blocked", "PROMPT_OTHER")),
        ({"promptFeedback": {"blockReason": "BRAND_NEW"}}, ("blocked", "PROMPT_BRAND_NEW")),
        ({"promptFeedback": "odd"}, ("empty", "NO_CANDIDATES")),
        ({"candidates": [{}]}, ("failed", "NO_FINISH_REASON")),
        ({"candidates": [{"citationMetadata": {"citationSources": [{}]}}]}, ("failed", "NO_FINISH_REASON")),
        ({"candidates": [{"finishReason": "STOP"}]}, ("empty", "NO_PARTS")),
        ({"candidates": [{"finishReason": "STOP", "content": None}]}, ("empty", "NO_PARTS")),
        ({"candidates": [{"finishReason": "STOP", "content": {}}]}, ("empty", "NO_PARTS")),
        ({"candidates": [{"finishReason": "STOP", "content": {"role": "model"}}]}, ("empty", "NO_PARTS")),
        ({"candidates": [{"finishReason": "STOP", "citationMetadata": {}}]}, ("empty", "NO_PARTS")),
        (
            {"candidates": [{"finishReason": "STOP", "citationMetadata": {"citationSources": [{}]}}]},
            ("empty", "CITATIONS_ONLY"),
        ),
        ({"candidates": {"finishReason": "STOP"}}, ("failed", "UNREADABLE")),
        ({"candidates": "STOP"}, ("failed", "UNREADABLE")),
        ({"candidates": ["STOP"]}, ("failed", "UNREADABLE")),
        ({"candidates": [{"finishReason": 1}]}, ("failed", "UNREADABLE")),
        ({"candidates": [{"finishReason": "STOP", "content": "Hello"}]}, ("failed", "UNREADABLE")),
        ({"candidates": [{"finishReason": "STOP", "content": {"parts": TEXT}}]}, ("failed", "UNREADABLE")),
        ([], ("failed", "UNREADABLE")),
        ("Hello", ("failed", "UNREADABLE")),
        (7, ("failed", "UNREADABLE")),
        ({"embedding": {"values": [1.0]}}, ("empty", "NO_CANDIDATES")),
    ],
)
def test_shapes_of_a_response(body: Any, expected: tuple[str, str]) -> None:
    assert verdict(body) == expected


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize(
    "parts", [[], [TEXT], [CALL], [THOUGHT], [IMAGE]], ids=["none", "text", "call", "thought", "image"]
)
def test_any_other_finish_reason_decides_alone(finish: str, parts: list[Any]) -> None:
    assert verdict(response(*parts, finish=finish)) == (FINISHES[finish], finish)


def test_finish_reasons_are_grouped_as_documented() -> None:
    groups: dict[str, set[str]] = {}
    for finish, which in FINISHES.items():
        groups.setdefault(which, set()).add(finish)
    assert groups == {
        "truncated": {"MAX_TOKENS", "CONTINUATION"},
        "blocked": {
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_RECITATION",
            "MODEL_ARMOR",
            "PUP_LIMITED_DISABLED",
        },
        "empty": {"NO_IMAGE"},
        "failed": {
            "OTHER",
            "IMAGE_OTHER",
            "MALFORMED_FUNCTION_CALL",
            "MALFORMED_RESPONSE",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "ESCALATION",
        },
    }


def test_every_finish_reason_of_googles_client_is_known() -> None:
    from google.genai.types import FinishReason

    assert {one.value for one in FinishReason} - {"STOP", "FINISH_REASON_UNSPECIFIED"} <= FINISHES.keys()


@pytest.mark.parametrize("finish", [None, "", "FINISH_REASON_UNSPECIFIED"])
def test_an_answer_that_does_not_say_that_it_is_finished_failed(finish: str | None) -> None:
    assert verdict(response(TEXT, finish=finish)) == ("failed", "NO_FINISH_REASON")


@given(st.text().filter(lambda finish: finish not in {"STOP", "", "FINISH_REASON_UNSPECIFIED", *FINISHES}))
def test_no_unknown_finish_reason_is_a_success(finish: str) -> None:
    found = judged(response(TEXT, finish=finish))
    assert (found.verdict, found.reason) == ("failed", "UNKNOWN_FINISH_REASON")
    assert repr(finish[:100]) in (found.message or "")


_GOOD = response(TEXT)["candidates"][0]
_CUT = response(TEXT, finish="MAX_TOKENS")["candidates"][0]
_BLOCKED = {"finishReason": "SAFETY"}


@pytest.mark.parametrize(
    ("candidates", "expected", "named"),
    [
        ([_GOOD, _GOOD], ("succeeded", None), None),
        ([_BLOCKED, _GOOD], ("blocked", "SAFETY"), 1),
        ([_GOOD, _BLOCKED], ("blocked", "SAFETY"), 2),
        ([_GOOD, _GOOD, _CUT], ("truncated", "MAX_TOKENS"), 3),
        ([_CUT, _BLOCKED], ("truncated", "MAX_TOKENS"), 1),
        ([_BLOCKED, _CUT], ("blocked", "SAFETY"), 1),
        ([_GOOD, {"finishReason": "STOP"}], ("empty", "NO_PARTS"), 2),
        ([_GOOD, {"finishReason": "SOMETHING_NEW"}], ("failed", "UNKNOWN_FINISH_REASON"), 2),
        ([_GOOD, {}], ("failed", "NO_FINISH_REASON"), 2),
        ([_GOOD, "rubbish"], ("failed", "UNREADABLE"), None),
        ([_GOOD, None], ("failed", "UNREADABLE"), None),
        ([_GOOD, {"finishReason": 1}, _GOOD], ("failed", "UNREADABLE"), None),
    ],
)
def test_every_candidate_is_judged(candidates: list[Any], expected: tuple[str, str | None], named: int | None) -> None:
    """The first that did not succeed decides, and the message says which it was; bad token counts change nothing."""
    for usage in (USAGE, "odd"):
        found = judged({"candidates": candidates, "usageMetadata": usage})

        assert (found.verdict, found.reason) == expected
        numbered = re.match("Candidate ([0-9]+): .", found.message or "")
        assert (int(numbered[1]) if numbered else None) == named


def test_json_is_wanted_of_every_candidate() -> None:
    good, prose = response({"text": "{}"})["candidates"][0], response(TEXT)["candidates"][0]

    assert verdict({"candidates": [good, good]}, expects_json=True) == ("succeeded", None)
    assert verdict({"candidates": [good, prose]}, expects_json=True) == ("invalid", "NOT_JSON")


def test_the_words_of_the_service_come_before_ours() -> None:
    assert judged(response(finish="SAFETY")).message == MESSAGES["SAFETY"]
    assert judged(response(finish="SAFETY", finishMessage="No.")).message == "No."
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "Not this."}
    assert judged({"promptFeedback": feedback}).message == "Not this."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', ("succeeded", None)),
        (" [1, 2]\n", ("succeeded", None)),
        ('"text"', ("succeeded", None)),
        ("null", ("succeeded", None)),
        ('{"a": 1', ("invalid", "NOT_JSON")),
        ("Here you are: {}", ("invalid", "NOT_JSON")),
        ('{"a": NaN}', ("invalid", "NOT_JSON")),
        ("{} {}", ("invalid", "NOT_JSON")),
        ("[" * 5000 + "]" * 5000, ("invalid", "NOT_JSON")),
        ("9" * 5000, ("invalid", "NOT_JSON")),
        ('```json\n{"a": 1}\n```', ("invalid", "JSON_IN_FENCES")),
        ('Sure!\n```\n{"a": 1}\n```\nThere.', ("invalid", "JSON_IN_FENCES")),
        ("```json\r\n[1]\r\n```", ("invalid", "JSON_IN_FENCES")),
        ("```json\nnothing\n```", ("invalid", "NOT_JSON")),
    ],
)
def test_json_is_checked_where_it_was_asked_for(text: str, expected: tuple[str, str | None]) -> None:
    assert verdict(response({"text": text}), expects_json=True) == expected
    assert verdict(response({"text": text})) == ("succeeded", None)


def test_json_may_come_in_several_parts_and_not_from_thoughts() -> None:
    parts = [THOUGHT, {"text": '{"a":'}, {"text": " 1}"}]
    assert verdict(response(*parts), expects_json=True) == ("succeeded", None)


def test_a_cut_off_json_is_truncated_not_invalid() -> None:
    assert verdict(response({"text": '{"a":'}, finish="MAX_TOKENS"), expects_json=True) == ("truncated", "MAX_TOKENS")


def test_a_function_call_is_not_held_to_json() -> None:
    assert verdict(response(CALL), expects_json=True) == ("succeeded", None)


@pytest.mark.parametrize("code", sorted(GRPC_NAMES.keys() - {0}))
@pytest.mark.parametrize("shape", [int, float, str])
def test_row_errors_have_the_names_of_grpc(code: int, shape: Any) -> None:
    found = judged(None, error={"code": shape(code) if shape is not str else str(code), "message": "Sorry."})
    assert (found.verdict, found.reason, found.code, found.message) == ("failed", GRPC_NAMES[code], code, "Sorry.")


def test_transient_codes() -> None:
    assert {GRPC_NAMES[code] for code in TRANSIENT_CODES} == {
        "UNKNOWN",
        "DEADLINE_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "ABORTED",
        "INTERNAL",
        "UNAVAILABLE",
    }


@pytest.mark.parametrize(("status", "code"), HTTP_CODES.items())
def test_an_http_status_is_translated(status: int, code: int) -> None:
    found = judged(None, error={"code": status})
    assert (found.reason, found.code) == (GRPC_NAMES[code], code)


@pytest.mark.parametrize(
    ("error", "reason", "code"),
    [
        ({"code": 0}, "OK_AS_ERROR", 0),
        ({"code": "0"}, "OK_AS_ERROR", 0),
        ({"status": "OK"}, "OK_AS_ERROR", 0),
        ({"code": "INTERNAL"}, "INTERNAL", 13),
        ({"status": "UNAVAILABLE", "message": "x"}, "UNAVAILABLE", 14),
        ({"code": 42}, "UNKNOWN_CODE", 42),
        ({"code": -1}, "UNKNOWN_CODE", -1),
        ({"code": 13, "message": 7}, "INTERNAL", 13),
        ({"code": 13, "details": "odd"}, "INTERNAL", 13),
        ({"code": 1.5}, "UNREADABLE_ERROR", None),
        ({"code": 10**30}, "UNREADABLE_ERROR", None),
        ({"code": [13]}, "UNREADABLE_ERROR", None),
        ({"code": True}, "UNREADABLE_ERROR", None),
        ({"message": "x"}, "UNREADABLE_ERROR", None),
        ({}, "UNREADABLE_ERROR", None),
        ("Internal: something", "INTERNAL", 13),
        ("Bad Request: {}", "UNREADABLE_ERROR", None),
        ([{"code": 13}], "UNREADABLE_ERROR", None),
        (7, "UNREADABLE_ERROR", None),
        (True, "UNREADABLE_ERROR", None),
    ],
)
def test_errors_of_every_shape_are_failures(error: Any, reason: str, code: int | None) -> None:
    found = judged(None, error=error)
    assert (found.verdict, found.reason, found.code) == ("failed", reason, code)
    assert not found.has_response


def test_an_error_without_a_message_gets_one() -> None:
    assert "CANCELLED" in (judged(None, error={"code": 1}).message or "")


def test_an_error_wins_over_the_response_beside_it() -> None:
    body = {**response(TEXT), "usageMetadata": {"promptTokenCount": 4}, "modelVersion": "m"}
    found = judged(body, error={"code": 13})
    assert (found.verdict, found.reason, found.has_response) == ("failed", "INTERNAL", True)
    assert found.usage.input == 4
    assert found.model_version == "m"


def test_a_line_with_neither_is_empty() -> None:
    assert verdict(None) == ("empty", "NO_RESPONSE")
    assert verdict(None, method=Method.EMBED) == ("empty", "NO_RESPONSE")


@pytest.mark.parametrize(
    ("body", "dimension", "expected"),
    [
        ({"embedding": {"values": [0.1, -2, 0]}}, None, ("succeeded", None)),
        ({"embedding": {"values": [0.1, -2, 0]}}, 3, ("succeeded", None)),
        ({"embedding": {"values": [0.1, -2, 0], "shape": [3]}, "tokenCount": "1"}, 3, ("succeeded", None)),
        ({"embedding": {"values": [0.1]}}, 3, ("invalid", "DIMENSION")),
        ({"embedding": {"values": [0.1, None]}}, 2, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": [0.1, "NaN"]}}, 2, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": [0.1, True]}}, 2, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": [0.1, float("nan")]}}, 2, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": [0.1, float("inf")]}}, 2, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": [[0.1]]}}, 1, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": [10**400]}}, 1, ("invalid", "BAD_VECTOR")),
        ({"embedding": {"values": []}}, 1, ("empty", "NO_EMBEDDING")),
        ({"embedding": {"values": 7}}, 1, ("empty", "NO_EMBEDDING")),
        ({"embedding": {}}, 1, ("empty", "NO_EMBEDDING")),
        ({"embedding": [0.1]}, 1, ("empty", "NO_EMBEDDING")),
        ({"embedding": None}, 1, ("empty", "NO_EMBEDDING")),
        ({}, 1, ("empty", "NO_EMBEDDING")),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, 1, ("blocked", "PROMPT_SAFETY")),
        (response(TEXT), 1, ("empty", "NO_EMBEDDING")),
        ([0.1], 1, ("failed", "UNREADABLE")),
    ],
)
def test_embeddings(body: Any, dimension: int | None, expected: tuple[str, str | None]) -> None:
    assert verdict(body, method=Method.EMBED, dimension=dimension) == expected


def test_a_number_past_the_range_of_a_double_is_not_finite() -> None:
    answer = parse_line(b'{"key":"a","response":{"embedding":{"values":[1e400]}}}')
    assert isinstance(answer, Answer)
    assert judge(answer, method=Method.EMBED).reason == "BAD_VECTOR"


USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 20,
    "candidatesTokenCount": 50,
    "thoughtsTokenCount": 30,
    "toolUsePromptTokenCount": 7,
    "totalTokenCount": 187,
    "promptTokensDetails": [
        {"modality": "TEXT", "tokenCount": 45},
        {"modality": "AUDIO", "tokenCount": 40},
        {"modality": "IMAGE", "tokenCount": 9},
        {"modality": "VIDEO", "tokenCount": 6},
    ],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 15}, {"modality": "TEXT", "tokenCount": 5}],
    "candidatesTokensDetails": [
        {"modality": "IMAGE", "tokenCount": 45},
        {"modality": "IMAGE", "tokenCount": 1},
        {"modality": "AUDIO", "tokenCount": 3},
    ],
    "serviceTier": "SERVICE_TIER_STANDARD",
}
FULL = Usage(
    input=100,
    cached=20,
    output=50,
    thoughts=30,
    tool_use=7,
    audio_input=40,
    image_output=46,
    image_input=9,
    video_input=6,
    cached_audio=15,
    audio_output=3,
    known=True,
)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, FULL),
        (json.loads(json.dumps(USAGE), parse_int=str), FULL),
        (json.loads(json.dumps(USAGE), parse_int=float), FULL),
        ({"promptTokenCount": 9, "totalTokenCount": 9}, Usage(input=9)),
        ({"promptTokenCount": 9, "totalTokenCount": 30, "thoughtsTokenCount": 1}, Usage(9, 0, 20, 1, known=True)),
        ({"promptTokenCount": 9}, Usage(input=9)),
        ({"promptTokenCount": 0}, Usage()),
        ({"promptTokenCount": 9, "thoughtsTokenCount": 3}, Usage(input=9, thoughts=3)),
        ({"promptTokenCount": 0, "candidatesTokenCount": 1}, Usage(output=1, known=True)),
        (None, Usage()),
        ({}, Usage()),
        ({"candidatesTokenCount": 5}, Usage()),
        ({"promptTokenCount": -1}, Usage()),
        ({"promptTokenCount": "many"}, Usage()),
        ({"promptTokenCount": 1.5}, Usage()),
        ({"promptTokenCount": 10**20}, Usage()),
        ({"promptTokenCount": True}, Usage()),
        ({"promptTokenCount": 9, "candidatesTokenCount": -5}, Usage(input=9)),
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 2, "promptTokensDetails": [{}]},
            Usage(input=9, output=2, known=True),
        ),
        ("odd", Usage()),
        ([], Usage()),
    ],
)
def test_usage_is_read_as_it_is_and_never_guessed(usage: Any, expected: Usage) -> None:
    assert judged({**response(TEXT), "usageMetadata": usage}).usage == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"cachedContentTokenCount": 50}, {"cached": 9}),
        ({"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}]}, {"audio_input": 9}),
        (
            {
                "cachedContentTokenCount": 5,
                "promptTokensDetails": [{"modality": name, "tokenCount": 50} for name in ("AUDIO", "IMAGE", "VIDEO")],
            },
            {"cached": 5, "audio_input": 4},
        ),
        (
            {"cachedContentTokenCount": 5, "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 50}]},
            {"cached": 5, "cached_audio": 5, "audio_input": 5},
        ),
        ({"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 50}]}, {"image_output": 2}),
        (
            {"promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}, {"modality": "VIDEO", "tokenCount": 50}]},
            {"image_input": 4, "video_input": 5},
        ),
    ],
)
def test_a_part_is_at_most_the_whole(usage: dict[str, Any], expected: dict[str, int]) -> None:
    found = judged({**response(TEXT), "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, **usage}})
    assert found.usage == msgspec.structs.replace(Usage(input=9, output=2, known=True), **expected)


@pytest.mark.parametrize(
    ("grounding", "searches", "maps"),
    [
        ({"webSearchQueries": ["a", "b"]}, 2, 0),
        ({"webSearchQueries": ["a", "", " a ", "b", "  "]}, 2, 0),
        ({"webSearchQueries": ["a"], "imageSearchQueries": ["a", "c"]}, 2, 0),
        ({"webSearchQueries": ["a", 7, None]}, 1, 0),
        ({"webSearchQueries": "a"}, 0, 0),
        ({"webSearchQueries": []}, 0, 0),
        # Pages that the request named are sources without a query.
        ({"groundingChunks": [{"web": {"uri": "https://example.com"}}]}, 0, 0),
        ({"groundingChunks": [{"maps": {"placeId": "x"}}, {"maps": {}}]}, 0, 1),
        ({"groundingChunks": [{"maps": None}, "odd"]}, 0, 0),
        ({"groundingChunks": {"maps": {}}, "webSearchQueries": ["a"]}, 1, 0),
        ({}, 0, 0),
        ("odd", 0, 0),
        (None, 0, 0),
    ],
)
def test_searches_are_counted(grounding: Any, searches: int, maps: int) -> None:
    """Different queries count, empty ones do not, and what cannot be read costs itself only."""
    answer = response(TEXT)
    answer["candidates"][0]["groundingMetadata"] = grounding
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 2}
    found = judged({**answer, "usageMetadata": usage})
    assert found.verdict == "succeeded"
    assert found.usage == Usage(input=9, output=2, searches=searches, maps=maps, known=True)


def test_searches_of_several_candidates_count_once() -> None:
    one, other = response(TEXT)["candidates"][0], response(TEXT)["candidates"][0]
    body = {
        "candidates": [
            {**one, "groundingMetadata": {"webSearchQueries": ["a", "b"]}},
            {**other, "groundingMetadata": {"webSearchQueries": ["b", "c"]}},
        ]
    }
    assert judged(body).usage == Usage(searches=3)


def test_rubbish_in_one_piece_does_not_spoil_the_others() -> None:
    found = judged({**response(TEXT), "usageMetadata": "odd", "modelVersion": 7, "promptFeedback": []})
    assert (found.verdict, found.usage.known, found.model_version) == ("succeeded", False, None)
    found = judged({"candidates": "odd", "usageMetadata": USAGE, "modelVersion": "m"})
    assert (found.verdict, found.usage, found.model_version) == ("failed", FULL, "m")


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"tokenCount": "3"}, 3),
        ({"tokenCount": 3}, 3),
        ({"usageMetadata": {"promptTokenCount": 3}}, 3),
        ({"usageMetadata": {"promptTokenCount": 3, "promptTokenDetails": [{"modality": "TEXT"}]}, "tokenCount": 9}, 3),
    ],
)
def test_embeddings_tell_their_tokens_in_either_form(body: dict[str, Any], tokens: int) -> None:
    found = judged({"embedding": {"values": [0.5]}, **body}, method=Method.EMBED)
    assert found.usage == Usage(input=tokens, known=True)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (response(TEXT), "Hello"),
        (response(THOUGHT, TEXT, {"text": " you"}), "Hello you"),
        (response({"text": ""}), ""),
        (response(THOUGHT), None),
        (response(CALL), None),
        (response(), None),
        ({"candidates": [{}, response(TEXT)["candidates"][0]]}, None),
        ({"candidates": []}, None),
        ({}, None),
        ({**response(TEXT), "usageMetadata": "odd"}, "Hello"),
        ({"candidates": "odd"}, None),
        ([], None),
        ("Hello", None),
    ],
)
def test_text_is_what_the_first_candidate_says(body: Any, text: str | None) -> None:
    assert text_of(json.dumps(body).encode()) == text


def test_text_of_no_json_is_none() -> None:
    assert text_of(b"<html>") is None
    assert text_of(b"[" * 100_000) is None


def test_every_reason_has_words() -> None:
    assert MESSAGES.keys() >= FINISHES.keys()
    assert set(FINISHES.values()) <= set(VERDICTS)
    assert all(message.endswith(".") for message in MESSAGES.values())


NAMES = """
    candidates content parts text thought inlineData functionCall finishReason promptFeedback blockReason embedding
    values usageMetadata promptTokenCount candidatesTokenCount promptTokensDetails modality tokenCount modelVersion
    code message status error response STOP MAX_TOKENS citationMetadata
"""
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(NAMES.split())
lifelike: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {"key": st.just("a")}, optional={"response": lifelike, "error": lifelike, "status": lifelike}
    ),
    st.sampled_from(Method),
    st.booleans(),
    st.none() | st.integers(1, 3),
)
def test_any_answer_gets_one_verdict(line: Any, method: Any, expects_json: Any, dimension: int | None) -> None:
    data = json.dumps(line).encode()
    found = judged_both_ways(data, method=method, expects_json=expects_json, dimension=dimension)
    assert found.verdict in VERDICTS
    assert found.verdict != "missing"
    assert (found.verdict == "succeeded") == (found.reason is None)
    if found.verdict == "succeeded":
        answer = parse_line(data)
        assert isinstance(answer, Answer)
        assert answer.error is None
        assert found.has_response


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_get_one_verdict(response: bytes, error: bytes) -> None:
    for method in Method:
        found = judge(Answer("a", response, error), method=method)
        assert found.verdict == "failed"
        assert judge(Answer("a", response), method=method).verdict in VERDICTS


def test_good_lines_are_judged_fast() -> None:
    body = {**response({"text": "x" * 420, "thoughtSignature": "s" * 60}), "usageMetadata": USAGE, "modelVersion": "m"}
    data = json.dumps({"response": body, "key": "a"}).encode()
    rounds = 2_000

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(rounds):
            answer = parse_line(data)
            assert isinstance(answer, Answer)
            judge(answer, method=Method.GENERATE)
        return time.perf_counter() - start

    # About 300,000 a second on one core of an ordinary machine; a tenth of it leaves room for a busy one.
    assert rounds / min(seconds() for _ in range(5)) > 30_000


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, {"code": 3, "message": "\x1b[2Jbad\r\nError: forged\x9b"}),
        (None, "\x1b[2Jbad\nworse"),
        (None, {"code": 99, "status": "\x1b[2J", "message": "\u202ebad"}),
        ({"promptFeedback": {"blockReason": "\x1b[2J\n", "blockReasonMessage": "\x07bad"}}, None),
        ({"promptFeedback": {"blockReason": "X" * 10_000}}, None),
        (response(TEXT, finish="\x1b[2J\n"), None),
        (response(TEXT, finish="SAFETY", finishMessage="\x1b[2Jbad"), None),
    ],
)
def test_words_of_the_service_are_printable(body: Any, error: Any) -> None:
    """The reason is a word that a database can hold, the message is one line that a terminal can show."""
    found = judged(body, error=error)
    assert found.reason is not None
    assert re.fullmatch("[A-Z][A-Z0-9_]{0,80}", found.reason)
    assert found.message is not None
    assert found.message.isprintable()
