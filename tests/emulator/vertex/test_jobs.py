"""Batch prediction jobs, as Vertex AI shows them."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from emulator.vertex.cloud import BEARER, MODEL, labels, row
from gemini_batch.emulator.vertex import staging

if TYPE_CHECKING:
    from emulator.vertex.cloud import Caller


def error(answer: Any) -> tuple[int, str, str]:
    found = answer.json()["error"]
    assert found["code"] == answer.status_code
    return answer.status_code, found["status"], found["message"]


def test_a_job_from_its_creation_to_its_end(own: Caller) -> None:
    """It waits, runs and succeeds; counts are strings, and fields without a value are left out."""
    own.world.batches.queue_delay, own.world.batches.rows_per_second = 3600, 0.01
    own.put("in.jsonl", b"\n".join(json.dumps(row(f"row-{number}")).encode() for number in range(20)))
    made = own.create(own.body(f"gs://{own.bucket}/in.jsonl", labels={"team": "a"})).json()
    assert re.fullmatch(r"projects/a-project/locations/us-central1/batchPredictionJobs/[1-9]\d{18}", made["name"])
    assert made.keys() == {
        *("name", "displayName", "model", "inputConfig", "outputConfig", "labels", "state", "createTime"),
        "updateTime",
    }
    assert (made["model"], made["state"], made["labels"]) == (MODEL, "JOB_STATE_PENDING", {"team": "a"})
    job = f"/v1beta1/{made['name']}"
    assert own.state(job) == "QUEUED"
    own.world.clock.advance(3600 + 1000)
    running = own.get(job)
    assert running["state"] == "JOB_STATE_RUNNING"
    assert running["completionStats"] == {"successfulCount": "10", "incompleteCount": "10"}
    assert "outputInfo" not in running
    assert "endTime" not in running
    own.world.clock.advance(1000)
    ended = own.ended(job)
    assert ended["state"] == "JOB_STATE_SUCCEEDED"
    assert ended["completionStats"] == {"successfulCount": "20"}
    assert ended["createTime"] < ended["startTime"] < ended["endTime"]
    folder = ended["outputInfo"]["gcsOutputDirectory"]
    assert re.fullmatch(r"gs://a-bucket/out/prediction-model-2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", folder)
    assert own.names(prefix="out/") == [f"{folder.removeprefix('gs://a-bucket/')}/predictions.jsonl"]


def test_the_rows_of_an_output(cloud: Caller) -> None:
    """Out of order, with the request and without a key; a failed row says why in its status."""
    sent = [row(f"row-{number}", key="a-key", note="kept back") for number in range(8)]
    sent.append({"request": {"contents": [{"parts": [{"text": "whose?"}]}], "labels": {"id": "no-role"}}})
    sent.append({"request": {**row("odd")["request"], "thinking": True}})
    found = cloud.rows(cloud.begin(*sent))
    assert labels(found) != [one["request"]["labels"]["id"] for one in sent]
    by_label = {one["request"]["labels"]["id"]: one for one in found}
    for one in sent[:8]:
        answer = by_label[one["request"]["labels"]["id"]]
        assert list(answer) == ["status", "processed_time", "request", "response"]
        assert (answer["status"], answer["request"]) == ("", one["request"])
        assert answer["response"]["candidates"][0]["content"]["role"] == "model"
        assert dt.datetime.fromisoformat(answer["processed_time"]).utcoffset() == dt.timedelta(0)
    refused = by_label["no-role"]
    assert refused["status"] == (
        'Bad Request: {"error": {"code": 400, "message": "Please use a valid role: user, model.", '
        '"status": "INVALID_ARGUMENT"}}'
    )
    assert refused["response"] == {}
    assert "thinking" in by_label["odd"]["status"]


def test_embeddings_keep_their_key(cloud: Caller) -> None:
    sent = [{"key": f"k{number}", "request": {"content": {"parts": [{"text": "one"}]}}} for number in range(3)]
    found = cloud.rows(cloud.begin(*sent, model="publishers/google/models/gemini-embedding-001"))
    assert {one["key"] for one in found} == {"k0", "k1", "k2"}
    assert all(one["response"]["embedding"]["values"] for one in found)


def test_several_inputs(cloud: Caller) -> None:
    """All objects that are named, also by a pattern. One that is not there is a partial failure."""
    for name in ("in/1.jsonl", "in/2.jsonl", "other.jsonl"):
        cloud.put(name, json.dumps(row(name[-7:-6])).encode() + b"\n\n")
    uris = [f"gs://{cloud.bucket}/{name}" for name in ("in/*.jsonl", "other.jsonl", "gone.jsonl")]
    job = f"/v1/{cloud.create(cloud.body(*uris)).json()['name']}"
    ended = cloud.ended(job)
    assert ended["state"] == "JOB_STATE_PARTIALLY_SUCCEEDED"
    assert ended["partialFailures"] == [{"code": 5, "message": f"The input {uris[2]} was not found."}]
    assert sorted(labels(cloud.rows(job))) == ["1", "2", "r"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "was not found"),
        (b"\n \n", "no requests"),
        (b'{"request": {}}\n{"request"\n', "line 2 cannot be read"),
        (b'{"contents": []}\n', "line 1 has no object 'request'"),
    ],
)
def test_an_input_that_cannot_be_read(cloud: Caller, data: bytes | None, said: str) -> None:
    """The job is created, and fails with a reason."""
    if data is not None:
        cloud.put("in.jsonl", data)
    made = cloud.create(cloud.body(f"gs://{cloud.bucket}/in.jsonl"))
    assert made.status_code == 200
    ended = cloud.ended(f"/v1/{made.json()['name']}")
    assert ended["state"] == "JOB_STATE_FAILED"
    assert said in ended["error"]["message"]
    assert "outputInfo" not in ended


def test_too_many_rows(cloud: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(staging.MOST_ROWS, "generate", 2)
    ended = cloud.ended(cloud.begin(row("1"), row("2"), row("3")))
    assert ended["error"] == {"code": 3, "message": "The input has more than 2 requests."}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": ""}, "Missing required field: model"),
    "an odd model": ({"model": "gemini-3.8-flash"}, "Invalid resource field value"),
    "an unknown model": ({"model": "publishers/google/models/gemini-0"}, "Do not support publisher model gemini-0"),
    "another publisher": ({"model": "publishers/meta/models/llama"}, "Do not support publisher model llama"),
    "no name": ({"displayName": ""}, "display_name"),
    "a long name": ({"displayName": "x" * 129}, "128 characters"),
    "an unknown field": ({"webhookConfig": {}}, "Unknown name \"webhookConfig\" at 'batch_prediction_job'"),
    "a wrong type": ({"labels": {"a": 1}}, "Invalid value at 'batch_prediction_job.labels'"),
    "no input": ({"inputConfig": {}}, "input_config.instances_format"),
    "an unknown format": ({"inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://b/x"]}}}, "csv"),
    "a source of another kind": (
        {"inputConfig": {"instancesFormat": "jsonl", "bigquerySource": {"inputUri": "bq://p.d.t"}}},
        "gcsSource must be set",
    ),
    "no object": (
        {"inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": ["x.jsonl"]}}},
        "gs://bucket/object",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_create_that_is_refused(cloud: Caller, name: str) -> None:
    changes, said = BAD[name]
    answer = cloud.create({**cloud.body(f"gs://{cloud.bucket}/in.jsonl"), **changes})
    assert error(answer)[:2] == (400, "INVALID_ARGUMENT")
    assert said in error(answer)[2]
    assert cloud.http.get(cloud.jobs, headers=BEARER).json() == {}


def test_an_unknown_name_has_its_path(cloud: Caller) -> None:
    """In the details, as protobuf's JSON mapping says it; snake_case is understood."""
    body = cloud.body(f"gs://{cloud.bucket}/in.jsonl")
    body["input_config"] = {**body.pop("inputConfig"), "gcs_source": {"uri": "gs://b/x"}}
    (violation,) = cloud.create(body).json()["error"]["details"][0]["fieldViolations"]
    assert violation == {
        "field": "batch_prediction_job.input_config.gcs_source",
        "description": 'Invalid JSON payload received. Unknown name "uri" at '
        "'batch_prediction_job.input_config.gcs_source': Cannot find field.",
    }


