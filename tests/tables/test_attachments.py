"""Which files a cell can attach, what they are, and what is never read."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gemini_batch.protocol.rules import is_media_type
from gemini_batch.tables.making import attachments as module
from gemini_batch.tables.making import local_files
from gemini_batch.tables.making.attachments import Attachments, Inline, Remote, RowProblem, Stored
from gemini_batch.tables.making.builder import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"


def ftyp(*brands: bytes) -> bytes:
    """The first box of an ISO media file."""
    body = brands[0] + bytes(4) + b"".join(brands)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + bytes(40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The table's folder, with a picture; a private key lies outside."""
    inside = tmp_path / "data" / "shop"
    (inside / "img").mkdir(parents=True)
    (inside / "img" / "a.png").write_bytes(PNG)
    (tmp_path / "id_rsa").write_bytes(SECRET)
    (tmp_path / "data" / "photos").mkdir()
    (tmp_path / "data" / "photos" / "b.png").write_bytes(PNG + b"b")
    return inside


def resolved(folder: Path, name: str, content: bytes, **options: int) -> object:
    (folder / name).write_bytes(content)
    return Attachments(folder, **options).resolve(name)  # type: ignore[arg-type]


# What is found -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", [None, "", "  ", "\n"])
def test_no_value_attaches_nothing(folder: Path, cell: str | None) -> None:
    assert Attachments(folder).resolve(cell) is None


@pytest.mark.parametrize("cell", ["img/a.png", "./img/a.png", "img/../img/a.png", "img//a.png", "{folder}/img/a.png"])
def test_a_file_below_the_folder_is_attached(folder: Path, cell: str) -> None:
    found = Attachments(folder).resolve(cell.format(folder=folder))

    assert found == Inline("image/png", base64.b64encode(PNG).decode(), hashlib.sha256(PNG).hexdigest())
    assert found.part() == {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}


def test_a_larger_file_is_named_by_its_content(folder: Path) -> None:
    content = PNG + bytes(100)
    (folder / "b.png").write_bytes(content)
    attachments = Attachments(folder, inline_max=len(content) - 1)

    digest = hashlib.sha256(content).hexdigest()
    stored = Stored(digest, "image/png", len(content), str(folder / "b.png"))
    assert attachments.resolve("b.png") == stored
    assert stored.part() == {"fileData": {"mimeType": "image/png", "fileUri": f"attachment:sha256-{digest}"}}
    assert attachments.stored == {digest: stored}
    assert isinstance(Attachments(folder, inline_max=len(content)).resolve("b.png"), Inline)


def test_names_of_any_letters_and_with_blanks(folder: Path) -> None:
    for name in ("größe 1.png", "日本.png", " a.png", "a.png ", "-rf.png", "a;b.png", "note:1.png", "100%.png"):
        assert isinstance(resolved(folder, name, PNG), Inline), name


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    (folder / "link.png").symlink_to("img/a.png")
    (folder / "images").symlink_to("img")

    for cell in ("link.png", "images/a.png"):
        assert isinstance(Attachments(folder).resolve(cell), Inline)


def test_a_table_reached_by_a_link_has_its_own_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(folder)

    assert isinstance(Attachments(tmp_path / "here").resolve("img/a.png"), Inline)


# What is never read --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "../../id_rsa",
        "img/../../../id_rsa",
        "{outside}/id_rsa",
        "/etc/passwd",
        "/dev/zero",
        "/proc/self/environ",
        "..",
        "../photos/b.png",
        "out.png",
        "out/b.png",
        "hop.png",
        "../shop2/a.png",
        "{outside}/does-not-exist",
    ],
)
def test_nothing_outside_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch, cell: str) -> None:
    outside = folder.parent.parent
    (folder / "out.png").symlink_to(outside / "id_rsa")
    (folder / "out").symlink_to(folder.parent / "photos")
    (folder / "hop.png").symlink_to("out.png")
    (folder.parent / "shop2").mkdir()
    (folder.parent / "shop2" / "a.png").write_bytes(PNG)
    opened: list[object] = []
    monkeypatch.setattr(module, "opened", opened.append)
    monkeypatch.setattr(module, "status_of", opened.append)

    found = Attachments(folder).resolve(cell.format(outside=outside))

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_OUTSIDE"
    assert "--attach-root" in found.message
    assert not opened


