"""Every answer of the emulator against the API's published schema: no field, type or value that the service lacks.

The schema is closed for this: where it names an object's fields, no others may be there. What clients leave unread
shows here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import jsonschema_rs
import pytest

from conformance import environments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.testing import GeminiEmulator

SCHEMA = environments.ROOT.parent / "shared" / "reference" / "generativelanguage.v1beta.openapi.json"
MODEL = "gemini-3.8-flash"
EMBEDDER = "gemini-embedding-001"
_PREFIX = "type.googleapis.com/google.ai.generativelanguage.v1main."

ROWS: tuple[dict[str, Any], ...] = (
    {},
    {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"}, "candidateCount": 2}},
    {"generationConfig": {"maxOutputTokens": 3, "responseLogprobs": True, "logprobs": 2}},
    {"generationConfig": {"responseMimeType": "application/json", "responseSchema": {"type": "OBJECT"}}},
    {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9"}}},
    {"generationConfig": {"responseModalities": ["AUDIO"]}},
    {
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
    },
    {"tools": [{"googleSearch": {}}, {"codeExecution": {}}, {"urlContext": {}}]},
    {
        "contents": [
            {
                "parts": [
                    {
                        "fileData": {
                            "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/gone",
                            "mimeType": "image/png",
                        }
                    }
                ]
            }
        ]
    },
)
TEXT = {"contents": [{"role": "user", "parts": [{"text": "Why is the sky blue?"}]}]}
VECTOR = {"content": {"parts": [{"text": "Why is the sky blue?"}]}, "outputDimensionality": 8}


class Published:
    """The schema's messages, as judges of values."""

    def __init__(self) -> None:
        self._components = json.loads(SCHEMA.read_bytes())["components"]
        _close(self._components["schemas"])

    def judge(self, message: str, value: Any) -> None:
        """Fail unless ``value`` is a ``message`` in the wire's form; operations' contents are judged by their type."""
        validator = jsonschema_rs.Draft7Validator(
            {"$ref": f"#/components/schemas/{message}", "components": self._components}
        )
        problems = [
            f"{'.'.join(map(str, (message, *one.instance_path)))}: {one.message}"
            for one in validator.iter_errors(value)
        ]
        assert not problems, "\n".join(problems)
        for operation in value.get("operations", [value] if message == "Operation" else []):
            for member in ("metadata", "response"):
                if member in operation:
                    content = dict(operation[member])
                    self.judge(content.pop("@type").removeprefix(_PREFIX), content)


def _close(schema: Any) -> None:
    """Let no object have other fields than the named ones."""
    for inner in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _close(inner)
    if isinstance(schema, dict) and isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)


@pytest.fixture(scope="module")
def published() -> Published:
    if not SCHEMA.exists():
        pytest.skip("the published schema is not at hand")
    return Published()


@pytest.fixture
def http(gemini_emulator: GeminiEmulator) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=gemini_emulator.url, headers={"x-goog-api-key": "a-key"}, timeout=30) as client:
        yield client


def test_a_judge_refuses(published: Published) -> None:
    """A field that is not in the schema, a number for a string of digits, an unknown word."""
    judge = published.judge
    judge("BatchStats", {"requestCount": "1"})
    for wrong in ({"requests": "1"}, {"requestCount": 1}):
        with pytest.raises(AssertionError, match="BatchStats"):
            judge("BatchStats", wrong)
    with pytest.raises(AssertionError, match=r"InlinedResponse\.response\.candidates\.0:.*finish"):
        judge("InlinedResponse", {"response": {"candidates": [{"finish": "STOP"}]}})
    with pytest.raises(AssertionError, match="state"):
        judge("Operation", {"metadata": {"@type": f"{_PREFIX}GenerateContentBatch", "state": "JOB_STATE_PENDING"}})


def upload(http: httpx2.Client, published: Published, rows: list[dict[str, Any]]) -> str:
    data = b"".join(json.dumps({"key": str(n), "request": row}).encode() + b"\n" for n, row in enumerate(rows))
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    body = {"file": {"displayName": "in", "mimeType": "application/jsonl"}}
    url = http.post("/upload/v1beta/files", headers=headers, json=body).headers["X-Goog-Upload-URL"]
    headers = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0"}
    made = http.post(url, headers=headers, content=data).json()
    published.judge("CreateFileResponse", made)
    name: str = made["file"]["name"]
    return name


