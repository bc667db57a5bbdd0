"""Generated worlds: whatever the service does and wherever the process dies, every key ends with one honest answer.

What a job comes to, what a row answers at each attempt, what goes wrong with each call, what is refused, which jobs
somebody deletes, where the clock jumps and where the process dies are drawn; so many examples
as ``PROPERTY_EXAMPLES`` says.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line, reset, write_requests
from gemini_batch.commands.run import run
from gemini_batch.errors import ApiError, Error
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from gemini_batch.report.result_set import Results
    from gemini_batch.wire import Operation

KEYS = [f"k{n}" for n in range(9)]
ATTEMPTS = 3
#: A row's answers, attempt by attempt: a good one, a code, none at all, or half a line.
ROW = st.sampled_from(["good", "good", "good", 13, 14, 8, 4, 3, 7, "none", "broken", "twice", "blocked"])
END = st.sampled_from([("SUCCEEDED", None)] * 5 + [("FAILED", 13), ("FAILED", 3), ("FAILED", None), ("EXPIRED", None)])
ORDER = st.sampled_from(["as sent", "reversed", "shuffled", "foreign", "no key"])
TROUBLE = st.sampled_from(["reset", "503", "500", "429", "408"])
#: A create can be refused for good, too: a later command resends it.
REFUSED = st.tuples(st.just("create"), st.integers(0, 6))
#: Calls that may go wrong, now and then, before or after the service has done its part.
#: How far a clock is set, in seconds, before a call.
JUMP = st.sampled_from([-90_000.0, -3_600.0, 90_000.0, 300_000.0])
CALLS = st.sampled_from(["create", "create", "create", "get", "list", "get_file", "download"])
MOST_LIVES = 12


class Wild(FakeService):
    """The fake service, with the drawn plan of what its rows and jobs come to."""

    rows: dict[str, list[Any]]
    chance: random.Random
    order: str
    gone: set[int]
    jumps: dict[int, float]

    def plan(self, world: dict[str, Any]) -> None:
        self.rows, self.chance, self.order = world["rows"], random.Random(world["seed"]), world["order"]
        self.gone, self.jumps = set(world["gone"]), dict(world["jumps"])
        self.answer_at = self._row
        self.arrange = self._order

    def _begin(self, operation: str) -> Callable[[], None]:
        self.clock.now += self.jumps.pop(len(self.calls), 0.0)
        return super()._begin(operation)

    async def get(self, name: str, *, server_timeout: int | None = None) -> Operation:
        """Somebody deletes a job that was asked for by its name, and so is known, before it has ended."""
        found = await super().get(name, server_timeout=server_timeout)
        job = next(job for job in self.jobs if job.name == name)
        job.deleted = job.alive and self.jobs.index(job) in self.gone
        return found

    def _row(self, key: str, attempt: int) -> bytes | None:
        what = self.rows[key][min(attempt, ATTEMPTS) - 1]
        if what == "none":
            return None
        if what == "broken":
            return answer_line(key)[:40]
        if what == "blocked":
            return msgspec.json.encode({"response": {"promptFeedback": {"blockReason": "SAFETY"}}, "key": key})
        if isinstance(what, int):
            return msgspec.json.encode({"error": {"code": what, "message": "why"}, "key": key})
        return answer_line(key) + (b"\n" + answer_line(key) if what == "twice" else b"")

    def _order(self, lines: list[bytes]) -> list[bytes]:
        if self.order == "reversed":
            return lines[::-1]
        if self.order == "shuffled":
            return self.chance.sample(lines, len(lines))
        if self.order == "foreign":
            return [answer_line("nobody's"), *lines]
        if self.order == "no key":
            return [*lines, answer_line("k0").replace(b',"key":"k0"', b"")]
        return lines


def error_of(word: str) -> Exception:
    if word == "reset":
        return reset()
    reason = {"429": "RESOURCE_EXHAUSTED"}.get(word, "")
    return ApiError("no", status=int(word), reason=reason)


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    calls = st.tuples(CALLS, st.integers(0, 6))
    return {
        "gone": draw(st.lists(st.integers(0, 6), max_size=2)),
        "jumps": draw(st.dictionaries(st.integers(0, 60), JUMP, max_size=3)),
        "rows": {key: draw(st.lists(ROW, min_size=ATTEMPTS, max_size=ATTEMPTS)) for key in KEYS},
        "ends": dict(enumerate(draw(st.lists(END, max_size=6)))),
        "order": draw(ORDER),
        "seed": draw(st.integers(0, 1000)),
        "faults": {
            **draw(st.dictionaries(REFUSED, st.just(("before", "400")), max_size=2)),
            **draw(st.dictionaries(calls, st.tuples(st.sampled_from(["before", "after"]), TROUBLE), max_size=6)),
        },
        "deaths": draw(st.lists(st.tuples(st.integers(0, 25), st.sampled_from(["before", "after"])), max_size=4)),
        "output_after": draw(st.integers(0, 12)),
        "list_hides": draw(st.integers(0, 1)),
        "most_tokens": draw(st.sampled_from([None, None, 60, 120])),
        "most_jobs": draw(st.sampled_from([None, None, 1, 2])),
        "size": draw(st.integers(1, 5)),
        "polls": draw(st.integers(1, 4)),
    }


def service_of(world: dict[str, Any]) -> Wild:
    service = Wild(
        Clock(),
        chunk=10_000,
        polls_to_end=world["polls"],
        output_after=world["output_after"],
        list_hides=world["list_hides"],
        most_tokens=world["most_tokens"],
        most_jobs=world["most_jobs"],
        ends={number: (f"BATCH_STATE_{state}", code) for number, (state, code) in world["ends"].items()},
        faults={call: (when, error_of(word)) for call, (when, word) in world["faults"].items()},
    )
    service.plan(world)
    return service


def live(service: Wild, folder: Path, options: RunOptions) -> Results:
    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            return await run(session, Submission(source=folder / "in.jsonl"), options, output=folder / "out.jsonl")

    return asyncio.run(whole())


def through(service: Wild, folder: Path, world: dict[str, Any]) -> Results:
    """The same command again and again until it comes to its end; a death is due so many calls after its start."""
    options = RunOptions(max_requests_per_job=world["size"], attempts=ATTEMPTS)
    deaths: list[tuple[int, Any]] = list(world["deaths"])
    for _ in range(MOST_LIVES):
        service.death = None
        if deaths:
            after, when = deaths.pop(0)
            service.death = (len(service.calls) + after, when)
        try:
            return live(service, folder, options)
        except Killed:
            continue
        except Error as error:
            if error.exit_code != 4:
                raise
    raise AssertionError("it never comes to its end")


def expected(service: Wild, key: str) -> tuple[int, str]:
    """By docs/runs.md: in how many jobs a key goes, and its verdict, given what its jobs came to."""
    mine = [job for job in service.jobs if key in job.keys]
    verdict = "missing"
    for attempt, job in enumerate(mine, 1):
        state, last = job.state.removeprefix("BATCH_STATE_"), attempt == len(mine)
        most = 2
        again = state == "EXPIRED" or (state == "FAILED" and (job.error or {}).get("code") in {8, 13, 14})
        if job.deleted:
            again = False
        elif state == "SUCCEEDED":
            what = service.rows[key][min(attempt, ATTEMPTS) - 1]
            again = what in ("none", "broken") or what in (2, 4, 8, 10, 13, 14)
            most = 2 if what in ("none", "broken") else ATTEMPTS
            if what in ("good", "twice"):
                verdict = "succeeded"
            elif isinstance(what, int):
                verdict = "failed"
            elif what == "blocked":
                verdict = "blocked"
        if last:
            assert not (again and attempt < most), (key, "was to be resent")
        else:
            assert again, (key, "was resent")
            assert attempt < most, (key, "was sent too often")
    return len(mine), verdict


@settings(settings.get_profile("worlds"))
@given(world=worlds())
def test_every_key_ends_with_one_honest_answer(tmp_path_factory: pytest.TempPathFactory, world: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("world")
    write_requests(folder / "in.jsonl", KEYS)
    service = service_of(world)

    found = through(service, folder, world)

    rows = [msgspec.json.decode(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]
    assert [row["key"] for row in rows] == KEYS
    for row in rows:
        times, verdict = expected(service, row["key"])
        assert 1 <= times <= ATTEMPTS
        assert row["verdict"] == verdict, row
        if verdict == "succeeded":
            assert row["response"]["text"] == f"answer to {row['key']}"
        else:
            assert row["error"]["reason"]
    files = Counter(job.file_name for job in service.jobs)
    assert set(files.values()) <= {1}, "a create was resent while its job existed"
    verdicts = {row["verdict"] for row in rows}
    assert found.summary.exit_code == (0 if verdicts == {"succeeded"} else 5 if verdicts == {"missing"} else 1)
    calls = len(service.calls)
    live(service, folder, RunOptions())
    assert len(service.calls) == calls, "all is done: nobody is asked"
