"""The whole life of jobs of Vertex AI through Google's clients, each as a user points it at the emulator."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance import clients, environments, page

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(900)]

#: The clients that work beside google-genai; too many packages to have them among the development tools.
CLIENTS = {"google-cloud-storage": "3.17.1", "google-cloud-bigquery": "3.47.0"}
#: What they need in another version than `constraints.txt` has.
_NEEDS = ("python-dateutil==2.9.0.post0", "pyarrow")
_OURS = ("GOOGLE_", "GEMINI_", "PYTHON", "PYTEST_", "STORAGE_", "BIGQUERY_")


def _lived(way: str, emulator: GeminiEmulator) -> dict[str, Any]:
    """What the program saw. Jobs begin an hour after they are made, and take a while; the program moves the clock."""
    emulator.pace(queue_delay=3600, rows_per_second=0.01)
    python = environments.python(
        "google-cloud",
        f"{clients.PYTHON_PACKAGE}[aiohttp]=={clients.NEWEST_PYTHON}",
        *(f"{name}=={version}" for name, version in CLIENTS.items()),
        *_NEEDS,
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    variables = ("GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
    done = subprocess.run(
        [python, Path(__file__).with_name("life_cloud.py"), emulator.url, way],
        env=environment | dict.fromkeys(variables, emulator.url),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("way", ["blocking", "aio"])
def test_a_life_in_the_cloud(way: str, gemini_emulator: GeminiEmulator) -> None:
    seen = _lived(way, gemini_emulator)
    _objects_of_all_kinds(seen["buckets"])
    _a_job_from_objects(seen["objects"])
    _a_job_from_tables(seen["tables"])


def _objects_of_all_kinds(seen: dict[str, Any]) -> None:
    assert seen == {
        "buckets": ["inputs"],
        "large": True,
        "range": True,
        "seek": True,
        "small": ["text/plain", {"from": "here"}, 5, 2],
        "whole": ["smallsmall", 2, None],
        "rewritten": [None, 5, 5],
        "empty": "",
        "names": ["empty", "moved", "small.txt", "whole", "written"],
        "folders": ["a folder/"],
        "exists": [False, True],
        "refused": ["PreconditionFailed", "NotFound", "NotFound", "Conflict", "Conflict", "PreconditionFailed"],
    }


def _a_job_from_objects(seen: dict[str, Any]) -> None:
    model = "publishers/google/models/gemini-3.8-flash"
    assert seen["made"] == ["JOB_STATE_PENDING", "nightly", model, "gs://inputs/in/dest"]
    assert [seen["queued"], seen["running"]] == ["JOB_STATE_QUEUED", "JOB_STATE_RUNNING"]
    assert seen["ended"] == ["JOB_STATE_SUCCEEDED", 5, None, True]
    folder, name = seen["output"]
    assert folder.startswith("gs://inputs/in/dest/prediction-model-")
    assert f"gs://inputs/{name}" == f"{folder}/predictions.jsonl"
    assert sorted(one["request"]["labels"]["id"] for one in seen["rows"]) == [f"row-{number}" for number in range(5)]
    assert {(one["status"], *one) for one in seen["rows"]} == {("", "status", "processed_time", "request", "response")}
    assert seen["lists"] == [True, True]
    assert seen["cancelled"] == "JOB_STATE_CANCELLED"
    assert seen["refused"] == [
        [400, "FAILED_PRECONDITION"],
        [404, "NOT_FOUND"],
        [400, "INVALID_ARGUMENT"],
        [400, "FAILED_PRECONDITION"],
    ]
    assert seen["deleted"] is True
    assert seen["gone"] == [404, "NOT_FOUND"]


def _a_job_from_tables(seen: dict[str, Any]) -> None:
    assert seen["inserted"] == [[], 5]
    assert seen["ended"] == "JOB_STATE_SUCCEEDED"
    assert seen["ids"] == list(range(5))
    assert seen["texts"] == [f"row-{number}" for number in range(5)]
    assert seen["columns"] == ["id", "request", "response", "status", "processed_time"]
    assert seen["times"] is True
    assert seen["loaded"] == [[2, "DONE"], "Conflict", [2, True]] * 2


def test_the_page_names_these_versions() -> None:
    named = dict(page.table("Vertex AI"))
    assert {name.strip("`"): version for name, version in named.items()} == {
        clients.PYTHON_PACKAGE: clients.NEWEST_PYTHON,
        **CLIENTS,
    }
