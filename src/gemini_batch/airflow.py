"""Gemini for Airflow's ``LLMBatchOperator``, which itself serves OpenAI and Anthropic.

Airflow's provider ``common.ai`` finds :class:`GeminiBatchAdapter` by an entry point of this package, for every
model that begins with ``google:``; a Dag imports nothing. The operator records what it is about to send, defers,
and polls from the triggerer; the adapter says what that means for Gemini. Each batch is one job.

An attempt of a task that was killed is found again in two ways: by the name of its job at the service, which holds the
operator's identity and fingerprint, and by the ledger, which knows the same lines as the same run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemini_batch import catalog, jsonl
from gemini_batch.client import GeminiBatch
from gemini_batch.errors import InvalidInput, JobError, UsageError
from gemini_batch.events import Event, Notice
from gemini_batch.protocol.spelling import camel
from gemini_batch.protocol.tables import names
from gemini_batch.report.job_view import JobStatus
from gemini_batch.settings import Secret, checked_base_url, checked_key, load_settings
from gemini_batch.store.ledger.run_options import REQUESTS_A_JOB
from gemini_batch.tables.making.schema import load_schema

try:
    from airflow.providers.common.ai.batch.base import (
        BatchAdapter,
        BatchState,
        ExtractedOutput,
        RawResultItem,
        SubmitResult,
    )
    from airflow.providers.common.ai.exceptions import (
        LLMBatchInputError,
        LLMBatchLimitExceededError,
        LLMBatchModelMismatchError,
    )
except ImportError as error:
    raise ImportError("Airflow's provider common.ai is missing: pip install 'gemini-batch[airflow]'") from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["GeminiBatchAdapter"]

#: The clocks of a worker and of the service may differ by so much when an orphan is looked for.
_SKEW = dt.timedelta(minutes=1)
#: The job's name has so much of the fingerprint, and each key.
_SHORT = 16
_ENDED = {"JOB_STATE_CANCELLED": "cancelled", "JOB_STATE_EXPIRED": "expired", "JOB_STATE_FAILED": "failed"}
#: What a request that has no answer is called, by the reason of its result line.
_UNANSWERED = {"JOB_CANCELLED": "cancelled", "JOB_EXPIRED": "expired"}
#: The parts of a request that the operator's own arguments always stand for.
_OWN_FIELDS = frozenset({"contents", "model"})


class GeminiBatchAdapter(BatchAdapter):  # type: ignore[misc]  # Airflow is not installed where types are checked
    """The Gemini Batch API behind Airflow's ``LLMBatchOperator``.

    ``api_key`` and ``base_url`` come from the Airflow connection; what it leaves out comes from the environment, as for
    every command. ``client`` replaces the client that they would make.
    """

    name = "google"
    max_requests = REQUESTS_A_JOB
    max_payload_bytes = catalog.load().limits.input_file_bytes.value
    allows_per_request_model = False

    def __init__(
        self, *, api_key: str | None = None, base_url: str | None = None, client: GeminiBatch | None = None
    ) -> None:
        super().__init__()
        self._client: GeminiBatch = client or _connected(api_key, base_url)

    def validate_requests(
        self, requests: Sequence[Any], *, model: str, output_spec: Any, idempotency_key: str, **batch: Any
    ) -> None:
        """Check every line as ``create`` does, before the operator records anything. Raises LLMBatchInputError."""
        self.check_custom_id_length(idempotency_key, len(requests))
        if len(requests) > self.max_requests:
            raise LLMBatchLimitExceededError(
                f"{len(requests):,} requests are more than the {self.max_requests:,} of one batch. Split them with "
                "`.expand()`, or let `gemini_batch.run` send a file of them as several jobs."
            )
        with self._file(requests, model, output_spec, idempotency_key, batch) as file, _refusals():
            found = self._client.validate(file, model=model)
            if problem := next((one for one in found.problems if one.severity == "error"), None):
                # One line a request, so the operator's numbers, which begin at 0, are one less.
                place = "" if problem.line is None else f"Request {problem.line - 1}: "
                raise LLMBatchInputError(f"{place}{problem.message} {problem.next or ''}".rstrip())
            if found.bytes > self.max_payload_bytes:
                raise LLMBatchLimitExceededError(
                    f"{found.bytes:,} bytes are more than the {self.max_payload_bytes:,} of one batch. "
                    "Split the requests with `.expand()`."
                )

    def submit(
        self,
        requests: Sequence[Any],
        *,
        model: str,
        idempotency_key: str,
        input_fingerprint: str,
        output_spec: Any,
        **batch: Any,
    ) -> SubmitResult:
        """Create the job, or find the one that an earlier attempt created."""
        # The fingerprint is in the keys, so that a row of changed input never waits for a job that is being cancelled.
        prefix = f"{idempotency_key}-{input_fingerprint[:_SHORT]}"
        with self._file(requests, model, output_spec, prefix, batch) as file, _refusals():
            name = _job_name(idempotency_key, input_fingerprint)
            created = self._client.create(file, model=model, name=name)
            if created.attached and created.state == "JOB_STATE_CANCELLED":
                # The operator comes here only after it has told its user that the next attempt pays anew.
                created = self._client.create(file, model=model, name=name, new=True)
        return SubmitResult(batch_id=created.job, provider_input_ref=None)

    def get_batch(self, batch_id: str) -> BatchState:
        """The state of the job, asked for once."""
        seen = self._client.status(batch_id)
        if not isinstance(seen, JobStatus):
            raise UsageError(f"{batch_id} is not the name of a job.", code="bad_name", next="Clear the task's state.")
        counts = dict.fromkeys(("succeeded", "errored", "expired", "cancelled"), 0)
        counts |= {"succeeded": seen.succeeded_count, "errored": seen.failed_count}
        if seen.alive:
            return BatchState(status="in_progress", counts=counts, error_message=None)
        status = "completed" if seen.succeeded else _ENDED.get(seen.state, "failed")
        if status in counts:
            counts[status] = seen.pending_count
        if status == "failed" and seen.succeeded_count:
            status = "completed"  # "failed" would throw away the answers that were paid for
        return BatchState(status=status, counts=counts, error_message=seen.error and seen.error.message)

    def cancel_batch(self, batch_id: str) -> None:
        """Ask the service to cancel; what is answered by then can still be fetched."""
        self._client.cancel(batch_id, wait=False)

    def find_orphaned_batch(self, idempotency_key: str, input_fingerprint: str, not_before: str) -> str | None:
        """The newest job with the name of that submission, in the ledger or at the service.

        None if the ledger knows of a submission that it has not brought to its end: ``submit`` continues that, and
        looks for its job before it sends anything.
        """
        found = self._client.list_jobs(name=_job_name(idempotency_key, input_fingerprint), remote=True)  # newest first
        if any(one.job is None for one in found):
            return None
        since = dt.datetime.fromisoformat(not_before) - _SKEW
        for one in found:
            made = None if one.created is None else dt.datetime.fromisoformat(one.created)
            if not one.ended_badly and made is not None and made >= since:
                return one.job
        return None

    def iter_results(self, batch_id: str) -> Iterator[RawResultItem]:
        """What became of each request; one that is missing without a reason of the job's is left to the operator."""
        try:
            rows = iter(self._client.results(batch_id, job_only=True))
        except JobError:
            if self.get_batch(batch_id).status not in ("expired", "cancelled"):
                raise
            rows = iter(())
        return (item for row in rows if (item := _item(row)) is not None)

    def build_output_directive(self, spec: Any) -> dict[str, Any]:
        """The fields of ``generationConfig`` that ask for the operator's type of output."""
        if not spec.is_structured:
            return {}
        return load_schema(spec.json_schema, folder=Path()).settings

    def extract_output(self, raw: RawResultItem, spec: Any) -> ExtractedOutput:
        """The text of an answer. Whether JSON is of the operator's type of output is for the operator to say."""
        text = raw.raw["response"].get("text")
        if text is None or (not spec.is_structured and raw.raw["verdict"] == "invalid"):
            return ExtractedOutput(kind="absent", text=text)
        return ExtractedOutput(kind="json_text" if spec.is_structured else "text", text=text)

    @contextlib.contextmanager
    def _file(
        self, requests: Sequence[Any], model: str, spec: Any, prefix: str, batch: Mapping[str, Any]
    ) -> Iterator[Path]:
        """A request file with a line for each request; the same requests always give the same bytes."""
        with tempfile.TemporaryDirectory(prefix="gemini-batch-") as folder, _refusals():
            file = Path(folder) / "requests.jsonl"
            directive = self.build_output_directive(spec)
            with file.open("wb") as lines:
                for index, request in enumerate(requests):
                    asked = self.resolve_request_model(
                        request.get("model"), default_bare_model=model, request_index=index
                    )
                    if asked != model:
                        raise LLMBatchModelMismatchError(
                            f"Request {index} asks for {asked}, and all requests of a batch have one model, {model}."
                        )
                    body = _body(request, directive, batch)
                    lines.write(jsonl.encode({"key": f"{prefix}-{index}", "request": body}) + b"\n")
            yield file


