"""Attachments of a table's rows at the service: once for each content, usable when a job is created, never mixed up."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from engine.attaching import HOUR, NAMES, Store, content, keys, made, make_table, the_table, work
from engine.fake import FakeSession, Killed, answer_line
from engine.steps import again, sentences
from gemini_batch.commands.create import create
from gemini_batch.engine.uploads import attachments
from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.events import Transfer
from gemini_batch.store.ledger.ledger import Ledger
from gemini_batch.store.ledger.run_options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gemini_batch.api.files import ReadAt
    from gemini_batch.wire import RemoteFile


# Once for each content -----------------------------------------------------------------------------------------------


def test_a_hundred_rows_share_three_uploads(service: Store, tmp_path: Path) -> None:
    make_table(tmp_path, 100)

    found = work(service, tmp_path)

    assert service.uploaded == ["a", "b", "c"]
    assert service.calls.count("start_upload") == 4  # with the input
    assert service.paid() == keys(100)
    assert found.summary.all_succeeded
    assert service.bytes_received == sum(len(content(name)) for name in NAMES) + len(
        service.files[service.jobs[0].file_name or ""]
    )


def test_progress_is_told_by_amounts_not_for_every_row(service: Store, tmp_path: Path) -> None:
    make_table(tmp_path, 300)
    heard: list[Any] = []

    work(service, tmp_path, heard=heard)

    told = [one for one in heard if isinstance(one, Transfer)]
    assert {"reading", "uploading"} <= {one.what for one in told}
    assert len(told) < 30


def test_several_jobs_share_them_too(service: Store, tmp_path: Path) -> None:
    make_table(tmp_path, 12)

    work(service, tmp_path, options=RunOptions(max_requests_per_job=2))

    assert len(service.jobs) == 6
    assert service.uploaded == ["a", "b", "c"]
    assert service.paid() == keys(12)


def test_a_copy_under_another_name_is_not_uploaded_again(service: Store, tmp_path: Path) -> None:
    (tmp_path / "img" / "b.png").write_bytes(content("a"))
    (tmp_path / "in.csv").write_text("id,pic\nr0,a\nr1,b\n")
    service.checks = False

    work(service, tmp_path)

    assert service.uploaded == ["a"]


def test_a_second_run_uses_what_the_first_has_uploaded(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path)
    service.clock.pass_by(20 * HOUR)

    work(service, tmp_path, the_table(tmp_path, "and what is"))

    assert len(service.jobs) == 2
    assert service.calls.count("start_upload") == 5  # three pictures and two inputs


def test_what_was_deleted_elsewhere_is_uploaded_again(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path)
    gone = next(name for name in service.files if service.mime[name] and service.which(name) == "b")
    del service.files[gone]

    work(service, tmp_path, the_table(tmp_path, "and what is"))

    assert len(service.jobs) == 2
    assert service.uploaded == ["a", "b", "c"]
    assert service.calls.count("start_upload") == 6


def test_another_key_has_files_of_its_own(service: Store, tmp_path: Path) -> None:
    """The key may belong to another project; the rows are the same all the same."""
    work(service, tmp_path)

    work(service, tmp_path, the_table(tmp_path, "and what is"), key="another-key")
    assert service.uploaded == ["a", "a", "b", "b", "c", "c"]

    jobs = len(service.jobs)
    work(service, tmp_path, key="another-key")
    assert len(service.jobs) == jobs


def test_a_job_that_another_key_continues_uploads_with_that_key(service: Store, tmp_path: Path) -> None:
    service.faults["create", 0] = ("before", ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED"))
    with pytest.raises(ApiError):
        made(service, tmp_path)

    async def again() -> None:
        async with FakeSession(service, tmp_path / "home", key="another-key") as session:
            await create(session, the_table(tmp_path))

    asyncio.run(again())

    assert service.uploaded == ["a", "a", "b", "b", "c", "c"]
    assert service.paid() == keys()


def test_rows_without_an_attachment_need_no_upload(service: Store, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("id,pic\nr0,a\nr1,\n")
    options = RunOptions(max_requests_per_job=1)
    service.checks = False

    work(service, tmp_path, options=options)

    parts = [line["request"]["contents"][0]["parts"] for made in service.sent for line in made]
    assert sorted(map(len, parts)) == [1, 2]
    assert service.uploaded == ["a"]


def test_a_few_are_uploaded_at_the_same_time(service: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = 0
    most = 0
    real = Store.send_upload

    async def sending(self: Store, *what: Any, **how: Any) -> RemoteFile | None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        for _ in range(10):
            await asyncio.sleep(0)
        try:
            return await real(self, *what, **how)
        finally:
            at_once -= 1

    monkeypatch.setattr(Store, "send_upload", sending)
    monkeypatch.setattr(attachments, "_AT_ONCE", 2)

    work(service, tmp_path)

    assert most == 2
    assert service.paid() == keys()


# Ready when the job is created ---------------------------------------------------------------------------------------


def test_a_file_that_is_processing_is_waited_for(service: Store, tmp_path: Path) -> None:
    service.shows = {"a": ["PROCESSING"] * 4, "c": ["PROCESSING"]}
    before = service.clock.now

    work(service, tmp_path)

    assert service.calls[: service.calls.index("create")].count("get_file") == 4 + 1
    assert service.calls.count("start_upload") == 4
    assert service.clock.now - before > 5
    assert service.paid() == keys()


def test_a_process_that_ends_meanwhile_does_not_upload_again(service: Store, tmp_path: Path) -> None:
    service.shows = {"a": ["PROCESSING"] * 4}
    service.faults["get_file", 1] = ("before", Killed())  # type: ignore[assignment]
    with pytest.raises(Killed):
        work(service, tmp_path)

    work(service, tmp_path)

    assert service.uploaded == ["a", "b", "c"]
    assert service.calls.count("start_upload") == 4


def test_a_file_that_is_processing_for_hours_ends_the_wait(service: Store, tmp_path: Path) -> None:
    """create says so, with exit code 4; later, the same command goes on."""
    service.shows = {"a": ["PROCESSING"] * 1000}
    with pytest.raises(ServiceError) as caught:
        made(service, tmp_path)
    assert (caught.value.reason_code, len(service.jobs)) == ("attachment_processing", 0)

    service.shows = {}
    made(service, tmp_path)

    assert service.calls.count("start_upload") == 4
    assert len(service.jobs) == 1


def test_a_file_that_cannot_be_processed_fails_its_rows_alone(service: Store, tmp_path: Path) -> None:
    """The service refuses such a row by itself; the others of its job are answered."""
    service.shows = {"b": ["PROCESSING", "FAILED"]}
    heard: list[Any] = []

    work(service, tmp_path, options=RunOptions(max_requests_per_job=3), heard=heard)

    assert sentences(heard).count("cannot process") == 1
    assert str(tmp_path / "img" / "b.png") in sentences(heard)
    assert service.calls.count("start_upload") == 3 + 2, "nothing is uploaded twice in a run"
    assert service.paid() == keys()


def test_another_run_tries_a_file_again_that_could_not_be_processed(service: Store, tmp_path: Path) -> None:
    service.shows = {"b": ["FAILED"]}
    work(service, tmp_path)

    work(service, tmp_path, the_table(tmp_path, "and what is"))

    assert service.uploaded == ["a", "b", "b", "c"]


@pytest.mark.parametrize(("hours", "uploads"), [(20.0, 4), (30.0, 8), (60.0, 8)])
def test_what_expires_is_renewed_before_the_job_is_created(
    service: Store, tmp_path: Path, hours: float, uploads: int
) -> None:
    """The create is refused for want of room; hours later, the same command goes on."""
    service.faults["create", 0] = ("before", ApiError("quota", status=429, reason="RESOURCE_EXHAUSTED"))
    with pytest.raises(ApiError):
        made(service, tmp_path)
    service.clock.pass_by(hours * HOUR)

    made(service, tmp_path)

    assert service.calls.count("start_upload") == uploads
    assert len(service.sent) == 1  # and every file in it lives for a day
    assert service.paid() == keys()


def test_rows_whose_file_expired_get_a_new_one(service: Store, tmp_path: Path) -> None:
    """The job waited for too long: its rows failed, and `retry` sends them with fresh files."""
    service.answer_at = lambda key, attempt: (
        json.dumps({"key": key, "error": {"code": 3, "message": "The file does not exist."}}).encode()
        if attempt == 1
        else answer_line(key)
    )
    first = work(service, tmp_path)
    assert not first.summary.all_succeeded
    service.clock.pass_by(47 * HOUR)

    again(service, tmp_path, first.summary.run or "", "failed", max_output_tokens=99)

    assert service.calls.count("start_upload") == 8
    assert [line["request"]["generationConfig"]["maxOutputTokens"] for line in service.sent[1]] == [99] * 6


def test_an_inline_job_names_the_files_as_well(service: Store, tmp_path: Path) -> None:
    made(service, tmp_path, inline=True)

    assert service.uploaded == ["a", "b", "c"]
    assert [len(sent) for sent in service.sent] == [6]


# A file is not what it was -------------------------------------------------------------------------------------------


def after_the_first(service: Store, happens: Callable[[], object]) -> None:
    """Let something happen while the first picture is uploaded."""

    def start(_: str) -> None:
        if service.calls.count("start_upload") == 0:
            happens()

    service.on_start = start


@pytest.mark.parametrize("what", ["changed", "missing", "a link", "a folder"])
def test_a_file_that_is_not_what_it_was_is_not_sent(
    service: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(attachments, "_AT_ONCE", 1)
    b = tmp_path / "img" / "b.png"

    def change() -> None:
        b.unlink()
        if what == "changed":
            b.write_bytes(content("x"))
        elif what == "a link":
            b.symlink_to("c.png")
        elif what == "a folder":
            b.mkdir()

    after_the_first(service, change)

    with pytest.raises(UsageError) as caught:
        work(service, tmp_path)

    assert caught.value.exit_code == 2
    assert caught.value.file == str(b)
    assert caught.value.reason_code == ("attachment_changed" if what == "changed" else "attachment_missing")
    assert caught.value.next
    assert not service.jobs
    assert service.uploaded == ["a"]
    assert not any(data.startswith(content("x")[:9]) for _, data in service.uploads.values())

    if b.is_dir():
        b.rmdir()
    b.unlink(missing_ok=True)
    b.write_bytes(content("b"))
    work(service, tmp_path)
    assert service.paid() == keys()
    assert service.uploaded == ["a", "b", "c"]


def test_a_file_that_changes_during_the_upload_is_not_used(
    service: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "_AT_ONCE", 1)
    service.chunk = 64
    real = Store.send_upload

    async def sending(self: Store, session: str, read_at: ReadAt, **how: Any) -> RemoteFile | None:
        calls = 0

        def changing(offset: int, length: int) -> bytes:
            nonlocal calls
            calls += 1
            if calls == 3 and how["size"] == len(content("a")):
                (tmp_path / "img" / "a.png").write_bytes(content("x"))
            return read_at(offset, length)

        return await real(self, session, changing, **how)

    service.send_upload = sending.__get__(service)  # type: ignore[method-assign]

    with pytest.raises(UsageError, match="was changed"):
        work(service, tmp_path)

    assert not service.files
    assert not service.jobs


def test_a_changed_file_makes_new_requests(service: Store, tmp_path: Path) -> None:
    """Only the rows that name it are sent; those with the other files were answered."""
    work(service, tmp_path)
    (tmp_path / "img" / "b.png").write_bytes(content("b") + b"!")
    service.checks = False

    work(service, tmp_path)

    assert service.jobs[1].keys == ["r1", "r4"]
    assert service.calls.count("start_upload") == 6


def test_a_folder_that_was_moved_is_found_again(service: Store, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    make_table(here)
    home = tmp_path / "home"
    service.faults["start_upload", 0] = ("before", Killed())  # type: ignore[assignment]
    service.home = home
    with pytest.raises(Killed):
        work(service, tmp_path, the_table(here))
    here.rename(there)

    work(service, tmp_path, the_table(there))

    assert service.paid() == keys()
    with Ledger(home / "ledger.db") as ledger:
        assert len(ledger.runs()) == 1
