"""Streamed answers: put together again they are the answer; they fail as calls fail, and on the wire."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.conftest import EMBEDDER, MODEL, Api
from gemini_batch.emulator.http.admin import arm
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.messages.streams import Stream, chunks
from gemini_batch.errors import RowError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Answer = dict[str, Any]

TEXT: Answer = {"contents": [{"role": "user", "parts": [{"text": "Why is the sky blue, and the evening red? " * 4}]}]}
SCHEMA = {"type": "OBJECT", "properties": {"name": {"type": "STRING"}, "age": {"type": "INTEGER"}}}
ASKED: dict[str, Answer] = {
    "text": {},
    "thoughts": {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
    "candidates": {"generationConfig": {"candidateCount": 3}},
    "cut": {"generationConfig": {"maxOutputTokens": 40}},
    "JSON": {"generationConfig": {"responseMimeType": "application/json", "responseSchema": SCHEMA}},
    "an image": {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}},
    "sound": {"generationConfig": {"responseModalities": ["AUDIO"]}},
    "a function call": {
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    },
}


def events(body: bytes) -> list[Answer]:
    """The data of server-sent events, each of which is one line that begins with ``data: ``."""
    assert body.endswith(b"\r\n\r\n")
    found = [one.removeprefix(b"data: ") for one in body.removesuffix(b"\r\n\r\n").split(b"\r\n\r\n")]
    assert all(b"\n" not in one for one in found)
    return [json.loads(one) for one in found]


def joined(stream: list[Answer]) -> Answer:
    """One answer from its chunks, as clients put it together: adjacent texts of one kind are one text."""
    candidates: dict[int, Answer] = {}
    for chunk in stream:
        for candidate in chunk.get("candidates", ()):
            seen = candidates.setdefault(candidate.get("index", 0), {})
            parts = [*(seen.get("content") or {}).get("parts", ())]
            for part in (candidate.get("content") or {}).get("parts", ()):
                last = parts[-1] if parts else {}
                follows = "text" in part and "text" in last and "thoughtSignature" not in last
                if follows and part.get("thought") == last.get("thought"):
                    parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
                else:
                    parts.append(part)
            seen |= candidate
            if parts:
                seen["content"] = {**seen["content"], "parts": parts}
    made = {**stream[-1]}
    if candidates:
        made["candidates"] = [candidates[index] for index in sorted(candidates)]
    return made


def ask(
    api: Api, method: str, body: Answer, *, of: str = f"models/{MODEL}", version: str = "v1beta"
) -> httpx2.Response:
    return api.http.post(f"/{version}/{of}:{method}", json=body)


@pytest.mark.parametrize("asked", ASKED)
def test_the_chunks_are_the_answer(asked: str, world: Api) -> None:
    """As events and as an array, for every kind of answer."""
    body = {**TEXT, **ASKED[asked]}
    whole = ask(world, "generateContent", body).json()
    sent = ask(world, "streamGenerateContent?alt=sse", body)
    array = ask(world, "streamGenerateContent", body)

    assert sent.headers["content-type"] == "text/event-stream"
    assert array.headers["content-type"] == "application/json; charset=UTF-8"
    assert "content-length" not in sent.headers.keys() | array.headers.keys()
    stream = events(sent.content)
    assert stream == array.json()
    assert joined(stream) == whole


@pytest.mark.parametrize("asked", ASKED)
def test_every_chunk(asked: str, world: Api) -> None:
    """Each has an answer's name and model; usage grows; each candidate ends once, in its last chunk."""
    stream = events(ask(world, "streamGenerateContent?alt=sse", {**TEXT, **ASKED[asked]}).content)
    assert len(stream) > 1 or asked in ("sound", "a function call", "JSON")
    assert {chunk["responseId"] for chunk in stream} == {stream[0]["responseId"]}
    assert {chunk["modelVersion"] for chunk in stream} == {f"{MODEL}@offline"}
    totals = [chunk["usageMetadata"]["totalTokenCount"] for chunk in stream]
    assert totals == sorted(totals)
    ends: dict[int, int] = {}
    for number, chunk in enumerate(stream):
        for candidate in chunk["candidates"]:
            assert candidate["index"] not in ends
            if "finishReason" in candidate:
                ends[candidate["index"]] = number
            assert candidate["content"]["role"] == "model"
    assert max(ends.values()) == len(stream) - 1
    assert len(ends) == ASKED[asked].get("generationConfig", {}).get("candidateCount", 1)


