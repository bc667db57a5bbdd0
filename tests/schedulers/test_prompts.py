"""Airflow's own operator of batches with Gemini: `@task.llm_batch`, its trigger, and the adapter of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from schedulers.conftest import Place

NOT_GOOD = ("errored", "invalid_output", "expired", "cancelled", "missing")
pytestmark = [pytest.mark.schedulers, pytest.mark.timeout(900)]


@pytest.fixture
def night(airflow: Callable[[str], Place]) -> Place:
    made = airflow("airflow_prompts.py")
    (made.folder / "reviews.txt").write_text("Good.\nBad.\nSo ‘la la’.\n", encoding="utf-8")
    return made


def rows(said: dict[str, Any]) -> list[dict[str, Any]]:
    """What the operator has written, by index."""
    lines = Path(said["said"]["result_uri"].removeprefix("file://")).read_text(encoding="utf-8").splitlines()
    return sorted(map(json.loads, lines), key=lambda row: int(row["index"]))


def test_prompts(night: Place) -> None:
    """The operator defers, its trigger polls, and each prompt has an answer of the type that was asked for."""
    worker = night.worker()

    worker.begin(0)
    night.until(lambda: night.used()[0], worker)
    night.service.advance(7200)
    said = worker.end()
    again = worker.call()

    assert (said["state"], said["tasks"]) == ("success", {"classify": "success", "judge": "success"})
    assert said["said"]["counts"] == {"succeeded": 3} | dict.fromkeys(NOT_GOOD, 0)
    for row in rows(said):
        assert row["output"].keys() == {"positive", "topics"}
        assert row["usage"]["output_tokens"] > 0
        assert row["finish_reason"] == "STOP"
    assert again["said"]["batch_id"] == said["said"]["batch_id"]
    assert night.used() == (1, 3, 3)
    (job,) = night.service.accounting()["jobs"]
    assert job["displayName"].startswith(f"airflow-{said['said']['custom_id_prefix']}-")


@pytest.mark.parametrize("disk", ["the same disk", "another disk"])
@pytest.mark.parametrize("window", [False, True], ids=["while it waits", "in the create"])
def test_prompts_killed(night: Place, *, window: bool, disk: str) -> None:
    """The next attempt finds the job by the operator's record, in the ledger, or by its name at the service."""
    if window:
        night.service.faults.arm("C8c", silence=600)  # the job is made, and nobody says so
    worker = night.worker()
    worker.begin(0)
    night.until(lambda: night.used()[0] and (window or recorded(night)), worker)
    worker.kill()
    night.service.faults.clear()
    night.service.advance(7200)

    home = night.folder / ("state" if disk == "the same disk" else "other")
    said = night.worker(GEMINI_BATCH_HOME=str(home)).call()

    assert said["state"] == "success"
    assert [row["status"] for row in rows(said)] == ["success"] * 3
    assert night.used() == (1, 3, 3)
    if disk == "the same disk":  # the ledger has settled what it was doing
        assert night.known == ["JOB_STATE_SUCCEEDED"]


def recorded(night: Place) -> bool:
    """Whether the operator has recorded the job."""
    files = [*(night.folder / "_airflow_batch_state").glob("*.json")]
    return any('"batches/' in file.read_text() for file in files)


def test_prompts_and_rows_without_a_good_answer(night: Place) -> None:
    """One fails at the service, one is cut off: counted and named by the operator, and the task after it is red."""
    night.service.faults.arm(row="error", code=3, message="No.")
    night.service.faults.arm(row="cut_half", text="not much")
    night.service.pace()

    said = night.worker().call()

    assert (said["state"], said["tasks"]) == ("failed", {"classify": "success", "judge": "failed"})
    failed, cut, good = rows(said)
    assert failed["error"] == {
        "type": "failed",
        "message": "No.",
        "provider_code": "INVALID_ARGUMENT",
        "stage": "provider",
    }
    assert (cut["error"]["type"], cut["error"]["provider_code"], cut["finish_reason"]) == (
        "truncated",
        "MAX_TOKENS",
        "MAX_TOKENS",
    )
    assert "not much".startswith(cut["error"]["text"])
    assert good["status"] == "success"
    assert said["said"]["terminal_reason"] == "partial"
    assert said["said"]["counts"] == dict.fromkeys(NOT_GOOD, 0) | {"succeeded": 1, "errored": 2}


def test_prompts_whose_job_is_cancelled(night: Place) -> None:
    """Somebody cancels it: the operator says so, and its next attempt makes another job."""
    worker = night.worker()
    worker.begin(0)
    night.until(lambda: night.used()[0], worker)
    (job,) = night.service.accounting()["jobs"]
    night.service.pace()
    cancel(night, job["name"])
    said = worker.end()

    assert (said["state"], said["tries"]) == ("success", 2)
    assert "was cancelled before 3 of 3 requests completed" in worker.said
    assert night.used() == (2, 6, 3)


def test_prompts_whose_job_expires(night: Place) -> None:
    """Nothing was answered: each row says why, and nothing is sent again."""
    night.service.pace(queue_delay=100 * 3600)
    worker = night.worker()
    worker.begin(0)
    night.until(lambda: night.used()[0], worker)
    night.service.advance(49 * 3600)
    said = worker.end()

    assert said["said"]["terminal_reason"] == "expired"
    assert said["said"]["counts"] == {"succeeded": 0} | dict.fromkeys(NOT_GOOD, 0) | {"expired": 3}
    assert night.used() == (1, 3, 0)


def test_prompts_that_are_refused(night: Place) -> None:
    """Before the operator records anything, with the number of the request."""
    dag = night.folder / "airflow" / "dags" / "airflow_prompts.py"
    dag.write_text(dag.read_text().replace("deferrable=True,", 'request_params={"temperature": 7},'))

    said = night.worker().call()

    assert said["tasks"]["classify"] == "failed"
    assert "LLMBatchInputError: Request 0: " in night.workers[0].said
    assert not [*night.folder.glob("_airflow_batch_state/*")]
    assert night.used() == (0, 0, 0)


def cancel(night: Place, job: str) -> None:
    key = {"x-goog-api-key": "any-key"}
    httpx2.post(f"{night.service.url}/v1beta/{job}:cancel", headers=key, json={}).raise_for_status()
