"""Work on a table that is told to stop, as by Ctrl-C, stops wherever it is."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from gemini_batch.events import ignore_events, in_thread
from gemini_batch.stopping import Stop, Stopped, check, interruptible
from gemini_batch.tables.making.attachments import Attachments
from gemini_batch.tables.making.template import Templates
from gemini_batch.tables.sources.snapshot import Given, Snapshot, take_snapshot
from gemini_batch.tables.sources.source import find_source, query

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDLESS_SQL = "select sum(a.range * b.range) as t from range(10000000) a, range(10000000) b"
ENDLESS_TEMPLATE = "{% for i in range(99999) %}{% for j in range(99999) %}{{ a }}{% endfor %}{% endfor %}"


def _endless_rows(begun: threading.Event) -> object:
    while True:
        begun.set()
        yield {"a": 1}


def _template(begun: threading.Event) -> str:
    class Says(str):
        def __str__(self) -> str:
            begun.set()
            return "x"

    return Templates(["a"]).compile(ENDLESS_TEMPLATE, "--prompt").render([Says("x")])


def _begun_snapshot(begun: threading.Event, scratch: Path) -> Snapshot:
    begun.set()
    return take_snapshot(query(ENDLESS_SQL), scratch)


@pytest.mark.parametrize("what", ["query", "rows", "template"])
def test_endless_work_ends_when_its_caller_is_cancelled(what: str, tmp_path: Path) -> None:
    begun, ended = threading.Event(), threading.Event()
    works: dict[str, Callable[[], object]] = {
        "query": lambda: _begun_snapshot(begun, tmp_path),
        "rows": lambda: take_snapshot(Given(_endless_rows(begun)), tmp_path),
        "template": lambda: _template(begun),
    }

    def work(_: object) -> None:
        try:
            works[what]()
        finally:
            ended.set()

    async def cancelled() -> None:
        working = asyncio.ensure_future(in_thread(work, ignore_events))
        await asyncio.to_thread(begun.wait)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(asyncio.wait_for(cancelled(), 60))
    assert ended.is_set()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "a,b\n1,2\n"), ("a.csv.gz", None), ("a.json", '[{"a": 1}]'), ("latin.csv", b"a,b\n\xe4\xe4,2\n")],
)
def test_nothing_is_read_once_it_is_told_to_stop(name: str, content: str | bytes | None, tmp_path: Path) -> None:
    import gzip

    path = tmp_path / name
    data = gzip.compress(b"a,b\n1,2\n") if content is None else content
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    (scratch := tmp_path / "scratch").mkdir()
    stop = Stop()
    stop.tell()
    with stop.active(), pytest.raises(Stopped):
        take_snapshot(find_source(str(path)), scratch)
    assert not (scratch / "table.parquet").exists()


def test_a_large_attachment_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    stop = Stop()
    stop.tell()
    with stop.active(), pytest.raises(Stopped):
        Attachments(tmp_path).resolve("a.txt")


def test_an_interrupt_is_called_as_long_as_it_is_of_use() -> None:
    stop, called = Stop(), list[str]()
    check()
    with stop.active():
        with interruptible(lambda: called.append("first")):
            stop.tell()
            stop.tell()
        stop.tell()
        with pytest.raises(Stopped), interruptible(lambda: called.append("second")):
            pytest.fail("the work goes on")
    check()
    assert called == ["first", "first"]
