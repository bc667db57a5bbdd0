"""Batch prediction jobs: create, get, list, cancel; and a job in the terms of the rest of the program."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api.error_answers import discarded
from gemini_batch.api.pages import pages
from gemini_batch.errors import ApiError
from gemini_batch.reading import Number, to_int
from gemini_batch.wire import BatchMetadata, BatchOutput, BatchStats, InputConfig, ListPage, Operation, Status, job_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from gemini_batch.api.client import Client, Reply
    from gemini_batch.api.vertex.storage import StoredObject

PAGE_SIZE = 100
_PUBLISHER = "publishers/google/models/"
#: What a version adds behind ``@``: ``gemini-3-flash@default``.
_VERSION = re.compile(r"@[^/]*$")
#: How objects with answers end: ``predictions.jsonl``, ``predictions.jsonl-00000-of-00002``.
_LINES = re.compile(r"\.jsonl(-\d+-of-\d+)?$")


class GcsSource(msgspec.Struct, rename="camel"):
    """Where requests are read from."""

    uris: list[str] | None = None


class JobInput(msgspec.Struct, rename="camel"):
    """The input of a job."""

    gcs_source: GcsSource | None = None


class OutputInfo(msgspec.Struct, rename="camel"):
    """Where a job writes its answers."""

    gcs_output_directory: str | None = None


class CompletionStats(msgspec.Struct, rename="camel"):
    """The counters of a job; ``incomplete_count`` -1: unknown."""

    successful_count: Number = None
    failed_count: Number = None
    incomplete_count: Number = None


class PredictionJob(msgspec.Struct, rename="camel"):
    """A BatchPredictionJob, as far as it is used."""

    name: str = ""
    display_name: str | None = None
    model: str | None = None
    state: str | None = None
    input_config: JobInput | None = None
    output_info: OutputInfo | None = None
    completion_stats: CompletionStats | None = None
    error: Status | None = None
    create_time: str | None = None
    update_time: str | None = None
    end_time: str | None = None


class _Jobs(ListPage, rename="camel"):
    batch_prediction_jobs: list[msgspec.Raw] | None = None


def operation(job: PredictionJob) -> Operation:
    """The job as the rest of the program reads jobs."""
    stats, output = job.completion_stats, job.output_info
    uris = (job.input_config and job.input_config.gcs_source and job.input_config.gcs_source.uris) or []
    return Operation(
        name=job.name,
        metadata=BatchMetadata(
            name=job.name,
            model=bare_model(job.model or ""),
            display_name=job.display_name,
            state=job.state,
            input_config=InputConfig(file_name=uris[0] if len(uris) == 1 else None),
            output=BatchOutput(responses_file=output.gcs_output_directory if output else None),
            batch_stats=None if stats is None else _stats(stats),
            create_time=job.create_time,
            update_time=job.update_time,
            end_time=job.end_time,
        ),
        error=job.error,
    )


def _stats(stats: CompletionStats) -> BatchStats:
    succeeded, failed = to_int(stats.successful_count), to_int(stats.failed_count)
    known = str(stats.incomplete_count).strip() not in {"-1", "None", ""}
    pending = to_int(stats.incomplete_count) if known else 0
    return BatchStats(
        request_count=succeeded + failed + pending if known else None,
        successful_request_count=succeeded,
        failed_request_count=failed,
        pending_request_count=pending,
    )


def answer_files(found: Iterable[StoredObject]) -> list[StoredObject]:
    """Those of the objects of a job that hold its answers: ``predictions.jsonl``, or several that are numbered.

    What clients have seen next to them (``incremental_predictions.jsonl``) is an earlier copy, and counts only alone.
    """
    written = [one for one in found if _LINES.search(one.name)]
    final = [one for one in written if not posixpath.basename(one.name).startswith("incremental_")]
    return final or written


def bare_model(name: str) -> str:
    """The id of a model: ``gemini-3-flash`` for ``projects/…/publishers/google/models/gemini-3-flash@default``."""
    return _VERSION.sub("", name.rpartition("/")[2])


def model_path(model: str) -> str:
    """How a create names a model: a tuned one by its own resource name."""
    return model if model.startswith("projects/") else f"{_PUBLISHER}{model.removeprefix('models/')}"


def _identified(client: Client, reply: Reply, *, asked: str | None = None) -> Operation:
    job = client.read(reply, PredictionJob)
    name = job_name(job.name)
    # The service may name the project by its number.
    if not name or (asked is not None and name.rpartition("/")[2] != asked.rpartition("/")[2]):
        task = f"for {asked}" if asked else "to create a job"
        raise discarded(f"The service was asked {task} and answered with {job.name[:200]!r}.")
    if asked is not None:
        job.name = asked
    return operation(job)


async def create(client: Client, parent: str, *, model: str, display_name: str, source: str, prefix: str) -> Operation:
    """Create one job from the requests at ``source``, with its answers below ``prefix``. Sent once, never repeated.

    A repeated create is a second, paid job. Raises ApiError or NetworkError; the caller decides whether the job may
    exist anyway. An answer that names no job is a ServiceError: the job may exist.
    """
    body = {
        "displayName": display_name,
        "model": model_path(model),
        "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [source]}},
        "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": {"outputUriPrefix": prefix}},
    }
    reply = await client.call(
        "POST",
        client.url(f"{parent}/batchPredictionJobs"),
        content=msgspec.json.encode(body),
        headers={"content-type": "application/json"},
        repeat=False,
    )
    return _identified(client, reply)


async def get(client: Client, name: str) -> Operation:
    """Get one job by its whole name. Raises ServiceError, also for an answer that names another job."""
    return _identified(client, await client.call("GET", client.url(name)), asked=name)


async def listing(client: Client, parent: str, *, page_size: int = PAGE_SIZE) -> AsyncIterator[list[Operation]]:
    """List all jobs of a location, page by page. Raises ServiceError unless the list can be read to its end."""
    url = client.url(f"{parent}/batchPredictionJobs")
    found = pages(client, url, _Jobs, "batch_prediction_jobs", PredictionJob, asked={"pageSize": str(page_size)})
    async for page in found:
        yield [operation(job) for job in page]


async def cancel(client: Client, name: str) -> None:
    """Ask the service to stop a job. The job may still end as SUCCEEDED; one that has ended already stays as it is."""
    try:
        await client.call(
            "POST", client.url(f"{name}:cancel"), content=b"{}", headers={"content-type": "application/json"}
        )
    except ApiError as error:
        if error.reason != "FAILED_PRECONDITION":
            raise
