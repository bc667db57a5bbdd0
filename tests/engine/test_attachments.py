"""Attachments of a table's rows at the service: once for each content, usable when a job is created, never mixed up."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest

from engine.fake import Clock, FakeService, FakeSession, Killed, answer_line
from engine.steps import again, sentences
from gemini_batch.commands.clean import Cleaned, clean
from gemini_batch.commands.create import create
from gemini_batch.commands.run import run
from gemini_batch.engine.uploads.held import HeldAttachments
from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.intake import tabular
from gemini_batch.intake.submission import Submission
from gemini_batch.intake.tabular import TableInput
from gemini_batch.store.ledger import Ledger
from gemini_batch.store.run_options import RunOptions
from gemini_batch.tables.making.recipe import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import msgspec

    from gemini_batch.api.files import ReadAt
    from gemini_batch.catalog import Method
    from gemini_batch.report.result_set import Results
    from gemini_batch.wire import Operation, RemoteFile

HOUR = 3600.0
URIS = "https://generativelanguage.googleapis.com/v1beta/"
NAMES = ("a", "b", "c")


def content(name: str) -> bytes:
    """A picture of which no other has a byte in common but its head."""
    return b"\x89PNG\r\n\x1a\n" + name.encode() * 200


@dataclass
class Store(FakeService):
    """The fake service with processing and an end of files, and a check of every job that is created.

    ``shows``: the states of a media file, one for each time it is shown; ACTIVE after them. ``home``: where the ledger
    is, so that each upload can be compared with what was recorded before it.
    """

    home: Path | None = None
    shows: dict[str, list[str]] = field(default_factory=dict)
    mime: dict[str, str | None] = field(default_factory=dict)
    expiry: dict[str, float] = field(default_factory=dict)
    sent: list[list[dict[str, Any]]] = field(default_factory=list)
    checks: bool = True
    on_start: Callable[[str], None] = lambda _: None

    async def start_upload(self, *, name: str, display_name: str, size: int, mime_type: str | None = None) -> str:
        assert self.home is not None
        with contextlib.closing(sqlite3.connect(self.home / "ledger.db")) as db:
            known = db.execute("SELECT name FROM attachments UNION SELECT file FROM jobs").fetchall()
        assert (f"files/{name}",) in known, "the name is recorded before anything is sent"
        self.mime[f"files/{name}"] = mime_type
        self.on_start(name)
        return await super().start_upload(name=name, display_name=display_name, size=size)

    def _file(self, name: str) -> RemoteFile:
        found = super()._file(name)
        self.expiry.setdefault(name, self.clock.now + 48 * HOUR)
        coming = self.shows.get(self.which(name), [])
        found.state = coming.pop(0) if coming and self.mime[name] else "ACTIVE"
        found.uri = URIS + name
        found.mime_type = self.mime[name]
        found.expiration_time = _rfc3339(self.expiry[name])
        return found

    def which(self, name: str) -> str:
        """The picture that a file is."""
        return self.files[name][8:9].decode()

    async def get_file(self, name: str) -> RemoteFile:
        if self.expiry.get(name, self.clock.now + 1) <= self.clock.now:
            self.files.pop(name, None)
        return await super().get_file(name)

    async def create(
        self,
        *,
        model: str,
        method: Method,
        display_name: str,
        file_name: str | None = None,
        requests: Sequence[tuple[str, msgspec.Raw]] | None = None,
        webhook_url: str | None = None,
    ) -> Operation:
        before = len(self.jobs)
        made: list[Any] = []
        if file_name is not None:
            made = [json.loads(line) for line in self.files[file_name].splitlines()]
        elif requests is not None:
            made = [{"key": key, "request": json.loads(bytes(raw))} for key, raw in requests]
        try:
            return await super().create(
                model=model,
                method=method,
                display_name=display_name,
                file_name=file_name,
                requests=requests,
                webhook_url=webhook_url,
            )
        finally:
            if len(self.jobs) > before:
                if self.checks:
                    self.check(made)
                self.sent.append(made)

    def check(self, made: list[Any]) -> None:
        """Each row has the picture that its prompt names, in a file that lives long enough."""
        for line in made:
            *files, text = line["request"]["contents"][0]["parts"]
            asked = text["text"].split()[-1]
            for part in files:
                data = part["fileData"]
                name = data["fileUri"].removeprefix(URIS)
                assert self.files[name] == content(asked)
                assert data["mimeType"] == self.mime[name] == "image/png"
                assert self.expiry[name] - self.clock.now >= 24 * HOUR

    @property
    def uploaded(self) -> list[str]:
        """The pictures that the service has, by name."""
        return sorted(self.which(name) for name in self.files if self.mime.get(name))


def _rfc3339(at: float) -> str:
    import datetime as dt

    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture(autouse=True)
def everything_is_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are uploaded, too."""
    monkeypatch.setattr(tabular, "INLINE_MAX", 0)


