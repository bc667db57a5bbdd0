"""Where batch prediction of Vertex AI takes place: project, location, and the bucket for requests and answers.

Google's libraries read the same variables; ``GEMINI_BATCH_BUCKET`` is ours. All of them come from the environment or
from the caller, never from a ``.env`` file: they say who pays, and where data goes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Backend = Literal["gemini", "vertex"]
"""Which of Google's batch services serves a run."""

BACKEND = "GEMINI_BATCH_BACKEND"
#: With either of these, Google's libraries use Vertex AI.
_GOOGLES = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
PROJECT, LOCATION, BUCKET = "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION", "GEMINI_BATCH_BUCKET"
_URL, _STORAGE = "GOOGLE_VERTEX_BASE_URL", "STORAGE_EMULATOR_HOST"
#: Batches of base models; other locations have an address of their own (cloud.google.com, *Batch inference*).
GLOBAL = "global"
_STORAGE_URL = "https://storage.googleapis.com"
#: Folder in the bucket, where its address names none.
_FOLDER = "gemini-batch"

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,62}")
_LOCATION = re.compile(r"[a-z0-9-]{1,40}")
#: cloud.google.com/storage/docs/buckets#naming
_BUCKET = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,221})(/[A-Za-z0-9._/=-]{1,500})?/?")
_ADDRESS = re.compile(r"(https?://[^/]+(?:/[^/]+)*)/projects/([^/]+)/locations/([^/]+)")
_JOB = re.compile(r"projects/([^/]+)/locations/([^/]+)/batchPredictionJobs/([^/]+)")
#: Label of a request that stands for its key in the answer.
LABEL = "gemini-batch-key"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexPlace:
    """A project's batch prediction in one location.

    ``bucket``: ``gs://bucket/folder``; None: not stated, so nothing can be uploaded. ``url``, ``storage_url``: base
    URLs of the two services.
    """

    project: str
    location: str
    bucket: str | None
    url: str
    storage_url: str = _STORAGE_URL

    @property
    def address(self) -> str:
        """What runs are bound to: one project in one location at one address."""
        return f"{self.url}/projects/{self.project}/locations/{self.location}"

    @property
    def scope(self) -> str:
        """What takes the place of the API key: whoever may use the project sees the same jobs."""
        return f"projects/{self.project}"

    def within(self, words: str) -> str:
        """``words`` with the location in place of ``{}``; nothing where that is ``global``, which no bucket is in."""
        return "" if self.location == GLOBAL else words.format(self.location)

    def has_job(self, name: str) -> bool:
        """Whether a job of that name can be here. Its project may be named by its number."""
        found = _JOB.fullmatch(name)
        return found is not None and found[2] == self.location and _same_project(found[1], self.project)

    def bucket_and_folder(self) -> tuple[str, str]:
        """The bucket's name and the folder in it. Raises UsageError if none is stated."""
        if self.bucket is None:
            raise UsageError(
                "Vertex AI reads requests from Cloud Storage, and no bucket is named.",
                field="--bucket",
                code="no_bucket",
                next=f"Add --bucket gs://BUCKET{self.within(' (a bucket in {})')}, or set {BUCKET}.",
            )
        bucket, _, folder = self.bucket.removeprefix("gs://").partition("/")
        return bucket, folder


def same_job(one: str, other: str) -> bool:
    """Whether two names are those of one job of Vertex AI, which names a project by its id or by its number."""
    first, second = _JOB.fullmatch(one), _JOB.fullmatch(other)
    if first is None or second is None or first.groups()[1:] != second.groups()[1:]:
        return False
    return _same_project(first[1], second[1])


def same_file(stated: str, recorded: str) -> bool:
    """Whether the service's name of a file is one that was recorded.

    Earlier versions recorded request lines in a bucket as ``files/ID``; the object is ``gs://…/ID.jsonl``.
    """
    if stated.startswith("gs://") and recorded.startswith("files/"):
        return stated.endswith(f"/{recorded.removeprefix('files/')}.jsonl")
    return stated == recorded


def _same_project(one: str, other: str) -> bool:
    return one == other or one.isdecimal() != other.isdecimal()


def is_vertex(address: str) -> bool:
    """Whether the address of a run is one of Vertex AI."""
    return _ADDRESS.fullmatch(address) is not None


def how_to_reach(address: str, *, vertex: bool) -> str:
    """What to type so that the address of a run is the one that is used. ``vertex``: now, Vertex AI is."""
    if (found := _ADDRESS.fullmatch(address)) is None:
        return f"export {f'{BACKEND}=gemini ' if vertex else ''}GOOGLE_GEMINI_BASE_URL={address}"
    url, project, location = found.groups()
    stated = f" {_URL}={url}" if url != _default_url(location) else ""
    return f"export {BACKEND}=vertex {PROJECT}={project} {LOCATION}={location}{stated}"


