"""Requests generated from the published schema, some spoiled: never a 500, never an answer outside the schema."""

from __future__ import annotations

import gzip
import json
import random
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.test_schema import EMBEDDER, MODEL, SCHEMA, Published
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Parts of paths: names that exist, and others.
NAMES = {
    "models": (MODEL, EMBEDDER, "gemini-2.5-flash", "veo-3.1-generate-preview", "x"),
    "tunedModels": ("mine",),
    "files": ("fuzzed", "batch-x", "x" * 41),
    "batches": ("x",),
    "cachedContents": ("x",),
}


class Method(NamedTuple):
    """One method of the published schema: the names of what it is asked with, if that is a body, and of its answer."""

    verb: str
    path: str
    name: str
    asked: str
    answered: str


def _methods() -> list[Method]:
    if not SCHEMA.exists():
        return []
    found = []
    for path, verbs in json.loads(SCHEMA.read_bytes())["paths"].items():
        for verb, one in verbs.items():
            if isinstance(one, dict) and "operationId" in one:
                asked = _reference(one.get("requestBody", {}))
                found.append(Method(verb.upper(), path, one["operationId"], asked, _reference(one["responses"]["200"])))
    return found


def _reference(about: dict[str, Any]) -> str:
    schema = about.get("content", {}).get("application/json", {}).get("schema", {})
    name: str = schema.get("$ref", "").rpartition("/")[2]
    return name


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
def served(http: httpx2.Client) -> list[Method]:
    """The methods of the schema that the emulator serves: it does not say that it lacks them."""
    found = []
    for one in _methods():
        answer = http.request(one.verb, f"/v1beta{re.sub(r'{.*?}', 'x', one.path)}", json={} if one.asked else None)
        if answer.status_code == 501:
            assert f"does not serve {one.name}." in answer.json()["error"]["message"]
        else:
            found.append(one)
    return found


@pytest.fixture(scope="module")
def judge() -> Published:
    return Published()


def is_refusal(body: Any, status: int) -> bool:
    """The service's own shape of an error."""
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and error.get("code") == status and bool(error.get("message")) and "status" in error


def path_of(one: Method, chance: random.Random) -> str:
    """A path of the method, with names that are right or wrong, and now and then a query."""
    path = one.path
    while found := re.search(r"/(\w+)/{\w+}", path):
        name = chance.choice(NAMES.get(found[1], ("x",)))
        path = f"{path[: found.start()]}/{found[1]}/{name}{path[found.end() :]}"
    query = chance.choice(("", "", "?pageSize=3", "?pageSize=x&pageToken=y", "?updateMask=displayName", "?alt=sse"))
    return f"/v1beta{path}{query}"


def check(judge: Published, one: Method, response: httpx2.Response) -> None:
    """The answer is the method's own message, or a refusal; never a fault of the emulator."""
    assert response.status_code < 500, (one, response.request.content[:2000], response.text)
    if response.status_code != 200:
        body = response.json()
        assert is_refusal(body[0] if isinstance(body, list) else body, response.status_code), response.text
    elif response.headers["content-type"].startswith("application/json"):
        answer = response.json()
        for message in answer if isinstance(answer, list) else [answer]:
            judge.judge(one.answered, message)


def test_the_fuzzer_reaches_the_whole_surface(served: list[Method]) -> None:
    """What this file is about: the methods of batches, files and models."""
    names = {one.name for one in served}
    assert {f"batches.{verb}" for verb in ("get", "list", "cancel", "delete")} <= names
    assert {"files.get", "files.list", "files.delete", "files.register", "media.upload"} <= names
    assert {"models.generateContent", "models.embedContent", "models.countTokens", "models.list"} <= names
    assert {f"cachedContents.{verb}" for verb in ("create", "get", "list", "patch", "delete")} <= names
    assert "models.streamGenerateContent" in names


@given(seed=st.integers(0, 2**32))
def test_made_up_requests(http: httpx2.Client, judge: Published, served: list[Method], seed: int) -> None:
    """Every served method, with a body of the message that the schema names for it, some spoiled."""
    chance = random.Random(seed)
    one = chance.choice([method for method in served if method.asked] if chance.random() < 0.7 else served)
    body = Maker(seed).message(one.asked) if one.asked else None
    headers = {"Authorization": "Bearer t"} if chance.random() < 0.5 else {}

    check(judge, one, http.request(one.verb, path_of(one, chance), json=body, headers=headers))


@given(seed=st.integers(0, 2**32), data=st.binary(max_size=200))
def test_bodies_of_any_bytes(
    http: httpx2.Client, judge: Published, served: list[Method], seed: int, data: bytes
) -> None:
    chance = random.Random(seed)
    one = chance.choice(served)
    headers = {"content-type": "application/json"}
    if chance.random() < 0.3:
        headers["content-encoding"] = chance.choice(("gzip", "br"))
        data = gzip.compress(data) if chance.random() < 0.5 else data

    check(judge, one, http.request(one.verb, path_of(one, chance), content=data, headers=headers))


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
