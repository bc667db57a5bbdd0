"""What a sceptical reader has broken: each case was lost, paid twice or never ended before."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.fake import FakeService, FakeSession, Killed, answer_line, reset, write_requests
from engine.steps import GOOD, KEYS, ONCE, again, begin, held, jobs_of, texts, work
from gemini_batch.commands.clean import clean
from gemini_batch.commands.run import run
from gemini_batch.engine import scheduler as s
from gemini_batch.engine.quota import Limits
from gemini_batch.errors import ApiError, Error, ServiceError, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import Job, JobStage, QuotaBounds
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.rows.row_records import Waiting
from gemini_batch.wire import Phase, RemoteJob

if TYPE_CHECKING:
    from pathlib import Path


def downloads(service: FakeService, answer: Any, number: int = 0, *, sized: bool = False) -> None:
    """What the download of that job's results does: raises, or returns lines; ``sized``: it states their size."""
    real = service.download

    async def downloading(name: str, part: Path, *, progress: Any) -> int:
        found = answer() if name == f"files/batch-job{number}" else None
        if found is None:
            return await real(name, part, progress=progress)
        service.calls.append("download")
        if isinstance(found, Exception):
            raise found
        part.write_bytes(found)
        if sized:
            progress(len(found), len(found))
        return len(found)

    service.download = downloading  # type: ignore[method-assign]


# What is lost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ledger_write", range(3))
def test_death_while_a_loss_is_written_down(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ledger_write: int
) -> None:
    """The next process finishes the loss; it does not take it for answers that are just absent, and resend them."""
    downloads(service, lambda: ApiError("gone", status=403, reason="PERMISSION_DENIED"))
    real, left = Ledger.update_job, [ledger_write]

    def dying(self: Ledger, job: Job, what: str, **more: Any) -> Job:
        if what.startswith("lost") or (job.lost and what == "collected"):
            left[0] -= 1
            if left[0] == 0:
                real(self, job, what, **more)
                raise Killed
            if left[0] < 0:
                raise Killed
        return real(self, job, what, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "update_job", dying)
        with pytest.raises(Killed):
            work(service, tmp_path)
    found = work(service, tmp_path)

    assert service.paid() == ONCE
    assert [row["error"]["reason"] for row in found if "error" in row] == ["RESULTS_GONE"] * 2


