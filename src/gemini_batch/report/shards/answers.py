"""What came of shards, as values: the lines of the manifest of answers, their sums, and the outcome."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.answers.reasons import VERDICTS
from gemini_batch.errors import Next
from gemini_batch.report.next_steps import costing

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.store.ledger.records import Run


class AnswerFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of results."""

    file: str
    """Name in the folder of the manifest."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hash of its content."""


class ShardAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the manifest of answers: a shard that is finished."""

    uri: str
    """The shard, as the manifest of shards names it."""
    sha256: str
    """Hash of the shard."""
    requests: int
    """Number of its requests. The files have one result for each."""
    verdicts: dict[str, int]
    """Number of requests by verdict."""
    run: str
    """Id of the run of the shard, `run-…`."""
    usd: float | None
    """What its answers cost, in USD, as far as it is known; null if nothing of it is."""
    answers: list[AnswerFile]
    """Its results: result lines, and a Parquet file with the same."""
    method: str | None = None
    """`generateContent` or `embedContent`; null in lines of earlier versions, like the following."""
    model: str | None = None
    """The model that was asked."""
    backend: str | None = None
    """Address of the service; `offline` for offline work."""


class ShardsSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a run over shards."""

    shards: int
    """Number of shards in the manifest."""
    finished: int
    """Number of shards whose results are written."""
    requests: int
    """Number of requests in all shards."""
    verdicts: dict[str, int]
    """Number of requests of finished shards by verdict."""
    usd: float | None
    """What their answers cost, in USD, as far as it is known; null if nothing of it is."""
    offline: bool
    """True if the local emulator answered."""
    backend: str
    """Address of the service; `offline` for offline work."""
    folder: str
    """Folder of the results."""
    manifest: str
    """The manifest of answers: one line for each finished shard, in the order of the manifest of shards."""
    next: Next | str | None
    """What helps with requests that did not succeed."""

    @property
    def exit_code(self) -> int:
        """0: every request of every shard succeeded; 1: some did not; 5: there is nothing."""
        if self.verdicts.get("succeeded", 0) == self.requests:
            return 0
        return 1 if sum(self.verdicts.values()) - self.verdicts.get("missing", 0) else 5


class Tally:
    """The verdicts and the cost of finished shards together."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self.requests = 0
        self.usd: float | None = None

    def add(self, line: ShardAnswers) -> None:
        """Count one more shard."""
        self._counts.update(line.verdicts)
        self.requests += line.requests
        if line.usd is not None:
            self.usd = (self.usd or 0.0) + line.usd

    @property
    def verdicts(self) -> dict[str, int]:
        """Number of requests by verdict."""
        return {verdict: self._counts[verdict] for verdict in VERDICTS if self._counts[verdict]}


def retry_of(line: ShardAnswers, folder: Path, run: Run | None) -> Next | str:
    """What helps with a shard of which requests did not succeed."""
    if run is not None and run.freed_at is not None:
        return (
            f"What did not succeed of {line.uri} can only be sent in another shard: clean --local deleted its requests."
        )
    why = "resends what failed or is missing of a shard; then run the same command again"
    file = str(folder / line.answers[0].file)
    return Next("retry", line.run, "-o", file, why=why if run is None else costing(run, why))
