"""A folder for media files: what the user has there stays, and what this program wrote there may be written again."""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gemini_batch import GeminiBatch, Settings, UsageError, cli
from gemini_batch.answers.media import MediaWriter
from gemini_batch.answers.media_folder import MANIFEST, MediaFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def image(data: bytes) -> bytes:
    blob = {"mimeType": "image/png", "data": base64.b64encode(data).decode()}
    return json.dumps({"candidates": [{"content": {"parts": [{"inlineData": blob}]}}]}).encode()


def a_file(path: Path) -> None:
    path.write_bytes(b"mine")


def an_empty_file(path: Path) -> None:
    path.touch()


def a_link(path: Path) -> None:
    path.with_name("precious").write_bytes(b"mine")
    path.symlink_to("precious")


def a_link_to_the_same_bytes(path: Path) -> None:
    path.with_name("precious").write_bytes(b"new")
    path.symlink_to("precious")


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))


def a_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def a_file_of_ours_that_was_edited(path: Path) -> None:
    MediaFolder(path.parent).write(path.name, b"old")
    path.write_bytes(b"old, and retouched")


def a_file_of_ours_under_another_name(path: Path) -> None:
    MediaFolder(path.parent).write("other.png", b"old")
    (path.parent / "other.png").rename(path)


USERS: list[Callable[[Path], None]] = [
    a_file,
    an_empty_file,
    a_link,
    a_link_to_the_same_bytes,
    a_dangling_link,
    a_link_to_itself,
    a_fifo,
    a_socket,
    a_folder,
    a_file_of_ours_that_was_edited,
    a_file_of_ours_under_another_name,
]
each = pytest.mark.parametrize("make", USERS, ids=lambda make: make.__name__.replace("_", " "))


def snapshot(folder: Path) -> dict[str, Any]:
    """Everything in a folder: kind, target and bytes, and which file it is."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        held: Any = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_ino, held)
    return found


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
@each
def test_what_the_user_has_stays(make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "a.png")
    before = snapshot(tmp_path)
    for write in (MediaWriter(tmp_path), MediaWriter(tmp_path).checker()):
        assert write is not None
        with pytest.raises(UsageError, match="would replace this") as caught:
            write.move_out("a", image(b"new"))
        assert caught.value.file == str(tmp_path / "a.png")
        assert caught.value.exit_code == 2
        assert caught.value.next
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
@each
def test_nothing_is_written_where_one_file_is_in_the_way(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a whole command: the last of several images has the user's name. Afterwards the same command works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GEMINI_BATCH_OFFLINE", "1")
    monkeypatch.setenv("GEMINI_BATCH_HOME", str(tmp_path / "home"))
    asked = {"contents": [{"parts": [{"text": "A kettle."}]}]}
    Path("r.jsonl").write_text("".join(json.dumps({"key": key, "request": asked}) + "\n" for key in "cba"), "utf-8")
    with GeminiBatch(settings=Settings(home=tmp_path / "home", offline=True)) as batch:
        job = batch.create("r.jsonl", model="gemini-3.1-flash-image").job
        assert job is not None
        batch.status(job, wait=True)
    media = tmp_path / "media"
    media.mkdir()
    make(media / "a.png")
    before = snapshot(media)
    for words in (["-o", "results.jsonl"], ["-o", "-"], []):
        assert cli.execute(["results", job, "--media-dir", "media", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "media/a.png" in err
        assert snapshot(media) == before
        assert not Path("results.jsonl").exists()
    (media / "a.png").rename(tmp_path / "moved")
    assert cli.execute(["results", job, "-o", "results.jsonl", "--media-dir", "media"]) == 0
    written = {f"{key}.png": (media / f"{key}.png").read_bytes() for key in "abc"}
    assert all(data.startswith(b"\x89PNG") for data in written.values())
    assert cli.execute(["results", job, "-o", "results.jsonl", "--media-dir", "media"]) == 0
    lines = [json.loads(line) for line in (media / MANIFEST).read_text("utf-8").splitlines()]
    ours = [line for line in lines if line["run"].startswith("run-")]
    assert sorted(line["file"] for line in ours) == ["a.png", "b.png", "c.png"]  # once, however often it is exported


def test_our_files_are_written_again(tmp_path: Path) -> None:
    """A new answer after a retry, an answer of another run, and the earlier one once more."""
    for data in (b"first", b"second", b"first", b"first"):
        writer = MediaWriter(tmp_path, run="run-1")
        checker = writer.checker()
        assert checker is None or checker.move_out("a", image(data))[1] == [f"{tmp_path}/a.png"]
        writer.move_out("a", image(data))
        assert (tmp_path / "a.png").read_bytes() == data


def test_the_same_bytes_are_not_written_again(tmp_path: Path) -> None:
    """Whoever wrote them; so files of a version without a manifest are no hindrance."""
    (tmp_path / "a.png").write_bytes(b"same")
    before = snapshot(tmp_path)
    writer = MediaWriter(tmp_path)
    writer.move_out("a", image(b"same"))
    assert snapshot(tmp_path) == before
    assert writer.files == 0


def test_a_crash_between_manifest_and_file_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to be written is known before it is there; the file from before stays ours."""
    MediaFolder(tmp_path).write("a.png", b"old")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            MediaFolder(tmp_path).write("a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"old"
    MediaFolder(tmp_path).write("a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"new"


@pytest.mark.parametrize("junk", [b"", b"not JSON\n", b'{"file": "a.png"}\n', b"\xff\n", b'{"file": "a.pn'])
def test_a_manifest_that_is_damaged_protects_all_the_more(junk: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(junk)
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="did not write"):
        MediaFolder(tmp_path).write("a.png", b"new")
    assert (tmp_path / "a.png").read_bytes() == b"mine"


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
@pytest.mark.parametrize("make", [a_link, a_dangling_link, a_fifo, a_folder])
def test_the_manifest_is_a_file(make: Callable[[Path], None], tmp_path: Path) -> None:
    """It is not written through a link either."""
    make(tmp_path / MANIFEST)
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="not a file"):
        MediaFolder(tmp_path).write("b.png", b"new")
    with pytest.raises(UsageError, match="not a file"):
        MediaFolder(tmp_path).check_place()
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
@pytest.mark.parametrize("make", [a_file, a_dangling_link, a_fifo, a_link])
def test_a_place_that_is_no_folder(make: Callable[[Path], None], tmp_path: Path, monkeypatch: Any) -> None:
    """Is refused before anything is fetched."""
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "media")
    before = snapshot(tmp_path)
    with GeminiBatch(settings=Settings(home=tmp_path / "home", offline=True)) as batch:
        with pytest.raises(UsageError, match=r"not a folder|link to nothing") as caught:
            batch.results("batches/any", media_dir="media")
        assert caught.value.field == "--media-dir"
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")
def test_a_link_to_a_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "media").symlink_to("real")
    MediaFolder(tmp_path / "media").check_place()
    assert MediaFolder(tmp_path / "media").write("a.png", b"new")
    assert (tmp_path / "real" / "a.png").read_bytes() == b"new"


