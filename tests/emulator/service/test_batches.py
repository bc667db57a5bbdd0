"""The Batch API over plain HTTP."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import EMBEDDER, MODEL, line, lines, results_of

if TYPE_CHECKING:
    from emulator.conftest import Api

TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."
#: A row that passes the check of the file and fails when it is its turn.
SPEECHLESS = b'{"key":"b","request":{"contents":[{"parts":[]}]}}'


def inline(text: str, **metadata: str) -> dict[str, Any]:
    """One inline request."""
    item: dict[str, Any] = {"request": {"contents": [{"parts": [{"text": text}]}]}}
    return item | ({"metadata": metadata} if metadata else {})


def test_a_batch_from_a_file(world: Api) -> None:
    """The operation at its start and at its end, field by field."""
    file = world.upload(lines(3))
    made = world.http.post(
        f"/v1beta/models/{MODEL}:batchGenerateContent",
        json={"batch": {"displayName": "nightly", "inputConfig": {"fileName": file}}},
    ).json()
    name = made["name"]
    assert re.fullmatch(r"batches/[a-z0-9]{36}", name)
    created = made["metadata"]["createTime"]
    assert made == {
        "name": name,
        "metadata": {
            "@type": f"{TYPE}GenerateContentBatch",
            "model": f"models/{MODEL}",
            "displayName": "nightly",
            "inputConfig": {"fileName": file},
            "createTime": created,
            "updateTime": created,
            "batchStats": {"requestCount": "3", "pendingRequestCount": "3"},
            "state": "BATCH_STATE_PENDING",
            "name": name,
        },
    }
    output = {"responsesFile": name.replace("batches/", "files/batch-")}
    done = world.finish(name)
    ended = done["metadata"]["endTime"]
    assert done == {
        "name": name,
        "metadata": {
            **made["metadata"],
            "output": output,
            "endTime": ended,
            "updateTime": ended,
            "batchStats": {"requestCount": "3", "successfulRequestCount": "3"},
            "state": "BATCH_STATE_SUCCEEDED",
        },
        "done": True,
        "response": {"@type": f"{TYPE}GenerateContentBatchOutput", **output},
    }


def test_the_output_file(world: Api) -> None:
    """Compact lines in the order of the input, the key last."""
    name = world.begin(line("a") + b"\n" + SPEECHLESS + b"\n\n" + line("c"))
    url = f"/v1/{world.finish(name)['response']['responsesFile']}:download?alt=media"
    first, second, third = world.http.get(url).content.splitlines()
    assert first.startswith(b'{"response":{"candidates":[{"content":{"parts":[{"text":')
    assert first.endswith(b',"key":"a"}')
    assert second.startswith(b'{"error":{"code":3,"message":')
    assert json.loads(third)["key"] == "c"
    assert world.get(name)["metadata"]["batchStats"] == {
        "requestCount": "3",
        "successfulRequestCount": "2",
        "failedRequestCount": "1",
    }


def test_an_inline_batch(world: Api) -> None:
    """Results stand in the operation twice, with the metadata that was sent."""
    name = world.begin(
        [inline("one", key="1"), inline("two"), {"request": {"contents": [{"parts": []}]}, "metadata": {"key": "3"}}]
    )
    done = world.finish(name)
    output = done["metadata"]["output"]
    assert done["response"] == {"@type": f"{TYPE}GenerateContentBatchOutput", **output}
    answers = output["inlinedResponses"]["inlinedResponses"]
    assert [item.get("metadata") for item in answers] == [{"key": "1"}, None, {"key": "3"}]
    assert "one" in answers[0]["response"]["candidates"][0]["content"]["parts"][0]["text"]
    assert answers[2]["error"]["code"] == 3
    assert "inputConfig" not in done["metadata"]


@pytest.mark.parametrize("as_file", [True, False])
def test_embeddings(world: Api, as_file: bool) -> None:
    """Unit vectors of the dimension asked for, the model's own where none is; equal texts have equal vectors."""
    requests: list[dict[str, Any]] = [
        {"content": {"parts": [{"text": "the quick brown fox"}]}, "outputDimensionality": 64},
        {"content": {"parts": [{"text": "the quick brown fox"}]}, "embedContentConfig": {"outputDimensionality": 64}},
        {"content": {"parts": [{"text": "an unrelated thing"}]}, "output_dimensionality": 64, "taskType": "CLUSTERING"},
        {"content": {"parts": [{"text": "the quick brown fox"}]}},
        {"content": {"parts": [{"text": "too wide"}]}, "outputDimensionality": 10_000},
    ]
    if as_file:
        rows = b"\n".join(json.dumps({"key": str(n), "request": one}).encode() for n, one in enumerate(requests))
        found = world.results(world.begin(rows, embed=True))
    else:
        done = world.finish(world.begin([{"request": one} for one in requests], embed=True))
        assert done["metadata"]["@type"] == f"{TYPE}EmbedContentBatch"
        assert done["response"]["@type"] == f"{TYPE}EmbedContentBatchOutput"
        found = done["response"]["inlinedResponses"]["inlinedResponses"]
    one, same, unlike, full = (item["response"]["embedding"]["values"] for item in found[:4])
    assert one == same
    assert (len(one), len(full)) == (64, 3072)
    for values in (one, unlike, full):
        assert sum(value * value for value in values) == pytest.approx(1)
    assert sum(a * b for a, b in zip(one, unlike, strict=True)) < 0.8
    assert found[4]["error"]["code"] == 3


