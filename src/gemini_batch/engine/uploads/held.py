"""What the ledger records of attachments at the service: under which name, for which content, and which jobs use them.

What always holds: a name is recorded before anything is uploaded under it; a job is recorded as a user of a file in the
transaction that finds or names it, and a file is given up in one that finds no user. So no file is deleted under a job
that is about to be created.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator

    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job
    from gemini_batch.tables.making.attachments import Stored

#: An attachment with less than this many seconds left is not used for another job: jobs wait for up to two days.
FRESH = 86_400.0
#: How long the service keeps a file if it does not say.
_LIFE = 172_800.0


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An attachment that was uploaded, or is about to be.

    ``state``: ``chosen`` before the upload is complete, then ``uploaded``; ``active`` once it can be used, ``failed``
    if the service could not process it. ``run``: the run whose job uploads it.
    """

    name: str
    sha256: str
    mime: str
    bytes: int
    backend: str
    key_fingerprint: str
    run: str
    state: Literal["chosen", "uploaded", "active", "failed"]
    upload_url: str | None = None
    uri: str | None = None
    uploaded_at: float | None = None
    expires_at: float | None = None

    def is_fresh(self, at: float) -> bool:
        """Whether it lives long enough for a job that is created now: for a day, or for half of a shorter life."""
        if self.uploaded_at is None:
            return True
        ends = self.uploaded_at + _LIFE if self.expires_at is None else self.expires_at
        return ends - at >= min(FRESH, (ends - self.uploaded_at) / 2)


_FIELDS = Held.__struct_fields__
_COLUMNS = ", ".join(f"attachments.{name}" for name in _FIELDS)
#: Which files a job still needs, or may need.
_USED = (
    "EXISTS (SELECT 1 FROM job_attachments JOIN jobs ON jobs.id = job_attachments.job "
    "WHERE job_attachments.name = attachments.name AND jobs.dropped_at IS NULL "
    "AND jobs.stage NOT IN ('ended', 'collected'))"
)


class HeldAttachments:
    """The attachments of one API key at one address. Every method is one transaction, and raises StateError."""

    def __init__(self, ledger: Ledger, *, backend: str, key_fingerprint: str) -> None:
        self._ledger, self._backend, self._key = ledger, backend, key_fingerprint

    def use(self, job: Job, sha256: str, *, at: float, here: Callable[[str], bool]) -> Held | None:
        """The newest file with this content that ``job`` can use, which is then recorded; None if there is none.

        An upload that is not complete counts only if it is the job's own run's: another process may be at work on it.
        A file that could not be processed counts for the run that has tried. ``here``: whether a name is one where
        files are uploaded to now.
        """
        with self._transaction() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM attachments WHERE sha256 = ? AND backend = ? AND key_fingerprint = ? "  # noqa: S608 - our own names
                "AND deleted_at IS NULL AND (state IN ('uploaded', 'active') OR run = ?) "
                "ORDER BY uploaded_at IS NULL, uploaded_at DESC",
                (sha256, self._backend, self._key, job.run),
            )
            found = next((held for held in map(_held, rows) if held.is_fresh(at) and here(held.name)), None)
            if found is not None:
                self._link(db, job, found.name)
        return found

    def choose(self, job: Job, file: Stored, name: str, *, at: float) -> Held:
        """Record under which name a content is about to be uploaded for ``job``."""
        held = Held(
            name=name,
            sha256=file.sha256,
            mime=file.mime,
            bytes=file.size,
            backend=self._backend,
            key_fingerprint=self._key,
            run=job.run,
            state="chosen",
        )
        with self._transaction() as db:
            marks = ", ".join("?" * len(_FIELDS))
            db.execute(
                f"INSERT INTO attachments ({', '.join(_FIELDS)}) VALUES ({marks})",  # noqa: S608 - our own names
                [getattr(held, field) for field in _FIELDS],
            )
            self._link(db, job, name)
            _event(db, at, job, "attachment upload begins", file=name, sha256=file.sha256, bytes=file.size)
        return held

    def update(self, job: Job, held: Held, what: str, *, at: float, **changes: object) -> Held:
        """Write ``changes`` to a file, with an event that says what happened."""
        with self._transaction() as db:
            names = ", ".join(f"{name} = ?" for name in changes)
            db.execute(f"UPDATE attachments SET {names} WHERE name = ?", [*changes.values(), held.name])  # noqa: S608 - our own names
            _event(db, at, job, what, file=held.name)
        return msgspec.structs.replace(held, **changes)

    def gone(self, held: Held, *, at: float, why: str) -> None:
        """Record that the service does not have a file any more."""
        with self._transaction() as db:
            db.execute("UPDATE attachments SET deleted_at = ? WHERE name = ?", (at, held.name))
            _event(db, at, None, f"attachment {why}", file=held.name, bytes=held.bytes)

    def used_by(self, job: Job) -> list[Held]:
        """The files that a job uses."""
        sql = f"SELECT {_COLUMNS} FROM attachments JOIN job_attachments USING (name) WHERE job = ?"  # noqa: S608 - our own names
        with explained(self._ledger.path, "ledger"):
            return [_held(row) for row in self._ledger.connection.execute(sql, (job.id,))]

    def set_used(self, job: Job, names: Collection[str]) -> None:
        """Record that a job uses these files and no others."""
        with self._transaction() as db:
            db.execute("DELETE FROM job_attachments WHERE job = ?", (job.id,))
            for name in names:
                self._link(db, job, name)

    def all(self) -> list[tuple[Held, bool]]:
        """All files that are not known to be deleted, oldest first, and whether a job needs each of them."""
        sql = f"SELECT {_COLUMNS}, {_USED} AS used FROM attachments WHERE deleted_at IS NULL ORDER BY rowid"  # noqa: S608 - our own names
        with explained(self._ledger.path, "ledger"):
            rows = self._ledger.connection.execute(sql).fetchall()
        return [(_held(row), bool(row["used"])) for row in rows]

    def is_ours(self, held: Held) -> bool:
        """Whether a file was uploaded with this key to this address."""
        return (held.backend, held.key_fingerprint) == (self._backend, self._key)

    def give_up(self, held: Held, *, at: float) -> bool:
        """Record that a file is deleted, unless a job needs it; from then on no job uses it."""
        sql = f"UPDATE attachments SET deleted_at = ? WHERE name = ? AND NOT {_USED}"  # noqa: S608 - our own names
        with self._transaction() as db:
            return db.execute(sql, (at, held.name)).rowcount == 1

    def keep(self, held: Held) -> None:
        """Record that a file that was given up is still there."""
        with self._transaction() as db:
            db.execute("UPDATE attachments SET deleted_at = NULL WHERE name = ?", (held.name,))

    def _link(self, db: sqlite3.Connection, job: Job, name: str) -> None:
        db.execute("INSERT OR IGNORE INTO job_attachments (job, name) VALUES (?, ?)", (job.id, name))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with explained(self._ledger.path, "ledger"), transaction(self._ledger.connection) as db:
            yield db


def _held(row: sqlite3.Row) -> Held:
    return Held(**{name: row[name] for name in _FIELDS})


def _event(db: sqlite3.Connection, at: float, job: Job | None, what: str, **detail: object) -> None:
    db.execute(
        "INSERT INTO events (at, run, job, what, detail) VALUES (?, ?, ?, ?, ?)",
        (at, job and job.run, job and job.id, what, json.dumps(detail)),
    )
