"""Limits of money over real processes and the emulator: exit codes, messages, and runs that go on."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from crashes.users import User

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "gemini-3.8-flash"
#: One request of these costs up to about 0.0019 USD, or 0.0038 from 2027 on.
TOKENS = 1000


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path / "user", {"GEMINI_BATCH_OFFLINE": "1"})


def write(user: User, name: str = "in.jsonl", count: int = 6, **request: Any) -> None:
    config = {"generationConfig": {"maxOutputTokens": TOKENS}, **request}
    lines = [
        {"key": f"{name}-{n}", "request": {"contents": [{"parts": [{"text": f"Say {name} {n}"}]}], **config}}
        for n in range(count)
    ]
    (user.folder / name).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))


def jobs(user: User) -> list[tuple[int, int | None, int | None]]:
    """Requests, bound and cost of the jobs that were created."""
    (ledger,) = (user.folder / "home").rglob("ledger.db")
    with sqlite3.connect(ledger) as db:
        return db.execute("SELECT requests, bound, settled FROM jobs WHERE batch IS NOT NULL ORDER BY rowid").fetchall()


def test_too_much_is_refused_before_anything_is_sent(user: User) -> None:
    write(user)

    done = user.run("run", "in.jsonl", "--max-usd", "0.004", "--max-usd-basis", "worst", "--model", MODEL, check=2)

    assert "6 requests may cost up to" in done.stderr
    assert "the limit for this run has 0.004 USD left. Nothing was sent." in done.stderr
    assert jobs(user) == []


def test_a_run_ends_at_its_limit_and_goes_on(user: User) -> None:
    """One request fits; with what is proposed, at least one more; with enough, all."""
    write(user)
    one = user.run("estimate", "in.jsonl", "--limit", "1", "--model", MODEL, "--json").stdout
    limit = f"{msgspec.json.decode(one)['result']['worst_usd']:.9f}"

    first = user.run("run", "in.jsonl", "--max-usd", limit, "--model", MODEL, "-o", "out.jsonl", check=6)

    ((requests, bound, cost),) = sent = jobs(user)
    assert (requests, 0 < (cost or 0) < (bound or 0) <= float(limit) * 1e9) == (1, True)
    assert "for this run is reached" in first.stderr
    assert "5 requests are not sent" in first.stderr
    again = re.search(r"run (run-\S+) --max-usd (\S+)", first.stderr)
    assert again is not None
    same = user.run("run", again[1], check=6)
    assert "is reached" in same.stderr
    user.run("run", "in.jsonl", "--max-usd", limit, "--model", MODEL, check=6)
    assert jobs(user) == sent
    user.run("run", again[1], "--max-usd", again[2], check=6)
    assert len(jobs(user)) == 2, "what is proposed sends at least one more"
    user.run("run", "in.jsonl", "--max-usd", "1", "--model", MODEL, "-o", "out.jsonl")
    assert sum(requests for requests, _, _ in jobs(user)) == 6
    assert all(cost is not None and cost <= (bound or 0) for _, bound, cost in jobs(user))


@pytest.mark.parametrize("variable", ["GEMINI_BATCH_MAX_USD_PER_DAY", "GEMINI_BATCH_MAX_USD_PER_MONTH"])
def test_a_limit_over_all_runs(user: User, variable: str) -> None:
    """The second run finds what the first has cost; without a limit, both are sent."""
    write(user, "a.jsonl")
    write(user, "b.jsonl")
    limited = User(user.folder, {**user.environment, variable: "0.0000001"})

    done = limited.run("run", "a.jsonl", "--model", MODEL, check=6)
    assert "The limit of" in done.stderr
    assert ("today" if "DAY" in variable else "this month") in done.stderr
    user.run("run", "a.jsonl", "--model", MODEL)
    done = limited.run("run", "b.jsonl", "--model", MODEL, check=None)
    assert done.returncode in {2, 6}
    assert len({requests for requests, *_ in jobs(user)}) == 1


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"tools": [{"googleSearch": {}}]}, "6 requests have charges that are not tokens"),
        ({"generationConfig": {"candidateCount": 2, "maxOutputTokens": TOKENS}}, "no bound on their answers"),
    ],
    ids=["search", "candidates"],
)
def test_what_nothing_bounds_is_refused_unless_it_is_allowed(user: User, request_: dict[str, Any], words: str) -> None:
    write(user, **request_)
    model = "gemini-2.5-flash-lite"

    done = user.run("run", "in.jsonl", "--max-usd", "1", "--model", model, check=2)

    assert words in done.stderr
    assert "--max-usd-unknown allow" in done.stderr
    assert jobs(user) == []
    user.run("run", "in.jsonl", "--max-usd", "1", "--max-usd-unknown", "allow", "--model", model)
    assert sum(requests for requests, *_ in jobs(user)) == 6


def test_create_sends_one_job_or_none(user: User) -> None:
    write(user)

    done = user.run("create", "in.jsonl", "--max-usd", "0.004", "--model", MODEL, check=2)

    assert "The job may cost up to" in done.stderr
    assert jobs(user) == []
    user.run("create", "in.jsonl", "--max-usd", "1", "--model", MODEL)
    ((requests, bound, _),) = jobs(user)
    assert requests == 6
    assert bound is not None
    assert bound > 6 * TOKENS * 1875


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "much", "inf"])
def test_what_is_no_amount(user: User, amount: str) -> None:
    write(user)
    assert "--max-usd" in user.run("run", "in.jsonl", f"--max-usd={amount}", "--model", MODEL, check=2).stderr
    named = User(user.folder, {**user.environment, "GEMINI_BATCH_MAX_USD_PER_DAY": amount})
    assert "GEMINI_BATCH_MAX_USD_PER_DAY" in named.run("run", "in.jsonl", "--model", MODEL, check=2).stderr
