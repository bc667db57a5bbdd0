"""Reads a list page by page, to its end or to a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gemini_batch.errors import ServiceError
from gemini_batch.wire import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_batch.api.client import Client
    from gemini_batch.wire import OperationList, RemoteFileList

T = TypeVar("T")


async def pages(
    client: Client, path: str, page: type[OperationList | RemoteFileList], field: str, item: type[T], *, page_size: int
) -> AsyncIterator[list[T]]:
    """Yield the entries of each page; one that cannot be read at all is an entry without a name.

    Raises ServiceError if the list cannot be read to its end, so that no one takes a part of it for the whole: a page
    is not one, a token comes again, or there are more pages than the bounds permit.
    """
    bounds, clock = client.bounds, client.world.monotonic
    end = clock() + bounds.listing
    token, seen = "", {""}
    for _ in range(bounds.pages):
        params = {"pageSize": str(page_size), **({"pageToken": token} if token else {})}
        reply = await client.call("GET", client.url(path), params=params, seconds=min(bounds.call, end - clock()))
        found = client.read(reply, page)
        yield [_entry(client, raw, item) for raw in getattr(found, field) or ()]
        token = found.next_page_token or ""
        if not token:
            return
        if token in seen or clock() >= end:
            break
        seen.add(token)
    raise ServiceError(
        f"The service's list of {path} does not end after {len(seen)} pages.",
        code="endless_list",
        next="What it shows cannot be relied on. Run the same command again later.",
    )


def _entry(client: Client, raw: object, item: type[T]) -> T:
    try:
        return read(raw, item, clean=client.clean)  # type: ignore[arg-type]
    except ServiceError:
        return item()
