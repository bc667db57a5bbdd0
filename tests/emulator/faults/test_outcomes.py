"""What becomes of jobs, rows and output files when a fault says so; and who was paid for then."""

from __future__ import annotations

import json
from typing import Any, get_args

import httpx2
import pytest

from emulator.conftest import EMBEDDER, MODEL, Api, line, lines
from emulator.tiers import paid
from gemini_batch import jsonl
from gemini_batch.emulator.faults.model import RowOutcome
from gemini_batch.emulator.http.admin import arm, clear
from gemini_batch.emulator.http.server import serve


def output(api: Api, name: str) -> bytes:
    file = api.get(name)["metadata"]["output"]["responsesFile"]
    return api.http.get(f"/v1beta/{file}:download", params={"alt": "media"}).content


def keys(api: Api) -> dict[str, int]:
    found: dict[str, int] = api.http.get("/emulator/accounting?keys=true").json()["keys"]
    return found


def test_a_job_that_fails(world: Api) -> None:
    """With its reason; the next one is fine."""
    arm(world.world, scenario="L7")
    ended = world.finish(world.begin(lines(3)))
    assert ended["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert ended["error"] == {"code": 13, "message": "An internal error has occurred."}
    assert "response" not in ended
    assert keys(world) == {}
    assert world.finish(world.begin(lines(3)))["metadata"]["state"] == "BATCH_STATE_SUCCEEDED"


def test_a_job_that_fails_without_reason(world: Api) -> None:
    """No error at all."""
    arm(world.world, scenario="L8")
    ended = world.finish(world.begin(lines(3)))
    assert ended["metadata"]["state"] == "BATCH_STATE_FAILED"
    assert "error" not in ended


def test_a_job_that_expires_half_done(world: Api) -> None:
    """With the rows it had, or without; they are paid for in both cases."""
    arm(world.world, scenario="L4", rows=2)
    name = world.begin(lines(5))
    ended = world.finish(name)
    assert ended["metadata"]["state"] == "BATCH_STATE_EXPIRED"
    assert ended["metadata"]["batchStats"] == {
        "requestCount": "5",
        "successfulRequestCount": "2",
        "pendingRequestCount": "3",
    }
    assert [json.loads(one)["key"] for one in output(world, name).splitlines()] == ["row-0", "row-1"]
    arm(world.world, scenario="L4", rows=2, keep=False)
    ended = world.finish(world.begin(lines(5)))
    assert "output" not in ended["metadata"]
    assert keys(world) == {"row-0": 2, "row-1": 2}


def test_a_job_that_never_starts(world: Api) -> None:
    """It expires after two days, or is cancelled."""
    arm(world.world, scenario="L2", times=2)
    first, second = world.begin(lines(1)), world.begin(lines(1))
    world.world.clock.advance(47 * 3600)
    assert (world.state(first), world.state(second)) == ("PENDING", "PENDING")
    world.http.post(f"/v1/{second}:cancel")
    assert world.state(second) == "CANCELLED"
    world.world.clock.advance(3601)
    assert world.state(first) == "EXPIRED"


def test_a_job_that_never_ends(world: Api) -> None:
    """RUNNING with some rows, for as long as the fault is armed."""
    arm(world.world, job="RUNNING", rows=2)
    name = world.begin(lines(5))
    shown = world.get(name)["metadata"]
    assert (shown["state"], shown["batchStats"]["successfulRequestCount"]) == ("BATCH_STATE_RUNNING", "2")
    world.world.faults.clear()
    assert world.finish(name)["metadata"]["batchStats"]["successfulRequestCount"] == "5"


def test_cancelling_too_late(world: Api) -> None:
    """All rows are served."""
    arm(world.world, scenario="X2")
    world.world.batches.queue_delay = 60
    name = world.begin(lines(5))
    world.http.post(f"/v1/{name}:cancel")
    assert world.state(name) == "PENDING"
    world.world.clock.advance(60)
    ended = world.finish(name)["metadata"]
    assert ended["state"] == "BATCH_STATE_SUCCEEDED"
    assert ended["batchStats"] == {"requestCount": "5", "successfulRequestCount": "5"}


def test_cancelled_with_what_there_was(world: Api) -> None:
    """CANCELLED, code 1, and an output."""
    arm(world.world, scenario="X3", rows=2)
    world.world.batches.queue_delay = 60
    name = world.begin(lines(5))
    world.http.post(f"/v1/{name}:cancel")
    ended = world.finish(name)
    assert (ended["metadata"]["state"], ended["error"]["code"]) == ("BATCH_STATE_CANCELLED", 1)
    assert len(output(world, name).splitlines()) == 2


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("R2", [0, 1, 2, 3, 0, 0]),
        ("R3", [1, 2, 3]),
        ("R4", [None, 1, 2, 3]),
        ("R5", [0, 1, 2, 3, "stranger-0-0"]),
        ("R6", ["broken", 1, 2, 3]),
    ],
)
@pytest.mark.parametrize("inline", [False, True])
def test_output_files(world: Api, scenario: str, expected: list[Any], inline: bool) -> None:
    """Lines lost, doubled, foreign, without key, broken; in what a job holds itself too, where that can be."""
    arm(world.world, scenario=scenario)
    if inline:
        requests = [json.loads(line(f"row-{number}")) for number in range(4)]
        name = world.begin([{"request": one["request"], "metadata": {"key": one["key"]}} for one in requests])
        answers = world.finish(name)["response"]["inlinedResponses"]["inlinedResponses"]
        found = [(one.get("metadata") or {}).get("key") for one in answers]
        if scenario == "R6":
            expected = [0, 1, 2, 3]
    else:
        name = world.begin(lines(4))
        world.finish(name)
        found = []
        for one in output(world, name).splitlines():
            try:
                found.append(json.loads(one).get("key"))
            except ValueError:
                found.append("broken")
    assert found == [f"row-{one}" if isinstance(one, int) else one for one in expected]
    assert keys(world) == {f"row-{number}": 1 for number in range(4)}