def test_each_wrong_line_is_named(world: Api) -> None:
    """400 before anything is made, with the line, the column and the name."""
    wrong = b'{"key":"b","request":{"contents":[],"thinking_config":{}}}'
    refused = world.create(b"\n".join([line("a"), wrong, b"", b"nope", line("c"), b'{"key":7,"request":{}}']))
    assert refused.status_code == 400
    assert refused.json() == {
        "error": {
            "code": 400,
            "message": "Error on line 2: invalid JSON, near column 37: no such field: 'thinking_config'\n"
            "Error on line 4: invalid JSON, near column 1: expecting value\n"
            "Error on line 6: invalid JSON, near column 2: invalid value for string field key",
            "status": "INVALID_ARGUMENT",
        }
    }
    assert world.http.get("/v1beta/batches").json() == {}


def test_an_unknown_name_in_an_inline_request(world: Api) -> None:
    """The path in proto spelling, and BadRequest details."""
    item = inline("x")
    item["request"]["generationConfig"] = {"thinkingConfig": {}, "colour": "red"}
    error = world.create([item]).json()["error"]
    where = "batch.input_config.requests.requests[0].request.generation_config"
    text = f"Invalid JSON payload received. Unknown name \"colour\" at '{where}': Cannot find field."
    assert error == {
        "code": 400,
        "message": text,
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{"field": where, "description": text}],
            }
        ],
    }


def test_lenient_bodies(world: Api) -> None:
    """What the official clients and the documentation's samples really send."""
    body = """
    {'batch': {'display_name': 'it\\'s', 'input_config': {'requests': {'requests': [{
        'request': {
            'contents': [{'parts': [{'text': 'x'}]}],
            'generation_config': {'topK': 5.0, 'thinkingConfig': {'include_thoughts': true}},
        },
        'metadata': {'some_key': 'v', 'someKey': 'w'}
    },]}}}}"""
    made = world.http.post(f"/v1/models/{MODEL}:batchGenerateContent", content=body)
    assert made.status_code == 200, made.text
    assert made.json()["metadata"]["displayName"] == "it's"
    (answer,) = world.finish(made.json()["name"])["response"]["inlinedResponses"]["inlinedResponses"]
    assert answer["metadata"] == {"some_key": "v", "someKey": "w"}
    assert answer["response"]["candidates"][0]["content"]["parts"][0]["thought"] is True


