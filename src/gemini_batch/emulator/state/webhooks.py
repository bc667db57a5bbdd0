"""Webhooks and their deliveries as the database has them: addresses, secrets, keys, what is to be sent and what was.

A secret is kept, because every delivery is signed with it, but nothing that lists or reports shows it.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from gemini_batch.emulator.messages import signing
from gemini_batch.emulator.state.clock import rfc3339

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.store import Store

_KEYS = "webhook_keys_"


class Webhooks:
    """The webhooks and deliveries of one data folder."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._keys: signing.Keys | None = None

    def find(self, webhook_id: str, owner: str) -> sqlite3.Row | None:
        """A project's webhook."""
        return self._store.row("SELECT * FROM webhooks WHERE id = ? AND owner = ?", (webhook_id, owner))

    def secrets(self, webhook_id: str) -> list[sqlite3.Row]:
        """The secrets of a webhook that have not expired, newest first: ``secret``, ``expires``."""
        return self._store.rows(
            """SELECT secret, expires FROM webhook_secrets WHERE webhook = ? AND (expires IS NULL OR expires > ?)
            ORDER BY seq DESC""",
            (webhook_id, self._clock.now()),
        )

    def keys(self) -> signing.Keys:
        """The key pairs, which are made when they are first needed. Raises :class:`signing.NoLibraryError`."""
        if self._keys is None:
            stored = self._stored_keys()
            if not stored:
                made = signing.Keys.new()
                with self._store.transaction() as db:
                    db.executemany(
                        "INSERT OR IGNORE INTO meta VALUES (?, ?)",
                        [(_KEYS + name, value) for name, value in made.items()],
                    )
                stored = self._stored_keys()  # another process may have been first
            self._keys = signing.Keys(stored)
        return self._keys

    def _stored_keys(self) -> dict[str, bytes]:
        found = self._store.rows("SELECT name, value FROM meta WHERE name LIKE ?", (f"{_KEYS}%",))
        return {row["name"].removeprefix(_KEYS): bytes(row["value"]) for row in found}

    def enqueue(
        self,
        db: sqlite3.Connection,
        event: Mapping[str, Any],
        *,
        owner: str,
        uri: str,
        webhook: str | None,
        batch: str | None = None,
        change: str = "",
        due: int | None = None,
        state: str = "pending",
    ) -> None:
        """Add a delivery. ``webhook``: the registered webhook, None for one of the job's own addresses."""
        now = self._clock.now()
        db.execute(
            """INSERT INTO deliveries (id, owner, webhook, batch, uri, type, body, change, created, due, state)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                f"msg_{uuid.uuid4()}",
                owner,
                webhook,
                batch,
                uri,
                event["type"],
                json.dumps(event),
                change,
                now,
                now if due is None else due,
                state,
            ),
        )

    def shown(self) -> list[dict[str, Any]]:
        """All deliveries in order, for tests: where each went, how it stands, and every attempt."""
        return [
            {
                "id": row["id"],
                "webhook": row["webhook"],
                "job": f"batches/{row['batch']}" if row["batch"] else None,
                "uri": row["uri"],
                "type": row["type"],
                "state": row["state"],
                "due": rfc3339(row["due"]) if row["state"] == "pending" else None,
                "attempts": json.loads(row["attempts"]),
            }
            for row in self._store.rows("SELECT * FROM deliveries ORDER BY seq")
        ]
