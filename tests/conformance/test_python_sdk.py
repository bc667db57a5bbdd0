"""The whole life of jobs and files through Google's Python SDK: blocking, over aiohttp, and over httpx.

Nothing here knows a version: the default run uses the installed one, `make conformance` an older one too.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import operator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gemini_batch.testing import GeminiEmulator

genai = pytest.importorskip("google.genai")

MODEL = "gemini-3.8-flash"
EMBEDDER = "gemini-embedding-001"
JSONL = "application/jsonl"

pytestmark = [
    pytest.mark.filterwarnings("ignore:batches.create_embeddings"),
    # The SDK's own ways with aiohttp.
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]


class Sdk:
    """The SDK's client; its asynchronous half looks like the blocking one, so both live the same lives."""

    def __init__(self, client: Any, loop: asyncio.AbstractEventLoop | None) -> None:
        self._client = client
        self._loop = loop

    def __call__(self, method: str, **arguments: Any) -> Any:
        """Call a method by its name, such as ``batches.create``."""
        result = operator.attrgetter(method)(self._client)(**arguments)
        return self.done(result) if inspect.isawaitable(result) else result

    def done(self, awaitable: Any) -> Any:
        async def wait() -> Any:
            return await awaitable

        assert self._loop is not None
        return self._loop.run_until_complete(wait())

    def every(self, method: str, size: int) -> list[Any]:
        """All items of a list, asked for in pages of ``size``."""
        pager = self(method, config={"page_size": size})
        assert pager.page_size == size
        assert len(pager) <= size
        if self._loop is None:
            return list(pager)

        async def collect() -> list[Any]:
            return [one async for one in pager]

        return list(self.done(collect()))

    def finished(self, name: str) -> Any:
        """The job, asked for until it has ended."""
        while not (job := self("batches.get", name=name)).done:
            pass
        return job

    def refused(self, method: str, **arguments: Any) -> tuple[int, str, str]:
        """Code, status and message of the error that a call must end with."""
        with pytest.raises(genai.errors.ClientError) as caught:
            self(method, **arguments)
        return caught.value.code, caught.value.status, caught.value.message


@pytest.fixture(params=["blocking", "aiohttp", "httpx"])
def sdk(
    request: pytest.FixtureRequest, gemini_emulator: GeminiEmulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sdk]:
    """A client that finds the service by the environment, as a user's program does."""
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", gemini_emulator.url)
    monkeypatch.setenv("GEMINI_API_KEY", "a-key")
    options = {}
    if request.param == "httpx":
        transport = pytest.importorskip("httpx2" if int(genai.__version__.split(".")[0]) > 2 else "httpx")
        options = {"async_client_args": {"transport": transport.AsyncHTTPTransport()}}
    client = genai.Client(http_options=options)
    if request.param == "blocking":
        with client:
            yield Sdk(client, None)
        return
    assert client._api_client._use_aiohttp() == (request.param == "aiohttp")
    with asyncio.Runner() as runner:
        yield Sdk(client.aio, runner.get_loop())
        runner.run(client.aio.aclose())
        client.close()


def line(key: str, **request: Any) -> bytes:
    return json.dumps({"key": key, "request": request or {"contents": [{"parts": [{"text": key}]}]}}).encode() + b"\n"


def rows(count: int) -> bytes:
    return b"".join(line(f"row-{number}") for number in range(count))


def keys(data: bytes) -> list[str]:
    return [json.loads(one)["key"] for one in data.split(b"\n") if one]


