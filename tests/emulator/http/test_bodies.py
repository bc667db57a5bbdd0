"""Compressed bodies: read within the limit of plain ones, or refused by name."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import TYPE_CHECKING

import pytest

from emulator.conftest import MODEL, Api, line

if TYPE_CHECKING:
    import httpx2

ASKED = json.dumps({"contents": [{"parts": [{"text": "hello"}]}]}).encode()
GENERATE = f"/v1beta/models/{MODEL}:generateContent"


def packed(data: bytes, level: int = 9) -> bytes:
    return gzip.compress(data, compresslevel=level, mtime=0)


def post(api: Api, data: bytes, coding: str, path: str = GENERATE) -> httpx2.Response:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    return api.http.post(path, content=data, headers=headers)


def said(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        pytest.param("gzip", packed(ASKED), id="one member"),
        ("GZIP", packed(ASKED)),
        ("x-gzip", packed(ASKED)),
        ("identity, gzip", packed(ASKED)),
        pytest.param("gzip", packed(ASKED[:5]) + packed(ASKED[5:]), id="two members"),
        ("identity", ASKED),
        ("", ASKED),
    ],
)
def test_what_is_read(world: Api, coding: str, data: bytes) -> None:
    """The answer is that to the plain body."""
    plain = world.http.post(GENERATE, content=ASKED).json()
    answer = post(world, data, coding)
    assert answer.status_code == 200, answer.text
    assert answer.json()["candidates"] == plain["candidates"]


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "compress", "gzip, br", "gzip, gzip", "x" * 500])
def test_other_codings_are_refused_by_name(world: Api, coding: str) -> None:
    answer = post(world, zlib.compress(ASKED), coding)
    status, message = said(answer)
    assert status == 415
    assert coding[:100] in message
    assert len(message) < 400
    assert answer.headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (ASKED, "cannot be inflated"),
        (b"", "ends too early"),
        (packed(ASKED)[:-9], "ends too early"),
        (packed(ASKED) + b"more", "cannot be inflated"),
        (packed(ASKED)[:-8] + bytes(8), "cannot be inflated"),
        (packed(b"") * 101, "more than 100 gzip members"),
    ],
)
def test_what_is_not_gzip(world: Api, data: bytes, words: str) -> None:
    status, message = said(post(world, data, "gzip"))
    assert status == 400
    assert words in message


def test_a_bomb_is_refused_at_the_limit_of_plain_bodies(world: Api) -> None:
    """Whether a body is too large as it is sent, or only inflated; any operation that takes JSON."""
    world.world.limits.change(inline=100_000)
    fits = b'{"contents":[{"parts":[{"text":"' + b"x" * 99_900 + b'"}]}]}'
    assert post(world, packed(fits), "gzip").status_code == 200
    assert said(post(world, packed(fits + b" " * 100), "gzip")) == (
        400,
        "Request payload size exceeds the limit: 100000 bytes.",
    )
    bomb = packed(bytes(300_000_000), level=1)
    world.world.limits.change(inline=len(bomb))
    expected = (400, f"Request payload size exceeds the limit: {len(bomb)} bytes.")
    tracemalloc.start()
    try:
        assert said(post(world, bomb, "gzip")) == expected
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()
    for path in ("/v1/files", "/v1/models/x:batchGenerateContent", "/v1/batches/x:cancel"):
        assert said(post(world, bomb, "gzip", path)) == expected
        assert said(world.http.post(path, content=b" " * (len(bomb) + 1))) == expected
        assert said(post(world, b" " * (len(bomb) + 1), "gzip", path)) == expected


def test_a_compressed_batch(world: Api) -> None:
    """A job with its requests inline, as a large body that clients compress."""
    requests = [{"request": json.loads(line("k"))["request"], "metadata": {"key": str(n)}} for n in range(50)]
    body = {"batch": {"inputConfig": {"requests": {"requests": requests}}}}
    made = post(world, packed(json.dumps(body).encode()), "gzip", f"/v1/models/{MODEL}:batchGenerateContent")
    assert made.json()["metadata"]["batchStats"]["requestCount"] == "50"


def test_the_emulators_own_routes_read_gzip_too(world: Api) -> None:
    assert post(world, packed(b'{"advance": 1}'), "gzip", "/emulator/clock").status_code == 200
