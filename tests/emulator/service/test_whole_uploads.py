"""Files in one request: multipart, raw, and start, upload, finalize at once. The checks are those of any upload."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import tracemalloc
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.conftest import Api, line
from gemini_batch.emulator.http.admin import arm
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = bytes(range(256)) * 4096
PATH = "/upload/v1beta/files"
BOUNDARY = "----GeminiBoundary5f"


class Sent(NamedTuple):
    """One request: query, headers, body."""

    query: str
    headers: dict[str, str]
    body: bytes


def related(
    data: bytes, mime_type: str | None = "text/plain", boundary: str = BOUNDARY, protocol: str = "", **file: Any
) -> Sent:
    """As scripts write it by hand: a JSON part, then the bytes."""
    kind = f"Content-Type: {mime_type}\r\n" if mime_type else ""
    body = (
        f"--{boundary}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n{json.dumps({'file': file})}\r\n"
        f"--{boundary}\r\n{kind}\r\n"
    ).encode() + data
    headers = {"Content-Type": f'multipart/related; boundary="{boundary}"', "X-Goog-Upload-Protocol": "multipart"}
    if protocol:
        del headers["X-Goog-Upload-Protocol"]
    return Sent(protocol, headers, body + f"\r\n--{boundary}--\r\n".encode())


def form(data: bytes, mime_type: str | None = "text/plain", **file: Any) -> Sent:
    """As gateways send it: a form with the fields `metadata` and `file`."""
    kind = f"Content-Type: {mime_type}\r\n" if mime_type else ""
    body = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="metadata"\r\n\r\n{json.dumps({"file": file})}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n{kind}\r\n'
    ).encode() + data
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "X-Goog-Upload-Protocol": "multipart"}
    return Sent("", headers, body + f"\r\n--{BOUNDARY}--\r\n".encode())


def by_query(data: bytes, mime_type: str | None = "text/plain", **file: Any) -> Sent:
    """The protocol is in the query, as Google's older clients have it."""
    return related(data, mime_type, protocol="uploadType=multipart&", **file)


def raw(data: bytes, mime_type: str | None = "text/plain", **file: Any) -> Sent:
    """The body is the file; the query describes it."""
    query = "".join(f"file.{name}={value}&" for name, value in file.items())
    kind = {"Content-Type": mime_type} if mime_type else {}
    return Sent(query, {"X-Goog-Upload-Protocol": "raw", **kind}, data)


def media(data: bytes, mime_type: str | None = "text/plain", **file: Any) -> Sent:
    """Raw, by its name in the query."""
    sent = raw(data, mime_type, **file)
    return Sent(f"{sent.query}uploadType=media&", {k: v for k, v in sent.headers.items() if "Upload" not in k}, data)


def at_once(data: bytes, mime_type: str | None = "text/plain", **file: Any) -> Sent:
    """The resumable protocol's three commands in one request."""
    query = "".join(f"file.{name}={value}&" for name, value in file.items())
    headers = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start, upload, finalize",
        "X-Goog-Upload-Header-Content-Length": str(len(data)),
        "X-Goog-Upload-Offset": "0",
        "Content-Type": "application/octet-stream",
    }
    if mime_type:
        headers["X-Goog-Upload-Header-Content-Type"] = mime_type
    return Sent(query, headers, data)


WAYS = (related, form, by_query, raw, media, at_once)
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))


def send(api: Api, sent: Sent, path: str = PATH, **headers: str) -> httpx2.Response:
    return api.http.post(f"{path}?{sent.query}", headers={**sent.headers, **headers}, content=sent.body)


def kept(api: Api) -> list[str]:
    """What an upload can leave behind: files, blobs, uploads that could go on."""
    found = api.http.get("/v1/files").json().get("files", [])
    going = api.world.store.rows("SELECT id FROM uploads WHERE state = 'active'")
    return [*found, *(path.name for path in api.world.store.blobs.iterdir()), *map(str, going)]


def left(api: Api) -> list[str]:
    """What a broken connection leaves behind, once the emulator has noticed the break."""
    found = kept(api)
    for _ in range(1000):
        if not found:
            break
        found = kept(api)
    return found


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