@pytest.mark.parametrize("of", [f"models/{MODEL}", "tunedModels/mine"])
@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_everywhere(of: str, version: str, world: Api) -> None:
    answer = ask(world, "streamGenerateContent?alt=sse", TEXT, of=of, version=version)
    assert events(answer.content)[-1]["candidates"][0]["finishReason"] == "STOP"


#: A request that is refused, and the status.
REFUSED: list[tuple[str, Answer, int, str]] = [
    (f"models/{MODEL}", {}, 400, "INVALID_ARGUMENT"),
    (f"models/{MODEL}", {**TEXT, "surprise": 1}, 400, "INVALID_ARGUMENT"),
    (f"models/{MODEL}", {**TEXT, "generationConfig": {"temperature": 9}}, 400, "INVALID_ARGUMENT"),
    (f"models/{MODEL}", {**TEXT, "systemInstruction": {"parts": []}}, 400, "INVALID_ARGUMENT"),
    (f"models/{MODEL}", {**TEXT, "cachedContent": "cachedContents/none"}, 403, "PERMISSION_DENIED"),
    (f"models/{MODEL}", {"contents": [{"parts": [{"fileData": {"fileUri": "files/gone"}}]}]}, 403, "PERMISSION_DENIED"),
    ("models/gemini-0", TEXT, 404, "NOT_FOUND"),
    (f"models/{EMBEDDER}", TEXT, 404, "NOT_FOUND"),
]


@pytest.mark.parametrize(("of", "body", "status", "reason"), REFUSED)
def test_what_is_refused(of: str, body: Answer, status: int, reason: str, world: Api) -> None:
    """As an ordinary call is; in an array, the error is its only item."""
    plain = ask(world, "generateContent", body, of=of)
    sent = ask(world, "streamGenerateContent?alt=sse", body, of=of)
    array = ask(world, "streamGenerateContent", body, of=of)
    assert [answer.status_code for answer in (plain, sent, array)] == [status] * 3
    error = sent.json()["error"]
    assert (error["code"], error["status"]) == (status, reason)
    assert array.json() == [sent.json()]
    of_method = [answer["error"]["message"].replace("streamG", "g") for answer in (plain.json(), sent.json())]
    assert of_method[0].replace("generateContent", "") == of_method[1].replace("generateContent", "")


def test_no_key(world: Api) -> None:
    with httpx2.Client(base_url=world.http.base_url) as nobody:
        path = f"/v1beta/models/{MODEL}:streamGenerateContent"
        assert nobody.post(path, json=TEXT).json()[0]["error"]["code"] == 403
        assert nobody.post(path, params={"alt": "sse"}, json=TEXT).json()["error"]["code"] == 403


def test_a_responder_that_fails(tmp_path: Path) -> None:
    """Before the first byte, with a status of its own."""

    def fails(model: str, request: Answer) -> Answer:
        raise RowError(14, "no model today") if request["contents"][0]["parts"][0]["text"] == "x" else ValueError("bug")

    with (
        serve(tmp_path, responder=fails) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}) as http,
    ):
        path = f"/v1beta/models/{MODEL}:streamGenerateContent"
        failed = http.post(path, json={"contents": [{"parts": [{"text": "x"}]}]})
        broken = http.post(path, json={"contents": [{"parts": [{"text": "y"}]}]})
    assert (failed.status_code, failed.json()[0]["error"]["message"]) == (503, "no model today")
    assert (broken.status_code, broken.json()[0]["error"]["status"]) == (500, "INTERNAL")


