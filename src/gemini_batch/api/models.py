"""Models: get one, list all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.client import piece
from gemini_batch.wire import RemoteModel, read

if TYPE_CHECKING:
    from gemini_batch.api.client import Client


def path(name: str) -> str:
    """The path of a model below the version: ``models/…`` for a bare id, ``tunedModels/…`` for a tuned model."""
    kind, slash, rest = name.partition("/")
    if slash and kind in {"models", "tunedModels"}:
        return f"{kind}/{piece(rest)}"
    return f"models/{piece(name)}"


async def get(client: Client, name: str) -> RemoteModel:
    """Get one model. Raises ApiError 404 for a model that the service does not know, or no longer serves."""
    response = await client.call("GET", client.url(path(name)))
    return read(response.content, RemoteModel)
