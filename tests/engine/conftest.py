"""A service in memory, with a request file of six beside the home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.clock import Clock
from engine.fake import FakeService, write_requests
from engine.steps import KEYS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)