def test_it_is_one_row_of_the_accounts(world: Api, other: Api) -> None:
    """By project and model, with what it used; calls that were refused had no answer."""
    whole = ask(world, "generateContent", TEXT).json()["usageMetadata"]
    ask(world, "streamGenerateContent?alt=sse", TEXT)
    ask(world, "streamGenerateContent", {**TEXT, "generationConfig": {"temperature": 9}})
    ask(other, "streamGenerateContent", TEXT)
    world.http.post(f"/v1beta/models/{EMBEDDER}:embedContent", json={"content": {"parts": [{"text": "x"}]}})
    found = world.http.get("/emulator/accounting").json()
    assert found["totals"]["rows"] == 0
    mine = {one["model"]: one for one in found["interactive"] if one["project"] == world.world.store.project("a-key")}
    wrote = whole["totalTokenCount"] - whole["promptTokenCount"]
    assert (
        mine[MODEL].items()
        >= {
            "rows": 3,
            "paid": 2,
            "failed": 1,
            "promptTokens": 2 * whole["promptTokenCount"],
            "cachedTokens": 0,
            "outputTokens": 2 * wrote,
        }.items()
    )
    assert mine[EMBEDDER]["paid"] == 1
    assert sorted(one["paid"] for one in found["interactive"]) == [1, 1, 2]


# Faults on the wire.


def stream(api: Api, query: str = "?alt=sse") -> httpx2.Response:
    return ask(api, f"streamGenerateContent{query}", TEXT)


def arriving(api: Api, got: bytearray) -> None:
    """Read a stream, as far as it comes."""
    path = f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
    with api.http.stream("POST", path, json=TEXT) as answer:
        for piece in answer.iter_raw():
            got += piece


