"""What goes wrong for people, met by a whole run: results in any order, jobs that fail or expire, lost answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crashes.conftest import Place

KEYS = [f"k{n}" for n in range(12)]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """``bad``: verdict and reason of keys that do not succeed; ``paid``: how often keys are paid, where not once."""

    name: str
    faults: tuple[str | Mapping[str, Any], ...]
    jobs: int = 3
    bad: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    paid: Mapping[str, int] = field(default_factory=dict)


SITUATIONS = (
    Situation(name="answers in another order", faults=("R1",)),
    Situation(name="a create without an answer, and with its job", faults=("C8a",)),
    Situation(name="a create without an answer, and without a job", faults=("C8d",)),
    Situation(name="one answer is always missing, others come twice",
              faults=({"output": "drop", "key": "k5", "times": 0}, {"output": "duplicate", "times": 0}), jobs=4,
              bad={"k5": ("missing", "NO_LINE")}, paid={"k5": 2}),
    Situation(name="a job expires with one row answered",
              faults=({"job": "EXPIRED", "rows": 1, "keep": True},), jobs=4),
    Situation(name="a job fails for an internal error", faults=("L7",), jobs=4),
    Situation(name="a job fails without a reason", faults=({"job": "FAILED", "rows": 0, "times": 0},),
              bad=dict.fromkeys(KEYS, ("missing", "JOB_FAILED")), paid=dict.fromkeys(KEYS, 0)),
    Situation(name="rows fail, one temporarily and one permanently",
              faults=({"row": "error", "key": "k2", "code": 14}, {"row": "error", "key": "k7", "code": 3, "times": 0}),
              jobs=4, bad={"k7": ("failed", "INVALID_ARGUMENT")}, paid={"k7": 0}),
    Situation(name="blocked, truncated, empty",
              faults=({"row": "blocked", "key": "k1"}, {"row": "cut_empty", "key": "k2"},
                      {"row": "empty_text", "key": "k3"}),
              bad={"k1": ("blocked", ""), "k2": ("truncated", "MAX_TOKENS"), "k3": ("empty", "")}),
    Situation(name="the output comes late", faults=("L6",)),
    Situation(name="looks, lists and downloads that fail", faults=("L11", "R10", "C9")),
    Situation(name="the list shows nothing", faults=("P3",)),
)  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name.replace(" ", "-"))
def test_a_run_through_it(place: Place, situation: Situation) -> None:
    place.write("in.jsonl", KEYS)
    place.service.pace(queue_delay=60.0)
    for fault in situation.faults:
        place.service.faults.arm(fault) if isinstance(fault, str) else place.service.faults.arm(**fault)

    found = asyncio.run(place.run("in.jsonl", RunOptions(max_requests_per_job=4)))

    rows = place.read()
    assert [row["key"] for row in rows] == KEYS
    for row in rows:
        verdict, reason = situation.bad.get(row["key"], ("succeeded", ""))
        assert row["verdict"] == verdict, row
        if verdict == "succeeded":
            assert f"Say {row['key']} " in row["response"]["text"]
        else:
            assert reason in row["error"]["reason"], row
    assert {key: place.paid()[key] for key in KEYS} == {**dict.fromkeys(KEYS, 1), **situation.paid}
    assert place.jobs() == situation.jobs
    bad = len(situation.bad)
    assert found.summary.exit_code == (0 if not bad else 5 if bad == len(KEYS) else 1)


def test_a_job_that_cannot_be_seen_does_not_hold_up_the_others(place: Place) -> None:
    """Looks at one job fail for an hour; the jobs after it are looked at, and their answers are fetched."""
    place.write("in.jsonl", KEYS)
    # A run's patience of six hours must outlast what a busy machine takes for the other jobs.
    place.time.pace = 2000.0
    place.service.pace(queue_delay=300.0)

    async def watched() -> None:
        running = asyncio.ensure_future(place.run("in.jsonl", RunOptions(max_requests_per_job=4)))
        while place.jobs() < 1:
            await asyncio.sleep(0.001)
        first = place.service.accounting()["jobs"][0]["name"]
        place.service.faults.arm(operation="batches.get", resource=first, error="not_found", times=0)
        while place.calls["files.download", 200] < 2 and not running.done():
            await asyncio.sleep(0.001)
        assert not running.done(), "it gave up before the others were through"
        place.service.faults.clear()
        await running

    asyncio.run(asyncio.wait_for(watched(), 40))

    place.check(KEYS)
    assert place.paid() == dict.fromkeys(KEYS, 1)


def test_a_look_at_a_hundred_jobs(place: Place) -> None:
    """However many jobs live: at most ten calls a look."""
    keys = [f"k{n}" for n in range(100)]
    place.write("in.jsonl", keys)
    place.service.pace(queue_delay=7200.0)

    asyncio.run(place.run("in.jsonl", RunOptions(max_requests_per_job=1)))

    place.check(keys)
    assert place.jobs() == 100
    looks = place.calls["batches.list", 200]
    assert looks > 10
    # Beside the list: the last jobs of all one by one, each once more when it is collected.
    assert place.calls["batches.get", 200] <= 100 + 5 * looks, place.calls
