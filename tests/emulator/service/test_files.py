"""The Files API over plain HTTP."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx2
import pytest

from emulator.conftest import MODEL, line
from gemini_batch.emulator.http.server import serve
from gemini_batch.emulator.service.uploads import GRANULARITY

if TYPE_CHECKING:
    from pathlib import Path

    from emulator.conftest import Api

DATA = bytes(range(256)) * 4096  # 1 MiB: four granules


def test_an_uploaded_file_is_described_as_the_service_does(world: Api) -> None:
    """Sizes are strings, the digest is base64 of its hexadecimal text, ids have twelve characters."""
    name = world.upload(b"{}\n", displayName="in")
    file = world.http.get(f"/v1/{name}").json()
    digest = base64.b64encode(hashlib.sha256(b"{}\n").hexdigest().encode()).decode()
    assert (
        file.items()
        >= {
            "name": name,
            "displayName": "in",
            "mimeType": "application/jsonl",
            "sizeBytes": "3",
            "sha256Hash": digest,
            "uri": f"https://generativelanguage.googleapis.com/v1beta/{name}",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }.items()
    )
    assert len(name.removeprefix("files/")) == 12
    assert len(file["createTime"]) == len("2026-09-30T10:00:00.123456789Z")


def test_the_handshake_has_the_headers_that_clients_look_up(world: Api) -> None:
    """Title-Case on the wire; the upload URL is on the host that was called."""
    url = urlsplit(str(world.http.base_url))
    wire = http.client.HTTPConnection(url.hostname or "", url.port)
    wire.request(
        "POST",
        "/upload/v1/files?key=k",
        body=b"",
        headers={"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start", "Host": "localhost:81"},
    )
    answer = wire.getresponse()
    answer.read()
    wire.close()
    names = dict(answer.getheaders())
    assert names["X-Goog-Upload-Status"] == "active"
    assert names["X-Goog-Upload-URL"].startswith("http://localhost:81/upload/v1/files?upload_id=")
    assert names["X-Goog-Upload-Chunk-Granularity"] == str(GRANULARITY)


@pytest.mark.parametrize("last", ["upload, finalize", "finalize"])
def test_an_upload_in_chunks(world: Api, last: str) -> None:
    """Chunks of whole granules, then the rest with ``finalize``, or a ``finalize`` of nothing."""
    url = world.start(len(DATA)).headers["X-Goog-Upload-URL"]
    middle = 2 * GRANULARITY if last == "upload, finalize" else len(DATA)
    assert world.chunk(url, "upload", 0, DATA[:middle]).headers["X-Goog-Upload-Status"] == "active"
    assert world.chunk(url, "query").headers["X-Goog-Upload-Size-Received"] == str(middle)
    done = world.chunk(url, last, middle, DATA[middle:])
    assert done.headers["X-Goog-Upload-Status"] == "final"
    assert base64.b64decode(done.json()["file"]["sha256Hash"]).decode() == hashlib.sha256(DATA).hexdigest()
    again = world.chunk(url, last, middle, DATA[middle:])
    assert again.json() == done.json()  # whoever lost the answer may ask again


def test_an_interrupted_chunk_keeps_whole_granules(world: Api) -> None:
    """After a broken connection ``query`` says where to go on, and the file is right in the end."""
    url = world.start(len(DATA)).headers["X-Goog-Upload-URL"]
    parts = urlsplit(url)
    sent = DATA[: GRANULARITY + 1000]
    wire = http.client.HTTPConnection(parts.hostname or "", parts.port)
    wire.putrequest("POST", f"{parts.path}?{parts.query}")
    for header, value in {
        "X-Goog-Upload-Command": "upload, finalize",
        "X-Goog-Upload-Offset": "0",
        "Content-Length": str(len(DATA)),
    }.items():
        wire.putheader(header, value)
    wire.endheaders(sent)
    wire.close()
    held = int(world.chunk(url, "query").headers["X-Goog-Upload-Size-Received"])
    assert held in (0, GRANULARITY)  # what came with the break may or may not have been read
    done = world.chunk(url, "upload, finalize", held, DATA[held:])
    assert base64.b64decode(done.json()["file"]["sha256Hash"]).decode() == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("command", "offset", "size", "message"),
    [
        ("upload", 5, GRANULARITY, "does not match the 0 bytes"),
        ("upload", 0, 1000, "multiple of 262144"),
        ("upload", None, GRANULARITY, "does not match"),
        ("upload, finalize", 0, 1000, "declared as 1048576 bytes; 1000"),
        ("nonsense", 0, 10, "must be upload, finalize, query or cancel"),
    ],
)
def test_wrong_chunks_are_refused(world: Api, command: str, offset: int | None, size: int, message: str) -> None:
    """Each with 400, and the upload stays open."""
    url = world.start(len(DATA)).headers["X-Goog-Upload-URL"]
    refused = world.chunk(url, command, offset, DATA[:size])
    assert refused.status_code == 400
    assert message in refused.json()["error"]["message"]
    assert world.chunk(url, "query").headers["X-Goog-Upload-Status"] == "active"


def test_a_cancelled_upload_is_over(world: Api) -> None:
    """``cancel`` answers ``cancelled``, and so does everything after it."""
    url = world.start(len(DATA)).headers["X-Goog-Upload-URL"]
    world.chunk(url, "upload", 0, DATA[:GRANULARITY])
    assert world.chunk(url, "cancel").headers["X-Goog-Upload-Status"] == "cancelled"
    assert world.chunk(url, "upload, finalize", GRANULARITY, b"").headers["X-Goog-Upload-Status"] == "cancelled"
    assert not list(world.world.store.blobs.iterdir())


def test_a_nonsense_mime_type_is_refused_at_the_end(world: Api) -> None:
    """With the service's words, and a final status."""
    url = world.start(3, mime_type="bad/mime_type").headers["X-Goog-Upload-URL"]
    refused = world.chunk(url, "upload, finalize", 0, b"{}\n")
    assert refused.status_code == 400
    assert refused.headers["X-Goog-Upload-Status"] == "final"
    assert refused.json()["error"] == {
        "code": 400,
        "message": "Unsupported MIME type: bad/mime_type",
        "status": "INVALID_ARGUMENT",
    }


