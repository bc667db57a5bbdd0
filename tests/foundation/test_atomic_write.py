"""A file that somebody can see is whole: the old one or the new one, and nothing beside it."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

import pytest

from gemini_batch.jsonl import atomic_write, sync_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with atomic_write(path) as file:
        file.write(b"one\n")
        file.flush()
        assert not path.exists()
        file.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert names(tmp_path) == ["answers.jsonl"]


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"old and longer than the new one\n")
    with path.open("rb") as reader, atomic_write(path) as file:
        file.write(b"new\n")
        assert path.read_bytes() == b"old and longer than the new one\n"
        assert reader.read() == b"old and longer than the new one\n"
    assert path.read_bytes() == b"new\n"
    assert names(tmp_path) == ["answers.jsonl"]


@pytest.mark.parametrize(
    "error", [RuntimeError("mine"), KeyboardInterrupt(), SystemExit(1), OSError(errno.ENOSPC, "full")]
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_any_error_leaves_what_was_there(error: BaseException, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    if old is not None:
        path.write_bytes(old)

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert names(tmp_path) == ([] if old is None else ["answers.jsonl"])
    assert old is None or path.read_bytes() == old


def test_abandoned_writer_leaves_nothing(tmp_path: Path) -> None:
    manager = atomic_write(tmp_path / "answers.jsonl")
    manager.__enter__().write(b"half")
    assert len(names(tmp_path)) == 1
    manager.gen.close()
    assert names(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with atomic_write(path) as first:
        with atomic_write(path) as second:
            second.write(b"second")
        first.write(b"first")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["answers.jsonl"]


def test_name_as_long_as_names_get(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".json")
    with atomic_write(path) as file:
        file.write(b"{}")
    assert path.read_bytes() == b"{}"
    path = tmp_path / ("ü" * 127)  # 254 bytes
    with atomic_write(path) as file:
        file.write(b"{}")
    assert path.read_bytes() == b"{}"


@pytest.mark.parametrize("where", ["no/such/folder/answers.jsonl", "a file/answers.jsonl"])
def test_folder_that_is_none_is_an_error_of_the_file_system(where: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(OSError, match=r"No such file|Not a directory"), atomic_write(tmp_path / where):
        pytest.fail("nothing is to be written here")
    assert names(tmp_path) == ["a file"]


def test_folder_in_the_way_of_the_name_stays(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl" / "inside").mkdir(parents=True)
    with pytest.raises(OSError), atomic_write(tmp_path / "answers.jsonl") as file:  # noqa: PT011 - which one is the platform's
        file.write(b"x")
    assert names(tmp_path) == ["answers.jsonl"]
    assert names(tmp_path / "answers.jsonl") == ["inside"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_folder_that_may_not_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(PermissionError), atomic_write(tmp_path / "answers.jsonl"):
            pytest.fail("nothing is to be written here")
    finally:
        tmp_path.chmod(stat.S_IRWXU)
    assert names(tmp_path) == []


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_error_of_any_step_leaves_what_was_there(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "not allowed")

    with monkeypatch.context() as patched:
        if step == "open":
            patched.setattr(Path, "open", fail)
        elif step == "fsync":
            patched.setattr(os, "fsync", fail)
        else:
            patched.setattr(Path, "replace", fail)
        with pytest.raises(PermissionError), atomic_write(path) as file:
            file.write(b"new")
    assert names(tmp_path) == ["answers.jsonl"]
    assert path.read_bytes() == b"old"


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "answers.jsonl"
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spied_fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else f"file of {os.fstat(handle).st_size}")
        fsync(handle)

    def spied_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spied_fsync)
    monkeypatch.setattr(Path, "replace", spied_replace)
    with atomic_write(path) as file:
        file.write(b"x" * 10)
    assert steps == ["file of 10", "rename", *(["folder"] if os.name == "posix" else [])]


@pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX only")
@pytest.mark.parametrize(("number", "passes"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)])
def test_file_system_that_cannot_sync_a_folder_is_no_error(
    number: int, passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "fsync", fail)
    if passes:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match="no"):
            sync_folder(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_replaced_file_keeps_its_permissions(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_write(path) as file:
        file.write(b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def leave(folder: Path, name: str, *, age: float) -> Path:
    """A part that somebody wrote so many seconds ago."""
    part = folder / name
    part.write_bytes(b"half")
    then = time.time() - age
    os.utime(part, (then, then))
    return part


@pytest.mark.skipif(os.name != "posix", reason="whether a part's writer lives is known by POSIX locks")
def test_part_that_a_killed_process_left_is_swept_up(tmp_path: Path) -> None:
    leave(tmp_path, ".answers.jsonl.00000000.part", age=3600)
    leave(tmp_path, ".answers.jsonl.00000001.part", age=0)
    leave(tmp_path, ".other.jsonl.00000000.part", age=3600)
    leave(tmp_path, "answers.jsonl.part", age=3600)
    leave(tmp_path, ".answers.jsonl.notes.part", age=3600)
    with atomic_write(tmp_path / "answers.jsonl") as file:
        file.write(b"new")
    assert names(tmp_path) == [
        ".answers.jsonl.00000001.part",  # too young to be sure
        ".answers.jsonl.notes.part",
        ".other.jsonl.00000000.part",
        "answers.jsonl",
        "answers.jsonl.part",
    ]


@pytest.mark.skipif(os.name != "posix", reason="whether a part's writer lives is known by POSIX locks")
def test_part_of_a_living_writer_stays_however_old(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with atomic_write(path) as first:
        first.write(b"first")
        first.flush()
        [part] = tmp_path.iterdir()
        os.utime(part, (0, 0))
        with atomic_write(path) as second:
            second.write(b"second")
        assert part.exists()
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["answers.jsonl"]
