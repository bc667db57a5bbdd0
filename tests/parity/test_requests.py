"""For each operation, our HTTP requests are those of the official SDK, but for a table of differences that we mean.

Both clients talk to a recording transport. The table is held to exactly: a difference that goes away fails the test as
one that appears does.
"""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
import pytest

from gemini_batch.api import batches, files
from gemini_batch.api.client import Client
from gemini_batch.backend import GeminiService
from gemini_batch.catalog import Method
from gemini_batch.settings import Secret
from gemini_batch.world import World
from parity.compare import ABSENT, Recorder, differences, spots

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from google.genai import Client as Sdk

GOOGLE = "https://generativelanguage.googleapis.com"
GATEWAY = "https://gateway.example/gemini/"
MODEL = "gemini-3.8-flash"
#: Two whole chunks of 8 MiB and a short one; the bytes differ from chunk to chunk.
CONTENT = b"".join(bytes([65 + number]) * (4 * 1024 * 1024) for number in range(4)) + b"the rest\n"


@dataclass(frozen=True, slots=True)
class Operation:
    """The same thing asked of both; ``differs``: request number → place → (theirs, ours, reason)."""

    theirs: Callable[[Sdk, Path], object]
    ours: Callable[[Client, Path], Awaitable[object]]
    requests: int = 1
    differs: dict[int, dict[str, tuple[Any, Any, str]]] | None = None


async def _upload(client: Client, path: Path) -> None:
    content = path.read_bytes()
    service = GeminiService(client)
    session = await service.start_upload(name="gb-1", display_name="nightly", size=len(content))
    await service.send_upload(
        session, lambda at, n: content[at : at + n], size=len(content), offset=0, progress=lambda _: None
    )


async def _all_files(client: Client, _: Path) -> None:
    async for _page in files.listing(client, page_size=50):
        pass


async def _all_batches(client: Client, _: Path) -> None:
    async for _page in GeminiService(client).listing():
        pass


async def _download(client: Client, path: Path, *, held: bytes) -> None:
    part = path.with_name("part")
    part.write_bytes(held)
    await GeminiService(client).download("files/batch-b1", part, progress=lambda *_: None)


REQUEST = {
    "contents": [{"parts": [{"text": "One colour."}], "role": "user"}],
    "systemInstruction": {"parts": [{"text": "Be brief."}], "role": "user"},
    "tools": [{"googleSearch": {}}],
    "generationConfig": {
        "temperature": 0.5,
        "topK": 5,
        "thinkingConfig": {"includeThoughts": True},
        "responseSchema": {
            "type": "OBJECT",
            "properties": {"a_colour": {"type": "STRING"}},
            "propertyOrdering": ["a_colour"],
        },
    },
}


def _sdk_inline(sdk: Sdk, _: Path) -> None:
    from google.genai import types

    request = types.InlinedRequest(
        contents="One colour.",
        metadata={"key": "row_1"},
        config=types.GenerateContentConfig(
            system_instruction="Be brief.",
            tools=[types.Tool(google_search=types.GoogleSearch())],
            temperature=0.5,
            top_k=5,
            thinking_config=types.ThinkingConfig(include_thoughts=True),
            response_schema=types.Schema(
                type=types.Type.OBJECT,
                properties={"a_colour": types.Schema(type=types.Type.STRING)},
                property_ordering=["a_colour"],
            ),
        ),
    )
    sdk.batches.create(model=MODEL, src=[request], config={"display_name": "nightly"})


