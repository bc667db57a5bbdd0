"""The stand-in for BigQuery: tables as the input and the output of jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from emulator.vertex.cloud import BEARER, row

if TYPE_CHECKING:
    import httpx2

    from emulator.vertex.cloud import Caller

COLUMNS = [
    {"name": "id", "type": "INTEGER"},
    {"name": "request", "type": "JSON"},
    {"name": "tags", "type": "STRING", "mode": "REPEATED"},
    {"name": "at", "type": "TIMESTAMP"},
]


def _base(cloud: Caller) -> str:
    return f"/bigquery/v2/projects/{cloud.project}/datasets"


def _table(cloud: Caller, *rows: dict[str, Any]) -> httpx2.Response:
    """A dataset with a table of these rows; the answer to their insertion."""
    cloud.http.post(_base(cloud), json={"datasetReference": {"datasetId": "d"}})
    made = cloud.http.post(
        f"{_base(cloud)}/d/tables", json={"tableReference": {"tableId": "t"}, "schema": {"fields": COLUMNS}}
    )
    assert made.status_code == 200, made.text
    return cloud.http.post(f"{_base(cloud)}/d/tables/t/insertAll", json={"rows": [{"json": one} for one in rows]})


def test_what_is_no_plain_table(cloud: Caller) -> None:
    """It is not made into an empty table."""
    cloud.http.post(_base(cloud), json={"datasetReference": {"datasetId": "d"}})
    for field in ("view", "materializedView", "externalDataConfiguration"):
        asked = {"tableReference": {"tableId": field}, field: {"query": "SELECT 1"}}
        refused = cloud.http.post(f"{_base(cloud)}/d/tables", json=asked)
        assert (refused.status_code, field in refused.text) == (501, True)
        assert cloud.http.get(f"{_base(cloud)}/d/tables/{field}").status_code == 404


def _job(cloud: Caller, target: str) -> dict[str, Any]:
    body = cloud.body(
        inputConfig={"instancesFormat": "bigquery", "bigquerySource": {"inputUri": f"bq://{cloud.project}.d.t"}},
        outputConfig={"predictionsFormat": "bigquery", "bigqueryDestination": {"outputUri": target}},
    )
    made = cloud.create(body)
    assert made.status_code == 200, made.text
    return cloud.ended(f"/v1/{made.json()['name']}")


def test_rows_of_a_table(cloud: Caller) -> None:
    """As the client reads them: cells of text, nested lists, pages."""
    first = {"id": 1, "request": json.dumps({"a": [1]}), "tags": ["x", "y"], "at": "2026-01-01T00:00:00Z"}
    assert "insertErrors" not in _table(cloud, first, {"id": 2}).json()
    path = f"{_base(cloud)}/d/tables/t"
    assert cloud.http.get(path).json()["numRows"] == "2"
    query = {"maxResults": "1", "formatOptions.useInt64Timestamp": "true"}
    page = cloud.http.get(f"{path}/data", params=query).json()
    assert page["totalRows"] == "2"
    assert page["rows"] == [
        {"f": [{"v": "1"}, {"v": '{"a":[1]}'}, {"v": [{"v": "x"}, {"v": "y"}]}, {"v": "1767225600000000"}]}
    ]
    last = cloud.http.get(f"{path}/data", params={**query, "pageToken": page["pageToken"]}).json()
    assert ([one["f"][0] for one in last["rows"]], "pageToken" in last) == ([{"v": "2"}], False)
    chosen = cloud.http.get(f"{path}/data", params={"selectedFields": "id", "startIndex": "1"}).json()
    assert chosen["rows"] == [{"f": [{"v": "2"}]}]


def test_refusals(cloud: Caller) -> None:
    """Unknown columns, tables that are there or not, datasets that are not empty."""
    refused = _table(cloud, {"id": 1}, {"idx": 2}).json()["insertErrors"]
    assert [(one["index"], one["errors"][0]["location"]) for one in refused] == [(1, "idx")]
    path = f"{_base(cloud)}/d/tables"
    assert cloud.http.get(f"{path}/t").json()["numRows"] == "0"
    again = cloud.http.post(path, json={"tableReference": {"tableId": "t"}})
    assert (again.status_code, again.json()["error"]["errors"][0]["reason"]) == (409, "duplicate")
    assert cloud.http.get(f"{path}/u").status_code == cloud.http.get(f"{_base(cloud)}/e").status_code == 404
    assert cloud.http.delete(f"{_base(cloud)}/d").status_code == 400
    assert cloud.http.delete(f"{_base(cloud)}/d", params={"deleteContents": "true"}).status_code == 204
    assert cloud.http.get(f"{path}/t").status_code == 404


def test_a_job_from_table_to_table(cloud: Caller) -> None:
    """The output has the columns of the input, and three more."""
    _table(
        cloud,
        *({"id": number, "request": row(str(number))["request"]} for number in range(3)),
        {"id": 3, "request": {}},
    )
    ended = _job(cloud, f"bq://{cloud.project}.d.out")
    assert ended["outputInfo"] == {"bigqueryOutputDataset": f"bq://{cloud.project}.d", "bigqueryOutputTable": "out"}
    path = f"{_base(cloud)}/d/tables/out"
    names = [one["name"] for one in cloud.http.get(path).json()["schema"]["fields"]]
    assert names == ["id", "request", "tags", "at", "response", "status", "processed_time"]
    rows = [[cell["v"] for cell in one["f"]] for one in cloud.http.get(f"{path}/data").json()["rows"]]
    found = {one[0]: dict(zip(names, one, strict=True)) for one in rows}
    assert found.keys() == {"0", "1", "2", "3"}
    assert json.loads(found["1"]["request"]) == row("1")["request"]
    assert json.loads(found["1"]["response"])["candidates"]
    assert found["3"]["status"].startswith("Bad Request: ")
    assert (found["1"]["status"], found["3"]["response"]) == ("", "{}")


def test_a_job_whose_table_is_not_there(cloud: Caller) -> None:
    ended = _job(cloud, f"bq://{cloud.project}.d.out")
    assert ended["state"] == "JOB_STATE_FAILED"
    assert f"{cloud.project}:d" in ended["error"]["message"]


def test_a_name_for_the_output_is_made(cloud: Caller) -> None:
    _table(cloud, {"request": row("1")["request"]})
    info = _job(cloud, f"bq://{cloud.project}")["outputInfo"]
    assert info["bigqueryOutputDataset"].startswith(f"bq://{cloud.project}.prediction_model_")
    assert info["bigqueryOutputTable"].startswith("predictions_")
    assert cloud.http.get(cloud.jobs, headers=BEARER).json()["batchPredictionJobs"][0]["outputInfo"] == info