def seen(folder: Path) -> list[str]:
    """The files of the user's view: all but the manifest."""
    return sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)


def test_files_that_are_written_together_are_all_there_at_the_end(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path / "media", run="run-a")
    names = [f"{number:03}.png" for number in range(150)]
    with folder.together():
        for name in names:
            assert folder.write(name, name.encode())
        assert len([name for name in seen(folder.path) if not name.endswith(".part")]) == 128  # two whole groups

    assert seen(folder.path) == names
    assert {(folder.path / name).read_bytes() for name in names} == {name.encode() for name in names}
    with folder.together():
        assert not any(folder.write(name, name.encode()) for name in names)


def test_what_did_not_come_to_its_end_leaves_no_parts(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path / "media", run="run-a")

    def fail() -> None:
        with folder.together():
            folder.write("a.png", b"a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert seen(folder.path) == []
    assert folder.write("a.png", b"a")
    assert seen(folder.path) == ["a.png"]


def test_what_this_writer_wrote_it_may_write_again(tmp_path: Path) -> None:
    folder = MediaFolder(tmp_path / "media", run="run-a")
    folder.write("a.png", b"old")

    assert folder.write("a.png", b"new")
    assert (folder.path / "a.png").read_bytes() == b"new"


def test_a_file_alone_is_there_at_once(tmp_path: Path) -> None:
    """Whoever reads results line by line finds the files that a line names."""
    folder = MediaFolder(tmp_path / "media", run="run-a")
    folder.write("a.png", b"a")

    assert seen(folder.path) == ["a.png"]


def test_the_folder_is_searched_for_parts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of the folder for each file would take hours for a hundred thousand files."""
    lists: list[Path] = []
    real = Path.iterdir

    def listed(path: Path) -> Iterator[Path]:
        lists.append(path)
        return real(path)

    monkeypatch.setattr(Path, "iterdir", listed)
    before = MediaFolder(tmp_path, run="run-a")
    before.write("a.png", b"a")
    left = tmp_path / ".a.png.0123abcd.part"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    foreign = tmp_path / ".b.png.0123abcd.part"
    foreign.write_bytes(b"half")
    os.utime(foreign, (0, 0))
    lists.clear()

    folder = MediaFolder(tmp_path, run="run-a")
    for number in range(5):
        folder.write(f"{number}.png", b"x")

    assert len(lists) == 1
    assert not left.exists() or os.name != "posix"
    assert foreign.exists()