def test_a_bucket_that_is_not_there(cloud: Caller) -> None:
    for body in (
        cloud.body("gs://no-such-bucket/in.jsonl"),
        cloud.body(
            f"gs://{cloud.bucket}/in.jsonl",
            outputConfig={"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://no-such-bucket"}},
        ),
    ):
        status, reason, said = error(cloud.create(body))
        assert (status, reason) == (400, "FAILED_PRECONDITION")
        assert "no-such-bucket" in said


@pytest.mark.parametrize("name", ["projects/p/locations/l/publishers/google/models/gemini-3.8-flash", MODEL + "-001"])
def test_names_of_models(cloud: Caller, name: str) -> None:
    """Full names, and versions of a model; the job shows what was given."""
    assert cloud.get(cloud.begin(row("1"), model=name))["model"] == name


def test_who_may_call(cloud: Caller) -> None:
    """A token is needed, a key is none, and nothing of the token is stored."""
    assert error(cloud.http.get(cloud.jobs))[:2] == (401, "UNAUTHENTICATED")
    assert error(cloud.http.get(cloud.jobs, headers={"Authorization": "Basic eA=="}))[:2] == (401, "UNAUTHENTICATED")
    keyed = cloud.http.get(cloud.jobs, headers={"x-goog-api-key": "a-key"})
    assert "API keys are not supported" in error(keyed)[2]
    assert cloud.http.get(cloud.jobs.replace("/v1/", "/v1beta/"), headers=BEARER).status_code == 404
    cloud.begin(row("1"))
    database = cloud.world.store.folder.glob("emulator.db*")
    assert not any(b"a-token" in path.read_bytes() for path in database)