def test_a_file_job(sdk: Sdk, gemini_emulator: GeminiEmulator, tmp_path: Path) -> None:
    """Upload in several chunks, create, wait, download both ways, delete; what is gone answers as it does there."""
    gemini_emulator.pace(queue_delay=3600)
    source = tmp_path / "in.jsonl"
    source.write_bytes(rows(8) + line("long", contents=[{"parts": [{"text": "x" * (9 << 20)}]}]))
    file = sdk("files.upload", file=str(source), config={"mime_type": JSONL, "display_name": "in"})
    assert (file.display_name, file.mime_type, file.size_bytes) == ("in", JSONL, source.stat().st_size)
    assert (file.state.name, file.source.name) == ("ACTIVE", "UPLOADED")
    assert sdk("files.get", name=file.name) == sdk("files.get", name=file.uri) == file

    job = sdk("batches.create", model=MODEL, src=file.name, config={"display_name": "nightly"})
    assert (job.state.name, job.done, job.display_name, job.model) == (
        "JOB_STATE_PENDING",
        False,
        "nightly",
        f"models/{MODEL}",
    )
    assert sdk("batches.get", name=job.name) == job
    gemini_emulator.advance(3600)
    job = sdk.finished(job.name)
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert job.create_time < job.end_time <= job.update_time
    assert job.dest.file_name == "files/batch-" + job.name.removeprefix("batches/")

    data = sdk("files.download", file=job.dest.file_name)
    assert keys(data) == [*(f"row-{number}" for number in range(8)), "long"]
    target = tmp_path / "out.jsonl"
    assert sdk("files.download", file=job.dest.file_name, destination=str(target)) is None
    assert target.read_bytes() == data
    assert sdk("files.get", name=job.dest.file_name).name == job.dest.file_name
    too_long = sdk.refused("files.delete", name=job.dest.file_name)
    assert too_long[:2] == (400, "INVALID_ARGUMENT")
    assert "cannot be more than 40 characters" in too_long[2]

    sdk("batches.delete", name=job.name)
    assert sdk.refused("batches.get", name=job.name)[:2] == (404, "NOT_FOUND")
    assert sdk.refused("batches.cancel", name=job.name)[:2] == (404, "NOT_FOUND")
    assert sdk.refused("files.download", file=job.dest.file_name)[0] == 404
    sdk("files.delete", name=file.name)
    assert sdk.refused("files.get", name=file.name)[:2] == (403, "PERMISSION_DENIED")


def test_an_inline_job(sdk: Sdk) -> None:
    """Typed and plain requests, a row that fails, metadata back with every row."""
    address = "https://generativelanguage.googleapis.com/v1beta/files/gone"
    gone = genai.types.Part.from_uri(file_uri=address, mime_type="image/png")
    config = genai.types.GenerateContentConfig(
        system_instruction="Be brief.",
        top_k=5,
        thinking_config=genai.types.ThinkingConfig(include_thoughts=True),
        response_mime_type="application/json",
        response_schema=genai.types.Schema(
            type=genai.types.Type.OBJECT, properties={"a": genai.types.Schema(type=genai.types.Type.INTEGER)}
        ),
    )
    requests = [
        genai.types.InlinedRequest(contents="One.", metadata={"key": "1"}, config=config),
        {"contents": [{"role": "user", "parts": [{"text": "Two."}]}], "metadata": {"key": "2", "half_of": "4"}},
        genai.types.InlinedRequest(contents=[gone], metadata={"key": "3"}),
    ]
    job = sdk.finished(sdk("batches.create", model=MODEL, src=requests).name)
    first, second, third = job.dest.inlined_responses
    assert isinstance(json.loads(first.response.text)["a"], int)
    assert second.response.candidates[0].finish_reason.name == "STOP"
    assert second.response.usage_metadata.total_token_count > second.response.usage_metadata.prompt_token_count > 0
    assert [one.metadata for one in (first, second, third)] == [
        {"key": "1"},
        {"key": "2", "half_of": "4"},
        {"key": "3"},
    ]
    assert (third.response, third.error.code) == (None, 3)


def test_embeddings(sdk: Sdk) -> None:
    """Inline, and from a file made in memory."""
    contents = {"contents": ["one", "two"], "config": {"output_dimensionality": 8, "task_type": "CLUSTERING"}}
    job = sdk.finished(sdk("batches.create_embeddings", model=EMBEDDER, src={"inlined_requests": contents}).name)
    vectors = [one.response.embedding.values for one in job.dest.inlined_embed_content_responses]
    assert [len(one) for one in vectors] == [8, 8]
    assert vectors[0] != vectors[1]

    source = io.BytesIO(line("a", content={"parts": [{"text": "one"}]}, output_dimensionality=8, taskType="CLUSTERING"))
    file = sdk("files.upload", file=source, config={"mime_type": JSONL, "name": "my-rows"})
    assert file.name == "files/my-rows"
    job = sdk("batches.create_embeddings", model=EMBEDDER, src={"file_name": file.name}, config={"display_name": "e"})
    assert (job.display_name, job.model) == ("e", f"models/{EMBEDDER}")
    (row,) = sdk("files.download", file=sdk.finished(job.name).dest.file_name).splitlines()
    assert json.loads(row)["response"]["embedding"]["values"] == pytest.approx(vectors[0])


