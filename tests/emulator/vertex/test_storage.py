"""Cloud Storage's JSON API: buckets, objects, and uploads of every kind."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from gemini_batch.emulator.vertex.storage.checksums import Checksums, crc32c

if TYPE_CHECKING:
    from emulator.vertex.cloud import Caller

GRAIN = 256 * 1024


def reason(answer: httpx2.Response) -> tuple[int, str]:
    """The status and the reason of a refusal, as this service words it."""
    error = answer.json()["error"]
    assert error["code"] == answer.status_code
    assert error["message"] == error["errors"][0]["message"]
    return answer.status_code, error["errors"][0]["reason"]


# The vectors are those of RFC 3720, B.4, and of the iSCSI standard's check word.
@pytest.mark.parametrize(
    ("data", "sum_"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_crc32c(data: bytes, sum_: int) -> None:
    assert crc32c(data) == sum_


def test_crc32c_of_any_length_and_in_pieces() -> None:
    """Folding gives what the table gives, byte by byte."""
    chance = random.Random(7)
    for size in (127, 128, 129, 130, 1000, 4099, 70_001, 131_072):
        data, slow = chance.randbytes(size), 0
        for start in range(0, size, 100):
            slow = crc32c(data[start : start + 100], slow)
        assert crc32c(data) == slow
        sums = Checksums()
        for start in range(0, size, 7777):
            sums.update(data[start : start + 7777])
        assert base64.b64decode(sums.crc32c) == slow.to_bytes(4, "big")
        assert base64.b64decode(sums.md5) == hashlib.md5(data).digest()


def test_buckets(cloud: Caller) -> None:
    """Created once, listed by project, deleted when empty; nobody creates one by writing to it."""
    http, project = cloud.http, {"project": cloud.project}
    assert reason(http.post("/storage/v1/b", params=project, json={"name": cloud.bucket})) == (409, "conflict")
    assert reason(http.post("/storage/v1/b", params=project, json={"name": "No"})) == (400, "invalid")
    found = http.get(f"/storage/v1/b/{cloud.bucket}").json()
    assert (found["kind"], found["location"]) == ("storage#bucket", "US")
    mine = http.get("/storage/v1/b", params={**project, "prefix": "bucket-"}).json()["items"]
    assert [one["name"] for one in mine] == [cloud.bucket]
    assert reason(http.get("/storage/v1/b/nobodys-bucket")) == (404, "notFound")
    upload = {"uploadType": "media", "name": "x"}
    assert reason(http.post("/upload/storage/v1/b/nobodys-bucket/o", params=upload)) == (404, "notFound")
    cloud.put("x", b"1")
    assert reason(http.delete(f"/storage/v1/b/{cloud.bucket}")) == (409, "conflict")
    http.delete(f"/storage/v1/b/{cloud.bucket}/o/x")
    assert http.delete(f"/storage/v1/b/{cloud.bucket}").status_code == 204


def test_a_bucket_of_the_emulator(cloud: Caller) -> None:
    """It belongs to every project."""
    cloud.http.post("/emulator/buckets", json={"name": f"shared-{cloud.bucket}"})
    listed = cloud.http.get("/storage/v1/b", params={"project": "anyone", "prefix": f"shared-{cloud.bucket}"}).json()
    assert [one["name"] for one in listed["items"]] == [f"shared-{cloud.bucket}"]
    assert cloud.http.post("/emulator/buckets", json={"title": "x"}).status_code == 400


@pytest.mark.parametrize("name", ["a/b c/ö?#%2F.txt", "../../etc/passwd", "x/compose", "...", "+&="])
def test_names_are_names(cloud: Caller, name: str) -> None:
    """Whatever is in it: no name is a path."""
    before = {path.name for path in cloud.world.store.folder.rglob("*")}
    made = cloud.put(name, b"data").json()
    assert (made["name"], made["size"]) == (name, "4")
    assert cloud.read(name).content == b"data"
    assert cloud.names() == [name]
    assert cloud.http.get(made["selfLink"]).json() == made
    assert cloud.http.get(made["mediaLink"]).content == b"data"
    after = {path.name for path in cloud.world.store.folder.rglob("*")}
    assert all(one.startswith("object-") for one in after - before)


@pytest.mark.parametrize("name", ["", "..", "a\nb", "x" * 1025])
def test_names_that_are_none(cloud: Caller, name: str) -> None:
    assert reason(cloud.put(name, b"data")) == (400, "invalid")


def test_metadata(cloud: Caller) -> None:
    """What was given, what was counted, and generations that grow."""
    first = cloud.put("x", b"one").json()
    second = cloud.put("x", b"two!").json()
    assert int(second["generation"]) > int(first["generation"])
    assert first["etag"] != second["etag"]
    assert base64.b64decode(second["md5Hash"]) == hashlib.md5(b"two!").digest()
    assert base64.b64decode(second["crc32c"]) == crc32c(b"two!").to_bytes(4, "big")
    path = f"/storage/v1/b/{cloud.bucket}/o/x"
    changed = cloud.http.patch(path, json={"metadata": {"a": "b"}, "contentType": "text/plain"}).json()
    assert (changed["metadata"], changed["metageneration"], changed["generation"]) == (
        {"a": "b"},
        "2",
        second["generation"],
    )
    answer = cloud.read("x")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-goog-hash"] == f"crc32c={second['crc32c']},md5={second['md5Hash']}"
    gone = cloud.http.get(path, params={"generation": first["generation"]})
    assert reason(gone) == (404, "notFound")


def test_ranges(cloud: Caller) -> None:
    cloud.put("x", b"0123456789")
    part = cloud.read("x", Range="bytes=2-4")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert cloud.read("x", Range="bytes=-3").content == b"789"
    assert cloud.read("x", Range="bytes=10-").status_code == 416
    whole = cloud.http.get(f"/download/storage/v1/b/{cloud.bucket}/o/x", headers={"Range": "bytes=8-"})
    assert whole.content == b"89"


def test_lists(cloud: Caller) -> None:
    """By name, with prefixes, delimiters and pages."""
    for name in ("a/1", "a/2", "a/b/3", "b", "c/1"):
        cloud.put(name, b"x")
    assert cloud.names() == ["a/1", "a/2", "a/b/3", "b", "c/1"]
    assert cloud.names(prefix="a/") == ["a/1", "a/2", "a/b/3"]
    path = f"/storage/v1/b/{cloud.bucket}/o"
    top = cloud.http.get(path, params={"delimiter": "/"}).json()
    assert ([one["name"] for one in top["items"]], top["prefixes"]) == (["b"], ["a/", "c/"])
    inner = cloud.http.get(path, params={"delimiter": "/", "prefix": "a/"}).json()
    assert ([one["name"] for one in inner["items"]], inner["prefixes"]) == (["a/1", "a/2"], ["a/b/"])
    for query, wanted in (
        ({}, ["a/1", "a/2", "a/b/3", "b", "c/1"]),
        ({"delimiter": "/"}, ["a/", "b", "c/"]),
    ):
        found: list[str] = []
        token = ""
        while True:
            page = cloud.http.get(path, params={**query, "maxResults": "1", "pageToken": token}).json()
            found += [*(one["name"] for one in page.get("items", ())), *page.get("prefixes", ())]
            if not (token := page.get("nextPageToken", "")):
                break
        assert found == wanted
    assert cloud.http.get(path, params={"prefix": "z"}).json() == {"kind": "storage#objects"}
    assert cloud.http.get(path, params={"matchGlob": "**"}).status_code == 501


def test_preconditions(cloud: Caller) -> None:
    """On writing, reading and deleting."""
    made = cloud.put("x", b"1", ifGenerationMatch="0").json()
    assert reason(cloud.put("x", b"2", ifGenerationMatch="0")) == (412, "conditionNotMet")
    assert cloud.put("x", b"2", ifGenerationMatch=made["generation"]).status_code == 200
    path = f"/storage/v1/b/{cloud.bucket}/o/x"
    generation = cloud.http.get(path).json()["generation"]
    same = cloud.http.get(path, params={"ifGenerationNotMatch": generation})
    assert (same.status_code, same.content) == (304, b"")
    assert reason(cloud.http.get(path, params={"ifMetagenerationMatch": "9"})) == (412, "conditionNotMet")
    assert reason(cloud.http.delete(path, params={"ifGenerationMatch": made["generation"]})) == (412, "conditionNotMet")
    assert cloud.read("x").content == b"2"
    assert reason(cloud.put("x", b"3", ifGenerationMatch="one")) == (400, "invalid")


def test_copies_and_composites(cloud: Caller) -> None:
    for name in ("1", "2"):
        cloud.put(name, name.encode() * 3)
    base = f"/storage/v1/b/{cloud.bucket}/o"
    done = cloud.http.post(f"{base}/1/rewriteTo/b/{cloud.bucket}/o/to%2Fhere").json()
    assert (done["done"], done["resource"]["name"]) == (True, "to/here")
    assert cloud.http.post(f"{base}/1/copyTo/b/{cloud.bucket}/o/there").json()["size"] == "3"
    sources = {"sourceObjects": [{"name": "1"}, {"name": "2"}, {"name": "to/here"}]}
    made = cloud.http.post(f"{base}/whole/compose", json=sources).json()
    assert (made["componentCount"], "md5Hash" in made) == (3, False)
    assert base64.b64decode(made["crc32c"]) == crc32c(b"111222111").to_bytes(4, "big")
    assert cloud.read("whole").content == b"111222111"
    cloud.http.delete(f"{base}/1")
    assert cloud.read("to/here").content == b"111"
    assert reason(cloud.http.post(f"{base}/whole/compose", json=sources)) == (404, "notFound")


def _multipart(described: dict[str, Any], data: bytes) -> tuple[dict[str, str], bytes]:
    head = (
        f"--x\r\nContent-Type: application/json\r\n\r\n{json.dumps(described)}\r\n--x\r\nContent-Type: text/csv\r\n\r\n"
    )
    return {"Content-Type": 'multipart/related; boundary="x"'}, head.encode() + data + b"\r\n--x--"


def test_an_upload_in_two_parts(cloud: Caller) -> None:
    """The sums that the description has must be those of the bytes."""
    path, query = f"/upload/storage/v1/b/{cloud.bucket}/o", {"uploadType": "multipart"}
    headers, body = _multipart({"name": "x", "metadata": {"a": "b"}}, b"1,2\r\n")
    made = cloud.http.post(path, params=query, headers=headers, content=body).json()
    assert (made["name"], made["contentType"], made["metadata"]) == ("x", "text/csv", {"a": "b"})
    assert cloud.read("x").content == b"1,2\r\n"
    headers, body = _multipart({"name": "y", "crc32c": "AAAAAA=="}, b"1")
    assert reason(cloud.http.post(path, params=query, headers=headers, content=body)) == (400, "invalid")
    assert reason(cloud.http.post(path, params=query, headers=headers, content=b"--x")) == (400, "invalid")
    assert cloud.names() == ["x"]


def _session(cloud: Caller, **headers: str) -> str:
    begun = cloud.http.post(
        f"/upload/storage/v1/b/{cloud.bucket}/o",
        params={"uploadType": "resumable"},
        json={"name": "big"},
        headers=headers,
    )
    assert (begun.status_code, begun.content) == (200, b"")
    return begun.headers["location"]


def _chunk(cloud: Caller, url: str, place: str, data: bytes = b"", **headers: str) -> httpx2.Response:
    return cloud.http.put(url, content=data, headers={"Content-Range": f"bytes {place}", **headers})


def test_a_resumable_upload(cloud: Caller) -> None:
    """In chunks; only whole grains of those before the last are kept, and the answer says so."""
    data = os.urandom(2 * GRAIN + 1000)
    url = _session(cloud, **{"X-Upload-Content-Type": "text/plain", "X-Upload-Content-Length": str(len(data))})
    asked = _chunk(cloud, url, "*/*")
    assert (asked.status_code, "range" in asked.headers) == (308, False)
    first = _chunk(cloud, url, f"0-{GRAIN + 99}/{len(data)}", data[: GRAIN + 100])
    assert (first.status_code, first.headers["range"]) == (308, f"bytes=0-{GRAIN - 1}")
    assert _chunk(cloud, url, f"*/{len(data)}").headers["range"] == f"bytes=0-{GRAIN - 1}"
    gap = _chunk(cloud, url, f"{GRAIN + 100}-{len(data) - 1}/{len(data)}", data[GRAIN + 100 :])
    assert reason(gap) == (400, "invalid")
    short = _chunk(cloud, url, f"{GRAIN}-{len(data) - 1}/{len(data)}", data[GRAIN:-1])
    assert reason(short) == (400, "invalid")
    # A chunk may repeat what is there.
    done = _chunk(cloud, url, f"{GRAIN - 10}-{len(data) - 1}/{len(data)}", data[GRAIN - 10 :])
    assert (done.status_code, done.json()["size"], done.json()["contentType"]) == (200, str(len(data)), "text/plain")
    assert cloud.read("big").content == data
    again = _chunk(cloud, url, f"*/{len(data)}")
    assert (again.status_code, again.json()) == (200, done.json())


def test_the_end_of_a_resumable_upload(cloud: Caller) -> None:
    """The size may be stated last, with no bytes; a sum that is stated must be right; one request may do."""
    url = _session(cloud)
    _chunk(cloud, url, f"0-{GRAIN - 1}/*", bytes(GRAIN))
    assert _chunk(cloud, url, f"*/{GRAIN}").json()["size"] == str(GRAIN)
    wrong = _chunk(cloud, _session(cloud), "0-0/1", b"x", **{"x-goog-hash": "crc32c=AAAAAA=="})
    assert reason(wrong) == (400, "invalid")
    assert cloud.http.put(_session(cloud), content=b"all of it").json()["size"] == "9"
    assert cloud.http.put(_session(cloud)).json()["size"] == "0"
    assert reason(_chunk(cloud, _session(cloud), "a-b/c", b"x")) == (400, "invalid")


def test_sessions_that_are_gone(own: Caller) -> None:
    """Cancelled, a week old, or never begun."""
    cancelled, old = _session(own), _session(own)
    assert own.http.delete(cancelled).status_code == 499
    assert _chunk(own, cancelled, "*/*").status_code == 410
    own.world.clock.advance(7 * 86_400)
    assert _chunk(own, old, "*/*").status_code == 410
    assert _chunk(own, old[:-3] + "abc", "*/*").status_code == 404


def test_a_connection_that_breaks(own: Caller) -> None:
    """What arrived of a chunk is kept, in whole grains."""
    url = _session(own)
    own.http.post("/emulator/faults", json={"operation": "storage.uploads.chunk", "receive": 2 * GRAIN + 5})
    with pytest.raises(httpx2.TransportError):
        _chunk(own, url, f"0-{4 * GRAIN - 1}/{4 * GRAIN}", bytes(4 * GRAIN))
    assert _chunk(own, url, f"*/{4 * GRAIN}").headers["range"] == f"bytes=0-{2 * GRAIN - 1}"


def test_blobs_do_not_stay(cloud: Caller) -> None:
    """Not those of replaced and deleted objects, nor of uploads that were refused."""

    def blobs() -> int:
        return sum(1 for _ in cloud.world.store.blobs.glob("object-*"))

    before = blobs()
    for _ in range(3):
        cloud.put("x", b"1")
    cloud.put("x", b"2", ifGenerationMatch="0")
    assert blobs() == before + 1
    cloud.http.delete(f"/storage/v1/b/{cloud.bucket}/o/x")
    assert blobs() == before
