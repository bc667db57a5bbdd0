"""The window of rows that were asked for before their turn, apart from any server."""

from __future__ import annotations

import io
import json
from concurrent.futures import Future
from typing import Any

from gemini_batch.emulator.engine.prefetch import Concurrent, Prefetch

ROWS = [json.dumps({"n": n}).encode() + b"\n" for n in range(20)]
INPUT = b"\n".join([b"".join(ROWS[:3]), b"".join(ROWS[3:])])  # with a blank line before row 3


class Asked:
    """A responder whose answers are given by hand."""

    limit = 2

    def __init__(self) -> None:
        self.open: list[tuple[int, Future[dict[str, Any]]]] = []

    def __call__(self, model: str, request: dict[str, Any]) -> dict[str, Any]:
        return {"alone": request["n"]}

    def submit(self, model: str, request: dict[str, Any]) -> Future[dict[str, Any]]:
        future: Future[dict[str, Any]] = Future()
        self.open.append((request["n"], future))
        return future

    def answer(self, *numbers: int) -> None:
        for number, future in self.open:
            if number in numbers:
                future.set_result({"answer": number})


def beginning(asked: Asked, *, until: int = 20, row: int = 0, offset: int = 0) -> Prefetch:
    prefetch = Prefetch(asked, "m", json.loads, row=row, offset=offset)
    assert prefetch.resume(io.BytesIO(INPUT), row=row, offset=offset, until=until)
    return prefetch


def serve(prefetch: Prefetch, asked: Asked, rows: int) -> int:
    """Serve so many rows as the engine does; returns the offset after them."""
    read = 0
    while rows:
        assert prefetch.ready(0)
        data = prefetch.readline()
        read += len(data)
        if data.strip():
            assert prefetch.answer("m", {}) == {"answer": json.loads(data)["n"]}
            rows -= 1
    return read


def test_it_is_what_the_engine_looks_for() -> None:
    assert isinstance(Asked(), Concurrent)
    assert not isinstance(lambda model, request: {}, Concurrent)


def test_in_order_whatever_comes_first() -> None:
    """The second answer is there and waits for the first; the window does not grow beyond four a place."""
    asked = Asked()
    prefetch = beginning(asked)
    assert not prefetch.ready(0)
    assert [number for number, _ in asked.open] == list(range(7))  # the eighth line is the blank one
    asked.answer(1)
    assert not prefetch.ready(0)
    asked.answer(0)
    serve(prefetch, asked, 2)
    assert not prefetch.ready(0)
    assert [number for number, _ in asked.open] == list(range(9))


def test_it_goes_on_from_its_own_place_only() -> None:
    """The same checkpoint: nothing is asked twice. Another one, or fewer rows than were asked for: not this window."""
    asked = Asked()
    prefetch = beginning(asked)
    assert not prefetch.ready(0)
    asked.answer(0, 1, 2, 3)
    offset = serve(prefetch, asked, 4)
    assert prefetch.resume(io.BytesIO(INPUT), row=4, offset=offset, until=20)
    assert not prefetch.ready(0)
    asked.answer(*range(4, 20))
    assert not prefetch.resume(io.BytesIO(INPUT), row=3, offset=offset, until=20)
    assert not prefetch.resume(io.BytesIO(INPUT), row=4, offset=offset - 1, until=20)
    assert not prefetch.resume(io.BytesIO(INPUT), row=4, offset=offset, until=5)
    assert prefetch.resume(io.BytesIO(INPUT), row=4, offset=offset, until=20)
    while len(asked.open) < 20:
        assert prefetch.ready(0)
        prefetch.readline()
        for _, future in asked.open[-1:]:
            if not future.done():
                future.set_result({})
    assert [number for number, _ in asked.open] == list(range(20))


def test_rows_that_will_be_refused_are_not_asked_for() -> None:
    """Beyond ``until`` lines are only read."""
    asked = Asked()
    prefetch = beginning(asked, until=2)
    asked_for = []
    assert not prefetch.ready(0)
    asked.answer(0, 1)
    serve(prefetch, asked, 2)
    while prefetch.ready(0) and (data := prefetch.readline()):
        asked_for.append(data)
    assert b"".join(asked_for) == INPUT[len(ROWS[0] + ROWS[1]) :]
    assert [number for number, _ in asked.open] == [0, 1]


def test_closing_ends_what_is_open() -> None:
    asked = Asked()
    prefetch = beginning(asked)
    assert not prefetch.ready(0)
    prefetch.close()
    assert all(future.cancelled() for _, future in asked.open)


def test_a_line_that_cannot_be_read_is_left_to_whoever_serves_it() -> None:
    asked = Asked()
    prefetch = Prefetch(asked, "m", json.loads, row=0, offset=0)
    assert prefetch.resume(io.BytesIO(b"{broken\n" + ROWS[0]), row=0, offset=0, until=2)
    assert prefetch.ready(0)
    assert prefetch.readline() == b"{broken\n"
    assert prefetch.answer("m", {"n": 7}) == {"alone": 7}
    assert [number for number, _ in asked.open] == [0]


def test_rows_of_megabytes_keep_the_window_small() -> None:
    """However many rows may be open, not more bytes than 64 MiB and one row."""
    asked = Asked()
    asked.limit = 1000
    big = json.dumps({"n": 1, "data": "x" * (30 << 20)}).encode() + b"\n"
    prefetch = Prefetch(asked, "m", json.loads, row=0, offset=0)
    assert prefetch.resume(io.BytesIO(big * 6), row=0, offset=0, until=6)
    assert not prefetch.ready(0)
    assert len(asked.open) == 3
