"""A table whose rows have attachments, and the service that stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine.attaching import Store, make_table
from engine.clock import Clock
from gemini_batch.intake import tabular

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def everything_is_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are uploaded, too."""
    monkeypatch.setattr(tabular, "INLINE_MAX", 0)


@pytest.fixture
def service(tmp_path: Path) -> Store:
    make_table(tmp_path)
    return Store(Clock(), chunk=10_000)
