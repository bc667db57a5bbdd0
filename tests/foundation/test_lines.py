r"""Reading lines: ``\n`` and nothing else ends one, and offsets and bytes give the input back."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import gemini_batch
from gemini_batch.jsonl import Line, LineTooLong, LongLine, read_all_lines, read_lines, sha256_of


def lines(data: bytes, **at: int) -> list[Line]:
    return list(read_lines(io.BytesIO(data), **at))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"\n", [Line(0, 1, b"")]),
        (b"\n\n", [Line(0, 1, b""), Line(1, 2, b"")]),
        (b"a", [Line(0, 1, b"a")]),
        (b"a\n", [Line(0, 1, b"a")]),
        (b"a\nb", [Line(0, 1, b"a"), Line(2, 2, b"b")]),
        (b"a\n\n b\n", [Line(0, 1, b"a"), Line(2, 2, b""), Line(3, 3, b" b")]),
        (b"a\r\nb\r\n", [Line(0, 1, b"a\r"), Line(3, 2, b"b\r")]),
        (b"a\rb\n", [Line(0, 1, b"a\rb")]),
        (b"a\x0b\x0c\x1c\x1d\x1eb\n", [Line(0, 1, b"a\x0b\x0c\x1c\x1d\x1eb")]),
        (b"\xef\xbb\xbf{}\n", [Line(0, 1, b"\xef\xbb\xbf{}")]),
        (b"\xff\xfe\n\x00", [Line(0, 1, b"\xff\xfe"), Line(3, 2, b"\x00")]),
    ],
)
def test_lines(data: bytes, found: list[Line]) -> None:
    assert lines(data) == found


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\u0085"])
def test_line_signs_of_unicode_end_no_line(sign: str) -> None:
    text = f'{{"text":"one{sign}two"}}'
    assert len(text.splitlines()) == 2  # what a reader of text would make of it
    assert [line.data.decode() for line in lines(f"{text}\n{text}".encode())] == [text, text]


def test_place_is_counted_from_where_the_stream_stands() -> None:
    stream = io.BytesIO(b"first\nsecond\nthird")
    stream.seek(6)
    assert list(read_lines(stream, offset=6, number=2)) == [Line(6, 2, b"second"), Line(13, 3, b"third")]


@pytest.mark.parametrize("data", [b"12345", b"12345\n", b"12345\n1234"])
def test_line_as_long_as_the_limit_is_read(data: bytes) -> None:
    assert lines(data, limit=5)[0].data == b"12345"


@pytest.mark.parametrize("end", [b"", b"\n", b"x" * 1000])
def test_longer_line_is_named_and_not_read_to_its_end(end: bytes) -> None:
    stream = io.BytesIO(b"1\n22\n123456" + end)
    reader = read_lines(stream, limit=5)
    assert [next(reader).data, next(reader).data] == [b"1", b"22"]
    with pytest.raises(LineTooLong, match=r"line 3 \(at byte 5\) is longer than 5 bytes") as caught:
        next(reader)
    assert (caught.value.number, caught.value.offset) == (3, 5)
    assert stream.tell() == 11


@given(
    parts=st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"\n", b"")), max_size=8),
    limit=st.integers(1, 10),
    ended=st.booleans(),
)
def test_a_line_beyond_the_limit_costs_only_itself(parts: list[bytes], limit: int, ended: bool) -> None:
    data = b"\n".join(parts) + (b"\n" if ended and parts and parts[-1] else b"")
    found = list(read_all_lines(io.BytesIO(data), limit=limit))
    whole = lines(data)
    assert [(one.offset, one.number) for one in found] == [(line.offset, line.number) for line in whole]
    for one, line in zip(found, whole, strict=True):
        if len(line.data) > limit:
            assert one == LongLine(line.offset, line.number, len(line.data))
        else:
            assert one == line


PIECES = st.lists(st.sampled_from([b"a", b"{}", b"\n", b"\r\n", b"\r", b"\xe2\x80\xa8", b"\xc2\x85", b"\xff"]))


@given(st.one_of(st.binary(), PIECES.map(b"".join)))
@example(b"\n\r\n\r")
def test_offsets_and_bytes_give_the_input_back(data: bytes) -> None:
    found = lines(data)
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    assert all(b"\n" not in line.data for line in found)
    rebuilt = bytearray()
    for line in found:
        assert line.offset == len(rebuilt)
        assert data[line.offset : line.offset + len(line.data)] == line.data
        rebuilt += line.data + b"\n"
    assert bytes(rebuilt) == (data if data.endswith(b"\n") or not data else data + b"\n")


@given(st.binary(), st.integers(min_value=0, max_value=20))
def test_reading_may_begin_at_any_line(data: bytes, skipped: int) -> None:
    found = lines(data)
    for line in found[skipped : skipped + 1]:
        stream = io.BytesIO(data)
        stream.seek(line.offset)
        assert list(read_lines(stream, offset=line.offset, number=line.number)) == found[skipped:]


def test_a_large_file_is_read_line_by_line(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * 524_287 + b"\n")
    with path.open("rb") as file:
        tracemalloc.start()
        try:
            assert sum(len(line.data) for line in read_lines(file)) == 64 * 524_287
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < 4_000_000


@pytest.mark.parametrize("data", [b"", b"a\n", b"\x00" * 1_000_000])
def test_the_hash_of_a_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_files_are_hashed_in_one_place() -> None:
    """Each caller raises its own error; none has a helper of its own."""
    source = Path(gemini_batch.__file__).parent
    ours = [path for path in source.rglob("*.py") if "emulator" not in path.parts]
    assert [path.name for path in ours if "file_digest(" in path.read_text(encoding="utf-8")] == ["jsonl.py"]
