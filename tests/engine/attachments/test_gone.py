"""Which attachments are deleted, and that a killed process loses none and uploads none twice."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Literal

import pytest

from engine.attaching import NAMES, Store, cleaned, content, keys, made, make_table, the_table, work
from engine.clock import Clock
from engine.fake import Killed
from engine.steps import deadly
from gemini_batch.engine.uploads.held import HeldAttachments
from gemini_batch.errors import ApiError
from gemini_batch.store.ledger.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path


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

        with monkeypatch.context() as patch:
            patch.setattr(kind, method, deadly(getattr(kind, method), point, when))
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


def test_an_upload_that_another_run_has_begun_is_left_alone(service: Store, tmp_path: Path) -> None:
    """Its process may be alive, and two that send to one session damage it."""
    service.faults["chunk", 0] = ("before", Killed())  # type: ignore[assignment]
    with pytest.raises(Killed):
        work(service, tmp_path)
    service.calls.clear()
    service.faults.clear()

    work(service, tmp_path, the_table(tmp_path, "and what is"))

    assert "query_upload" not in service.calls
    work(service, tmp_path)
    assert service.calls.count("query_upload") == 0, "by now, the content is there"
    assert service.uploaded == ["a", "b", "c"]