def test_what_is_beside_key_and_request_is_ignored(world: Api) -> None:
    """``config`` has no effect, ``custom_id`` is no key, a bare request is a row without a key."""
    odd = {
        "custom_id": "x",
        "config": {"max_output_tokens": 1},
        "metadata": 3,
        "request": json.loads(line(""))["request"],
    }
    first, second = results_of(world, [json.dumps(odd).encode(), b'{"contents":{"parts":{"text":"bare"}}}'])
    assert set(first) == {"response"}
    assert first["response"]["candidates"][0]["finishReason"] == "STOP"
    assert "bare" in second["response"]["candidates"][0]["content"]["parts"][0]["text"]


@pytest.mark.parametrize(
    ("request_part", "message"),
    [
        (
            {"cachedContent": "cachedContents/x", "systemInstruction": {"parts": [{"text": "s"}]}},
            "CachedContent can not",
        ),
        ({"systemInstruction": {"parts": []}}, "must not be empty"),
        ({"contents": [{"parts": [{"text": "a", "inlineData": {"data": ""}}]}]}, "oneof"),
    ],
)
def test_clashes_are_refused(world: Api, request_part: dict[str, Any], message: str) -> None:
    """Known fields that do not go together, in a file and inline."""
    request = {"contents": [{"parts": [{"text": "x"}]}], **request_part}
    for source in (json.dumps({"key": "a", "request": request}).encode(), [{"request": request}]):
        refused = world.create(source)
        assert refused.status_code == 400
        assert message in refused.json()["error"]["message"]


def test_a_body_over_20_mib_is_refused(world: Api) -> None:
    """With the number of bytes."""
    refused = world.create([inline("x" * 21_000_000)])
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == "Request payload size exceeds the limit: 20971520 bytes."


def test_models_that_can_not_do_it(world: Api) -> None:
    """Unknown, or made for something else: 404 in the service's words."""
    file = world.upload(lines(1))
    for model, method in (
        ("nope", "batchGenerateContent"),
        (EMBEDDER, "batchGenerateContent"),
        (MODEL, "asyncBatchEmbedContent"),
    ):
        refused = world.http.post(
            f"/v1beta/models/{model}:{method}", json={"batch": {"inputConfig": {"fileName": file}}}
        )
        assert refused.status_code == 404
        assert refused.json()["error"]["message"] == (
            f"models/{model} is not found for API version v1beta, or is not supported for {method}. "
            "Call ListModels to see the list of available models and their supported methods."
        )


def test_input_files_that_are_not_ours(world: Api, other: Api) -> None:
    """403, as for every file."""
    body = {"batch": {"inputConfig": {"fileName": world.upload(lines(1))}}}
    assert other.http.post(f"/v1/models/{MODEL}:batchGenerateContent", json=body).status_code == 403
    assert world.http.post(f"/v1/models/{MODEL}:batchGenerateContent", json={"batch": {}}).status_code == 400
    assert world.create(b"\n\n").status_code == 400


