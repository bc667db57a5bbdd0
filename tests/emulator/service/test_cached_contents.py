"""Cached contents: made, listed, changed, expired, deleted; and what becomes of requests that name them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import EMBEDDER, MODEL, Api
from gemini_batch import GeminiBatch, Settings
from gemini_batch.emulator.http.server import serve
from gemini_batch.events import Notice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.events import Event

Json = dict[str, Any]

#: 5,000 tokens, as the emulator counts them.
LONG: Json = {"contents": [{"role": "user", "parts": [{"text": "long" * 5000}]}]}
ASKED: Json = {"contents": [{"role": "user", "parts": [{"text": "What does it say?"}]}]}
GONE = "CachedContent not found (or permission denied)"


def make(api: Api, version: str = "v1beta", **fields: Any) -> httpx2.Response:
    return api.http.post(f"/{version}/cachedContents", json={"model": f"models/{MODEL}", **LONG, **fields})


def made(api: Api, **fields: Any) -> Json:
    answer = make(api, **fields)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def error(answer: httpx2.Response) -> tuple[int, str, str]:
    found = answer.json()["error"]
    assert found["code"] == answer.status_code
    return found["code"], found["status"], found["message"]


def generate(api: Api, cache: str, model: str = MODEL, **more: Any) -> httpx2.Response:
    return api.http.post(f"/v1beta/models/{model}:generateContent", json={**ASKED, "cachedContent": cache, **more})


def row(cache: str, key: str = "a") -> bytes:
    return json.dumps({"key": key, "request": {**ASKED, "cachedContent": cache}}).encode()


def test_one_life(world: Api) -> None:
    """As it was seen at the service: never its content, an hour by default, 403 once it is gone."""
    cache = made(world, displayName="a book", systemInstruction={"parts": [{"text": "Be brief."}]})
    assert set(cache) == {
        "name", "model", "createTime", "updateTime", "expireTime", "displayName", "usageMetadata",
    }  # fmt: skip
    assert len(cache["name"]) == len("cachedContents/") + 40
    assert (cache["model"], cache["displayName"]) == (f"models/{MODEL}", "a book")
    assert cache["usageMetadata"] == {"totalTokenCount": 5003}
    assert hours(cache["createTime"], cache["expireTime"]) == 1
    assert world.get(cache["name"]) == cache
    assert world.http.get("/v1beta/cachedContents").json() == {"cachedContents": [cache]}

    answer = world.http.delete(f"/v1beta/{cache['name']}")
    assert (answer.status_code, answer.json()) == (200, {})
    for method in ("get", "delete"):
        assert error(world.http.request(method, f"/v1beta/{cache['name']}")) == (403, "PERMISSION_DENIED", GONE)
    assert error(generate(world, cache["name"])) == (403, "PERMISSION_DENIED", GONE)
    assert world.http.get("/v1beta/cachedContents").json() == {}


def hours(begin: str, end: str) -> float:
    def seconds(text: str) -> float:
        hour, minute, second = text[11:-1].split(":")
        return int(text[8:10]) * 86_400 + int(hour) * 3600 + int(minute) * 60 + float(second)

    return (seconds(end) - seconds(begin)) / 3600


@pytest.mark.parametrize("method", ["POST /cachedContents", "GET /cachedContents", "GET", "PATCH", "DELETE"])
def test_versions(method: str, world: Api) -> None:
    """None in v1; the same ones in v1beta and v1alpha."""
    name = made(world)["name"]
    verb, _, path = method.partition(" ")
    for version, status in (("v1", 404), ("v1alpha", 200)):
        body = {"model": f"models/{MODEL}", **LONG} if verb == "POST" else {"ttl": "9s"}
        answer = world.http.request(verb, f"/{version}{path or '/' + name}", json=None if verb == "GET" else body)
        assert answer.status_code == status, answer.text
        assert status == 200 or "only in v1beta and v1alpha" in error(answer)[2]


#: What is wrong with a cache, the status, and a word of the message.
WRONG: list[tuple[Json, int, str]] = [
    ({"contents": [{"parts": [{"text": "short"}]}]}, 400, "too small. total_token_count=2, min_total_token_count=4096"),
    ({"contents": []}, 400, "total_token_count=0"),
    ({"model": f"models/{EMBEDDER}"}, 404, "not supported for createCachedContent"),
    ({"model": "models/gemini-0"}, 404, "not supported for createCachedContent"),
    ({"model": "models/gemini-3-pro-image"}, 404, "not supported for createCachedContent"),
    ({"model": "models/gemini-4-argon"}, 404, "not supported for createCachedContent"),
    ({"model": MODEL}, 400, "unexpected model name format"),
    ({"model": ""}, 400, "unexpected model name format"),
    ({"ttl": "0s"}, 400, "must be in the future"),
    ({"ttl": "-5s"}, 400, "must be in the future"),
    ({"ttl": "5"}, 400, "Duration"),
    ({"expireTime": "2020-01-01T00:00:00Z"}, 400, "must be in the future"),
    ({"expireTime": "2031-02-30T00:00:00Z"}, 400, "expire_time"),
    ({"expireTime": "2031-02-28T00:00:00Z", "ttl": "5s"}, 400, "oneof field 'expiration' is already set"),
    ({"displayName": "x" * 129}, 400, "at most 128 characters"),
    ({"surprise": 1}, 400, 'Unknown name "surprise"'),
    ({"contents": [{"role": "assistant", "parts": [{"text": "long" * 5000}]}]}, 400, "CreateCachedContentRequest"),
    ({"contents": [{"parts": [{"fileData": {"fileUri": "files/gone"}}]}]}, 403, "access the File gone"),
    ({"contents": [{"parts": [{"fileData": {"fileUri": "/home/x.pdf"}}]}]}, 400, "unsupported file uri"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, 400, "without function_declarations"),
]


@pytest.mark.parametrize(("fields", "status", "words"), WRONG, ids=[str(fields)[:60] for fields, _, _ in WRONG])
def test_what_is_refused(fields: Json, status: int, words: str, world: Api) -> None:
    """And leaves nothing behind."""
    code, _, message = error(make(world, **fields))
    assert (code, words in message) == (status, True), message
    assert world.http.get("/v1beta/cachedContents").json() == {}
    assert not list(world.world.store.blobs.iterdir())


@pytest.mark.parametrize(
    ("model", "least"), [(MODEL, 4096), ("gemini-2.5-flash", 2048), ("gemini-3.5-flash-lite", 1024)]
)
def test_the_least_size(model: str, least: int, world: Api) -> None:
    """It is the model's, or what was set; a file may be as long as it likes."""

    def size(tokens: int) -> int:
        contents = [{"parts": [{"text": "long" * tokens}]}]
        return make(world, model=f"models/{model}", contents=contents).status_code

    assert (size(least - 1), size(least)) == (400, 200)
    world.world.limits.change(cache_minimum=10)
    assert (size(9), size(10)) == (400, 200)
    world.world.limits.change(cache_minimum=None)
    file = world.get(world.upload(b"%PDF-", mime_type="application/pdf"))["uri"]
    contents = [{"parts": [{"fileData": {"fileUri": file, "mimeType": "application/pdf"}}]}]
    assert make(world, contents=contents).status_code == 200


