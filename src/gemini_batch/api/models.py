"""Models: get one, list all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api.client import piece
from gemini_batch.api.error_answers import discarded
from gemini_batch.wire import RemoteModel, same_model

if TYPE_CHECKING:
    from gemini_batch.api.client import Client


_JSON = {"Content-Type": "application/json"}


def path(name: str) -> str:
    """The path of a model below the version: ``models/…`` for a bare id, ``tunedModels/…`` for a tuned model."""
    kind, slash, rest = name.partition("/")
    if slash and kind in {"models", "tunedModels"}:
        return f"{kind}/{piece(rest)}"
    return f"models/{piece(name)}"


async def count_tokens(client: Client, name: str, request: bytes, *, embeds: bool) -> int:
    """The tokens of the prompt of a request, as the service counts them; that costs nothing. Raises ServiceError."""
    raw = msgspec.json.decode(request, type=dict[str, msgspec.Raw])
    asked: dict[str, object] = {"contents": [raw["content"]]} if embeds and "content" in raw else {
        "generateContentRequest": {"model": path(name), **raw}
    }  # fmt: skip
    url = client.url(f"{path(name)}:countTokens")
    reply = await client.call("POST", url, content=msgspec.json.encode(asked), headers=_JSON)
    return client.read(reply, _Counted).total_tokens


class _Counted(msgspec.Struct, rename="camel"):
    total_tokens: int


async def get(client: Client, name: str) -> RemoteModel:
    """Get one model. Raises ApiError 404 for a model that the service does not know, or no longer serves.

    Raises ServiceError for an answer that describes another model.
    """
    reply = await client.call("GET", client.url(path(name)))
    found = client.read(reply, RemoteModel)
    if not found.name or not same_model(found.name, name):
        raise discarded(f"The service was asked for the model {name} and answered with {found.name[:200]!r}.")
    return found
