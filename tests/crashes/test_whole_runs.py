"""``run`` as whole processes: several jobs over a socket and offline, killed in between, two at once."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import msgspec
import pytest

if TYPE_CHECKING:
    from crashes.users import User


def keys_of(user: User) -> list[str]:
    return [msgspec.json.decode(line)["key"] for line in (user.folder / "results.jsonl").read_bytes().splitlines()]


def test_a_run_of_many_jobs(user: User) -> None:
    """One command; stdout has the run's id alone, and every other command knows it."""
    keys = [f"k{n}" for n in range(950)]
    user.write_requests(keys)

    done = user.run("run", "requests.jsonl", "-o", "results.jsonl", "--offline", "--max-requests-per-job", "100")
    run_id = done.stdout.strip()

    assert done.stdout == f"{run_id}\n"
    assert run_id.startswith("run-")
    assert keys_of(user) == keys
    assert user.run("status", run_id).stdout == "FINISHED\n"
    assert user.run("results", run_id, "-o", "again.jsonl").stdout == ""
    assert (user.folder / "again.jsonl").read_bytes() == (user.folder / "results.jsonl").read_bytes()
    jobs = user.run("list", "--offline", "--json").stdout
    assert len(msgspec.json.decode(jobs)["result"]) == 10
    assert user.run("doctor", "--offline").returncode == 0
    nothing = user.run("retry", run_id, check=2)
    assert "No request" in nothing.stderr


@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_again_and_again(user: User, seed: int) -> None:
    """SIGKILL at random moments until it is through: every key once, in order."""
    chance = random.Random(seed)
    keys = [f"k{n}" for n in range(3000)]
    user.write_requests(keys)
    user.environment.update({"GEMINI_BATCH_OFFLINE": "1", "GEMINI_BATCH_SETTLE": "0.3"})
    words = ("run", "requests.jsonl", "-o", "results.jsonl", "--max-requests-per-job", "400")
    for deaths in range(40):
        process = user.start(*words)
        try:
            _, err = process.communicate(timeout=chance.uniform(0.2, 0.5) * (1 + deaths / 4))
        except Exception:  # noqa: BLE001 - the time is up
            process.send_signal(signal.SIGKILL)
            process.communicate()
            continue
        assert process.returncode == 0, err
        break
    assert keys_of(user) == keys


def test_two_runs_of_one_file_at_once(user: User) -> None:
    """One conducts; the other is told so, or finds the work done."""
    keys = [f"k{n}" for n in range(2000)]
    user.write_requests(keys)
    words = ("run", "requests.jsonl", "-o", "results.jsonl", "--offline", "--max-requests-per-job", "200")

    both = [user.start(*words) for _ in range(2)]
    ends = [(process.communicate(timeout=90), process.returncode) for process in both]

    assert {code for _, code in ends} <= {0, 3}
    assert 0 in {code for _, code in ends}
    assert all("Another process" in err for (_, err), code in ends if code == 3)
    assert keys_of(user) == keys