def _connected(api_key: str | None, base_url: str | None) -> GeminiBatch:
    settings = load_settings()
    if base_url:
        settings = dataclasses.replace(settings, base_url=checked_base_url(base_url, "the Airflow connection"))
    if api_key:
        settings = dataclasses.replace(settings, api_key=checked_key(Secret(api_key)))
    return GeminiBatch(settings, on_event=_log)


def _log(event: Event) -> None:
    if isinstance(event, Notice):
        level = logging.WARNING if event.level == "warning" else logging.INFO
        logging.getLogger(__name__).log(level, "%s %s", event.message, event.next or "")


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Input that is refused is Airflow's kind of error for that."""
    try:
        yield
    except InvalidInput as error:
        raise LLMBatchInputError(str(error)) from error
    except UsageError as error:
        if error.reason_code != "bad_schema":
            raise
        raise LLMBatchInputError(str(error)) from error


def _job_name(idempotency_key: str, input_fingerprint: str) -> str:
    return f"airflow-{idempotency_key}-{input_fingerprint[:_SHORT]}"


def _body(request: Mapping[str, Any], directive: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    """One request. A parameter that is a field of a request goes there, and every other one into its settings.

    What a request says of itself comes before what holds for all, setting by setting.
    """
    fields, body, settings = names("GenerateContentRequest"), dict[str, Any](), dict[str, Any]()
    for given in (batch.get("request_params") or {}, request.get("params") or {}):
        for name, value in given.items():
            if name not in fields:
                settings[name] = value
            elif (field := camel(name)) == "generationConfig":
                settings.update(value)
            elif field not in _OWN_FIELDS:
                body[field] = value
    if limit := request.get("max_tokens") or batch.get("max_tokens"):
        settings["maxOutputTokens"] = limit
    body["generationConfig"] = {**settings, **directive}
    if system := request.get("system_prompt") or batch.get("system_prompt"):
        body["systemInstruction"] = {"parts": [{"text": system}]}
    return {"contents": [{"role": "user", "parts": [{"text": request["prompt"]}]}], **body}


def _item(row: Mapping[str, Any]) -> RawResultItem | None:
    """A result line as the operator reads it. What is cut off or blocked is not a success."""
    verdict, response, error = row["verdict"], row.get("response") or {}, row.get("error") or {}
    if verdict == "missing" and error["reason"] not in _UNANSWERED:
        return None
    answered = verdict in ("succeeded", "invalid") and response
    status = "success" if answered else _UNANSWERED.get(error.get("reason", ""), "errored")
    prefix, _, index = row["key"].rpartition("-")
    first: dict[str, Any] = next(iter(response.get("candidates") or []), {})
    failure = None
    if not answered:
        failure = {"type": verdict, "message": error["message"], "provider_code": error["reason"], "stage": "provider"}
        if response.get("text"):
            failure["text"] = response["text"]
    return RawResultItem(
        custom_id=f"{prefix.partition('-')[0]}-{index}",
        index=int(index),
        provider_status=status,
        model=response.get("modelVersion"),
        usage=_usage(response.get("usageMetadata")),
        finish_reason=first.get("finishReason"),
        error=failure,
        raw=row if answered else None,
    )


def _usage(counts: Mapping[str, int] | None) -> dict[str, int] | None:
    """Tokens by the names of the other adapters; thoughts are paid for as output."""
    if counts is None:
        return None
    output = counts.get("candidatesTokenCount", 0) + counts.get("thoughtsTokenCount", 0)
    return {"input_tokens": counts.get("promptTokenCount", 0), "output_tokens": output}
