"""Batch jobs: create, get, list, cancel, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api import models
from gemini_batch.api.client import piece
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError
from gemini_batch.wire import Operation, OperationList, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gemini_batch.api.client import Client

#: The create call for each method.
CREATE_METHODS = {Method.GENERATE: "batchGenerateContent", Method.EMBED: "asyncBatchEmbedContent"}
PAGE_SIZE = 100
#: A create with inline requests has a body of up to 20 MB and is answered only after all of it was read.
CREATE_TIMEOUT = 180.0


def _path(name: str) -> str:
    return "batches/" + piece(name.removeprefix("batches/"))


async def create(
    client: Client,
    *,
    model: str,
    method: Method,
    display_name: str,
    file_name: str | None = None,
    requests: Sequence[tuple[str, msgspec.Raw]] | None = None,
) -> Operation:
    """Create one job from an uploaded file, or from ``(key, request)`` pairs inline. Sent once, never repeated.

    The service has no idempotency token: a repeated create is a second, paid job. Raises ApiError or NetworkError; the
    caller decides whether the job may exist anyway.
    """
    if requests is not None:
        items = [{"request": request, "metadata": {"key": key}} for key, request in requests]
        source: dict[str, object] = {"requests": {"requests": items}}
    else:
        source = {"fileName": file_name}
    body = msgspec.json.encode({"batch": {"displayName": display_name, "inputConfig": source}})
    response = await client.call(
        "POST",
        client.url(f"{models.path(model)}:{CREATE_METHODS[method]}"),
        content=body,
        headers={"content-type": "application/json"},
        repeat=False,
        timeout=CREATE_TIMEOUT,
    )
    return read(response.content, Operation)


async def get(client: Client, name: str, *, server_timeout: int | None = None) -> Operation:
    """Get one job. ``server_timeout``: seconds that the service may take for a large inline answer."""
    headers = {"x-server-timeout": str(server_timeout)} if server_timeout else None
    response = await client.call(
        "GET", client.url(_path(name)), headers=headers, timeout=server_timeout + 30.0 if server_timeout else None
    )
    return read(response.content, Operation)


async def listing(client: Client, *, page_size: int = PAGE_SIZE) -> AsyncIterator[list[Operation]]:
    """List all jobs of the key's project, page by page; newest first, as observed."""
    token, seen = "", {""}
    while True:
        params = {"pageSize": str(page_size), **({"pageToken": token} if token else {})}
        response = await client.call("GET", client.url("batches"), params=params)
        page = read(response.content, OperationList)
        yield page.operations
        token = page.next_page_token
        if token in seen:  # the last page has none; a repeated one would loop forever
            return
        seen.add(token)


async def cancel(client: Client, name: str) -> None:
    """Ask the service to stop a job. The job may still end as SUCCEEDED; one that has ended already stays as it is."""
    try:
        await client.call(
            "POST", client.url(f"{_path(name)}:cancel"), content=b"{}", headers={"content-type": "application/json"}
        )
    except ApiError as error:
        if error.reason != "FAILED_PRECONDITION":  # the service's reason for a job that has just ended
            raise


async def delete(client: Client, name: str) -> None:
    """Delete a job, and with it its output file."""
    await client.call("DELETE", client.url(_path(name)))
