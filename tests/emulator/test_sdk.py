"""The official Python SDK against the emulator, unchanged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from emulator.conftest import EMBEDDER, MODEL, lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from emulator.conftest import Api

genai = pytest.importorskip("google.genai")


@pytest.fixture
def client(world: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client that finds the emulator by the environment variable, as a user's program does."""
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", str(world.http.base_url).rstrip("/"))
    with genai.Client(api_key="a-key") as made:
        yield made


def test_a_file_batch(client: Any, world: Api, tmp_path: Path) -> None:
    """Upload in several chunks, create, get, list, download, delete."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(80_000))
    assert source.stat().st_size > 8 * 1024 * 1024  # more than one of the SDK's chunks
    file = client.files.upload(file=source, config={"mime_type": "application/jsonl", "display_name": "in"})
    job = client.batches.create(model=MODEL, src=file.name, config={"display_name": "d"})
    assert job.state.name == "JOB_STATE_PENDING"
    world.finish(job.name)
    job = client.batches.get(name=job.name)
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    target = tmp_path / "out.jsonl"
    client.files.download(file=job.dest.file_name, destination=str(target))
    assert target.read_bytes().count(b"\n") == 80_000
    assert [one.name for one in client.batches.list(config={"page_size": 1})] == [job.name]
    assert [one.name for one in client.files.list()] == [file.name]
    client.batches.delete(name=job.name)
    client.files.delete(name=file.name)
    with pytest.raises(genai.errors.ClientError, match="403"):
        client.files.get(name=file.name)


def test_an_inline_batch(client: Any) -> None:
    """With the SDK's own mixture of spellings."""
    config = {
        "top_k": 5,
        "thinking_config": {"include_thoughts": True, "thinking_level": "LOW"},
        "response_mime_type": "application/json",
        "response_schema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "property_ordering": ["a"]},
        "system_instruction": "Be brief.",
        "tools": [{"google_search": {}}],
    }
    request = {"contents": "Hello.", "metadata": {"key": "1"}, "config": config}
    job = client.batches.create(model=MODEL, src=[request])
    job = client.batches.get(name=job.name)
    (answer,) = job.dest.inlined_responses
    assert answer.metadata == {"key": "1"}
    assert answer.response.text.startswith('{"a":')
    client.batches.cancel(name=job.name)


@pytest.mark.filterwarnings("ignore:batches.create_embeddings")
def test_embeddings(client: Any) -> None:
    """Inline, and from a file (which the SDK names in snake_case)."""
    source = {"inlined_requests": {"contents": ["one", "two"], "config": {"output_dimensionality": 8}}}
    job = client.batches.create_embeddings(model=EMBEDDER, src=source)
    found = client.batches.get(name=job.name).dest.inlined_embed_content_responses
    assert [len(one.response.embedding.values) for one in found] == [8, 8]


def test_answers_at_once(client: Any) -> None:
    """generate, embed, count, models."""
    assert "offline" in client.models.generate_content(model=MODEL, contents="Hi.").text
    assert client.models.count_tokens(model=MODEL, contents="x" * 40).total_tokens == 10
    assert client.models.get(model=MODEL).name == f"models/{MODEL}"
    assert len(list(client.models.list(config={"page_size": 5}))) > 5
    image = client.models.generate_content(model=MODEL, contents="Hi.", config={"response_modalities": ["IMAGE"]})
    assert image.candidates[0].content.parts[0].inline_data.data.startswith(b"\x89PNG")


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # the SDK's own way with aiohttp
def test_the_async_client(client: Any, world: Api, tmp_path: Path) -> None:
    """The same over aiohttp, which looks headers up by their exact case."""
    source = tmp_path / "in.jsonl"
    source.write_bytes(lines(20))

    async def work() -> None:
        api = client.aio
        file = await api.files.upload(file=source, config={"mime_type": "application/jsonl"})
        job = await api.batches.create(model=MODEL, src=file.name)
        job = await api.batches.get(name=job.name)
        data = await api.files.download(file=job.dest.file_name)
        assert data.count(b"\n") == 20
        assert [one.name async for one in await api.batches.list()] == [job.name]
        await api.aclose()

    asyncio.run(work())
    assert world.http.get("/emulator/accounting").json()["totals"]["paid"] == 20
