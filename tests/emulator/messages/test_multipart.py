"""Bodies of several parts: the same parts however they arrive, and a clear word where there are none."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_batch.emulator.messages.multipart import BadMultipart, Multipart, Part, boundary_of

BOUNDARY = b"a b'()+_,-./:=?Z9"
#: Bytes that come near a delimiter, and any others.
NEAR = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b"--", b"-", BOUNDARY, BOUNDARY[:-1], b"\r\n--" + BOUNDARY[:-1], b"\0x"])
    | st.binary(max_size=20),
    max_size=12,
).map(b"".join)


def parsed(body: bytes, cuts: list[int], boundary: bytes = BOUNDARY) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a body that arrives in pieces, cut at these places."""
    parser = Multipart(boundary)
    parts: list[tuple[dict[str, str], bytearray]] = []
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, end in itertools.pairwise(places):
        for found in parser.feed(body[start:end]):
            if isinstance(found, Part):
                parts.append((dict(found.headers), bytearray()))
            else:
                parts[-1][1].extend(found)
    parser.close()
    return [(headers, bytes(data)) for headers, data in parts]


def written(parts: list[bytes], *, padding: bytes = b"") -> bytes:
    body = b"".join(
        b"\r\n--" + BOUNDARY + padding + b"\r\nContent-Type: text/x%d\r\n\r\n" % number + data
        for number, data in enumerate(parts)
    )
    return body[2:] + b"\r\n--" + BOUNDARY + b"--"


@given(
    parts=st.lists(NEAR.filter(lambda data: b"\r\n--" + BOUNDARY not in b"\r\n" + data), min_size=1, max_size=3),
    padding=st.sampled_from([b"", b" ", b"\t \t"]),
    around=st.booleans(),
    cuts=st.lists(st.integers(0, 600), max_size=40),
)
def test_parts_are_what_was_written(parts: list[bytes], padding: bytes, around: bool, cuts: list[int]) -> None:
    """Byte for byte, wherever the body is cut, with or without text before and after it."""
    body = written(parts, padding=padding)
    if around:
        body = b"to be ignored\r\n" + body + b"\r\nand this, \r\n--" + BOUNDARY
    expected = [({"content-type": f"text/x{number}"}, data) for number, data in enumerate(parts)]
    assert parsed(body, cuts) == expected
    assert parsed(body, list(range(len(body)))) == expected


@given(data=st.binary(max_size=300) | NEAR, cuts=st.lists(st.integers(0, 300), max_size=10))
def test_any_bytes_are_read_or_refused(data: bytes, cuts: list[int]) -> None:
    try:
        whole: object = parsed(data, [])
    except BadMultipart as error:
        whole = str(error)
    try:
        pieces: object = parsed(data, cuts)
    except BadMultipart as error:
        pieces = str(error)
    assert whole == pieces


def test_a_longer_line_that_begins_like_the_delimiter_is_data() -> None:
    data = b"x\r\n--" + BOUNDARY + b"0\r\n--" + BOUNDARY + b"-\r\ny"
    assert parsed(written([data]), []) == [({"content-type": "text/x0"}, data)]


def test_parts_without_headers_and_without_bytes() -> None:
    assert parsed(b"--b\r\n\r\nx\r\n--b\r\n\r\n\r\n--b\r\nA: 1\r\n\r\n--b--", [], b"b") == [
        ({}, b"x"),
        ({}, b""),
        ({"a": "1"}, b""),
    ]


def test_a_large_part_is_not_held() -> None:
    """What the parser keeps does not grow with the part."""
    parser = Multipart(b"b")
    list(parser.feed(b"--b\r\n\r\n"))
    sent = sum(len(found) for _ in range(64) for found in parser.feed(bytes(1 << 16)) if isinstance(found, bytes))
    assert (64 << 16) - sent < 16


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no line with the boundary"),
        (b"{}", "no line with the boundary"),
        (b"--other\r\n\r\nx\r\n--other--", "no line with the boundary"),
        (b"--b\n\nx\n--b--\n", "no line with the boundary"),
        (b"--b", "no line with the boundary"),
        (b"--b\r\n\r\nx", "ends before its last delimiter"),
        (b"--b\r\n\r\nx\r\n--b\r\n\r\n", "ends before its last delimiter"),
        (b"--b\r\nContent-Type", "ends before its last delimiter"),
        (b"--b\r\n{}\r\n\r\nx\r\n--b--", "a header without a colon"),
        (b"--b\r\n: x\r\n\r\nx\r\n--b--", "a header without a colon"),
        (b"--b\r\nA: " + b"x" * 20_000 + b"\r\n\r\n\r\n--b--", "longer than 16384 bytes"),
        (b"--b\r\nA: " + b"x" * 20_000, "longer than 16384 bytes"),
    ],
)
def test_what_is_wrong_is_said(body: bytes, words: str) -> None:
    with pytest.raises(BadMultipart, match=words):
        parsed(body, [], b"b")


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/related; boundary=abc", b"abc"),
        ("Multipart/Related;BOUNDARY=abc; type=x", b"abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b;c"', b"a b;c"),
        (r'multipart/related; boundary="a\-b"', b"a-b"),
        ("multipart/related; boundary = =====1==", b"=====1=="),
        ("multipart/related; boundary=" + "x" * 70, b"x" * 70),
    ],
)
def test_boundaries(header: str, boundary: bytes) -> None:
    if ";c" in header:  # a semicolon is no character of a boundary, even in quotes
        with pytest.raises(BadMultipart, match="not valid"):
            boundary_of(header)
    else:
        assert boundary_of(header) == boundary


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("", "missing"),
        ("application/json", "application/json, not multipart/related"),
        ("multipart/mixed; boundary=x", "multipart/mixed, not"),
        ("multipart/related", "no boundary"),
        ("multipart/related; boundary=", "no boundary"),
        ('multipart/related; boundary=""', "not valid"),
        ("multipart/related; boundary=" + "x" * 71, "not valid"),
        ('multipart/related; boundary="x "', "not valid"),
        ("multipart/related; boundary=ä", "not valid"),
    ],
)
def test_no_boundary(header: str, words: str) -> None:
    with pytest.raises(BadMultipart, match=words):
        boundary_of(header)
