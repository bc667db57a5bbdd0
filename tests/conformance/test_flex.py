"""Google's Python SDK with ``config.service_tier``: the tier that served a call, refusals, and many calls at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_batch.testing import GeminiEmulator

genai = pytest.importorskip("google.genai", minversion="2.0")

MODEL = "gemini-3.8-flash"
FLEX = {"service_tier": "flex"}

pytestmark = [
    # The SDK's own ways with aiohttp.
    pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning"),
]


@pytest.fixture
def client(gemini_emulator: GeminiEmulator) -> Iterator[Any]:
    with genai.Client(api_key="a-key", http_options={"base_url": gemini_emulator.url}) as made:
        yield made


def served(response: Any) -> str | None:
    """The tier that the header of an answer names, as the guides read it."""
    found: str | None = response.sdk_http_response.headers.get("x-gemini-service-tier")
    return found


def tiers(gemini_emulator: GeminiEmulator) -> dict[str, int]:
    return {one["tier"]: one["paid"] for one in gemini_emulator.accounting()["interactive"]}


def test_a_call(client: Any, gemini_emulator: GeminiEmulator) -> None:
    """As a word, and as a value of the SDK's own type; without it, and as a stream."""
    for tier in ("flex", genai.types.ServiceTier.FLEX):
        config = genai.types.GenerateContentConfig(service_tier=tier)
        answer = client.models.generate_content(model=MODEL, contents="Name three rivers.", config=config)
        assert answer.text
        assert served(answer) == "flex"
    assert served(client.models.generate_content(model=MODEL, contents="Hello.")) == "standard"
    *_, last = client.models.generate_content_stream(model=MODEL, contents="Name three rivers.", config=FLEX)
    assert served(last) == "flex"
    assert tiers(gemini_emulator) == {"flex": 3, "standard": 1}
    assert gemini_emulator.accounting()["repeated"] == {"requests": 2, "paid": 4, "doubles": 2, "most": 3}
    gemini_emulator.faults.arm("F6")
    assert served(client.models.generate_content(model=MODEL, contents="Hello.", config=FLEX)) == "standard"


def test_refusals(client: Any, gemini_emulator: GeminiEmulator) -> None:
    """The SDK raises them with code, status and message; those of a quota have their details."""

    def refused(kind: type[Exception]) -> Any:
        with pytest.raises(kind) as caught:
            client.models.generate_content(model=MODEL, contents="Name three rivers.", config=FLEX)
        return caught.value

    gemini_emulator.faults.arm("F1", times=1)
    full = refused(genai.errors.ServerError)
    assert (full.code, full.status) == (503, "UNAVAILABLE")
    assert "high demand" in full.message
    gemini_emulator.faults.arm("F10", times=1)
    assert refused(genai.errors.ClientError).message == f"Flex API is not supported for model: {MODEL}."
    gemini_emulator.limit(requests_per_minute=0)
    over = refused(genai.errors.ClientError)
    assert (over.code, over.status) == (429, "RESOURCE_EXHAUSTED")
    details = {one["@type"].rpartition(".")[2]: one for one in over.details["error"]["details"]}
    assert details["QuotaFailure"]["violations"][0]["quotaDimensions"]["model"] == MODEL
    assert details["RetryInfo"]["retryDelay"] == "60s"
    assert tiers(gemini_emulator) == {}


def test_twenty_at_once(client: Any, gemini_emulator: GeminiEmulator) -> None:
    """All are answered, each once, whatever order the answers come in."""
    gemini_emulator.faults.arm("F8", delay=0.01, delay_most=0.1)

    async def ask(number: int) -> tuple[str | None, str]:
        answer = await client.aio.models.generate_content(model=MODEL, contents=f"number {number}", config=FLEX)
        return served(answer), answer.text

    async def everything() -> list[tuple[str | None, str]]:
        found = await asyncio.gather(*map(ask, range(20)))
        await client.aio.aclose()
        return found

    found = asyncio.run(everything())
    assert [tier for tier, _ in found] == ["flex"] * 20
    assert all(f"number {number}" in text for number, (_, text) in enumerate(found))
    assert gemini_emulator.accounting()["repeated"] == {"requests": 20, "paid": 20, "doubles": 0, "most": 1}
