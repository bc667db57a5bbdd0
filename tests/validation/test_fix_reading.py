"""The values of a file, whatever separates them; what is no JSON comes as it stands."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch import jsonl
from gemini_batch.jsonl import LineTooLong
from gemini_batch.validation.fixing import splitting
from gemini_batch.validation.fixing.reading import rows
from gemini_batch.validation.fixing.splitting import Splitter

if TYPE_CHECKING:
    from typing import IO

A, B = b'{"key":"a","t":"\\n, ]}[{\\" \xe2\x80\xa8"}', b'{"key":"b","n":[{}, 1.10]}'
LOOSE = b'{\n  "key": "a",\n  "list": [\n    {"x": 1},\n    2\n  ]\n}'
FLAT = b'{ "key": "a", "list": [ {"x": 1}, 2 ] }'


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(row.number, row.data) for row in rows(io.BytesIO(data)) if row.data]


def changes(data: bytes) -> set[str]:
    return {change for row in rows(io.BytesIO(data)) for change in row.changes}


@pytest.mark.parametrize(
    ("data", "found", "said"),
    [
        (A + b"\n" + B + b"\n", [(1, A), (2, B)], None),
        (A + b"\n" + B, [(1, A), (2, B)], None),
        (b"\xef\xbb\xbf" + A + b"\n" + B, [(1, A), (2, B)], "byte order marks"),
        (A + b"\n\xef\xbb\xbf" + B, [(1, A), (2, B)], "byte order marks"),
        (A + b"\r\n" + B + b"\r\n", [(1, A), (2, B)], "line ends of Windows"),
        (A + b"\r" + B + b"\r", [(1, A), (2, B)], "carriage returns"),
        (b"\n \n" + A + b"\n\r\n" + B, [(3, A), (5, B)], "empty lines"),
        (b"  " + A + b" \t\n" + B, [(1, A), (2, B)], "white space"),
        (A + b",\n" + B + b",\n", [(1, A), (2, B)], "removed commas between objects"),
        (b"," + A + b"\n," + B, [(1, A), (2, B)], "removed commas between objects"),
        (A + B, [(1, A), (1, B)], "each object on its own line"),
        (A + b", " + B, [(1, A), (1, B)], "removed commas between objects"),
        (A + b"\\n" + B + b"\\n", [(1, A), (1, B)], "`\\n` in letters"),
        (A + b"\xe2\x80\xa8" + B, [(1, A), (1, B)], "Unicode line separators"),
        (b"# made by hand\n" + A + b"\n// two\n" + B, [(2, A), (4, B)], "comments"),
        (b'{"key": "a", "l": [1, 2, ], }\n' + B, [(1, b'{"key": "a", "l": [1, 2 ] }'), (2, B)], "before closing"),
        (b"{'key': 'a', 'x': None, 'y': [1.5, \"it's\"]}\n", [(1, b'{"key":"a","x":null,"y":[1.5,"it\'s"]}')],
         "printed Python"),
        (LOOSE + b"\n" + B, [(1, FLAT), (8, B)], "several lines"),
        (LOOSE.replace(b"\n", b"\r\n") + b",\r\n" + LOOSE, [(1, FLAT), (8, FLAT)], "several lines"),
        (b"[" + A + b"," + B + b"]", [(1, A), (1, B)], "JSON array"),
        (b"\xef\xbb\xbf\n[\n" + A + b",\n\n" + B + b"\n]\n", [(3, A), (5, B)], "JSON array"),
        (b"[" + LOOSE + b",\n" + B + b"]", [(1, b'{   "key": "a",   "list": [     {"x": 1},     2   ] }'), (8, B)],
         "JSON array"),
        (b"[" + A + b"]\n[" + B + b"]\n" + A, [(1, A), (2, B), (3, A)], "JSON array"),
        (b"[" + A + b",]", [(1, A)], "JSON array"),
        (b"[" + A, [(1, A)], "JSON array"),
    ],
)  # fmt: skip
def test_what_separates_objects(data: bytes, found: list[tuple[int, bytes]], said: str | None) -> None:
    """Each object comes on a line of its own, with the line on which it begins; the change is named."""
    assert read(data) == found
    assert [change for change in changes(data) if said and said in change] or (said is None and not changes(data))


@pytest.mark.parametrize(
    "data",
    [
        b'{"key": "a", "request": {"con\n' + B,
        b"{\n" + B + b"\n" + B,
        b'{"key": "a",\n' + B,
        b'{"key": NaN}\n' + B,
        b'{"key": "\\ud83d"}\n' + B,
        b'{"key": "\xff"}\n' + B,
        b"hello, world\n" + B,
        b"{'key': {1, 2}}\n" + B,
        b"{'key': 1e999}\n" + B,
        b"}\n" + B,
        b"{" * 5000 + b"\n" + B,
    ],
)
def test_a_broken_line_costs_only_itself(data: bytes) -> None:
    """It stays as it is, in its place; nothing of it is guessed."""
    assert read(data) == list(enumerate(data.split(b"\n"), 1))
    assert changes(data) == set()


def test_lines_after_a_cut_are_not_read_again() -> None:
    """The next object of a file in which all are cut off is found at once, not at its end."""

    class Lines(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            self.longest = max(self.longest, self.tell() - self.done)
            return line

        done = 0

    source = Lines(b'{"key": [\n' * 1000)
    for row in rows(source):
        source.done += len(row.data) + 1
    assert source.longest == 20


def test_an_escape_at_the_end_of_a_chunk() -> None:
    """What follows it, in the next chunk, is not the end of the string."""
    text = b'{"a": "\\"} x"}'
    assert [piece.data for piece in Splitter(Slow(text, 8))] == [text]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[1, {\"a\": }, " + B + b"]", [(1, b"1"), (1, b'{"a": }'), (1, B)]),
        (b'[{"a":\n"x' + b"\n" + B + b"]", [(1, b'{"a": "x ' + B + b"]")]),
        (b"[]", []),
        (b"[\n]\n", []),
    ],
)  # fmt: skip
def test_a_broken_array(data: bytes, found: list[tuple[int, bytes]]) -> None:
    """What is no JSON is one line of the copy, where it stood."""
    assert read(data) == found


objects = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
values = st.dictionaries(st.text(max_size=4), objects, max_size=3)
between = st.lists(
    st.sampled_from([b"\n", b" ", b",", b"\\n", b"\r\n", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85"]),
    min_size=1,
    max_size=4,
).map(b"".join)


class Slow(io.BytesIO):
    """Gives at most so many bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self.most = most

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(self.most, self.most if size is None or size < 0 else size))


