"""In doubt, all that is known is used: while a job is searched for, and while a download is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from engine.fake import FakeService, answer_line, reset
from engine.steps import GOOD, KEYS, ONCE, begin, held, jobs_of, sentences, texts, work
from engine.test_trouble import downloads
from gemini_batch.engine.backoff import ABSENT_TIMES
from gemini_batch.errors import ApiError, JobError, ServiceError
from gemini_batch.jsonl import read_all_lines
from gemini_batch.store.ledger.run_options import RunOptions
from gemini_batch.wire import Operation

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.events import Event

ONE_JOB = RunOptions()


def in_list(service: FakeService, change: Any) -> None:
    """Change every operation that the list shows, and none that is asked for by name."""
    real = service.listing

    async def listing() -> Any:
        async for page in real():
            for operation in page:
                change(operation)
            yield [operation for operation in page if operation.name]

    service.listing = listing  # type: ignore[method-assign]


def without_input(operation: Operation) -> None:
    assert operation.metadata is not None
    operation.metadata.input_config = None


# Creates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "a name of my own", "jobs"])
@pytest.mark.parametrize("also", ["the list only", "the job itself"])
def test_a_list_without_the_input_file_is_enough(
    service: FakeService, tmp_path: Path, name: str | None, also: str
) -> None:
    service.faults["create", 0] = ("after", reset())
    in_list(service, without_input)
    if also == "the job itself":
        real = service._operation

        def operation(job: Any) -> Operation:
            found = real(job)
            without_input(found)
            return found

        service._operation = operation  # type: ignore[method-assign]

    found = work(service, tmp_path, options=ONE_JOB, name=name)

    assert texts(found) == GOOD
    assert service.paid() == ONCE


def test_two_likely_jobs_are_told_apart_by_asking(service: FakeService, tmp_path: Path) -> None:
    """Somebody else has a job of the same name, model and size; only the input file tells them apart."""
    service.faults["create", 0] = ("after", reset())
    in_list(service, without_input)
    real = service.create

    async def twice(**what: Any) -> Operation:
        if not service.jobs:
            service.files["files/theirs"] = service.files[what["file_name"]].replace(b"ask", b"buy")
            service.calls.append("other")
            await FakeService.create(service, **{**what, "file_name": "files/theirs"})
        return await real(**what)

    service.faults = {("create", 1): ("after", reset())}
    service.create = twice  # type: ignore[method-assign]

    work(service, tmp_path, options=ONE_JOB, name="jobs")

    assert len(service.jobs) == 2
    assert [job.batch for job in jobs_of(tmp_path)] == ["batches/job1"]


def test_a_job_of_another_file_is_not_adopted(service: FakeService, tmp_path: Path) -> None:
    """Its file is shown only by the second answer to its name: nothing is recorded before that."""
    in_list(service, without_input)
    real, asked = service.get, list[str]()

    async def get(name: str, *, server_timeout: int | None = None) -> Operation:
        found = await real(name, server_timeout=server_timeout)
        asked.append(name)
        if asked == ["batches/job0"]:
            without_input(found)
        return found

    service.get = get  # type: ignore[method-assign]
    create = service.create

    async def refused(**what: Any) -> Operation:
        if not service.jobs:
            service.files["files/theirs"] = service.files[what["file_name"]].replace(b"ask", b"buy")
            await create(**{**what, "file_name": "files/theirs"})
            raise reset()
        return await create(**what)

    service.create = refused  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=ONE_JOB, name="jobs")) == GOOD
    assert [job.batch for job in jobs_of(tmp_path)] == ["batches/job1"]


def test_a_list_that_hides_a_known_job_is_not_believed(service: FakeService, tmp_path: Path) -> None:
    """It hides the new one as well: nothing is sent again, however often the list is read."""
    other = tmp_path / "other"
    other.mkdir()
    service.polls_to_end = 10_000
    begin(service, tmp_path)
    (tmp_path / "in.jsonl").write_bytes((tmp_path / "in.jsonl").read_bytes().replace(b"ask", b"tell"))
    service.list_hides = 10_000
    service.faults["create", 1] = ("after", reset())

    for _ in range(3):
        with pytest.raises(ServiceError, match="does not show batches/job0, which exists") as caught:
            begin(service, tmp_path)
        assert caught.value.reason_code == "list_incomplete"
    assert service.calls.count("create") == 2

    service.list_hides = 0
    assert begin(service, tmp_path).job == "batches/job1"
    assert service.calls.count("create") == 2


def test_a_list_without_a_job_that_is_gone_is_believed(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 10_000
    begin(service, tmp_path)
    service.jobs[0].deleted = True
    (tmp_path / "in.jsonl").write_bytes((tmp_path / "in.jsonl").read_bytes().replace(b"ask", b"tell"))
    service.faults["create", 1] = ("before", reset())

    assert begin(service, tmp_path).job == "batches/job1"
    assert service.calls.count("create") == 3


def test_a_create_answered_with_a_known_job_is_in_doubt(service: FakeService, tmp_path: Path) -> None:
    """A cache in between answers with the name of the last job: that is not the new one."""
    begin(service, tmp_path)
    (tmp_path / "in.jsonl").write_bytes((tmp_path / "in.jsonl").read_bytes().replace(b"ask", b"tell"))
    real = service.create

    async def cached(**what: Any) -> Operation:
        await real(**what)
        return Operation(name=service.jobs[0].name)  # anything more would show that it is another one

    service.create = cached  # type: ignore[method-assign]

    assert begin(service, tmp_path).job == "batches/job1"
    assert len(service.jobs) == 2


def test_a_job_that_reads_another_file_is_not_polled_for_ours(service: FakeService, tmp_path: Path) -> None:
    """The name is right and the content is another job's: its answers would be taken for ours."""
    heard: list[Event] = []
    real, wrong = service._operation, [6]

    def operation(job: Any) -> Operation:
        found = real(job)
        if job.looks and wrong[0] > 0:
            wrong[0] -= 1
            assert found.metadata is not None
            assert found.metadata.input_config is not None
            found.metadata.input_config.file_name = "files/of-somebody-else"
        return found

    service._operation = operation  # type: ignore[method-assign]

    assert texts(work(service, tmp_path, options=ONE_JOB, heard=heard)) == GOOD
    assert "a job that reads files/of-somebody-else" in sentences(heard)


