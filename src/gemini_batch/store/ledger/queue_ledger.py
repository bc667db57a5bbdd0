"""The ledger, as far as it tells who uses a key, and what is in the queues of its models."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from gemini_batch.store.ledger import migrations
from gemini_batch.store.ledger.records import (
    Job,
    JobStage,
    QuotaBounds,
    job_of,
    plain,
)
from gemini_batch.store.sqlite import Alone, Database, explained, transaction

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


#: Seconds for which learned quota bounds are used.
MEMORY = 86_400.0

#: In these stages a job holds no requests: it is not sent, or its answers are here.
_WITHOUT_CLAIMS = (JobStage.PLANNED, JobStage.UPLOADED, JobStage.COLLECTED)


class QueueLedger(Database):
    """The open ledger: who uses a key, and what is in the queues of its models."""

    def __init__(self, path: Path, *, alone: Alone = nullcontext) -> None:
        super().__init__(path, migrations.LEDGER, what="ledger", alone=alone)

    def _read(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with explained(self.path, "ledger"):
            return self._db.execute(sql, values).fetchall()

    def key_fingerprint(self, key: str) -> str:
        """A fingerprint that recognises ``key`` in this ledger and reveals nothing about it elsewhere."""
        with explained(self.path, "ledger"):
            found = self._db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()
            if found is None:
                with transaction(self._db):
                    self._db.execute("INSERT OR IGNORE INTO meta VALUES ('salt', ?)", (secrets.token_hex(16),))
                found = self._db.execute("SELECT value FROM meta WHERE name = 'salt'").fetchone()
        return "hs1:" + hmac.new(bytes.fromhex(found["value"]), key.encode(), hashlib.sha256).hexdigest()[:24]

    def integrity(self) -> list[str]:
        """The problems that SQLite finds in the database; empty if there are none."""
        found = [row[0] for row in self._read("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _set(self, job_id: str, changes: dict[str, object]) -> None:
        names = ", ".join(f"{name} = ?" for name in changes)
        self._db.execute(
            f"UPDATE jobs SET {names} WHERE id = ?",  # noqa: S608 - names are our own
            [*(plain(value) for value in changes.values()), job_id],
        )
        if changes.get("dropped_at") is not None or changes.get("stage") in _WITHOUT_CLAIMS:
            self._db.execute("DELETE FROM claims WHERE job = ?", (job_id,))

    def _event(self, at: float, run: str | None, job: str | None, what: str, detail: dict[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO events (at, run, job, what, detail) VALUES (?, ?, ?, ?, ?)",
            (at, run, job, what, json.dumps(detail, ensure_ascii=False) if detail else None),
        )

    def quota_bounds(self, key_fingerprint: str, model: str, *, at: float) -> QuotaBounds:
        """The bounds learned for a model's queue in the last day; older ones are ignored, because tiers grow."""
        sql = "SELECT refused, accepted FROM quota_bounds WHERE key_fingerprint = ? AND model = ? AND learned_at >= ?"
        rows = self._read(sql, key_fingerprint, model, at - MEMORY)
        return QuotaBounds(rows[0]["refused"], rows[0]["accepted"]) if rows else QuotaBounds(None, None)

    def set_quota_bounds(self, key_fingerprint: str, model: str, quota_bounds: QuotaBounds, *, at: float) -> None:
        """Record learned bounds, dated by the newest refusal so that they expire."""
        sql = (
            "INSERT INTO quota_bounds VALUES (?, ?, ?, ?, ?) ON CONFLICT (key_fingerprint, model) DO UPDATE SET "
            "learned_at = iif(excluded.refused IS refused AND learned_at >= ?, learned_at, excluded.learned_at), "
            "refused = excluded.refused, accepted = excluded.accepted"
        )
        with explained(self.path, "ledger"), transaction(self._db):
            self._db.execute(
                sql, (key_fingerprint, model, quota_bounds.refused, quota_bounds.accepted, at, at - MEMORY)
            )

    def queued_tokens(self, key_fingerprint: str, model: str, *, since: float, certain: bool = False) -> int:
        """Estimated tokens of all jobs of that key and model, of whatever run, that may be in the service's queue.

        Jobs created before ``since`` have ended or expired, even if they were not polled again. ``certain``: of those
        that were seen there.
        """
        sql = (
            "SELECT coalesce(sum(tokens), 0) AS n FROM jobs WHERE key_fingerprint = ? AND model = ? "
            "AND via = 'batch' AND (stage = 'created' OR stage = 'intended' AND NOT ?) AND dropped_at IS NULL "
            "AND coalesce(created_at, intended_at) >= ?"
        )
        return int(self._read(sql, key_fingerprint, model, certain, since)[0]["n"])

    def living_jobs(self, key_fingerprint: str) -> list[Job]:
        """The jobs of that key that were alive when last polled, oldest first."""
        sql = "SELECT * FROM jobs WHERE key_fingerprint = ? AND stage = 'created' ORDER BY created_at"
        return [job_of(row) for row in self._read(sql, key_fingerprint)]

    def living(self, key_fingerprint: str, *, since: float, certain: bool = False) -> int:
        """How many jobs of that key, created since then, may be alive at the service; ``certain``: were seen there."""
        sql = (
            "SELECT count(*) AS n FROM jobs WHERE key_fingerprint = ? AND (stage = 'created' OR stage = 'intended' "
            "AND NOT ?) AND via = 'batch' AND dropped_at IS NULL AND coalesce(created_at, intended_at) >= ?"
        )
        return int(self._read(sql, key_fingerprint, certain, since)[0]["n"])

    def created_since(self, key_fingerprint: str, model: str, *, since: float) -> int:
        """How many jobs of that key and model were created since then, whatever became of them."""
        sql = (
            "SELECT count(*) AS n FROM jobs WHERE key_fingerprint = ? AND model = ? AND via = 'batch' "
            "AND created_at >= ?"
        )
        return int(self._read(sql, key_fingerprint, model, since)[0]["n"])