@pytest.mark.parametrize(
    "error",
    [
        ApiError("no permission", status=403, reason="PERMISSION_DENIED"),
        ApiError("404 page not found", status=404),
    ],
    ids=["a right withdrawn for a moment", "a proxy"],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_moment_without_results_is_not_their_loss(
    service: FakeService, tmp_path: Path, error: ApiError, times: int
) -> None:
    for number in range(times):
        service.faults["download", number] = ("before", error)

    assert texts(work(service, tmp_path)) == GOOD


def test_a_proxy_that_knows_no_job_proves_nothing(service: FakeService, tmp_path: Path) -> None:
    """Not even in an hour; the service itself has to say it."""
    for number in range(300):
        service.faults["get", number] = ("before", ApiError("<html>nginx</html>", status=404))
        service.faults["list", number] = ("before", ApiError("<html>nginx</html>", status=404))

    assert texts(work(service, tmp_path)) == GOOD


def test_create_does_not_resend_what_is_gone(service: FakeService, tmp_path: Path) -> None:
    made = begin(service, tmp_path)
    service.jobs[0].deleted = True
    work(service, tmp_path, made.run)

    with pytest.raises(ApiError, match="cannot find it"):
        begin(service, tmp_path)

    assert service.paid() == ONCE


def test_answers_that_are_here_need_no_service(service: FakeService, tmp_path: Path) -> None:
    """Killed before they were judged, and the job is deleted since."""
    real = FakeService.download

    async def last(self: FakeService, name: str, part: Path, *, progress: Any) -> int:
        return await real(self, name, part, progress=progress)

    service.download = last.__get__(service)  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gemini_batch.engine.collector.judge_file", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            work(service, tmp_path, options=RunOptions())
    service.jobs[0].deleted = True
    calls = len(service.calls)

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert len(service.calls) == calls


def test_an_ended_job_that_is_gone_before_it_was_fetched(service: FakeService, tmp_path: Path) -> None:
    """Its requests are missing after a while, and the run is at its end."""

    def gone() -> Any:
        service.jobs[0].deleted = True
        return ServiceError("unreadable", code="unreadable_answer")

    downloads(service, gone)

    found = work(service, tmp_path)

    assert {row["error"]["reason"] for row in found if "error" in row} == {"JOB_GONE"}
    assert service.paid() == ONCE
    assert service.clock.now < 1_790_000_000.0 + 7200


def test_a_file_that_ends_early_between_lines_is_fetched_again(service: FakeService, tmp_path: Path) -> None:
    """The job's own counts say how many lines there must be; the same command fetches it once more."""
    short = [b"".join(answer_line(key) + b"\n" for key in KEYS[:3])]
    downloads(service, lambda: short.pop() if short else None, sized=True)
    operation = service._operation

    def counting(job: Any) -> Any:
        found = operation(job)
        assert found.metadata is not None
        if job.lines:
            stats = {"requestCount": "6", "successfulRequestCount": "6"}
            found.metadata.batch_stats = msgspec.convert(stats, type(found.metadata.batch_stats))
        return found

    service._operation = counting  # type: ignore[method-assign]

    service.polls_to_end = 0
    job = begin(service, tmp_path).job

    assert texts(held(service, tmp_path, job)) == GOOD
    assert service.paid() == ONCE


# Old looks -----------------------------------------------------------------------------------------------------------


def test_an_old_look_undoes_nothing(service: FakeService, tmp_path: Path) -> None:
    """Somebody else has watched the same job and writes what it was, after it was collected."""
    made = begin(service, tmp_path)
    before = jobs_of(tmp_path)[0]
    work(service, tmp_path, made.run)
    alive = RemoteJob(name=made.job, state="JOB_STATE_PENDING", phase=Phase.ALIVE)
    ended = RemoteJob(name=made.job, state="JOB_STATE_SUCCEEDED", phase=Phase.SUCCEEDED)

    for remote in (alive, ended):
        with Ledger(tmp_path / "home" / "ledger.db") as ledger:
            after = ledger.seen(before, remote, at=1.0)
        assert (after.stage, after.phase, after.state) == (JobStage.COLLECTED, Phase.SUCCEEDED, "JOB_STATE_SUCCEEDED")

    assert begin(service, tmp_path).attached
    assert service.paid() == ONCE


def test_a_forgotten_job_is_not_made_with_less_than_all(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that died while it planned has taken some of the requests; create puts them back, or leaves it alone."""
    service.faults["create", 0] = ("before", ApiError("bad", status=400, reason="INVALID_ARGUMENT"))
    with pytest.raises(ServiceError):
        begin(service, tmp_path)

    async def forget() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            await clean(session, dry_run=False, not_created=True)

    asyncio.run(forget())
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add_job", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            work(service, tmp_path)

    with contextlib.suppress(UsageError):  # it may say that a run works on it
        begin(service, tmp_path)

    assert texts(work(service, tmp_path)) == GOOD
    assert service.paid() == ONCE


# Time and room -------------------------------------------------------------------------------------------------------


lives = st.sampled_from(list(JobStage))
#: Two jobs are being collected, and a third one has ended.
ALL_COLLECTORS_BUSY = [(JobStage.ENDED, True, None), (JobStage.ENDED, True, None), (JobStage.ENDED, False, None)]


@example(ALL_COLLECTORS_BUSY, 0, 0, 0.0, 500.0, False, False, None, "finished", [])
@example(
    [(JobStage.ENDED, True, None), (JobStage.COLLECTED, False, None)],
    0,
    0,
    0.0,
    500.0,
    False,
    False,
    None,
    "collected",
    [2],
)
@given(
    st.lists(st.tuples(lives, st.booleans(), st.sampled_from([None, 0.0, 50.0, 500.0, float("inf")])), max_size=6),
    st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 50.0, 500.0]), st.sampled_from([0.0, 50.0, 500.0]),
    st.booleans(), st.booleans(), st.sampled_from([None, 1, 100]), st.sampled_from(["sent", "collected", "finished"]),
    st.lists(st.integers(1, 6), max_size=2),
)  # fmt: skip
def test_a_schedule_never_spins(
    drawn: list[tuple[JobStage, bool, float | None]],
    waiting: int, others: int, hold: float, look: float, closed: bool, around: bool, refused: int | None,
    until: s.Until, resent: list[int],
) -> None:  # fmt: skip
    """Something is begun, or it is waited: for a later time, or for a task that there is."""
    now = 100.0
    jobs = tuple(_job(number, stage) for number, (stage, _, _) in enumerate(drawn, 1))
    alive = sum(job.stage in {JobStage.INTENDED, JobStage.CREATED} for job in jobs)
    facts = s.Facts(
        waiting=Waiting(waiting, waiting * 10, waiting * 10),
        jobs=jobs,
        busy=frozenset(n for n, (stage, busy, _) in enumerate(drawn, 1) if busy and stage is not JobStage.COLLECTED),
        queued=10 * (alive + others),
        living=alive + others,
        quota_bounds=QuotaBounds(refused, None),
        hold_until=hold,
        hold_why="",
        poll_at=look,
        others=bool(others),
        poll_others_at=0.0 if around else 500.0,
        later={n: later for n, (_, _, later) in enumerate(drawn, 1) if later is not None},
        closed=closed,
        resend={n: 300.0 for n in resent if n <= len(jobs) and jobs[n - 1].stage is JobStage.COLLECTED},
        until=until,
    )
    limits = Limits(requests=10, bytes=1000, tokens=None, jobs=4)

    (first, *_) = s.schedule(facts, limits, now)

    if isinstance(first, s.Wait):
        assert first.until > now
        assert first.until < float("inf") or facts.busy
    for action in s.schedule(facts, limits, now):
        if isinstance(action, s.Make | s.Collect):
            assert action.ordinal not in facts.busy
        assert until != "sent" or not isinstance(action, s.Collect)
        assert until != "collected" or not isinstance(action, s.Plan | s.Make | s.Release | s.PollOthers)


@pytest.mark.parametrize(
    ("until", "stages", "waiting", "ends"),
    [
        ("collected", [JobStage.CREATED, JobStage.COLLECTED], 0, True),
        ("collected", [JobStage.CREATED, JobStage.ENDED], 0, False),
        ("collected", [JobStage.CREATED, JobStage.PLANNED], 0, True),
        ("collected", [JobStage.COLLECTED], 1, True),
        ("sent", [JobStage.CREATED, JobStage.ENDED, JobStage.COLLECTED], 0, True),
        ("sent", [JobStage.ENDED], 0, True),
        ("sent", [JobStage.INTENDED, JobStage.ENDED], 0, False),
        ("sent", [JobStage.ENDED], 1, False),
        ("finished", [JobStage.CREATED, JobStage.COLLECTED], 0, False),
        ("finished", [JobStage.COLLECTED], 0, True),
    ],
)
def test_when_work_on_a_run_ends(until: s.Until, stages: list[JobStage], waiting: int, ends: bool) -> None:
    jobs = tuple(_job(number, stage) for number, stage in enumerate(stages, 1))
    facts = s.Facts(
        waiting=Waiting(waiting, 10, 10), jobs=jobs, busy=frozenset(), queued=0, living=0,
        quota_bounds=QuotaBounds(None, None), hold_until=0.0, hold_why="", poll_at=500.0, others=False,
        poll_others_at=0.0, later={}, closed=False, until=until,
    )  # fmt: skip

    actions = s.schedule(facts, Limits(requests=10, bytes=1000, tokens=None, jobs=100), 1.0)

    assert (actions == [s.Finished()]) is ends


@pytest.mark.parametrize(
    ("planned", "busy", "expected"),
    [
        (s.MAKERS - 1, s.MAKERS - 1, [s.Plan(None)]),
        (s.MAKERS, s.MAKERS, [s.Plan(None)]),
        (s.MAKERS + 1, s.MAKERS, []),
        (s.MAKERS + 1, s.MAKERS - 1, [s.Make(s.MAKERS)]),
        (s.MAKERS + 9, 0, [s.Make(number) for number in range(1, s.MAKERS + 1)]),
    ],
)
def test_one_job_more_is_planned_than_is_made(planned: int, busy: int, expected: list[s.Action]) -> None:
    """When one is created, the next one need not be planned first."""
    jobs = tuple(_job(number, JobStage.PLANNED) for number in range(1, planned + 1))
    facts = s.Facts(
        waiting=Waiting(1, 10, 10), jobs=jobs, busy=frozenset(range(1, busy + 1)), queued=0, living=0,
        quota_bounds=QuotaBounds(None, None), hold_until=0.0, hold_why="", poll_at=0.0, others=False,
        poll_others_at=0.0, later={}, closed=False,
    )  # fmt: skip

    actions = s.schedule(facts, Limits(requests=10, bytes=1000, tokens=None, jobs=100), 1.0)

    assert [one for one in actions if not isinstance(one, s.Wait)] == expected


def test_a_create_without_an_answer_is_one_of_those_that_are_made() -> None:
    """It holds one of the connections."""
    stages = [JobStage.INTENDED, *[JobStage.PLANNED] * s.MAKERS]
    jobs = tuple(_job(number, stage) for number, stage in enumerate(stages, 1))
    facts = s.Facts(
        waiting=Waiting(1, 10, 10), jobs=jobs, busy=frozenset(range(1, s.MAKERS + 1)), queued=0, living=1,
        quota_bounds=QuotaBounds(None, None), hold_until=0.0, hold_why="", poll_at=0.0, others=False,
        poll_others_at=0.0, later={}, closed=False,
    )  # fmt: skip

    (only,) = s.schedule(facts, Limits(requests=10, bytes=1000, tokens=None, jobs=100), 1.0)

    assert isinstance(only, s.Wait)


def _job(number: int, stage: JobStage) -> Job:
    return Job(
        id=f"run-a-{number}", run="run-a", ordinal=number, model="m", requests=1, tokens=10, part=None, offset=0,
        bytes=10, sha256="", input_kind="file", display_name="n", stage=stage, intended_at=1.0,
    )  # fmt: skip


def test_jobs_of_others_that_have_ended_take_no_room(service: FakeService, tmp_path: Path) -> None:
    """Made by ``create`` and never looked at since: by the books it would be in the queue for two days."""
    begin(service, tmp_path)
    size = (tmp_path / "in.jsonl").stat().st_size // 4
    write_requests(tmp_path / "other.jsonl", [f"o{n}" for n in range(6)])

    async def other() -> Any:
        async with FakeSession(service, tmp_path / "home") as session:
            ledger = session.ledger()
            ledger.set_quota_bounds(
                session.key_fingerprint(),
                "gemini-3-flash-preview",
                QuotaBounds(size * 3 // 2, size),
                at=service.clock.now,
            )
            return await run(session, Submission(source=tmp_path / "other.jsonl"), RunOptions())

    assert asyncio.run(other()).summary.all_succeeded
    assert service.clock.now < 1_790_000_000.0 + 3600


def test_a_refusal_beside_a_living_job_is_not_repeated_every_minute(service: FakeService, tmp_path: Path) -> None:
    """Nothing is to be learned of tokens: the uploaded job waits, ever longer, and is not uploaded again."""
    with FakeSession(service, tmp_path / "home").ledger() as ledger:
        ledger.set_quota_bounds(
            ledger.key_fingerprint("a-key"),
            "gemini-3-flash-preview",
            QuotaBounds(None, 1_000_000),
            at=service.clock.now,
        )
    service.most_jobs = 1
    service.polls_to_end = 100

    assert texts(work(service, tmp_path, options=RunOptions(max_requests_per_job=3))) == GOOD

    assert 3 < service.refusals <= 9
    assert service.calls.count("start_upload") <= 4


def test_a_job_made_late_is_looked_at_soon(service: FakeService, tmp_path: Path) -> None:
    """How often a job is looked at goes by its own age, not by the run's."""
    service.most_jobs = 1
    create_job = service.create

    async def later(**words: Any) -> Any:
        service.clock.pass_by(7200.0)
        return await create_job(**words)

    service.create = later  # type: ignore[method-assign]
    service.clock.waits.clear()

    assert texts(work(service, tmp_path, options=RunOptions(max_requests_per_job=3))) == GOOD
    assert max(service.clock.waits) <= 120.0


def test_a_clock_that_leaps_ahead_does_not_end_a_doubt(service: FakeService, tmp_path: Path) -> None:
    """The list shows the job a moment later; who has sent the create has to have waited."""
    service.faults["create", 0] = ("after", reset())
    service.list_hides = 2
    begin_call = service._begin

    def leaping(operation: str) -> Any:
        if operation == "list" and service.calls.count("list") == 0:
            service.clock.now += 3600.0
        return begin_call(operation)

    service._begin = leaping  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert service.paid() == ONCE


# One trouble does not end the run ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ServiceError("unreadable", code="unreadable_answer"),
        ApiError("no", status=403, reason="PERMISSION_DENIED"),
    ],
    ids=["unreadable", "forbidden"],
)
def test_one_job_that_cannot_be_seen_keeps_nobody_away(
    service: FakeService, tmp_path: Path, error: ServiceError
) -> None:
    """The others are seen and collected; then the run ends with what is wrong, and can go on later."""
    get = service.get

    async def getting(name: str, *, server_timeout: int | None = None) -> Any:
        if name == "batches/job0":
            service.calls.append("get")
            raise error
        return await get(name, server_timeout=server_timeout)

    service.get = getting  # type: ignore[method-assign]
    service.list_hides = 100_000
    with pytest.raises(Error):
        work(service, tmp_path)
    service.get = get  # type: ignore[method-assign]

    assert sorted(job.stage.value for job in jobs_of(tmp_path)) == ["collected", "collected", "created"]
    assert texts(work(service, tmp_path)) == GOOD