@pytest.mark.parametrize("inline", [False, True], ids=["file", "inline"])
@pytest.mark.parametrize("embed", [False, True], ids=["generate", "embed"])
def test_jobs(
    http: httpx2.Client, gemini_emulator: GeminiEmulator, published: Published, *, embed: bool, inline: bool
) -> None:
    """Every look at a job, from its creation to its results."""
    rows = [VECTOR] * 2 if embed else [{**TEXT, **row} for row in ROWS]
    if inline:
        source: dict[str, Any] = {
            "requests": {"requests": [{"request": row, "metadata": {"key": str(n)}} for n, row in enumerate(rows)]}
        }
    else:
        source = {"fileName": upload(http, published, rows)}
    gemini_emulator.pace(queue_delay=1, rows_per_second=1)
    method = f"{EMBEDDER}:asyncBatchEmbedContent" if embed else f"{MODEL}:batchGenerateContent"
    batch = {"displayName": "nightly", "priority": 3, "inputConfig": source}
    job = http.post(f"/v1beta/models/{method}", json={"batch": batch}).json()
    published.judge("Operation", job)
    states = [job["metadata"]["state"]]
    while not job.get("done"):
        gemini_emulator.advance(1)
        job = http.get(f"/v1beta/{job['name']}").json()
        published.judge("Operation", job)
        states.append(job["metadata"]["state"])
    assert list(dict.fromkeys(states)) == [f"BATCH_STATE_{one}" for one in ("PENDING", "RUNNING", "SUCCEEDED")]
    published.judge("ListOperationsResponse", http.get("/v1beta/batches").json())
    if not inline:
        data = http.get(f"/v1beta/{job['response']['responsesFile']}:download").content
        answers = [json.loads(line) for line in data.splitlines()]
        assert [one.pop("key") for one in answers] == [str(number) for number in range(len(rows))]
        assert [number for number, one in enumerate(answers) if "error" in one] == ([] if embed else [len(ROWS) - 1])
        for answer in answers:
            published.judge("InlinedEmbedContentResponse" if embed else "InlinedResponse", answer)


def test_jobs_that_end_otherwise(http: httpx2.Client, gemini_emulator: GeminiEmulator, published: Published) -> None:
    """Cancelled before it began, expired, and updated."""
    gemini_emulator.pace(queue_delay=100 * 3600)
    body = {"batch": {"inputConfig": {"requests": {"requests": [{"request": TEXT}]}}}}
    first, second = (http.post(f"/v1beta/models/{MODEL}:batchGenerateContent", json=body).json() for _ in range(2))
    assert http.post(f"/v1beta/{first['name']}:cancel").json() == {}
    path = f"/v1beta/{second['name']}:updateGenerateContentBatch"
    published.judge("GenerateContentBatch", http.patch(path, json={"displayName": "other"}).json())
    gemini_emulator.advance(48 * 3600)
    for job, state in ((first, "CANCELLED"), (second, "EXPIRED")):
        found = http.get(f"/v1beta/{job['name']}").json()
        published.judge("Operation", found)
        assert (found["done"], found["metadata"]["state"]) == (True, f"BATCH_STATE_{state}")


def test_all_other_answers(http: httpx2.Client, published: Published) -> None:
    """Files, models, and what is answered at once."""
    name = upload(http, published, [TEXT])
    published.judge("File", http.get(f"/v1beta/{name}").json())
    published.judge("ListFilesResponse", http.get("/v1beta/files").json())
    published.judge("ListModelsResponse", http.get("/v1beta/models").json())
    published.judge("Model", http.get(f"/v1beta/models/{MODEL}").json())
    for row in ROWS[:-1]:
        made = http.post(f"/v1beta/models/{MODEL}:generateContent", json={**TEXT, **row})
        published.judge("GenerateContentResponse", made.json())
        for chunk in http.post(f"/v1beta/models/{MODEL}:streamGenerateContent", json={**TEXT, **row}).json():
            published.judge("GenerateContentResponse", chunk)
    published.judge("CountTokensResponse", http.post(f"/v1beta/models/{MODEL}:countTokens", json=TEXT).json())
    published.judge("EmbedContentResponse", http.post(f"/v1beta/models/{EMBEDDER}:embedContent", json=VECTOR).json())
    many = {"requests": [{"model": f"models/{EMBEDDER}", **VECTOR}]}
    made = http.post(f"/v1beta/models/{EMBEDDER}:batchEmbedContents", json=many)
    published.judge("BatchEmbedContentsResponse", made.json())


def test_cached_contents(http: httpx2.Client, published: Published) -> None:
    """From their making to their use."""
    body = {"model": f"models/{MODEL}", "displayName": "a book", "contents": [{"parts": [{"text": "long" * 5000}]}]}
    cache = http.post("/v1beta/cachedContents", json=body).json()
    published.judge("CachedContent", cache)
    published.judge("CachedContent", http.get(f"/v1beta/{cache['name']}").json())
    published.judge("CachedContent", http.patch(f"/v1beta/{cache['name']}", json={"ttl": "9s"}).json())
    http.post("/v1beta/cachedContents", json=body)
    page = http.get("/v1beta/cachedContents?pageSize=1").json()
    assert page["nextPageToken"]
    published.judge("ListCachedContentsResponse", page)
    asked = {**TEXT, "cachedContent": page["cachedContents"][0]["name"]}
    answer = http.post(f"/v1beta/models/{MODEL}:generateContent", json=asked).json()
    assert answer["usageMetadata"]["cachedContentTokenCount"]
    published.judge("GenerateContentResponse", answer)
    chunks = http.post(f"/v1beta/models/{MODEL}:streamGenerateContent", json=asked).json()
    assert chunks[-1]["usageMetadata"] == answer["usageMetadata"]
    for chunk in chunks:
        published.judge("GenerateContentResponse", chunk)
    count = {"generateContentRequest": {"model": f"models/{MODEL}", **asked}}
    published.judge("CountTokensResponse", http.post(f"/v1beta/models/{MODEL}:countTokens", json=count).json())
    assert http.delete(f"/v1beta/{cache['name']}").json() == {}
