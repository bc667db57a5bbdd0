"""The calls of BigQuery, by google-cloud-bigquery. What that raises becomes an error of ours."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any

from gemini_batch.errors import Error, ServiceError, UsageError
from gemini_batch.objects.bigquery.policy import JobSeen, TableSeen
from gemini_batch.safe_text import printable
from gemini_batch.stopping import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gemini_batch.objects.bigquery.policy import TableAddress

#: Seconds that a call may take, and between two questions whether the work is to stop.
_TIMEOUT, _PATIENCE = 120.0, 5.0
#: Seconds for which calls that got no good answer are repeated, and between two of them at most.
_LONG, _PAUSE = 180.0, 5.0
#: Rows of an answer at most; BigQuery ends it sooner if they are large.
_PAGE = 10_000
#: How values arrive as the text that BigQuery writes, where Parquet or its readers have no such type.
_AS_TEXT = frozenset({"BIGNUMERIC", "BIGDECIMAL", "GEOGRAPHY", "INTERVAL", "JSON", "RANGE"})
_NESTED = frozenset({"RECORD", "STRUCT"})
_BUSY = frozenset({"quotaExceeded", "rateLimitExceeded", "backendError", "internalError", "jobRateLimitExceeded"})
_PASSING = _BUSY - {"quotaExceeded"}
_SAID = 300


def _library() -> Any:
    try:
        import google.cloud.bigquery as bigquery  # noqa: PLR0402 - what is missing is found so
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            "A table of BigQuery needs google-cloud-bigquery and pyarrow, and one of them is not installed.",
            code="missing_extra",
            next="Run pip install 'gemini-batch[bigquery]'.",
        ) from None
    del pyarrow
    return bigquery


class BigQuery:
    """BigQuery, with the credentials that ``find`` finds when they are needed first; an emulator gets none."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    @functools.cached_property
    def _client(self) -> Any:
        bigquery = _library()
        if os.environ.get("BIGQUERY_EMULATOR_HOST"):
            from google.auth.credentials import AnonymousCredentials

            credentials: Any = AnonymousCredentials()  # type: ignore[no-untyped-call]
        else:
            credentials = self._find()
        # Each call names its project.
        return bigquery.Client(project="-", credentials=credentials)

    @functools.cached_property
    def _how(self) -> dict[str, Any]:
        """How calls are made: the library repeats them for ten minutes, and cannot be stopped meanwhile."""
        from google.api_core.retry import Retry

        return {"retry": Retry(_may_pass, maximum=_PAUSE, timeout=_LONG), "timeout": _TIMEOUT}

    def look(self, address: TableAddress) -> TableSeen | None:
        """What is there now; None if there is no such table in the dataset. Raises UsageError, ServiceError."""
        with explained(address):
            found = self._there(address)
            if found is None:  # a dataset that is not there is another matter
                self._client.get_dataset(f"{address.project}.{address.dataset}", **self._how)
                return None
            return _seen(found)

    def _there(self, address: TableAddress) -> Any:
        client = self._client  # says what is missing

        from google.api_core.exceptions import NotFound

        try:
            return client.get_table(_reference(address), **self._how)
        except NotFound:
            return None

    def batches(self, address: TableAddress, moment: int | None) -> Iterator[Any]:
        """The rows of a table as they were at a moment, as Arrow batches, one page at a time.

        Raises UsageError, ServiceError.
        """
        bigquery = _library()
        with explained(address):
            reference = _reference(address)
            fields = [_plain(one.to_api_repr()) for one in self._client.get_table(reference, **self._how).schema]
            if moment is not None:
                reference = bigquery.TableReference(
                    bigquery.DatasetReference(address.project, address.dataset), f"{address.table}@{moment}"
                )
            schema = [bigquery.SchemaField.from_api_repr(one) for one in fields]
            rows = self._client.list_rows(bigquery.Table(reference, schema=schema), page_size=_PAGE, **self._how)
            for batch in rows.to_arrow_iterable():
                check()
                yield batch

    def job(self, address: TableAddress, name: str, location: str | None) -> JobSeen | None:
        """A load job; None if there is none of this id. Raises UsageError, ServiceError."""
        from google.api_core.exceptions import NotFound

        with explained(address):
            try:
                found = self._client.get_job(name, project=address.project, location=location, **self._how)
            except NotFound:
                return None
            return _job(found)

    def wait(self, address: TableAddress, name: str, location: str | None) -> JobSeen:
        """Wait until a load job is done. Raises UsageError, ServiceError."""
        import concurrent.futures

        from google.api_core.exceptions import GoogleAPICallError

        with explained(address):
            job = self._client.get_job(name, project=address.project, location=location, **self._how)
            while not job.done(**self._how):
                check()
                # Also without an answer, this only takes its time: what is the matter is asked above.
                with contextlib.suppress(concurrent.futures.TimeoutError, GoogleAPICallError):
                    job.result(retry=self._how["retry"], timeout=_PATIENCE)
            return _job(job)

    def load(self, address: TableAddress, path: Path, name: str, location: str | None, *, replace: bool) -> None:
        """Start the job that loads a Parquet file. ``replace``: the table that is there. If there is a job of this id,
        nothing is done.

        Raises UsageError, ServiceError; whether the job was started is not known then.
        """
        from google.api_core.exceptions import Conflict

        bigquery = _library()
        options = bigquery.ParquetOptions()
        options.enable_list_inference = True
        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            write_disposition="WRITE_TRUNCATE" if replace else "WRITE_EMPTY",
            parquet_options=options,
            decimal_target_types=["NUMERIC", "BIGNUMERIC", "STRING"],
            column_name_character_map="STRICT",
        )
        with explained(address), path.open("rb") as file, contextlib.suppress(Conflict):
            self._client.load_table_from_file(
                file,
                _reference(address),
                size=path.stat().st_size,
                job_id=name,
                project=address.project,
                location=location,
                job_config=config,
                timeout=_TIMEOUT,
            )

    def location(self, address: TableAddress) -> str | None:
        """Where the dataset is, and so its jobs. Raises UsageError, ServiceError."""
        with explained(address):
            found = self._client.get_dataset(f"{address.project}.{address.dataset}", **self._how)
            place: str | None = found.location
            return place


