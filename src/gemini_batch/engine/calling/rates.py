"""What the service lets through in a minute, as it was learned, by key and model; kept in the ledger for a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.store.ledger.queue_ledger import MEMORY
from gemini_batch.store.ledger.records import Rate
from gemini_batch.store.sqlite import explained, transaction

if TYPE_CHECKING:
    from gemini_batch.store.ledger.ledger import Ledger


def rate_of(ledger: Ledger, key_fingerprint: str, model: str, *, at: float) -> Rate:
    """The rate that was learned in the last day. Raises StateError."""
    sql = "SELECT calls, tokens FROM rates WHERE key_fingerprint = ? AND model = ? AND learned_at >= ?"
    with explained(ledger.path, "ledger"):
        row = ledger.connection.execute(sql, (key_fingerprint, model, at - MEMORY)).fetchone()
    return Rate(*row) if row else Rate()


def set_rate(ledger: Ledger, key_fingerprint: str, model: str, rate: Rate, *, at: float) -> None:
    """Record what was learned. Raises StateError."""
    sql = "INSERT OR REPLACE INTO rates VALUES (?, ?, ?, ?, ?)"
    with explained(ledger.path, "ledger"), transaction(ledger.connection):
        ledger.connection.execute(sql, (key_fingerprint, model, rate.calls, rate.tokens, at))
