"""Buckets, and a count of the calls that are made there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore

from gemini_batch.objects import stores
from objects.buckets import Bucket, Calls

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["s3", "file"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    if request.param == "s3":
        return _in_memory(monkeypatch)
    (tmp_path / "bucket").mkdir()
    place = (tmp_path / "bucket").resolve()
    return Bucket(f"file://{place}", LocalStore("/"), f"{str(place)[1:]}/")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket in memory alone, for what does not depend on the store."""
    return _in_memory(monkeypatch)


def _in_memory(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    opened, store = stores.opened, MemoryStore()
    monkeypatch.setattr(stores, "opened", lambda root: store if root == "s3://bucket" else opened(root))
    return Bucket("s3://bucket", store, "")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    found = Calls()
    for name in ("get", "put", "head", "delete", "list"):
        monkeypatch.setattr(obstore, name, found.watch(name))
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "objects" in config.getoption("markexpr"):
        return
    for item in items:
        if item.get_closest_marker("objects"):
            item.add_marker(pytest.mark.skip(reason="objects: `make objects` runs it"))
