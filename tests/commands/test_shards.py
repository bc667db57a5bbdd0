"""A run over shards: each shard is a run of its own, and stays where it is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import math
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from commands.views import ask
from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line
from engine.steps import EVERY
from gemini_batch.commands.create import create
from gemini_batch.commands.retry import selection
from gemini_batch.commands.run import run
from gemini_batch.commands.shards import MAKERS, run_shards
from gemini_batch.engine import runner
from gemini_batch.engine.backoff import MOST_AT_ONCE
from gemini_batch.errors import ApiError, Error, InvalidInput, NotFinished, ServiceError, StateError, UsageError
from gemini_batch.events import RunProgress
from gemini_batch.intake.submission import Submission
from gemini_batch.report.shards.folder import AnswersFolder
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.state_folder import RunFolder
from gemini_batch.world import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gemini_batch.report.shards.answers import ShardAnswers, ShardsSummary
    from gemini_batch.store.shard_manifest import Shard

FAILED = selection(("failed",), max_output_tokens=None, temperature=None, model=None, model_check=True)
SHARDS = (("a", "b"), ("c", "d", "e"), ("f",), ("g", "h"))
KEYS = [key for shard in SHARDS for key in shard]
ONCE = dict.fromkeys(KEYS, 1)


def request(key: str, **settings: Any) -> bytes:
    body: dict[str, Any] = {"contents": [{"parts": [{"text": f"about {key}"}]}], "generationConfig": settings}
    return json.dumps({"key": key, "request": body}).encode() + b"\n"


def entry(folder: Path, name: str, data: bytes, **stated: Any) -> dict[str, Any]:
    """Write a shard; returns its line in a manifest."""
    (folder / name).write_bytes(data)
    facts = {"requests": data.count(b"\n"), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {"uri": name, **facts, **stated}


def manifest(folder: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path = folder / "shards.jsonl"
    path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return path


def four(folder: Path, **settings: Any) -> Path:
    """A manifest of four shards."""
    return manifest(
        folder,
        [
            entry(folder, f"part-{number}.jsonl", b"".join(request(key, **settings) for key in keys))
            for number, keys in enumerate(SHARDS)
        ],
    )


def work(
    service: FakeService, folder: Path, options: RunOptions | None = None, *, new: bool = False, **more: Any
) -> ShardsSummary:
    """``run --shards shards.jsonl -o answers`` in a process of its own."""
    path = folder / "shards.jsonl"
    submission = Submission(source=path, new=new)
    found: ShardsSummary = ask(
        service,
        folder,
        lambda s: run_shards(s, path, submission, options or RunOptions(), output=folder / "answers", **more),
    )
    return found


def rewrite(path: Path, content: bytes, _: int) -> None:
    path.write_bytes(content)


def answers(folder: Path) -> dict[str, str]:
    """What the results say, by key; each key once, each file counted by the manifest."""
    found: dict[str, str] = {}
    lines = [json.loads(line) for line in (folder / "answers" / "manifest.jsonl").read_bytes().splitlines()]
    for line in lines:
        file = line["answers"][0]
        data = (folder / "answers" / file["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        rows = [json.loads(row) for row in data.splitlines()]
        assert len(rows) == line["requests"] == sum(line["verdicts"].values())
        for row in rows:
            assert row["key"] not in found
            found[row["key"]] = row["response"]["text"] if row["verdict"] == "succeeded" else row["verdict"]
    return found


def good(keys: Sequence[str] = KEYS) -> dict[str, str]:
    return {key: f"answer to {key}" for key in keys}


def runs(folder: Path) -> list[RunFolder]:
    return [RunFolder(path) for path in sorted((folder / "home" / "runs").iterdir())]


@pytest.fixture
def service() -> FakeService:
    return FakeService(Clock())


def test_each_request_of_each_shard_is_answered_and_paid_for_once(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    found = work(service, tmp_path)
    assert answers(tmp_path) == good()
    assert service.paid() == ONCE
    assert (found.shards, found.finished, found.requests, found.exit_code) == (4, 4, 8, 0)
    assert found.verdicts == {"succeeded": 8}
    order = [json.loads(line)["uri"] for line in (tmp_path / "answers" / "manifest.jsonl").read_bytes().splitlines()]
    assert order == [f"part-{number}.jsonl" for number in range(4)]


def test_a_shard_is_the_input_of_its_job_and_is_not_copied(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.glob("part-*.jsonl")}
    work(service, tmp_path)
    assert sorted(service.files.values()) == sorted(before.values())
    assert before == {path: path.read_bytes() for path in before}
    for folder in runs(tmp_path):  # nor are the answers kept twice
        held = {path.name for path in folder.path.rglob("*") if path.is_file()}
        assert held <= {"lock", "manifest.json", "rows.db", "shard.json"}


def test_a_repeated_command_sends_nothing(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    work(service, tmp_path)
    before, calls = {path: path.read_bytes() for path in (tmp_path / "answers").iterdir()}, len(service.calls)
    for path in tmp_path.glob("part-*.jsonl"):
        path.unlink()  # a shard that is finished is needed no more
    found = work(service, tmp_path)
    assert found.exit_code == 0
    assert before == {path: path.read_bytes() for path in (tmp_path / "answers").iterdir()}
    assert len(service.calls) == calls


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_call_of_the_service_it_goes_on(tmp_path: Path, when: Any) -> None:
    for number in itertools.count(step=EVERY):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        service = FakeService(Clock(), death=(number, when))
        four(folder)
        try:
            work(service, folder)
        except Killed:
            service.death = None
            work(service, folder)
        else:
            assert number > 20
            break
        assert answers(folder) == good()
        assert service.paid() == ONCE


def test_killed_again_and_again(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    for _ in range(200):
        service.death = (len(service.calls) + 4, "after")
        with contextlib.suppress(Killed):
            work(service, tmp_path)
            break
    assert answers(tmp_path) == good()
    assert service.paid() == ONCE


def test_what_fails_for_a_moment_is_resent_from_the_shard(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    busy = b'{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "%s"}'
    service.answer_at = lambda key, attempt: busy % key.encode() if key in "bdg" and attempt == 1 else answer_line(key)
    assert work(service, tmp_path).exit_code == 0
    assert answers(tmp_path) == good()
    assert service.paid() == {**ONCE, "b": 2, "d": 2, "g": 2}


@pytest.mark.parametrize("death", [None, 25])
def test_what_fails_for_a_moment_in_one_job_of_several_is_resent(
    tmp_path: Path, service: FakeService, death: int | None
) -> None:
    four(tmp_path)
    busy = b'{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "%s"}'
    service.answer_at = lambda key, attempt: busy % key.encode() if key in "bdg" and attempt == 1 else answer_line(key)
    service.death = None if death is None else (death, "after")
    with contextlib.suppress(Killed):
        work(service, tmp_path, RunOptions(max_requests_per_job=1))
    service.death = None
    assert work(service, tmp_path, RunOptions(max_requests_per_job=1)).exit_code == 0
    assert answers(tmp_path) == good()
    assert service.paid() == {**ONCE, "b": 2, "d": 2, "g": 2}


def test_a_shard_that_was_changed_is_refused(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    busy = b'{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "b"}'
    service.answer_at = lambda key, attempt: busy if key == "b" and attempt == 1 else answer_line(key)
    changed = request("a") + request("B")
    service.on_download = partial(rewrite, tmp_path / "part-0.jsonl", changed)
    with pytest.raises(StateError) as refused:
        work(service, tmp_path)
    assert refused.value.reason_code == "shard_changed"
    assert "part-0.jsonl" in str(refused.value.file)
    assert service.paid() == ONCE  # neither row of it was sent again
    assert answers(tmp_path) == good(KEYS[2:])
    (tmp_path / "part-0.jsonl").write_bytes(request("a") + request("b"))
    service.on_download = lambda _: None
    assert work(service, tmp_path).exit_code == 0
    assert answers(tmp_path) == good()


def test_a_shard_may_be_copied_back(tmp_path: Path, service: FakeService) -> None:
    """The time of a file says nothing if its content is the same."""
    four(tmp_path)
    busy = b'{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "b"}'
    service.answer_at = lambda key, attempt: busy if key == "b" and attempt == 1 else answer_line(key)
    place = tmp_path / "part-0.jsonl"
    service.on_download = partial(rewrite, place, place.read_bytes())
    assert work(service, tmp_path).exit_code == 0


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"requests": 0}, "requests", "int"),
        ({"requests": "2"}, "requests", "int"),
        ({"bytes": 1}, "bytes", "the manifest says 1"),
        ({"sha256": "ab"}, "sha256", "64 hexadecimal digits"),
        ({"uri": ""}, "uri", "length"),
        ({"uri": "gone.jsonl"}, "uri", "no such file"),
        ({"uri": "."}, "uri", "a folder"),
        ({"uri": "https://example.com/a.jsonl"}, "uri", "no path, and no address"),
        ({"uri": "file://elsewhere/a.jsonl"}, "uri", "names this machine only"),
        ({"uri": "part-1.jsonl"}, "uri", "already named on line 2"),
        ({"method": "paint"}, "method", "no method of a batch"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_with_the_place(
    tmp_path: Path, service: FakeService, change: dict[str, Any], field: str, said: str
) -> None:
    lines = [json.loads(line) for line in four(tmp_path).read_bytes().splitlines()]
    lines[2] |= change
    manifest(tmp_path, lines)
    with pytest.raises(InvalidInput) as refused:
        work(service, tmp_path)
    (problem,) = refused.value.problems
    assert (problem.line, problem.field) == (3, field)
    assert said in problem.message
    assert refused.value.exit_code == 2
    assert service.jobs == []


@pytest.mark.parametrize("missing", ["uri", "requests", "bytes", "sha256"])
def test_a_line_without_a_field_is_refused(tmp_path: Path, service: FakeService, missing: str) -> None:
    lines = [json.loads(line) for line in four(tmp_path).read_bytes().splitlines()]
    del lines[0][missing]
    manifest(tmp_path, lines)
    with pytest.raises(InvalidInput) as refused:
        work(service, tmp_path)
    assert f"`{missing}`" in refused.value.problems[0].message


def test_the_same_content_twice_is_refused(tmp_path: Path, service: FakeService) -> None:
    data = request("a")
    manifest(tmp_path, [entry(tmp_path, "one.jsonl", data), entry(tmp_path, "two.jsonl", data)])
    with pytest.raises(InvalidInput) as refused:
        work(service, tmp_path)
    assert "two results" in refused.value.problems[0].message


@pytest.mark.parametrize("content", [b"", b"\n\n", b"not json\n", b"[1]\n", b"\xff\n", b"x" * 70_000])
def test_what_is_no_manifest_is_refused(tmp_path: Path, service: FakeService, content: bytes) -> None:
    (tmp_path / "shards.jsonl").write_bytes(content)
    with pytest.raises(UsageError):
        work(service, tmp_path)


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (request("a") + b"\n" + request("b"), 2, "blank"),
        (request("a") + request("b").replace(b"\n", b"\r\n"), 2, "ends in"),
        (b"\xef\xbb\xbf" + request("a") + request("b"), 1, "byte order mark"),
        (request("a") + request("b").rstrip(b"\n"), 2, "does not end in"),
        (request("a") + b" " + request("b"), 2, "spaces"),
    ],
)
def test_a_shard_that_is_not_canonical_is_refused(
    tmp_path: Path, service: FakeService, data: bytes, line: int, said: str
) -> None:
    """It is sent as it is, so there is no copy in which this could be put right."""
    manifest(tmp_path, [entry(tmp_path, "part.jsonl", data, requests=2)])
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path)
    assert (refused.value.reason_code, refused.value.line) == ("not_canonical", line)
    assert said in refused.value.message
    assert service.jobs == []


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"sha256": "0" * 64}, "part.jsonl has the sha256 "),
        ({"requests": 3}, "part.jsonl has 2 requests, and the manifest says 3."),
        ({"method": "embedContent"}, "has the method generateContent, and the manifest says embedContent."),
    ],
    ids=["sha256", "requests", "method"],
)
def test_a_shard_that_is_not_what_the_manifest_says_is_not_sent(
    tmp_path: Path, service: FakeService, stated: dict[str, Any], said: str
) -> None:
    manifest(tmp_path, [entry(tmp_path, "part.jsonl", request("a") + request("b"), **stated)])
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path)
    assert (refused.value.reason_code, refused.value.line) == ("shard_differs", 1)
    assert said in refused.value.message
    assert service.jobs == []


def test_a_wrong_shard_does_not_hold_back_those_that_were_sent(tmp_path: Path, service: FakeService) -> None:
    lines = [
        entry(tmp_path, f"{number}.jsonl", request(f"k{number}") if number != 7 else b"{}\n") for number in range(12)
    ]
    manifest(tmp_path, lines)
    with pytest.raises(InvalidInput) as refused:
        work(service, tmp_path)
    assert str(refused.value.file).endswith("7.jsonl")
    assert "this shard was not sent" in refused.value.message
    assert answers(tmp_path) == good(list(service.paid()))
    assert 7 <= len(service.paid()) < 11
    lines[7] = entry(tmp_path, "7.jsonl", request("k7"))
    manifest(tmp_path, lines)
    assert work(service, tmp_path).exit_code == 0
    assert service.paid() == {f"k{number}": 1 for number in range(12)}
    assert answers(tmp_path) == good([f"k{number}" for number in range(12)])


def test_other_files_in_the_folder_are_not_replaced(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "manifest.jsonl").write_bytes(b'{"mine": 1}\n')
    with pytest.raises(UsageError) as refused:
        work(service, tmp_path)
    assert refused.value.field == "--output"
    assert service.jobs == []


# What came of it -----------------------------------------------------------------------------------------------------


def test_shards_are_remembered_whole(tmp_path: Path, service: FakeService) -> None:
    """Rows are not: another run of some of them pays for these, and so does another shard."""
    four(tmp_path)
    work(service, tmp_path)
    (tmp_path / "in.jsonl").write_bytes(request("a"))
    ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "in.jsonl"), None))
    assert service.paid() == {**ONCE, "a": 2}
    manifest(tmp_path, [entry(tmp_path, "more.jsonl", request("a") + request("z"))])
    work(service, tmp_path)
    assert service.paid() == {**ONCE, "a": 3, "z": 1}
    lines = (tmp_path / "answers" / "manifest.jsonl").read_bytes().splitlines()
    assert {json.loads(line)["uri"] for line in lines} == {
        *(f"part-{number}.jsonl" for number in range(4)),
        "more.jsonl",
    }


CAP = 6_500_000
SPENT = "SELECT sum(coalesce(settled, bound)) FROM jobs WHERE stage IN ('intended', 'created', 'ended', 'collected')"


def most_spent(service: FakeService, folder: Path) -> list[int]:
    """What counts towards the limit at each create, in nano-USD; a request costs up to 1.5 million."""
    found: list[int] = []
    create = service.create

    async def creating(**words: Any) -> Any:
        with contextlib.closing(sqlite3.connect(folder / "home" / "ledger.db")) as db:
            found.append(db.execute(SPENT).fetchone()[0])
        return await create(**words)

    service.create = creating  # type: ignore[method-assign]
    service.clock.now = 1_795_000_000.0  # the price is known
    return found


def test_a_limit_holds_for_all_shards_together(tmp_path: Path, service: FakeService) -> None:
    """What the first shards have cost in fact lets the others be sent."""
    four(tmp_path, maxOutputTokens=1000)
    spent = most_spent(service, tmp_path)
    assert work(service, tmp_path, RunOptions(max_nano_usd=CAP)).exit_code == 0
    assert max(spent) <= CAP
    assert len(spent) > 1
    assert service.paid() == ONCE


def test_a_limit_without_room_ends_the_run(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path, maxOutputTokens=1000)
    spent = most_spent(service, tmp_path)
    with pytest.raises(NotFinished) as stopped:
        work(service, tmp_path, RunOptions(max_nano_usd=1_000_000))
    assert stopped.value.reason_code == "budget_reached"
    assert "these shards" in stopped.value.message
    assert "Run the same command again with --max-usd" in str(stopped.value.next)
    assert spent == []
    assert work(service, tmp_path, RunOptions(max_nano_usd=10 * CAP)).exit_code == 0
    assert answers(tmp_path) == good()


def test_a_limit_counts_what_a_plain_run_of_a_shard_has_sent(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path, maxOutputTokens=1000)
    spent = most_spent(service, tmp_path)
    service.polls_to_end = 10**6
    ask(service, tmp_path, lambda s: create(s, Submission(source=tmp_path / "part-1.jsonl")))
    service.polls_to_end = 2
    assert work(service, tmp_path, RunOptions(max_nano_usd=CAP)).exit_code == 0
    assert max(spent) <= CAP
    assert service.paid() == ONCE


# Whose results they are ----------------------------------------------------------------------------------------------


def test_a_trial_of_a_shard_is_completed(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    ask(service, tmp_path, lambda s: run(s, Submission(source=tmp_path / "part-1.jsonl", limit=1), None))
    assert work(service, tmp_path).exit_code == 0
    assert answers(tmp_path) == good()
    assert service.paid() == ONCE


def test_with_another_key_nothing_counts_as_gone(tmp_path: Path) -> None:
    service = FakeService(Clock(), polls_to_end=10**6)
    four(tmp_path)
    with pytest.raises(NotFinished):
        work(service, tmp_path, timeout=30.0)

    class Hidden(FakeService):
        async def get(self, *_: Any, **__: Any) -> Any:
            raise ApiError("Requested entity was not found.", status=404, reason="NOT_FOUND")

    hidden = Hidden(Clock(), jobs=service.jobs, files=service.files)
    path = tmp_path / "shards.jsonl"

    async def with_other_key() -> None:
        async with FakeSession(hidden, tmp_path / "home", key="another-key") as session:
            await run_shards(session, path, Submission(source=path), RunOptions(), output=tmp_path / "answers")

    with pytest.raises(UsageError) as refused:
        asyncio.run(with_other_key())
    assert refused.value.reason_code == "other_key"
    service.polls_to_end = 1
    assert work(service, tmp_path).exit_code == 0
    assert service.paid() == ONCE


def test_progress_never_goes_back(tmp_path: Path, service: FakeService) -> None:
    count = 12
    manifest(tmp_path, [entry(tmp_path, f"{number}.jsonl", request(f"k{number}")) for number in range(count)])
    service.counts = service.counts_at_end = lambda job: (len(job.keys), 0)
    told: list[RunProgress] = []
    path = tmp_path / "shards.jsonl"

    async def telling() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            await run_shards(session, path, Submission(source=path), RunOptions(), output=tmp_path / "answers")
            told.extend(event for event in session.events if isinstance(event, RunProgress))

    asyncio.run(telling())
    for one, following in itertools.pairwise(told):
        assert following.done >= one.done
        assert following.waiting <= one.waiting


# Trouble -------------------------------------------------------------------------------------------------------------


def test_a_wrong_shard_is_said_when_the_time_is_over(tmp_path: Path) -> None:
    service = FakeService(Clock(), polls_to_end=10**6)
    manifest(tmp_path, [entry(tmp_path, "good.jsonl", request("a")), entry(tmp_path, "bad.jsonl", b"{}\n")])
    with pytest.raises(InvalidInput):
        work(service, tmp_path, timeout=30.0)


def test_two_jobs_of_a_shard_that_cannot_be_polled(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    service.polls_to_end = 10**6
    away = ServiceError("away", code="unavailable")
    service.faults = {(operation, number): ("before", away) for operation in ("get", "list") for number in range(5000)}
    with pytest.raises(ServiceError):
        work(service, tmp_path, RunOptions(max_requests_per_job=1))
    service.faults, service.polls_to_end = {}, 1
    assert work(service, tmp_path).exit_code == 0
    assert service.paid() == ONCE


def test_no_shard_is_open_while_its_requests_wait_to_be_resent(
    tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 12
    full = '{"error": {"code": 8, "message": "quota", "status": "RESOURCE_EXHAUSTED"}, "key": "%s"}'
    manifest(tmp_path, [entry(tmp_path, f"{number}.jsonl", request(f"k{number}")) for number in range(count)])
    service.answer_at = lambda key, attempt: (full % key).encode() if attempt == 1 else answer_line(key)
    waits: list[float] = []

    class Watched(Tasks):
        async def pause(self, until: float) -> bool:
            if not math.isinf(until):
                waits.append(until - service.clock.monotonic)
            return await super().pause(until)

    monkeypatch.setattr(runner, "Tasks", Watched)  # those of the runs, and not those of all shards
    assert work(service, tmp_path).exit_code == 0
    assert service.paid() == {f"k{number}": 2 for number in range(count)}
    assert max(waits, default=0.0) < 100  # a full quota is a pause of 300 s
    assert max(service.clock.waits) > 100


def test_what_finds_no_room_to_be_sent_again_keeps_no_other_shard_from_being_collected(
    tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.polls_to_end = 20
    four(tmp_path)
    busy = '{"error": {"code": 14, "message": "busy", "status": "UNAVAILABLE"}, "key": "%s"}'
    service.answer_at = lambda key, attempt: (busy % key).encode() if attempt == 1 else answer_line(key)
    slow: list[bool] = []
    create = service.create

    async def creates(*args: Any, **more: Any) -> Any:
        made = await create(*args, **more)
        service.jobs[-1].looks = {1: 0, 2: -20, 3: -40, 4: -400}.get(len(service.jobs), 0)
        return made

    def downloads(_: int) -> None:
        service.most_jobs = 1
        slow.append(service.jobs[len(SHARDS) - 1].alive)

    monkeypatch.setattr(service, "create", creates)
    service.on_download = downloads
    assert work(service, tmp_path).exit_code == 0
    assert slow == [True] * 3 + [False] * 5  # three shards are collected while there is no room
    assert answers(tmp_path) == good()
    assert service.paid() == dict.fromkeys(KEYS, 2)


def test_a_time_that_is_over_cancels_nothing(tmp_path: Path) -> None:
    service = FakeService(Clock())
    four(tmp_path)
    service.polls_to_end = 10**6
    with pytest.raises(NotFinished) as stopped:
        work(service, tmp_path, timeout=30.0)
    assert stopped.value.reason_code == "timeout"
    assert "4 are at the service" in stopped.value.message
    service.polls_to_end = 1
    assert work(service, tmp_path).exit_code == 0
    assert service.paid() == ONCE


def test_what_is_here_of_answers_is_collected_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(Clock(), polls_to_end=10**6)
    four(tmp_path)
    with pytest.raises(NotFinished) as stopped:
        work(service, tmp_path, timeout=30.0)
    assert "4 are at the service" in stopped.value.message
    (there,) = (run for run in runs(tmp_path) if run.requests.name == "part-2.jsonl")
    there.raw("job").parent.mkdir()
    there.raw("job").with_suffix(".part").write_bytes(answer_line("f"))
    write, order = AnswersFolder.write, list[str]()

    def written(folder: AnswersFolder, found: Any, shard: Shard, *more: Any) -> ShardAnswers:
        order.append(shard.uri)
        return write(folder, found, shard, *more)

    monkeypatch.setattr(AnswersFolder, "write", written)
    service.polls_to_end = 1
    for job in service.jobs:
        service._move(job)
    assert work(service, tmp_path).exit_code == 0
    assert (order[0], len(order)) == ("part-2.jsonl", 4)


def test_a_job_that_is_gone_is_not_sent_again(tmp_path: Path) -> None:
    service = FakeService(Clock())
    four(tmp_path)
    service.polls_to_end = 10**6
    with pytest.raises(NotFinished):
        work(service, tmp_path, timeout=30.0)
    service.polls_to_end = 1
    service.jobs[1].deleted = True
    found = work(service, tmp_path)
    lost = service.jobs[1].keys
    assert found.exit_code == 1
    assert answers(tmp_path) == {**good(), **dict.fromkeys(lost, "missing")}
    assert service.paid() == ONCE


def test_many_shards_are_watched_with_one_list(tmp_path: Path, service: FakeService) -> None:
    count = 16
    manifest(tmp_path, [entry(tmp_path, f"{number}.jsonl", request(f"k{number}")) for number in range(count)])
    service.polls_to_end = polls = 30
    assert work(service, tmp_path).finished == count
    # Each is asked for when it is sent and when it is collected, not at each poll; how often depends on the threads.
    assert service.calls.count("get") <= polls * count // 2
    assert service.calls.count("list") > 10


def test_few_shards_are_open_at_a_time(tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """So memory does not grow with their number. (How many are collected at once depends on the clock, which jumps.)"""
    count = 3 * (MAKERS + MOST_AT_ONCE)
    manifest(tmp_path, [entry(tmp_path, f"{number}.jsonl", request(f"k{number}")) for number in range(count)])
    service.polls_to_end = 50
    open_now, most, lock = set[Path](), [0], RunFolder.lock

    @contextlib.contextmanager
    def counting(folder: RunFolder, *, wait: float) -> Iterator[None]:
        with lock(folder, wait=wait):
            open_now.add(folder.path)
            most.append(len(open_now))
            try:
                yield
            finally:
                open_now.discard(folder.path)

    monkeypatch.setattr(RunFolder, "lock", counting)
    assert work(service, tmp_path).finished == count
    assert max(most) <= MAKERS + MOST_AT_ONCE < count


def test_one_process_works_on_the_shards_of_a_manifest(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    came: list[Error] = []

    def second(_: int) -> None:
        if not came:
            with pytest.raises(StateError) as refused, ThreadPoolExecutor(1) as thread:
                thread.submit(work, FakeService(Clock()), tmp_path).result()
            came.append(refused.value)

    service.on_download = second
    assert work(service, tmp_path).exit_code == 0
    assert came[0].reason_code == "locked"
    assert "working on shards" in came[0].message


def test_an_error_of_one_shard_names_it(tmp_path: Path, service: FakeService) -> None:
    four(tmp_path)
    with pytest.raises(Error) as refused:
        ask(
            service,
            tmp_path,
            lambda s: run_shards(
                s,
                tmp_path / "shards.jsonl",
                Submission(source=tmp_path / "shards.jsonl", model="gemini-embedding-001"),
                RunOptions(),
                output=tmp_path / "answers",
            ),
        )
    assert "part-" in str(refused.value)


def test_what_ends_the_sending_of_a_shard_is_not_tried_again(tmp_path: Path, service: FakeService) -> None:
    """What its calls have brought is collected, and no further call is made: it would be paid for at another price."""
    service.clock.now, service.tier = 1_795_000_000.0, "standard"
    keys = [f"k{number}" for number in range(6)]
    manifest(tmp_path, [entry(tmp_path, "a.jsonl", b"".join(map(request, keys)))])
    with pytest.raises(NotFinished) as stopped:
        work(service, tmp_path, RunOptions(via="flex", concurrency=1))
    assert stopped.value.reason_code == "served_as_standard"
    assert sum(service.paid().values()) == 1
    assert work(service, tmp_path, RunOptions(via="flex", concurrency=1, allow_standard=True)).exit_code == 0
    assert service.paid() == {f"about {key}": 1 for key in keys}


def test_a_shard_whose_answers_do_not_come_holds_back_no_other(
    tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    four(tmp_path)
    download, began, times = service.download, service.clock.monotonic, []

    async def downloads(name: str, part: Path, **more: Any) -> int:
        if name.endswith(service.jobs[0].name.removeprefix("batches/")):
            if service.clock.monotonic - began < 5 * 3600:
                raise ApiError("away", status=503, reason="UNAVAILABLE")
        else:
            times.append(service.clock.monotonic - began)
        return await download(name, part, **more)

    monkeypatch.setattr(service, "download", downloads)
    assert work(service, tmp_path).exit_code == 0
    assert service.paid() == ONCE
    assert max(times) < 3600


def test_what_is_refused_for_good_is_said_while_the_shard_is_at_the_service(
    tmp_path: Path, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other shard is begun then, and what is at the service is collected."""
    service.polls_to_end = 40
    others = [f"k{number}" for number in range(12)]
    lines = [("two.jsonl", ["a", "b"]), *((f"{key}.jsonl", [key]) for key in others)]
    manifest(tmp_path, [entry(tmp_path, name, b"".join(map(request, keys))) for name, keys in lines])
    create_job = service.create

    async def creates(*args: Any, **more: Any) -> Any:
        if any(job.keys == ["a"] for job in service.jobs) and b'"b"' in service.files[more["file_name"]]:
            raise ApiError("no", status=400, reason="FAILED_PRECONDITION")
        return await create_job(*args, **more)

    monkeypatch.setattr(service, "create", creates)
    with pytest.raises(ApiError):
        work(service, tmp_path, RunOptions(max_requests_per_job=1))
    assert len(service.jobs) < 8
    monkeypatch.setattr(service, "create", create_job)
    assert work(service, tmp_path, RunOptions(max_requests_per_job=1)).exit_code == 0
    assert service.paid() == dict.fromkeys(["a", "b", *others], 1)
