"""Serving: prompt to start, prompt to stop, quiet."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from typing import TYPE_CHECKING

import httpx2
import pytest

from emulator.conftest import Api, lines
from gemini_batch.emulator.http.server import serve
from gemini_batch.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path


def test_an_idle_connection_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Stopping takes far less than a client's keep-alive time."""
    with serve(tmp_path) as running:
        idle = httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"})
        idle.get("/v1/batches")
        open_socket = socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])))
        before = time.monotonic()
    assert time.monotonic() - before < 1.0
    idle.close()
    open_socket.close()


def test_stopping_leaves_work_at_a_checkpoint(tmp_path: Path) -> None:
    """And whoever serves the folder next goes on."""
    headers = {"x-goog-api-key": "k"}
    with serve(tmp_path, rows_per_second=1.0) as first, httpx2.Client(base_url=first.url, headers=headers) as http:
        api = Api(http, first.emulator)
        name = api.begin(lines(50))
        first.emulator.clock.advance(10)
        assert api.state(name) == "RUNNING"
    with serve(tmp_path) as second, httpx2.Client(base_url=second.url, headers=headers) as http:
        second.emulator.clock.advance(100)
        assert len(Api(http, second.emulator).results(name)) == 50


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    """Old files that nothing speaks of go; young ones and those in use stay."""
    headers = {"x-goog-api-key": "k"}
    with serve(tmp_path) as first, httpx2.Client(base_url=first.url, headers=headers) as http:
        api = Api(http, first.emulator)
        name = api.begin(lines(2))
        api.finish(name)
    kept = sorted(path.name for path in (tmp_path / "blobs").iterdir())
    for path in (tmp_path / "blobs" / "inline-old", tmp_path / "outputs" / "x.part", tmp_path / "blobs" / "young"):
        path.touch()
    for path in [*(tmp_path / "blobs").iterdir(), tmp_path / "outputs" / "x.part"]:
        if path.name != "young":
            os.utime(path, (0, 0))
    with serve(tmp_path) as second, httpx2.Client(base_url=second.url, headers=headers) as http:
        assert len(Api(http, second.emulator).results(name)) == 2
    assert sorted(path.name for path in (tmp_path / "blobs").iterdir()) == sorted([*kept, "young"])
    assert not list((tmp_path / "outputs").iterdir())


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Is the operating system's own error."""
    with serve(tmp_path / "a") as running:
        port = int(running.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), serve(tmp_path / "b", port=port):
            pass


def test_data_of_a_newer_version(tmp_path: Path) -> None:
    """Are left alone."""
    with serve(tmp_path):
        pass
    db = sqlite3.connect(tmp_path / "emulator.db")
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(StateError, match="version 999"), serve(tmp_path):
        pass


def test_the_clock(world: Api) -> None:
    """It moves forward, and only forward."""
    before = world.http.get("/emulator/clock").json()["now"]
    after = world.http.post("/emulator/clock", json={"advance": 3600}).json()["now"]
    assert before < after
    bodies: list[object] = [{"advance": -1}, {"advance": "soon"}, [], {"advance": None}]
    for body in bodies:
        assert world.http.post("/emulator/clock", json=body).status_code == 400


def test_an_error_inside_is_an_answer(world: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 in JSON, with what went wrong."""

    def broken(budget: float = 0) -> bool:
        raise OSError("the disk is full")

    monkeypatch.setattr(world.world.engine, "advance", broken)
    refused = world.http.get("/v1/batches")
    assert refused.status_code == 500
    assert refused.json()["error"]["message"] == "The emulator failed: OSError: the disk is full"
