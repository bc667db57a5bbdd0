"""Engines that shape rows take installing, so they run only where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engines import homes

if TYPE_CHECKING:
    from pathlib import Path

MARKS = ("daft", "spark")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = config.getoption("markexpr")
    for item in items:
        for mark in MARKS:
            if item.get_closest_marker(mark) and mark not in asked:
                item.add_marker(pytest.mark.skip(reason=f"{mark}: `make daft` runs it"))


@pytest.fixture(scope="session", name="daft_python")
def daft_environment() -> Path:
    return homes.daft_python()


@pytest.fixture(scope="session", name="spark_python")
def spark_environment() -> Path:
    return homes.spark_python()
