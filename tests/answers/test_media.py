"""Pictures and sound: into files named by their key, out of the lines, with nothing else changed."""

from __future__ import annotations

import base64
import binascii
import io
import json
import wave
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.answers.inline_data import BlobState, bytes_of, state_of
from gemini_batch.answers.media import MediaWriter, file_stem
from gemini_batch.answers.media_folder import MANIFEST
from gemini_batch.answers.result_line import result_line
from gemini_batch.catalog import Method

PNG = b"\x89PNG\r\n\x1a\nrest"


def blob(data: bytes = PNG, mime: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}, **more}


def body(*parts: Any) -> bytes:
    candidate = {"content": {"parts": list(parts), "role": "model"}, "finishReason": "STOP"}
    return json.dumps({"candidates": [candidate], "modelVersion": "m"}).encode()


def moved(writer: MediaWriter, response: bytes, key: str = "a") -> tuple[list[Any], list[str]]:
    data, paths = writer.move_out(key, response)
    return json.loads(data)["candidates"][0]["content"]["parts"], paths


def names(folder: Path) -> list[str]:
    """What a folder holds, besides the manifest."""
    return sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)


def test_a_picture_becomes_a_file_and_its_path(tmp_path: Path) -> None:
    folder = tmp_path / "media" / "new"
    writer = MediaWriter(folder)
    parts, paths = moved(writer, body({"text": "Here."}, blob()))
    assert paths == [f"{folder}/a.png"]
    assert parts == [{"text": "Here."}, {"inlineData": {"mimeType": "image/png", "file": f"{folder}/a.png"}}]
    assert (folder / "a.png").read_bytes() == PNG
    assert names(folder) == ["a.png"]
    assert writer.files == 1


def test_the_path_is_as_the_folder_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert moved(MediaWriter(Path("out")), body(blob()))[1] == ["out/a.png"]
    assert (tmp_path / "out" / "a.png").exists()


def test_all_else_in_the_response_stays_as_it_is(tmp_path: Path) -> None:
    part = blob(thoughtSignature="c2ln", partMetadata={"n": 1.50})
    response = body(part, {"functionCall": {"name": "f"}}).replace(b"1.5", b"1.50").replace(b'"m"', b"1e5")
    data, _ = MediaWriter(tmp_path).move_out("a", response)
    assert b'"partMetadata":{"n": 1.50}' in data
    assert b'"modelVersion":1e5' in data
    shown, before = json.loads(data), json.loads(response)
    assert shown["candidates"][0]["content"]["parts"][0]["inlineData"].pop("file")
    assert before["candidates"][0]["content"]["parts"][0]["inlineData"].pop("data")
    assert shown == before


def test_further_parts_and_candidates_are_numbered(tmp_path: Path) -> None:
    candidate = {"content": {"parts": [blob(), blob(b"jpeg", "image/jpeg")]}}
    response = json.dumps({"candidates": [candidate, {"finishReason": "STOP"}, candidate]}).encode()
    _, paths = MediaWriter(tmp_path).move_out("a", response)
    assert [Path(path).name for path in paths] == ["a.png", "a~2.jpg", "a~3.png", "a~4.jpg"]
    assert len(names(tmp_path)) == 4


def test_drafts_are_kept_but_are_not_the_answer(tmp_path: Path) -> None:
    parts, paths = moved(MediaWriter(tmp_path), body(blob(b"1", thought=True), blob(b"2", thought=True), blob()))
    assert [Path(path).name for path in paths] == ["a.png"]
    names = [Path(part["inlineData"]["file"]).name for part in parts]
    assert names == ["a~draft.png", "a~draft2.png", "a.png"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"1", b"2", PNG]


@pytest.mark.parametrize(
    ("mime", "ending"),
    [
        ("image/png", "png"),
        ("image/jpeg", "jpg"),
        ("IMAGE/WEBP", "webp"),
        ("image/svg+xml", "svg"),
        ("audio/wav", "wav"),
        ("audio/mpeg", "mp3"),
        ("video/mp4", "mp4"),
        ("application/x-new", "bin"),
        ("../../etc", "bin"),
        ("", "bin"),
    ],
)
def test_the_ending_is_that_of_the_mime_type(tmp_path: Path, mime: str, ending: str) -> None:
    _, paths = moved(MediaWriter(tmp_path), body(blob(mime=mime)))
    assert paths == [f"{tmp_path}/a.{ending}"]
    assert (tmp_path / f"a.{ending}").read_bytes() == PNG


@pytest.mark.parametrize(
    ("mime", "rate", "channels"),
    [
        ("audio/L16;codec=pcm;rate=24000", 24000, 1),
        ("audio/L16; rate=16000; channels=2", 16000, 2),
        ('audio/pcm;rate="8000"', 8000, 1),
        ("audio/l16", 24000, 1),
        ("audio/L16;rate=0;channels=0", 24000, 1),
        ("audio/L16;rate=99999999999999", 24000, 1),
    ],
)
def test_bare_pcm_gets_a_header(tmp_path: Path, mime: str, rate: int, channels: int) -> None:
    pcm = bytes(range(200))
    _, paths = moved(MediaWriter(tmp_path), body(blob(pcm, mime)))
    assert paths == [f"{tmp_path}/a.wav"]
    with wave.open(io.BytesIO((tmp_path / "a.wav").read_bytes())) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (rate, channels, 2)
        assert sound.readframes(10**6) == pcm


@pytest.mark.parametrize("data", ["iVBOR-_0KGgo", "iVBOR+/0KGgo"])
def test_both_alphabets_of_base64_are_read(tmp_path: Path, data: str) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": data}}
    assert moved(MediaWriter(tmp_path), body(part))[1]
    assert (tmp_path / "a.png").read_bytes() == base64.b64decode("iVBOR+/0KGgo")


