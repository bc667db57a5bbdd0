"""Offline, with no daemon: several processes on one home, and death at any moment."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from typing import TYPE_CHECKING

import msgspec
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from crashes.users import User


def read_results(path: Path) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]


def jobs_at_the_service(user: User) -> int:
    """How many jobs the offline service was asked for, whatever the ledger says."""
    database = user.folder / "home" / "offline" / "emulator" / "emulator.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        return int(db.execute("SELECT count(*) FROM batches").fetchone()[0])


def test_the_whole_life_without_a_key(user: User) -> None:
    """Create prints the name alone; status and results find the offline job without being told."""
    user.write_requests(["req1", "req2"])

    made = user.run("create", "requests.jsonl", "--name", "q", "--offline")
    job = made.stdout.strip()
    waited = user.run("status", job, "--wait")
    fetched = user.run("results", job, "-o", "results.jsonl")

    assert made.stdout == f"{job}\n"
    assert job.startswith("batches/")
    assert waited.stdout == "JOB_STATE_SUCCEEDED\n"
    assert fetched.stdout == ""
    assert "offline" in fetched.stderr
    assert [row["key"] for row in read_results(user.folder / "results.jsonl")] == ["req1", "req2"]


def test_two_processes_on_one_home_agree(user: User) -> None:
    """One waits while another fetches, again and again: both see the end, and the results are whole."""
    keys = [f"k{n}" for n in range(20_000)]
    user.write_requests(keys)
    job = user.run("create", "requests.jsonl", "--offline").stdout.strip()

    waiting = user.start("status", job, "--wait", "--poll", "0.05")
    fetched = None
    for _ in range(100):
        fetched = user.run("results", job, "-o", "results.jsonl", check=None)
        if fetched.returncode != 6:
            break
        assert "is not finished" in fetched.stderr
    out, err = waiting.communicate(timeout=60)

    assert fetched is not None
    assert (fetched.returncode, waiting.returncode, out) == (0, 0, "JOB_STATE_SUCCEEDED\n"), err
    assert [row["key"] for row in read_results(user.folder / "results.jsonl")] == keys


def test_two_creates_of_the_same_file_make_one_job(user: User) -> None:
    """At the same time, from one home: the same name twice."""
    user.write_requests([f"k{n}" for n in range(3000)])

    both = [user.start("create", "requests.jsonl", "--offline") for _ in range(2)]
    names = {process.communicate(timeout=60)[0] for process in both}

    assert [process.returncode for process in both] == [0, 0]
    assert len(names) == 1
    assert jobs_at_the_service(user) == 1


@pytest.mark.parametrize("seed", range(4))
def test_killed_anywhere_the_same_commands_finish_the_work(user: User, seed: int) -> None:
    """SIGKILL at random moments of create, status and results: one job, every key once."""
    chance = random.Random(seed)
    keys = [f"k{n}" for n in range(4000)]
    user.write_requests(keys)

    def until_done(*words: str) -> str:
        for deaths in range(30):
            process = user.start(*words)
            try:
                # Each life is a little longer than the last one, so that every stage gets its death.
                out, err = process.communicate(timeout=chance.uniform(0.05, 0.25) * (1 + deaths))
            except Exception:  # noqa: BLE001 - the time is up
                process.send_signal(signal.SIGKILL)
                process.communicate()
                continue
            assert process.returncode == 0, err
            return out
        raise AssertionError("it never finished")

    environment = {"GEMINI_BATCH_OFFLINE": "1", "GEMINI_BATCH_SETTLE": "0.5"}
    user.environment.update(environment)
    job = until_done("create", "requests.jsonl").strip()
    assert until_done("status", job, "--wait", "--poll", "0.05") == "JOB_STATE_SUCCEEDED\n"
    until_done("results", job, "-o", "results.jsonl")

    assert jobs_at_the_service(user) == 1
    assert [row["key"] for row in read_results(user.folder / "results.jsonl")] == keys
    assert {row["verdict"] for row in read_results(user.folder / "results.jsonl")} == {"succeeded"}


def test_what_a_killed_process_left_is_swept_and_what_another_writes_is_not(user: User) -> None:
    """Beside a results file: an old part that nobody holds goes, a young one stays."""
    user.write_requests(["a"])
    job = user.run("create", "requests.jsonl", "--offline").stdout.strip()
    old, young = user.folder / ".results.jsonl.00000000.part", user.folder / ".results.jsonl.11111111.part"
    old.write_bytes(b"half a li")
    os.utime(old, (1_000_000_000, 1_000_000_000))
    young.write_bytes(b"half a li")

    user.run("results", job, "-o", "results.jsonl")

    assert not old.exists()
    assert young.exists()


def test_two_processes_write_the_same_results_file(user: User) -> None:
    """Both end well, and the file is whole whoever was last."""
    keys = [f"k{n}" for n in range(5000)]
    user.write_requests(keys)
    job = user.run("create", "requests.jsonl", "--offline").stdout.strip()
    user.run("status", job, "--wait")

    both = [user.start("results", job, "-o", "results.jsonl") for _ in range(2)]
    errors = [process.communicate(timeout=60)[1] for process in both]

    assert [process.returncode for process in both] == [0, 0], errors
    assert [row["key"] for row in read_results(user.folder / "results.jsonl")] == keys
    assert not list(user.folder.glob(".results*"))
