"""Faults of jobs, rows, calls and output files, and quotas: those of all batches, on jobs of Vertex AI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from emulator.vertex.cloud import BEARER, labels, row
from gemini_batch.emulator.http.admin import arm

if TYPE_CHECKING:
    from emulator.vertex.cloud import Caller

ROWS = [row(f"row-{number}") for number in range(4)]


def test_a_job_that_fails(own: Caller) -> None:
    arm(own.world, scenario="L7")
    job = own.begin(*ROWS)
    ended = own.ended(job)
    assert (ended["state"], ended["error"]["code"]) == ("JOB_STATE_FAILED", 13)
    assert "outputInfo" not in ended
    assert own.state(own.begin(*ROWS)) == "SUCCEEDED"


def test_a_job_that_expires_with_a_part(own: Caller) -> None:
    arm(own.world, scenario="L4", rows=3)
    job = own.begin(*ROWS)
    assert len(own.rows(job)) == 3
    ended = own.ended(job)
    assert (ended["state"], ended["completionStats"]) == (
        "JOB_STATE_EXPIRED",
        {"successfulCount": "3", "incompleteCount": "1"},
    )


def test_polls_that_fail(own: Caller) -> None:
    arm(own.world, operation="batches.get", resource="projects/a-project/*", status=503, times=2)
    job = own.begin(*ROWS)
    assert [own.http.get(job, headers=BEARER).status_code for _ in range(3)] == [503, 503, 200]


def test_a_create_whose_answer_is_lost(own: Caller) -> None:
    """The job is in the list."""
    arm(own.world, scenario="C8b", model="gemini-3.8-flash", display_name="nightly")
    own.put("in.jsonl", json.dumps(ROWS[0]).encode())
    assert own.create(own.body(f"gs://{own.bucket}/in.jsonl")).status_code == 504
    (job,) = own.http.get(own.jobs, headers=BEARER).json()["batchPredictionJobs"]
    assert job["displayName"] == "nightly"


def test_lists_that_lie(own: Caller) -> None:
    own.begin(*ROWS)
    arm(own.world, scenario="P3", times=1)
    arm(own.world, scenario="P2", state="SUCCEEDED")
    pages = [own.http.get(own.jobs, headers=BEARER).json() for _ in range(3)]
    assert [len(page.get("batchPredictionJobs", ())) for page in pages] == [0, 2, 1]


def test_rows_that_fail(own: Caller) -> None:
    """By their only label; the reason is in the status, in the words of a call."""
    arm(own.world, scenario="G13", key="row-1", times=1)
    found = {one["request"]["labels"]["id"]: one for one in own.rows(own.begin(*ROWS))}
    assert [name for name, one in found.items() if one["status"]] == ["row-1"]
    assert found["row-1"]["status"].startswith('Internal Server Error: {"error": {"code": 500, "message": "An internal')
    assert found["row-1"]["response"] == {}


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("drop", [1, 0, 1, 1]),
        ("duplicate", [1, 2, 1, 1]),
        ("conflict", [1, 2, 1, 1]),
    ],
)
def test_rows_that_are_absent_or_twice(own: Caller, change: str, counts: list[int]) -> None:
    arm(own.world, output=change, key="row-1")
    job = own.begin(*ROWS)
    found = labels(own.rows(job))
    assert [found.count(f"row-{number}") for number in range(4)] == counts
    absent = {"incompleteCount": "1"} if change == "drop" else {}
    stats = own.ended(job)["completionStats"]
    assert stats == {"successfulCount": "3" if absent else "4", **absent}


def test_rows_nobody_knows(own: Caller) -> None:
    """One was never sent, another has lost its request."""
    arm(own.world, output="foreign", key="row-0")
    arm(own.world, output="no_key", key="row-1")
    found = own.rows(own.begin(*ROWS))
    assert len(found) == 5
    assert sum("request" not in one for one in found) == 1
    (strange,) = [one for one in found if "request" in one and "labels" not in one["request"]]
    assert strange["request"]["contents"][0]["parts"][0]["text"].startswith("stranger-")


def test_an_order(own: Caller) -> None:
    """That of the input, backwards; without this, no order is kept."""
    arm(own.world, output="reverse")
    assert labels(own.rows(own.begin(*ROWS))) == ["row-3", "row-2", "row-1", "row-0"]


def test_broken_lines_and_odd_endings(own: Caller) -> None:
    arm(own.world, scenario="R6")
    arm(own.world, scenario="R7")
    job = own.begin(*ROWS)
    folder = own.ended(job)["outputInfo"]["gcsOutputDirectory"].removeprefix(f"gs://{own.bucket}/")
    data = own.read(f"{folder}/predictions.jsonl").content
    assert data.count(b"\r\n") >= 3
    assert not data.endswith(b"\n")
    assert "\u2028".encode() in data
    broken = 0
    for line in data.split(b"\n"):
        try:
            json.loads(line or b"{}")
        except ValueError:
            broken += 1
    assert broken == 1


def test_a_cancel_that_comes_too_late(own: Caller) -> None:
    arm(own.world, scenario="X2")
    own.world.batches.rows_per_second = 1
    job = own.begin(*ROWS)
    own.world.clock.advance(1.5)
    assert own.state(job) == "RUNNING"
    own.http.post(f"{job}:cancel", headers=BEARER)
    assert own.state(job) == "CANCELLING"
    own.world.clock.advance(10)
    assert (own.state(job), len(own.rows(job))) == ("SUCCEEDED", 4)


def test_quotas(own: Caller) -> None:
    """Jobs and enqueued tokens of a project and location; a full one may let the next wait."""
    own.world.batches.queue_delay = 60
    own.world.limits.change(jobs=1)
    first = own.begin(*ROWS)
    refused = own.create(own.body(f"gs://{own.bucket}/in.jsonl"))
    assert (refused.status_code, refused.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    own.world.limits.change(when_full="wait")
    second = own.begin(*ROWS)
    own.world.batches.rows_per_second = 0.001
    own.world.clock.advance(61)
    assert own.ended(first)["state"] == "JOB_STATE_SUCCEEDED"
    assert own.ended(second)["state"] == "JOB_STATE_SUCCEEDED"
    own.world.limits.change(tokens={"gemini-3.8-flash": 3})
    assert own.create(own.body(f"gs://{own.bucket}/in.jsonl")).status_code == 429
