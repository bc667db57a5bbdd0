"""An emulator for each module, and a project with a bucket for every test; or one of its own, to move its clock."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import httpx2
import pytest

from emulator.vertex.cloud import Caller
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.emulator.http.server import Running

_NUMBERS = count(1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve(tmp_path_factory.mktemp("cloud")) as found:
        yield found


@pytest.fixture
def cloud(running: Running) -> Iterator[Caller]:
    """A caller of the module's emulator, with nothing of other tests."""
    number = next(_NUMBERS)
    with httpx2.Client(base_url=running.url, timeout=30) as http:
        caller = Caller(http, running.emulator, f"project-{number}", f"bucket-{number}")
        caller.add_bucket()
        yield caller


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Caller]:
    """A caller of an emulator of its own."""
    with serve(tmp_path / "data") as found, httpx2.Client(base_url=found.url, timeout=30) as http:
        caller = Caller(http, found.emulator)
        caller.add_bucket()
        yield caller
