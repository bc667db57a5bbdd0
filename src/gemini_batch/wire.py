"""The service's objects as they are on the wire: tolerant when reading, exact when writing.

Facts that shape this module (docs/service.md has their sources): a batch is a long-running Operation with its content
under ``metadata``; ``done`` is absent until the end; zero counters are omitted; int64 values are strings; states are
spelled ``BATCH_STATE_*`` on the wire and ``JOB_STATE_*`` in the documentation and for users. Results can be under
``metadata.output`` or under ``response``, as a file or inline, however the job was submitted.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gemini_batch.catalog import Method
from gemini_batch.errors import ServiceError
from gemini_batch.jsonl import decode_as
from gemini_batch.reading import Number, cleaned, read_loosely, to_int, to_time
from gemini_batch.safe_text import printable
from gemini_batch.vertex_place import same_file

if TYPE_CHECKING:
    from collections.abc import Callable


class Status(msgspec.Struct):
    """``google.rpc.Status``: a numeric gRPC code, usually a message, sometimes details."""

    code: Number = None
    message: str | None = None
    # Any value; `Raw | None` would accept only null, and no job with details could be read.
    details: msgspec.Raw = msgspec.Raw(b"")


class BatchStats(msgspec.Struct, rename="camel"):
    """The counters of a batch; absent means zero."""

    request_count: Number = None
    successful_request_count: Number = None
    failed_request_count: Number = None
    pending_request_count: Number = None


class InlinedResponses(msgspec.Struct, rename="camel"):
    """The inner level of the doubly nested list of inline answers; each stays raw."""

    inlined_responses: list[msgspec.Raw] | None = None


class BatchOutput(msgspec.Struct, rename="camel"):
    """Where the results are: a file to download, or inline."""

    responses_file: str | None = None
    inlined_responses: InlinedResponses | None = None


class InputConfig(msgspec.Struct, rename="camel"):
    """The input of the job; the service returns only the file's name."""

    file_name: str | None = None


class BatchMetadata(msgspec.Struct, rename="camel"):
    """The content of a batch operation; ``kind`` distinguishes generation from embeddings."""

    kind: str | None = msgspec.field(default=None, name="@type")
    name: str | None = None
    model: str | None = None
    display_name: str | None = None
    state: str | None = None
    input_config: InputConfig | None = None
    output: BatchOutput | None = None
    batch_stats: BatchStats | None = None
    create_time: str | None = None
    update_time: str | None = None
    end_time: str | None = None


class Operation(msgspec.Struct):
    """A batch as ``get`` and ``list`` return it."""

    name: str = ""
    metadata: BatchMetadata | None = None
    done: bool = False
    error: Status | None = None
    response: BatchOutput | None = None


class ListPage(msgspec.Struct, rename="camel"):
    """One page of a list. It is read strictly: a list that is read in part would look as if a job were not there."""

    next_page_token: str | None = None


class OperationList(ListPage, rename="camel"):
    """One page of the list of jobs; an empty list is ``{}``. Each operation is read on its own."""

    operations: list[msgspec.Raw] | None = None


class RemoteFile(msgspec.Struct, rename="camel"):
    """A file of the Files API, or an object. ``sha256Hash`` is the base64 of the digest's *hex text*.

    ``md5Hash``: what Cloud Storage states in its place, the base64 of the digest itself.
    """

    name: str = ""
    display_name: str | None = None
    mime_type: str | None = None
    size_bytes: Number = None
    sha256_hash: str | None = None
    md5_hash: str | None = None
    create_time: str | None = None
    expiration_time: str | None = None
    state: str | None = None
    uri: str | None = None


class RemoteFileList(ListPage, rename="camel"):
    """One page of files. Each file is read on its own."""

    files: list[msgspec.Raw] | None = None


class RemoteModel(msgspec.Struct, rename="camel"):
    """A model as the service describes it; ``supported_generation_methods`` says whether it supports batches."""

    name: str = ""
    display_name: str | None = None
    input_token_limit: Number = None
    output_token_limit: Number = None
    supported_generation_methods: list[str] | None = None


class ErrorBody(msgspec.Struct):
    """The content of ``{"error": …}`` in an HTTP error. Cloud Storage gives its reason in ``errors``."""

    code: Number = None
    message: str | None = None
    status: str | None = None
    details: Any = None
    errors: Any = None


class ErrorEnvelope(msgspec.Struct):
    """``{"error": {…}}``."""

    error: ErrorBody | None = None


T = TypeVar("T")
#: The variable that can have led to a wrong address, in the words of an error.
GEMINI_ADDRESS = "and GOOGLE_GEMINI_BASE_URL, if it is set"


