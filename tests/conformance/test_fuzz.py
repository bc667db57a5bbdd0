"""Requests generated from the published schema, some spoiled: never a 500, never an answer outside the schema."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.test_schema import EMBEDDER, MODEL, SCHEMA, Published
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is asked, with what, and the message that a good answer is.
CALLS = (
    (f"models/{MODEL}:batchGenerateContent", "BatchGenerateContentRequest", "Operation"),
    (f"models/{EMBEDDER}:asyncBatchEmbedContent", "AsyncBatchEmbedContentRequest", "Operation"),
    (f"models/{MODEL}:generateContent", "GenerateContentRequest", "GenerateContentResponse"),
    (f"models/{MODEL}:streamGenerateContent", "GenerateContentRequest", "GenerateContentResponse"),
    ("cachedContents", "CachedContent", "CachedContent"),
    (f"models/{EMBEDDER}:embedContent", "EmbedContentRequest", "EmbedContentResponse"),
    (f"models/{MODEL}:countTokens", "CountTokensRequest", "CountTokensResponse"),
    (f"models/{EMBEDDER}:batchEmbedContents", "BatchEmbedContentsRequest", "BatchEmbedContentsResponse"),
)
JUNK: tuple[Any, ...] = (None, "", "x", "\u2028", -1, 0, 1e300, 10**30, True, [], {}, [[]], {"x": 1}, "5.0", ["a"] * 3)
#: Strings by their format.
TEXTS = {
    "": ("", "text", "models/x", f"models/{MODEL}", "files/abc", "cachedContents/abc", "user", "image/png", "aGk="),
    "byte": ("", "aGk=", "?"),
    "google-datetime": ("2026-01-01T00:00:00Z", "2031-02-28T00:00:00.5+01:00", "2031-02-30T00:00:00Z", "text"),
    "google-duration": ("9.5s", "0s", "-1s", "999999999999s", "9"),
}


class Maker:
    """Makes values of the schema's messages; now and then something that is none."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        #: How much of a message is there: sparse ones are often accepted.
        self._wanted = self._chance.choice((0.9, 0.08))
        self._schemas = json.loads(SCHEMA.read_bytes())["components"]["schemas"]

    def message(self, name: str, depth: int = 0) -> Any:
        return self.value({"$ref": f"/{name}"}, depth)

    def value(self, schema: dict[str, Any], depth: int) -> Any:
        chance = self._chance
        if chance.random() < 0.02:
            return chance.choice(JUNK)
        if "$ref" in schema:
            return self.value(self._schemas[schema["$ref"].rpartition("/")[2]], depth)
        if "allOf" in schema:
            return self.value(schema["allOf"][0], depth)
        if "enum" in schema:
            return chance.choice(schema["enum"])
        match schema.get("type"):
            case "object" if "properties" in schema:
                return self._object(schema["properties"], depth)
            case "object":
                return {"k": chance.choice(JUNK)}
            case "array":
                most = 2 if depth < 6 else 0
                least = 0 if self._wanted > 0.5 else min(1, most)
                return [self.value(schema["items"], depth + 1) for _ in range(chance.randint(least, most))]
            case "integer" | "number":
                return chance.choice((0, 1, 2, 5.0, -1, 1e9, "3", 0.5))
            case "boolean":
                return chance.random() < 0.5
            case _:
                return chance.choice(TEXTS.get(schema.get("format", ""), TEXTS[""]))

    def _object(self, properties: dict[str, Any], depth: int) -> dict[str, Any]:
        chance = self._chance
        wanted = self._wanted if depth < 4 else min(0.3, self._wanted) if depth < 9 else 0.0
        found = {name: self.value(one, depth + 1) for name, one in properties.items() if chance.random() < wanted / 2}
        for name in ("batch", "inputConfig", "requests", "request", "contents", "content", "parts", "text"):
            if name in properties and depth < 12 and chance.random() < 0.8:
                found[name] = self.value(properties[name], depth + 1)
        if "model" in properties and chance.random() < 0.7:
            found["model"] = f"models/{MODEL}"
        if chance.random() < 0.03:
            found[chance.choice(("unknown", "générique", "$", "_"))] = chance.choice(JUNK)
        return found


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    if not SCHEMA.exists():
        pytest.skip("the published schema is not at hand")
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as running:
        running.emulator.limits.change(cache_minimum=0)
        client = httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}, timeout=30)
        yield client
        client.close()


