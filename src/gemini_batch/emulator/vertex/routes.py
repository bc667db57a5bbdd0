"""Which call of Vertex AI, Cloud Storage and BigQuery has which path and name.

Jobs have the names of the Developer API's batches, so that faults of calls fit both.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gemini_batch.emulator.vertex import loads
from gemini_batch.emulator.vertex.storage import uploads

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from gemini_batch.emulator.vertex.cloud import Cloud

    #: Method, path, name of the operation, and who does the work.
    Route = tuple[str, str, str, Callable[..., Any]]

_JOBS = "/projects/{project}/locations/{location}/batchPredictionJobs"
_BUCKETS = "/storage/v1/b"
_BUCKET = f"{_BUCKETS}/{{bucket}}"
_PROJECT = "/bigquery/v2/projects/{project}"
_DATASETS = f"{_PROJECT}/datasets"
_TABLES = f"{_DATASETS}/{{dataset}}/tables"
#: Paths that begin so are matched before they are decoded: the name of an object may have a slash.
QUOTED = ("/storage/", "/upload/storage/", "/download/storage/", "/upload/bigquery/")


def routes(cloud: Cloud) -> list[Route]:
    """All of them; of two paths that match, the earlier one counts."""
    return [*_of_jobs(cloud), *_of_buckets(cloud), *_of_objects(cloud), *_of_tables(cloud)]


def _of_jobs(cloud: Cloud) -> list[Route]:
    jobs, one = cloud.jobs, f"{_JOBS}/{{batch}}"
    return [
        ("POST", _JOBS, "batches.create", jobs.create),
        ("GET", _JOBS, "batches.list", jobs.list),
        ("POST", f"{one}:cancel", "batches.cancel", jobs.cancel),
        ("GET", one, "batches.get", jobs.get),
        ("DELETE", one, "batches.delete", jobs.delete),
    ]


def _of_buckets(cloud: Cloud) -> list[Route]:
    storage = cloud.storage
    return [
        ("POST", _BUCKETS, "storage.buckets.insert", storage.create_bucket),
        ("GET", _BUCKETS, "storage.buckets.list", storage.list_buckets),
        ("GET", _BUCKET, "storage.buckets.get", storage.get_bucket),
        ("DELETE", _BUCKET, "storage.buckets.delete", storage.delete_bucket),
    ]


def _of_objects(cloud: Cloud) -> list[Route]:
    storage, all_of, one = cloud.storage, f"{_BUCKET}/o", f"{_BUCKET}/o/{{object}}"
    other = "b/{to_bucket}/o/{to_object}"
    # A client that does not write a slash in a name as %2F is understood, too.
    loose = f"{_BUCKET}/o/{{object:path}}"
    return [
        ("POST|PUT|DELETE", f"/upload{all_of}", uploads.ANY, partial(uploads.receiver, cloud.objects)),
        ("GET", all_of, "storage.objects.list", storage.list_objects),
        ("POST", f"{one}/rewriteTo/{other}", "storage.objects.rewrite", storage.rewrite),
        ("POST", f"{one}/copyTo/{other}", "storage.objects.copy", storage.copy),
        ("POST", f"{one}/compose", "storage.objects.compose", storage.compose),
        ("GET", f"/download{loose}", "storage.objects.download", storage.download),
        ("GET", loose, "storage.objects.get", storage.get_object),
        ("DELETE", loose, "storage.objects.delete", storage.delete_object),
        ("PATCH|PUT", loose, "storage.objects.patch", storage.update_object),
    ]


def _of_tables(cloud: Cloud) -> list[Route]:
    bigquery, dataset, table = cloud.bigquery, f"{_DATASETS}/{{dataset}}", f"{_TABLES}/{{table}}"
    return [
        ("POST", _DATASETS, "bigquery.datasets.insert", bigquery.create_dataset),
        ("GET", _DATASETS, "bigquery.datasets.list", bigquery.list_datasets),
        ("GET", dataset, "bigquery.datasets.get", bigquery.get_dataset),
        ("DELETE", dataset, "bigquery.datasets.delete", bigquery.delete_dataset),
        ("POST", _TABLES, "bigquery.tables.insert", bigquery.create_table),
        ("GET", _TABLES, "bigquery.tables.list", bigquery.list_tables),
        ("POST", f"{table}/insertAll", "bigquery.tabledata.insertAll", bigquery.insert_all),
        ("GET", f"{table}/data", "bigquery.tabledata.list", bigquery.list_rows),
        ("GET", table, "bigquery.tables.get", bigquery.get_table),
        ("DELETE", table, "bigquery.tables.delete", bigquery.delete_table),
        ("POST|PUT", f"/upload{_PROJECT}/jobs", loads.INSERT, cloud.loads.receiver),
        ("GET", f"{_PROJECT}/jobs/{{job}}", "bigquery.jobs.get", cloud.loads.get),
    ]
