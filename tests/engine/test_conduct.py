"""Trouble with one job of a run: the others' answers come in, nothing is paid twice, and the end is an honest one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import FakeService, FakeSession, Killed, reset, write_requests
from engine.steps import GOOD, ONCE, PAIRS, again, reasons, sentences, texts, work
from gemini_batch.commands.create import create
from gemini_batch.engine.backoff import GONE_TIMES
from gemini_batch.errors import ApiError, NetworkError, ServiceError
from gemini_batch.events import Notice, RunProgress
from gemini_batch.intake.submission import Submission
from gemini_batch.report.outcome import RawFiles
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.records import QuotaBounds
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.store.state_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.events import Event


# Jobs that are gone --------------------------------------------------------------------------------------------------


def deleted_while_alive(service: FakeService) -> None:
    """Somebody deletes the second job; it does not end before that."""
    service.polls_to_end = 3
    create = service.create

    async def creating(**words: Any) -> Any:
        made = await create(**words)
        if len(service.jobs) == 2:
            service.jobs[1].deleted = True
        return made

    service.create = creating  # type: ignore[method-assign]


def test_a_deleted_job_is_missing_and_the_rest_comes_in(service: FakeService, tmp_path: Path) -> None:
    """Its requests say so and are not resent by themselves: they may have been paid for."""
    deleted_while_alive(service)
    heard: list[Event] = []

    found = work(service, tmp_path, heard=heard)

    assert reasons(found) == {"k2": "JOB_GONE", "k3": "JOB_GONE"}
    assert found.summary.exit_code == 1
    assert service.paid() == ONCE
    assert "no longer has batches/job1" in sentences(heard)
    assert service.clock.now < 1_790_000_000.0 + 3600, "an hour is enough to be sure"


def test_what_a_deleted_job_left_can_be_asked_for(service: FakeService, tmp_path: Path) -> None:
    deleted_while_alive(service)
    first = work(service, tmp_path)

    assert texts(again(service, tmp_path, first.summary.run, "missing")) == GOOD


def test_a_run_whose_job_is_gone_stays_finished(service: FakeService, tmp_path: Path) -> None:
    deleted_while_alive(service)
    work(service, tmp_path)
    calls = len(service.calls)

    found = work(service, tmp_path)

    assert len(service.calls) == calls
    assert set(reasons(found)) == {"k2", "k3"}


def test_a_job_that_cannot_be_found_for_a_while_is_not_gone(service: FakeService, tmp_path: Path) -> None:
    service.list_hides = 1000
    for number in range(GONE_TIMES + 2):
        service.faults["get", number] = ("before", ApiError("Not found.", status=404, reason="NOT_FOUND"))

    assert texts(work(service, tmp_path)) == GOOD
    assert service.paid() == ONCE


# Refused for good ----------------------------------------------------------------------------------------------------


def refuse(service: FakeService, number: int) -> None:
    service.faults["create", number] = ("before", ApiError("bad", status=400, reason="INVALID_ARGUMENT"))


@pytest.mark.parametrize("number", range(3))
def test_a_refused_job_does_not_keep_the_others_away(service: FakeService, tmp_path: Path, number: int) -> None:
    """What was made is collected, then the refusal ends the run; the next one goes on with what is left."""
    refuse(service, number)
    heard: list[Event] = []
    with pytest.raises(ServiceError, match="bad"):
        work(service, tmp_path, heard=heard)
    made = len(service.jobs)
    assert service.calls.count("download") == made

    assert texts(work(service, tmp_path)) == GOOD
    assert service.paid() == ONCE
    assert service.calls.count("download") == 3, "what was collected before is not downloaded again"


def test_after_a_refusal_nothing_more_is_sent(service: FakeService, tmp_path: Path) -> None:
    refuse(service, 0)
    with pytest.raises(ServiceError, match="bad"):
        work(service, tmp_path, options=RunOptions(max_requests_per_job=1))

    assert service.calls.count("create") <= 3, "those that were on their way at the same time"


def test_results_that_cannot_be_read_are_set_aside_for_the_end(service: FakeService, tmp_path: Path) -> None:
    """The others are collected meanwhile, and after some hours the run ends with the reason."""
    download = service.download

    async def downloading(name: str, part: Path, *, progress: Any) -> int:
        if name == "files/batch-job0":
            service.calls.append("download")
            part.write_bytes(b"<html>no</html>\n")
            return 16
        return await download(name, part, progress=progress)

    service.download = downloading  # type: ignore[method-assign]
    with pytest.raises(ServiceError, match="contains no results"):
        work(service, tmp_path)
    service.download = download  # type: ignore[method-assign]
    downloads = service.calls.count("download")

    assert texts(work(service, tmp_path)) == GOOD
    assert service.calls.count("download") == downloads + 1


@pytest.mark.parametrize(("secret", "left"), [("a-long-api-key", False), ("no-such-secret", True)])
def test_an_unfinished_download_that_holds_the_key_does_not_stay(
    service: FakeService, tmp_path: Path, secret: str, left: bool
) -> None:
    """It is redacted when it is complete; a part is kept for the next download only without the key."""

    async def downloading(name: str, part: Path, *, progress: Any) -> int:
        part.write_bytes(b'{"key":"a","error":{"message":"no ' + secret.encode() + b" more")
        raise NetworkError("The connection was reset.", sent=True)

    service.download = downloading  # type: ignore[method-assign]
    with pytest.raises(ServiceError):
        work(service, tmp_path, key="a-long-api-key")

    assert bool(list(tmp_path.rglob("*.part"))) is left


# Creates in doubt ----------------------------------------------------------------------------------------------------


def test_two_jobs_of_one_file_are_both_ours(service: FakeService, tmp_path: Path) -> None:
    """The service made the job of an unanswered create twice: one counts, and the user hears of the other."""
    create = service.create

    async def creating(**words: Any) -> Any:
        if len(service.jobs) == 2:
            await create(**words)
            await create(**words)
            raise reset()
        return await create(**words)

    service.create = creating  # type: ignore[method-assign]
    heard: list[Event] = []

    assert texts(work(service, tmp_path, heard=heard)) == GOOD
    assert "created a second job from the same file: batches/job" in sentences(heard)
    assert service.calls.count("create") == 4


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leap", [-86_400.0, 86_400.0], ids=["back", "forward"])
@pytest.mark.parametrize("after", range(4, 20, 3))
def test_a_wall_clock_that_is_set_by_a_day(service: FakeService, tmp_path: Path, after: int, leap: float) -> None:
    """Nothing waits until the clock is where it was, and nothing is polled without a pause until it is."""
    begin = service._begin
    waited = service.clock.waits

    def beginning(operation: str) -> Any:
        if len(service.calls) == after:
            service.clock.now += leap
        return begin(operation)

    service._begin = beginning  # type: ignore[method-assign]

    assert texts(work(service, tmp_path)) == GOOD
    assert sum(waited) < 3600.0
    assert len(service.calls) < 40
    assert service.paid() == ONCE


def test_an_outage_is_not_longer_because_someone_sets_the_clock(service: FakeService, tmp_path: Path) -> None:
    """Twelve tries within three hours are no six hours, whatever the wall clock says."""
    for number in range(12):
        service.faults["start_upload", number] = ("before", ApiError("away", status=503, reason="UNAVAILABLE"))
    begin = service._begin

    def beginning(operation: str) -> Any:
        if len(service.calls) == 5:
            service.clock.now += 86_400.0
        return begin(operation)

    service._begin = beginning  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert sum(service.clock.waits) < 6 * 3600.0


def test_a_clock_set_back_while_a_create_is_in_doubt(service: FakeService, tmp_path: Path) -> None:
    """The intent lies a day ahead then; half a minute is enough all the same."""
    service.death = (2, "before")
    with pytest.raises(Killed):
        work(service, tmp_path, options=RunOptions())
    assert service.calls == ["start_upload", "chunk", "create"]
    service.death = None
    service.clock.now -= 86_400.0
    service.clock.waits.clear()

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert sum(service.clock.waits) < 3600.0
    assert service.paid() == ONCE


# Room ----------------------------------------------------------------------------------------------------------------


def test_room_that_others_took_during_the_upload_is_not_asked_for(service: FakeService, tmp_path: Path) -> None:
    """Just before the create the books are read again; the job waits uploaded, and is refused by nobody."""
    size = (tmp_path / "in.jsonl").stat().st_size // 4
    service.most_tokens = size
    send = service.send_upload
    taken: list[bool] = []

    async def sending(*words: Any, **more: Any) -> Any:
        done = await send(*words, **more)
        if not taken:
            taken.append(True)
            await other()
        return done

    async def other() -> None:
        """Another run of the same home, which is quicker, and whose job lives on."""
        write_requests(tmp_path / "other.jsonl", [f"o{n}" for n in range(6)])
        async with FakeSession(service, tmp_path / "home") as session:
            await create(session, Submission(source=tmp_path / "other.jsonl"))

    async def set_quota_bounds() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            session.ledger().set_quota_bounds(
                session.key_fingerprint(), "gemini-3-flash-preview", QuotaBounds(size * 2, size), at=service.clock.now
            )

    asyncio.run(set_quota_bounds())
    service.polls_to_end = 4
    service.send_upload = sending  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert service.refusals == 0


def test_a_queue_that_others_fill_is_waited_for_and_not_hammered(service: FakeService, tmp_path: Path) -> None:
    """Nothing of ours is alive, and less than was taken before is refused: pauses, and an end after hours."""
    work(service, tmp_path, options=RunOptions(max_requests_per_job=6))
    service.most_jobs = 0
    write_requests(tmp_path / "in.jsonl", [f"n{n}" for n in range(6)])

    with pytest.raises(ServiceError, match=r"every new job \(429\) for hours"):
        work(service, tmp_path, options=PAIRS)
    assert service.refusals < 90, "for more than a day"

    service.most_jobs = None
    assert work(service, tmp_path).summary.all_succeeded


def test_a_refusal_that_says_when_is_heeded(service: FakeService, tmp_path: Path) -> None:
    """Retry-After is longer than what would have been waited."""
    error = ApiError("full", status=429, reason="RESOURCE_EXHAUSTED", retry_after=700.0)
    service.faults["create", 1] = ("before", error)
    service.polls_to_end = 100
    heard: list[Event] = []

    work(service, tmp_path, options=RunOptions(max_requests_per_job=3), heard=heard)

    second = service.jobs[1].created - service.jobs[0].created
    assert second >= 700.0


def test_what_was_learned_grows_old_although_jobs_are_taken(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.set_quota_bounds("key", "m", QuotaBounds(100, 10), at=1000.0)
        ledger.set_quota_bounds("key", "m", QuotaBounds(100, 50), at=80_000.0)
        assert ledger.quota_bounds("key", "m", at=87_000.0) == QuotaBounds(100, 50)
        assert ledger.quota_bounds("key", "m", at=88_000.0) == QuotaBounds(None, None)
        ledger.set_quota_bounds("key", "m", QuotaBounds(None, 70), at=90_000.0)
        assert ledger.quota_bounds("key", "m", at=170_000.0) == QuotaBounds(None, 70)


# Uploads and files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("absences", "uploads"), [(1, 1), (4, 1), (50, 2)])
def test_an_upload_that_is_complete_and_whose_file_does_not_show_yet(
    service: FakeService, tmp_path: Path, absences: int, uploads: int
) -> None:
    """The process died before it heard that the file is there: soon it shows, or it is uploaded again."""
    service.death = (1, "after")
    with pytest.raises(Killed):
        work(service, tmp_path, options=RunOptions())
    assert service.calls == ["start_upload", "chunk"]
    service.death = None
    get_file, (first,) = service.get_file, list(service.files)

    async def not_yet(name: str) -> Any:
        nonlocal absences
        absences -= name == first
        if name == first and absences >= 0:
            raise ApiError("You do not have permission to access the File.", status=403, reason="PERMISSION_DENIED")
        return await get_file(name)

    service.get_file = not_yet  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert service.calls.count("start_upload") == uploads
    assert service.paid() == ONCE


def test_a_file_that_arrived_damaged_is_uploaded_again(service: FakeService, tmp_path: Path) -> None:
    service.death = (1, "after")
    with pytest.raises(Killed):
        work(service, tmp_path, options=RunOptions())
    service.death = None
    (first,) = service.files
    service.files[first] = service.files[first][:-1] + b" "

    assert texts(work(service, tmp_path, options=RunOptions())) == GOOD
    assert service.jobs[0].file_name != first


def test_more_answer_files_than_may_be_open(tmp_path: Path) -> None:
    """Rows go back and forth between the files of many jobs."""
    (tmp_path / "raw").mkdir()
    for number in range(200):
        (tmp_path / "raw" / f"{number}.jsonl").write_bytes(b"%d" % number)
    with RawFiles(RunFolder(tmp_path)) as files:
        opened = []
        for number in [*range(200), *range(0, 200, 7), 199, 0]:
            file = files[f"{number}.jsonl"]
            file.seek(0)
            assert file.read() == b"%d" % number
            opened.append(file)
        assert sum(not file.closed for file in set(opened)) <= 64
    assert all(file.closed for file in opened)


def test_what_the_screen_hears_is_true(service: FakeService, tmp_path: Path) -> None:
    heard: list[Event] = []
    work(service, tmp_path, heard=heard)
    last = [event for event in heard if isinstance(event, RunProgress)][-1]

    assert (last.requests, last.done, last.waiting) == (6, 6, 0)
    assert (last.jobs, last.alive, last.collected) == (3, 0, 3)
    assert (last.uncollected_succeeded, last.uncollected_failed) == (0, 0)
    assert last.verdicts == {"succeeded": 6}
    assert last.tokens == 36


def test_a_stuck_job_is_said_once_with_the_hours_that_are_left(service: FakeService, tmp_path: Path) -> None:
    """By the ledger's own history, long before the day that the service aims at."""
    work(service, tmp_path)
    write_requests(tmp_path / "in.jsonl", [f"n{n}" for n in range(6)])
    service.polls_to_end = 120
    heard: list[Event] = []

    work(service, tmp_path, options=RunOptions(), heard=heard)

    said = [event for event in heard if isinstance(event, Notice) and "has been running for" in event.message]
    assert len(said) == 1
    assert "usually take 0 s here" in said[0].message
    assert "at the latest in 45 h 59 min" in str(said[0].next)
    ages = [event.oldest for event in heard if isinstance(event, RunProgress) and event.oldest is not None]
    assert ages == sorted(ages)
    assert ages[-1] > 7200