def test_another_order(world: Api) -> None:
    """The same answers, never in the order of the requests."""
    arm(world.world, scenario="R1")
    found = world.results(world.begin(lines(5)))
    assert [one["key"] for one in found] != [f"row-{number}" for number in range(5)]
    assert sorted(one["key"] for one in found) == [f"row-{number}" for number in range(5)]


def test_conflicting_twins(world: Api) -> None:
    """The same key with another text."""
    arm(world.world, scenario="R2", output="conflict")
    found = world.results(world.begin(lines(1)))
    assert {one["key"] for one in found} == {"row-0"}
    assert len({json.dumps(one) for one in found}) == 2


def test_a_row_that_fails_once(world: Api) -> None:
    """And then does not; other rows are left alone."""
    arm(world.world, row="error", key="row-1", code=8)
    first, second = world.results(world.begin(lines(3))), world.results(world.begin(lines(3)))
    assert first[1] == {
        "error": {"code": 8, "message": "Resource has been exhausted (e.g. check quota)."},
        "key": "row-1",
    }
    assert all("response" in one for one in [first[0], first[2], *second])
    assert keys(world) == {"row-0": 2, "row-1": 1, "row-2": 2}


def test_keys_of_deleted_jobs(world: Api) -> None:
    """Who was paid for stays known."""
    name = world.begin(lines(2))
    world.finish(name)
    world.http.delete(f"/v1/{name}")
    assert keys(world) == {"row-0": 1, "row-1": 1}


def test_rows_by_key_and_number(world: Api) -> None:
    """By glob and by regular expression, after some, so many."""
    arm(world.world, row="blocked", key="/-[13]$/", times=0)
    arm(world.world, row="no_usage", key="row-*", skip=1, times=2)
    found = world.results(world.begin(lines(6)))
    assert ["promptFeedback" in one["response"] for one in found] == [False, True, False, True, False, False]
    assert ["usageMetadata" not in one["response"] for one in found] == [False, False, True, False, True, False]


def test_rows_whose_answer_is_no_answer(world: Api) -> None:
    """A status in the place of the error, neither of them, an error with details."""
    arm(world.world, row="status", key="row-0", code=3)
    arm(world.world, row="nothing", key="row-1")
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "LATE"}]
    arm(world.world, row="error", key="row-2", code=4, message="late", details=details)
    found = world.results(world.begin(lines(3)))
    assert found == [
        {"status": {"code": 3, "message": "Request contains an invalid argument."}, "key": "row-0"},
        {"key": "row-1"},
        {"error": {"code": 4, "message": "late", "details": details}, "key": "row-2"},
    ]
    assert keys(world) == {}
    answers = world.finish(world.begin([{"request": {"contents": []}, "metadata": {"key": "x", "more": [1]}}]))
    arm(world.world, row="nothing", key="x")
    answers = world.finish(world.begin([{"request": {"contents": []}, "metadata": {"key": "x", "more": [1]}}]))
    assert answers["response"]["inlinedResponses"]["inlinedResponses"] == [{"metadata": {"key": "x", "more": [1]}}]


