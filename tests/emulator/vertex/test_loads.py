"""Load jobs of the stand-in for BigQuery, and tables as of a moment."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

if TYPE_CHECKING:
    import httpx2

    from emulator.vertex.cloud import Caller


def _base(cloud: Caller) -> str:
    return f"/bigquery/v2/projects/{cloud.project}"


@pytest.fixture(autouse=True)
def dataset(cloud: Caller) -> None:
    cloud.http.post(f"{_base(cloud)}/datasets", json={"datasetReference": {"datasetId": "d"}})


def file_of(*rows: dict[str, Any], **columns: Any) -> bytes:
    target = io.BytesIO()
    schema = pa.schema(columns.items()) if columns else None
    parquet.write_table(pa.Table.from_pylist([*rows], schema), target)
    return target.getvalue()


def job(cloud: Caller, name: str = "j", write: str = "WRITE_EMPTY", **load: Any) -> dict[str, Any]:
    target = {"projectId": cloud.project, "datasetId": "d", "tableId": "t"}
    return {
        "jobReference": {"projectId": cloud.project, "jobId": name},
        "configuration": {
            "load": {
                "destinationTable": target,
                "sourceFormat": "PARQUET",
                "writeDisposition": write,
                "parquetOptions": {"enableListInference": True},
                **load,
            }
        },
    }


def load(cloud: Caller, asked: dict[str, Any], data: bytes) -> httpx2.Response:
    """In one request of two parts."""
    body = b"--x\r\nContent-Type: application/json\r\n\r\n" + json.dumps(asked).encode()
    body += b"\r\n--x\r\nContent-Type: */*\r\n\r\n" + data + b"\r\n--x--"
    return cloud.http.post(
        f"/upload{_base(cloud)}/jobs",
        params={"uploadType": "multipart"},
        content=body,
        headers={"Content-Type": "multipart/related; boundary=x"},
    )


def rows(cloud: Caller, table: str = "t") -> list[list[Any]]:
    found = cloud.http.get(f"{_base(cloud)}/datasets/d/tables/{table}/data").json()
    return [[cell["v"] for cell in one["f"]] for one in found.get("rows", ())]


def reason(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["errors"][0]["reason"]


def test_a_file_becomes_a_table(cloud: Caller) -> None:
    row = {
        "n": 1,
        "x": float("nan"),
        "ok": True,
        "s": "ä",
        "b": b"\xff",
        "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "local": dt.datetime(2026, 1, 1),  # noqa: DTZ001 - it has no zone
        "day": dt.date(2026, 1, 1),
        "price": decimal.Decimal("1.500000000"),
        "tags": ["a", "b"],
        "who": {"name": "Ann"},
    }
    kinds = {
        "at": pa.timestamp("us", "UTC"),
        "local": pa.timestamp("us"),
        "price": pa.decimal128(38, 9),
        "who": pa.struct({"name": pa.string()}),
    }
    plain = {name: pa.array([value]).type for name, value in row.items() if name not in kinds}
    made = load(cloud, job(cloud), file_of(row, **{name: (kinds | plain)[name] for name in row}))
    assert made.json()["status"] == {"state": "DONE"}
    assert made.json()["statistics"]["load"]["outputRows"] == "1"
    table = cloud.http.get(f"{_base(cloud)}/datasets/d/tables/t").json()
    assert [(one["name"], one["type"], one["mode"]) for one in table["schema"]["fields"]] == [
        ("n", "INTEGER", "NULLABLE"),
        ("x", "FLOAT", "NULLABLE"),
        ("ok", "BOOLEAN", "NULLABLE"),
        ("s", "STRING", "NULLABLE"),
        ("b", "BYTES", "NULLABLE"),
        ("at", "TIMESTAMP", "NULLABLE"),
        ("local", "DATETIME", "NULLABLE"),
        ("day", "DATE", "NULLABLE"),
        ("price", "NUMERIC", "NULLABLE"),
        ("tags", "STRING", "REPEATED"),
        ("who", "RECORD", "NULLABLE"),
    ]
    (found,) = rows(cloud)
    assert found[:5] == ["1", "NaN", "true", "ä", "/w=="]
    assert found[6:] == [
        "2026-01-01T00:00:00",
        "2026-01-01",
        "1.500000000",
        [{"v": "a"}, {"v": "b"}],
        {"f": [{"v": "Ann"}]},
    ]
    assert cloud.http.get(f"{_base(cloud)}/jobs/j").json() == made.json()


def test_lists_are_records_without_the_option(cloud: Caller) -> None:
    load(cloud, job(cloud, parquetOptions={}), file_of({"tags": ["a"]}))
    (field,) = cloud.http.get(f"{_base(cloud)}/datasets/d/tables/t").json()["schema"]["fields"]
    assert (field["type"], field["fields"][0]["name"], field["fields"][0]["mode"]) == ("RECORD", "element", "REPEATED")
    assert rows(cloud) == [[{"f": [{"v": [{"v": "a"}]}]}]]


def test_a_job_of_the_same_id_is_refused(cloud: Caller) -> None:
    assert load(cloud, job(cloud), file_of({"n": 1})).status_code == 200
    assert reason(load(cloud, job(cloud, write="WRITE_TRUNCATE"), file_of({"n": 2}))) == (409, "duplicate")
    assert rows(cloud) == [["1"]]


def test_what_a_job_does_with_a_table_that_is_there(cloud: Caller) -> None:
    load(cloud, job(cloud), file_of({"n": 1}))
    assert load(cloud, job(cloud, "a"), file_of({"n": 2})).json()["status"]["errorResult"]["reason"] == "duplicate"
    other = load(cloud, job(cloud, "b", "WRITE_APPEND"), file_of({"m": 2})).json()
    assert other["status"]["errorResult"]["message"] == "Provided Schema does not match Table."
    assert rows(cloud) == [["1"]]
    load(cloud, job(cloud, "c", "WRITE_APPEND"), file_of({"n": 2}))
    assert rows(cloud) == [["1"], ["2"]]
    load(cloud, job(cloud, "d", "WRITE_TRUNCATE"), file_of({"m": "x"}))
    assert rows(cloud) == [["x"]]


def test_what_cannot_be_loaded(cloud: Caller) -> None:
    assert load(cloud, job(cloud), b"no file").json()["status"]["errorResult"]["reason"] == "invalid"
    assert reason(load(cloud, job(cloud, "a", sourceFormat="CSV"), b"")) == (400, "invalid")
    assert reason(load(cloud, job(cloud, "a/b"), b"")) == (400, "invalid")
    nowhere = {"projectId": cloud.project, "datasetId": "e", "tableId": "t"}
    assert reason(load(cloud, job(cloud, "a", destinationTable=nowhere), b"")) == (404, "notFound")
    assert reason(cloud.http.get(f"{_base(cloud)}/jobs/a")) == (404, "notFound")
    broken = cloud.http.post(f"/upload{_base(cloud)}/jobs", params={"uploadType": "multipart"}, content=b"x")
    assert reason(broken) == (400, "invalid")
    assert reason(cloud.http.post(f"/upload{_base(cloud)}/jobs", params={"upload_id": "x"})) == (404, "notFound")


def test_an_upload_in_several_requests(cloud: Caller) -> None:
    data, path = file_of({"n": 1}), f"/upload{_base(cloud)}/jobs"
    begun = cloud.http.post(path, params={"uploadType": "resumable"}, json=job(cloud))
    place, half = begun.headers["location"], len(data) // 2

    def send(piece: bytes, said: str) -> httpx2.Response:
        return cloud.http.put(place, content=piece, headers={"Content-Range": f"bytes {said}"})

    assert send(b"", "*/*").headers.get("range") is None
    first = send(data[:half], f"0-{half - 1}/{len(data)}")
    assert (first.status_code, first.headers["range"]) == (308, f"bytes=0-{half - 1}")
    assert reason(send(b"x", f"{half + 1}-{half + 1}/{len(data)}")) == (400, "invalid")
    done = send(data[half:], f"{half}-{len(data) - 1}/{len(data)}")
    assert done.json()["status"] == {"state": "DONE"}
    assert rows(cloud) == [["1"]]
    assert reason(send(b"", f"*/{len(data)}")) == (404, "notFound")


def test_a_table_as_of_a_moment(cloud: Caller) -> None:
    load(cloud, job(cloud), file_of({"n": 1}))
    at = int(cloud.http.get(f"{_base(cloud)}/datasets/d/tables/t").json()["lastModifiedTime"])
    cloud.world.clock.advance(10)
    assert rows(cloud, f"t@{at + 1}") == [["1"]]
    path = f"{_base(cloud)}/datasets/d/tables"
    for moment in (at - 1000, at + 1_000_000_000, "x", ""):
        assert reason(cloud.http.get(f"{path}/t@{moment}/data")) == (400, "invalid")
    cloud.http.post(f"{path}/t/insertAll", json={"rows": [{"json": {"n": 2}}]})
    assert reason(cloud.http.get(f"{path}/t@{at + 1}/data")) == (400, "invalid")


def test_without_pyarrow(cloud: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    answer = load(cloud, job(cloud), b"")
    assert answer.status_code == 501
    assert "gemini-batch[bigquery]" in answer.text
