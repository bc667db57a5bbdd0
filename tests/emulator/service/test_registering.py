"""Objects in Cloud Storage: registering them, and rows that refer to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from emulator.conftest import MODEL, Api, results_of
from gemini_batch.emulator.http.server import serve

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "ya29.a-token-that-must-not-be-kept"
OBJECTS = ["gs://my-bucket/scans/p1.pdf", "gs://my-bucket/an image.png", "gs://b.example/no-extension"]


def register(http: httpx2.Client, *uris: str, **headers: str) -> httpx2.Response:
    return http.post(
        "/v1beta/files:register", json={"uris": uris}, headers={"Authorization": f"Bearer {TOKEN}", **headers}
    )


def row(uri: str) -> bytes:
    part = {"fileData": {"fileUri": uri, "mimeType": "application/pdf"}}
    return json.dumps({"key": uri, "request": {"contents": [{"parts": [part]}]}}).encode()


def codes(api: Api, uris: list[str]) -> dict[str, int | None]:
    return {one["key"]: one.get("error", {}).get("code") for one in results_of(api, map(row, uris))}


def test_a_registered_object_is_a_file(world: Api, other: Api) -> None:
    """It has a name and a URI, no bytes here, and no end; it is the project's own."""
    files = register(world.http, *OBJECTS).json()["files"]
    assert [file["mimeType"] for file in files] == ["application/pdf", "image/png", "application/octet-stream"]
    for file in files:
        assert file["source"] == "REGISTERED"
        assert file["uri"] == f"https://generativelanguage.googleapis.com/v1beta/{file['name']}"
        assert not {"expirationTime", "sizeBytes", "sha256Hash", "downloadUri"} & file.keys()
        assert world.http.get(f"/v1/{file['name']}").json() == file
        assert other.http.get(f"/v1/{file['name']}").status_code == 403
        assert world.http.get(f"/v1/{file['name']}:download?alt=media").status_code == 400
    assert world.http.get("/v1/files").json()["files"] == files[::-1]
    world.world.clock.advance(90 * 86_400)
    assert world.http.get(f"/v1/{files[0]['name']}").json() == files[0]


def test_the_same_object_is_the_same_file(world: Api, other: Api) -> None:
    """For one project; another one has its own."""
    once = register(world.http, OBJECTS[0]).json()["files"]
    assert register(world.http, OBJECTS[0], OBJECTS[0]).json()["files"] == once * 2
    assert register(other.http, OBJECTS[0]).json()["files"][0]["name"] != once[0]["name"]


def test_rows_with_registered_objects(world: Api, other: Api) -> None:
    """By the URI of the file or of the object; not once the file is deleted, and for no other project."""
    files = register(world.http, *OBJECTS[::2]).json()["files"]
    uris = [OBJECTS[0], OBJECTS[2], *(file["uri"] for file in files), *(file["name"] for file in files)]
    unregistered = [OBJECTS[1], "gs://my-bucket/other", "gs://my-bucket/", "gs://", "GS://my-bucket/scans/p1.pdf"]
    assert codes(world, uris + unregistered) == dict.fromkeys(uris) | dict.fromkeys(unregistered, 3)
    assert codes(other, uris) == dict.fromkeys(uris, 3)
    world.http.delete(f"/v1/{files[0]['name']}")
    gone = [OBJECTS[0], files[0]["uri"]]
    assert codes(world, [*gone, OBJECTS[2]]) == {**dict.fromkeys(gone, 3), OBJECTS[2]: None}


def test_what_is_said_of_an_unregistered_object(world: Api) -> None:
    (found,) = results_of(world, [row("gs://my-bucket/other")])
    assert found["error"] == {"code": 3, "message": "Invalid or unsupported file uri: gs://my-bucket/other"}


@pytest.mark.parametrize(
    ("uris", "said"),
    [
        ([], "at least one URI"),
        (["gs://my-bucket"], "gs://my-bucket\n"),
        (["gs://my-bucket/"], "gs://my-bucket/\n"),
        (["gs:///object"], "gs:///object"),
        (["s3://my-bucket/object"], "s3://"),
        (["https://storage.googleapis.com/b/o"], "https://"),
        (["files/abc"], "files/abc"),
        ([""], "not an object"),
        (["gs://my-bucket/a\nb"], "not an object"),
        ([OBJECTS[0], "gs://my-bucket"], "gs://my-bucket\n"),
        ([1], "uris"),
        ({"a": 1}, "uris"),
    ],
)
def test_what_cannot_be_registered(world: Api, uris: Any, said: str) -> None:
    """One wrong URI, and nothing is registered."""
    answer = world.http.post(
        "/v1beta/files:register", json={"uris": uris}, headers={"Authorization": f"Bearer {TOKEN}"}
    )
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert said in answer.json()["error"]["message"]
    assert world.http.get("/v1/files").json() == {}


@pytest.mark.parametrize("header", [None, "", "Basic eDp5", "Bearer"])
def test_a_key_alone_does_not_register(world: Api, header: str | None) -> None:
    """The service reads the bucket as the person whose token this is."""
    headers = {} if header is None else {"Authorization": header}
    answer = world.http.post("/v1beta/files:register", json={"uris": OBJECTS}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert "API keys are not supported by this API" in answer.json()["error"]["message"]


def test_a_registered_object_is_no_input_here(world: Api) -> None:
    """The emulator reads no bucket, and says so."""
    name = register(world.http, "gs://my-bucket/in.jsonl").json()["files"][0]["name"]
    made = world.http.post(
        f"/v1beta/models/{MODEL}:batchGenerateContent", json={"batch": {"inputConfig": {"fileName": name}}}
    )
    assert made.status_code == 400
    assert "gs://my-bucket/in.jsonl" in made.json()["error"]["message"]
    assert "Upload the input" in made.json()["error"]["message"]


def test_registered_objects_take_no_storage(world: Api) -> None:
    world.world.limits.change(storage=1)
    assert register(world.http, *OBJECTS).is_success
    assert world.upload(b"x")


def credentials() -> Any:
    """Those of a service account, without Google."""
    from google.auth.credentials import Credentials

    class Fixed(Credentials):
        expired = False

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]
            self.token = TOKEN

        def refresh(self, request: Any) -> None:
            raise AssertionError(request)

    return Fixed()


@pytest.mark.parametrize("bearer", [False, True])
def test_the_official_client(tmp_path: Path, bearer: bool) -> None:
    """It sends its key and the token; a row then refers to the object, and the token is nowhere."""
    from google import genai

    with serve(tmp_path, bearer=bearer) as running:
        client = genai.Client(api_key="k", http_options={"base_url": running.url})
        found = client.files.register_files(auth=credentials(), uris=OBJECTS).files
        assert found is not None
        assert [str(file.source) for file in found] == ["FileSource.REGISTERED"] * 3
        with httpx2.Client(base_url=running.url, headers={"x-goog-api-key": "k"}) as http:
            assert codes(Api(http, running.emulator), [str(file.uri) for file in found]) == {
                str(file.uri): None for file in found
            }
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
