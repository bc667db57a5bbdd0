"""Whatever a body says, it is answered as the service would: never with 500, and every job that was made ends."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from emulator.vertex.cloud import BEARER

if TYPE_CHECKING:
    from emulator.vertex.cloud import Caller

_ODD: list[Any] = [
    None,
    1,
    -1,
    1.5,
    10**30,
    True,
    "x",
    "",
    "\n",
    [],
    {},
    [1],
    [None],
    [[]],
    ["x"],
    {"a": 1},
    {"name": [1]},
]


def changed(value: Any, chance: random.Random) -> Any:
    """A body with one value, at any depth, replaced by an odd one."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        name = chance.choice(list(value))
        return {**value, name: changed(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        return [*value[:place], changed(value[place], chance), *value[place + 1 :]]
    return chance.choice(_ODD)


def test_odd_bodies(cloud: Caller) -> None:
    cloud.put("x", b'{"request": {}}\n')
    data, objects = f"/bigquery/v2/projects/{cloud.project}/datasets", f"/storage/v1/b/{cloud.bucket}/o"
    fields = [
        {"name": "id", "type": "INTEGER"},
        {"name": "j", "type": "JSON"},
        {"name": "at", "type": "TIMESTAMP"},
        {"name": "r", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "z", "type": "STRING"}]},
    ]
    table = {"tableReference": {"tableId": "t"}, "schema": {"fields": fields}}
    cloud.http.post(data, json={"datasetReference": {"datasetId": "d"}})
    cloud.http.post(f"{data}/d/tables", json=table)
    row = {"id": 1, "j": "{}", "at": "2026-01-01T00:00:00Z", "r": [{"z": "1"}]}
    source = {"name": "x", "generation": 1, "objectPreconditions": {"ifGenerationMatch": 1}}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", cloud.jobs, cloud.body(f"gs://{cloud.bucket}/x", labels={"a": "b"})),
        ("POST", "/storage/v1/b", {"name": f"more-{cloud.bucket}", "location": "US", "labels": {"a": "b"}}),
        ("POST", f"{objects}/w/compose", {"sourceObjects": [source], "destination": {"contentType": "x"}}),
        ("PATCH", f"{objects}/x", {"metadata": {"a": "b"}, "contentType": "x"}),
        ("POST", f"/upload{objects}?uploadType=resumable", {"name": "n", "contentType": "t", "md5Hash": "x"}),
        ("POST", f"{objects}/x/rewriteTo/b/{cloud.bucket}/o/y", {"contentType": "x"}),
        ("POST", data, {"datasetReference": {"datasetId": "e"}, "labels": {}}),
        ("POST", f"{data}/d/tables", table),
        ("POST", f"{data}/d/tables/t/insertAll", {"rows": [{"insertId": "1", "json": row}]}),
    ]
    chance = random.Random(3)
    for _ in range(12):
        for method, path, body in calls:
            sent = json.dumps(changed(body, chance))
            headers = {"Content-Type": "application/json", **BEARER}
            answer = cloud.http.request(method, path, content=sent, headers=headers)
            assert answer.status_code < 500 or answer.status_code == 501, (path, sent, answer.text)
    assert cloud.http.get(f"{data}/d/tables/t/data").status_code == 200
    for job in cloud.http.get(cloud.jobs, headers=BEARER).json().get("batchPredictionJobs", ()):
        cloud.ended(f"/v1/{job['name']}")