def test_lenient(world: Api) -> None:
    """What the service probably refuses is kept."""
    world.world.engine.lenient = True
    assert make(world, model="models/gemini-4-argon").status_code == 200
    assert make(world, surprise=1).status_code == 200


def test_pages(world: Api, other: Api) -> None:
    """Newest first; only one's own, and none that has ended."""
    names = [made(world, displayName=str(number))["name"] for number in range(5)]
    made(other)
    made(world, ttl="5s")
    world.world.clock.advance(6)
    seen, token = list[str](), ""
    while True:
        page = world.http.get("/v1beta/cachedContents", params={"pageSize": 2, "pageToken": token}).json()
        seen += [one["name"] for one in page["cachedContents"]]
        if not (token := page.get("nextPageToken", "")):
            break
    assert seen == names[::-1]
    assert error(world.http.get("/v1beta/cachedContents?pageToken=x"))[0] == 400
    assert error(world.http.get("/v1beta/cachedContents?pageSize=-1"))[0] == 400


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        ("", {"ttl": "7200s"}, 2.0),
        ("?updateMask=ttl", {"ttl": "5400.5s"}, 1.5),
        ("?updateMask=expireTime", {"expireTime": "2031-01-01T00:00:00.5+01:00"}, "2030-12-31T23:00:00.500000000Z"),
        ("?updateMask=expire_time", {"expire_time": "2031-01-01T00:00:00Z"}, "2031-01-01T00:00:00.000000000Z"),
        ("?updateMask=*", {"ttl": "1s", "displayName": "other"}, None),
        ("?updateMask=displayName", {"displayName": "other"}, "Invalid update_mask: display_name cannot be updated."),
        ("?updateMask=ttl,model", {"ttl": "5s"}, "Invalid update_mask: model cannot be updated."),
        ("?updateMask=ttl", {"expireTime": "2031-01-01T00:00:00Z"}, "one of ttl and expire_time must be set"),
        ("", {}, "one of ttl and expire_time must be set"),
        ("", {"ttl": "0s"}, "must be in the future"),
        ("", {"contents": 3}, "cached_content"),
    ],
    ids=str,
)
def test_updates(query: str, body: Json, expected: float | str | None, world: Api) -> None:
    """Only the expiration changes; a refusal changes nothing."""
    cache = made(world)
    answer = world.http.patch(f"/v1beta/{cache['name']}{query}", json=body)
    found = world.get(cache["name"])
    if answer.status_code == 400:
        assert str(expected) in error(answer)[2] or "contents" in body
        assert found == cache
        return
    assert answer.json() == found
    assert found["displayName"] == ""
    assert found["updateTime"] > cache["updateTime"]
    if isinstance(expected, float):
        assert hours(found["updateTime"], found["expireTime"]) == pytest.approx(expected, abs=1e-3)
    elif expected:
        assert found["expireTime"] == expected


