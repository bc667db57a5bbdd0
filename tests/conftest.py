"""What every test has: a home of its own, and no key, address or setting of whoever runs the tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path

# Machines are shared and slow at times: an example's time says nothing, and a test must not fail for it.
# The same change passes or fails each time it is tested: examples are drawn alike. ``PROPERTY_EXAMPLES`` asks for as
# many new ones as there is time for.
settings.register_profile(
    "unhurried",
    max_examples=int(os.environ.get("PROPERTY_EXAMPLES", "50")),
    derandomize="PROPERTY_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
)
settings.load_profile("unhurried")

_OURS = ("GOOGLE_", "GEMINI_")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's settings, and none writes to the user's home."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