def _sdk_embeddings(sdk: Sdk, src: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK calls this method experimental
        sdk.batches.create_embeddings(model=MODEL, src=src, config={"display_name": "nightly"})


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _chunk() -> dict[str, tuple[Any, Any, str]]:
    start_only = "describes the whole upload and is said once, when it starts"
    return {
        "header content-type": ("application/json", "application/octet-stream", "a chunk is bytes, not JSON"),
        "header x-goog-upload-protocol": ("resumable", ABSENT, start_only),
        "header x-goog-upload-header-content-length": (str(len(CONTENT)), ABSENT, start_only),
        "header x-goog-upload-header-content-type": ("application/jsonl", ABSENT, start_only),
        "header x-goog-upload-file-name": ("requests.jsonl", ABSENT, start_only),
    }


_IDENTITY = {
    "header accept-encoding": (
        ABSENT,
        "identity",
        "offsets and lengths must speak of the bytes that are written to disk",
    )
}
OPERATIONS: dict[str, Operation] = {
    "create from a file": Operation(
        lambda sdk, _: sdk.batches.create(model=MODEL, src="files/gb-1", config={"display_name": "nightly"}),
        lambda client, _: GeminiService(client).create(
            model=MODEL, method=Method.GENERATE, display_name="nightly", file_name="files/gb-1"
        ),
    ),
    "create with requests inline": Operation(
        _sdk_inline,
        lambda client, _: GeminiService(client).create(
            model=MODEL, method=Method.GENERATE, display_name="nightly", requests=[("row_1", _raw(REQUEST))]
        ),
    ),
    "create embeddings from a file": Operation(
        lambda sdk, _: _sdk_embeddings(sdk, {"file_name": "files/gb-1"}),
        lambda client, _: GeminiService(client).create(
            model=MODEL, method=Method.EMBED, display_name="nightly", file_name="files/gb-1"
        ),
    ),
    "create embeddings with requests inline": Operation(
        lambda sdk, _: _sdk_embeddings(
            sdk, {"inlined_requests": {"contents": ["red", "blue"], "config": {"output_dimensionality": 8}}}
        ),
        lambda client, _: GeminiService(client).create(
            model=MODEL,
            method=Method.EMBED,
            display_name="nightly",
            requests=[
                (key, _raw({"content": {"parts": [{"text": text}], "role": "user"}, "outputDimensionality": 8}))
                for key, text in (("1", "red"), ("2", "blue"))
            ],
        ),
        differs={
            0: {
                f"body.batch.inputConfig.requests.requests.{index}.metadata.key": (
                    ABSENT,
                    str(index + 1),
                    "answers are joined by key; the SDK has no place for one here",
                )
                for index in range(2)
            }
        },
    ),
    "create with a tuned model": Operation(
        lambda sdk, _: sdk.batches.create(model="tunedModels/t-1", src="files/f", config={"display_name": "n"}),
        lambda client, _: GeminiService(client).create(
            model="tunedModels/t-1", method=Method.GENERATE, display_name="n", file_name="files/f"
        ),
    ),
    "get": Operation(
        lambda sdk, _: sdk.batches.get(name="batches/b-1"), lambda client, _: GeminiService(client).get("batches/b-1")
    ),
    "list": Operation(lambda sdk, _: list(sdk.batches.list(config={"page_size": 100})), _all_batches, requests=2),
    "cancel": Operation(
        lambda sdk, _: sdk.batches.cancel(name="batches/b-1"),
        lambda client, _: GeminiService(client).cancel("batches/b-1"),
        differs={
            0: {
                "body": (ABSENT, {}, "the empty message written out, as the REST reference does; it means the same"),
                "header content-type": (ABSENT, "application/json", "of that body"),
            }
        },
    ),
    "delete": Operation(
        lambda sdk, _: sdk.batches.delete(name="batches/b-1"),
        lambda client, _: batches.delete(client, "batches/b-1"),
    ),
    "upload": Operation(
        lambda sdk, path: sdk.files.upload(
            file=str(path), config={"name": "gb-1", "display_name": "nightly", "mime_type": "application/jsonl"}
        ),
        _upload,
        requests=4,
        differs={
            0: {
                "header x-goog-upload-file-name": (
                    "requests.jsonl",
                    ABSENT,
                    "optional; the name of a file on the user's disk is nobody else's business",
                )
            },
            1: _chunk(),
            2: _chunk(),
            3: _chunk(),
        },
    ),
    "upload under a name of our own": Operation(
        lambda sdk, path: sdk.files.upload(
            file=str(path), config={"display_name": "nightly", "mime_type": "application/jsonl"}
        ),
        _upload,
        requests=4,
        differs={
            0: {
                "body.file.name": (ABSENT, "files/gb-1", "chosen and written down before, to be found after a crash"),
                "header x-goog-upload-file-name": ("requests.jsonl", ABSENT, "as above"),
            },
            1: _chunk(),
            2: _chunk(),
            3: _chunk(),
        },
    ),
    "get a file": Operation(
        lambda sdk, _: sdk.files.get(name="files/gb-1"), lambda client, _: GeminiService(client).get_file("files/gb-1")
    ),
    "list files": Operation(lambda sdk, _: list(sdk.files.list(config={"page_size": 50})), _all_files, requests=2),
    "delete a file": Operation(
        lambda sdk, _: sdk.files.delete(name="files/gb-1"),
        lambda client, _: GeminiService(client).delete_file("files/gb-1"),
    ),
    "download": Operation(
        lambda sdk, _: sdk.files.download(file="files/batch-b1"),
        lambda client, path: _download(client, path, held=b""),
        differs={0: _IDENTITY},
    ),
    "download, going on": Operation(
        lambda sdk, _: sdk.files.download(file="files/batch-b1"),
        lambda client, path: _download(client, path, held=b'{"key"'),
        differs={0: {**_IDENTITY, "header range": (ABSENT, "bytes=6-", "the SDK starts again from the first byte")}},
    ),
    "get a model": Operation(
        lambda sdk, _: sdk.models.get(model=MODEL), lambda client, _: GeminiService(client).get_model(MODEL)
    ),
    "get a model by its full name": Operation(
        lambda sdk, _: sdk.models.get(model=f"models/{MODEL}"),
        lambda client, _: GeminiService(client).get_model(f"models/{MODEL}"),
    ),
    "get a tuned model": Operation(
        lambda sdk, _: sdk.models.get(model="tunedModels/t-1"),
        lambda client, _: GeminiService(client).get_model("tunedModels/t-1"),
    ),
}
UPLOADS = {name for name, operation in OPERATIONS.items() if operation.requests == 4}


@pytest.fixture(scope="module")
def requests_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "requests.jsonl"
    path.write_bytes(CONTENT)
    return path


def from_sdk(operation: Operation, path: Path, *, base_url: str | None, version: str) -> list[httpx2.Request]:
    from google import genai
    from google.genai import types

    recorder = Recorder()
    sdk = genai.Client(
        api_key="k",
        http_options=types.HttpOptions(
            api_version=version,
            base_url=base_url,
            httpx_client=httpx2.Client(transport=httpx2.MockTransport(recorder)),
        ),
    )
    operation.theirs(sdk, path)
    return recorder.requests


def from_us(operation: Operation, path: Path, *, base_url: str | None, version: str) -> list[httpx2.Request]:
    recorder = Recorder()

    async def ask() -> None:
        transport = httpx2.MockTransport(recorder)
        key = Secret("k")
        async with Client(base_url or GOOGLE, key, world=World(), version=version, transport=transport) as client:
            await operation.ours(client, path)

    asyncio.run(ask())
    return recorder.requests


def compared(operation: Operation, path: Path, *, base_url: str | None = None, version: str = "v1beta") -> None:
    theirs = from_sdk(operation, path, base_url=base_url, version=version)
    ours = from_us(operation, path, base_url=base_url, version=version)
    assert len(theirs) == len(ours) == operation.requests
    table = operation.differs or {}
    for number, (left, right) in enumerate(zip(theirs, ours, strict=True)):
        meant = {place: values[:2] for place, values in table.get(number, {}).items()}
        assert differences(left, right) == meant, f"request {number}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_request_is_the_official_clients(name: str, requests_file: Path) -> None:
    compared(OPERATIONS[name], requests_file)


@pytest.mark.parametrize("name", sorted(OPERATIONS.keys() - UPLOADS))
@pytest.mark.parametrize(("base_url", "version"), [(GATEWAY, "v1beta"), (None, "v1")])
def test_it_is_at_another_address_and_version_too(
    name: str, base_url: str | None, version: str, requests_file: Path
) -> None:
    compared(OPERATIONS[name], requests_file, base_url=base_url, version=version)


def test_every_difference_has_a_reason() -> None:
    table = [
        row for operation in OPERATIONS.values() for rows in (operation.differs or {}).values() for row in rows.items()
    ]
    assert table
    assert all(values[0] != values[1] and len(values[2]) >= 8 for _, values in table)


CHANGES: dict[str, Callable[[httpx2.Request], httpx2.Request]] = {
    "method": lambda r: httpx2.Request("PUT", r.url, headers=r.headers, content=r.content),
    "url": lambda r: httpx2.Request(
        r.method, str(r.url).replace("/v1beta/", "/v1/"), headers=r.headers, content=r.content
    ),
    "query": lambda r: httpx2.Request(r.method, f"{r.url}?key=k", headers=r.headers, content=r.content),
    "header x-goog-api-key": lambda r: httpx2.Request(
        r.method, r.url, headers={"content-type": "application/json"}, content=r.content
    ),
    "header content-type": lambda r: httpx2.Request(
        r.method, r.url, headers={**r.headers, "content-type": "text/plain"}, content=r.content
    ),
    "header x-goog-user-project": lambda r: httpx2.Request(
        r.method, r.url, headers={**r.headers, "x-goog-user-project": "p"}, content=r.content
    ),
    "body.batch.displayName": lambda r: httpx2.Request(
        r.method, r.url, headers=_without_length(r), content=r.content.replace(b"nightly", b"nightlx")
    ),
    "body.batch.priority": lambda r: httpx2.Request(
        r.method,
        r.url,
        headers=_without_length(r),
        content=r.content.replace(b'{"batch":{', b'{"batch":{"priority":"1",'),
    ),
}


def _without_length(request: httpx2.Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name != "content-length"}


@pytest.mark.parametrize("place", CHANGES)
def test_the_comparison_sees_a_change_of_any_kind(place: str, requests_file: Path) -> None:
    [request] = from_us(OPERATIONS["create from a file"], requests_file, base_url=None, version="v1beta")
    assert differences(request, CHANGES[place](request)).keys() == {place}


def test_the_comparison_sees_one_changed_byte_of_a_chunk(requests_file: Path) -> None:
    chunk = from_us(OPERATIONS["upload"], requests_file, base_url=None, version="v1beta")[1]
    other = httpx2.Request(chunk.method, chunk.url, headers=chunk.headers, content=chunk.content[:-1] + b"?")
    assert differences(chunk, other).keys() == {"body"}


def test_spellings_of_one_message_are_one() -> None:
    def request(content: bytes) -> httpx2.Request:
        return httpx2.Request("POST", GOOGLE, content=content)

    one = request(b'{"file":{"size_bytes":12,"display_name":"a"},"x":{"topK":5.0},"metadata":{"my_key":"1"},"n":[]}')
    two = request(b'{"file":{"sizeBytes":"12","displayName":"a"},"x":{"topK":5},"metadata":{"my_key":"1"}}')
    assert spots(one) == spots(two)
    assert differences(two, request(two.content.replace(b"my_key", b"myKey"))).keys() == {
        "body.metadata.my_key",
        "body.metadata.myKey",
    }
