"""Decides about tables of BigQuery, as pure functions: when they are read, whose they are, which load job is next."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How long before now a table is read as of, in milliseconds: the clock of this machine may be ahead by that much.
_AHEAD = 5 * 60 * 1000
#: By how many milliseconds BigQuery's times of a job and of the table that it wrote may differ.
_NEAR = 2000
#: What no name of a column may contain, and what it may not begin with.
_FORBIDDEN = frozenset('!"$()*,./;?@[\\]^`{}~')
_RESERVED = ("_TABLE_", "_FILE_", "_PARTITION", "_ROW_TIMESTAMP", "__ROOT__", "_COLIDENTIFIER")
_LONGEST = 300


class TableSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A table as it was seen. Times are milliseconds since 1970, by BigQuery's clock.

    ``kind``: ``TABLE``, ``VIEW`` and others; ``streaming``: whether rows arrive that are not stored yet; ``columns``:
    how many it has.
    """

    created: int
    modified: int
    rows: int
    kind: str
    streaming: bool
    columns: int
    location: str | None

    def is_same_as(self, other: TableSeen) -> bool:
        """Whether it is the same table with the same rows."""
        return (self.created, self.modified, self.rows) == (other.created, other.modified, other.rows)


class JobSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A load job as it was seen. ``error``: why it failed; empty if it did not."""

    done: bool
    error: str
    begun: int
    ended: int
    rows: int


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What is known in the state folder of a table that was written. ``sha256``: of the Parquet file that it holds, if
    it was modified last at ``modified``. ``loading``: of one that was about to be loaded."""

    sha256: str = ""
    modified: int = 0
    loading: str = ""


def snapshot_time(seen: TableSeen, now: float) -> int:
    """The moment as of which a table is read, in milliseconds: not before it was as it was seen, and not in the future.

    It is recent: BigQuery keeps what a table was for two days at least.
    """
    return max(seen.modified + 1, int(now * 1000) - _AHEAD)


def job_id(address: str, sha256: str, number: int) -> str:
    """The id of a load job: of the same file into the same table. BigQuery runs no second job of the same id."""
    digest = hashlib.sha256(f"{address}\n{sha256}".encode()).hexdigest()[:40]
    return f"gemini-batch-{digest}-{number}"


def wrote(job: JobSeen, table: TableSeen | None) -> bool:
    """Whether a table is as a load job left it."""
    return (
        job.done
        and not job.error
        and table is not None
        and table.rows == job.rows
        and job.begun - _NEAR <= table.modified <= job.ended + _NEAR
    )


def judge(job: JobSeen | None, table: TableSeen | None) -> Literal["load", "wait", "written", "next"]:
    """What to do with a load job of a certain id.

    ``next``: it is over, and the table is not what it wrote (it failed, or the table was changed or deleted since), so
    another job is needed.
    """
    if job is None:
        return "load"
    if not job.done:
        return "wait"
    return "written" if wrote(job, table) else "next"


def content_of(known: Loaded, table: TableSeen, loading: JobSeen | None) -> str | None:
    """The SHA-256 of the Parquet file whose rows a table has, if gemini-batch wrote it and nobody changed it since.

    ``loading``: the job that was about to write it, if there is one.
    """
    if known.sha256 and known.modified == table.modified:
        return known.sha256
    return known.loading if loading is not None and wrote(loading, table) else None


def check_names(columns: Iterable[str]) -> None:
    """Refuse columns that a table of BigQuery cannot have. Raises UsageError."""
    seen: dict[str, str] = {}
    for name in columns:
        if len(name) > _LONGEST or not name.isprintable() or _FORBIDDEN & set(name) or not name.strip():
            raise _bad(
                f"BigQuery has no column of the name {name[:80]!r}: of most characters, {_shown()} are not allowed."
            )
        if name.upper().startswith(_RESERVED):
            raise _bad(f"BigQuery has no column of the name {name!r}: it keeps such names to itself.")
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise _bad(f"BigQuery takes {other!r} and {name!r} for one column.")


def _shown() -> str:
    return "".join(sorted(_FORBIDDEN))


def _bad(what: str) -> UsageError:
    return UsageError(
        what,
        field="--output",
        code="bad_output",
        next="Rename the column; names of new columns can begin with another word: --as answer_.",
    )


#: How projects, datasets and tables are called; a project may have its domain before it.
_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{2,61}[a-z0-9]")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
_TABLE = re.compile(r"[\w -]{1,1024}")


class TableAddress(msgspec.Struct, frozen=True):
    """A table. It holds no secret: it is shown and recorded."""

    project: str
    dataset: str
    table: str

    def __str__(self) -> str:
        return f"bq://{self.project}.{self.dataset}.{self.table}"


def parse_table(text: str, *, field: str | None = None) -> TableAddress:
    """The address that a text is. Raises UsageError."""
    parts = text.partition("://")[2].rsplit(".", 2)
    if len(parts) == 3 and all(
        pattern.fullmatch(part) for pattern, part in zip((_PROJECT, _DATASET, _TABLE), parts, strict=True)
    ):
        return TableAddress(*parts)
    raise UsageError(
        "This is no address of a table of BigQuery."
        if len(parts) == 3
        else "The address of a table of BigQuery has three parts: project, dataset and table.",
        field=field,
        code="bad_address",
        next="Write bq://project.dataset.table, without a partition, a time or a wildcard.",
    )