def test_what_is_kept(world: Api, other: Api, tmp_path: Path) -> None:
    """Over a restart, with its expiry; and for its own project only."""
    cache = made(world, ttl="60s")
    for method in ("get", "patch", "delete"):
        refused = other.http.request(
            method, f"/v1beta/{cache['name']}", json={"ttl": "5s"} if method == "patch" else None
        )
        assert error(refused)[0] == 403
    assert error(generate(other, cache["name"]))[0] == 403
    headers = {"x-goog-api-key": "a-key"}
    with serve(tmp_path / "data") as again, httpx2.Client(base_url=again.url, headers=headers) as http:
        assert http.get(f"/v1beta/{cache['name']}").json() == cache
        assert generate(Api(http, again.emulator), cache["name"]).status_code == 200
        again.emulator.clock.advance(60)
    assert error(world.http.get(f"/v1beta/{cache['name']}"))[2] == GONE


def test_the_content_of_old_caches_is_removed(world: Api) -> None:
    """Some days after their end."""
    old = made(world, ttl="60s")["name"]
    assert len(list(world.world.store.blobs.iterdir())) == 1
    world.world.clock.advance(4 * 86_400)
    new = made(world)["name"].removeprefix("cachedContents/")
    assert [path.name for path in world.world.store.blobs.iterdir()] == [f"cache-{new}"]
    assert error(generate(world, old))[0] == 403


# Requests that name a cache.


