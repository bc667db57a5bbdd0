"""A run of several jobs: nothing lost, nothing paid twice, whatever happens in between."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from engine.clock import Clock
from engine.fake import FakeService, FakeSession, Killed, answer_line, reset, write_requests
from engine.steps import EVERY, deadly
from gemini_batch.commands.create import create
from gemini_batch.commands.results import results
from gemini_batch.commands.retry import RetrySelection, retry
from gemini_batch.commands.run import run
from gemini_batch.commands.status import status
from gemini_batch.errors import ApiError, NotFinished, ServiceError, StateError, UsageError
from gemini_batch.intake.submission import Submission
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RequestOverrides, RunOptions
from gemini_batch.store.rows.answer_writer import AnswerWriter
from gemini_batch.store.rows.rows import Rows

if TYPE_CHECKING:
    from pathlib import Path

    from engine.fake import Job as FakeJob
    from gemini_batch.report.result_set import Results
    from gemini_batch.store.ledger.records import Job

KEYS = [f"k{n}" for n in range(7)]
SMALL = RunOptions(max_requests_per_job=2)


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def work(
    service: FakeService, folder: Path, what: str | None = None, options: RunOptions | None = SMALL, **order: Any
) -> Results:
    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            thing = what or Submission(source=folder / "in.jsonl", **order)
            return await run(session, thing, options, output=folder / "results.jsonl")

    return asyncio.run(whole())


def error_line(key: str, code: int) -> bytes:
    return msgspec.json.encode({"error": {"code": code, "message": "why"}, "key": key})


def cut_line(key: str) -> bytes:
    candidate = {"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}
    return msgspec.json.encode({"response": {"candidates": [candidate]}, "key": key})


def texts(found: Results) -> dict[str, str | None]:
    return {row["key"]: row.get("response", {}).get("text") for row in found}


GOOD = {key: f"answer to {key}" for key in KEYS}


def test_an_undisturbed_run(service: FakeService, tmp_path: Path) -> None:
    """Seven requests in jobs of two: four jobs, every key once, in input order, and the file beside it whole."""
    found = work(service, tmp_path)

    assert [len(job.keys) for job in service.jobs] == [2, 2, 2, 1]
    assert texts(found) == GOOD
    assert service.paid() == dict.fromkeys(KEYS, 1)
    written = [msgspec.json.decode(line) for line in (tmp_path / "results.jsonl").read_bytes().splitlines()]
    assert [row["key"] for row in written] == KEYS
    assert not (tmp_path / "failures.jsonl").exists()


def test_the_same_command_again_asks_nobody(service: FakeService, tmp_path: Path) -> None:
    first = work(service, tmp_path)
    calls = len(service.calls)

    again = work(service, tmp_path)
    by_id = work(service, tmp_path, first.summary.run)

    assert len(service.calls) == calls
    assert texts(again) == texts(by_id) == GOOD


def test_a_run_goes_on_with_what_create_began(service: FakeService, tmp_path: Path) -> None:
    """A one-job run that nobody drives can be driven."""

    async def begin() -> str:
        async with FakeSession(service, tmp_path / "home") as session:
            return (await create(session, Submission(source=tmp_path / "in.jsonl"))).run

    began = asyncio.run(begin())
    found = work(service, tmp_path)

    assert found.summary.run == began
    assert service.paid() == dict.fromkeys(KEYS, 1)


def test_bytes_and_tokens_bound_a_job_too(service: FakeService, tmp_path: Path) -> None:
    work(service, tmp_path, options=RunOptions(max_tokens_per_job=50))

    assert len(service.jobs) >= 3
    assert all(len(service.files[job.file_name or ""]) // 4 <= 60 for job in service.jobs)


@pytest.mark.parametrize("code", [2, 4, 8, 13, 14])
def test_a_row_that_failed_temporarily_is_resent(service: FakeService, tmp_path: Path, code: int) -> None:
    """Only the rows that need it; the second answer stands."""
    service.answer_at = lambda key, attempt: (
        error_line(key, code) if key in "k1 k4" and attempt == 1 else answer_line(key)
    )

    found = work(service, tmp_path)

    assert texts(found) == GOOD
    assert service.paid() == {**dict.fromkeys(KEYS, 1), "k1": 2, "k4": 2}
    assert {row["key"]: row["attempt"] for row in found} == {**dict.fromkeys(KEYS, 1), "k1": 2, "k4": 2}


@pytest.mark.parametrize("code", [3, 5, 7, 9, 16])
def test_a_row_that_fails_for_good_is_not(service: FakeService, tmp_path: Path, code: int) -> None:
    service.answer_at = lambda key, attempt: error_line(key, code) if key == "k1" else answer_line(key)

    found = work(service, tmp_path)

    assert service.paid() == dict.fromkeys(KEYS, 1)
    assert found.summary.exit_code == 1
    (failure,) = [msgspec.json.decode(line) for line in (tmp_path / "failures.jsonl").read_bytes().splitlines()]
    assert (failure["key"], failure["verdict"], failure["line"]["key"]) == ("k1", "failed", "k1")


def test_attempts_are_bounded(service: FakeService, tmp_path: Path) -> None:
    """A row that never gets better has three attempts, and then its line says so."""
    service.answer_at = lambda key, attempt: error_line(key, 13) if key == "k1" else answer_line(key)

    found = work(service, tmp_path)

    assert service.paid()["k1"] == 3
    assert [row["error"]["reason"] for row in found if row["key"] == "k1"] == ["INTERNAL"]


def test_a_job_whose_only_line_is_broken_is_not_waited_for(service: FakeService, tmp_path: Path) -> None:
    """Remains of results are results: what is broken off is missing, and is resent."""
    service.answer_at = lambda key, attempt: answer_line(key)[: 40 if attempt == 1 else None]

    assert texts(work(service, tmp_path, options=RunOptions(max_requests_per_job=1))) == GOOD


@pytest.mark.parametrize(
    ("state", "code", "again"),
    [
        ("BATCH_STATE_FAILED", 13, True),
        ("BATCH_STATE_FAILED", 14, True),
        ("BATCH_STATE_FAILED", 8, True),
        ("BATCH_STATE_FAILED", 3, False),
        ("BATCH_STATE_FAILED", None, False),
        ("BATCH_STATE_EXPIRED", None, True),
    ],
)
def test_what_becomes_of_a_job_that_ends_badly(
    service: FakeService, tmp_path: Path, state: str, code: int | None, again: bool
) -> None:
    """The rule: a failed job goes once more for some codes, an expired one once."""
    service.ends[0] = (state, code)

    found = work(service, tmp_path)

    assert (texts(found) == GOOD) is again
    assert service.paid() == ({**dict.fromkeys(KEYS, 1), "k0": 2, "k1": 2} if again else dict.fromkeys(KEYS, 1))
    missing = [row["error"]["reason"] for row in found if row["verdict"] == "missing"]
    assert missing == ([] if again else [state.replace("BATCH_STATE", "JOB")] * 2)


def test_a_job_that_fails_every_time_goes_twice_and_no_more(service: FakeService, tmp_path: Path) -> None:
    service.ends = dict.fromkeys(range(50), ("BATCH_STATE_FAILED", 13))

    found = work(service, tmp_path)

    assert service.paid() == dict.fromkeys(KEYS, 2)
    assert found.summary.exit_code == 5


def test_retry_sends_only_what_is_named_and_changes_it(service: FakeService, tmp_path: Path) -> None:
    """Truncated rows go once more with more room, when the user says so."""
    service.answer_at = lambda key, attempt: cut_line(key) if key == "k3" and attempt == 1 else answer_line(key)
    first = work(service, tmp_path)
    assert first.summary.verdicts == {"succeeded": 6, "truncated": 1}

    async def whole() -> Results:
        async with FakeSession(service, tmp_path / "home") as session:
            again = RetrySelection(verdicts=("truncated",), overrides=RequestOverrides(max_output_tokens=8192))
            return await retry(session, first.summary.run, again, output=tmp_path / "results.jsonl")

    found = asyncio.run(whole())

    assert texts(found) == GOOD
    assert service.jobs[-1].keys == ["k3"]
    sent = msgspec.json.decode(service.files[service.jobs[-1].file_name or ""])
    assert sent["request"]["generationConfig"] == {"maxOutputTokens": 8192}
    assert not (tmp_path / "failures.jsonl").exists(), "what it said is no longer true"
    with pytest.raises(UsageError, match="No request"):
        asyncio.run(whole())


def test_a_retry_that_died_is_gone_on_with_as_it_was_asked_for(service: FakeService, tmp_path: Path) -> None:
    """A plain run after the crash sends the rows with the change, and forgets it afterwards."""
    service.answer_at = lambda key, attempt: cut_line(key) if key == "k3" and attempt == 1 else answer_line(key)
    first = work(service, tmp_path)
    service.death = (len(service.calls), "before")

    async def whole() -> Results:
        async with FakeSession(service, tmp_path / "home") as session:
            again = RetrySelection(verdicts=("truncated",), overrides=RequestOverrides(max_output_tokens=8192))
            return await retry(session, first.summary.run, again)

    with pytest.raises(Killed):
        asyncio.run(whole())
    service.death = None
    found = work(service, tmp_path, first.summary.run)

    assert texts(found) == GOOD
    sent = msgspec.json.decode(service.files[service.jobs[-1].file_name or ""])
    assert sent["request"]["generationConfig"] == {"maxOutputTokens": 8192}
    with FakeSession(service, tmp_path / "home").ledger() as ledger:
        kept = ledger.run(first.summary.run)
    assert kept is not None
    assert '"overrides":null' in (kept.options or "")


# Death ---------------------------------------------------------------------------------------------------------------


def unruly(service: FakeService) -> FakeService:
    """A service that gives the run something to do: rows to resend, a job that fails, answers in disorder."""
    service.answer_at = lambda key, attempt: error_line(key, 13) if key == "k1" and attempt == 1 else answer_line(key)
    service.arrange = lambda lines: list(reversed(lines))
    move = service._move

    def moves(job: FakeJob) -> None:
        """The first job of these rows fails, which is the second one unless its create takes longer."""
        sent = [number for number, one in enumerate(service.jobs) if "k2" in one.keys]
        service.ends = dict.fromkeys(sent[:1], ("BATCH_STATE_FAILED", 13))
        move(job)

    service._move = moves  # type: ignore[method-assign]
    return service


def fresh(folder: Path, **changes: Any) -> FakeService:
    folder.mkdir(exist_ok=True)
    write_requests(folder / "in.jsonl", KEYS)
    return unruly(FakeService(Clock(), chunk=10_000, **changes))


def undisturbed(tmp_path: Path) -> tuple[int, bytes, dict[str, int]]:
    service = fresh(tmp_path / "plain")
    work(service, tmp_path / "plain")
    return len(service.calls), (tmp_path / "plain" / "results.jsonl").read_bytes(), service.paid()


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_call_of_the_service(tmp_path: Path, when: Literal["before", "after"]) -> None:
    """The results equal those of an undisturbed run byte for byte, and each attempt was paid once."""
    calls, expected, paid = undisturbed(tmp_path)
    assert calls > 20
    for point in range(0, calls, EVERY):
        folder = tmp_path / f"at{point}"
        service = fresh(folder, death=(point, when))
        with pytest.raises(Killed):
            work(service, folder)
        service.death = None

        work(service, folder)

        assert (folder / "results.jsonl").read_bytes() == expected, point
        assert service.paid() == paid, point


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Ledger, "add_run"),
        (Ledger, "add_job"),
        (Ledger, "update_job"),
        (Ledger, "uploaded"),
        (Ledger, "seen"),
        (Rows, "take"),
        (Rows, "requeue"),
        (Rows, "release"),
        (AnswerWriter, "finish"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str, when: str
) -> None:
    _, expected, paid = undisturbed(tmp_path)
    point = 0
    while True:
        folder = tmp_path / f"at{point}"
        # A create over quota makes a run of one job drop it and plan again, so that `release` is met as well.
        service, options = fresh(folder), RunOptions() if method == "release" else SMALL
        if method == "release":
            service.faults["create", 0] = ("before", ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED"))

        with monkeypatch.context() as patch:
            patch.setattr(owner, method, deadly(getattr(owner, method), point, when))
            try:
                work(service, folder, options=options)
            except Killed:
                pass
            else:
                assert point > 0, "this write never happened: the test does not test it"
                return
        service.faults.clear()

        work(service, folder, options=options)

        if method != "release":
            assert service.paid() == paid, point
            assert (folder / "results.jsonl").read_bytes() == expected, point
        else:
            assert texts(work(service, folder, options=options)) == GOOD
        point += EVERY


def test_death_while_the_last_job_is_planned(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything else is collected then, and yet the run is not at its end."""
    service.answer_at = lambda key, attempt: error_line(key, 13) if key == "k1" and attempt == 1 else answer_line(key)
    real = Ledger.add_job

    def dying(self: Ledger, job: Job, *, at: float) -> None:
        if job.ordinal == 2:
            raise Killed
        real(self, job, at=at)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "add_job", dying)
        with pytest.raises(Killed):
            work(service, tmp_path, options=RunOptions())

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD


@pytest.mark.parametrize("when", ["before", "after"])
def test_unanswered_creates(tmp_path: Path, when: Literal["before", "after"]) -> None:
    """Each create of the run goes without an answer, with and without its job: nothing is paid twice."""
    _, expected, paid = undisturbed(tmp_path)
    for number in range(4):
        folder = tmp_path / f"at{number}"
        service = fresh(folder)
        service.faults["create", number] = (when, reset())

        work(service, folder)

        assert service.paid() == paid, number
        assert (folder / "results.jsonl").read_bytes() == expected, number


def test_two_processes_do_not_conduct_one_run(service: FakeService, tmp_path: Path) -> None:
    async def both() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            found = await run(session, Submission(source=tmp_path / "in.jsonl"), SMALL)
            with session.state_folder.run(found.summary.run).lock(wait=0.0):
                await run(session, found.summary.run, SMALL)

    with pytest.raises(StateError, match="Another process"):
        asyncio.run(both())


# Room ----------------------------------------------------------------------------------------------------------------


def test_a_run_ten_times_too_large_for_the_queue(tmp_path: Path) -> None:
    """Enqueued tokens: everything is sent in the end, nothing twice, and few creates are refused."""
    keys = [f"k{n}" for n in range(400)]
    write_requests(tmp_path / "in.jsonl", keys)
    service = FakeService(Clock(), chunk=1_000_000, most_tokens=(tmp_path / "in.jsonl").stat().st_size // 4 // 10)

    found = work(service, tmp_path, options=RunOptions())

    assert service.paid() == dict.fromkeys(keys, 1)
    assert found.summary.all_succeeded
    assert service.refusals <= 8, service.refusals
    assert len(service.jobs) <= 20, "the queue is filled with crumbs"


def test_what_was_learned_of_the_queue_is_remembered_for_a_day(tmp_path: Path) -> None:
    keys = [f"k{n}" for n in range(400)]
    write_requests(tmp_path / "in.jsonl", keys)
    service = FakeService(Clock(), chunk=1_000_000, most_tokens=1000)
    work(service, tmp_path, options=RunOptions())
    refusals = service.refusals
    write_requests(tmp_path / "in.jsonl", [f"other{n}" for n in range(400)])

    work(service, tmp_path, options=RunOptions())

    assert refusals > 0
    assert service.refusals <= refusals + 1


def test_a_tier_that_is_known_costs_no_refusal(tmp_path: Path) -> None:
    write_requests(tmp_path / "in.jsonl", KEYS)
    service = FakeService(Clock(), chunk=1_000_000, most_tokens=3_000_000)

    work(service, tmp_path, options=RunOptions(tier=1))

    assert service.refusals == 0


def test_fewer_jobs_at_once_than_the_run_has(tmp_path: Path) -> None:
    """Concurrent jobs: the rest waits for its turn."""
    keys = [f"k{n}" for n in range(60)]
    write_requests(tmp_path / "in.jsonl", keys)
    service = FakeService(Clock(), chunk=1_000_000, most_jobs=5)

    found = work(service, tmp_path, options=RunOptions(max_requests_per_job=3))

    assert found.summary.all_succeeded
    assert service.paid() == dict.fromkeys(keys, 1)
    assert service.refusals <= 12, service.refusals


def test_a_queue_with_no_room_at_all_ends_with_words(service: FakeService, tmp_path: Path) -> None:
    """Billing, tier or model: after a single request was refused again and again with nothing else alive."""
    service.most_jobs = 0

    with pytest.raises(ServiceError, match="even a single request"):
        work(service, tmp_path)


@pytest.mark.parametrize("error", [reset(), ApiError("busy", status=503), ApiError("nobody", status=502)], ids=repr)
def test_the_service_s_bad_hours_are_waited_out(service: FakeService, tmp_path: Path, error: Exception) -> None:
    for number in range(3, 9):
        service.faults["get", number] = ("before", error)
        service.faults["list", number - 3] = ("before", error)

    assert texts(work(service, tmp_path)) == GOOD


def test_a_look_at_a_hundred_jobs_costs_few_calls(tmp_path: Path) -> None:
    """A hundred active jobs: at most ten calls a look, whatever the list shows."""
    keys = [f"k{n}" for n in range(100)]
    write_requests(tmp_path / "in.jsonl", keys)
    service = FakeService(Clock(), chunk=1_000_000, polls_to_end=6)

    found = work(service, tmp_path, options=RunOptions(max_requests_per_job=1))

    assert found.summary.all_succeeded
    assert len(service.jobs) == 100
    looks = service.calls.count("list") + service.calls.count("get")
    assert looks < 500, looks


def test_a_list_that_shows_nothing_delays_and_loses_nothing(tmp_path: Path) -> None:
    keys = [f"k{n}" for n in range(12)]
    write_requests(tmp_path / "in.jsonl", keys)
    service = FakeService(Clock(), chunk=1_000_000, list_hides=10_000)

    assert work(service, tmp_path, options=RunOptions(max_requests_per_job=1)).summary.all_succeeded


# What a review found -------------------------------------------------------------------------------------------------


def begin(service: FakeService, folder: Path, **changes: Any) -> Any:
    async def whole() -> Any:
        async with FakeSession(service, folder / "home", **changes) as session:
            return await create(session, Submission(source=folder / "in.jsonl"))

    return asyncio.run(whole())


def test_create_sends_the_rest_of_a_run(service: FakeService, tmp_path: Path) -> None:
    """Killed when only its first job was created: create makes one job of what was never sent."""
    service.death = (4, "before")
    with pytest.raises(Killed):
        work(service, tmp_path)
    service.death = None

    made = begin(service, tmp_path)

    assert (made.job, made.attached, len(service.jobs)) == ("batches/job1", False, 2)
    work(service, tmp_path)
    assert service.paid() == dict.fromkeys(KEYS, 1)


def test_create_makes_one_job_of_what_a_run_could_not_send(service: FakeService, tmp_path: Path) -> None:
    service.most_jobs = 0
    with pytest.raises(ServiceError):
        work(service, tmp_path)
    service.most_jobs = None

    made = begin(service, tmp_path)
    assert (made.requests, made.attached) == (len(KEYS), False)
    work(service, tmp_path)

    assert service.paid() == dict.fromkeys(KEYS, 1)


def test_a_run_goes_on_with_another_key_that_sees_its_jobs(service: FakeService, tmp_path: Path) -> None:
    """A rotated key of the same project continues it; one of another project sends nothing."""
    service.death = (4, "before")
    with pytest.raises(Killed):
        work(service, tmp_path)
    service.death = None

    async def other() -> None:
        async with FakeSession(service, tmp_path / "home", key="another") as session:
            (known,) = {one.run for _, one in session.ledger().jobs()}
            await run(session, known, SMALL)

    service.faults["get", service.calls.count("get")] = ("before", ApiError("no", status=404, reason="NOT_FOUND"))
    created = len(service.jobs)
    with pytest.raises(UsageError, match="another API key") as caught:
        asyncio.run(other())
    assert caught.value.reason_code == "other_key"
    assert len(service.jobs) == created

    asyncio.run(other())
    assert service.paid() == dict.fromkeys(KEYS, 1)


def test_results_of_a_run_that_is_not_finished(service: FakeService, tmp_path: Path) -> None:
    """Exit code 6, not a file in which most rows are missing."""
    service.death = (9, "after")
    with pytest.raises(Killed):
        work(service, tmp_path)
    service.death = None

    async def whole() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            (known,) = {one.run for _, one in session.ledger().jobs()}
            await results(session, known)

    with pytest.raises(NotFinished, match=r"batches/job\d is not finished"):
        asyncio.run(whole())


def test_the_users_own_file_is_not_taken_for_the_failures(service: FakeService, tmp_path: Path) -> None:
    mine = write_requests(tmp_path / "failures.jsonl", KEYS)
    before = mine.read_bytes()

    with pytest.raises(UsageError, match="something other than failures"):
        work(service, tmp_path)

    assert mine.read_bytes() == before
    assert not service.jobs


def test_what_an_earlier_process_collected_is_resent_by_the_next(service: FakeService, tmp_path: Path) -> None:
    """Killed between collecting a job and sending its failed rows again."""
    service.answer_at = lambda key, attempt: error_line(key, 13) if key == "k6" and attempt == 1 else answer_line(key)

    async def collected_elsewhere() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            made = await create(session, Submission(source=tmp_path / "in.jsonl"))
            await status(session, made.job, wait=True)
            await results(session, made.job)

    asyncio.run(collected_elsewhere())

    assert texts(work(service, tmp_path)) == GOOD


def gone_results(service: FakeService, number: int) -> None:
    """The service does not have the results of that job any more."""
    download = service.download

    async def downloading(name: str, part: Path, *, progress: Any) -> int:
        if name == f"files/batch-job{number}":
            service.calls.append("download")
            raise ApiError("gone", status=404, reason="NOT_FOUND")
        return await download(name, part, progress=progress)

    service.download = downloading  # type: ignore[method-assign]


def test_results_that_are_gone_do_not_hold_up_the_other_jobs(service: FakeService, tmp_path: Path) -> None:
    """The one job's requests are missing and say why; nothing of it is paid for again by itself."""
    gone_results(service, 1)

    found = work(service, tmp_path)

    assert found.summary.verdicts == {"succeeded": 5, "missing": 2}
    assert {row["error"]["reason"] for row in found if row["verdict"] == "missing"} == {"RESULTS_GONE"}
    assert service.paid() == dict.fromkeys(KEYS, 1)
