"""What the scenarios of Vertex AI look like on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator.vertex.cloud import BEARER, Caller, labels, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from emulator.conftest import Api

    Check = Callable[[Api], None]


def _caller(api: Api) -> Caller:
    caller = Caller(api.http, api.world)
    caller.add_bucket()
    return caller


def _several_files(api: Api) -> None:
    cloud = _caller(api)
    job = cloud.begin(*(row(f"row-{number}") for number in range(4)))
    assert len(set(labels(found := cloud.rows(job)))) == 4
    assert len(found) == 5
    assert [name.rpartition("/")[2] for name in cloud.names(prefix="out/")] == [
        "incremental_predictions.jsonl",
        *(f"predictions.jsonl-{number:05d}-of-00003" for number in range(3)),
    ]


def _cancelling(api: Api) -> None:
    cloud = _caller(api)
    api.world.batches.queue_delay = 60
    job = cloud.begin(row("1"))
    api.http.post(f"{job}:cancel", headers=BEARER)
    assert [cloud.state(job) for _ in range(3)] == ["CANCELLING", "CANCELLING", "CANCELLED"]


def _partial(api: Api) -> None:
    cloud = _caller(api)
    job = cloud.begin(row("1"), row("2"))
    assert len(cloud.rows(job)) == 1
    ended = cloud.ended(job)
    assert ended["state"] == "JOB_STATE_PARTIALLY_SUCCEEDED"
    assert ended["completionStats"] == {"successfulCount": "1", "incompleteCount": "1"}


def _odd_states(api: Api) -> None:
    cloud = _caller(api)
    job = cloud.begin(row("1"))
    assert [cloud.state(job) for _ in range(4)] == ["PAUSED", "UPDATING", "SOMETHING_NEW", "SUCCEEDED"]


def _no_place(api: Api) -> None:
    cloud = _caller(api)
    job = cloud.begin(row("1"))
    found = [cloud.get(job) for _ in range(3)]
    assert [one["state"] for one in found] == ["JOB_STATE_SUCCEEDED"] * 3
    assert ["outputInfo" in one for one in found] == [False, False, True]


def _storage(api: Api) -> None:
    cloud = _caller(api)
    assert [cloud.put("x", b"1").status_code for _ in range(2)] == [503, 200]
    listed = [cloud.http.get(f"/storage/v1/b/{cloud.bucket}/o").status_code for _ in range(2)]
    assert listed == [cloud.read("x").status_code for _ in range(2)] == [503, 200]


def _quota(api: Api) -> None:
    cloud = _caller(api)
    cloud.put("in.jsonl", b'{"request": {}}')
    body = cloud.body(f"gs://{cloud.bucket}/in.jsonl")
    first, second = cloud.create(body), cloud.create(body)
    assert (first.status_code, second.status_code) == (429, 200)
    assert first.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert "Retry-After" not in first.headers


CHECKS: dict[str, Check] = {
    "V1": _several_files,
    "V2": _cancelling,
    "V3": _partial,
    "V4": _odd_states,
    "V5": _no_place,
    "V6": _storage,
    "V7": _quota,
}