def test_an_answer(world: Api) -> None:
    """The cache counts as part of the prompt, and its tools and system instruction apply."""
    tools = {
        "tools": [{"functionDeclarations": [{"name": "look_up", "parameters": {"type": "OBJECT"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    }
    plain, with_tools = made(world)["name"], made(world, **tools)["name"]
    alone = world.http.post(f"/v1beta/models/{MODEL}:generateContent", json=ASKED).json()["usageMetadata"]
    answer = generate(world, plain).json()
    prompt = alone["promptTokenCount"] + 5000
    assert (
        answer["usageMetadata"].items()
        >= {
            "promptTokenCount": pytest.approx(prompt, abs=1),
            "cachedContentTokenCount": 5000,
            "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 5000}],
        }.items()
    )
    assert "What does it say?" in answer["candidates"][0]["content"]["parts"][0]["text"]
    (part,) = generate(world, with_tools).json()["candidates"][0]["content"]["parts"]
    assert part["functionCall"]["name"] == "look_up"
    (counts,) = world.http.get("/emulator/accounting").json()["interactive"]
    assert (counts["paid"], counts["cachedTokens"]) == (3, 10_000)


def test_a_stream(world: Api) -> None:
    """Only its last chunk says what was cached."""
    name = made(world)["name"]
    body = {**ASKED, "cachedContent": name}
    *before, last = world.http.post(f"/v1beta/models/{MODEL}:streamGenerateContent", json=body).json()
    assert before
    assert last["usageMetadata"] == generate(world, name).json()["usageMetadata"]
    assert not any("cachedContentTokenCount" in one["usageMetadata"] for one in before)
    assert all(one["usageMetadata"]["promptTokenCount"] > 5000 for one in before)


def test_counting(world: Api) -> None:
    """With the cache, and what of it was cached."""
    name, path = made(world)["name"], f"/v1beta/models/{MODEL}:countTokens"
    request = {"model": f"models/{MODEL}", **ASKED}
    alone = world.http.post(path, json={"generateContentRequest": request}).json()
    found = world.http.post(path, json={"generateContentRequest": {**request, "cachedContent": name}}).json()
    assert found["totalTokens"] == pytest.approx(alone["totalTokens"] + 5000, abs=1)
    assert found["cachedContentTokenCount"] == 5000
    assert "cachedContentTokenCount" not in alone
    gone = {"generateContentRequest": {**request, "cachedContent": "cachedContents/x"}}
    assert error(world.http.post(path, json=gone))[0] == 403


def test_together(world: Api) -> None:
    """A cache and what belongs into it, in a call and in a row."""
    name = made(world)["name"]
    fields: list[Json] = [{"systemInstruction": {"parts": [{"text": "x"}]}}, {"tools": [{"googleSearch": {}}]}]
    for field in fields:
        code, _, message = error(generate(world, name, **field))
        assert (code, "CachedContent can not be used" in message) == (400, True)
        assert world.create([{"request": {**ASKED, "cachedContent": name, **field}}]).status_code == 400


def expire(api: Api, name: str) -> str:
    api.world.clock.advance(3600)
    return name


def delete(api: Api, name: str) -> str:
    assert api.http.delete(f"/v1beta/{name}").is_success
    return name


UNUSABLE: dict[str, tuple[Callable[[Api, Api], str], int]] = {
    "never made": (lambda world, other: "cachedContents/none", 7),
    "deleted": (lambda world, other: delete(world, made(world)["name"]), 7),
    "expired": (lambda world, other: expire(world, made(world)["name"]), 7),
    "another project's": (lambda world, other: made(other)["name"], 7),
    "another model's": (lambda world, other: made(world, model="models/gemini-3.7-flash")["name"], 3),
}


@pytest.mark.parametrize("what", UNUSABLE)
def test_a_cache_that_cannot_be_used(what: str, world: Api, other: Api) -> None:
    """A call is refused; of a job, only the row fails, whose answer would be the same."""
    name, code = UNUSABLE[what][0](world, other), UNUSABLE[what][1]
    both = f"(models/{MODEL}) and CachedContent (models/gemini-3.7-flash)"
    said = {7: GONE, 3: f"Model used by GenerateContent request {both} has to be the same."}[code]
    assert error(generate(world, name))[::2] == ({7: 403, 3: 400}[code], said)
    good = made(world)["name"]
    first, second = world.results(world.begin(row(name) + b"\n" + row(good, "b")))
    assert first == {"error": {"code": code, "message": said}, "key": "a"}
    assert second["response"]["usageMetadata"]["cachedContentTokenCount"] == 5000
    (job,) = world.http.get("/emulator/accounting").json()["jobs"]
    assert (job["paid"], job["failed"], job["cachedTokens"]) == (1, 1, 5000)
    inline = world.finish(world.begin([{"request": {**ASKED, "cachedContent": name}}]))
    (only,) = inline["response"]["inlinedResponses"]["inlinedResponses"]
    assert only == {"error": {"code": code, "message": said}}


@pytest.mark.parametrize("often", [False, True], ids=["polled once", "polled every second"])
def test_a_cache_that_expires_while_a_job_runs(often: bool, world: Api) -> None:
    """By the clock alone, whether or not anyone polled it."""
    world.world.batches.rows_per_second = 1
    name = made(world, ttl="1000s")["name"]
    job = world.begin(b"\n".join(row(name, str(number)) for number in range(20)))
    world.http.patch(f"/v1beta/{name}", json={"ttl": "10.5s"})
    for _ in range(30 if often else 1):
        world.world.clock.advance(1 if often else 30)
        world.get(job)
    codes = [one.get("error", {}).get("code", 0) for one in world.results(job)]
    assert codes.count(0) in (10, 11, 12)
    assert codes == sorted(codes)


def test_a_late_job(world: Api) -> None:
    """A cache that ends while a job waits is gone for all its rows; one that is extended is not."""
    world.world.batches.queue_delay = 7200
    short, longer = made(world)["name"], made(world)["name"]
    job = world.begin(row(short) + b"\n" + row(longer, "b"))
    world.http.patch(f"/v1beta/{longer}", json={"ttl": "7300s"})
    world.world.clock.advance(90_000)
    first, second = world.results(job)
    assert (first["error"]["code"], "response" in second) == (7, True)


def test_a_fault_keeps_what_was_cached(world: Api) -> None:
    """A truncated answer was read from the cache all the same."""
    from gemini_batch.emulator.http.admin import arm

    arm(world.world, row="cut_empty")
    (found,) = world.results(world.begin(row(made(world)["name"])))
    assert found["response"]["usageMetadata"]["cachedContentTokenCount"] == 5000


def test_a_responder_sees_the_whole_prompt(tmp_path: Path) -> None:
    """A function knows nothing of caches, one at a time or many; a row that fails does not reach it."""
    from gemini_batch.emulator.responders.registry import Pool

    seen: list[Json] = []

    def answer(model: str, request: Json) -> Json:
        seen.append(request)
        usage = {"promptTokenCount": 100, "totalTokenCount": 101}
        return {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}], "usageMetadata": usage}

    async def later(model: str, request: Json) -> Json:
        return answer(model, request)

    pool = Pool(later)
    for responder in (answer, pool):
        seen.clear()
        with (
            serve(tmp_path, responder=responder) as running,
            httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}, timeout=30) as http,
        ):
            api = Api(http, running.emulator)
            system = {"parts": [{"text": "Be brief."}]}
            name = made(api, systemInstruction=system)["name"]
            first, second = api.results(api.begin(row(name) + b"\n" + row("cachedContents/none", "b")))
        assert first["response"]["usageMetadata"]["cachedContentTokenCount"] == 100
        assert second["error"]["code"] == 7
        assert seen == [{"contents": LONG["contents"] + ASKED["contents"], "systemInstruction": system}]
    pool.close()


# Rehearsals.


@pytest.mark.parametrize("rehearsal", [False, True])
def test_a_cache_that_only_the_service_has(rehearsal: bool, tmp_path: Path) -> None:
    """Is missing in the emulator, and answered in a rehearsal; one that was here and ended is missing in both."""
    with (
        serve(tmp_path, rehearsal=rehearsal) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}, timeout=30) as http,
    ):
        api = Api(http, running.emulator)
        old = made(api)["name"]
        running.emulator.clock.advance(9 * 86_400)
        deleted, here = delete(api, made(api)["name"]), made(api)["name"]
        rows = api.results(api.begin(b"\n".join(map(row, (old, deleted, here, "cachedContents/unseen")))))
    assert [one.get("error", {}).get("code") for one in rows] == [7, 7, None, None if rehearsal else 7]
    assert rows[2]["response"]["usageMetadata"]["cachedContentTokenCount"] == 5000
    assert not rehearsal or "cachedContentTokenCount" not in rows[3]["response"]["usageMetadata"]


def test_it_is_said_once(tmp_path: Path) -> None:
    """How many requests name a cache or a file that cannot be seen offline, and which is the first."""
    lines = [row("cachedContents/unseen", str(number)) for number in range(3)]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    said: list[Event] = []
    with GeminiBatch(settings=Settings(home=tmp_path / "home", offline=True), on_event=said.append) as batch:
        found = batch.run(tmp_path / "r.jsonl")
        batch.run(tmp_path / "r.jsonl")
    (notice,) = [one.message for one in said if isinstance(one, Notice) and "cannot be seen" in one.message]
    assert notice.startswith("3 requests refer to files or caches that cannot be seen offline (the first: key '0', ")
    assert "cachedContents/unseen)" in notice
    assert found.summary.all_succeeded