def test_jobs_belong_to_a_project_and_a_location(cloud: Caller) -> None:
    job = cloud.begin(row("1"))
    for other in (job.replace("us-central1", "europe-west4"), job.replace(cloud.project, "another")):
        assert error(cloud.http.get(other, headers=BEARER))[:2] == (404, "NOT_FOUND")
    assert cloud.http.get(f"/v1beta/batches/{job.rpartition('/')[2]}", params={"key": "k"}).status_code == 404


def test_lists(cloud: Caller) -> None:
    """Newest first, in pages, filtered."""
    made = [cloud.begin(row("1"), displayName=f"genai_{number}")[4:] for number in range(3)]
    other = cloud.begin(row("1"), displayName="other", labels={"team": "b"})[4:]
    for job in (*made, other):
        cloud.ended(f"/v1/{job}")

    def listed(**query: Any) -> list[str]:
        answer = cloud.http.get(cloud.jobs, params=query, headers=BEARER)
        assert answer.status_code == 200, answer.text
        found, token = answer.json(), answer.json().get("nextPageToken")
        names = [one["name"] for one in found.get("batchPredictionJobs", ())]
        return [*names, *(listed(**{**query, "pageToken": token}) if token else [])]

    newest = [other, *reversed(made)]
    assert listed() == listed(pageSize=1) == listed(pageSize=3) == newest
    assert listed(filter='display_name:"genai_*"', pageSize=2) == newest[1:]
    assert listed(filter='displayName="other" AND state="JOB_STATE_SUCCEEDED"') == [other]
    assert listed(filter='displayName!="other" AND createTime>"2020-01-01T00:00:00Z"') == newest[1:]
    assert listed(filter="labels.team=b") == listed(filter="labels.team:*") == [other]
    assert listed(filter='state="JOB_STATE_FAILED"') == []
    for wrong in ("owner=me", "displayName", 'state:"X"', 'displayName="a" OR state="b"', "createTime>yesterday"):
        answer = cloud.http.get(cloud.jobs, params={"filter": wrong}, headers=BEARER)
        assert error(answer)[:2] == (400, "INVALID_ARGUMENT"), wrong
    masked = cloud.http.get(cloud.jobs, params={"readMask": "name,create_time"}, headers=BEARER).json()
    assert masked["batchPredictionJobs"][0].keys() == {"name", "createTime"}


