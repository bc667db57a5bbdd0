"""What every scenario looks like on the wire, in plain HTTP: a table with one entry for each."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx2
import jwt
import pytest

from emulator.conftest import EMBEDDER, MODEL, Api, line, lines
from emulator.faults import flex_checks, vertex_checks
from emulator.receiving import Receiver, hook, receiving, settled, verified_by_key
from gemini_batch.emulator.faults.scenarios import SCENARIOS
from gemini_batch.emulator.http.admin import arm

if TYPE_CHECKING:
    from collections.abc import Callable

    Check = Callable[[Api], None]

TEXT = {"contents": [{"parts": [{"text": "Say something nice."}]}]}
CHECKS: dict[str, Check] = {**flex_checks.CHECKS, **vertex_checks.CHECKS}


def shows(*names: str) -> Callable[[Check], Check]:
    """The check of these scenarios."""

    def noted(check: Check) -> Check:
        CHECKS.update(dict.fromkeys(names, check))
        return check

    return noted


def refused(answer: httpx2.Response, status: int, word: str, part: str = "") -> None:
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (status, word), answer.text
    assert part in error["message"]


def put(api: Api, data: bytes) -> httpx2.Response:
    """Upload in one piece; the last answer."""
    return api.chunk(api.start(len(data)).headers["X-Goog-Upload-URL"], "upload, finalize", 0, data)


def download(api: Api, name: str) -> httpx2.Response:
    return api.http.get(f"/v1beta/files/batch-{name.removeprefix('batches/')}:download", params={"alt": "media"})


def rows(api: Api, count: int = 1, **config: Any) -> list[dict[str, Any]]:
    """The answers to some requests."""
    return api.results(api.begin(b"\n".join(line(f"row-{number}", **config) for number in range(count))))


def candidate(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = rows(api)[0]["response"]["candidates"][0]
    return found


def text(api: Api) -> str:
    words: str = candidate(api)["content"]["parts"][0]["text"]
    return words


def jobs(api: Api) -> int:
    return len(api.http.get("/emulator/accounting").json()["jobs"])


@shows("U0", "C0", "L1", "R0")
def all_goes_well(api: Api) -> None:
    name = api.begin(lines(2), displayName="nightly")
    assert api.finish(name)["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    assert len(download(api, name).content.splitlines()) == 2


@shows("U1")
def mime_type(api: Api) -> None:
    refused(put(api, b"x"), 400, "INVALID_ARGUMENT", "Unsupported MIME type")
    assert put(api, b"x").status_code == 200


@shows("U2")
def nameless(api: Api) -> None:
    answer = put(api, b"x")
    assert (answer.status_code, answer.json()) == (200, {})
    assert answer.headers["X-Goog-Upload-Status"] == "final"
    assert len(api.http.get("/v1/files").json()["files"]) == 1


@shows("U3")
def unavailable(api: Api) -> None:
    answer = api.start(1)
    assert (answer.status_code, answer.json()["error"]["status"]) == (503, "Service Unavailable")
    assert api.start(1).status_code == 200


@shows("U4")
def headless(api: Api) -> None:
    assert "X-Goog-Upload-Status" not in put(api, b"x").headers


@shows("U5")
def broken_chunk(api: Api) -> None:
    with pytest.raises((httpx2.ReadError, httpx2.WriteError)):
        put(api, b"x" * 500_000)


@shows("U6")
def too_large(api: Api) -> None:
    assert put(api, b"x" * 1_000_000).status_code == 200
    refused(api.start(1_000_001), 400, "INVALID_ARGUMENT", "larger")


@shows("U7")
def processing(api: Api) -> None:
    file = put(api, b"x").json()["file"]
    seen = [file["state"], *(api.http.get(f"/v1/{file['name']}").json()["state"] for _ in range(3))]
    assert seen == ["PROCESSING", "PROCESSING", "PROCESSING", "ACTIVE"]


@shows("U7b")
def unprocessable(api: Api) -> None:
    shown = api.http.get(f"/v1/{put(api, b'x').json()['file']['name']}").json()
    assert (shown["state"], shown["error"]["code"]) == ("FAILED", 3)


@shows("U8")
def store_full(api: Api) -> None:
    refused(api.start(1), 429, "RESOURCE_EXHAUSTED", "file_storage_bytes")


@shows("U9", "C7")
def no_file(api: Api) -> None:
    refused(api.create(lines(1)), 403, "PERMISSION_DENIED", "You do not have permission to access the File")


@shows("C0i")
def inline(api: Api) -> None:
    shown = api.finish(api.begin([{"request": TEXT, "metadata": {"key": "a"}}]))
    assert "inputConfig" not in shown["metadata"]
    assert shown["response"]["inlinedResponses"]["inlinedResponses"][0]["metadata"] == {"key": "a"}


@shows("C1")
def quota(api: Api) -> None:
    for _ in range(2):
        refused(api.create(lines(1)), 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota")
    assert api.create(lines(1)).status_code == 200
    assert jobs(api) == 1


@shows("C2")
def store_full_at_creation(api: Api) -> None:
    refused(api.create(lines(1)), 429, "RESOURCE_EXHAUSTED", "file_storage_bytes")


@shows("C3a", "C3c")
def tokens(api: Api) -> None:
    # Four characters make a token: this is more than the three million of the first tier.
    refused(api.create(line("long", "x" * 12_100_000)), 429, "RESOURCE_EXHAUSTED", "quota")
    assert api.create(line("short")).status_code == 200


@shows("C3b")
def many_jobs(api: Api) -> None:
    assert api.create([{"request": TEXT}]).status_code == 200
    arm(api.world, scenario="C3b", jobs=1)
    api.world.batches.queue_delay = 60
    assert api.create([{"request": TEXT}]).status_code == 200
    refused(api.create([{"request": TEXT}]), 429, "RESOURCE_EXHAUSTED")


@shows("C3d")
def one_create(api: Api) -> None:
    name = api.begin([{"request": TEXT}])
    api.finish(name)
    api.world.clock.advance(12 * 3600 - 60)
    refused(api.create([{"request": TEXT}]), 429, "RESOURCE_EXHAUSTED")
    assert api.http.get("/emulator/quotas").json()["held"]["jobs"] == 0
    api.http.delete(f"/v1/{name}")
    refused(api.create([{"request": TEXT}]), 429, "RESOURCE_EXHAUSTED")
    api.world.clock.advance(60)
    assert api.create([{"request": TEXT}]).status_code == 200


@shows("C4")
def bad_lines(api: Api) -> None:
    refused(api.create(b'{"key": "a", "request": {"nonsense": 1}}'), 400, "INVALID_ARGUMENT", "Error on line 1")


@shows("C5", "E3")
def wrong_model(api: Api) -> None:
    body = {"batch": {"inputConfig": {"requests": {"requests": [{"request": TEXT}]}}}}
    for model in ("gemini-nonsense", EMBEDDER):
        answer = api.http.post(f"/v1beta/models/{model}:batchGenerateContent", json=body)
        refused(answer, 404, "NOT_FOUND", "not supported for batchGenerateContent")


@shows("C6")
def unknown_field(api: Api) -> None:
    answer = api.create([{"request": {**TEXT, "generationConfig": {"thinkingConfg": {}}}}])
    refused(answer, 400, "INVALID_ARGUMENT", "at 'batch.input_config.requests.requests[0].request.generation_config'")


@shows("C8a", "C8d")
def lost(api: Api) -> None:
    with pytest.raises(httpx2.ReadError):
        api.create(lines(1))


@shows("C8b")
def late(api: Api) -> None:
    refused(api.create(lines(1)), 504, "DEADLINE_EXCEEDED")
    assert jobs(api) == 1


@shows("C8c")
def silence(api: Api) -> None:
    api.http.timeout = 0.5
    with pytest.raises(httpx2.ReadTimeout):
        api.create([{"request": TEXT}])
    assert jobs(api) == 1


@shows("C9")
def outages(api: Api) -> None:
    answers = [api.create([{"request": TEXT}]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [500, 502, 503, 200]
    assert answers[1].headers["Content-Type"].startswith("text/html")
    assert jobs(api) == 1


@shows("C10")
def too_long(api: Api) -> None:
    answer = api.create([{"request": {"contents": [{"parts": [{"text": "x" * 20_971_520}]}]}}])
    refused(answer, 400, "INVALID_ARGUMENT", "payload size exceeds the limit: 20971520 bytes")


@shows("C11")
def billing(api: Api) -> None:
    refused(api.create([{"request": TEXT}]), 403, "PERMISSION_DENIED")


@shows("C12")
def bad_key(api: Api) -> None:
    answer = api.http.get("/v1/models")
    refused(answer, 400, "INVALID_ARGUMENT", "API key not valid")
    assert answer.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert api.http.get("/emulator/accounting").status_code == 200


@shows("C13")
def no_cache(api: Api) -> None:
    found = rows(api, 2)
    assert found[0]["error"] == {"code": 7, "message": "CachedContent not found (or permission denied)"}
    assert "response" in found[1]


@shows("C14")
def names_beside(api: Api) -> None:
    row = json.loads(line("a")) | {"config": {"temperature": 3}}
    assert "response" in api.results(api.begin(json.dumps(row).encode()))[0]


@shows("L2")
def never_starts(api: Api) -> None:
    name = api.begin(lines(1))
    assert api.state(name) == "PENDING"
    api.world.clock.advance(48 * 3600)
    assert api.state(name) == "EXPIRED"


@shows("L3")
def expires(api: Api) -> None:
    shown = api.finish(api.begin(lines(3)))
    assert shown["metadata"]["state"] == "BATCH_STATE_EXPIRED"
    assert "output" not in shown["metadata"]


@shows("L4")
def expires_half_done(api: Api) -> None:
    name = api.begin(lines(3))
    assert api.finish(name)["metadata"]["state"] == "BATCH_STATE_EXPIRED"
    assert len(download(api, name).content.splitlines()) == 1


@shows("L5")
def odd_states(api: Api) -> None:
    name = api.begin(lines(1))
    seen = [api.get(name)["metadata"].get("state") for _ in range(4)]
    assert seen == ["BATCH_STATE_SOMETHING_NEW", "JOB_STATE_QUEUED", None, "BATCH_STATE_SUCCEEDED"]


@shows("L6")
def output_comes_later(api: Api) -> None:
    name = api.begin(lines(1))
    shown = [api.get(name) for _ in range(3)]
    assert [one["done"] for one in shown] == [True] * 3
    assert (
        ["output" in one["metadata"] for one in shown] == ["response" in one for one in shown] == [False, False, True]
    )


@shows("L7", "L8")
def fails(api: Api) -> None:
    assert api.finish(api.begin(lines(1)))["metadata"]["state"] == "BATCH_STATE_FAILED"


@shows("L9")
def only_in_response(api: Api) -> None:
    shown = api.finish(api.begin(lines(1)))
    assert "output" not in shown["metadata"]
    assert "responsesFile" in shown["response"]


@shows("L10")
def only_in_metadata(api: Api) -> None:
    shown = api.finish(api.begin(lines(1)))
    assert "responsesFile" in shown["metadata"]["output"]
    assert "response" not in shown


@shows("L11")
def flaps(api: Api) -> None:
    name = api.begin(lines(1))
    seen = []
    for _ in range(7):
        try:
            seen.append(api.http.get(f"/v1/{name}").status_code)
        except httpx2.ReadError:
            seen.append(0)
    assert seen == [429, 500, 503, 504, 0, 404, 200]


@shows("R1")
def another_order(api: Api) -> None:
    keys = [one["key"] for one in rows(api, 6)]
    assert keys != sorted(keys)
    assert sorted(keys) == [f"row-{number}" for number in range(6)]


@shows("R2")
def twins(api: Api) -> None:
    found = rows(api, 2)
    assert [one["key"] for one in found] == ["row-0", "row-1", "row-0", "row-0"]
    assert found[0] == found[2] != found[3]


@shows("R3")
def missing(api: Api) -> None:
    assert [one["key"] for one in rows(api, 3)] == ["row-1", "row-2"]


@shows("R4")
def without_key(api: Api) -> None:
    assert ["key" in one for one in rows(api, 3)] == [False, True, True]


@shows("R5")
def foreign(api: Api) -> None:
    assert {one["key"] for one in rows(api, 2)} - {"row-0", "row-1"}


@shows("R6")
def broken_line(api: Api) -> None:
    name = api.begin(lines(2))
    api.finish(name)
    first, second = download(api, name).content.splitlines()
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(first)
    assert json.loads(second)["key"] == "row-1"


@shows("R7")
def separators(api: Api) -> None:
    name = api.begin(lines(3))
    api.finish(name)
    data = download(api, name).content
    found = data.split(b"\n")
    assert len(found) == 4
    assert found[1].strip() == b""
    assert all(one.endswith(b"\r") for one in found if one)
    assert not data.endswith(b"\n")
    assert len(data.decode().splitlines()) > 10
    assert all(
        "\u2028" in json.loads(one)["response"]["candidates"][0]["content"]["parts"][0]["text"]
        for one in found
        if one.strip()
    )


@shows("R8")
def huge(api: Api) -> None:
    name = api.begin(lines(2))
    api.finish(name)
    assert [len(one) > 8_000_000 for one in download(api, name).content.splitlines()] == [True, False]


@shows("R9")
def unfetchable(api: Api) -> None:
    name = api.begin([{"request": {"contents": [{"parts": [{"text": "x" * 900}]}]}}] * 2000)
    while not api.http.get("/v1/batches").json()["operations"][0].get("done"):
        pass
    refused(answer := api.http.get(f"/v1/{name}"), 503, "UNAVAILABLE")
    assert "dur=60069" in answer.headers["Server-Timing"]
    refused(api.http.get(f"/v1/{name}", headers={"X-Server-Timeout": "3600"}), 504, "DEADLINE_EXCEEDED")
    assert api.http.get(f"/v1/{name}", headers={"X-Server-Timeout": "600"}).status_code == 200
    assert "response" not in api.http.get("/v1/batches").json()["operations"][0]


@shows("R10")
def cut(api: Api) -> None:
    name = api.begin(lines(9))
    api.finish(name)
    for _ in range(2):
        with pytest.raises(httpx2.RemoteProtocolError):
            download(api, name)
    assert download(api, name).status_code == 503
    assert len(download(api, name).content.splitlines()) == 9


@shows("R11")
def long_id(api: Api) -> None:
    file = api.finish(api.begin(lines(1)))["response"]["responsesFile"]
    refused(api.http.delete(f"/v1/{file}"), 400, "INVALID_ARGUMENT", "cannot be more than 40 characters")
    assert api.http.get(f"/v1/{file}").json()["source"] == "GENERATED"


@shows("R12")
def results_gone(api: Api) -> None:
    name = api.begin(lines(1))
    api.finish(name)
    refused(download(api, name), 403, "PERMISSION_DENIED")


@shows("R13")
def inline_after_all(api: Api) -> None:
    shown = api.finish(api.begin(lines(2)))
    assert shown["metadata"]["inputConfig"]["fileName"]
    answers = shown["response"]["inlinedResponses"]["inlinedResponses"]
    assert answers == shown["metadata"]["output"]["inlinedResponses"]["inlinedResponses"]
    assert [one["metadata"]["key"] for one in answers] == ["row-0", "row-1"]
    assert "responsesFile" not in shown["response"]


@shows("R14")
def results_for_two_days(api: Api) -> None:
    file, inline = api.begin(lines(1)), api.begin([{"request": TEXT}])
    for name in (file, inline):
        api.finish(name)
    api.world.clock.advance(2 * 86_400 - 60)
    assert download(api, file).status_code == 200
    assert "inlinedResponses" in api.get(inline)["response"]
    api.world.clock.advance(60)
    refused(download(api, file), 404, "NOT_FOUND")
    assert "response" not in api.get(inline)
    assert api.state(file) == api.state(inline) == "SUCCEEDED"


@shows("G1")
def blocked(api: Api) -> None:
    response = rows(api)[0]["response"]
    assert response["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}
    assert "candidates" not in response
    assert "candidatesTokenCount" not in response["usageMetadata"]


@shows("G2")
def safety(api: Api) -> None:
    found = candidate(api)
    assert found["finishReason"] == "SAFETY"
    assert found["safetyRatings"]
    assert "content" not in found


@shows("G3")
def recitation(api: Api) -> None:
    first, second = (one["response"]["candidates"][0] for one in rows(api, 2))
    assert first == {"finishReason": "RECITATION", "index": 0}
    assert second["citationMetadata"]
    assert "content" not in second


@shows("G4")
def no_text(api: Api) -> None:
    found = rows(api, 6)
    ends = [one["response"]["candidates"][0]["finishReason"] for one in found]
    assert ends == ["MAX_TOKENS", "MAX_TOKENS", "STOP", "STOP", "STOP", "STOP"]


@shows("G4a")
def nothing_left(api: Api) -> None:
    response = rows(api)[0]["response"]
    assert response["candidates"][0]["content"] == {"role": "model"}
    assert response["candidates"][0]["finishReason"] == "MAX_TOKENS"
    usage = response["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["thoughtsTokenCount"]


@shows("G4b")
def half_a_json(api: Api) -> None:
    found = candidate(api)
    assert found["finishReason"] == "MAX_TOKENS"
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(found["content"]["parts"][0]["text"])


@shows("G4c")
def thought_first(api: Api) -> None:
    thought, said = candidate(api)["content"]["parts"]
    assert thought["thought"] is True
    assert "thought" not in said


@shows("G4d")
def empty(api: Api) -> None:
    found = candidate(api)
    assert (found["finishReason"], found["content"]["parts"]) == ("STOP", [{"text": ""}])


@shows("G4e")
def signed(api: Api) -> None:
    (part,) = candidate(api)["content"]["parts"]
    assert part["text"]
    assert part["thoughtSignature"]


@shows("G5")
def neither(api: Api) -> None:
    assert set(rows(api)[0]["response"]) == {"usageMetadata", "modelVersion", "responseId"}


@shows("G6")
def no_json(api: Api) -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(text(api))


@shows("G7")
def fenced(api: Api) -> None:
    assert text(api).startswith("```json\n{")


@shows("G8")
def wrong_shape(api: Api) -> None:
    assert set(json.loads(text(api))) == {"unexpected", "answer"}


@shows("G9")
def media(api: Api) -> None:
    kinds = [one["response"]["candidates"][0]["content"]["parts"][0]["inlineData"]["mimeType"] for one in rows(api, 2)]
    assert kinds == ["image/png", "audio/L16;codec=pcm;rate=24000"]


@shows("G10")
def usage(api: Api) -> None:
    found = [one["response"].get("usageMetadata") for one in rows(api, 3)]
    assert found[0] is None
    assert "candidatesTokenCount" not in found[1]
    assert "candidatesTokenCount" in found[2]


@shows("G11")
def new_reason(api: Api) -> None:
    found = candidate(api)
    assert found["finishReason"] == "SOMETHING_NEW"
    assert found["content"]["parts"][0]["text"]


@shows("G12")
def calls(api: Api) -> None:
    (part,) = candidate(api)["content"]["parts"]
    assert set(part) == {"functionCall"}


@shows("G13")
def errors(api: Api) -> None:
    found = [one.get("error", {}) for one in rows(api, 7)]
    assert [one.get("code") for one in found] == [13, 8, 4, 14, 3, 13, None]
    assert ["message" in one for one in found] == [True] * 5 + [False, False]


@shows("G14")
def newer_reasons(api: Api) -> None:
    first, second, third = (one["response"]["candidates"][0] for one in rows(api, 3))
    assert (first["finishReason"], bool(first["continuationToken"])) == ("CONTINUATION", True)
    assert first["content"]["parts"][0]["text"]
    assert (second, third) == (
        {"finishReason": "MODEL_ARMOR", "index": 0},
        {"finishReason": "PUP_LIMITED_DISABLED", "index": 0},
    )


@shows("X1")
def cancelled(api: Api) -> None:
    name = api.begin(lines(1))
    assert api.http.post(f"/v1/{name}:cancel").json() == {}
    assert api.state(name) == "CANCELLED"


@shows("X2")
def too_late(api: Api) -> None:
    name = api.begin(lines(2))
    assert api.http.post(f"/v1/{name}:cancel").json() == {}
    assert [("response" in one) for one in api.results(name)] == [True, True]


@shows("X3")
def partly(api: Api) -> None:
    name = api.begin(lines(3))
    api.http.post(f"/v1/{name}:cancel")
    shown = api.finish(name)
    assert (shown["metadata"]["state"], shown["error"]) == ("BATCH_STATE_CANCELLED", {"code": 1})
    assert len(download(api, name).content.splitlines()) == 1


@shows("X4")
def cancelled_after_the_end(api: Api) -> None:
    name = api.begin(lines(1))
    api.finish(name)
    refused(api.http.post(f"/v1/{name}:cancel"), 400, "FAILED_PRECONDITION")
    second = api.begin(lines(1))
    assert api.http.post(f"/v1/{second}:cancel").status_code == 200


@shows("X5")
def deleted_and_paid(api: Api) -> None:
    api.world.batches.queue_delay = 60
    name = api.begin(lines(2))
    assert api.http.delete(f"/v1/{name}").json() == {}
    assert api.http.get(f"/v1/{name}").status_code == 404
    assert api.world.limits.alive(api.world.store.project("a-key")) == 1
    api.world.clock.advance(60)
    while api.world.engine.advance():
        pass
    found = api.http.get("/emulator/accounting?keys=true").json()
    assert (found["totals"]["paid"], found["keys"]) == (2, {"row-0": 1, "row-1": 1})
    assert {path.name[:5] for path in api.world.store.blobs.iterdir()} == {"file-", "paid-"}
    assert api.world.limits.alive(api.world.store.project("a-key")) == 0


@shows("X6")
def finished_after_all(api: Api) -> None:
    api.world.batches.queue_delay = 60
    file, inline = api.begin(lines(2)), api.begin([{"request": TEXT}])
    for name in (file, inline):
        api.http.post(f"/v1/{name}:cancel")
        shown = api.get(name)
        assert (shown["metadata"]["state"], shown["done"]) == ("BATCH_STATE_CANCELLED", True)
        assert "response" not in shown
        assert "successfulRequestCount" not in shown["metadata"]["batchStats"]
    listed = api.http.get("/v1/batches").json()["operations"]
    assert {one["metadata"]["state"] for one in listed} == {"BATCH_STATE_CANCELLED"}
    api.world.clock.advance(3600)
    assert [("response" in one) for one in api.results(file)] == [True, True]
    assert "inlinedResponses" in api.finish(inline)["response"]


@shows("P1")
def empty_list(api: Api) -> None:
    assert api.http.get("/v1/batches").json() == {}


@shows("P2")
def overlapping_pages(api: Api) -> None:
    name = api.begin(lines(1))
    listed = api.http.get("/v1/batches").json()["operations"]
    assert [one["name"] for one in listed] == [name, name]
    assert len(api.http.get("/v1/batches").json()["operations"]) == 1


@shows("P3")
def left_out(api: Api) -> None:
    name = api.begin(lines(1))
    assert api.http.get("/v1/batches").json() == {}
    assert api.state(name) == "SUCCEEDED"


@shows("P4")
def no_results_in_lists(api: Api) -> None:
    name = api.begin([{"request": TEXT}])
    assert "response" in api.finish(name)
    (listed,) = api.http.get("/v1/batches").json()["operations"]
    assert "response" not in listed
    assert "output" not in listed["metadata"]


@shows("K1")
def another_key(api: Api) -> None:
    name = api.begin(lines(1))
    answer = httpx2.get(f"{api.http.base_url}/v1/{name}", headers={"x-goog-api-key": "another"})
    refused(answer, 404, "NOT_FOUND", "Requested entity was not found.")


def embed(api: Api, count: int) -> list[dict[str, Any]]:
    request = {"content": {"parts": [{"text": "a word"}]}, "outputDimensionality": 16}
    data = b"\n".join(json.dumps({"key": f"row-{n}", "request": request}).encode() for n in range(count))
    return api.results(api.begin(data, embed=True))


@shows("E1")
def embeddings(api: Api) -> None:
    assert [len(one["response"]["embedding"]["values"]) for one in embed(api, 2)] == [16, 16]


@shows("E2")
def bad_vectors(api: Api) -> None:
    values = [one["response"]["embedding"]["values"] for one in embed(api, 3)]
    assert [len(one) for one in values] == [8, 16, 16]
    assert (values[1][0], "NaN" in values[2]) == ("NaN", False)


@shows("E4")
def none_succeeds(api: Api) -> None:
    assert [one["error"]["code"] for one in embed(api, 3)] == [13, 13, 13]


@shows("S1")
def schema_missed(api: Api) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    config: dict[str, Any] = {"responseMimeType": "application/json"}
    for followed, field in ((False, "responseJsonSchema"), (True, "responseSchema")):
        words = rows(api, 1, **config, **{field: schema})[0]["response"]["candidates"][0]["content"]["parts"][0]["text"]
        assert words.startswith("{") is followed


@shows("M1")
def not_batchable(api: Api) -> None:
    methods = api.http.get(f"/v1/models/{MODEL}").json()["supportedGenerationMethods"]
    assert "batchGenerateContent" not in methods


@shows("M1b")
def retired(api: Api) -> None:
    refused(api.http.get(f"/v1/models/{MODEL}"), 404, "NOT_FOUND", "no longer available")
    refused(api.create([{"request": TEXT}]), 404, "NOT_FOUND", "no longer available")


def delivered(api: Api, receiver: Receiver) -> tuple[str, dict[str, str], bytes]:
    """The name of a job that has ended, and what its own webhook received."""
    name = api.begin(lines(1), **hook(receiver.url))
    api.finish(name)
    return name, *receiver.next()


@shows("W1", "W4", "W6", "W7")
def signed_or_not(api: Api) -> None:
    """The first delivery is as the scenario says, the next one is valid."""
    armed = api.http.get("/emulator/faults").json()["faults"]
    first = armed[0]["fault"]["webhook"] if armed else ""
    with receiving() as receiver:
        for way in (first, ""):
            _, headers, body = delivered(api, receiver)
            assert ("webhook-signature" in headers) is (way != "unsigned")
            age = time.time() - int(headers["webhook-timestamp"])
            assert (3500 < age < 3700) if way == "stale" else abs(age) < 60
            if way != "unsigned":
                assert verified_by_key(api, headers, body) is (way != "wrong_signature")


@shows("W2")
def twice(api: Api) -> None:
    with receiving() as receiver:
        _, first, _ = delivered(api, receiver)
        second, _ = receiver.next()
        assert first["webhook-id"] == second["webhook-id"]
        settled(api, "delivered", attempts=2)


@shows("W3")
def never_delivered(api: Api) -> None:
    with receiving() as receiver:
        api.finish(api.begin(lines(1), **hook(receiver.url)))
        delivered(api, receiver)
        settled(api, "lost", "delivered")
        assert receiver.nothing()


@shows("W5")
def an_hour_late(api: Api) -> None:
    with receiving() as receiver:
        api.finish(api.begin(lines(1), **hook(receiver.url)))
        settled(api, "pending", attempts=0)
        api.world.clock.advance(3590)
        assert receiver.nothing()
        api.world.clock.advance(10)
        receiver.next()


@shows("W8")
def a_token(api: Api) -> None:
    """Verified as Google's guide does it."""
    with receiving() as receiver:
        name, headers, body = delivered(api, receiver)
        token = headers["webhook-signature"]
        sent = api.http.get("/.well-known/jwks.json").json()
        (key,) = [jwt.PyJWK(one) for one in sent["keys"] if one["kid"] == jwt.get_unverified_header(token)["kid"]]
        claims = jwt.decode(token, key, algorithms=["RS256"], audience=receiver.url)
        assert claims["data"] == json.loads(body)["data"]
        assert claims["data"]["id"] == name


@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenario(world: Api, name: str) -> None:
    """Armed over HTTP, played over HTTP."""
    assert world.http.post("/emulator/faults", json={"scenario": name}).status_code == 200
    CHECKS[name](world)


def test_every_scenario_says_what_it_is() -> None:
    """In a sentence; those that arm nothing say so; each has its check."""
    for name, scenario in SCENARIOS.items():
        idle = not scenario.faults and not scenario.quotas
        assert scenario.about.endswith("Nothing is armed.") is idle, name
        assert scenario.about.endswith("."), name
    assert set(CHECKS) == set(SCENARIOS)