def test_patience_with_a_full_store_ends_after_what_is_there_was_brought_in(
    service: FakeService, tmp_path: Path
) -> None:
    start = service.start_upload
    service.polls_to_end = 130  # ten hours

    async def full(**words: Any) -> str:
        if service.jobs:
            raise ApiError("full", status=429, reason="RESOURCE_EXHAUSTED", code="storage_full")
        return await start(**words)

    service.start_upload = full  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match="full"):
        work(service, tmp_path, options=RunOptions(max_requests_per_job=3))
    assert [job.stage for job in jobs_of(tmp_path) if job.batch] == [JobStage.COLLECTED]

    service.start_upload = start  # type: ignore[method-assign]
    assert texts(work(service, tmp_path)) == GOOD


# Retry ---------------------------------------------------------------------------------------------------------------


def cut(key: str) -> bytes:
    candidate = {"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}
    return msgspec.json.encode({"response": {"candidates": [candidate]}, "key": key})


def test_a_retry_whose_change_is_refused_is_not_the_end(service: FakeService, tmp_path: Path) -> None:
    """Results can still be read, and another retry takes its place."""
    service.answer_at = lambda key, attempt: cut(key) if key == "k1" and attempt == 1 else answer_line(key)
    first = work(service, tmp_path)
    service.faults["create", 3] = ("before", ApiError("not for you", status=404, reason="NOT_FOUND"))
    with pytest.raises(ServiceError, match="cannot run a batch"):
        again(service, tmp_path, first.summary.run, "truncated", model="gemini-3.1-pro-preview")

    assert held(service, tmp_path, first.summary.run).summary.verdicts == first.summary.verdicts
    found = again(service, tmp_path, first.summary.run, "truncated", max_output_tokens=8192)

    assert texts(found) == GOOD
    assert service.jobs[-1].model == "gemini-3-flash-preview"
    assert work(service, tmp_path).summary.all_succeeded


def test_what_a_retry_sends_goes_once_more_when_its_job_expires(service: FakeService, tmp_path: Path) -> None:
    """It has an answer from before, which is no reason to stop."""
    service.answer_at = lambda key, attempt: cut(key) if key == "k1" and attempt == 1 else answer_line(key)
    first = work(service, tmp_path)
    service.ends[3] = ("BATCH_STATE_EXPIRED", None)

    found = again(service, tmp_path, first.summary.run, "truncated", max_output_tokens=8192)

    assert len(service.jobs) == 5
    assert texts(found)["k1"] == GOOD["k1"]


# Files and databases -------------------------------------------------------------------------------------------------


def test_failures_with_lines_of_megabytes_are_ours(service: FakeService, tmp_path: Path) -> None:
    text = "x" * 3_000_000
    line = {"key": "k0", "request": {"contents": [{"parts": [{"text": text}]}]}}
    (tmp_path / "in.jsonl").write_bytes(msgspec.json.encode(line) + b"\n")
    service.answer_at = lambda key, attempt: cut(key)
    work(service, tmp_path)

    assert work(service, tmp_path).summary.verdicts == {"truncated": 1}


def test_many_processes_make_one_ledger(tmp_path: Path) -> None:
    """A new home, opened by several at once: nobody is told that it is in use."""
    code = (
        "import sys; from pathlib import Path; from gemini_batch.store.ledger.ledger import Ledger\n"
        "for n in range(25):\n    Ledger(Path(sys.argv[1]) / str(n) / 'ledger.db').close()"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(4)
    ]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said


# A second reading ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["EXPIRED", "CANCELLED"])
def test_answers_that_are_counted_and_come_late(service: FakeService, tmp_path: Path, state: str) -> None:
    """A job that did not succeed has answered by its own counts; the output shows some minutes later."""
    service.end_state = f"BATCH_STATE_{state}"
    operation = service._operation
    ended: list[float] = []

    def late(job: Any) -> Any:
        found = operation(job)
        assert found.metadata is not None
        if not job.alive:
            ended.append(service.clock.now)
            stats = {"requestCount": "6", "successfulRequestCount": "6"}
            found.metadata.batch_stats = msgspec.convert(stats, type(found.metadata.batch_stats))
            job.lines = [answer_line(key) for key in job.keys] if service.clock.now > ended[0] + 240 else []
            again = operation(job).metadata
            assert again is not None
            found.metadata.output = again.output
        return found

    service._operation = late  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert service.paid() == ONCE


def test_results_are_waited_for_longer_than_a_quarter_of_an_hour(service: FakeService, tmp_path: Path) -> None:
    """The job has succeeded days ago, and its output is not shown for an hour: that is no word that it is gone."""
    operation = service._operation

    def late(job: Any) -> Any:
        found = operation(job)
        assert found.metadata is not None
        if not job.alive:
            found.metadata.end_time = "2026-09-01T00:00:00Z"
            if service.clock.now < 1_790_000_000.0 + 3600:
                found.metadata.output = None
        return found

    service._operation = late  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD


def test_a_plain_retry_that_is_refused_locks_nothing(service: FakeService, tmp_path: Path) -> None:
    service.answer_at = lambda key, attempt: (
        msgspec.json.encode({"error": {"code": 3, "message": "why"}, "key": key}) if key == "k1" else answer_line(key)
    )
    first = work(service, tmp_path)
    service.faults["create", 3] = ("before", ApiError("retired", status=404, reason="NOT_FOUND"))
    with pytest.raises(ServiceError):
        again(service, tmp_path, first.summary.run, "failed")

    found = held(service, tmp_path, first.summary.run).summary

    assert (found.verdicts, found.state) == (first.summary.verdicts, "JOB_STATE_SUCCEEDED")


def test_another_key_resends_what_failed(service: FakeService, tmp_path: Path) -> None:
    """A finished run of ``create`` with a row that is to be resent, and a key that was rotated since."""
    service.answer_at = lambda key, attempt: (
        msgspec.json.encode({"error": {"code": 14, "message": "why"}, "key": key}) if key == "k1" else answer_line(key)
    )
    made = begin(service, tmp_path)
    service._move(service.jobs[0])
    held(service, tmp_path, made.job)
    service.answer_at = lambda key, attempt: answer_line(key)

    async def other() -> None:
        async with FakeSession(service, tmp_path / "home", key="another") as session:
            await run(session, made.run, None)

    asyncio.run(other())

    assert held(service, tmp_path, made.run).summary.all_succeeded
    assert service.paid()["k1"] == 2
    assert sum(service.paid().values()) == len(service.paid()) + 1


def test_a_job_too_large_to_be_shown_is_seen_in_the_list(service: FakeService, tmp_path: Path) -> None:
    """Gigabytes of inline answers: asked for itself it answers 503, every time."""

    async def never(name: str, *, server_timeout: int | None = None) -> Any:
        service.calls.append("get")
        if server_timeout is None:
            raise ApiError("too slow", status=503, reason="UNAVAILABLE")
        return await real(name, server_timeout=server_timeout)

    real, service.get = service.get, never  # type: ignore[method-assign]

    assert texts(work(service, tmp_path)) == GOOD
    assert service.clock.now < 1_790_000_000.0 + 3600


def test_a_job_that_is_given_up_does_not_hold_the_run_for_days(service: FakeService, tmp_path: Path) -> None:
    """It takes the only place there is, and nothing can be seen of it: after some hours the run says so."""
    service.most_jobs = 1

    async def never(name: str, *, server_timeout: int | None = None) -> Any:
        service.calls.append("get")
        raise ApiError("broken", status=500, reason="INTERNAL")

    real, service.get = service.get, never  # type: ignore[method-assign]
    service.list_hides = 1_000_000
    with pytest.raises(ServiceError, match="broken"):
        work(service, tmp_path)
    assert service.clock.now < 1_790_000_000.0 + 9 * 3600

    service.get, service.list_hides, service.most_jobs = real, 0, None  # type: ignore[method-assign]
    assert texts(work(service, tmp_path)) == GOOD
