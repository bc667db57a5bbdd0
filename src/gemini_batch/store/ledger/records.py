"""The ledger's records: runs, jobs, input files, and the stage of a job."""

from __future__ import annotations

import enum
import hashlib
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini_batch.catalog import Method
from gemini_batch.wire import Phase

if TYPE_CHECKING:
    import sqlite3

    from gemini_batch.prices import Tier


Via = Literal["batch", "flex"]
"""How requests are sent: in a batch, or each as a call of its own with the service tier *flex*."""
#: How the names of jobs begin whose requests are sent as calls. The service does not know them.
CALLS = "calls/"


class JobStage(enum.Enum):
    """The stage of a job; the ledger's docstring gives the order."""

    PLANNED = "planned"
    UPLOADED = "uploaded"
    INTENDED = "intended"
    CREATED = "created"
    ENDED = "ended"
    COLLECTED = "collected"

    @property
    def made(self) -> bool:
        """Whether the service certainly has, or had, the job."""
        return self in {JobStage.CREATED, JobStage.ENDED, JobStage.COLLECTED}

    @property
    def over(self) -> bool:
        """Whether the service does nothing more for the job."""
        return self in {JobStage.ENDED, JobStage.COLLECTED}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One durable piece of work. ``adopted``: its first job was created elsewhere. ``identity``: None without requests.

    ``anew``: made with ``--new``, so it takes no answers from other runs. ``freed_at``: when its answers were deleted.
    ``shape``: equal for runs whose requests ask for the same (:mod:`gemini_batch.intake.shape`); None if unknown.
    ``shards``: which manifest of shards named it last. ``in_place``: its requests are a shard that stays where it is,
    and other runs take no answers of it.
    """

    id: str
    identity: str | None
    origin: Literal["made", "adopted"]
    created_at: float
    method: Method
    model: str
    backend: str
    requests: int
    bytes: int
    sha256: str | None
    source: str | None
    options: str | None = None
    forgotten_at: float | None = None
    anew: bool = False
    freed_at: float | None = None
    shape: str | None = None
    shards: str | None = None
    in_place: bool = False

    @property
    def requests_known(self) -> bool:
        """Whether its requests are in its folder: not those of a job that was created elsewhere, until `adopt`."""
        return self.sha256 is not None

    @property
    def of_table(self) -> bool:
        """Whether its requests were made of a table, so that no file of the user's holds them."""
        return self.origin == "made" and self.requests_known and self.source is None


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written for the user: its content, where it was put, and how many of its results succeeded."""

    sha256: str
    kind: Literal["results", "failures"]
    path: str
    run: str
    succeeded: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at an ordered subset of a run's requests: one remote batch.

    ``ordinal`` counts a run's jobs from 1; ``rows.db`` uses it to say which requests are in which job. The input is
    ``bytes`` bytes, from ``offset``, of the run's ``requests.jsonl``, or of the file ``part`` if the requests are not a
    contiguous range of that file. ``tokens`` is an estimate. ``model`` is the run's, unless a retry asked for another.
    A dropped job will not be created: its requests go to other jobs. A ``lost`` job (``JOB_GONE``, ``RESULTS_GONE``) is
    collected without its answers, because the service no longer has them. If it shows them again, the job is not lost.
    ``key_fingerprint``: the API key that created it, or saw it last. ``bound``: what it costs at most, ``settled``:
    what it has cost, both in nano-USD, None if unknown. ``unbounded``: how many of its requests nothing bounds, which
    ``bound`` leaves out. ``possible``: what those that got no answer may have cost at most, like ``settled``.
    ``answer_limit``: the most tokens of an answer, if a retry set it in all of its requests.
    ``via``: as one batch, or each request as a call of its own, with the service tier *flex*; such a job lasts as long
    as the process that sends it. ``standard``: calls that are charged as standard ones are accepted. ``finishing``: it
    was cancelled so that what it does not answer is sent in another way. ``doubtful``: how many of its calls may have
    been paid for besides those that gave its answers, ``doubtful_bound``: what they cost at most.
    """

    id: str
    run: str
    ordinal: int
    model: str
    requests: int
    tokens: int
    part: str | None
    offset: int
    bytes: int
    sha256: str | None
    input_kind: Literal["file", "inline"]
    display_name: str
    stage: JobStage
    upload_url: str | None = None
    file: str | None = None
    intended_at: float | None = None
    create_calls: int = 0
    batch: str | None = None
    created_at: float | None = None
    state: str | None = None
    phase: Phase | None = None
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    pending: int | None = None
    error_code: int | None = None
    error_message: str | None = None
    output_file: str | None = None
    seen_at: float | None = None
    ended_at: float | None = None
    cancelled_at: float | None = None
    collected_at: float | None = None
    dropped_at: float | None = None
    lost: str | None = None
    key_fingerprint: str = ""
    bound: int | None = None
    unbounded: int | None = None
    settled: int | None = None
    possible: int | None = None
    answer_limit: int | None = None
    via: Via = "batch"
    standard: bool = False
    finishing: bool = False
    doubtful: int = 0
    doubtful_bound: int | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether its create was sent and not answered, so that no one knows whether the service has it."""
        return self.stage is JobStage.INTENDED and self.via == "batch"

    @property
    def is_calling(self) -> bool:
        """Whether its calls are being sent, or were when their process died."""
        return self.stage is JobStage.INTENDED and self.via == "flex"

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """How its answers may be charged."""
        return (self.via, "standard") if self.standard else (self.via,)


class Rate(msgspec.Struct, frozen=True):
    """What the service lets through in a minute, in calls and in tokens; None: no limit has shown itself."""

    calls: float | None = None
    tokens: float | None = None


class QuotaBounds(msgspec.Struct, frozen=True):
    """Token sums in a model's queue: the smallest that was refused and the largest that was accepted, if any."""

    refused: int | None
    accepted: int | None


class InputFile(msgspec.Struct, frozen=True, kw_only=True):
    """An input file that a job uploaded."""

    name: str
    job: str
    bytes: int
    uploaded_at: float
    expires_at: float | None


def identity(sha256: str, method: str, model: str, backend: str, *, key_fingerprint: str = "") -> str:
    """What identifies a run: its canonical requests, method, model and base URL; not its name or limits.

    ``key_fingerprint``: only if the requests name resources of the key's project.
    """
    parts = (sha256, method, model, backend, *((key_fingerprint,) if key_fingerprint else ()))
    return "i2:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A field's value as SQLite stores it."""
    return value.value if isinstance(value, enum.Enum) else value


def run_of(row: sqlite3.Row) -> Run:
    """Read a run from a row of ``runs``."""
    values = dict(row)
    flags = {name: bool(values[name]) for name in ("anew", "in_place")}
    return Run(**{**values, "method": Method(values["method"]), **flags})


def job_of(row: sqlite3.Row) -> Job:
    """Read a job from a row of ``jobs``."""
    values = dict(row)
    phase = Phase(values["phase"]) if values["phase"] else None
    flags = {name: bool(values[name]) for name in ("standard", "finishing")}
    return Job(**{**values, "stage": JobStage(values["stage"]), "phase": phase, **flags})
