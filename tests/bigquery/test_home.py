"""These tests where Google's client for BigQuery is installed: too many packages to have them among the development
tools, so it gets an environment of its own. `make bigquery` runs this."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from docs.pages import ROOT
from interop.homes import interpreter

pytestmark = [pytest.mark.bigquery_home, pytest.mark.timeout(900)]

CLIENT = "google-cloud-bigquery==3.47.0"
_TOOLS = ("hypothesis", "pytest>=9", "pytest-asyncio>=1.4", "pytest-randomly>=4", "pytest-timeout>=2.4")


def test_all_of_them() -> None:
    python = interpreter("bigquery", "--editable", f"{ROOT}[bigquery]", CLIENT, *_TOOLS)
    command: list[str | Path] = [python, "-m", "pytest", "-q", "-m", "not bigquery_home", Path(__file__).parent]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PIP_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