def where_to_find(job: str) -> str:
    """The same for a job that is known by its name only."""
    if (found := _JOB.fullmatch(job)) is None:
        return f"export {BACKEND}=gemini"
    return f"export {BACKEND}=vertex {PROJECT}={found[1]} {LOCATION}={found[2]}"


def _default_url(location: str) -> str:
    return f"https://{'' if location == GLOBAL else f'{location}-'}aiplatform.googleapis.com"


def on_this_machine(url: str) -> bool:
    """Whether an address is one of this machine's own, which an emulator has."""
    return (urlsplit(url).hostname or "") in _LOOPBACK


def read_place(
    env: Mapping[str, str],
    backend: str | None = None,
    *,
    project: str | None = None,
    location: str | None = None,
    bucket: str | None = None,
    keyed: bool = False,
    free: bool = False,
) -> VertexPlace | None:
    """The place that arguments and environment name, arguments first; None where Vertex AI is not the backend.

    ``keyed``: there is an API key, too. ``free``: nothing is sent to any service. Raises UsageError if the project is
    missing, if anything is malformed, and where it is not clear which backend is meant: what is sent to the wrong one
    is paid for by somebody else.
    """
    named = (project, location, bucket) != (None, None, None)
    chosen = backend or env.get(BACKEND, "").strip().lower() or None
    if chosen not in {None, "gemini", "vertex"}:
        raise UsageError(
            f"{chosen!r} is no backend.", field="--backend", code="bad_setting", next="Use gemini or vertex."
        )
    if chosen == "vertex" and free:
        raise UsageError(
            "--offline and the backend Vertex AI exclude each other.",
            field="--backend",
            code="bad_argument",
            next="Leave out one of them. The emulator serves Vertex AI, too: see docs/vertex.md.",
        )
    if named and chosen != "vertex":
        raise UsageError(
            "--project, --location and --bucket belong to Vertex AI.",
            field="--backend",
            code="bad_argument",
            next="Add --backend vertex.",
        )
    if chosen is None and keyed and not free:
        _refuse_to_guess(env)
    if chosen != "vertex":
        return None

    def stated(name: str, given: str | None) -> str | None:
        return (given if given is not None else env.get(name, "")).strip() or None

    project = stated(PROJECT, project)
    location = stated(LOCATION, location) or GLOBAL
    if project is None:
        raise UsageError(
            "Vertex AI needs the project that pays, and none is named.",
            field="--project",
            code="no_project",
            next=f"Add --project PROJECT, or set {PROJECT}.",
        )
    _check(_PROJECT, project, "--project", "a project id", "my-project-1")
    _check(_LOCATION, location, "--location", "a location", "europe-west4, or global")
    return VertexPlace(
        project=project,
        location=location,
        bucket=_bucket(stated(BUCKET, bucket)),
        url=_base_url(_URL, stated(_URL, None) or _default_url(location)),
        storage_url=_base_url(_STORAGE, stated(_STORAGE, None) or _STORAGE_URL),
    )


def googles_word(env: Mapping[str, str]) -> str:
    """The variable that makes Google's libraries use Vertex AI; empty if none does."""
    return next((name for name in _GOOGLES if env.get(name, "").strip().lower() in {"1", "true"}), "")


def _refuse_to_guess(env: Mapping[str, str]) -> None:
    if name := googles_word(env):
        raise UsageError(
            f"{name} means Vertex AI to Google's libraries, and an API key means the Developer API. Both are set.",
            field="--backend",
            code="which_backend",
            next=f"Say which is meant: --backend gemini or --backend vertex, or {BACKEND}.",
        )


def _check(pattern: re.Pattern[str], text: str, option: str, what: str, example: str) -> None:
    if not pattern.fullmatch(text):
        raise UsageError(
            f"{text!r} is not {what}.", field=option, code="bad_argument", next=f"Write it like {example}."
        )


def _bucket(text: str | None) -> str | None:
    if text is None:
        return None
    found = _BUCKET.fullmatch(text)
    if found is None or ".." in text or "//" in text.removeprefix("gs://"):
        raise UsageError(
            f"{text!r} is not a bucket.",
            field="--bucket",
            code="bad_argument",
            next="Write it like gs://my-bucket, or gs://my-bucket/folder.",
        )
    return f"gs://{found[1]}{(found[2] or f'/{_FOLDER}').rstrip('/')}"


def _base_url(name: str, text: str) -> str:
    """A base URL to which a token may be sent: https, or this machine."""
    text = text.rstrip("/")
    if "://" not in text:
        text = f"http://{text}"  # as Google's libraries read STORAGE_EMULATOR_HOST
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "https" or (parts.scheme == "http" and on_this_machine(text))
        usable = usable and bool(parts.hostname) and not (parts.query or parts.fragment or "@" in parts.netloc)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(
            f"{name} is not an address that a token may be sent to: https://…, or one of this machine.",
            code="bad_setting",
            next=f"Correct {name}, or unset it.",
        )
    return text
