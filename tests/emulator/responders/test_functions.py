"""A function of one's own as the responder: found, called, and kept from breaking anything."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from emulator.conftest import line, lines, results_of
from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulator.responders.conftest import Open

SHOUT = """
def answer(model: str, request: dict) -> dict:
    text = request["contents"][0]["parts"][0]["text"].upper()
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}
"""


@pytest.fixture
def write(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write a module of a name that no other test has; it is forgotten at the end."""
    import sys

    name = f"responder_{abs(hash(request.node.nodeid))}"
    monkeypatch.setattr(sys, "path", [*sys.path])

    def module(source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield module
    sys.modules.pop(name, None)


def test_a_function_answers(write: Any, emulate: Open) -> None:
    """It sees the model and the request in the service's own spelling; what it returns is the response."""
    name = write(SHOUT)
    asked = b'"contents": {"parts": {"text": "two"}}, "system_instruction": {"parts": {"text": "s"}}'
    snake = b'{"key": "b", "request": {' + asked + b"}}"
    with emulate(f"{name}:answer") as api:
        found = api.results(api.begin(line("a", "one") + b"\n" + snake))
    shown = [row["response"]["candidates"][0]["content"]["parts"][0]["text"] for row in found]
    assert shown == ["ONE", "TWO"]


def test_a_method_and_a_class(write: Any, emulate: Open) -> None:
    """Anything that can be called, by a dotted name."""
    name = write(
        "class Counter:\n    seen = 0\n"
        "    def answer(self, model, request):\n        self.seen += 1\n        return {'responseId': str(self.seen)}\n"
        "counter = Counter()\n"
    )
    with emulate(f"{name}:counter.answer") as api:
        found = api.results(api.begin(lines(3)))
    assert [row["response"]["responseId"] for row in found] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("raise ValueError('a bad day')", 13, "ValueError: a bad day"),
        ("raise RowError(8, 'Come back later.')", 8, "Come back later."),
        ("return 'text'", 13, "returned str, not a dict"),
        ("return None", 13, "returned NoneType"),
        ("return {'usageMetadata': {'promptTokenCount': '3'}}", 13, "whole numbers"),
        ("return {'usageMetadata': [1]}", 13, "whole numbers"),
        ("return {'value': object()}", 13, "TypeError"),
    ],
)
def test_what_goes_wrong_is_the_rows_error(write: Any, emulate: Open, body: str, code: int, words: str) -> None:
    """One row fails; the batch ends, and so does everything else."""
    name = write(f"from gemini_batch.errors import RowError\ndef answer(model, request):\n    {body}\n")
    with emulate(f"{name}:answer", background=True) as api:
        (row,) = api.results(api.begin(line("a")))
        job = api.http.get("/emulator/accounting").json()["jobs"][0]
    assert row["key"] == "a"
    assert row["error"]["code"] == code
    assert words in row["error"]["message"]
    assert (job["state"], job["failed"]) == ("SUCCEEDED", 1)


def test_an_async_function_answers_several_at_a_time(write: Any, emulate: Open) -> None:
    """Five calls must be open at once before any of them ends, and never is there a sixth."""
    name = write(
        "import asyncio\nbarrier = asyncio.Barrier(5)\nopened = 0\n"
        "async def answer(model, request):\n"
        "    global opened\n    opened += 1\n    assert opened <= 5\n"
        "    try:\n        await barrier.wait()\n    finally:\n        opened -= 1\n"
        "    return {'responseId': request['contents'][0]['parts'][0]['text']}\n"
    )
    with emulate(f"{name}:answer,concurrency=5") as api:
        found = api.results(api.begin(b"\n".join(line(f"k{n}", str(n)) for n in range(20))))
    assert [row["response"]["responseId"] for row in found] == [str(n) for n in range(20)]


def test_an_async_function_that_fails(write: Any, emulate: Open) -> None:
    name = write(
        "async def answer(model, request):\n    return [1 / len(request['contents'][0]['parts'][0]['text'][1:])]"
    )
    with emulate(f"{name}:answer") as api:
        found = api.results(api.begin(b"\n".join([line("a", "x"), line("b", "xy")])))
    assert "ZeroDivisionError" in found[0]["error"]["message"]
    assert "returned list, not a dict" in found[1]["error"]["message"]


