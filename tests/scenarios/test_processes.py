"""The same with whole processes, killed where it hurts most, against one service that outlives them."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from crashes.users import User
from scenarios.story import SUCCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.testing import GeminiEmulator

KEYS = tuple("abcd")


@pytest.fixture
def user(tmp_path: Path, gemini_emulator: GeminiEmulator) -> User:
    """Somebody whose commands talk to the service, and who looks for a lost create at once."""
    environment = {"GOOGLE_GEMINI_BASE_URL": gemini_emulator.url, "GEMINI_API_KEY": "k", "GEMINI_BATCH_SETTLE": "0"}
    return User(tmp_path / "work", environment)


def until(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process brings about while it runs."""
    while not happened():
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            raise AssertionError(process.communicate())


def kill(process: subprocess.Popen[str], sign: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
    process.send_signal(sign)
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    return process.returncode, err


def finish(user: User, job: str) -> list[dict[str, object]]:
    """Wait for a job and fetch its results."""
    assert user.run("status", job, "--wait", "--poll", "0.05").stdout == f"{SUCCEEDED}\n"
    user.run("results", job, "-o", "results.jsonl")
    return [msgspec.json.decode(line) for line in (user.folder / "results.jsonl").read_bytes().splitlines()]


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_while_nobody_answers_a_create(
    user: User, gemini_emulator: GeminiEmulator, sign: signal.Signals, code: int
) -> None:
    """C8c: the job exists, the process that asked for it does not; the next one finds it."""
    user.write_requests(KEYS)
    gemini_emulator.faults.arm("C8c", silence=60)
    process = user.start("create", "requests.jsonl")
    until(lambda: gemini_emulator.accounting()["totals"]["jobs"], process)

    stopped, err = kill(process, sign)
    made = user.run("create", "requests.jsonl")

    assert stopped == code
    assert code == -9 or "nothing is sent twice" in err
    assert "The job was created" in made.stderr
    assert [row["key"] for row in finish(user, made.stdout.strip())] == list(KEYS)
    assert gemini_emulator.accounting()["totals"]["jobs"] == 1
    assert gemini_emulator.accounting()["keys"] == dict.fromkeys(KEYS, 1)


def test_killed_in_an_upload(user: User, gemini_emulator: GeminiEmulator) -> None:
    """U5: what has arrived is not resent, but for one chunk at most."""
    keys = [f"k{number}" for number in range(17)]
    path = user.write_requests(keys, text="x" * 1_000_000)
    gemini_emulator.faults.arm(operation="files.upload.chunk", skip=1, silence=60)
    process = user.start("create", "requests.jsonl")
    until(lambda: gemini_emulator.faults.armed()[0]["played"], process)

    kill(process)
    made = user.run("create", "requests.jsonl")

    size = path.stat().st_size
    assert "Continuing the upload at byte 8,388,608" in made.stderr
    (upload,) = gemini_emulator.accounting()["uploads"]
    assert size <= upload["sentBytes"] <= size + 8 * 1024 * 1024
    assert [row["key"] for row in finish(user, made.stdout.strip())] == keys
    assert gemini_emulator.accounting()["totals"]["jobs"] == 1


def test_killed_in_a_download(user: User, gemini_emulator: GeminiEmulator) -> None:
    """R10: no results file before all of it is here; the next command goes on where this one stopped."""
    keys = [f"k{number}" for number in range(2000)]
    user.write_requests(keys)
    job = user.run("create", "requests.jsonl").stdout.strip()
    user.run("status", job, "--wait", "--poll", "0.05")
    gemini_emulator.faults.arm(operation="files.download", drip=50_000.0)
    process = user.start("results", job, "-o", "results.jsonl")
    raw = user.folder / "home" / "runs"
    until(lambda: any(part.stat().st_size for part in raw.glob("*/raw/*.part")), process)

    kill(process)

    assert not (user.folder / "results.jsonl").exists()
    assert [row["key"] for row in finish(user, job)] == keys
    assert not list(raw.glob("*/raw/*.part"))


def test_two_at_once_while_the_first_create_hangs(user: User, gemini_emulator: GeminiEmulator) -> None:
    """The second waits for the first; when that is killed, it finds the job: one job, one name."""
    user.write_requests(KEYS)
    gemini_emulator.faults.arm("C8c", silence=60)
    first = user.start("create", "requests.jsonl")
    until(lambda: gemini_emulator.accounting()["totals"]["jobs"], first)
    second = user.start("create", "requests.jsonl")

    kill(first)
    out, err = second.communicate(timeout=60)

    assert second.returncode == 0, err
    assert out.startswith("batches/")
    assert gemini_emulator.accounting()["totals"]["jobs"] == 1
    assert user.run("create", "requests.jsonl").stdout == out


def test_a_service_that_flaps_while_waiting(user: User, gemini_emulator: GeminiEmulator) -> None:
    """L11: with the waits as they are, a process outlives a reset and a 503."""
    gemini_emulator.pace(queue_delay=1.0)
    user.write_requests(KEYS)
    job = user.run("create", "requests.jsonl").stdout.strip()
    gemini_emulator.faults.arm(operation="batches.get", drop="reset")
    gemini_emulator.faults.arm(operation="batches.get", error="overloaded", skip=1)

    assert [row["verdict"] for row in finish(user, job)] == ["succeeded"] * 4
