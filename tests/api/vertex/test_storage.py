"""Cloud Storage: every byte of an upload arrives once in its place, and what several objects hold becomes one file."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.script import BASE, KEY, Body, Script, Waits, ask, error, reset
from gemini_batch.api.files import CHUNK, SessionLost
from gemini_batch.api.vertex import storage
from gemini_batch.errors import ApiError, NetworkError, ServiceError

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.api.client import Client

URL = f"{BASE}/upload/storage/v1/b/bucket/o?uploadType=resumable&upload_id=u"
Fault = Literal["fine", "lost", "kept", "less", "503", "429", "HTML"]
FAULTS: tuple[Fault, ...] = ("fine", "lost", "kept", "less", "503", "429", "HTML")
KEPT_IN = 256 * 1024


def described(content: bytes, name: str = "folder/a.jsonl") -> dict[str, object]:
    digest = base64.b64encode(hashlib.md5(content).digest()).decode()
    return {"bucket": "bucket", "name": name, "size": str(len(content)), "md5Hash": digest}


@dataclass
class Session:
    """The service's side of one upload. ``faults``: what happens to each chunk in turn; then all goes well."""

    size: int
    faults: list[Fault] = field(default_factory=list)
    stored: bytearray = field(default_factory=bytearray)
    arrived: int = 0
    requests: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request of the upload."""
        self.requests.append(request)
        assert len(self.requests) < 500, "this upload does not end"
        assert request.method == "PUT"
        asked = request.headers["content-range"]
        if asked == "bytes */*":
            return self.answer()
        data, start = request.content, int(asked.removeprefix("bytes ").partition("-")[0])
        assert asked == f"bytes {start}-{start + len(data) - 1}/{self.size}"
        assert start + len(data) == self.size or len(data) % KEPT_IN == 0, "a chunk of a wrong size"
        fault = self.faults.pop(0) if self.faults else "fine"
        if fault == "503":
            return error(503, "UNAVAILABLE")
        if fault == "429":
            return error(429, "RESOURCE_EXHAUSTED")
        if fault == "lost":
            raise reset()
        assert start == len(self.stored), "bytes in the wrong place"
        taken = data[: len(data) // 2 // KEPT_IN * KEPT_IN] if fault == "less" else data
        self.stored += taken
        self.arrived += len(taken)
        if fault == "kept":
            raise httpx2.ReadTimeout("")
        return httpx2.Response(502, content=b"<html>Bad Gateway</html>") if fault == "HTML" else self.answer()

    def answer(self) -> httpx2.Response:
        if len(self.stored) == self.size:
            return httpx2.Response(200, json=described(bytes(self.stored)))
        headers = {"range": f"bytes=0-{len(self.stored) - 1}"} if self.stored else {}
        return httpx2.Response(308, headers=headers)


def send(session: Session, content: bytes, *, offset: int = 0) -> storage.StoredObject | None:
    def read_at(start: int, length: int) -> bytes:
        return content[start : start + length]

    async def question(client: Client) -> storage.StoredObject | None:
        return await storage.send_upload(
            client, URL, read_at, size=len(content), offset=offset, progress=lambda _: None
        )

    return ask(session, question)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(FAULTS), max_size=5), st.integers(1, 3))
def test_every_byte_arrives_once_in_its_place(faults: list[Fault], chunks: int) -> None:
    content = bytes(range(256)) * (KEPT_IN // 256) * (chunks * CHUNK // KEPT_IN - 1) + b"the end"
    session = Session(len(content), list(faults))
    send(session, content)
    assert bytes(session.stored) == content
    assert session.arrived == len(content)


def test_an_upload_goes_on_where_another_process_stopped() -> None:
    content = b"x" * (2 * KEPT_IN + 5)
    session = Session(len(content), stored=bytearray(content[:KEPT_IN]))
    assert ask(session, lambda client: storage.query_upload(client, URL)) == ("active", KEPT_IN)
    found = send(session, content, offset=KEPT_IN)
    assert found is not None
    assert (found.name, found.size) == ("folder/a.jsonl", str(len(content)))
    assert session.arrived == KEPT_IN + 5
    assert ask(session, lambda client: storage.query_upload(client, URL)) == ("final", 0)


def test_no_token_goes_with_the_bytes() -> None:
    session = Session(5)
    send(session, b"12345")
    assert all("authorization" not in one.headers and KEY not in str(one.headers) for one in session.requests)


@pytest.mark.parametrize("status", [404, 410])
def test_a_forgotten_session_begins_anew(status: int) -> None:
    script = Script(httpx2.Response(status, content=b"Not Found"))
    with pytest.raises(SessionLost):
        ask(script, lambda client: storage.query_upload(client, URL))


def test_a_session_names_its_object_and_is_used_at_this_address_only() -> None:
    script = Script(
        httpx2.Response(200, headers={"location": "https://elsewhere.example/upload/storage/v1/b?upload_id=9"})
    )
    url = ask(script, lambda client: storage.start_upload(client, "bucket", "a b/ü", size=7, mime_type="text/plain"))
    assert url == f"{BASE}/upload/storage/v1/b?upload_id=9"
    (request,) = script.requests
    assert dict(request.url.params) == {"uploadType": "resumable", "name": "a b/ü", "ifGenerationMatch": "0"}
    assert json.loads(request.content) == {"name": "a b/ü", "contentType": "text/plain"}
    assert request.headers["x-upload-content-length"] == "7"


@pytest.mark.parametrize("location", ["", f"{BASE}/upload?upload_id={KEY}"])
def test_an_address_with_the_secret_in_it_is_none(location: str) -> None:
    script = Script(httpx2.Response(200, headers={"location": location}))
    with pytest.raises(ServiceError) as caught:
        ask(script, lambda client: storage.start_upload(client, "b", "o", size=7, mime_type="text/plain"))
    assert caught.value.reason_code == "upload_refused"
    assert KEY not in str(caught.value)


@dataclass
class Bucket:
    """Objects, and after how many bytes the connection breaks, again and again.

    ``listed``: what the list says of an object besides. ``whole``: objects of which no part is served, as those that
    are stored compressed.
    """

    objects: dict[str, bytes]
    breaks: list[int] = field(default_factory=list)
    served: int = 0
    listed: dict[str, dict[str, object]] = field(default_factory=dict)
    whole: frozenset[str] = frozenset()
    generation: str = "1764230000000000"

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a list or a download."""
        if request.url.path.endswith("/o"):
            prefix = request.url.params["prefix"]
            found = [
                {**described(held, name), "generation": self.generation, **self.listed.get(name, {})}
                for name, held in self.objects.items()
                if name.startswith(prefix)
            ]
            return httpx2.Response(200, json={"items": found} if found else {})
        if request.url.params.get("generation", self.generation) != self.generation:
            return error(404, "NOT_FOUND")
        name = unquote(request.url.raw_path.decode().rpartition("/")[2].partition("?")[0])
        content, start = self.objects[name], 0
        if name not in self.whole:
            start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
            if "range" in request.headers and start >= len(content):
                return httpx2.Response(416, headers={"content-range": f"bytes */{len(content)}"}, stream=Body())
        pieces: list[bytes | Exception] = [content[start:]]
        if self.breaks:
            pieces = [content[start : start + self.breaks.pop(0)], reset()]
        self.served += sum(len(piece) for piece in pieces if isinstance(piece, bytes))
        headers = {"content-range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return httpx2.Response(206 if start else 200, headers=headers if start else {}, stream=Body(*pieces))


def fetch(bucket: Bucket, part: Path) -> tuple[int, int | None]:
    """Download; returns the size, and that which was stated at the end."""
    told: list[int | None] = []

    async def question(client: Client) -> int:
        found = await storage.listing(client, "bucket", "out/")
        return await storage.download(client, found, part, progress=lambda _, total: told.append(total))

    return ask(bucket, question, waits=Waits()), told[-1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4), st.lists(st.integers(0, 9), max_size=4))
