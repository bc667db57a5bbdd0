"""The programs that give a scheduler a file of requests: nothing waits, nothing is lost, nothing is paid twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from schedulers.conftest import DAY, Place, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.schedulers, pytest.mark.timeout(900)]
when_killed = pytest.mark.parametrize("window", [False, True], ids=["while it waits", "in the create"])


def killed(night: Place, *, window: bool, wait: float = 60.0) -> None:
    """A worker is killed once its job is there: while it waits, or before it knows."""
    if window:
        night.service.faults.arm("C8c", silence=600)  # the job is made, and nobody says so
    worker = night.worker()
    worker.begin(wait)
    night.until(lambda: night.used()[0] and (window or any(night.known)), worker)
    worker.kill()
    night.service.faults.clear()
    night.service.advance(7200)


def called_until_sent(night: Place, worker: Worker) -> dict[str, Any]:
    """Call with little time, so that nobody waits; a slow machine may need several calls."""
    while True:
        said = worker.call(2.0)
        if night.used()[0]:
            return said


# Airflow --------------------------------------------------------------------------------------------------------------


def state_of(night: Place, task: str) -> Any:
    with closing(sqlite3.connect(night.folder / "airflow" / "airflow.db")) as db:
        found = db.execute("SELECT state FROM task_instance WHERE task_id = ?", (task,)).fetchone()
    return found and found[0]


def test_airflow(airflow: Callable[[str], Place]) -> None:
    """The sensor gives its worker back while the service works; later, clearing the task costs nothing."""
    night = airflow("airflow_batch.py")
    worker = night.worker()

    worker.begin(2.0)
    night.until(lambda: night.used()[0] and state_of(night, "answers") == "up_for_reschedule", worker)
    night.service.advance(7200)
    first, second = worker.end(), worker.call()

    assert first == second
    assert (first["state"], first["tasks"]) == ("success", {"answers": "success", "judge": "success"})
    assert first["said"] == {"succeeded": 3}
    assert (night.verdicts, night.used()) == (["succeeded"] * 3, (1, 3, 3))


@when_killed
def test_airflow_killed(airflow: Callable[[str], Place], *, window: bool) -> None:
    night = airflow("airflow_batch.py")

    killed(night, window=window)

    assert night.worker().call()["state"] == "success"
    assert (night.verdicts, night.used()) == (["succeeded"] * 3, (1, 3, 3))


def test_airflow_and_a_row_without_a_good_answer(airflow: Callable[[str], Place]) -> None:
    """Red, and the results are complete."""
    night = airflow("airflow_batch.py")
    night.service.pace()
    night.write(cut=True)

    said = night.worker().call()

    assert (said["state"], said["tasks"]) == ("failed", {"answers": "success", "judge": "failed"})
    assert night.verdicts == ["succeeded"] * 3 + ["truncated"]


def test_airflow_and_a_file_that_cannot_be_used(airflow: Callable[[str], Place]) -> None:
    """Red at once, although the task has retries."""
    night = airflow("airflow_batch.py")
    (night.folder / f"requests-{DAY}.jsonl").write_text("not json\n")

    said = night.worker().call()

    assert (said["tasks"]["answers"], said["tries"]) == ("failed", 1)
    assert "1 problem found; nothing was sent. Line 1: " in night.workers[0].said
    assert night.used() == (0, 0, 0)


# Dagster --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def dagster(place: Callable[..., Place], tmp_path: Path) -> Place:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    night = place("dagster", "dagster_asset.py", DAGSTER_HOME=str(home))
    night.write()
    return night


def test_dagster(dagster: Place) -> None:
    """The asset is made once its answers are there; until then, its runs end after a moment."""
    worker = dagster.worker()

    early = called_until_sent(dagster, worker)
    dagster.service.advance(7200)
    made, after = worker.call(), worker.call()

    assert early == {"asked": [DAY], "states": ["success"], "metadata": [], "retries": 0}
    (metadata,) = made["metadata"]
    assert (metadata["succeeded"], metadata["requests"], metadata["usd_left_out"]) == (3, 3, 0)
    assert metadata["usd"] > 0
    assert (made["states"], after["asked"]) == (["success"], [])
    assert (dagster.verdicts, dagster.used()) == (["succeeded"] * 3, (1, 3, 3))


@when_killed
def test_dagster_killed(dagster: Place, *, window: bool) -> None:
    killed(dagster, window=window)

    assert dagster.worker().call()["states"] == ["success"]
    assert (dagster.verdicts, dagster.used()) == (["succeeded"] * 3, (1, 3, 3))


def test_dagster_and_a_row_without_a_good_answer(dagster: Place) -> None:
    """The run is red; the asset is there, and counts it."""
    dagster.service.pace()
    dagster.write(cut=True)

    said = dagster.worker().call()

    assert (said["states"], said["retries"]) == (["failed"], 0)
    assert [(one["succeeded"], one["truncated"]) for one in said["metadata"]] == [(3, 1)]
    assert dagster.verdicts == ["succeeded"] * 3 + ["truncated"]


def test_dagster_and_a_file_that_cannot_be_used(dagster: Place) -> None:
    (dagster.folder / f"requests-{DAY}.jsonl").write_text("not json\n")

    said = dagster.worker().call()

    assert (said["states"], said["retries"], said["metadata"]) == (["failed"], 0, [])
    assert dagster.used() == (0, 0, 0)


# Prefect --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prefect(place: Callable[..., Place], tmp_path: Path) -> Place:
    patience = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    night = place("prefect", "prefect_flow.py", PREFECT_HOME=str(tmp_path / "prefect"), **patience)
    night.write()
    return night


def test_prefect(prefect: Place) -> None:
    """A flow run that comes too early says so and ends; one that comes after the end has nothing to do."""
    worker = prefect.worker()

    early = called_until_sent(prefect, worker)
    prefect.service.advance(7200)
    made, after = worker.call(), worker.call()

    assert (early["name"], early["type"]) == ("NotYet", "COMPLETED")
    assert (made["name"], made["message"]) == ("Completed", str({DAY: {"succeeded": 3}}))
    assert (after["name"], after["message"]) == ("Completed", "{}")
    assert (prefect.verdicts, prefect.used()) == (["succeeded"] * 3, (1, 3, 3))


@when_killed
def test_prefect_killed(prefect: Place, *, window: bool) -> None:
    killed(prefect, window=window)

    assert prefect.worker().call()["name"] == "Completed"
    assert (prefect.verdicts, prefect.used()) == (["succeeded"] * 3, (1, 3, 3))


def test_prefect_and_a_row_without_a_good_answer(prefect: Place) -> None:
    """Red once; the results are complete, and the next call has nothing to do."""
    prefect.service.pace()
    prefect.write(cut=True)
    worker = prefect.worker()

    said, after = worker.call(), worker.call()

    assert (said["type"], after["type"]) == ("FAILED", "COMPLETED")
    assert "'truncated': 1" in said["message"]
    assert prefect.verdicts == ["succeeded"] * 3 + ["truncated"]


def test_prefect_and_a_day_that_cannot_be_used_stops_no_later_one(prefect: Place) -> None:
    (prefect.folder / "requests-2000-01-01.jsonl").write_text("not json\n")
    worker = prefect.worker()

    said = called_until_sent(prefect, worker)
    prefect.service.advance(7200)
    later = worker.call()

    assert said["type"] == later["type"] == "FAILED"
    assert "2000-01-01" in later["message"]
    assert (prefect.verdicts, prefect.used()) == (["succeeded"] * 3, (1, 3, 3))


def test_prefect_and_a_file_that_cannot_be_used(prefect: Place) -> None:
    """No retry: what the file says stays wrong."""
    (prefect.folder / f"requests-{DAY}.jsonl").write_text("not json\n")

    said = prefect.worker().call()

    assert said["type"] == "FAILED"
    assert "Retry" not in prefect.workers[0].said
    assert prefect.used() == (0, 0, 0)