def test_missing_padding_is_no_fault(tmp_path: Path) -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(b"four").decode().rstrip("=")}}
    assert moved(MediaWriter(tmp_path), body(part))[1]
    assert (tmp_path / "a.png").read_bytes() == b"four"


@pytest.mark.parametrize("mime", [7, None, ["image/png"]])
def test_a_mime_type_that_is_no_text_hides_no_picture(tmp_path: Path, mime: Any) -> None:
    part = {"inlineData": {"mimeType": mime, "data": base64.b64encode(PNG).decode()}}
    parts, paths = moved(MediaWriter(tmp_path), body(part))
    assert paths == [f"{tmp_path}/a.bin"]
    assert parts == [{"inlineData": {"mimeType": mime, "file": f"{tmp_path}/a.bin"}}]


@pytest.mark.parametrize("data", ["", "%%%%", "AAAA AAAA", "A", "ä", "AA=A"])
def test_broken_base64_is_left_in_place(tmp_path: Path, data: str) -> None:
    writer = MediaWriter(tmp_path / "media")
    part = {"inlineData": {"mimeType": "image/png", "data": data}}
    assert moved(writer, body(part)) == ([part], [])
    assert not (tmp_path / "media").exists()


BASE64 = st.text("Aa9+/-_", max_size=12)


ENDS = st.sampled_from(["", "=", "==", "===", " ", "ä", "\\", "=A", "\x00"])


@given(st.builds("{}{}{}".format, BASE64, ENDS, BASE64))
def test_what_is_judged_readable_is_what_is_written(data: str) -> None:
    """The judge and the writer agree on every text, so that no success is without its file."""
    raw = msgspec.Raw(json.dumps({"data": data}).encode())
    try:
        bytes_of(data)
    except binascii.Error:
        assert state_of(raw) in {BlobState.EMPTY, BlobState.BROKEN}
    else:
        assert state_of(raw) is BlobState.WHOLE


@pytest.mark.parametrize(
    "response",
    [
        b'{"inlineData":1}',
        b'{"candidates":"inlineData"}',
        b'{"candidates":[{"content":{"parts":{"inlineData":{}}}}]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png"}}]}}]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":"x"},7,null]}},3]}',
        b'{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":7}}]}}]}',
        b'["inlineData"]',
    ],
)
def test_odd_shapes_are_left_as_they_are(tmp_path: Path, response: bytes) -> None:
    data, paths = MediaWriter(tmp_path).move_out("a", response)
    assert json.loads(data) == json.loads(response)
    assert paths == []
    assert not list(tmp_path.iterdir())


def test_the_same_export_again_gives_the_same_files(tmp_path: Path) -> None:
    first = MediaWriter(tmp_path).move_out("Key: 1", body(blob(), blob()))
    (tmp_path / "stranger").write_bytes(b"")
    again = MediaWriter(tmp_path).move_out("Key: 1", body(blob(), blob()))
    assert first == again
    assert len(names(tmp_path)) == 3


@pytest.mark.parametrize("key", ["a", "blog-0", "row_1.x", "0", "a" * 80, "2024-01-01"])
def test_a_plain_key_is_its_own_name(key: str) -> None:
    assert file_stem(key) == key


@pytest.mark.parametrize(
    ("key", "slug"),
    [
        ("../../etc/passwd", "etc-passwd-"),
        ("/abs", "abs-"),
        ("A", "a-"),
        ("a b", "a-b-"),
        ("a.", "a-"),
        ("a\n", "a-"),
        (".hidden", "hidden-"),
        ("con", "con-"),
        ("nul.txt", "nul-txt-"),
        ("com1", "com1-"),
        ("a~2", "a-2-"),
        ("商品", "row-"),
        ("a" * 81, "a" * 40 + "-"),
        ("C:\\x", "c-x-"),
        ("a\x00b", "a-b-"),
    ],
)
def test_any_other_key_becomes_a_slug_and_a_hash(key: str, slug: str) -> None:
    stem = file_stem(key)
    assert stem.startswith(slug)
    assert len(stem) == len(slug) + 16


@given(st.lists(st.text(min_size=1) | st.from_regex(r"[a-z0-9._~-]{1,5}", fullmatch=True), unique=True, max_size=20))
def test_no_two_keys_share_a_name_and_none_leaves_the_folder(keys: list[str]) -> None:
    stems = [file_stem(key) for key in keys]
    assert len({stem.casefold() for stem in stems}) == len(keys)
    for stem in stems:
        assert Path(stem).name == stem
        assert stem not in {".", ".."}
        assert stem.isascii()
        assert len(stem) <= 80


def test_result_lines_name_the_files(tmp_path: Path) -> None:
    writer = MediaWriter(tmp_path)

    def shown(response: bytes) -> Any:
        return json.loads(
            result_line("a", "succeeded", response=response, method=Method.GENERATE, attempt=1, media=writer)
        )["response"]

    with_picture = shown(body({"text": "Here."}, blob()))
    assert list(with_picture)[-2:] == ["text", "media"]
    assert with_picture["text"] == "Here."
    assert with_picture["media"] == [f"{tmp_path}/a.png"]
    assert shown(body({"text": "Here."}))["media"] == []
    assert shown(b'{"media":["old"],"a":1}') == {"a": 1, "text": None, "media": []}


def test_a_full_disk_is_the_callers_to_tell(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        MediaWriter(tmp_path / "file").move_out("a", body(blob()))
