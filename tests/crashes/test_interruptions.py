"""Ctrl-C, SIGTERM, a closed pipe, a full disk: the waiting ends, the work does not; then the same command again."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crashes.users import User

KEY = "AIza-not-to-be-found-anywhere"


@pytest.fixture
def service(user: User) -> Iterator[User]:
    """A standing emulator whose jobs stay PENDING; the user's environment points at it."""
    process = user.start("emulator", "--data", str(user.folder / "service"), "--queue-delay", "100000")
    assert process.stdout is not None
    user.environment.update({"GOOGLE_GEMINI_BASE_URL": process.stdout.readline().strip(), "GEMINI_API_KEY": KEY})
    yield user
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_waiting_and_not_the_job(service: User, sign: signal.Signals, code: int) -> None:
    service.write_requests(["a"])
    job = service.run("create", "requests.jsonl").stdout.strip()
    waiting = service.start("status", job, "--wait")
    assert waiting.stderr is not None
    assert "JOB_STATE_PENDING" in waiting.stderr.readline()

    waiting.send_signal(sign)
    out, err = waiting.communicate(timeout=20)

    assert (waiting.returncode, out) == (code, "")
    assert "The job continues" in err
    assert "Traceback" not in err
    assert service.run("status", job).stdout == "JOB_STATE_PENDING\n"


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_large_file_is_read(user: User, sign: signal.Signals, code: int) -> None:
    """The stop is prompt, nothing is left, and the same command goes through afterwards."""
    path = user.write_requests(["k"])
    line = path.read_bytes()
    with path.open("wb") as file:
        for number in range(400_000):
            file.write(line.replace(b'"k"', b'"k%d"' % number))
    process = user.start("create", "requests.jsonl", "--offline")
    staging = user.folder / "home" / "offline" / "runs"
    while not list(staging.glob(".new-*/requests.jsonl")):
        assert process.poll() is None, process.communicate()

    process.send_signal(sign)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out) == (code, "")
    assert "nothing is sent twice" in err
    assert not list(staging.iterdir())


def test_the_reader_of_a_pipe_goes_away(user: User) -> None:
    user.write_requests([f"k{n}" for n in range(5000)])
    job = user.run("create", "requests.jsonl", "--offline").stdout.strip()
    user.run("results", job, "-o", "results.jsonl")

    process = user.start("results", job, "-o", "-")
    assert process.stdout is not None
    assert process.stdout.readline().startswith('{"key":"k0"')
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=20)

    assert process.returncode == 141
    assert err == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "/dev/full"), "disk is full"),
        (("-o", "-"), "stdout cannot be written: No space left"),
        ((), "stdout cannot be written: No space left"),
    ],
)
def test_no_room_for_the_results(user: User, words: tuple[str, ...], said: str) -> None:
    user.write_requests([f"k{n}" for n in range(50)])
    job = user.run("create", "requests.jsonl", "--offline").stdout.strip()
    user.run("status", job, "--wait")

    command = [sys.executable, "-m", "gemini_batch", "results", job, *words]
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        environment = {**os.environ, "GEMINI_BATCH_HOME": str(user.folder / "home")}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)

    assert done.returncode == 3
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("room", [20_000, 120_000, 200_000, 300_000])
def test_no_room_for_the_run(user: User, room: int) -> None:
    """Files may not grow beyond ``room``: exit 3 at whatever stage, and with room again the command goes through."""
    user.write_requests([f"k{n}" for n in range(3000)])
    environment = {**os.environ, "GEMINI_BATCH_HOME": str(user.folder / "home")}

    def stage(limit: int | None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gemini_batch", "create", "requests.jsonl", "--offline"],
            cwd=user.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )

    short = stage(room)
    assert "Traceback" not in short.stderr
    assert short.returncode in {0, 3, 4}, short.stderr
    enough = stage(None)

    assert enough.returncode == 0, enough.stderr
    assert re.fullmatch(r"batches/\w+\n", enough.stdout)


def test_the_key_is_nowhere(service: User) -> None:
    """Neither in a file (the emulator's data included) nor on a screen, nor with --debug, nor after errors."""
    service.write_requests(["a"])
    (service.folder / "bad.jsonl").write_text("{bad\n")
    commands = [
        ("create", "requests.jsonl", "--debug"),
        ("create", "bad.jsonl", "--debug"),
        ("create", "requests.jsonl", "--model", "gemini-nothing", "--debug"),
        ("status", "batches/unknown", "--debug"),
        ("list", "--remote", "--json"),
        ("doctor", "--debug"),
        ("clean", "--dry-run", "--debug"),
    ]
    for words in commands:
        process = service.start(*words)
        out, err = process.communicate(timeout=60)
        assert KEY not in out + err, words

    files = [path for path in service.folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_escape_codes_do_not_reach_the_screen(user: User) -> None:
    """In keys, names and texts from outside; on stderr always, on stdout where it is a terminal."""
    user.write_requests(["\x1b[31mred\x1b[0m", "\x9b2J"], text="\x1b]0;title\x07")
    job = user.run("create", "requests.jsonl", "--offline").stdout.strip()
    user.run("status", job, "--wait")

    done = user.run("results", job, "-o", "results.jsonl")
    listed = user.run("list", "--offline")

    assert "\x1b" not in done.stderr + listed.stdout + listed.stderr
    keys = [msgspec.json.decode(line)["key"] for line in (user.folder / "results.jsonl").read_bytes().splitlines()]
    assert keys == ["\x1b[31mred\x1b[0m", "\x9b2J"], "in the file they stand as they are"


def test_names_never_choose_a_path(user: User) -> None:
    """Keys like paths, reserved names, long ones, equal up to case: each has its own file in the media folder."""
    keys = [
        "../../x",
        "/etc/passwd",
        "con",
        "a" * 300,
        "🚀",
        "Key",
        "key",
        "kEY",
        ".",
        "..",
        "x/../../y",
        "nul.png",
        "a\\b",
    ]
    with (user.folder / "requests.jsonl").open("wb") as file:
        for key in keys:
            wanted = {
                "contents": [{"parts": [{"text": "draw"}]}],
                "generationConfig": {"responseModalities": ["IMAGE"]},
            }
            file.write(msgspec.json.encode({"key": key, "request": wanted}) + b"\n")
    job = user.run("create", "requests.jsonl", "--offline", "-m", "gemini-3.1-flash-image").stdout.strip()
    user.run("status", job, "--wait")
    before = {path for path in user.folder.parent.rglob("*") if "home" not in path.parts}

    user.run("results", job, "-o", "results.jsonl", "--media-dir", "media")

    media = user.folder / "media"
    made = {path for path in user.folder.parent.rglob("*") if "home" not in path.parts} - before
    assert {path for path in made if path.suffix == ".png"} == set(media.glob("*.png"))
    assert len({path.name.lower() for path in media.glob("*.png")}) == len(keys)