@pytest.mark.parametrize("mime_type", ["jsonl", "application/jsonl", "application/json", "text/plain", "image/png"])
def test_usual_mime_types_pass(world: Api, mime_type: str) -> None:
    """The type is echoed as it was given."""
    name = world.upload(b"x", mime_type=mime_type)
    assert world.http.get(f"/v1/{name}").json()["mimeType"] == mime_type


def test_ids_of_ones_own(world: Api, other: Api) -> None:
    """A chosen id is used, and cannot be taken twice, whoever asks."""
    assert world.upload(b"x", name="files/my-own-id") == "files/my-own-id"
    taken = other.start(1, name="files/my-own-id")
    assert (taken.status_code, taken.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    world.http.delete("/v1/files/my-own-id")
    assert other.upload(b"y", name="my-own-id") == "files/my-own-id"


@pytest.mark.parametrize("name", ["x" * 41, "-x", "x-", "Upper", "a/b", "../x", "a_b"])
def test_wrong_ids_are_refused(world: Api, name: str) -> None:
    """40 characters at most, lower-case letters, digits and inner dashes only."""
    assert world.start(1, name=f"files/{name}").status_code == 400


def test_a_long_id_can_not_be_looked_up(world: Api) -> None:
    """The rule that hits the service's own output files; downloading them works all the same."""
    output = world.finish(world.begin(b'{"key":"a","request":{"contents":[{"parts":[{"text":"x"}]}]}}'))
    file = output["response"]["responsesFile"]
    for method in ("GET", "DELETE"):
        refused = world.http.request(method, f"/v1beta/{file}")
        assert refused.status_code == 400
        assert (
            "File ID (name excluding 'files/') cannot be more than 40 characters.\n"
            in refused.json()["error"]["message"]
        )
    assert world.http.get(f"/v1beta/{file}:download?alt=media").status_code == 200
    assert world.http.get(f"/download/v1beta/{file}:download?alt=media").status_code == 200


def test_a_file_that_is_not_there_is_forbidden(world: Api, other: Api) -> None:
    """Unknown, foreign, deleted, expired: the same 403."""
    name = world.upload(b"x")
    file_id = name.removeprefix("files/")
    expected = {
        "error": {
            "code": 403,
            "message": f"You do not have permission to access the File {file_id} or it may not exist.",
            "status": "PERMISSION_DENIED",
        }
    }
    assert other.http.get(f"/v1/{name}").json() == expected
    assert other.http.delete(f"/v1/{name}").json() == expected
    assert world.http.get("/v1/files/unknown").status_code == 403
    world.world.clock.advance(48 * 3600 + 1)
    assert world.http.get(f"/v1/{name}").json() == expected
    assert world.http.get("/v1/files").json() == {}


def test_deleting_frees_the_room(world: Api) -> None:
    """The answer is ``{}``, the second one 403, and nothing stays on the disk."""
    name = world.upload(DATA)
    assert world.http.delete(f"/v1/{name}").json() == {}
    assert world.http.delete(f"/v1/{name}").status_code == 403
    assert not list(world.world.store.blobs.iterdir())


def test_lists_come_in_pages_newest_first(world: Api, other: Api) -> None:
    """Ten to a page if nothing is said; an empty list is ``{}``."""
    assert world.http.get("/v1/files").json() == {}
    names = [world.upload(b"x") for _ in range(12)][::-1]
    other.upload(b"y")
    first = world.http.get("/v1/files").json()
    assert [file["name"] for file in first["files"]] == names[:10]
    rest = world.http.get("/v1/files", params={"pageToken": first["nextPageToken"], "pageSize": 5}).json()
    assert [file["name"] for file in rest["files"]] == names[10:]
    assert "nextPageToken" not in rest
    assert world.http.get("/v1/files?pageToken=nonsense").status_code == 400


def test_uploaded_files_can_not_be_downloaded(world: Api) -> None:
    """Only what the service made."""
    assert world.http.get(f"/v1/{world.upload(b'x')}:download?alt=media").status_code == 400


def test_ranges(world: Api, tmp_path: Path) -> None:
    """A range is honoured, or not, as the emulator was told."""
    name = world.begin(b'{"key":"a","request":{"contents":[{"parts":[{"text":"x"}]}]}}')
    url = f"/v1/{world.finish(name)['response']['responsesFile']}:download?alt=media"
    whole = world.http.get(url).content
    for header, start, end in (("bytes=10-", 10, len(whole)), ("bytes=3-7", 3, 8), ("bytes=-4", len(whole) - 4, None)):
        part = world.http.get(url, headers={"Range": header})
        assert (part.status_code, part.content) == (206, whole[start:end])
    assert (
        world.http.get(url, headers={"Range": "bytes=10-"}).headers["Content-Range"]
        == f"bytes 10-{len(whole) - 1}/{len(whole)}"
    )
    assert world.http.get(url, headers={"Range": f"bytes={len(whole)}-"}).status_code == 416
    with serve(tmp_path / "data", ranges=False) as plain:
        headers = {"x-goog-api-key": "a-key", "Range": "bytes=10-"}
        answer = httpx2.get(plain.url + url, headers=headers)
    assert (answer.status_code, answer.content) == (200, whole)


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    """What was acknowledged is there, and the digest is right although the process is another one."""
    headers = {"x-goog-api-key": "k", "X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    with serve(tmp_path) as first:
        url = httpx2.post(f"{first.url}/upload/v1/files", headers=headers).headers["X-Goog-Upload-URL"]
        chunk = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": "0"}
        httpx2.post(url, headers=chunk, content=DATA[:GRANULARITY])
    with serve(tmp_path) as second:
        url = url.replace(first.url, second.url)
        chunk = {"X-Goog-Upload-Command": "upload, finalize", "X-Goog-Upload-Offset": str(GRANULARITY)}
        done = httpx2.post(url, headers=chunk, content=DATA[GRANULARITY:]).json()
    assert base64.b64decode(done["file"]["sha256Hash"]).decode() == hashlib.sha256(DATA).hexdigest()


def test_a_lenient_start(world: Api) -> None:
    """Names in snake_case, sizes as numbers, as the official client sends them."""
    headers = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    body = {"file": {"display_name": "d", "mime_type": "text/plain", "size_bytes": 1}}
    url = world.http.post("/upload/v1/files", headers=headers, json=body).headers["X-Goog-Upload-URL"]
    file = world.chunk(url, "upload, finalize", 0, b"x").json()["file"]
    assert (file["displayName"], file["mimeType"]) == ("d", "text/plain")
    refused = world.http.post("/upload/v1/files", headers=headers, content=json.dumps({"file": {"colour": "red"}}))
    assert "Unknown name \"colour\" at 'file'" in refused.json()["error"]["message"]


def test_storage_is_limited(world: Api) -> None:
    """2 GB a file; more than 20 GB in all is the storage's own 429."""
    assert world.start(2 * 1024**3 + 1).status_code == 400
    world.upload(b"x")
    with world.world.store.transaction() as db:
        db.execute("UPDATE files SET size = ?", (20 * 1024**3,))
    refused = world.start(1)
    assert (refused.status_code, refused.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "file_storage_bytes" in refused.json()["error"]["message"]


def test_a_generated_file(world: Api) -> None:
    """A file that a model made is listed with the address of its bytes; the output file of a job is not listed."""
    name = world.upload(b"a video", mimeType="video/mp4")
    with world.world.store.transaction() as db:
        db.execute("UPDATE files SET source = 'GENERATED' WHERE id = ?", (name.removeprefix("files/"),))
    uploaded = world.upload(line("a"), name="files/batch-of-mine")
    body = {"batch": {"inputConfig": {"fileName": uploaded}}}
    world.finish(world.http.post(f"/v1beta/models/{MODEL}:batchGenerateContent", json=body).json()["name"])

    mine, generated = world.http.get("/v1beta/files").json()["files"]
    assert (mine["name"], mine["source"], mine.get("downloadUri")) == (uploaded, "UPLOADED", None)
    assert (generated["name"], generated["source"]) == (name, "GENERATED")
    address = urlsplit(generated["downloadUri"])
    assert world.http.get(f"{address.path}?{address.query}").content == b"a video"