def test_without_a_key(world: Api) -> None:
    """403; a key in the query is as good as one in the header."""
    url = f"{str(world.http.base_url).rstrip('/')}/v1/batches"
    refused = httpx2.get(url)
    assert (refused.status_code, refused.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert "unregistered callers" in refused.json()["error"]["message"]
    world.begin(lines(1))
    assert len(httpx2.get(url, params={"key": "a-key"}).json()["operations"]) == 1


def test_projects_do_not_see_each_other(world: Api, other: Api) -> None:
    """A foreign batch is not found, its output neither."""
    name = world.begin(lines(1))
    file = world.finish(name)["response"]["responsesFile"]
    for method, path in (("GET", name), ("POST", f"{name}:cancel"), ("DELETE", name), ("GET", f"{file}:download")):
        refused = other.http.request(method, f"/v1/{path}")
        assert (refused.status_code, refused.json()["error"]["status"]) == (404, "NOT_FOUND")
        assert refused.json()["error"]["message"] == "Requested entity was not found."
    assert other.http.get("/v1/batches").json() == {}


def test_no_key_is_ever_stored(world: Api) -> None:
    """Not in the database, not in any file."""
    world.finish(world.begin(lines(1)))
    for path in world.world.store.folder.rglob("*"):
        if path.is_file():
            assert b"a-key" not in path.read_bytes()


def test_lists_come_in_pages_newest_first(world: Api) -> None:
    """Also while batches are being made."""
    names = [world.begin([inline("x")]) for _ in range(5)][::-1]
    first = world.http.get("/v1/batches?pageSize=2").json()
    world.begin([inline("new")])
    second = world.http.get("/v1/batches", params={"page_size": 10, "page_token": first["nextPageToken"]}).json()
    assert [one["name"] for one in first["operations"] + second["operations"]] == names
    assert "nextPageToken" not in second


def test_deleting(world: Api) -> None:
    """A deleted batch is not found, nor is its output; nothing of it stays on the disk but the input file."""
    name = world.begin(lines(2))
    file = world.finish(name)["response"]["responsesFile"]
    assert world.http.delete(f"/v1/{name}").json() == {}
    assert world.http.get(f"/v1/{name}").status_code == 404
    assert world.http.delete(f"/v1/{name}").status_code == 404
    gone = world.http.get(f"/v1/{file}:download?alt=media")
    assert (gone.status_code, gone.json()["error"]["status"]) == (404, "NOT_FOUND")
    # What is left beside the input is the note of who was paid for.
    assert {path.name[:5] for path in world.world.store.blobs.iterdir()} == {"file-", "paid-"}
    assert world.http.get("/emulator/accounting").json()["totals"]["paid"] == 2


def test_a_batch_outlives_its_input_file(world: Api) -> None:
    """Deleting the file after the batch was made changes nothing."""
    file = world.upload(lines(2))
    body = {"batch": {"inputConfig": {"fileName": file}}}
    name = world.http.post(f"/v1/models/{MODEL}:batchGenerateContent", json=body).json()["name"]
    world.http.delete(f"/v1/{file}")
    assert [one["key"] for one in world.results(name)] == ["row-0", "row-1"]


def test_updating(world: Api) -> None:
    """Name and priority; the answer is the batch, not an operation."""
    name = world.begin(lines(1), displayName="old")
    url = f"/v1beta/{name}:updateGenerateContentBatch"
    changed = world.http.patch(
        url, params={"updateMask": "displayName,priority"}, json={"display_name": "new", "priority": "-5"}
    )
    assert changed.status_code == 200
    assert (changed.json()["displayName"], changed.json()["priority"], changed.json()["name"]) == ("new", "-5", name)
    assert "metadata" not in changed.json()
    assert world.http.patch(url, params={"updateMask": "priority"}, json={}).json().get("priority") is None
    assert world.get(name)["metadata"]["displayName"] == "new"
    assert world.http.patch(url, params={"updateMask": "state"}, json={}).status_code == 400
    assert world.http.patch(url.replace("Generate", "Embed"), json={}).status_code == 404


def test_media_that_is_not_there(world: Api) -> None:
    """A row with a missing file is refused, its neighbours are not."""
    there = world.http.get(f"/v1/{world.upload(b'png', mime_type='image/png')}").json()["uri"]
    rows = [
        json.dumps({"key": uri[-1], "request": {"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]}}).encode()
        for uri in (there, there.rpartition("/")[0] + "/gone")
    ]
    found = results_of(world, rows)
    assert "response" in found[0]
    assert found[1]["error"]["code"] == 3


def test_accounting(world: Api, other: Api) -> None:
    """Rows processed and paid, by job and by project."""
    world.finish(world.begin(line("a") + b"\n" + SPEECHLESS, displayName="d"))
    other.begin([inline("x")])
    seen = world.http.get("/emulator/accounting").json()
    assert seen["totals"].items() >= {"jobs": 2, "rows": 3, "processed": 2, "paid": 1, "failed": 1}.items()
    assert sorted(seen["projects"].values()) == [1, 1]
    assert [(job["displayName"], job["state"], job["paid"]) for job in seen["jobs"]] == [
        ("d", "SUCCEEDED", 1),
        ("", "PENDING", 0),
    ]


def test_unknown_places(world: Api) -> None:
    """404 in JSON, whatever was asked for."""
    for path in ("/v2/batches", "/v1/nothing", "/", "/v1/batches/x:explode"):
        refused = world.http.get(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, 404)
