"""The verb for work in shards; it is part of :class:`gemini_batch.AsyncGeminiBatch`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch.async_jobs import AsyncJobs

if TYPE_CHECKING:
    from gemini_batch.money.limits import MaxUsd, Usd
    from gemini_batch.report.shards.answers import ShardsSummary


class AsyncShards(AsyncJobs):
    """Also works off requests that stay where they are."""

    async def run_shards(
        self,
        manifest: str | os.PathLike[str],
        *,
        output: str | os.PathLike[str],
        model: str | None = None,
        model_check: bool = True,
        new: bool = False,
        lenient: bool = False,
        max_requests_per_job: int | None = None,
        max_tokens_per_job: int | None = None,
        attempts: int | None = None,
        tier: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends with the documented error, and cancels nothing
        max_usd: MaxUsd | Usd | None = None,
    ) -> ShardsSummary:
        """Work off the shards that a manifest names, and write the results of each to the folder ``output``, with a
        manifest of answers. Costs money.

        A line of the manifest is ``{"uri": …, "requests": …, "bytes": …, "sha256": …}``, with ``tokens`` and ``method``
        (``generateContent``, ``embedContent``) if they are known. A shard is a request file that is canonical already;
        it is checked, and then sent as it is, without a copy. Keys are unique within a shard. What was sent is
        remembered by the hash of a shard, so the same call goes on after any interruption; ``new`` sends all shards
        again. ``max_usd``: the most that all shards may cost together. The rest is as for :meth:`run`.

        Raises UsageError (:class:`~gemini_batch.InvalidInput` with every problem of the manifest or of a shard),
        NotFinished, ServiceError, StateError, after the shards that were sent are collected.
        """
        from gemini_batch.commands import shards as room
        from gemini_batch.intake.submission import Submission
        from gemini_batch.store.ledger.run_options import RunOptions

        options = RunOptions.of(
            max_requests_per_job=max_requests_per_job,
            max_tokens_per_job=max_tokens_per_job,
            attempts=attempts,
            tier=tier,
        )
        submission = Submission(source=Path(manifest), model=model, model_check=model_check, new=new, lenient=lenient)
        options = (options or RunOptions()).capped(max_usd)
        return await room.run_shards(
            self._session(), os.fspath(manifest), submission, options, output=os.fspath(output), timeout=timeout
        )