def make_table(folder: Path, rows: int = 6) -> Path:
    """A table whose rows name three pictures in turn."""
    folder.mkdir(exist_ok=True)
    (folder / "img").mkdir(exist_ok=True)
    for name in NAMES:
        (folder / "img" / f"{name}.png").write_bytes(content(name))
    lines = ["id,pic", *(f"r{n},{NAMES[n % 3]}" for n in range(rows))]
    (folder / "in.csv").write_text("\n".join(lines) + "\n")
    return folder


def the_table(folder: Path, prompt: str = "what is", **order: Any) -> Submission:
    asked = Asked(prompt=prompt + " {{ id }} {{ pic }}", attach=("img/{{ pic }}.png",), key=("id",))
    table = TableInput(rows=str(folder / "in.csv"), asked=asked)
    return Submission(source=folder / "in.csv", table=table, **order)


def work(
    service: Store,
    folder: Path,
    what: str | Submission | None = None,
    *,
    options: RunOptions | None = None,
    key: str = "a-key",
    heard: list[Any] | None = None,
) -> Results:
    async def whole() -> Results:
        async with FakeSession(service, folder / "home", key=key) as session:
            try:
                return await run(session, what or the_table(folder), options, output=folder / "results.jsonl")
            finally:
                if heard is not None:
                    heard.extend(session.events)

    service.home = folder / "home"
    return asyncio.run(whole())


def made(service: Store, folder: Path, **order: Any) -> str:
    async def whole() -> str:
        async with FakeSession(service, folder / "home") as session:
            return (await create(session, the_table(folder, **order))).run

    service.home = folder / "home"
    return asyncio.run(whole())


def cleaned(service: Store, folder: Path) -> Cleaned:
    async def whole() -> Cleaned:
        async with FakeSession(service, folder / "home") as session:
            return await clean(session, dry_run=False)

    return asyncio.run(whole())


def keys(rows: int = 6) -> dict[str, int]:
    return {f"r{n}": 1 for n in range(rows)}


@pytest.fixture
def service(tmp_path: Path) -> Store:
    make_table(tmp_path)
    return Store(Clock(), chunk=10_000)


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
def test_a_file_that_is_not_what_it_was_is_not_sent(service: Store, tmp_path: Path, what: str) -> None:
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


def test_a_file_that_changes_during_the_upload_is_not_used(service: Store, tmp_path: Path) -> None:
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


# Deleting ------------------------------------------------------------------------------------------------------------


def test_clean_keeps_what_a_job_needs(service: Store, tmp_path: Path) -> None:
    service.polls_to_end = 10**6
    made(service, tmp_path)

    found = cleaned(service, tmp_path)

    assert not found.deleted
    assert set(found.kept.values()) == {"a job needs it", "its job is alive (JOB_STATE_PENDING)"}
    assert service.uploaded == ["a", "b", "c"]


def test_clean_deletes_what_no_job_needs(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path)
    (tmp_path / "in.csv").write_text("id,pic\nr9,b\n")
    service.polls_to_end = 10**6
    made(service, tmp_path)

    found = cleaned(service, tmp_path)

    assert service.uploaded == ["b"]
    assert found.bytes > len(content("a")) + len(content("c"))
    again = cleaned(service, tmp_path)
    assert not again.deleted
    assert again.kept == found.kept


def test_clean_keeps_files_of_another_key(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path, key="another-key")

    found = cleaned(service, tmp_path)

    assert service.uploaded == ["a", "b", "c"]
    assert list(found.kept.values()).count("uploaded with another key") == 4


def test_what_cannot_be_deleted_now_is_deleted_later(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path)
    service.faults["delete_file", 1] = ("before", ApiError("overloaded", status=503))
    with pytest.raises(ApiError):
        cleaned(service, tmp_path)

    cleaned(service, tmp_path)

    assert service.uploaded == []


