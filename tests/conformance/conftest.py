"""Official clients in homes of their own take installing, so they run only where they are asked for."""

from __future__ import annotations

import pytest

_TARGETS = {"conformance": "make conformance", "js": "make js"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("markexpr")
    for item in items:
        if "fast" in asked and item.get_closest_marker("fast"):
            continue
        for marker, target in _TARGETS.items():
            if item.get_closest_marker(marker) and marker not in asked:
                item.add_marker(pytest.mark.skip(reason=f"{marker}: `{target}` runs it"))
