"""Other people's programs take installing, so they run only where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from crashes.users import User

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "interop" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("interop"):
            item.add_marker(pytest.mark.skip(reason="interop: `make interop` runs it"))


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "work")


@pytest.fixture
def emulator(user: User) -> Iterator[Callable[..., str]]:
    """Starts ``gemini-batch emulator`` as a user does; returns its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> str:
        process = user.start("emulator", *options)
        started.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, process.stderr and process.stderr.read()
        return url

    yield start
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def used(url: str) -> dict[str, int]:
    """What an emulator counted in all."""
    totals: dict[str, int] = httpx2.get(f"{url}/emulator/accounting").json()["totals"]
    return totals