@given(st.lists(st.tuples(values, between), max_size=6), st.integers(1, 7), st.booleans(), st.booleans())
def test_any_values_in_chunks_of_any_size(
    made: list[tuple[dict[str, Any], bytes]], most: int, array: bool, plain: bool
) -> None:
    """Every value comes as it was written, in order."""
    texts = [json.dumps(value, ensure_ascii=plain, indent=2 if array else None).encode() for value, _ in made]
    data = b"".join(text + gap for text, (_, gap) in zip(texts, made, strict=True))
    found = list(Splitter(Slow(b"[" + data + b"]" if array else data, most)))
    assert [piece.data for piece in found] == texts


def test_lines_of_an_array_are_counted_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "_CHUNK", 5)
    data = b"[\n" + b",\r\n".join([A, LOOSE, B]) + b"\n]"
    assert [piece.number for piece in Splitter(io.BytesIO(data))] == [2, 3, 10]


class Endless(io.RawIOBase):
    """An array of so many elements, made as it is read; remembers how far it was read."""

    def __init__(self, elements: int) -> None:
        self.left, self.buffer = elements, b"["

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while self.left and len(self.buffer) < size:
            self.buffer += A + b",\n"
            self.left -= 1
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data


def test_an_array_is_not_held_in_memory() -> None:
    """The buffer holds a chunk and a value, however long the array is."""
    source: IO[bytes] = Endless(200_000)  # type: ignore[assignment]
    splitter = Splitter(source)
    longest = count = 0
    for _ in splitter:
        longest = max(longest, len(splitter._buffer))
        count += 1
    assert count == 200_000
    assert longest < 3 * splitting._CHUNK


@pytest.mark.parametrize("data", [b"[" + A[:-1], A[:-1] + b"\n" + B, b'["' + b"x" * 100])
def test_a_value_beyond_the_limit_ends_the_reading(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """With the line on which it begins; memory is not filled with the rest of a file."""
    monkeypatch.setattr(jsonl, "MAX_LINE", 20)
    monkeypatch.setattr(splitting, "_CHUNK", 8)
    with pytest.raises(LineTooLong) as caught:
        list(rows(io.BytesIO(data)))
    assert caught.value.number == 1
