"""Bounded waits and progress as whole processes: over a socket, in a shell that has no patience, on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crashes.users import User

KEYS = [f"k{n}" for n in range(50)]


@pytest.fixture
def service(user: User) -> Iterator[User]:
    """A standing emulator whose jobs stay PENDING until its clock is moved; the user's environment points at it."""
    process = user.start("emulator", "--data", str(user.folder / "service"), "--queue-delay", "100000")
    assert process.stdout is not None
    user.environment.update({"GOOGLE_GEMINI_BASE_URL": process.stdout.readline().strip(), "GEMINI_API_KEY": "key"})
    user.write_requests(KEYS)
    yield user
    process.terminate()
    process.communicate(timeout=20)


def ask(user: User, path: str, **body: Any) -> Any:
    """The emulator itself: its clock, its accounts."""
    url = f"{user.environment['GOOGLE_GEMINI_BASE_URL']}/emulator/{path}"
    return (httpx2.post(url, json=body) if body else httpx2.get(url)).json()


def test_a_run_in_pieces(service: User) -> None:
    """It ends in time with 6 and says how to go on; that command brings everything in, and no key is paid for twice."""
    words = ("run", "requests.jsonl", "-o", "results.jsonl", "--max-requests-per-job", "20")

    first = service.run(*words, "--timeout", "2s", check=6)
    second = service.run(*words, "--timeout", "2s", "--json", check=6)

    assert first.stdout == ""
    assert "has not finished after 2 s: 0 of 50 requests are done" in first.stderr
    assert "Nothing was cancelled." in first.stderr
    *events, document = map(msgspec.json.decode, second.stdout.splitlines())
    assert {event["event"] for event in events} >= {"notice", "run_progress"}
    assert (document["command"], document["exit_code"]) == ("run", 6)
    assert document["error"]["code"] == "timeout"
    told = re.search(r"run (run-\w+) -o results\.jsonl", document["error"]["next"])
    assert told is not None

    ask(service, "clock", advance=200_000)
    done = service.run("run", told[1], "-o", "results.jsonl", "--timeout", "10m")

    assert done.stdout == f"{told[1]}\n"
    lines = (service.folder / "results.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["key"] for line in lines] == KEYS
    assert set(ask(service, "accounting?keys=true")["keys"].values()) == {1}


def test_a_job_that_is_waited_for_in_pieces(service: User) -> None:
    job = service.run("create", "requests.jsonl").stdout.strip()

    over = service.run("status", job, "--wait", "--timeout", "1s", check=6)

    assert over.stdout == ""
    assert "has not finished after 1 s (JOB_STATE_PENDING, 0 of 50 done)" in over.stderr
    assert f"status {job} --wait" in over.stderr
    ask(service, "clock", advance=200_000)
    assert service.run("status", job, "--wait", "--timeout", "1h").stdout == "JOB_STATE_SUCCEEDED\n"


def test_a_time_that_is_none(user: User) -> None:
    assert "is not a duration" in user.run("run", "requests.jsonl", "--timeout", "soon", check=2).stderr
    assert "no effect without --wait" in user.run("status", "batches/a", "--timeout", "9m", "--offline", check=2).stderr


def on_terminal(user: User, *words: str, **environment: str) -> tuple[bytes, bytes]:
    """What a command writes to a terminal on stderr, and to a pipe on stdout."""
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gemini_batch", *words],
        cwd=user.folder,
        env={**user._env(), "TERM": "xterm-256color", "COLUMNS": "80", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:
        pass  # how a terminal says that nobody writes to it any more
    out, _ = process.communicate(timeout=20)
    os.close(ours)
    return shown, out


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize(
    ("environment", "bar", "colour"),
    [
        ({}, "━", True),
        ({"NO_COLOR": "1"}, "0 of 50 · 0%", False),
        ({"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, "0 of 50 - 0%", True),
    ],
    ids=["colours", "NO_COLOR", "ascii"],
)
def test_a_bar_on_a_terminal(service: User, environment: dict[str, str], bar: str, colour: bool) -> None:
    """It stands on stderr alone, in place, and nothing of it stays."""
    shown, out = on_terminal(service, "run", "requests.jsonl", "--timeout", "2s", **environment)
    text = shown.decode()

    assert out == b""
    assert bar in text
    assert "time left unknown" in text
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", text)) == colour
    assert "\x1b[?25l" in text
    assert "\x1b[?25h" in text, "the cursor is given back"
    assert "Nothing was cancelled." in text.rsplit("\x1b[2K", 1)[-1], "the error comes after the bar was taken away"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("words", "environment"), [((), {"TERM": "dumb"}), (("--quiet",), {})], ids=["dumb", "quiet"])
def test_no_bar_where_none_is_wanted(service: User, words: tuple[str, ...], environment: dict[str, str]) -> None:
    shown, _ = on_terminal(service, "run", "requests.jsonl", "--timeout", "2s", *words, **environment)

    assert b"\x1b" not in shown
    assert (b"0 of 50 requests done" in shown) == (not words)
