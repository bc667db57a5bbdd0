"""Reads a list page by page, to its end or to a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gemini_batch.errors import ServiceError
from gemini_batch.wire import ListPage, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gemini_batch.api.client import Client

T = TypeVar("T")
P = TypeVar("P", bound=ListPage)


async def pages(
    client: Client, url: str, page: type[P], field: str, item: type[T], *, asked: Mapping[str, str]
) -> AsyncIterator[list[T]]:
    """Yield the entries of each page; one that cannot be read at all is an entry without a name.

    ``asked``: what is asked for with each page, its size for example.
    Raises ServiceError if the list cannot be read to its end, so that no one takes a part of it for the whole: a page
    is not one, a token comes again, or there are more pages than the bounds permit.
    """
    bounds, clock = client.bounds, client.world.monotonic
    end = clock() + bounds.listing
    token, seen = "", {""}
    for _ in range(bounds.pages):
        params = {**asked, **({"pageToken": token} if token else {})}
        reply = await client.call("GET", url, params=params, seconds=min(bounds.call, end - clock()))
        found = client.read(reply, page)
        yield [_entry(client, raw, item) for raw in getattr(found, field) or ()]
        token = found.next_page_token or ""
        if not token:
            return
        if token in seen or clock() >= end:
            break
        seen.add(token)
    raise ServiceError(
        f"The service's list of {url.rpartition('/')[2]} does not end after {len(seen)} pages.",
        code="endless_list",
        next="What it shows cannot be relied on. Run the same command again later.",
    )


def _entry(client: Client, raw: object, item: type[T]) -> T:
    try:
        return read(raw, item, clean=client.clean)  # type: ignore[arg-type]
    except ServiceError:
        return item()