def test_lists(sdk: Sdk) -> None:
    """Nothing yet; then pages of all kinds of jobs and of files, full and half full."""
    assert sdk.every("batches.list", 2) == sdk.every("files.list", 2) == []
    files = [sdk("files.upload", file=io.BytesIO(rows(1)), config={"mime_type": JSONL}) for _ in range(4)]
    embeddings = {"inlined_requests": {"contents": ["x"]}}
    jobs = [
        *(sdk("batches.create", model=MODEL, src=file.name) for file in files[:3]),
        sdk("batches.create", model=MODEL, src=[{"contents": "Hello."}]),
        sdk("batches.create_embeddings", model=EMBEDDER, src=embeddings),
    ]
    for size in (1, 2, 5):
        assert {one.name for one in sdk.every("batches.list", size)} == {one.name for one in jobs}
        assert {one.name for one in sdk.every("files.list", size)} == {one.name for one in files}
    listed = {one.name: one for one in sdk.every("batches.list", 100)}
    assert {job.name: sdk.finished(job.name) for job in jobs} == listed


def test_cancelling(sdk: Sdk, gemini_emulator: GeminiEmulator) -> None:
    """Before it began a job ends as cancelled, without results; while it runs, with what was done by then."""
    gemini_emulator.pace(queue_delay=3600)
    job = sdk("batches.create", model=MODEL, src=[{"contents": "Hello."}])
    assert sdk("batches.cancel", name=job.name) is None
    job = sdk.finished(job.name)
    assert (job.state.name, job.dest) == ("JOB_STATE_CANCELLED", None)

    gemini_emulator.pace(rows_per_second=1)
    job = sdk("batches.create", model=MODEL, src=[{"contents": f"{number}"} for number in range(1000)])
    gemini_emulator.advance(100)
    assert sdk("batches.get", name=job.name).state.name == "JOB_STATE_RUNNING"
    sdk("batches.cancel", name=job.name)
    job = sdk.finished(job.name)
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    kinds = ["answered" if one.response else one.error.code for one in job.dest.inlined_responses]
    answered = kinds.count("answered")
    assert 100 <= answered < 1000
    assert kinds == ["answered"] * answered + [1] * (1000 - answered)


def test_expiry(sdk: Sdk, gemini_emulator: GeminiEmulator) -> None:
    """A job that takes longer than two days ends as expired; by then the file is gone, too."""
    gemini_emulator.pace(queue_delay=100 * 3600)
    file = sdk("files.upload", file=io.BytesIO(rows(1)), config={"mime_type": JSONL})
    job = sdk("batches.create", model=MODEL, src=file.name)
    gemini_emulator.advance(48 * 3600 + 1)
    job = sdk.finished(job.name)
    assert (job.state.name, job.dest) == ("JOB_STATE_EXPIRED", None)
    assert sdk.refused("files.get", name=file.name)[0] == 403
    assert sdk.refused("batches.create", model=MODEL, src=file.name)[0] == 403


def test_refusals(sdk: Sdk) -> None:
    """The errors that users meet most, as the SDK tells them."""
    wrong = rows(1) + line("bad", contents=[], thinking_config={}) + b"{\n"
    file = sdk("files.upload", file=io.BytesIO(wrong), config={"mime_type": JSONL})
    code, status, message = sdk.refused("batches.create", model=MODEL, src=file.name)
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert [one.partition(":")[0] for one in message.splitlines()] == ["Error on line 2", "Error on line 3"]
    assert "no such field: 'thinking_config'" in message

    code, status, message = sdk.refused("batches.create", model="gemini-0", src=[{"contents": "Hello."}])
    assert (code, status) == (404, "NOT_FOUND")
    assert "models/gemini-0 is not found for API version v1" in message
    assert sdk.refused("batches.get", name="batches/" + "0" * 36)[:2] == (404, "NOT_FOUND")
    assert sdk.refused("batches.delete", name="batches/" + "0" * 36)[:2] == (404, "NOT_FOUND")
    assert sdk.refused("files.delete", name="files/nothing")[:2] == (403, "PERMISSION_DENIED")
    bad = sdk.refused("files.upload", file=io.BytesIO(b"x"), config={"mime_type": "bad/mime_type"})
    assert bad == (400, "INVALID_ARGUMENT", "Unsupported MIME type: bad/mime_type")


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
def test_every_version(sdk: Sdk, version: str) -> None:
    """A call may name the version itself; what one made, another sees."""
    options = {"http_options": {"api_version": version}}
    file = sdk("files.upload", file=io.BytesIO(rows(1)), config={"mime_type": JSONL, **options})
    job = sdk("batches.create", model=MODEL, src=file.name, config=options)
    while not (job := sdk("batches.get", name=job.name, config=options)).done:
        pass
    assert keys(sdk("files.download", file=job.dest.file_name, config=options)) == ["row-0"]
    assert [one.name for one in sdk.every("batches.list", 5)] == [job.name]
