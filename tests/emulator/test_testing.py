"""The pytest fixture that comes with the package."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

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


def test_importing_it_is_cheap() -> None:
    """pytest loads it in every project where this package is installed."""
    code = "import sys, gemini_batch.testing; print({'starlette', 'uvicorn', 'httpx2', 'msgspec'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