def test_a_file_that_a_job_has_just_taken_is_not_deleted(service: Store, tmp_path: Path) -> None:
    """Between the list of what is needless and the deletion, a job finds the file and uses it."""
    work(service, tmp_path)
    real = HeldAttachments.all

    def then_taken(self: HeldAttachments) -> Any:
        found = real(self)
        with Ledger(tmp_path / "home" / "ledger.db") as ledger:
            job = next(job for _, job in ledger.jobs())
            ledger.update_job(job, "planned again", at=service.clock.now, stage=type(job.stage).PLANNED)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldAttachments, "all", then_taken)
        cleaned(service, tmp_path)

    assert service.uploaded == ["a", "b", "c"]


def test_a_full_store_is_emptied_of_what_no_job_needs(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path)
    for name in NAMES:
        (tmp_path / "img" / f"{name}.png").write_bytes(content(name) + b"new")
    full = ApiError("storage quota", status=429, reason="RESOURCE_EXHAUSTED", code="storage_full")
    service.faults["start_upload", 4] = ("before", full)
    service.checks = False

    work(service, tmp_path)

    assert [len(data) for name, data in service.files.items() if service.mime[name]] == [len(content("a")) + 3] * 3


# Killed at every step ------------------------------------------------------------------------------------------------


def mortal(death: tuple[int, Literal["before", "after"]] | None = None) -> Store:
    """A service that takes each picture in two chunks, and processes one of them."""
    return Store(Clock(), shows={"b": ["PROCESSING"]}, death=death, chunk=160)


def calls_of_a_life(folder: Path) -> int:
    service = mortal()
    (make_table(folder, 3) / "in.csv").write_text("id,pic\nr0,a\nr1,b\n")
    work(service, folder)
    return len(service.calls)


@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_call_of_the_service(tmp_path: Path, when: Literal["before", "after"]) -> None:
    number = calls_of_a_life(tmp_path / "plain")
    assert number > 12
    for point in range(number):
        folder = make_table(tmp_path / f"at{point}")
        (folder / "in.csv").write_text("id,pic\nr0,a\nr1,b\n")
        service = mortal((point, when))
        with pytest.raises(Killed):
            work(service, folder)
        service.death = None

        found = work(service, folder)

        assert service.paid() == keys(2), point
        assert found.summary.all_succeeded, point
        assert service.uploaded == ["a", "b"], point


WRITES = [
    (HeldAttachments, "choose"),
    (HeldAttachments, "update"),
    (HeldAttachments, "use"),
    (HeldAttachments, "set_used"),
    (Ledger, "add_job"),
    (Ledger, "update_job"),
    (Ledger, "uploaded"),
]


@pytest.mark.parametrize(("kind", "method"), WRITES, ids=[method for _, method in WRITES])
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_every_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, method: str, when: str
) -> None:
    for point in range(1000):
        folder = make_table(tmp_path / f"at{point}")
        service = mortal()
        real = getattr(kind, method)
        count = 0

        def dying(self: Any, *args: Any, _real: Any = real, _point: int = point, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == _point + 1 and when == "before":
                raise Killed
            value = _real(self, *args, **kwargs)
            if count == _point + 1:
                raise Killed
            return value

        with monkeypatch.context() as patch:
            patch.setattr(kind, method, dying)
            try:
                work(service, folder)
            except Killed:
                pass
            else:
                assert point > 0, "this write never happened: the test does not test it"
                return

        found = work(service, folder)

        assert service.paid() == keys(), point
        assert found.summary.all_succeeded, point
        assert service.uploaded == ["a", "b", "c"], point


def test_the_uploads_are_in_the_audit_trail(service: Store, tmp_path: Path) -> None:
    work(service, tmp_path)

    with contextlib.closing(sqlite3.connect(tmp_path / "home" / "ledger.db")) as db:
        events = db.execute("SELECT what, detail FROM events WHERE what LIKE 'attachment%'").fetchall()
    assert not any("fake.invalid/upload" in (detail or "") for _, detail in events)
    begun = [json.loads(detail)["sha256"] for what, detail in events if what == "attachment upload begins"]
    assert sorted(begun) == sorted(hashlib.sha256(content(name)).hexdigest() for name in NAMES)