def test_other_folders_can_be_allowed(folder: Path) -> None:
    photos = folder.parent / "photos"
    (folder / "out").symlink_to(photos)
    allowed = Attachments(folder, (photos,))

    for cell in ("../photos/b.png", str(photos / "b.png"), "out/b.png", "img/a.png"):
        assert isinstance(allowed.resolve(cell), Inline), cell
    found = allowed.resolve("../../id_rsa")
    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_OUTSIDE"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [(fifo, "a FIFO"), (Path.mkdir, "a folder"), (listener, "a socket")],
    ids=["fifo", "dir", "socket"],
)
@pytest.mark.timeout(10)
def test_what_is_no_file_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], what: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    make(Path("x.png"))

    found = Attachments(tmp_path).resolve("x.png")

    assert found == RowProblem("ATTACHMENT_NOT_A_FILE", f"The attachment `x.png` is {what}, not a file.")


def test_a_device_is_not_opened() -> None:
    found = Attachments(Path("/dev")).resolve("zero")

    assert found == RowProblem("ATTACHMENT_NOT_A_FILE", "The attachment `zero` is a device, not a file.")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_appears_after_the_check_is_not_followed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Another process replaces the checked path by a link to somewhere else."""
    real = os.path.realpath
    calls = 0

    def then_swapped(path: object) -> str:
        nonlocal calls
        answer = real(path)  # type: ignore[call-overload]
        if str(answer).endswith("a.png"):
            calls += 1
            if calls == 1 and what == "file":
                (folder / "img" / "a.png").unlink()
                (folder / "img" / "a.png").symlink_to(folder.parent.parent / "id_rsa")
            elif calls == 1:
                (folder / "img").rename(folder / "old")
                (folder / "img").symlink_to(folder.parent / "photos")
                (folder.parent / "photos" / "a.png").write_bytes(SECRET)
        return str(answer)

    attachments = Attachments(folder)
    monkeypatch.setattr(os.path, "realpath", then_swapped)

    found = attachments.resolve("img/a.png")

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_NOT_A_FILE"


@pytest.mark.parametrize(
    "cell", ["img/none.png", "~/x.png", "~root/x", "a\0b", "\ud800.png", "img/a.png/x", "img/loop"]
)
def test_what_does_not_exist(folder: Path, cell: str) -> None:
    (folder / "loop").symlink_to("loop")

    found = Attachments(folder).resolve(cell)

    assert isinstance(found, RowProblem)
    assert found.reason in {"ATTACHMENT_MISSING", "ATTACHMENT_UNREADABLE", "ATTACHMENT_NOT_A_FILE"}
    assert ("home folder" in found.message) == cell.startswith("~")
    assert found.message.isprintable()


def test_a_path_that_is_too_long_is_a_problem_of_the_row(folder: Path) -> None:
    found = Attachments(folder).resolve("x" * 5000)

    assert isinstance(found, RowProblem)
    assert len(found.message) < 400


# URLs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "mime"),
    [
        ("https://example.org/a.png", "image/png"),
        (" https://example.org/a.JPG?sig=x#y ", "image/jpeg"),
        ("https://example.org/page", None),
        ("gs://bucket/clip.mp4", "video/mp4"),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc-123", None),
        ("files/abc-123", None),
    ],
)
def test_urls_are_passed_on(folder: Path, cell: str, mime: str | None) -> None:
    found = Attachments(folder).resolve(cell)

    assert found == Remote(cell.strip(), mime)
    assert found.part()["fileData"]["fileUri"] == cell.strip()
    assert ("mimeType" in found.part()["fileData"]) == (mime is not None)


def test_a_file_of_that_name_wins_over_the_name_of_an_uploaded_one(folder: Path) -> None:
    (folder / "files").mkdir()
    (folder / "files" / "abc-123").write_bytes(PNG)

    assert isinstance(Attachments(folder).resolve("files/abc-123"), Inline)


@pytest.mark.parametrize(
    "cell",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "data:image/png;base64,AAAA",
        "ftp://example.org/a.png",
        "s3://bucket/a.png",
        "https://",
        "https://a b/c",
        "https://[x/a.png",
        "https://drive.google.com/file/d/1/view",
        "attachment:sha256-" + "0" * 64,
    ],
)
def test_addresses_that_the_service_does_not_read(folder: Path, cell: str) -> None:
    found = Attachments(folder).resolve(cell)

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_BAD_URI"


def test_a_signature_in_an_address_is_not_shown(folder: Path) -> None:
    found = Attachments(folder).resolve("https://drive.google.com/file/d/1/view?token=s3cret")

    assert isinstance(found, RowProblem)
    assert "s3cret" not in found.message


# Types ---------------------------------------------------------------------------------------------------------------

TYPES = [
    (PNG, "image/png"),
    (b"\xff\xd8\xff\xe0" + bytes(30), "image/jpeg"),
    (b"GIF89a" + bytes(30), "image/gif"),
    (b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(30), "image/webp"),
    (b"RIFF\x10\x00\x00\x00WAVEfmt " + bytes(30), "audio/wav"),
    (b"RIFF\x10\x00\x00\x00AVI LIST" + bytes(30), "video/avi"),
    (b"FORM\x00\x00\x00\x10AIFFCOMM" + bytes(30), "audio/aiff"),
    (ftyp(b"heic"), "image/heic"),
    (ftyp(b"mif1", b"heic"), "image/heic"),
    (ftyp(b"mif1", b"avif", b"miaf"), "image/avif"),
    (ftyp(b"mif1", b"miaf"), "image/heif"),
    (ftyp(b"avif"), "image/avif"),
    (ftyp(b"isom", b"mp41"), "video/mp4"),
    (ftyp(b"qt  "), "video/quicktime"),
    (ftyp(b"3gp5"), "video/3gpp"),
    (ftyp(b"M4A ", b"isom"), "audio/mp4"),
    (b"ID3\x04\x00" + bytes(30), "audio/mpeg"),
    (b"\xff\xfb\x90\x00" + bytes(30), "audio/mpeg"),
    (b"\xff\xf1\x50\x80" + bytes(30), "audio/aac"),
    (b"OggS\x00\x02" + bytes(20) + b"\x01vorbis", "audio/ogg"),
    (b"OggS\x00\x02" + bytes(20) + b"\x80theora", "video/ogg"),
    (b"fLaC\x00" + bytes(30), "audio/flac"),
    (b"\x1aE\xdf\xa3\x01\x42\x82\x84webm" + bytes(30), "video/webm"),
    (b"FLV\x01" + bytes(30), "video/x-flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(30), "video/wmv"),
    (b"\x00\x00\x01\xba" + bytes(30), "video/mpeg"),
    (b"%PDF-1.7\n%\xe2\xe3" + bytes(30), "application/pdf"),
    (b"\xef\xbb\xbf\n%PDF-1.4" + bytes(30), "application/pdf"),
    (b"{\\rtf1 hello}", "text/rtf"),
    (b"plain", "text/plain"),
    ("größer, 日本, 😀\r\n\tx\f".encode(), "text/plain"),
    (b"\xef\xbb\xbfwith a mark", "text/plain"),
    (b"BM is not always a picture", "text/plain"),
    (b"MZ, ID3 and GIF are letters", "text/plain"),
    (b"PARIS", "text/plain"),
    (b"x" * 4095 + "ä".encode() + b"y" * 2_000_000 + "ä".encode(), "text/plain"),
]


@pytest.mark.parametrize(("content", "mime"), TYPES, ids=[f"{n}-{mime}" for n, (_, mime) in enumerate(TYPES)])
@pytest.mark.parametrize("name", ["x", "x.png", "x.exe"])
def test_the_type_comes_from_the_content(tmp_path: Path, name: str, content: bytes, mime: str) -> None:
    small, large = (resolved(tmp_path, name, content, inline_max=most) for most in (10**9, 0))

    assert isinstance(small, Inline)
    assert isinstance(large, Stored)
    assert small.mime == large.mime == mime
    assert small.sha256 == large.sha256 == hashlib.sha256(content).hexdigest()
    assert base64.b64decode(small.data) == content
    assert is_media_type(mime)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"PK\x03\x04" + bytes(30), "Word"),
        (b"II*\x00" + bytes(30), "TIFF"),
        (b"BM\x00\x01" + bytes(30), "BMP"),
        (b"MZ\x90\x00" + bytes(30), "a program"),
        (b"\xff\xfeh\x00i\x00", "UTF-16"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<!-- x -->\n<svg>", "SVG"),
        ("größer".encode("latin-1"), "unknown type"),
        (b"text, then \x00", "unknown type"),
        (b"x" * 1_500_000 + b"\xff", "unknown type"),
        (b"\xe6\x97", "unknown type"),
        (b"\x00\x01\x02", "unknown type"),
    ],
    ids=range(12),
)
def test_other_types_are_problems(tmp_path: Path, content: bytes, word: str) -> None:
    for most in (0, 10**9):
        found = resolved(tmp_path, "x.png", content, inline_max=most)
        assert isinstance(found, RowProblem)
        assert found.reason == "ATTACHMENT_UNSUPPORTED_TYPE"
        assert word in found.message


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_an_empty_file_is_a_problem(tmp_path: Path) -> None:
    assert resolved(tmp_path, "x.png", b"") == RowProblem("ATTACHMENT_EMPTY", "The attachment `x.png` is empty.")


@pytest.mark.parametrize(("start", "size"), [(b"%PDF-1.7", 50 * 1024**2), (PNG, 2 * 1024**3)])
def test_a_file_over_the_limit_is_a_problem(tmp_path: Path, start: bytes, size: int) -> None:
    """The files have holes, so that they take no space; they are too large before they are read."""
    (tmp_path / "x").write_bytes(start)
    os.truncate(tmp_path / "x", size + 1)

    found = Attachments(tmp_path).resolve("x")

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_TOO_LARGE"
    assert f"{size:,}" in found.message


def test_without_uploads_a_larger_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    attachments = Attachments(tmp_path, inline_max=10, uploads=False)

    found = attachments.resolve("x.png")

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_TOO_LARGE"
    assert not attachments.stored
    assert attachments.part("x.png") == Skipped("ATTACHMENT_TOO_LARGE", found.message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_problem(folder: Path) -> None:
    (folder / "img" / "a.png").chmod(0)

    found = Attachments(folder).resolve("img/a.png")

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_UNREADABLE"


# Reading once --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inline_max", [0, 10**6])
def test_a_file_is_read_once_until_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch, inline_max: int) -> None:
    read: list[Path] = []
    real = local_files.opened
    monkeypatch.setattr(module, "opened", lambda path: read.append(path) or real(path))  # type: ignore[func-returns-value]
    attachments = Attachments(folder, inline_max=inline_max)

    found = {attachments.resolve(cell) for cell in ["img/a.png", "./img/a.png"] * 50}
    assert (len(found), len(read)) == (1, 1)

    (folder / "img" / "a.png").write_bytes(PNG + b"more")
    assert attachments.resolve("img/a.png") not in found
    assert len(read) == 2


def test_memory_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_BYTES", 10_000)
    monkeypatch.setattr(module, "_KEPT", 20)
    attachments = Attachments(folder)
    for number in range(50):
        (folder / f"{number}.png").write_bytes(PNG + bytes(number * 20))
        assert attachments.resolve(f"{number}.png")

    kept = attachments._known.values()
    assert 0 < len(kept) <= 20
    assert sum(len(one.data) for one in kept if isinstance(one, Inline)) == attachments._inline_bytes <= 10_000


def test_a_file_that_changes_while_it_is_read_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module._Content.read

    def read(content: module._Content) -> str:
        digest = real(content)
        with (folder / "img" / "a.png").open("ab") as file:
            file.write(b"more")
        return digest

    monkeypatch.setattr(module._Content, "read", read)

    found = Attachments(folder).resolve("img/a.png")

    assert isinstance(found, RowProblem)
    assert found.reason == "ATTACHMENT_UNREADABLE"


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = [Stored(digest * 64, "image/png", 7, f"/a/{digest}\n😀.png") for digest in "abc"]
    with (tmp_path / "listed").open("wb") as file:
        module.write_manifest(file, files)

    assert module.read_manifest(tmp_path / "listed") == {file.sha256: file for file in files}