def test_output_files_by_key(world: Api) -> None:
    """The lines that a pattern means; several changes in their order."""
    arm(world.world, output="drop", key="/[024]$/", rows=2)
    arm(world.world, output="reverse")
    arm(world.world, output="not_json", key="row-3")
    name = world.begin(lines(6))
    world.finish(name)
    found = [one.partition(b'"key":')[2] for one in output(world, name).splitlines()]
    assert found == [b'"row-5"}', b'"row-4"}', b"", b'"row-1"}']


def test_faults_of_a_model(world: Api) -> None:
    """Other models' jobs are not touched."""
    arm(world.world, job="FAILED", model="*-lite", times=0)
    arm(world.world, output="drop", display_name="small", rows=0)
    assert len(world.results(world.begin(lines(2)))) == 2
    assert world.results(world.begin(lines(2), displayName="small")) == []


def test_a_restart_forgets_nothing_that_happened(world: Api) -> None:
    """What a job came to is in the data; the faults are not."""
    arm(world.world, scenario="L4")
    name = world.begin(lines(3))
    world.finish(name)
    with serve(world.world.store.folder) as running:
        again = httpx2.get(f"{running.url}/v1/{name}", headers={"x-goog-api-key": "a-key"}).json()
        assert again["metadata"]["state"] == "BATCH_STATE_EXPIRED"
        assert httpx2.get(f"{running.url}/emulator/faults").json() == {"faults": []}
        assert httpx2.get(f"{running.url}/emulator/accounting?keys=true").json()["keys"] == {"row-0": 1}


def test_keys_by_metadata(world: Api) -> None:
    """Inline requests are counted by their key, or by all of their metadata; others under an empty one."""
    text = {"contents": [{"parts": [{"text": "x"}]}]}
    tags: list[Any] = [{"key": "a"}, {"key": "a"}, {"row": 7}, None]
    world.finish(
        world.begin([{"request": text} if tag is None else {"request": text, "metadata": tag} for tag in tags])
    )
    assert keys(world) == {"": 1, "a": 2, '{"row":7}': 1}


@pytest.mark.parametrize(("change", "counted"), [("drop", 1), ("withhold", 3)])
def test_missing_lines_are_counted_or_not(world: Api, change: str, counted: int) -> None:
    """The service's own count shows what it dropped, and hides what it withholds; all of it was paid for."""
    arm(world.world, output=change, rows=2)
    name = world.begin(lines(3))
    ended = world.finish(name)
    assert len(output(world, name).splitlines()) == 1
    assert int(ended["metadata"]["batchStats"]["successfulRequestCount"]) == counted
    assert sum(keys(world).values()) == 3


CALLED = sorted(set(get_args(RowOutcome)) - {"error", "status", "nothing", "schema_missed"})


@pytest.mark.parametrize("outcome", CALLED)
def test_a_call_is_answered_as_a_row_is(world: Api, outcome: str) -> None:
    """Once, and only where no key is asked for."""
    embed = "vector" in outcome
    request = {"content" if embed else "contents": {"parts": [{"text": "Hello."}]}}
    path = f"/v1beta/models/{EMBEDDER}:embedContent" if embed else f"/v1beta/models/{MODEL}:generateContent"
    plain = world.http.post(path, json=request).json()
    arm(world.world, row="error", key="row-*", times=0)
    arm(world.world, row="error", model="another", times=0)
    arm(world.world, row=outcome, megabytes=0.01)

    called = world.http.post(path, json=request).json()
    after = world.http.post(path, json=request).json()

    clear(world.world)
    arm(world.world, row=outcome, megabytes=0.01)
    (row,) = world.results(world.begin(jsonl.encode({"key": "k", "request": request}) + b"\n", embed=embed))
    assert without_id(called) == without_id(row["response"])
    assert without_id(called) != without_id(plain) == without_id(after)


def without_id(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "responseId"}


@pytest.mark.parametrize(("fields", "status", "said"), [
    ({"row": "error", "code": 3}, 400, "INVALID_ARGUMENT"),
    ({"row": "status", "code": 14, "message": "Not now."}, 503, "Not now."),
    ({"row": "error"}, 500, "INTERNAL"),
    ({"row": "nothing"}, 200, "{}"),
])  # fmt: skip
def test_a_call_fails_as_a_row_does(world: Api, fields: dict[str, Any], status: int, said: str) -> None:
    """An error has the status of its code, and costs nothing; a call without both is an empty answer."""
    arm(world.world, **fields)

    found = world.http.post(f"/v1beta/models/{MODEL}:generateContent", json={"contents": [{"parts": [{"text": "x"}]}]})

    assert (found.status_code, said in found.text) == (status, True)
    assert paid(world) == (1 if status == 200 else 0)
