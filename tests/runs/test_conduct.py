"""Trouble with one job of a run: the others' answers come in, nothing is paid twice, and the end is an honest one."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import msgspec
import pytest

from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.runs.change import Change
from gemini_batch.runs.create import create
from gemini_batch.runs.events import Said, Went
from gemini_batch.runs.ledger import Ledger
from gemini_batch.runs.listing import Filter, listing
from gemini_batch.runs.options import Options
from gemini_batch.runs.order import Order
from gemini_batch.runs.patience import GONE_TIMES
from gemini_batch.runs.rawfiles import RawFiles
from gemini_batch.runs.records import Ceiling
from gemini_batch.runs.results import results
from gemini_batch.runs.retry import Again, retry
from gemini_batch.runs.rows import Rows
from gemini_batch.runs.run import run
from gemini_batch.runs.status import job_status
from runs.fake import Clock, FakeService, FakeSession, Killed, answer_line, reset, write_requests

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.runs.events import Event
    from gemini_batch.runs.results import Results

KEYS = [f"k{n}" for n in range(6)]
GOOD = {key: f"answer to {key}" for key in KEYS}
ONCE = dict.fromkeys(KEYS, 1)
PAIRS = Options(max_requests_per_job=2)


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    write_requests(tmp_path / "in.jsonl", KEYS)
    return FakeService(Clock(), chunk=10_000)


def work(
    service: FakeService,
    folder: Path,
    what: str | None = None,
    options: Options | None = PAIRS,
    *,
    heard: list[Event] | None = None,
    **order: Any,
) -> Results:
    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            try:
                return await run(session, what or Order(source=folder / "in.jsonl", **order), options)
            finally:
                if heard is not None:
                    heard.extend(session.events)

    return asyncio.run(whole())


def again(service: FakeService, folder: Path, run_id: str, verdict: str, **change: Any) -> Results:
    async def whole() -> Results:
        async with FakeSession(service, folder / "home") as session:
            return await retry(session, run_id, Again(verdicts=(verdict,), change=Change(**change)))

    return asyncio.run(whole())


def texts(found: Results) -> dict[str, str | None]:
    return {row["key"]: row.get("response", {}).get("text") for row in found}


def reasons(found: Results) -> dict[str, str]:
    return {row["key"]: row["error"]["reason"] for row in found if "error" in row}


def sentences(heard: list[Event]) -> str:
    return "\n".join(event.message for event in heard if isinstance(event, Said))


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
    """Its requests say so and are not sent again by themselves: they may have been paid for."""
    deleted_while_alive(service)
    heard: list[Event] = []

    found = work(service, tmp_path, heard=heard)

    assert reasons(found) == {"k2": "JOB_GONE", "k3": "JOB_GONE"}
    assert found.summary.exit_code == 1
    assert service.paid() == ONCE
    assert "no longer knows batches/job1" in sentences(heard)
    assert service.clock.now < 1_790_000_000.0 + 3600, "an hour is enough to be sure"


def test_what_a_deleted_job_left_can_be_asked_for(service: FakeService, tmp_path: Path) -> None:
    deleted_while_alive(service)
    first = work(service, tmp_path)

    assert texts(again(service, tmp_path, first.run.id, "missing")) == GOOD


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
        work(service, tmp_path, options=Options(max_requests_per_job=1))

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
    with pytest.raises(ServiceError, match="no results file"):
        work(service, tmp_path)
    service.download = download  # type: ignore[method-assign]
    downloads = service.calls.count("download")

    assert texts(work(service, tmp_path)) == GOOD
    assert service.calls.count("download") == downloads + 1


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
    assert "made a second job of the same file: batches/job" in sentences(heard)
    assert service.calls.count("create") == 4


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", range(4, 20, 3))
def test_a_clock_that_is_set_back_by_a_day(service: FakeService, tmp_path: Path, after: int) -> None:
    """Nothing waits until the clock is where it was."""
    begin = service._begin
    waited = service.clock.waits

    def beginning(operation: str) -> Any:
        if len(service.calls) == after:
            service.clock.now -= 86_400.0
        return begin(operation)

    service._begin = beginning  # type: ignore[method-assign]

    assert texts(work(service, tmp_path)) == GOOD
    assert sum(waited) < 3600.0
    assert service.paid() == ONCE


def test_a_clock_set_back_while_a_create_is_in_doubt(service: FakeService, tmp_path: Path) -> None:
    service.death = (5, "before")
    with pytest.raises(Killed):
        work(service, tmp_path)
    service.death = None
    service.clock.now -= 86_400.0
    service.clock.waits.clear()

    assert texts(work(service, tmp_path)) == GOOD
    assert sum(service.clock.waits) < 3600.0


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
        """Another run of the same home, which is quicker."""
        service.send_upload = send  # type: ignore[method-assign]
        write_requests(tmp_path / "other.jsonl", [f"o{n}" for n in range(6)])
        async with FakeSession(service, tmp_path / "home") as session:
            await run(session, Order(source=tmp_path / "other.jsonl"), Options())

    async def learn() -> None:
        async with FakeSession(service, tmp_path / "home") as session:
            session.ledger().learn(
                session.key_print(), "gemini-3-flash-preview", Ceiling(size * 2, size), at=service.clock.now
            )

    asyncio.run(learn())
    service.polls_to_end = 4
    service.send_upload = sending  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=Options())) == GOOD
    assert service.refusals == 0


def test_a_queue_that_others_fill_is_waited_for_and_not_hammered(service: FakeService, tmp_path: Path) -> None:
    """Nothing of ours is alive, and less than was taken before is refused: pauses, and an end after hours."""
    work(service, tmp_path, options=Options(max_requests_per_job=6))
    service.most_jobs = 0
    write_requests(tmp_path / "in.jsonl", [f"n{n}" for n in range(6)])

    with pytest.raises(ServiceError, match="no room for hours"):
        work(service, tmp_path, options=PAIRS)
    assert service.refusals < 60

    service.most_jobs = None
    assert work(service, tmp_path).summary.all_succeeded


def test_a_refusal_that_says_when_is_heeded(service: FakeService, tmp_path: Path) -> None:
    """Retry-After is longer than what would have been waited."""
    error = ApiError("full", status=429, reason="RESOURCE_EXHAUSTED", retry_after=700.0)
    service.faults["create", 1] = ("before", error)
    service.polls_to_end = 100
    heard: list[Event] = []

    work(service, tmp_path, options=Options(max_requests_per_job=3), heard=heard)

    second = service.jobs[1].created - service.jobs[0].created
    assert second >= 700.0


def test_what_was_learned_grows_old_although_jobs_are_taken(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.learn("key", "m", Ceiling(100, 10), at=1000.0)
        ledger.learn("key", "m", Ceiling(100, 50), at=80_000.0)
        assert ledger.ceiling("key", "m", at=87_000.0) == Ceiling(100, 50)
        assert ledger.ceiling("key", "m", at=88_000.0) == Ceiling(None, None)
        ledger.learn("key", "m", Ceiling(None, 70), at=90_000.0)
        assert ledger.ceiling("key", "m", at=170_000.0) == Ceiling(None, 70)


# Options and changes -------------------------------------------------------------------------------------------------


def test_an_option_that_is_said_later_leaves_the_others_as_they_are(service: FakeService, tmp_path: Path) -> None:
    """``run RUN --attempts 1`` still makes jobs of two requests, and a plain ``run RUN`` after it one attempt."""
    service.answer_at = lambda key, attempt: (
        answer_line(key) if key != "k5" else msgspec.json.encode({"error": {"code": 13, "message": "why"}, "key": key})
    )
    service.death = (3, "before")
    heard: list[Event] = []
    with pytest.raises(Killed):
        work(service, tmp_path, heard=heard)
    service.death = None
    (run_id,) = set(re.findall("run-[0-9]+", sentences(heard)))
    service.death = (5, "before")
    with pytest.raises(Killed):
        work(service, tmp_path, run_id, Options(attempts=1))
    service.death = None

    work(service, tmp_path, run_id, None)

    assert [len(job.keys) for job in service.jobs] == [2, 2, 2]


def test_retry_with_another_model(service: FakeService, tmp_path: Path) -> None:
    """The new job asks it, the requests stay as they were, and its own price counts."""
    service.clock.now = 1_795_300_000.0  # a day on which prices are known
    used = {"usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 2, "totalTokenCount": 6}}
    service.answer_at = lambda key, attempt: (
        answer_line(key) if attempt == 2 or key != "k1" else msgspec.json.encode({"response": used, "key": key})
    )
    first = work(service, tmp_path)

    found = again(service, tmp_path, first.run.id, "empty", model="gemini-3.1-pro-preview")

    assert texts(found) == GOOD
    assert [job.model for job in service.jobs] == ["gemini-3-flash-preview"] * 3 + ["gemini-3.1-pro-preview"]
    assert found.summary.model == "gemini-3-flash-preview, gemini-3.1-pro-preview"
    assert (found.summary.usd.batch or 0) > (first.summary.usd.batch or 0) * 7 / 6
    assert work(service, tmp_path).run.id == first.run.id, "the run is the same one as before"

    async def listed() -> list[str]:
        async with FakeSession(service, tmp_path / "home") as session:
            return [one.model for one in await listing(session, Filter(), refresh=False, remote=False)]

    assert sorted(asyncio.run(listed())) == ["gemini-3-flash-preview"] * 3 + ["gemini-3.1-pro-preview"]


def test_retry_with_a_model_that_cannot(service: FakeService, tmp_path: Path) -> None:
    service.answer_at = lambda key, attempt: None if key == "k1" else answer_line(key)
    first = work(service, tmp_path)
    jobs = len(service.jobs)

    with pytest.raises(UsageError) as caught:
        again(service, tmp_path, first.run.id, "missing", model="gemini-embedding-001")

    assert caught.value.exit_code == 2
    assert len(service.jobs) == jobs
    assert work(service, tmp_path, first.run.id, None).summary.verdicts == first.summary.verdicts


def test_a_change_to_a_config_of_null() -> None:
    line = b'{"key":"a","request":{"contents":[],"generationConfig":null}}'

    changed = msgspec.json.decode(Change(max_output_tokens=9).apply(line))

    assert changed["request"]["generationConfig"] == {"maxOutputTokens": 9}


def test_what_the_screen_hears_is_true(service: FakeService, tmp_path: Path) -> None:
    heard: list[Event] = []
    work(service, tmp_path, heard=heard)
    last = [event for event in heard if isinstance(event, Went)][-1]

    assert (last.requests, last.waiting, last.jobs, last.alive, last.done) == (6, 0, 3, 0, 3)
    assert last.verdicts == {"succeeded": 6}
    assert last.tokens == 36


# The same file again -------------------------------------------------------------------------------------------------


def test_a_file_that_has_a_run_is_not_read_line_by_line_again(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is enough, so that a large run is at work again at once."""
    first = work(service, tmp_path)

    def unwanted(*_: Any, **__: Any) -> None:
        raise AssertionError("it was staged again")

    monkeypatch.setattr("gemini_batch.runs.order.stage", unwanted)

    assert work(service, tmp_path).run.id == first.run.id