def _may_pass(error: Exception) -> bool:
    """Whether a call is worth repeating; asked before each repetition. Raises Stopped if the command is to stop."""
    import requests
    from google.api_core import exceptions as known
    from google.auth.exceptions import TransportError

    check()
    if isinstance(error, known.GoogleAPICallError):
        reasons = {one.get("reason") for one in error.errors if isinstance(one, dict)}
        return bool(reasons & _PASSING) or isinstance(error, (known.ServerError, known.TooManyRequests))
    return isinstance(error, (ConnectionError, requests.ConnectionError, requests.Timeout, TransportError))


def _reference(address: TableAddress) -> Any:
    bigquery = _library()
    return bigquery.TableReference(bigquery.DatasetReference(address.project, address.dataset), address.table)


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A column with text in the place of types that Parquet, or who reads it, does not have."""
    kind = field["type"].upper()
    if kind in _NESTED:
        return {**field, "fields": [_plain(one) for one in field.get("fields", ())]}
    if kind in _AS_TEXT:
        return {name: field[name] for name in ("name", "mode") if name in field} | {"type": "STRING"}
    return field


def _milliseconds(moment: Any) -> int:
    return 0 if moment is None else round(moment.timestamp() * 1000)


def _seen(table: Any) -> TableSeen:
    return TableSeen(
        created=_milliseconds(table.created),
        modified=_milliseconds(table.modified),
        rows=table.num_rows or 0,
        kind=table.table_type or "TABLE",
        streaming=table.streaming_buffer is not None,
        columns=len(table.schema),
        location=table.location,
    )


def _job(job: Any) -> JobSeen:
    failed = job.error_result
    return JobSeen(
        done=job.state == "DONE",
        error=_told(failed) if failed else "",
        begun=_milliseconds(job.started or job.created),
        ended=_milliseconds(job.ended),
        rows=getattr(job, "output_rows", None) or 0,
    )


def _told(error: dict[str, Any]) -> str:
    said = printable(str(error.get("message") or error.get("reason") or "it gave no reason"))
    return said.removesuffix(".")[:_SAID]


@contextlib.contextmanager
def explained(address: TableAddress) -> Iterator[None]:
    """Let what the libraries raise become an error about a table. Raises UsageError, ServiceError."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        found = _explained(error, address)
        if found is None:
            raise
        raise found from None  # its text may hold more than is to be shown


def _explained(error: Exception, address: TableAddress) -> Error | None:
    import requests
    from google.api_core import exceptions as known
    from google.auth.exceptions import GoogleAuthError, RefreshError
    from google.resumable_media import InvalidResponse

    where = str(address)
    if isinstance(error, known.RetryError) and isinstance(error.cause, Exception):
        return _explained(error.cause, address)
    if isinstance(error, RefreshError):
        return ServiceError(
            "Google refused to renew the application-default credentials of this machine.",
            file=where,
            code="credentials_refused",
            next="Log in again: gcloud auth application-default login.",
        )
    if isinstance(error, known.GoogleAPICallError):
        reasons = {one.get("reason") for one in error.errors if isinstance(one, dict)}
        status, said = error.code, _told({"message": error.message, "reason": type(error).__name__})
        if status == 404:
            return UsageError(
                "There is no such table, or no such dataset or project.",
                file=where,
                code="file_not_found",
                next="Check the address, and that the credentials are for an account that may see it.",
            )
        if status in {401, 403} and not reasons & _BUSY:
            return UsageError(
                f"BigQuery refused access: {said}.",
                file=where,
                code="object_refused",
                next="Reading needs roles/bigquery.dataViewer; writing needs roles/bigquery.dataEditor on the dataset, "
                "and roles/bigquery.jobUser in its project.",
            )
        if status == 400:
            return UsageError(f"BigQuery refused the call: {said}.", file=where, code="object_store")
        return _no_answer(where, f" ({status} {said})")
    if isinstance(
        error, (known.GoogleAPIError, GoogleAuthError, requests.RequestException, InvalidResponse, ConnectionError)
    ):
        return _no_answer(where, f" ({type(error).__name__})")
    return None


def _no_answer(where: str, details: str) -> ServiceError:
    return ServiceError(
        f"BigQuery did not answer as it should{details}.",
        file=where,
        code="object_store",
        next="Check the network, then run the same command again.",
    )
