"""Limits of money over a socket: processes that die at every step, and two at once; the emulator's own account decides.

What the emulator has charged is taken from its accounting, at prices that are written by hand; a row that it has not
done yet counts as if it used all that it may. That is never more than the limit. Every so many steps are tried, all of
them with ``CRASH_POINTS=all``.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from crashes.billed import MODEL, usd
from crashes.dying import DIED
from crashes.nature import Nature
from crashes.quick import PACE
from gemini_batch.emulator.http.admin import arm, clear
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.responders.builtin import respond
from gemini_batch.emulator.state.accounting import accounting

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from pathlib import Path

    from gemini_batch.emulator.http.server import Running

pytestmark = [
    pytest.mark.timeout(3600 if os.environ.get("CRASH_POINTS") == "all" else 300),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="lives are forked from one process, which has its imports"),
]
DAY = dt.date(2026, 11, 20)
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()
KEYS = [f"k{n}" for n in range(7)]
#: The most tokens of an answer. All answers have so many, and prompts have a token for each of 18 bytes.
TOKENS = 1000
PROMPT = 18
WHOLE = usd(DAY, PROMPT, TOKENS)
#: What a request costs at most, by the length of its line.
MOST = usd(DAY, 140, TOKENS)


def dear(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """An answer that uses all tokens that it may."""
    made = respond(model, request)
    (part,) = request["contents"][0]["parts"]
    assert len(part["text"]) == PROMPT
    used = {"promptTokenCount": PROMPT, "candidatesTokenCount": TOKENS, "totalTokenCount": PROMPT + TOKENS}
    return {**made, "usageMetadata": used}


def write(folder: Path, name: str, keys: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / name).open("wb") as file:
        for key in keys:
            request = {
                "contents": [{"role": "user", "parts": [{"text": f"Say {key}".ljust(PROMPT, ".")}]}],
                "generationConfig": {"maxOutputTokens": TOKENS},
            }
            line = msgspec.json.encode({"key": key, "request": request}) + b"\n"
            assert 130 < len(line) <= 140
            file.write(line)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serve(tmp_path_factory.mktemp("emulator"), responder=dear, queue_delay=0.05) as running:
        began = time.time()
        running.emulator.clock._base = lambda: round((NOON + time.time() - began) * 1e9)
        yield running


class Account:
    """What the service is owed since now."""

    def __init__(self, service: Running) -> None:
        self._store = service.emulator.store
        found = accounting(self._store, keys=True)
        self._jobs, self._paid = len(found["jobs"]), Counter(found["keys"])

    def jobs(self) -> list[dict[str, Any]]:
        return accounting(self._store)["jobs"][self._jobs :]  # type: ignore[no-any-return]

    def usd(self) -> Decimal:
        """What is charged, and will be for what has not been done yet."""
        jobs = self.jobs()
        assert {job["createTime"][:10] for job in jobs} <= {str(DAY)}
        done = usd(DAY, sum(job["promptTokens"] for job in jobs), sum(job["outputTokens"] for job in jobs))
        open_rows: int = sum(job["rows"] - job["processed"] for job in jobs)
        return done + WHOLE * open_rows

    def paid(self) -> dict[str, int]:
        """How often each key was paid for."""
        return dict(Counter(accounting(self._store, keys=True)["keys"]) - self._paid)


def environment(service: Running, project: str) -> dict[str, str]:
    return {"GOOGLE_GEMINI_BASE_URL": service.url, "GEMINI_API_KEY": project}


# Death at every step -------------------------------------------------------------------------------------------------

LOW, HIGH = MOST * 3, MOST * 9
#: The first command ends at its limit, the second one goes on with a higher one.
NIGHTS = (
    (("run", "in.jsonl", "--max-usd", f"{LOW}"), LOW, 6),
    (("run", "in.jsonl", "--max-usd", f"{HIGH}"), HIGH, 0),
)
OPTIONS = ("--model", MODEL, "--max-requests-per-job", "2", "-o", "out.jsonl")


def nights(
    nature: Nature, service: Running, folder: Path, trouble: str, dies: tuple[int, int] | None
) -> list[list[str]]:
    """Both commands, and the first or second one with a death in between; returns the steps of each.

    ``dies``: the number of the command, and of its step.
    """
    write(folder, "in.jsonl", KEYS)
    clear(service.emulator)
    arm(service.emulator, row="error", key="k1", code=14)
    if trouble:
        arm(service.emulator, scenario=trouble, times=1, skip=1)
    account, at, steps = Account(service), environment(service, folder.name), []
    began = time.time()
    for number, (words, limit, end) in enumerate(NIGHTS):
        lived: list[str] = []
        for point in (dies[1], None) if dies is not None and dies[0] == number else (None,):
            now = NOON + (time.time() - began) * PACE
            code, lived = nature.live(folder, words + OPTIONS, point, environment=at, began=now)
            where = (dies, lived[-1], (folder / "out.said").read_text())
            assert code == (DIED if point is not None and len(lived) > point else end), where
            assert account.usd() <= limit, where
        steps.append(lived)
    assert account.paid() == dict.fromkeys(KEYS, 1), dies
    rows = [msgspec.json.decode(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [(row["key"], row["verdict"]) for row in rows] == [(key, "succeeded") for key in KEYS], dies
    assert all(f"Say {row['key']}." in row["response"]["text"] for row in rows), dies
    assert len(account.jobs()) > 4, dies
    return steps


@pytest.mark.parametrize("trouble", ["", "C8a", "C1"])
def test_death_at_every_step_of_a_limited_run(nature: Nature, service: Running, tmp_path: Path, trouble: str) -> None:
    """At each call of the service, each write of the ledger and of the rows, before and after it."""
    steps = nights(nature, service, tmp_path / f"plain-{trouble}", trouble, None)
    points = [
        (number, point)
        for number, lived in enumerate(steps)
        for point, name in enumerate(lived)
        if name.startswith(("before ", "after "))
    ]
    assert len(points) > 150
    every = 1 if os.environ.get("CRASH_POINTS") == "all" else len(points) // (2 if trouble else 3)
    for number, point in points[every // 2 :: every]:
        nights(nature, service, tmp_path / f"at{number}-{point}-{trouble}", trouble, (number, point))


# Two at once ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def natures() -> Iterator[tuple[Nature, Nature]]:
    both = Nature(), Nature()
    yield both
    for one in both:
        one.end()


def test_two_processes_share_the_limit_of_a_day(
    natures: tuple[Nature, Nature], service: Running, tmp_path: Path
) -> None:
    """It has room for 4 of 10 requests, then for 8, then for all. One of the processes dies now and then."""
    names = ("a", "b")
    for name in names:
        write(tmp_path / name, "in.jsonl", [f"{name}{number}" for number in range(5)])
    clear(service.emulator)
    account, midnight = Account(service), NOON - 12 * 3600

    def at_once(limit: Decimal, point: int | None = None) -> list[int]:
        at = environment(service, tmp_path.name) | {
            "GEMINI_BATCH_HOME": str(tmp_path / "home"),
            "GEMINI_BATCH_MAX_USD_PER_DAY": f"{limit}",
        }

        def life(number: int) -> int:
            words, last = ("run", "in.jsonl", *OPTIONS), point if number == 0 else None
            return natures[number].live(tmp_path / names[number], words, last, environment=at, began=midnight)[0]

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(life, range(2)))
        assert account.usd() <= limit, found
        return found

    for rows, points in ((4, (40, None)), (8, (55, None))):
        ends: list[int] = []
        for point in points:
            ends = at_once(MOST * rows, point)
            assert set(ends) <= {DIED, 6, 0}, said(tmp_path)
        assert 6 in ends, said(tmp_path)
        assert account.usd() == WHOLE * rows, "it is used as far as it goes"
    assert at_once(MOST * 11) == [0, 0], said(tmp_path)
    assert account.paid() == {f"{name}{number}": 1 for name in names for number in range(5)}


def said(folder: Path) -> list[str]:
    return [path.read_text() for path in sorted(folder.glob("*/out.said"))]
