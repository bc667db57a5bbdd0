"""Reading and writing objects: by ranges, only the same object, whole or not at all, and without secrets in errors."""

from __future__ import annotations

import errno
import hashlib
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch.errors import Error, ServiceError, StateError, UsageError
from gemini_batch.objects import names, reading, stores
from gemini_batch.objects.address import parse
from gemini_batch.objects.mirror import Mirror
from gemini_batch.objects.reading import fetch, open_object
from gemini_batch.objects.stores import Precondition, Seen, look_at, put_if, read, read_small

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from objects.buckets import Bucket, Calls

DATA = bytes(range(256)) * 5


def quiet(*_: object) -> None:
    pass


def gone() -> Error:
    return StateError("changed")


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    found = Mirror(tmp_path / "mirror")
    yield found
    found.close()


def test_an_object_is_fetched_by_ranges(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PIECE", 500)
    told: list[tuple[int, int]] = []
    address = parse(bucket.put("a b/x.bin", DATA))
    seen, sha256 = fetch(address, tmp_path / "x", lambda *done: told.append(done))
    assert (tmp_path / "x").read_bytes() == DATA
    assert sha256 == hashlib.sha256(DATA).hexdigest()
    assert seen.bytes == len(DATA)
    assert told == [(500, 1280), (1000, 1280), (1280, 1280)]
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


def test_an_object_that_changes_while_it_is_fetched_is_refused(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Calls
) -> None:
    monkeypatch.setattr(reading, "_PIECE", 500)
    address = parse(bucket.put("x", DATA))
    calls.after["get", "x"] = lambda: bucket.put("x", DATA[::-1])
    with pytest.raises(UsageError) as refused:
        fetch(address, tmp_path / "x", quiet)
    assert (refused.value.reason_code, refused.value.file) == ("file_changed", str(address))


def test_an_object_that_is_missing_is_named(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        fetch(parse(bucket / "x"), tmp_path / "x", quiet)
    assert (refused.value.reason_code, refused.value.file) == ("file_not_found", bucket / "x")


def test_an_object_is_read_like_a_file(bucket: Bucket) -> None:
    address = parse(bucket.put("x", DATA))
    with open_object(address, look_at(address), gone) as file:
        assert file.seek(700) == 700
        assert file.read(10) == DATA[700:710]
        assert file.seek(-5, os.SEEK_END) == 1275
        assert file.read() == DATA[-5:]
        assert file.read() == b""
        file.seek(0)
        assert file.read() == DATA


def test_what_is_read_later_is_the_same_object_or_an_error(bucket: Bucket) -> None:
    address = parse(bucket.put("x", DATA))
    with open_object(address, look_at(address), gone) as file:
        bucket.put("x", DATA[::-1])
        with pytest.raises(StateError):
            file.read(10)
        bucket.delete("x")
        with pytest.raises(StateError):
            file.read(10)


def test_a_store_without_etags_is_asked_for_time_and_size() -> None:
    one = Seen(bytes=1, etag=None, version=None, modified=1.0)
    assert one.is_same_as(Seen(bytes=1, etag="x", version=None, modified=1.0))
    assert not one.is_same_as(Seen(bytes=1, etag=None, version=None, modified=2.0))
    assert one.options == {}


def test_a_conditional_write_meets_what_was_seen(bucket: Bucket) -> None:
    address = parse(bucket / "x")
    first = put_if(address, b"one", None)
    with pytest.raises(Precondition):
        put_if(address, b"two", None)
    second = put_if(address, b"three", first)
    with pytest.raises(Precondition):
        put_if(address, b"four", first)
    bucket.delete("x")
    with pytest.raises(Precondition):
        put_if(address, b"five", second)
    assert read_small(address) is None


def test_a_range_that_lacks_bytes_is_not_taken(memory: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    address = parse(memory.put("x", DATA))
    seen = look_at(address)
    with pytest.raises((ServiceError, Precondition)):
        read(address, 1200, 1400, seen)


# Files that stand in for objects --------------------------------------------------------------------------------------


def test_files_lie_as_objects_do(bucket: Bucket, mirror: Mirror) -> None:
    bucket.put("in/a.csv", b"x\n1\n")
    path = mirror.fetch(parse(bucket / "in/a.csv"), quiet)
    output = mirror.fetch_to_write(parse(bucket / "in/out.jsonl"))
    assert path.parent == output.parent
    assert str(mirror.address(output)) == bucket / "in/out.jsonl"


def test_a_text_is_said_while_a_thread_opens_another_bucket(mirror: Mirror) -> None:
    class Text(str):
        def __contains__(self, folder: str) -> bool:  # type: ignore[override]
            mirror.path(parse("s3://second/x"))
            return super().__contains__(folder)

    path = mirror.path(parse("s3://first/x"))
    assert names.said(Text(f"{path} is empty")) == "s3://first/x is empty"


def test_only_what_was_written_is_put(bucket: Bucket, mirror: Mirror, calls: Calls) -> None:
    for name in ("same", "new", "gone"):
        bucket.put(name, b"old")
    same, new, gone_, more, none = (
        mirror.fetch_to_write(parse(bucket / name)) for name in ("same", "new", "gone", "more", "none")
    )
    new.write_bytes(b"newer")
    gone_.unlink()
    more.write_bytes(b"more")
    (more.parent / "more-media").mkdir()
    (more.parent / "more-media" / "1.png").write_bytes(b"png")
    (more.parent / "other").write_bytes(b"other")
    assert same.read_bytes() == b"old"
    assert not none.exists()
    calls.made.clear()
    mirror.put_all()
    assert bucket.names() == ["more", "more-media/1.png", "new", "same"]
    assert (bucket.get("new"), bucket.get("more")) == (b"newer", b"more")
    assert sorted(path.rpartition("/")[2] for name, path in calls.made if name == "put") == ["1.png", "more", "new"]


@pytest.mark.parametrize("before", [b"old", None])
def test_what_others_wrote_meanwhile_stays(bucket: Bucket, mirror: Mirror, before: bytes | None) -> None:
    if before is not None:
        bucket.put("x", before)
    path = mirror.fetch_to_write(parse(bucket / "x"))
    path.write_bytes(b"ours, longer")
    bucket.put("x", b"theirs")
    with pytest.raises(StateError) as refused:
        mirror.put_all()
    assert (refused.value.reason_code, refused.value.file) == ("object_replaced", bucket / "x")
    assert bucket.get("x") == b"theirs"


def test_what_was_put_before_a_crash_is_put_again(bucket: Bucket, mirror: Mirror) -> None:
    path = mirror.fetch_to_write(parse(bucket / "x"))
    path.write_bytes(b"ours")
    bucket.put("x", b"ours")
    mirror.put_all()
    assert bucket.get("x") == b"ours"


def test_a_pattern_fetches_what_it_matches(bucket: Bucket, mirror: Mirror) -> None:
    for name in ("t/a.csv", "t/b.csv", "t/c.txt", "t/deep/d.csv", "u/a.csv"):
        bucket.put(name, b"x")
    found = mirror.fetch_all(parse(bucket / "t/*.csv"), quiet)
    assert sorted(path.name for path in found.parent.glob(found.name)) == ["a.csv", "b.csv"]
    assert not (found.parent / "c.txt").exists()
    mirror.fetch_all(parse(bucket / "t/**/d.csv"), quiet)
    assert (found.parent / "deep" / "d.csv").exists()
    with pytest.raises(UsageError, match="No object matches"):
        mirror.fetch_all(parse(bucket / "t/*.parquet"), quiet)


# Errors ---------------------------------------------------------------------------------------------------------------


def test_no_secret_is_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SECRET-ID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET-KEY")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://SECRET-USER:SECRET-PASSWORD@127.0.0.1:9")
    monkeypatch.setattr(stores, "_RETRIES", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
    stores.opened.cache_clear()
    try:
        with pytest.raises(ServiceError) as failed:
            stores.look(parse("s3://bucket/x"))
    finally:
        stores.opened.cache_clear()
    error = failed.value
    assert (error.reason_code, error.exit_code, error.file) == ("object_store", 4, "s3://bucket/x")
    assert "SECRET" not in str(error)
    assert error.message == "The object store cannot be reached."
    assert error.__cause__ is None
    assert error.__suppress_context__  # a traceback does not show it either


@pytest.mark.parametrize(
    ("status", "said", "kind", "code"),
    [
        ("403 Forbidden", "AccessDenied", UsageError, "object_refused"),
        ("404 Not Found", "NoSuchBucket", UsageError, "file_not_found"),
        ("503 Service Unavailable", "SlowDown", ServiceError, "object_store"),
    ],
)
def test_what_the_store_said_is_told_in_its_own_code(status: str, said: str, kind: type[Error], code: str) -> None:
    from obstore.exceptions import GenericError

    text = f"Error performing GET https://x?sig=SECRET: Error with status {status}: <Code>{said}</Code> SECRET"
    with pytest.raises(kind) as found, stores.explained("s3://bucket/x"):
        raise GenericError(text)
    assert found.value.reason_code == code
    assert "SECRET" not in str(found.value)
    assert f"({status[:3]} {said})" in str(found.value)


@pytest.mark.parametrize(
    ("why", "kind", "code", "told"),
    [
        (errno.ENOSPC, StateError, "disk_full", "The disk is full"),
        (errno.ENOTDIR, StateError, "object_store", "cannot be read or written: Not a directory"),
        (errno.EACCES, UsageError, "object_refused", "Access was refused"),
    ],
)
def test_a_file_says_why_it_cannot_be_written(why: int, kind: type[Error], code: str, told: str) -> None:
    from obstore.exceptions import GenericError

    with pytest.raises(kind) as found, stores.explained("file:///here/x"):
        raise GenericError(f"Generic LocalFileSystem error: Unable to copy data to file: … (os error {why})")
    assert found.value.reason_code == code
    assert told in found.value.message
    assert found.value.next


def test_what_is_said_of_a_missing_file_speaks_of_no_bucket(tmp_path: Path) -> None:
    for name, told in (("x", "There is no such file."), ("folder", "This is a folder, not a file.")):
        (tmp_path / "folder").mkdir(exist_ok=True)
        with pytest.raises(UsageError) as refused:
            look_at(parse(f"file://{tmp_path.resolve()}/{name}"))
        assert (refused.value.reason_code, refused.value.message) == ("file_not_found", told)
        assert "credentials" not in str(refused.value.next)


def test_azure_without_an_account_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(UsageError, match="account is not specified") as refused:
        stores.opened("az://container")
    assert "AZURE_STORAGE_ACCOUNT_NAME" in str(refused.value.next)


def test_without_obstore_the_error_says_what_to_install(memory: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    def missing(name: str, *_: Any) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError) as refused:
        stores.look(parse(memory / "x"))
    assert refused.value.reason_code == "missing_extra"
    assert "pip install 'gemini-batch[objects]'" in str(refused.value.next)
