"""Stops, starts and other responders: jobs of Vertex AI continue as all batches do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.vertex.cloud import Caller, labels, row
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.responders import builtin
from gemini_batch.emulator.responders.registry import Pool
from gemini_batch.emulator.vertex.exporting import Exports
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [row(f"row-{number}") for number in range(10)]


def test_a_job_continues(tmp_path: Path) -> None:
    """Also one that was half done; the buckets of the start are made once, and their objects stay."""
    with (
        serve(tmp_path, buckets=["a-bucket"], rows_per_second=1) as running,
        httpx2.Client(base_url=running.url) as http,
    ):
        cloud = Caller(http, running.emulator)
        job = cloud.begin(*ROWS)
        running.emulator.clock.advance(5)
        assert int(cloud.get(job)["completionStats"]["successfulCount"]) >= 5
    with serve(tmp_path, buckets=["a-bucket"]) as running, httpx2.Client(base_url=running.url) as http:
        cloud = Caller(http, running.emulator)
        running.emulator.clock.advance(10)
        assert sorted(labels(cloud.rows(job))) == sorted(labels(ROWS))
        assert cloud.http.get("/emulator/accounting").json()["totals"]["paid"] == 10


def test_an_end_in_the_middle_of_the_export(own: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export is repeated, and overwrites what was there."""
    export, tries = Exports.__call__, []

    def broken(exports: Exports, *arguments: Any) -> None:
        tries.append(arguments)
        export(exports, *arguments)
        if len(tries) == 1:
            raise RuntimeError("the power failed")

    monkeypatch.setattr(Exports, "__call__", broken)
    job = own.begin(*ROWS)
    assert own.http.get(job, headers={"Authorization": "Bearer x"}).status_code == 500
    assert sorted(labels(own.rows(job))) == sorted(labels(ROWS))
    assert len(tries) == 2
    assert len(own.names(prefix="out/")) == 1
    assert list(own.world.store.blobs.glob("output-*")) == []


def test_many_answers_at_a_time(tmp_path: Path) -> None:
    """A concurrent responder answers the rows, and does not see those that are refused."""
    asked: list[str] = []

    async def answer(model: str, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request["labels"]["id"])
        return builtin.respond(model, request)

    bad = {"request": {"contents": [{"parts": [{"text": "whose?"}]}], "labels": {"id": "no-role"}}}
    pool = Pool(answer, limit=3)
    with serve(tmp_path, responder=pool) as running, httpx2.Client(base_url=running.url) as http:
        cloud = Caller(http, running.emulator)
        cloud.add_bucket()
        found = cloud.rows(cloud.begin(*ROWS, bad))
    pool.close()
    assert sorted(labels(found)) == sorted([*labels(ROWS), "no-role"])
    assert sorted(asked) == sorted(labels(ROWS))


def test_lenient(own: Caller) -> None:
    """A content without a role, and unknown names in the body of a create, are accepted."""
    own.world.engine.lenient = True
    bad = {"request": {"contents": [{"parts": [{"text": "whose?"}]}]}}
    (found,) = own.rows(own.begin(bad, somethingNew=True))
    assert (found["status"], found["request"]) == ("", bad["request"])


def test_a_wrong_name_of_a_bucket(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="'A Bucket' is not the name of a bucket"),
        serve(tmp_path, buckets=["A Bucket"]),
    ):
        pass