@pytest.mark.parametrize("change", [b"\n", b" \n", b'{"key":"k9","request":{"contents":[{"parts":[{"text":"x"}]}]}}\n'])
def test_a_file_that_has_changed_is_read_again(service: FakeService, tmp_path: Path, change: bytes) -> None:
    """Blank lines make no other run, another request does."""
    first = work(service, tmp_path)
    with (tmp_path / "in.jsonl").open("ab") as file:
        file.write(change)

    assert (work(service, tmp_path).run.id == first.run.id) is (not change.strip())


@pytest.mark.parametrize("order", [{"model": "gemini-3.1-flash-lite"}, {"new": True}, {"limit": 2}], ids=str)
def test_another_model_or_another_part_of_the_file_is_another_run(
    service: FakeService, tmp_path: Path, order: dict[str, Any]
) -> None:
    first = work(service, tmp_path)

    assert work(service, tmp_path, **order).run.id != first.run.id


# Retry ---------------------------------------------------------------------------------------------------------------


def one_job(service: FakeService, folder: Path) -> str:
    """``create``, a wait, and ``results``, as the three scripts do it; the run's id."""

    async def whole() -> str:
        async with FakeSession(service, folder / "home") as session:
            made = await create(session, Order(source=folder / "in.jsonl"))
            await job_status(session, session.locate(made.job), wait=True)
            await results(session, made.job)
            return made.run

    return asyncio.run(whole())


