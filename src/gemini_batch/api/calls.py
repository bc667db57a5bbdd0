"""One request as a call of its own, with the service tier *flex*: half the price, answered when there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gemini_batch.api import models
from gemini_batch.catalog import Method

if TYPE_CHECKING:
    from gemini_batch.api.client import Client

#: Seconds until the first byte of an answer: "1 to 15 minutes" are the aim of flex (ai.google.dev, flex inference).
PATIENCE = 900
#: The call for each method.
CALL_METHODS = {Method.GENERATE: "generateContent", Method.EMBED: "embedContent"}
#: Which tier served the call, if that is not the one that was asked for (observed in threads, not documented).
TIER_HEADER = "x-gemini-service-tier"


class Called(NamedTuple):
    """The answer to a call: its JSON on one line, and the tier that served it, empty if the service does not say."""

    body: bytes
    tier: str


async def call(client: Client, *, model: str, method: Method, request: bytes) -> Called:
    """Send one request once, as ``flex``, and wait up to 15 minutes for the answer. Embeddings have no tiers: they are
    served as standard.

    ``request`` is JSON, as in a line of a batch. Raises ApiError, NetworkError or ServiceError; the caller decides
    whether the call may have been paid for.
    """
    raw = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    raw.pop("service_tier", None)
    if method is Method.GENERATE:
        raw["serviceTier"] = msgspec.Raw(b'"flex"')
    seconds = PATIENCE + client.bounds.call
    reply = await client.call(
        "POST",
        client.url(f"{models.path(model)}:{CALL_METHODS[method]}"),
        content=msgspec.json.encode(raw),
        headers={"content-type": "application/json", "x-server-timeout": str(PATIENCE)},
        repeat=False,
        seconds=seconds,
        idle=PATIENCE + client.bounds.idle,
        lane=client.lane(),
    )
    # A string in JSON has no line ending in it, so without those the answer means the same.
    body = client.clean.in_bytes(reply.content.translate(None, b"\r\n"))
    tier = client.header(reply, TIER_HEADER).lower()
    return Called(body, tier if method is Method.GENERATE else tier or "standard")