@each_way
@pytest.mark.parametrize("data", [DATA, b"", b"\r\n", b"\r\n--", b"--", f"\r\n--{BOUNDARY[:-1]}\r\n".encode() * 3])
def test_the_file_is_what_was_sent(world: Api, way: Any, data: bytes) -> None:
    """Byte for byte, with its description; the answer is final, and the same as that of the file's own address."""
    answer = send(world, way(data, name="files/my-own", displayName="mine"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Goog-Upload-Status"] == "final"
    file = answer.json()["file"]
    assert (file["name"], file["displayName"], file["mimeType"]) == ("files/my-own", "mine", "text/plain")
    assert base64.b64decode(file["sha256Hash"]).decode() == hashlib.sha256(data).hexdigest()
    assert int(file.get("sizeBytes", 0)) == len(data)
    assert world.http.get("/v1/files/my-own").json() == file
    (blob,) = world.world.store.blobs.iterdir()
    assert blob.read_bytes() == data
    (upload,) = world.http.get("/emulator/accounting").json()["uploads"]
    assert (upload["receivedBytes"], upload["sentBytes"], upload["state"]) == (len(data), len(data), "final")


@each_way
def test_a_job_from_it(world: Api, way: Any) -> None:
    name = send(world, way(line("a") + b"\n" + line("b"), "application/jsonl")).json()["file"]["name"]
    made = world.http.post(
        "/v1/models/gemini-3.8-flash:batchGenerateContent", json={"batch": {"inputConfig": {"fileName": name}}}
    ).json()
    assert [row["key"] for row in world.results(made["name"])] == ["a", "b"]


@each_way
def test_without_a_type(world: Api, way: Any) -> None:
    """A file without one is bytes, as with the resumable protocol."""
    mime_type = send(world, way(b"x", None)).json()["file"]["mimeType"]
    assert mime_type == "application/octet-stream"


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
    # name: keywords of the way, quotas, status, words
    "type": ({"mime_type": "bad/mime_type"}, {}, 400, "Unsupported MIME type: bad/mime_type"),
    "id": ({"name": "files/-x"}, {}, 400, "no dash at its ends"),
    "long id": ({"name": "files/" + "x" * 41}, {}, 400, "more than 40 characters"),
    "display name": ({"displayName": "x" * 513}, {}, 400, "at most 512 characters"),
    "size": ({}, {"file": 999}, 400, "larger than 999 bytes"),
    "storage": ({}, {"storage": 999}, 429, "file_storage_bytes, limit: 999"),
}


@each_way
@pytest.mark.parametrize("why", REFUSED)
def test_the_checks_are_those_of_any_upload(world: Api, way: Any, why: str) -> None:
    """Refused, with nothing left."""
    named, quotas, status, words = REFUSED[why]
    world.world.limits.change(**quotas)
    found, said = error_of(send(world, way(bytes(1000), **named)))
    assert found == status
    assert words in said
    assert kept(world) == []
    world.world.limits.reset()
    assert send(world, way(b"x")).status_code == 200


@each_way
def test_an_id_is_taken_once(world: Api, way: Any) -> None:
    assert send(world, way(b"x", name="files/mine")).status_code == 200
    assert send(world, way(b"y", name="files/mine")).status_code == 409
    assert len(kept(world)) == 2  # the first one, and its blob


@each_way
def test_a_key_is_needed(world: Api, way: Any) -> None:
    """Unlike chunks, whose address is the secret."""
    sent = way(b"x")
    answer = httpx2.post(f"{world.http.base_url}{PATH}?{sent.query}", headers=sent.headers, content=sent.body)
    assert answer.status_code == 403
    assert kept(world) == []


@each_way
@pytest.mark.parametrize("coding", ["gzip", "br"])
def test_bytes_are_not_compressed(world: Api, way: Any, coding: str) -> None:
    """They would be stored as they came; so it is refused, by name, as in a chunk."""
    status, said = error_of(send(world, way(b"x"), **{"Content-Encoding": coding}))
    assert status == 415
    assert f"Content-Encoding: {coding}" in said
    assert kept(world) == []
    url = world.start(1).headers["X-Goog-Upload-URL"]
    headers = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": "0", "Content-Encoding": coding}
    assert httpx2.post(url, headers=headers, content=b"x").status_code == 415


def changed(sent: Sent, body: bytes | None = None, **headers: str) -> Sent:
    """Another body; headers by their names with underscores, None to leave one out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kept_headers = {k: v for k, v in sent.headers.items() if k.lower() not in {name.lower() for name in named}}
    given = {name: value for name, value in named.items() if value}
    return Sent(sent.query, {**kept_headers, **given}, sent.body if body is None else body)


ONE = related(b"x")
PART = f"--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n".encode()
END = f"\r\n--{BOUNDARY}--".encode()
MALFORMED: dict[str, tuple[Sent, str]] = {
    "no Content-Type": (changed(ONE, Content_Type=""), "Content-Type is missing"),
    "another type": (changed(ONE, Content_Type="application/json"), "application/json, not multipart/related"),
    "no boundary": (changed(ONE, Content_Type="multipart/related"), "has no boundary"),
    "a long boundary": (changed(ONE, Content_Type="multipart/related; boundary=" + "x" * 71), "boundary in the"),
    "another boundary": (changed(ONE, Content_Type="multipart/related; boundary=zz"), "no line with the boundary"),
    "an empty body": (changed(ONE, b""), "no line with the boundary"),
    "no end": (changed(ONE, ONE.body[: -len(BOUNDARY) - 8]), "ends before its last delimiter"),
    "one part": (changed(ONE, PART + b"{}" + END), "no second part"),
    "no part": (changed(ONE, f"--{BOUNDARY}--".encode()), "no second part"),
    "three parts": (changed(ONE, PART + b"{}\r\n" + PART + b"x\r\n" + PART + b"y" + END), "more than two parts"),
    "bytes first": (changed(ONE, PART + b"\xff\0\r\n" + PART + b"{}" + END), "first part must describe the file"),
    "an unknown field": (related(b"x", colour="red"), "Unknown name \"colour\" at 'file'"),
    "no headers' end": (changed(ONE, PART[:-4] + b"{}" + END), "ends before its last delimiter"),
    "large headers": (changed(ONE, PART[:-4] + b"x" * 20_000), "longer than 16384 bytes"),
    "another length": (changed(ONE, X_Goog_Upload_Header_Content_Length="7"), "declared as 7 bytes; 1 bytes"),
    "raw, another length": (changed(raw(b"x"), X_Goog_Upload_Header_Content_Length="7"), "declared as 7 bytes; 1"),
    "at once, another length": (changed(at_once(b"x"), X_Goog_Upload_Header_Content_Length="7"), "declared as 7"),
    "no number": (changed(raw(b"x"), X_Goog_Upload_Header_Content_Length="many"), "Not a number of bytes: many"),
    "no end of the commands": (
        changed(at_once(b"x"), X_Goog_Upload_Command="start, upload"),
        "start, upload, finalize",
    ),
    "no start": (changed(at_once(b"x"), X_Goog_Upload_Command="upload, finalize"), "start, upload, finalize"),
    "no upload": (changed(at_once(b"x"), X_Goog_Upload_Command="start, finalize"), "begins with X-Goog-Upload-Command"),
    "raw in chunks": (changed(raw(b"x"), X_Goog_Upload_Command="start"), "start, upload, finalize"),
    "no protocol": (changed(raw(b"x"), X_Goog_Upload_Protocol=""), "resumable, multipart or raw"),
    "an unknown protocol": (changed(raw(b"x"), X_Goog_Upload_Protocol="torrent"), "resumable, multipart or raw"),
}


@pytest.mark.parametrize("why", MALFORMED)
def test_malformed_ones_are_told_why(world: Api, why: str) -> None:
    sent, words = MALFORMED[why]
    answer = send(world, sent)
    status, said = error_of(answer)
    assert (status, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert words in said
    assert kept(world) == []


def test_the_description_is_bounded(world: Api) -> None:
    """It is JSON, with the limit of JSON."""
    world.world.limits.change(inline=1000)
    assert send(world, related(bytes(5000), displayName="x" * 500)).status_code == 200
    status, said = error_of(send(world, related(b"x", displayName="x" * 1000)))
    assert (status, said) == (400, "Request payload size exceeds the limit: 1000 bytes.")


@each_way
@pytest.mark.parametrize("keep", [0, 1, 200, 700_000])
def test_a_broken_connection_leaves_nothing(world: Api, way: Any, keep: int) -> None:
    """There is no address at which such an upload could go on."""
    sent = way(DATA)
    url = urlsplit(str(world.http.base_url))
    wire = http.client.HTTPConnection(url.hostname or "", url.port)
    wire.putrequest("POST", f"{PATH}?{sent.query}key=a-key")
    for name, value in {**sent.headers, "Content-Length": str(len(sent.body))}.items():
        wire.putheader(name, value)
    wire.endheaders(sent.body[:keep])
    wire.close()
    ended = world.http.get("/v1/files")  # an answer after the break, as the server saw it
    assert ended.json() == {}
    assert left(world) == []


@each_way
def test_the_chunks_of_a_body_do_not_matter(world: Api, way: Any) -> None:
    """Without a length, in pieces of any size."""
    sent = way(DATA[:100_000])

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(sent.body), 997):
            yield sent.body[start : start + 997]

    answer = world.http.post(f"{PATH}?{sent.query}", headers=sent.headers, content=pieces())
    assert answer.json()["file"]["sizeBytes"] == "100000"


@each_way
def test_a_fault_of_such_uploads(world: Api, way: Any) -> None:
    """By a name of its own, or with all calls of uploads; the connection can break in its body, too."""
    for pattern in ("files.upload.whole", "files.upload.*"):
        arm(world.world, operation=pattern, status=503)
        assert send(world, way(b"x")).status_code == 503
    arm(world.world, operation="files.upload.whole", receive=10)
    with pytest.raises(httpx2.TransportError):
        send(world, way(DATA))
    assert left(world) == []
    assert send(world, way(b"x")).status_code == 200


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    with (
        serve(tmp_path_factory.mktemp("data")) as running,
        httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}, timeout=30) as client,
    ):
        yield client


HEADERS: dict[str, st.SearchStrategy[str]] = {
    "X-Goog-Upload-Protocol": st.sampled_from(["resumable", "multipart", "raw", "", "MULTIPART", "x"]),
    "X-Goog-Upload-Command": st.sampled_from(["", "start", "start, upload, finalize", "upload", "cancel", "query"]),
    "X-Goog-Upload-Offset": st.sampled_from(["", "0", "1", "-1", "x"]),
    "X-Goog-Upload-Header-Content-Length": st.sampled_from(
        ["", "0", "5", "-1", "9" * 30, "x", "\u0665".encode().decode("latin-1")]
    ),
    "X-Goog-Upload-Header-Content-Type": st.sampled_from(["", "text/plain", "bad", "a/b; c"]),
    "Content-Type": st.sampled_from(["", "multipart/related; boundary=b", "application/json", "text/plain"]),
    "Content-Encoding": st.sampled_from(["", "", "", "gzip", "x"]),
}
BODIES = st.binary(max_size=80) | st.lists(
    st.sampled_from([b"--b", b"--", b"\r\n", b"\r\n\r\n", b"A: b", b'{"file": {}}', b'{"file": {"name": 1}}', b"x"]),
    max_size=14,
).map(b"".join)


@given(st.fixed_dictionaries(HEADERS), BODIES)
def test_anything_else_is_read_or_refused(shared: httpx2.Client, headers: dict[str, str], body: bytes) -> None:
    """Whatever is sent to the address of uploads: a file, an upload's address, or a refusal in the service's shape."""
    given_headers = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value]
    answer = shared.post(PATH, headers=given_headers, content=body)
    if answer.status_code == 200:
        assert "X-Goog-Upload-URL" in answer.headers or "file" in answer.json()
    else:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["error"]["message"]


@each_way
def test_memory_does_not_grow_with_the_file(world: Api, way: Any) -> None:
    """64 MB pass through, and no more than a few pieces of a megabyte are held at any time."""
    size = 64 << 20
    head, mark, tail = way(b"\0MARK\0").body.partition(b"\0MARK\0")
    sent = way(b"")
    assert mark

    def pieces() -> Iterator[bytes]:
        yield head
        for _ in range(size >> 20):
            yield bytes(1 << 20)
        yield tail

    headers = {**sent.headers, "X-Goog-Upload-Header-Content-Length": str(size)}
    tracemalloc.start()
    try:
        answer = world.http.post(f"{PATH}?{sent.query}", headers=headers, content=pieces())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.json()["file"]["sizeBytes"] == str(size)
    assert peak < 24 << 20