@pytest.fixture(scope="module")
def judge() -> Published:
    return Published()


def is_refusal(body: Any, status: int) -> bool:
    """The service's own shape of an error."""
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and error.get("code") == status and bool(error.get("message")) and "status" in error


def said(response: httpx2.Response) -> list[Any]:
    """What an answer says: one value, or the chunks of a stream."""
    value = response.json()
    return value if isinstance(value, list) else [value]


@given(seed=st.integers(0, 2**32), call=st.sampled_from(CALLS))
def test_made_up_requests(http: httpx2.Client, judge: Published, seed: int, call: tuple[str, str, str]) -> None:
    path, asked, answered = call
    body = Maker(seed).message(asked)

    response = http.post(f"/v1beta/{path}", json=body)

    assert response.status_code < 500, (body, response.text)
    for value in said(response):
        if response.status_code == 200:
            judge.judge(answered, value)
        else:
            assert is_refusal(value, response.status_code), response.text


@given(data=st.binary(max_size=200), path=st.sampled_from([path for path, _, _ in CALLS]))
def test_bodies_of_any_bytes(http: httpx2.Client, data: bytes, path: str) -> None:
    response = http.post(f"/v1beta/{path}", content=data, headers={"content-type": "application/json"})

    assert response.status_code < 500, response.text
    assert response.status_code == 200 or all(is_refusal(one, response.status_code) for one in said(response))


@given(seed=st.integers(0, 2**32), mask=st.sampled_from(["", "?updateMask=ttl", "?updateMask=*", "?updateMask=,x"]))
def test_made_up_updates_of_a_cache(http: httpx2.Client, judge: Published, seed: int, mask: str) -> None:
    made = http.post("/v1beta/cachedContents", json={"model": f"models/{MODEL}"}).json()

    response = http.patch(f"/v1beta/{made['name']}{mask}", json=Maker(seed).message("CachedContent"))

    if response.status_code == 200:
        judge.judge("CachedContent", response.json())
    else:
        assert response.status_code in (400, 403)
        assert is_refusal(response.json(), response.status_code), response.text


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=4), st.binary(max_size=60), st.booleans())
def test_made_up_files(http: httpx2.Client, judge: Published, seeds: list[int], junk: bytes, spoiled: bool) -> None:
    """A job from a file of made-up lines is refused with the lines' numbers, or runs to its end."""
    lines = [
        json.dumps({"key": str(n), "request": Maker(s).message("GenerateContentRequest", 2)})
        for n, s in enumerate(seeds)
    ]
    data = "\n".join(lines).encode() + (b"\n" + junk if spoiled else b"")
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    url = http.post("/upload/v1beta/files", headers=start, json={"file": {"mimeType": "text/plain"}}).headers[
        "x-goog-upload-url"
    ]
    finish = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
    name = http.post(url, headers=finish, content=data).json()["file"]["name"]

    made = http.post(
        f"/v1beta/models/{MODEL}:batchGenerateContent", json={"batch": {"inputConfig": {"fileName": name}}}
    )

    assert made.status_code in {200, 400}, made.text
    if made.status_code == 400:
        assert is_refusal(made.json(), 400)
        return
    judge.judge("Operation", made.json())
    job = made.json()
    for _ in range(200):  # jobs of earlier examples are worked off before it
        job = http.get(f"/v1beta/{job['name']}").json()
        judge.judge("Operation", job)
        if job.get("done"):
            break
    assert job["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"
    for line in http.get(f"/v1beta/{job['response']['responsesFile']}:download").content.split(b"\n"):
        if line:
            answer = json.loads(line)
            answer.pop("key", None)
            judge.judge("InlinedResponse", answer)