def ill(service: FakeService) -> None:
    """One request fails in passing, one is cut off, each at its first attempt."""
    cut = {"candidates": [{"content": {"parts": [{"text": "half"}]}, "finishReason": "MAX_TOKENS"}]}
    first: dict[str, Any] = {"k1": {"error": {"code": 14, "message": "why"}}, "k2": {"response": cut}}
    service.answer_at = lambda key, attempt: (
        msgspec.json.encode({**first[key], "key": key}) if attempt == 1 and key in first else answer_line(key)
    )


def test_retry_of_what_create_made(service: FakeService, tmp_path: Path) -> None:
    """No detour over ``run``, and nothing goes that was not named: the rest is for the next word of the user."""
    ill(service)
    run_id = one_job(service, tmp_path)

    found = again(service, tmp_path, run_id, "truncated", max_output_tokens=8192)

    assert service.jobs[-1].keys == ["k2"]
    assert reasons(found) == {"k1": "UNAVAILABLE"}
    assert texts(again(service, tmp_path, run_id, "failed")) == GOOD
    assert service.jobs[-1].keys == ["k1"]


def test_what_waits_for_another_attempt_goes_with_a_retry(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that died between queueing a request again and planning its job is no reason to refuse."""
    ill(service)
    run_id = one_job(service, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Rows, "take", Mock(side_effect=Killed))
        with pytest.raises(Killed):
            work(service, tmp_path, run_id, None)

    found = again(service, tmp_path, run_id, "truncated")

    assert texts(found) == GOOD
    assert service.paid() == {**ONCE, "k1": 2, "k2": 2}


def test_a_retry_of_what_was_never_sent_is_refused(service: FakeService, tmp_path: Path) -> None:
    service.death = (6, "after")
    heard: list[Event] = []
    with pytest.raises(Killed):
        work(service, tmp_path, heard=heard)
    service.death = None
    (run_id,) = set(re.findall("run-[0-9]+", sentences(heard)))

    with pytest.raises(UsageError, match="not finished"):
        again(service, tmp_path, run_id, "missing")


def test_a_retry_of_nothing_changes_nothing_and_says_what_there_is(service: FakeService, tmp_path: Path) -> None:
    ill(service)
    run_id = one_job(service, tmp_path)

    with pytest.raises(UsageError, match="No request") as caught:
        again(service, tmp_path, run_id, "blocked", temperature=1.0)

    assert "4 succeeded" in (caught.value.next or "")
    assert f"retry {run_id} --only truncated" in (caught.value.next or "")
    with FakeSession(service, tmp_path / "home").ledger() as ledger:
        kept = ledger.run(run_id)
    assert kept is not None
    assert kept.options is None
    assert len(service.jobs) == 1


def test_attempts_without_an_answer_are_counted(service: FakeService, tmp_path: Path) -> None:
    """Whether they were billed nobody says, also where a later attempt was answered."""
    service.answer_at = lambda key, attempt: None if attempt < 3 and key == "k1" else answer_line(key)

    found = work(service, tmp_path)

    assert texts(found) == GOOD
    assert found.summary.unanswered == 2


# Uploads and files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("absences", "uploads"), [(1, 1), (4, 1), (50, 2)])
def test_an_upload_that_is_complete_and_whose_file_does_not_show_yet(
    service: FakeService, tmp_path: Path, absences: int, uploads: int
) -> None:
    """The process died before it heard that the file is there: soon it shows, or it is uploaded again."""
    service.death = (1, "after")
    with pytest.raises(Killed):
        work(service, tmp_path, options=Options())
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

    assert texts(work(service, tmp_path, options=Options())) == GOOD
    assert service.calls.count("start_upload") == uploads
    assert service.paid() == ONCE


def test_a_file_that_arrived_damaged_is_uploaded_again(service: FakeService, tmp_path: Path) -> None:
    service.death = (1, "after")
    with pytest.raises(Killed):
        work(service, tmp_path, options=Options())
    service.death = None
    (first,) = service.files
    service.files[first] = service.files[first][:-1] + b" "

    assert texts(work(service, tmp_path, options=Options())) == GOOD
    assert service.jobs[0].file_name != first


def test_more_answer_files_than_may_be_open(tmp_path: Path) -> None:
    """Rows go back and forth between the files of many jobs."""
    for number in range(200):
        (tmp_path / f"{number}.jsonl").write_bytes(b"%d" % number)
    with RawFiles(tmp_path) as files:
        opened = []
        for number in [*range(200), *range(0, 200, 7), 199, 0]:
            file = files[f"{number}.jsonl"]
            file.seek(0)
            assert file.read() == b"%d" % number
            opened.append(file)
        assert sum(not file.closed for file in set(opened)) <= 64
    assert all(file.closed for file in opened)