def test_cancelling(own: Caller) -> None:
    """Before it runs, a job has no output; while it runs, what is done is written. Nobody cancels twice."""
    own.world.batches.queue_delay, own.world.batches.rows_per_second = 3600, 1
    waiting, running = (own.begin(*(row(str(number)) for number in range(100))) for _ in range(2))
    assert own.http.post(f"{waiting}:cancel", headers=BEARER).json() == {}
    ended = own.ended(waiting)
    assert ended["state"] == "JOB_STATE_CANCELLED"
    assert ended["error"]["code"] == 1
    assert not ended.keys() & {"outputInfo", "startTime", "completionStats"}
    own.world.clock.advance(3600 + 10)
    assert own.state(running) == "RUNNING"
    refused = own.http.delete(running, headers=BEARER)
    assert error(refused)[:2] == (400, "FAILED_PRECONDITION")
    own.http.post(f"{running}:cancel", json={}, headers=BEARER)
    ended = own.ended(running)
    done = len(own.rows(running))
    assert 10 <= done < 100
    assert ended["state"] == "JOB_STATE_CANCELLED"
    assert ended["completionStats"] == {"successfulCount": str(done), "incompleteCount": str(100 - done)}
    assert error(own.http.post(f"{running}:cancel", headers=BEARER))[:2] == (400, "FAILED_PRECONDITION")


def test_expiry(own: Caller) -> None:
    """After three days in the queue; or after a day of running, with what was done by then."""
    own.world.batches.rows_per_second = 1 / 3600
    slow = own.begin(*(row(str(number)) for number in range(40)))
    own.world.batches.queue_delay = 100 * 3600
    waiting = own.begin(row("1"))
    own.world.clock.advance(25 * 3600)
    ended = own.ended(slow)
    assert (ended["state"], len(own.rows(slow))) == ("JOB_STATE_EXPIRED", 24)
    own.world.clock.advance(46 * 3600)
    assert own.state(waiting) == "QUEUED"
    own.world.clock.advance(2 * 3600)
    assert "outputInfo" not in own.ended(waiting)
    assert own.state(waiting) == "EXPIRED"


def test_deleting(cloud: Caller) -> None:
    """The answer is an operation that is done; the output stays."""
    job = cloud.begin(row("1"))
    folder = cloud.ended(job)["outputInfo"]["gcsOutputDirectory"].removeprefix(f"gs://{cloud.bucket}/")
    done = cloud.http.delete(job, headers=BEARER).json()
    assert re.fullmatch(rf"projects/{cloud.project}/locations/us-central1/operations/\d{{19}}", done["name"])
    assert done["done"]
    assert cloud.http.get(job, headers=BEARER).status_code == 404
    assert cloud.http.get(cloud.jobs, headers=BEARER).json() == {}
    assert len(cloud.names(prefix=folder)) == 1


def test_the_account(cloud: Caller) -> None:
    """What was paid, by the labels of rows."""
    cloud.ended(cloud.begin(row("paid-once"), row("paid-twice"), row("paid-twice")))
    account = cloud.http.get("/emulator/accounting", params={"keys": "true"}).json()
    assert [account["keys"][f"paid-{often}"] for often in ("once", "twice")] == [1, 2]
    (job,) = [one for one in account["jobs"] if one["project"] == f"projects/{cloud.project}/locations/us-central1"]
    assert (job["paid"], job["state"]) == (3, "SUCCEEDED")


def test_files_in_rows(cloud: Caller) -> None:
    """An object of a bucket of the emulator is there; another is not."""
    cloud.put("a.png", b"x")

    def with_file(name: str) -> dict[str, Any]:
        part = {"fileData": {"fileUri": f"gs://{cloud.bucket}/{name}", "mimeType": "image/png"}}
        return {"request": {"contents": [{"role": "user", "parts": [part]}], "labels": {"id": name}}}

    found = cloud.rows(cloud.begin(with_file("a.png"), with_file("b.png")))
    assert {one["request"]["labels"]["id"]: bool(one["status"]) for one in found} == {"a.png": False, "b.png": True}


def test_a_destination_that_went_away(own: Caller) -> None:
    own.world.batches.queue_delay = 60
    own.http.post("/storage/v1/b", json={"name": "results"})
    target = {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": "gs://results"}}
    job = own.begin(row("1"), outputConfig=target)
    assert own.http.delete("/storage/v1/b/results").status_code == 204
    own.world.clock.advance(60)
    assert own.ended(job)["error"]["message"] == "The specified bucket does not exist."
    assert own.state(job) == "FAILED"