@pytest.mark.parametrize(
    ("drop", "error"),
    [("", httpx2.RemoteProtocolError), ("close", httpx2.RemoteProtocolError), ("reset", httpx2.NetworkError)],
)
def test_a_stream_that_is_cut(drop: str, error: type[Exception], world: Api) -> None:
    """In the middle of a chunk, by an orderly end or a reset; what came before has arrived."""
    whole, got = stream(world).content, bytearray()
    arm(world.world, operation="models.streamGenerateContent", cut=len(whole) // 2, drop=drop)
    with pytest.raises(error):
        arriving(world, got)
    assert whole.startswith(got)
    assert drop == "reset" or len(got) == len(whole) // 2
    assert stream(world).content == whole


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"error": "overloaded"}, lambda sent, array: array.json() == [sent.json()]),
        ({"error": "overloaded", "commit": True}, lambda sent, array: array.json() == [sent.json()]),
        ({"error": "html_502"}, lambda sent, array: sent.content == array.content != b""),
        ({"status": 418, "body": "teapot"}, lambda sent, array: sent.text == array.text == "teapot"),
        ({"body": "[]"}, lambda sent, array: sent.text == array.text == "[]"),
        ({"headers": {"X-More": "1"}}, lambda sent, array: sent.headers["x-more"] == array.headers["x-more"] == "1"),
        ({"drip": 1e6}, lambda sent, array: events(sent.content) == array.json()),
        (
            {"set": {"modelVersion": "m"}, "remove": ["usageMetadata"]},
            lambda sent, array: (
                events(sent.content) == array.json()
                and all(one["modelVersion"] == "m" and "usageMetadata" not in one for one in array.json())
            ),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_faults(fault: Answer, check: Callable[[Any, Any], bool], world: Api) -> None:
    """Those of other calls, on both forms of a stream; then all is well again."""
    arm(world.world, operation="models.stream*", model=MODEL, times=2, **fault)
    sent, array = stream(world), stream(world, "")
    assert check(sent, array)
    assert events(stream(world).content) == stream(world, "").json()


def test_faults_that_do_not_fit(world: Api) -> None:
    """A stream has no length to declare wrongly; a small one is not large; another model is another."""
    arm(world.world, operation="models.streamGenerateContent", length=7, times=0)
    arm(world.world, operation="models.streamGenerateContent", larger=1_000_000, cut=1, times=0)
    arm(world.world, operation="models.streamGenerateContent", model="other", status=500, times=0)
    assert events(stream(world).content)


# The chunks themselves.

_PART = st.one_of(
    st.builds(
        lambda text, more: {"text": text, **more},
        st.text(max_size=400),
        st.sampled_from([{}, {"thought": True}, {"thoughtSignature": "c2ln"}]),
    ),
    st.sampled_from(
        [{"functionCall": {"name": "f", "args": {}}}, {"inlineData": {"mimeType": "image/png", "data": ""}}]
    ),
)
_CANDIDATE = st.builds(
    lambda parts, more: {"content": {"role": "model", **({"parts": parts} if parts else {})}, **more},
    st.lists(_PART, max_size=4),
    st.sampled_from(
        [{"finishReason": "STOP"}, {"finishReason": "SAFETY", "safetyRatings": []}, {"citationMetadata": {}}]
    ),
)


def texts(candidate: Answer) -> list[tuple[object, object]]:
    """What a candidate says, without regard to where one text ends and the next begins."""
    found: list[tuple[object, object]] = []
    for part in candidate.get("content", {}).get("parts", ()):
        kind = (part.get("thought"), "text" in part)
        if found and "text" in part and found[-1][0] == kind:
            found[-1] = (kind, str(found[-1][1]) + part["text"])
        else:
            found.append((kind, part.get("text", part)))
    return found


@given(
    st.lists(_CANDIDATE, max_size=3), st.sampled_from([None, {}, {"promptTokenCount": 3, "candidatesTokenCount": 9}])
)
def test_any_answer(candidates: list[Answer], usage: Answer | None) -> None:
    """Nothing is lost, added or moved; and no line of an event ends early for any reader."""
    answer: Answer = {"candidates": [{**one, "index": n} for n, one in enumerate(candidates)], "responseId": "r"}
    if usage is not None:
        answer["usageMetadata"] = usage
    made = chunks(answer)
    found = joined(made)
    assert [texts(one) for one in found["candidates"]] == [texts(one) for one in answer["candidates"]]
    for ours, theirs in zip(found["candidates"], answer["candidates"], strict=True):
        assert {**ours, "content": 0} == {**theirs, "content": 0}
    assert found.get("usageMetadata") == usage
    signatures = [part.get("thoughtSignature") for one in candidates for part in one["content"].get("parts", ())]
    sent = [p for c in made for one in c["candidates"] for p in one["content"].get("parts", ())]
    assert sum("thoughtSignature" in part for part in sent) == len(list(filter(None, signatures)))
    for piece in Stream(made, events=True).pieces():
        assert len(piece.decode().splitlines()) == 2


def test_an_event_is_one_line() -> None:
    """Whatever a reader takes for the end of a line."""
    text = "".join(chr(code) for code in (*range(0xA0), 0x2028, 0x2029)) + "<&>" * 99
    answer = {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}]}
    pieces = list(Stream(chunks(answer), events=True).pieces())
    assert [len(piece.decode().splitlines()) for piece in pieces] == [2] * len(pieces)
    assert joined(events(b"".join(pieces))) == answer


def test_a_long_text_is_not_a_thousand_chunks() -> None:
    answer = {"candidates": [{"content": {"parts": [{"text": "word " * 50_000}]}, "finishReason": "STOP", "index": 0}]}
    assert 32 < len(chunks(answer)) <= 65


@pytest.mark.parametrize("answer", [{}, {"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {}}])
def test_no_candidates(answer: Answer) -> None:
    """A blocked prompt is one chunk."""
    assert chunks(answer) == [answer]
    (piece,) = Stream(chunks(answer), events=False).pieces()
    assert json.loads(piece) == [answer]
