"""C3d: no job is created for 12 hours, although none is alive. The commands say so, wait, and lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from scenarios.story import SUCCEEDED, asking

if TYPE_CHECKING:
    from scenarios.conftest import Stage

HOUR = 3600.0
KEYS = [f"k{number}" for number in range(16)]
EARLIER = [f"z{number}" for number in range(4)]
ONCE = dict.fromkeys([*KEYS, *EARLIER], 1)


@pytest.fixture
def spent(stage: Stage) -> Stage:
    """As many jobs as the quota allows were created and have ended; another file is ready."""
    for name in EARLIER:
        stage.shell.write("first.jsonl", asking(name))
        job = stage.run("create", "first.jsonl").out.strip()
        assert stage.run("status", job, "--wait").out == f"{SUCCEEDED}\n"
    stage.arm("C3d", creates=len(EARLIER))
    stage.shell.write("requests.jsonl", *map(asking, KEYS))
    stage.time.waits.clear()
    return stage


def test_create_says_that_it_may_take_until_tomorrow(spent: Stage) -> None:
    """At once and with one upload; the next day the same command creates the job from the same upload."""
    done = spent.run("create", "requests.jsonl")

    assert (done.code, done.out) == (4, "")
    assert "No job was created" in done.err
    assert "12 to 24 hours" in done.err
    assert "the next day" in done.err
    assert sum(spent.time.waits) < 60
    sent = spent.sent()
    spent.time.jump(13 * HOUR)
    assert spent.run("create", "requests.jsonl").code == 0
    assert spent.sent() == sent
    assert spent.made() == len(EARLIER) + 1


def test_run_waits_for_it(spent: Stage) -> None:
    """Few calls, few uploads, and no more jobs than needed: what was refused was not too large."""
    done = spent.run("run", "requests.jsonl", "-o", "results.jsonl")

    assert done.code == 0, done.err
    assert "The service refuses new jobs (429), and none is alive; 1 request is waiting." in done.err
    assert [line["verdict"] for line in spent.read()] == ["succeeded"] * len(KEYS)
    assert spent.paid() == ONCE
    refused = done.err.count("Checking whether the job was created anyway")
    assert 12 <= sum(spent.time.waits) / HOUR < 26
    assert refused < 80, "pauses, not hammering"
    assert spent.made() <= len(EARLIER) + 4
    uploads = len(spent.service.accounting()["uploads"])
    assert uploads < len(EARLIER) + 8, uploads


def test_run_can_be_left_and_continued(spent: Stage) -> None:
    """With a timeout it ends with 6, and continues from what it had planned and uploaded."""
    left = spent.run("run", "requests.jsonl", "-o", "results.jsonl", "--timeout", "2h")
    assert left.code == 6
    uploads = len(spent.service.accounting()["uploads"])
    again = spent.run("run", "requests.jsonl", "-o", "results.jsonl", "--timeout", "2h")
    assert again.code == 6
    assert len(spent.service.accounting()["uploads"]) == uploads

    spent.time.jump(12 * HOUR)
    done = spent.run("run", "requests.jsonl", "-o", "results.jsonl")

    assert done.code == 0
    assert spent.made() <= len(EARLIER) + 4
    assert spent.paid() == ONCE


def test_run_of_a_project_that_never_created_a_job(stage: Stage) -> None:
    """It cannot tell this from a missing tier, so it ends after a while; and what it learned of sizes is not kept."""
    stage.service.limit(creates=0)
    stage.shell.write("requests.jsonl", *map(asking, KEYS))

    done = stage.run("run", "requests.jsonl", "-o", "results.jsonl")

    assert done.code == 4
    assert "billing and tier" in done.err
    assert "12 to 24 hours" in done.err
    assert sum(stage.time.waits) < 2 * HOUR
    stage.service.limit(creates=700)
    again = stage.run("run", "requests.jsonl", "-o", "results.jsonl")
    assert again.code == 0
    assert stage.made() < 4, "one for the request that was tried alone, and few for the rest"
    assert stage.paid() == dict.fromkeys(KEYS, 1)
