"""Quotas: the jobs, creates and enqueued tokens of a project, the size of its files, how long its results are kept.

A job holds its tokens from its creation until it ends, or longer if so configured (``release_after``). As at the
service, a refusal names neither the limit that was reached nor a time to retry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini_batch import catalog
from gemini_batch.emulator.messages import errors
from gemini_batch.emulator.state import models, rates
from gemini_batch.emulator.state.clock import SECOND

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

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
    which an ended job still holds its tokens. ``creates``: the most jobs that are created in any ``creates_per``
    seconds; more are refused, whether or not a job is alive. ``requests_per_minute``, ``tokens_per_minute`` and
    ``requests_per_day``: the most ordinary calls, or tokens of their prompts, for each model. ``cache_minimum``: the
    fewest tokens of a cached content; None is the model's own limit. ``storage``, ``file`` and ``inline`` are in bytes.
    ``results_kept``: seconds after a job's end for which its results can be fetched; ``jobs_kept``: the same for the
    job itself.
    """

    jobs: int | None = None
    when_full: Literal["refuse", "wait"] = "refuse"
    tier: Literal[1, 2, 3] | None = None
    tokens: dict[str, int] = {}
    release_after: float = 0.0
    creates: int | None = None
    creates_per: float = 12 * 3600.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    cache_minimum: int | None = None
    storage: int = 20 * 1024**3
    file: int = 2 * 1024**3
    inline: int = 20 * 1024**2
    results_kept: float = 42 * 86_400.0
    jobs_kept: float | None = None

    def __post_init__(self) -> None:
        numbers = [number for number in msgspec.structs.astuple(self) if isinstance(number, int | float)]
        if min(*numbers, *self.tokens.values()) < 0:
            raise ValueError("a quota must not be negative")

    def of_model(self, name: str) -> int | None:
        """The most tokens that may be enqueued for a model; None: no limit."""
        if name in self.tokens:
            return self.tokens[name]
        model = catalog.load().find(name) if self.tier else None
        if model is None or model.enqueued_tokens is None:
            return None
        return model.enqueued_tokens.of_tier(self.tier or 0)

    def of_calls(self) -> dict[str, int]:
        """The quotas of ordinary calls that are set, by name."""
        return {name: limit for name in rates.KINDS if (limit := getattr(self, name)) is not None}

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
        self._rates = rates.Rates()

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
        if quotas.creates is not None and self._created(owner) >= quotas.creates:
            raise errors.exhausted()
        limit = quotas.of_model(model)
        if limit is not None and self.held(owner).get(model, 0) + tokens > limit:
            raise errors.exhausted()

    def call(self, owner: str, model: str, *, calls: int, tokens: Callable[[], int]) -> None:
        """Count ordinary calls to a model, with ``tokens`` of prompts in all.

        Raises :class:`errors.ApiFailure` (429) if they exceed a quota.
        """
        if limits := self.quotas.of_calls():
            self._rates.admit((owner, model), calls, tokens(), limits, self._clock.now())

    def called(self, owner: str) -> dict[str, dict[str, int]]:
        """What a project has used of the quotas of ordinary calls, by model."""
        return self._rates.held(owner, self._clock.now())

    def store_more(self, db: sqlite3.Connection, owner: str, size: int) -> None:
        """Refuse ``size`` bytes that a project has no room for. Raises :class:`errors.ApiFailure` (429).

        Output files take up room, too; registered objects are stored elsewhere.
        """
        (stored,) = db.execute(
            "SELECT total(size) FROM files WHERE owner = ? AND source != 'REGISTERED'", (owner,)
        ).fetchone()
        if stored + size > self.quotas.storage:
            raise errors.ApiFailure(
                429,
                "RESOURCE_EXHAUSTED",
                f"You exceeded your current quota: file_storage_bytes, limit: {self.quotas.storage}.",
            )

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

    def _created(self, owner: str) -> int:
        """The number of jobs that a project has created lately, deleted ones included."""
        since = self._clock.now() - round(self.quotas.creates_per * SECOND)
        row = self._store.row("SELECT count(*) FROM batches WHERE owner = ? AND created > ?", (owner, since))
        return 0 if row is None else int(row[0])

    def forgotten(self) -> int:
        """Jobs that ended before this time are no longer known; 0 if jobs are kept for ever."""
        kept = self.quotas.jobs_kept
        return 0 if kept is None else self._clock.now() - round(kept * SECOND)

    def held(self, owner: str) -> dict[str, int]:
        """The tokens that a project's jobs hold, by model."""
        values = {"owner": owner, "now": self._clock.now(), "late": round(self.quotas.release_after * SECOND)}
        found = self._store.rows(
            f"SELECT model, sum(tokens) FROM batches WHERE {_HOLDS} GROUP BY model HAVING sum(tokens) > 0",  # noqa: S608
            values,
        )
        return {model: int(tokens) for model, tokens in found}