@pytest.mark.parametrize("field", ["name", "size", "hash", "state"])
@pytest.mark.parametrize("times", [1, 2, 10])
def test_what_the_service_says_of_an_upload_is_what_was_sent(
    service: FakeService, tmp_path: Path, field: str, times: int
) -> None:
    real, left = service._file, [times]

    def described(name: str) -> Any:
        found = real(name)
        if left[0] > 0:
            left[0] -= 1
            change = {"name": "files/other", "size": "5", "hash": "AAAA", "state": "FAILED"}[field]
            setattr(found, {"size": "size_bytes", "hash": "sha256_hash"}.get(field, field), change)
        return found

    service._file = described  # type: ignore[method-assign]
    if times < 3:
        assert begin(service, tmp_path).job == "batches/job0"
        return
    with pytest.raises(ServiceError) as caught:
        begin(service, tmp_path)
    assert caught.value.reason_code == "upload_failed"
    assert service.jobs == []


# Downloads ----------------------------------------------------------------------------------------------------------

GOOD_LINES = b"".join(answer_line(key) + b"\n" for key in KEYS)
PAGE = b"<!DOCTYPE html><html>Sign in</html>\n"


@pytest.mark.parametrize("times", range(1, ABSENT_TIMES))
@pytest.mark.parametrize("status", [403, 404])
def test_results_that_are_not_shown_once_are_asked_for_again(
    service: FakeService, tmp_path: Path, times: int, status: int
) -> None:
    """By every command, also by one that does not wait."""
    service.polls_to_end = 1
    job = begin(service, tmp_path).job
    assert job is not None
    reason = {403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[status]
    for number in range(times):
        service.faults["download", number] = ("before", ApiError("no", status=status, reason=reason))
    assert texts(held(service, tmp_path, job)) == GOOD


def test_results_that_are_never_shown_are_gone(service: FakeService, tmp_path: Path) -> None:
    service.polls_to_end = 1
    job = begin(service, tmp_path).job
    assert job is not None
    downloads(service, lambda: ApiError("no", status=404, reason="NOT_FOUND"))
    with pytest.raises(JobError) as caught:
        held(service, tmp_path, job)
    assert caught.value.reason_code == "results_gone"
    assert service.calls.count("download") == ABSENT_TIMES


@pytest.mark.parametrize("cuts", [1, 2])
@pytest.mark.parametrize("lines", range(1, 6))
def test_a_file_of_unstated_size_is_compared_with_what_is_owed(
    service: FakeService, tmp_path: Path, lines: int, cuts: int
) -> None:
    """It ends at the end of a line, and the service counts nothing."""
    short = [b"".join(answer_line(key) + b"\n" for key in KEYS[:lines])] * cuts
    downloads(service, lambda: short.pop() if short else None)
    assert texts(work(service, tmp_path, options=ONE_JOB)) == GOOD
    assert service.paid() == ONCE


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \n\n", b"{}\n"])
def test_a_file_without_answers_is_an_empty_one(service: FakeService, tmp_path: Path, content: bytes) -> None:
    service.polls_to_end = 1
    job = begin(service, tmp_path).job
    assert job is not None
    downloads(service, lambda: content)
    assert {row["verdict"] for row in held(service, tmp_path, job)} == {"missing"}


@pytest.mark.parametrize("junk", [PAGE, b"502\n", b"\xff\xfe\x00", b"[]\n" * 5])
def test_junk_is_waited_out_and_then_empty(service: FakeService, tmp_path: Path, junk: bytes) -> None:
    service.polls_to_end = 1
    job = begin(service, tmp_path).job
    assert job is not None
    downloads(service, lambda: junk)
    for _ in range(3):
        with pytest.raises(ServiceError, match="contains no results"):
            held(service, tmp_path, job)
    service.clock.pass_by(86_400.0)
    assert {row["verdict"] for row in held(service, tmp_path, job)} == {"missing"}
    assert service.paid() == ONCE


def test_junk_does_not_hide_the_results_that_come_after_it(service: FakeService, tmp_path: Path) -> None:
    junk = [PAGE] * 7
    downloads(service, lambda: junk.pop() if junk else None)
    assert texts(work(service, tmp_path, options=ONE_JOB)) == GOOD


@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_line_beyond_the_limit_costs_its_own_row(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    for module in ("judging", "download"):
        monkeypatch.setattr(
            f"gemini_batch.engine.{module}.read_all_lines", lambda file: read_all_lines(file, limit=2000)
        )
    lines = GOOD_LINES.splitlines(keepends=True)
    lines.insert(place, b'{"key": "k9", "response": "' + b"x" * 5000 + b'"}\n')
    service.polls_to_end = 1
    job = begin(service, tmp_path).job
    assert job is not None
    downloads(service, lambda: b"".join(lines))
    found = held(service, tmp_path, job)
    assert texts(found) == GOOD
    assert found.summary.quarantined == {"TOO_LONG": 1}


def test_the_key_in_an_error_of_a_row_is_not_kept(service: FakeService, tmp_path: Path) -> None:
    """The service's words are redacted before the file is in place; what a model wrote stays, byte for byte."""
    key = "AIza-the-key-of-this-test"
    bad = b'{"key": "k0", "error": {"code": 3, "message": "' + key.encode() + b' \\u0041Iza-the-key-of-this-test"}}'
    echo = answer_line("k1").replace(b"answer to", key.encode() + b" 1.50 ")
    service.polls_to_end = 1

    from engine.fake import FakeSession  # the only test here that needs a key that looks like one
    from gemini_batch.commands.create import create
    from gemini_batch.commands.results import results
    from gemini_batch.intake.submission import Submission

    async def whole() -> Any:
        async with FakeSession(service, tmp_path / "home", key=key) as session:
            made = await create(session, Submission(source=tmp_path / "in.jsonl"))
            downloads(service, lambda: b"\n".join([bad, echo, *GOOD_LINES.splitlines()[2:], b""]))
            return await results(session, made.job)

    import asyncio

    found = {row["key"]: row for row in asyncio.run(whole())}
    assert found["k0"]["error"]["message"] == "… …"
    assert found["k1"]["response"]["text"].startswith(key)
    [raw] = (tmp_path / "home" / "runs").rglob("raw/*.jsonl")
    lines = raw.read_bytes().splitlines()
    assert key.encode() not in lines[0]
    assert lines[1] == echo
