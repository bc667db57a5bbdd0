"""``gemini-batch emulator --responder`` as a process, with this tool as its client."""

from __future__ import annotations

import json
import signal
import threading
from typing import TYPE_CHECKING

import httpx2
import pytest

from crashes.users import User
from emulator.responders.conftest import Reply, completion

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from emulator.responders.conftest import Stub

SPELL = """
print("Ready.")


async def answer(model, request):
    text = " ".join(request["contents"][0]["parts"][0]["text"])
    return {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}
"""


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "work")


@pytest.fixture
def start(user: User) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def test_the_same_file_on_a_function(user: User, start: list[subprocess.Popen[str]]) -> None:
    """A module of the working folder; the address is the first line; create, wait and results as always."""
    (user.folder / "spelling.py").write_text(SPELL)
    user.write_requests(["a", "b"], text="Say")
    server = user.start("emulator", "--responder", "spelling:answer")
    start.append(server)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    user.environment = {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "any"}

    job = user.run("create", "requests.jsonl").stdout.strip()
    user.run("status", job, "--wait", "--poll", "0.1")
    found = [json.loads(line) for line in user.run("results", job, "-o", "-").stdout.splitlines()]

    assert [(row["key"], row["verdict"], row["response"]["text"]) for row in found] == [
        ("a", "succeeded", "S a y   a"),
        ("b", "succeeded", "S a y   b"),
    ]


def test_a_server_that_was_busy_for_a_moment(user: User, stub: Stub, start: list[subprocess.Popen[str]]) -> None:
    """``run`` resends the row, in a job of its own, and nobody has to do anything."""

    def answer(body: dict[str, object]) -> Reply:
        first = len(stub.asked) == 1
        return Reply({"error": "loading"}, 503) if first else Reply(completion("Here."))

    stub.answer = answer
    user.write_requests(["a", "b", "c"])
    server = user.start("emulator", "--responder", f"openai={stub.url},concurrency=1")
    start.append(server)
    assert server.stdout is not None
    user.environment = {"GOOGLE_GEMINI_BASE_URL": server.stdout.readline().strip(), "GEMINI_API_KEY": "any"}

    user.run("run", "requests.jsonl", "-o", "results.jsonl", "--poll", "0.1")
    found = [json.loads(line) for line in (user.folder / "results.jsonl").read_text().splitlines()]

    assert [(row["key"], row["verdict"], row["attempt"]) for row in found] == [
        ("a", "succeeded", 2),
        ("b", "succeeded", 1),
        ("c", "succeeded", 1),
    ]
    assert len(stub.asked) == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_end_does_not_wait_for_the_model(
    user: User, stub: Stub, start: list[subprocess.Popen[str]], number: signal.Signals, code: int
) -> None:
    """Ctrl-C ends the emulator although two answers are being written; the key was in the header alone."""
    go, held = threading.Event(), threading.Semaphore(0)

    def answer(body: dict[str, object]) -> Reply:
        held.release()
        go.wait(60)
        return Reply(completion())

    stub.answer = answer
    user.write_requests(["a", "b"])
    user.environment = {"OPENAI_API_KEY": "sk-of-the-environment", "GEMINI_API_KEY": "any"}
    server = user.start("emulator", "--data", "data", "--responder", f"openai={stub.url},model=small,timeout=300")
    start.append(server)
    assert server.stdout is not None
    user.environment["GOOGLE_GEMINI_BASE_URL"] = server.stdout.readline().strip()
    user.run("create", "requests.jsonl")
    assert held.acquire(timeout=30)
    assert held.acquire(timeout=30)

    server.send_signal(number)
    _, said = server.communicate(timeout=30)
    go.set()

    assert server.returncode == code
    assert "Traceback" not in said
    assert stub.headers[0]["authorization"] == "Bearer sk-of-the-environment"
    kept = [path for path in (user.folder / "data").rglob("*") if path.is_file()]
    assert kept
    assert not any(b"sk-of-the-environment" in path.read_bytes() for path in kept)


def test_an_end_in_the_middle_of_a_single_call(
    user: User, stub: Stub, start: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """A caller of generateContent loses its connection; the emulator does not wait for the model's ten minutes."""
    go, held = threading.Event(), threading.Event()

    def answer(body: dict[str, object]) -> Reply:
        held.set()
        go.wait(60)
        return Reply(completion())

    stub.answer = answer
    server = user.start("emulator", "--responder", f"openai={stub.url}")
    start.append(server)
    assert server.stdout is not None
    url = f"{server.stdout.readline().strip()}/v1beta/models/gemini-3.8-flash:generateContent?key=any"
    lost: list[Exception] = []

    def call() -> None:
        try:
            httpx2.post(url, json={"contents": [{"parts": [{"text": "Hi"}]}]}, timeout=60)
        except httpx2.TransportError as error:
            lost.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert held.wait(30)
    server.send_signal(signal.SIGINT)
    _, said = server.communicate(timeout=30)
    go.set()
    caller.join(30)
    assert server.returncode == 130
    assert lost
    assert "Traceback" not in said


def test_a_wrong_word_is_an_error_of_usage(user: User) -> None:
    done = user.run("emulator", "--responder", "nonsense", check=2)
    assert done.stdout == ""
    assert "--responder module:function" in done.stderr
