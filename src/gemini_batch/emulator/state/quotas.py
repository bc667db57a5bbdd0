"""Quotas: the jobs and enqueued tokens of a project, the size of its files.

A job holds its tokens from its creation until it ends, or longer if so configured (``release_after``). As at the
service, a refusal names neither the limit that was reached nor a time to retry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini_batch import catalog
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state import models
from gemini_batch.emulator.state.clock import SECOND

if TYPE_CHECKING:
    import sqlite3

    from gemini_batch.emulator.state.clock import Clock
    from gemini_batch.emulator.state.store import Store

#: Jobs that hold quota: those alive (also deleted ones that keep running), and those that ended within ``late``.
_HOLDS = """owner = :owner AND CASE WHEN state IN ('PENDING', 'RUNNING') AND deleted != 1 THEN 1
    ELSE coalesce(ended, 0) + :late > :now END"""
_LIVES = "owner = :owner AND state IN ('PENDING', 'RUNNING') AND deleted != 1"


class Quotas(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The limits of every project. Raises ``ValueError`` for negative ones.

    ``jobs``: the most jobs alive at a time; more are refused or stay PENDING (``when_full``). ``tier``: the catalog's
    limit of enqueued tokens per model; ``tokens``: limits by model that override it. ``release_after``: seconds for
    which an ended job still holds its tokens. ``cache_minimum``: the fewest tokens of a cached content; None
    is the model's own limit. ``storage``, ``file`` and ``inline`` are in bytes.
    """

    jobs: int | None = None
    when_full: Literal["refuse", "wait"] = "refuse"
    tier: Literal[1, 2, 3] | None = None
    tokens: dict[str, int] = {}
    release_after: float = 0.0
    cache_minimum: int | None = None
    storage: int = 20 * 1024**3
    file: int = 2 * 1024**3
    inline: int = 20 * 1024**2

    def __post_init__(self) -> None:
        if (
            min(
                self.jobs or 0,
                self.cache_minimum or 0,
                self.release_after,
                self.storage,
                self.file,
                self.inline,
                *self.tokens.values(),
            )
            < 0
        ):
            raise ValueError("a quota must not be negative")

    def of_model(self, name: str) -> int | None:
        """The most tokens that may be enqueued for a model; None: no limit."""
        if name in self.tokens:
            return self.tokens[name]
        model = catalog.load().find(name) if self.tier else None
        if model is None or model.enqueued_tokens is None:
            return None
        return model.enqueued_tokens.of_tier(self.tier or 0)

    def of_cache(self, name: str) -> int:
        """The fewest tokens of a cached content for a model."""
        return models.cache_minimum(name) if self.cache_minimum is None else self.cache_minimum


class Limits:
    """The quotas of one emulator, and how much of them its projects hold."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.quotas = Quotas()
        self._first = self.quotas

    def begin(self, quotas: Quotas) -> None:
        """Set the quotas that :meth:`reset` restores."""
        self.quotas = self._first = quotas

    def change(self, **fields: Any) -> None:
        """Change some quotas. Raises ``ValueError`` for unknown names and wrong values."""
        try:
            self.quotas = msgspec.convert(msgspec.structs.asdict(self.quotas) | fields, Quotas)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    def reset(self) -> None:
        """Restore the quotas of the start."""
        self.quotas = self._first

    def any(self) -> bool:
        """Whether jobs or tokens are limited."""
        quotas = self.quotas
        return quotas.jobs is not None or quotas.tier is not None or bool(quotas.tokens)

    def counts(self, model: str) -> bool:
        """Whether a new job's tokens must be counted."""
        return self.quotas.of_model(model) is not None

    def admit(self, owner: str, model: str, tokens: int) -> None:
        """Refuse a job that exceeds a quota. Raises :class:`errors.ApiFailure` (429)."""
        quotas = self.quotas
        if quotas.jobs is not None and quotas.when_full == "refuse" and self.alive(owner) >= quotas.jobs:
            raise errors.exhausted()
        limit = quotas.of_model(model)
        if limit is not None and self.held(owner).get(model, 0) + tokens > limit:
            raise errors.exhausted()

    def waits(self, batch: sqlite3.Row) -> bool:
        """Whether a job that is due must wait until another one ends."""
        quotas = self.quotas
        if quotas.jobs is None or quotas.when_full == "refuse":
            return False
        return self.alive(batch["owner"], before=batch["seq"]) >= quotas.jobs

    def alive(self, owner: str, *, before: int | None = None) -> int:
        """The number of a project's jobs that are alive: all, or only those created before another one."""
        row = self._store.row(
            f"SELECT count(*) FROM batches WHERE {_LIVES} AND (:before IS NULL OR seq < :before)",  # noqa: S608
            {"owner": owner, "before": before},
        )
        return 0 if row is None else int(row[0])

    def held(self, owner: str) -> dict[str, int]:
        """The tokens that a project's jobs hold, by model."""
        values = {"owner": owner, "now": self._clock.now(), "late": round(self.quotas.release_after * SECOND)}
        found = self._store.rows(
            f"SELECT model, sum(tokens) FROM batches WHERE {_HOLDS} GROUP BY model HAVING sum(tokens) > 0",  # noqa: S608
            values,
        )
        return {model: int(tokens) for model, tokens in found}