def read(
    data: bytes | msgspec.Raw,
    kind: type[T],
    *,
    clean: Callable[[str], str] = printable,
    where: str = GEMINI_ADDRESS,
) -> T:
    """Decode one of the objects above, with all of its text made safe by ``clean``; unknown fields are ignored.

    A field with a value of another type counts as absent, so that it costs itself only. Answers to requests stay raw.
    ``where``: the variables that can have led to the wrong address.
    Raises ServiceError if ``data`` is no such object.
    """
    try:
        found = decode_as(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        loose = read_loosely(bytes(data), kind, strict=issubclass(kind, ListPage))
        if loose is None:
            raise ServiceError(
                f"The service's answer could not be read as {kind.__name__}: {error}.",
                code="unreadable_answer",
                next=f"A proxy may have answered instead of the service. Check the network ({where}), then run the "
                "same command again.",
            ) from None
        found = loose
    return cleaned(found, clean)


class Phase(enum.Enum):
    """What a state means for a waiting user. An unknown state counts as alive: it is polled further, and reported."""

    ALIVE = "alive"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"

    @property
    def ended(self) -> bool:
        """Whether the service does nothing more for the job."""
        return self not in {Phase.ALIVE, Phase.UNKNOWN}


_PHASES = {
    "JOB_STATE_PENDING": Phase.ALIVE,
    "JOB_STATE_RUNNING": Phase.ALIVE,
    "JOB_STATE_QUEUED": Phase.ALIVE,
    "JOB_STATE_CANCELLING": Phase.ALIVE,
    "JOB_STATE_PAUSED": Phase.ALIVE,
    "JOB_STATE_UPDATING": Phase.ALIVE,
    "JOB_STATE_SUCCEEDED": Phase.SUCCEEDED,
    "JOB_STATE_PARTIALLY_SUCCEEDED": Phase.SUCCEEDED,
    "JOB_STATE_FAILED": Phase.FAILED,
    "JOB_STATE_CANCELLED": Phase.CANCELLED,
    "JOB_STATE_EXPIRED": Phase.EXPIRED,
}


def state_word(raw: str | None) -> str:
    """The state as shown to users: ``BATCH_STATE_X`` becomes ``JOB_STATE_X``; others are unchanged."""
    if not raw:
        return "JOB_STATE_UNSPECIFIED"
    return f"JOB_STATE_{raw.removeprefix('BATCH_STATE_')}" if raw.startswith("BATCH_STATE_") else raw


#: Characters of a message or a state that are kept.
_LONGEST_TEXT = 4000
_JOB_NAME = re.compile(
    r"(batches|projects/[a-z0-9.:-]{1,63}/locations/[a-z0-9-]{1,40}/batchPredictionJobs)/[A-Za-z0-9][A-Za-z0-9._-]{0,199}"
)
#: What a version adds to the name of a model.
_VERSION = re.compile(r"(-(preview|exp|experimental|[0-9]+))*")
#: A file of the Files API, or what Vertex AI writes to Cloud Storage.
_FILE_NAME = re.compile(r"files/[A-Za-z0-9][A-Za-z0-9._-]{0,199}|gs://[a-z0-9][a-z0-9._-]{1,221}/[ -~]{1,1024}")


def job_name(name: str | None) -> str:
    """``name`` if it is the name of a job (``batches/…``, at Vertex AI ``projects/…/batchPredictionJobs/…``), else an
    empty string."""
    return name if name and _JOB_NAME.fullmatch(name) else ""


def file_name(name: str | None) -> str | None:
    """``name`` if it is the name of a file (``files/…``, at Vertex AI also ``gs://…``), else None."""
    return name if name and _FILE_NAME.fullmatch(name) else None


def is_alias(model: str) -> bool:
    """Whether a name stands for whichever model is the newest of its kind."""
    return model.endswith("-latest")


def same_model(one: str, other: str) -> bool:
    """Whether two names can mean the same model: the service may state the version that a short name stands for."""
    short, long = sorted((one.removeprefix("models/"), other.removeprefix("models/")), key=len)
    if not short or is_alias(short) or is_alias(long):
        return True
    return long.startswith(short) and _VERSION.fullmatch(long, len(short)) is not None


def contradiction(
    job: RemoteJob, *, file: str | None, model: str, display_name: str = "", requests: int = 0
) -> str | None:
    """How the service's words on a job contradict what was sent, as a clause; None if they do not.

    An input file's name was used once, so it decides if it is stated. ``display_name`` and ``requests`` (their number)
    are compared where they are given: right after the create, before anyone can have renamed the job.
    """
    if file and job.file_name:
        return None if same_file(job.file_name, file) else f"reads {job.file_name} instead of {file}"
    if display_name and job.display_name not in {"", _shortened(printable(display_name))}:
        return f"is named {job.display_name!r} instead of {display_name!r}"
    if requests and job.total not in {0, requests}:
        return f"has {job.total:,} requests instead of {requests:,}"
    return None if same_model(job.model, model) else f"uses {job.model} instead of {model}"


class RemoteJob(msgspec.Struct, frozen=True, kw_only=True):
    """A batch job as last seen, in this project's terms. Times are seconds since 1970."""

    name: str
    """Name of the job, `batches/…`."""
    state: str
    """State, `JOB_STATE_…`."""
    phase: Phase
    """What the state means."""
    model: str = ""
    """Model of the job."""
    method: Method = Method.GENERATE
    """What the job does with each request."""
    display_name: str = ""
    """Display name of the job."""
    file_name: str | None = None
    """Input file at the service, `files/…`, or at Vertex AI `gs://…`; null if the requests were sent inline."""
    total: int = 0
    """Number of requests."""
    succeeded: int = 0
    """Requests that the service counts as successful."""
    failed: int = 0
    """Requests that the service counts as failed."""
    pending: int = 0
    """Requests that the service has not finished."""
    create_time: float | None = None
    """Time of creation, in seconds since 1970."""
    end_time: float | None = None
    """Time of the end, in seconds since 1970."""
    error_code: int | None = None
    """gRPC status code of the job's error."""
    error_message: str | None = None
    """Message of the job's error."""
    output_file: str | None = None
    """File with the answers, `files/…`, or at Vertex AI their folder, `gs://…`."""
    output_inline: bool = False
    """True if the answers are inline in the job."""

    @property
    def has_output(self) -> bool:
        """Whether there is anything to fetch."""
        return self.output_file is not None or self.output_inline


def _output(operation: Operation) -> BatchOutput:
    """The output, wherever it is: a file before inline answers, ``metadata`` before ``response``."""
    places = [operation.metadata.output if operation.metadata else None, operation.response]
    found = [place for place in places if place is not None]
    for place in found:
        if file_name(place.responses_file):
            return place
    inline = [place for place in found if place.inlined_responses is not None]
    for place in inline:
        if place.inlined_responses and place.inlined_responses.inlined_responses:
            return place
    return inline[0] if inline else BatchOutput()


def inline_answers(operation: Operation) -> list[msgspec.Raw]:
    """The raw inline answers of an operation, in the service's order; empty if there are none."""
    inner = _output(operation).inlined_responses
    return (inner.inlined_responses or []) if inner else []


def _phase(state: str, operation: Operation, *, has_output: bool) -> Phase:
    known = _PHASES.get(state, Phase.UNKNOWN)
    if known.ended or not operation.done:
        return known
    # `done` marks the end in the protocol, whatever the state is called; the output and the error show the outcome.
    if operation.error is not None:
        return Phase.FAILED
    if has_output:
        return Phase.SUCCEEDED
    return Phase.FAILED if known is Phase.UNKNOWN else known


def remote_job(operation: Operation) -> RemoteJob:
    """Read an operation, with absent fields filled in as the service means them."""
    meta = operation.metadata or BatchMetadata()
    stats = meta.batch_stats or BatchStats()
    output = _output(operation)
    state = _shortened(state_word(meta.state))
    output_file = file_name(output.responses_file)
    has_output = output_file is not None or output.inlined_responses is not None
    return RemoteJob(
        name=job_name(operation.name or meta.name),
        state=state,
        phase=_phase(state, operation, has_output=has_output),
        model=_shortened(meta.model or "").removeprefix("models/"),
        method=Method.EMBED if "EmbedContent" in (meta.kind or "") else Method.GENERATE,
        display_name=_shortened(meta.display_name or ""),
        file_name=file_name(meta.input_config.file_name) if meta.input_config else None,
        total=to_int(stats.request_count),
        succeeded=to_int(stats.successful_request_count),
        failed=to_int(stats.failed_request_count),
        pending=to_int(stats.pending_request_count),
        create_time=to_time(meta.create_time),
        end_time=to_time(meta.end_time),
        error_code=None if operation.error is None else to_int(operation.error.code) or None,
        error_message=None if operation.error is None else _shortened(operation.error.message or "") or None,
        output_file=output_file,
        output_inline=output.inlined_responses is not None and not output_file,
    )


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def hash_matches(sent_hex: str, received: str | None) -> bool:
    """Whether the service's ``sha256Hash`` names the digest ``sent_hex``; an absent hash is not a mismatch.

    Observed: base64 of the hex text. Also accepted: base64 of the digest itself, and plain hex.
    """
    if not received:
        return True
    forms = {base64.b64encode(sent_hex.encode()).decode()}
    try:
        forms.add(base64.b64encode(binascii.unhexlify(sent_hex)).decode())
    except binascii.Error:
        return False
    return received in forms or received.lower() == sent_hex