def test_a_slow_async_function_keeps_no_look_waiting(write: Any, emulate: Open) -> None:
    import importlib

    name = write(
        "import asyncio\nloop = None\nasync def answer(model, request):\n"
        "    global loop, go\n    loop, go = asyncio.get_running_loop(), asyncio.Event()\n"
        "    started.set()\n    await go.wait()\n    return {'responseId': 'late'}\n"
        "import threading\nstarted = threading.Event()\n"
    )
    with emulate(f"{name}:answer", background=True) as api:
        job = api.begin(line("a"))
        module = importlib.import_module(name)
        assert module.started.wait(20)
        assert api.state(job) == "RUNNING"
        module.loop.call_soon_threadsafe(module.go.set)
        assert api.results(job)[0]["response"]["responseId"] == "late"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("answers", "does not name a responder"),
        (":answer", "does not name a responder"),
        ("NAME:", "does not name a responder"),
        ("no_such_module_here:answer", "No module named"),
        ("NAME:missing", "There is no missing"),
        ("NAME:answer.missing", "There is no answer.missing"),
        ("NAME:one", "does not accept two arguments"),
        ("NAME:number", "does not accept two arguments"),
        ("NAME:answer,concurrency=4", "not an async function"),
        ("NAME:answer,model=x", "not an option"),
    ],
)
def test_what_cannot_be_a_responder(write: Any, emulate: Open, spec: str, words: str) -> None:
    """Said at the start, with what to do about it."""
    name = write(SHOUT + "def one(request):\n    return {}\nnumber = 3\n")
    with pytest.raises(UsageError, match=words) as caught, emulate(spec.replace("NAME", name)):
        pass
    assert caught.value.exit_code == 2
    assert caught.value.next


@pytest.mark.parametrize(
    "source", ["def broken(:", "raise RuntimeError('no luck')", "import no_such_module_here", "raise SystemExit(0)"]
)
def test_a_module_that_does_not_load(write: Any, emulate: Open, source: str) -> None:
    name = write(source)
    with pytest.raises(UsageError, match="could not be imported") as caught, emulate(f"{name}:answer"):
        pass
    assert name in str(caught.value)


def test_what_a_module_prints_is_no_answer(write: Any, emulate: Open, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line on stdout is the emulator's address; a module's greeting goes to stderr."""
    name = write("print('hello')\n" + SHOUT)
    with emulate(f"{name}:answer"):
        pass
    assert capsys.readouterr() == ("", "hello\n")


def test_closing_twice() -> None:
    """A pool that is closed again has nothing to do; what was asked for ends without an answer."""
    from concurrent.futures import CancelledError

    from gemini_batch.emulator.responders.registry import Pool

    started = threading.Event()

    async def answer(model: str, request: dict[str, Any]) -> dict[str, Any]:
        import asyncio

        started.set()
        await asyncio.Event().wait()
        return {}

    pool = Pool(answer, limit=1)
    waiting = [pool.submit("m", {}), pool.submit("m", {})]
    assert started.wait(20)
    pool.close()
    pool.close()
    for one in waiting:
        with pytest.raises(CancelledError):
            one.result(0)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_refused_rows_do_not_reach_a_function(write: Any, emulate: Open, tmp_path: Path, kind: str) -> None:
    """Neither one by one nor ahead of time: an async function has several rows at once."""
    name = write(
        f"{kind} answer(model, request):\n"
        f"    with open({str(tmp_path / 'seen')!r}, 'a') as file:\n"
        "        file.write(request['contents'][0]['parts'][0]['text'])\n"
        "    return {'responseId': 'x'}\n"
    )
    with emulate(f"{name}:answer") as api:
        found = results_of(api, [line("a", "1"), line("b", "2", temperature=3), line("c", "3")])
    assert [one.get("error", {}).get("code") for one in found] == [None, 3, None]
    assert sorted((tmp_path / "seen").read_text()) == ["1", "3"]
