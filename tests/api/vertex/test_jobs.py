"""Batch prediction jobs, in the terms of the rest of the program."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from api.script import BASE, Script, ask, error
from gemini_batch.api.vertex import jobs, storage
from gemini_batch.errors import ServiceError
from gemini_batch.wire import Phase, read, remote_job

PARENT = "projects/my-project/locations/europe-west4"
NAME = f"{PARENT}/batchPredictionJobs/123"
BODY: dict[str, Any] = {
    "name": NAME,
    "displayName": "night of the 3rd",
    "model": "publishers/google/models/gemini-3-flash@default",
    "state": "JOB_STATE_SUCCEEDED",
    "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://bucket/folder/gb-1.jsonl"]}},
    "outputInfo": {"gcsOutputDirectory": "gs://bucket/folder/gb-1/prediction-model-2026-11-27T01:02:03.4Z"},
    "completionStats": {"successfulCount": "8", "failedCount": "1", "incompleteCount": "2"},
    "createTime": "2026-11-27T01:02:03.004Z",
    "endTime": "2026-11-27T02:02:03Z",
}


def seen(**changes: Any) -> Any:
    return remote_job(jobs.operation(read(json.dumps({**BODY, **changes}).encode(), jobs.PredictionJob)))


def test_a_job() -> None:
    job = seen()
    assert (job.name, job.display_name, job.model) == (NAME, "night of the 3rd", "gemini-3-flash")
    assert (job.state, job.phase) == ("JOB_STATE_SUCCEEDED", Phase.SUCCEEDED)
    assert (job.total, job.succeeded, job.failed, job.pending) == (11, 8, 1, 2)
    assert job.file_name == "gs://bucket/folder/gb-1.jsonl"
    assert job.output_file == "gs://bucket/folder/gb-1/prediction-model-2026-11-27T01:02:03.4Z"
    assert job.end_time is not None
    assert job.end_time - (job.create_time or 0) == pytest.approx(3600, abs=1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "JOB_STATE_QUEUED"}, {"phase": Phase.ALIVE}),
        ({"state": "JOB_STATE_PAUSED"}, {"phase": Phase.ALIVE}),
        ({"state": "JOB_STATE_CANCELLING"}, {"phase": Phase.ALIVE}),
        ({"state": "JOB_STATE_PARTIALLY_SUCCEEDED"}, {"phase": Phase.SUCCEEDED}),
        ({"state": "JOB_STATE_EXPIRED"}, {"phase": Phase.EXPIRED}),
        (
            {"state": "JOB_STATE_FAILED", "error": {"code": 3, "message": "no"}},
            {"error_code": 3, "error_message": "no"},
        ),
        ({"state": "JOB_STATE_NEW"}, {"phase": Phase.UNKNOWN}),
        ({"completionStats": {"successfulCount": "8", "incompleteCount": "-1"}}, {"total": 0, "succeeded": 8}),
        ({"completionStats": {}}, {"total": 0, "succeeded": 0}),
        ({"completionStats": None}, {"total": 0}),
        ({"outputInfo": {}}, {"output_file": None, "has_output": False}),
        ({"outputInfo": None}, {"output_file": None}),
        ({"inputConfig": {"gcsSource": {"uris": ["gs://bucket/1.jsonl", "gs://bucket/2.jsonl"]}}}, {"file_name": None}),
        ({"inputConfig": {"bigquerySource": {"inputUri": "bq://p.d.t"}}}, {"file_name": None}),
        (
            {"inputConfig": {"gcsSource": {"uris": ["gs://bucket/of-others.csv"]}}},
            {"file_name": "gs://bucket/of-others.csv"},
        ),
        ({"model": "projects/1/locations/l/publishers/google/models/gemini-3-pro"}, {"model": "gemini-3-pro"}),
    ],
)
def test_what_jobs_say(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    job = seen(**changes)
    assert {name: getattr(job, name) for name in expected} == expected


def test_a_create_is_sent_once() -> None:
    script = Script(httpx2.Response(200, json=BODY))

    async def question(client: Any) -> Any:
        return await jobs.create(
            client,
            PARENT,
            model="gemini-3-flash",
            display_name="n",
            source="gs://bucket/i.jsonl",
            prefix="gs://bucket/i",
        )

    assert ask(script, question).name == NAME
    (request,) = script.requests
    assert str(request.url) == f"{BASE}/v1beta/{PARENT}/batchPredictionJobs"
    assert json.loads(request.content) == {
        "displayName": "n",
        "model": "publishers/google/models/gemini-3-flash",
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["gs://bucket/i.jsonl"]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://bucket/i"}},
    }
    refused = Script(error(503, "UNAVAILABLE"))
    with pytest.raises(ServiceError):
        ask(refused, question)
    assert refused.played


def test_the_service_may_name_the_project_by_its_number() -> None:
    script = Script(httpx2.Response(200, json={**BODY, "name": NAME.replace("my-project", "4711")}))
    assert ask(script, lambda client: jobs.get(client, NAME)).name == NAME


@pytest.mark.parametrize("name", ["", "batches/123x y", NAME.replace("123", "124")])
def test_an_answer_about_another_job_is_none(name: str) -> None:
    with pytest.raises(ServiceError) as caught:
        ask(Script(httpx2.Response(200, json={**BODY, "name": name})), lambda client: jobs.get(client, NAME))
    assert caught.value.reason_code == "unreadable_answer"


def test_a_list_is_read_to_its_end() -> None:
    script = Script(
        httpx2.Response(200, json={"batchPredictionJobs": [BODY], "nextPageToken": "t"}),
        httpx2.Response(200, json={"batchPredictionJobs": [{**BODY, "name": f"{NAME}4"}]}),
    )

    async def question(client: Any) -> list[str]:
        return [one.name async for page in jobs.listing(client, PARENT) for one in page]

    assert ask(script, question) == [NAME, f"{NAME}4"]
    assert [request.url.params.get("pageToken") for request in script.requests] == [None, "t"]


def test_a_list_in_part_is_none() -> None:
    script = Script(httpx2.Response(200, json={"batchPredictionJobs": "no list"}))

    async def question(client: Any) -> list[str]:
        return [one.name async for page in jobs.listing(client, PARENT) for one in page]

    with pytest.raises(ServiceError):
        ask(script, question)


@pytest.mark.parametrize(
    ("names", "answers"),
    [
        (["predictions.jsonl"], 1),
        (["a/predictions_1.jsonl", "a/predictions_2.jsonl"], 2),
        (["predictions.jsonl-00000-of-00002", "predictions.jsonl-00001-of-00002", "errors.txt"], 2),
        (["predictions.jsonl", "incremental_predictions.jsonl"], 1),
        (["incremental_predictions.jsonl", "x.jsonl.tmp", "schema.json"], 1),
        (["x.txt"], 0),
        ([], 0),
    ],
)
def test_which_objects_hold_answers(names: list[str], answers: int) -> None:
    """The first ``answers`` of the names do."""
    found = jobs.answer_files(storage.StoredObject(bucket="b", name=f"out/{name}") for name in names)
    assert [one.name for one in found] == [f"out/{name}" for name in names[:answers]]
