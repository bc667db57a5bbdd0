"""Batch jobs: create, get, list, cancel, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api import models
from gemini_batch.api.client import piece
from gemini_batch.api.error_answers import discarded
from gemini_batch.api.pages import pages
from gemini_batch.catalog import Method
from gemini_batch.errors import ApiError
from gemini_batch.wire import Operation, OperationList, contradiction, job_name, remote_job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gemini_batch.api.client import Client

#: The create call for each method.
CREATE_METHODS = {Method.GENERATE: "batchGenerateContent", Method.EMBED: "asyncBatchEmbedContent"}
PAGE_SIZE = 100


def _path(name: str) -> str:
    return "batches/" + piece(name.removeprefix("batches/"))


def _identified(operation: Operation, asked: str | None = None) -> Operation:
    """The operation, if it is the one that was ``asked`` for, or names any job. Raises ServiceError.

    The name stands in two places. An answer that names another job may be another caller's, mixed up by a proxy.
    """
    stated = {operation.name, operation.metadata.name if operation.metadata else None} - {"", None}
    name = stated.pop() if len(stated) == 1 else None
    if name is not None and (name == asked if asked else job_name(name)):
        operation.name = name
        return operation
    shown = " and ".join(sorted(repr(one)[:200] for one in stated | {name} if one)) or "no job"
    task = f"for {asked}" if asked else "to create a job"
    raise discarded(f"The service was asked {task} and answered with {shown}.")


async def create(
    client: Client,
    *,
    model: str,
    method: Method,
    display_name: str,
    file_name: str | None = None,
    requests: Sequence[tuple[str, msgspec.Raw]] | None = None,
    webhook_url: str | None = None,
) -> Operation:
    """Create one job from an uploaded file, or from ``(key, request)`` pairs inline. Sent once, never repeated.

    ``webhook_url``: where the service announces the job's end.

    The service has no idempotency token: a repeated create is a second, paid job. Raises ApiError or NetworkError; the
    caller decides whether the job may exist anyway. An answer that names no job, or contradicts what was sent, is a
    ServiceError: the job may exist.
    """
    if requests is not None:
        items = [{"request": request, "metadata": {"key": key}} for key, request in requests]
        source: dict[str, object] = {"requests": {"requests": items}}
    else:
        source = {"fileName": file_name}
    batch: dict[str, object] = {"displayName": display_name, "inputConfig": source}
    if webhook_url is not None:
        batch["webhookConfig"] = {"uris": [webhook_url]}
    body = msgspec.json.encode({"batch": batch})
    reply = await client.call(
        "POST",
        client.url(f"{models.path(model)}:{CREATE_METHODS[method]}"),
        content=body,
        headers={"content-type": "application/json"},
        repeat=False,
        idle=client.bounds.idle_large,
    )
    operation = _identified(client.read(reply, Operation))
    if (what := contradiction(remote_job(operation), file=file_name, model=model)) is not None:
        raise discarded(f"The answer to the create names {operation.name}, which {what}.")
    return operation


async def get(client: Client, name: str, *, server_timeout: int | None = None) -> Operation:
    """Get one job. ``server_timeout``: seconds that the service may take for a large inline answer.

    Raises ServiceError, also for an answer that names another job.
    """
    path, bounds = _path(name), client.bounds
    reply = await client.call(
        "GET",
        client.url(path),
        headers={"x-server-timeout": str(server_timeout)} if server_timeout else None,
        seconds=server_timeout + bounds.call if server_timeout else None,
        idle=server_timeout + bounds.idle if server_timeout else None,
        most=bounds.job,
    )
    return _identified(client.read(reply, Operation), "batches/" + name.removeprefix("batches/"))


def listing(client: Client, *, page_size: int = PAGE_SIZE) -> AsyncIterator[list[Operation]]:
    """List all jobs of the key's project, page by page; newest first, as observed.

    Raises ServiceError unless the list can be read to its end.
    """
    return pages(
        client, client.url("batches"), OperationList, "operations", Operation, asked={"pageSize": str(page_size)}
    )


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
