"""The pytest fixture that comes with the package."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from gemini_batch.testing import GeminiEmulator


def test_the_fixture(gemini_emulator: GeminiEmulator) -> None:
    """A URL, a clock, a pace and the accounts."""
    gemini_emulator.pace(queue_delay=3600)
    body = {
        "batch": {"inputConfig": {"requests": {"requests": [{"request": {"contents": [{"parts": [{"text": "x"}]}]}}]}}}
    }
    with httpx2.Client(base_url=gemini_emulator.url, headers={"x-goog-api-key": "k"}) as http:
        name = http.post("/v1/models/gemini-3.8-flash:batchGenerateContent", json=body).json()["name"]
        assert "done" not in http.get(f"/v1/{name}").json()
        gemini_emulator.advance(3600)
        assert http.get(f"/v1/{name}").json()["done"] is True
    assert gemini_emulator.accounting()["totals"]["paid"] == 1
    with pytest.raises(ValueError, match="forward"):
        gemini_emulator.advance(-1)


def test_the_switches(gemini_emulator: GeminiEmulator) -> None:
    """Each alone, on and off."""
    url = f"{gemini_emulator.url}/v1/files"
    token = {"Authorization": "Bearer t"}
    assert httpx2.get(url, headers=token).status_code == 403
    gemini_emulator.switch(bearer=True)
    gemini_emulator.switch(list_outputs=False)
    assert httpx2.get(url, headers=token).status_code == 200
    request = {"contents": [{"parts": [{"text": "x"}]}]}
    with httpx2.Client(base_url=gemini_emulator.url, headers={"x-goog-api-key": "k"}) as http:
        headers = {"X-Goog-Upload-Protocol": "raw", "Content-Type": "text/plain"}
        file = http.post("/upload/v1/files", headers=headers, json={"key": "a", "request": request}).json()["file"]
        body = {"batch": {"inputConfig": {"fileName": file["name"]}}}
        name = http.post("/v1/models/gemini-3.8-flash:batchGenerateContent", json=body).json()["name"]
        assert http.get(f"/v1/{name}").json()["done"]
        assert len(http.get("/v1/files").json()["files"]) == 1
        gemini_emulator.switch(list_outputs=True)
        assert len(http.get("/v1/files").json()["files"]) == 2
    gemini_emulator.switch(bearer=False)
    assert httpx2.get(url, headers=token).status_code == 403


def test_buckets(gemini_emulator: GeminiEmulator) -> None:
    """As often as a program likes."""
    for _ in range(2):
        gemini_emulator.add_bucket("inputs")
    listed = httpx2.get(f"{gemini_emulator.url}/storage/v1/b", params={"project": "any"}).json()
    assert [one["name"] for one in listed["items"]] == ["inputs"]


def test_faults_and_quotas(gemini_emulator: GeminiEmulator) -> None:
    """Armed, played, counted, cleared; limits too."""
    emulator = gemini_emulator
    with httpx2.Client(base_url=emulator.url, headers={"x-goog-api-key": "k"}) as http:
        (number,) = emulator.faults.arm(operation="batches.list", status=503, times=2)
        assert http.get("/v1/batches").status_code == 503
        assert emulator.faults.armed() == [
            {
                "id": number,
                "seen": 1,
                "played": 1,
                "fault": {"operation": "batches.list", "status": 503, "times": 2},
            }
        ]
        emulator.faults.clear(number)
        assert http.get("/v1/batches").status_code == 200
        requests: list[dict[str, Any]] = [{"request": {"contents": []}}]
        body = {"batch": {"inputConfig": {"requests": {"requests": requests}}}}
        emulator.faults.arm("C8a")
        emulator.limit(jobs=0)
        assert http.post("/v1/models/gemini-3.8-flash:batchGenerateContent", json=body).status_code == 429
        emulator.faults.clear()
        assert http.post("/v1/models/gemini-3.8-flash:batchGenerateContent", json=body).status_code == 200
        assert emulator.accounting()["totals"]["jobs"] == 1
    for wrong in ({"sttus": 503}, {"status": "503"}, {}, {"probability": 2, "status": 500}):
        with pytest.raises(ValueError, match=r".+"):
            emulator.faults.arm(**wrong)
    with pytest.raises(ValueError, match="C99"):
        emulator.faults.arm("C99")
    with pytest.raises(ValueError, match="tier"):
        emulator.limit(tier=4)


def test_importing_it_is_cheap() -> None:
    """pytest loads it in every project where this package is installed."""
    code = "import sys, gemini_batch.testing; print({'starlette', 'uvicorn', 'httpx2', 'msgspec'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
