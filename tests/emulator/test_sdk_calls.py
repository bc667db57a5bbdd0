"""The official Python SDK, unchanged: streams and caches, blocking and asynchronous, on every version that has them."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from emulator.conftest import MODEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emulator.conftest import Api

genai = pytest.importorskip("google.genai")

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # the SDK's own way with aiohttp

PROMPT = "Why is the sky blue, and the evening red?\u2028 And what\x85 is in between? " * 3
FUNCTION = {
    "name": "look_up",
    "parameters": {"type": "OBJECT", "properties": {"what": {"type": "STRING"}}, "required": ["what"]},
}
CONFIGS: dict[str, dict[str, Any]] = {
    "text": {},
    "thoughts": {"thinking_config": {"include_thoughts": True}},
    "candidates": {"candidate_count": 2},
    "JSON": {"response_mime_type": "application/json", "response_schema": {"type": "OBJECT"}},
    "an image": {"response_modalities": ["TEXT", "IMAGE"]},
    "a function call": {
        "tools": [{"function_declarations": [FUNCTION]}],
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
    },
}


class Sdk:
    """Calls a method of the client, or of its asynchronous half, and collects what it gives."""

    def __init__(self, client: Any, *, is_async: bool) -> None:
        self.client = client
        self._loop = asyncio.new_event_loop() if is_async else None
        self._half = client.aio if is_async else client

    def __call__(self, method: str, **arguments: Any) -> Any:
        group, _, name = method.partition(".")
        made = getattr(getattr(self._half, group), name)(**arguments)
        if self._loop is None:
            return list(made) if inspect.isgenerator(made) or name == "list" else made
        return self._loop.run_until_complete(self._collected(made))

    async def _collected(self, made: Any) -> Any:
        found = await made
        return [one async for one in found] if hasattr(found, "__aiter__") else found

    def refused(self, method: str, **arguments: Any) -> tuple[int, str]:
        with pytest.raises(genai.errors.APIError) as caught:
            self(method, **arguments)
        return caught.value.code, str(caught.value.message)

    def close(self) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._half.aclose())
            self._loop.close()
        self.client.close()


@pytest.fixture(params=[False, True], ids=["blocking", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture
def sdk(world: Api, is_async: bool, version: str) -> Iterator[Sdk]:
    options = {"base_url": str(world.http.base_url).rstrip("/"), "api_version": version}
    made = Sdk(genai.Client(api_key="a-key", http_options=options), is_async=is_async)
    yield made
    made.close()


@pytest.mark.parametrize("version", ["v1", "v1beta"])
@pytest.mark.parametrize("asked", CONFIGS)
def test_a_stream(asked: str, sdk: Sdk) -> None:
    """Its chunks are the answer: the same text, the same parts, the same usage."""
    arguments = {"model": MODEL, "contents": PROMPT, "config": CONFIGS[asked]}
    whole = sdk("models.generate_content", **arguments)
    chunks = sdk("models.generate_content_stream", **arguments)
    assert len(chunks) > 1 or asked in ("a function call", "JSON")
    assert {chunk.response_id for chunk in chunks} == {whole.response_id}
    assert {chunk.model_version for chunk in chunks} == {whole.model_version}
    for index, candidate in enumerate(whole.candidates):
        pieces = [one for chunk in chunks for one in chunk.candidates if one.index == index]
        parts = [part for piece in pieces for part in piece.content.parts]
        for thought in (None, True):
            said = [part.text for part in parts if part.text is not None and part.thought == thought]
            assert "".join(said) == "".join(
                part.text for part in candidate.content.parts if part.text is not None and part.thought == thought
            )
        others = [part for part in candidate.content.parts if part.text is None]
        assert [part for part in parts if part.text is None] == others
        assert [piece.finish_reason for piece in pieces if piece.finish_reason] == [candidate.finish_reason]
    assert chunks[-1].usage_metadata == whole.usage_metadata


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_a_stream_that_is_refused(sdk: Sdk) -> None:
    assert sdk.refused("models.generate_content_stream", model="gemini-0", contents="Hi.")[0] == 404
    config = {"temperature": 9}
    assert (
        sdk.refused("models.generate_content_stream", model=MODEL, contents="What does it say?", config=config)[0]
        == 400
    )


@pytest.mark.parametrize("version", ["v1beta", "v1alpha"])
def test_caches(sdk: Sdk, version: str) -> None:
    """Create, get, list, update, use in a call, a stream and a job, delete."""
    book = "long" * 5000
    cache = sdk(
        "caches.create",
        model=MODEL,
        config={"contents": book, "system_instruction": "Be brief.", "display_name": "a book", "ttl": "60s"},
    )
    assert cache.usage_metadata.total_token_count == 5003
    assert (cache.model, cache.display_name) == (f"models/{MODEL}", "a book")
    assert cache.expire_time - cache.create_time == dt.timedelta(seconds=60)
    assert sdk("caches.get", name=cache.name) == cache
    other = sdk("caches.create", model=MODEL, config={"contents": book})
    assert [one.name for one in sdk("caches.list", config={"page_size": 1})] == [other.name, cache.name]
    changed = sdk("caches.update", name=cache.name, config={"ttl": "7200s"})
    assert changed.expire_time - changed.update_time > dt.timedelta(hours=1.9)
    moment = dt.datetime(2031, 1, 1, tzinfo=dt.UTC)
    assert sdk("caches.update", name=cache.name, config={"expire_time": moment}).expire_time == moment

    config = {"cached_content": cache.name}
    answer = sdk("models.generate_content", model=MODEL, contents="What does it say?", config=config)
    assert answer.usage_metadata.cached_content_token_count == 5003
    assert answer.usage_metadata.prompt_token_count > 5003
    chunks = sdk("models.generate_content_stream", model=MODEL, contents="What does it say?", config=config)
    assert chunks[-1].usage_metadata == answer.usage_metadata
    job = sdk("batches.create", model=MODEL, src=[{"contents": "What does it say?", "config": config}])
    while not (job := sdk("batches.get", name=job.name)).done:
        pass
    (row,) = job.dest.inlined_responses
    assert row.response.usage_metadata == answer.usage_metadata

    sdk("caches.delete", name=cache.name)
    gone = (403, "CachedContent not found (or permission denied)")
    assert sdk.refused("caches.get", name=cache.name) == gone
    assert sdk.refused("models.generate_content", model=MODEL, contents="What does it say?", config=config) == gone
    assert (
        sdk.refused("models.generate_content_stream", model=MODEL, contents="What does it say?", config=config) == gone
    )
    assert sdk.refused("caches.create", model=MODEL, config={"contents": "short"})[0] == 400
    assert [one.name for one in sdk("caches.list")] == [other.name]


@pytest.mark.parametrize("version", ["v1"])
def test_no_caches(sdk: Sdk) -> None:
    """The service has them in its newer versions only."""
    code, message = sdk.refused("caches.create", model=MODEL, config={"contents": "long" * 5000})
    assert (code, "only in v1beta and v1alpha" in message) == (404, True)