def test_several_objects_become_one_file(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes], breaks: list[int]
) -> None:
    part = tmp_path_factory.mktemp("answers") / "raw.part"
    names = [f"out/predictions_{number}.jsonl" for number in range(len(contents))]
    bucket = Bucket({**dict(zip(reversed(names), reversed(contents), strict=True)), "other/x": b"no"}, breaks)
    size, stated = fetch(bucket, part)
    assert part.read_bytes() == b"\n".join(contents)
    assert size == stated == len(part.read_bytes())
    assert [one.name for one in part.parent.iterdir()] == ["raw.part"]


THREE = {"out/1": b"aaa", "out/2": b"bbbb", "out/3": b"cc"}
WHOLE = b"aaa\nbbbb\ncc"


def interrupted(part: Path) -> Bucket:
    """A bucket of which an earlier process has downloaded the first object, and half of the second."""
    bucket = Bucket(THREE)
    serve, asked = bucket.__call__, 0

    def serving(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        if asked == 3:
            bucket.breaks = [2, *[0] * 50]
        return serve(request)

    async def question(client: Client) -> int:
        found = await storage.listing(client, "bucket", "out/")
        return await storage.download(client, found, part, progress=lambda *_: None)

    with pytest.raises(NetworkError):
        ask(serving, question, waits=Waits())
    bucket.breaks, bucket.served = [], 0
    return bucket


def test_what_an_earlier_process_downloaded_is_kept(tmp_path: Path) -> None:
    part = tmp_path / "raw.part"
    bucket = interrupted(part)
    assert fetch(bucket, part) == (len(WHOLE), len(WHOLE))
    assert (part.read_bytes(), bucket.served) == (WHOLE, 2 + 2)


@pytest.mark.parametrize("size", [{"size": None}, {"size": "1"}, {"size": "9"}, {"size": "x"}])
def test_sizes_in_the_list_are_not_relied_on(tmp_path: Path, size: dict[str, object]) -> None:
    """So the size of the whole is not stated, and the answers are compared with what is owed."""
    part = tmp_path / "raw.part"
    assert fetch(Bucket(THREE, listed={"out/2": size}), part) == (len(WHOLE), None)
    assert part.read_bytes() == WHOLE


def test_an_object_that_is_stored_compressed(tmp_path: Path) -> None:
    """It is listed with the size of the compressed bytes, and served whole only."""
    part = tmp_path / "raw.part"
    bucket = Bucket(THREE, breaks=[9, 2], listed={"out/2": {"size": "24"}}, whole=frozenset({"out/2"}))
    assert fetch(bucket, part)[0] == len(WHOLE)
    assert part.read_bytes() == WHOLE


def test_objects_that_are_replaced_are_not_joined_with_those_before(tmp_path: Path) -> None:
    part = tmp_path / "raw.part"
    bucket = interrupted(part)
    bucket.generation, bucket.objects = "1764230000000001", {**THREE, "out/2": b"xxxx"}
    fetch(bucket, part)
    assert part.read_bytes() == b"aaa\nxxxx\ncc"
    assert [one.name for one in tmp_path.iterdir()] == ["raw.part"]


def test_an_object_that_is_replaced_after_it_was_listed_is_absent(tmp_path: Path) -> None:
    bucket = Bucket(THREE)

    async def question(client: Client) -> int:
        found = await storage.listing(client, "bucket", "out/")
        bucket.generation = "1764230000000002"
        return await storage.download(client, found, tmp_path / "raw.part", progress=lambda *_: None)

    with pytest.raises(ApiError) as caught:
        ask(bucket, question, waits=Waits())
    assert caught.value.status == 404


def test_an_absent_object_is_absent() -> None:
    gone = {"error": {"code": 404, "message": "No such object", "errors": [{"reason": "notFound"}]}}
    with pytest.raises(ApiError) as caught:
        ask(Script(httpx2.Response(404, json=gone)), lambda client: storage.get(client, "bucket", "a"))
    assert caught.value.reason == "NOT_FOUND"
