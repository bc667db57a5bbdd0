"""How much is measured: the sizes of the table, and small ones that try the benchmarks themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Rows, megabytes and rounds; the values here are those of the table."""

    rounds: int = 15
    """Alternating runs behind each median of a short command."""
    few: int = 3
    """The same for what takes seconds."""
    jobs: int = 1_000
    """Jobs that `list` lists."""
    check_mb: int = 2_000
    """The largest request file that is checked; a tenth and a two-hundredth of it are checked, too."""
    table_rows: int = 1_000_000
    """Rows of the tables."""
    upload_mb: int = 2_000
    """What is uploaded."""
    shards: int = 16
    """The number of jobs that the same is uploaded in."""
    large_mb: int = 2_000
    """Results in large lines."""
    small_rows: int = 1_000_000
    """Results in small lines."""
    pictures: int = 2_000
    """Pictures of a megabyte."""
    run_rows: int = 100_000
    """Requests of a whole run, by several clients."""
    other_seconds: int = 300
    """How long another client may take for them."""
    watched: int = 100
    """Jobs that are watched for a day."""
    killed_rows: int = 1_000_000
    """Requests of the run that is killed."""
    growth_rows: int = 1_000_000
    """The largest number of rows; all powers of ten from 10,000 are measured."""
    emulator_rows: int = 300_000
    """Rows that the emulator answers."""
    pile_mb: int = 300
    """Requests that go through all commands, five times that on disk."""
    memory_rows: int = 1_000_000
    """Requests that are entered next to answered rows."""
    remembered: int = 10_000_000
    """Answered rows in the memory."""
    estimate_rows: int = 1_000_000
    """Requests whose tokens are estimated."""
    call_rows: int = 20_000
    """Requests that are sent as calls."""
    shard_rows: int = 50_000
    """Requests of a shard."""
    shard_count: int = 20
    """Shards of the run that is killed."""
    shard_most: int = 200
    """Shards of the run whose memory is compared with that of ten."""
    shard_objects: int = 0
    """1: shards and answers of the run that is killed are objects, behind `file://`, and only this run is measured."""


FULL = Sizes()
#: A few minutes in all; the ratios of such small work say little.
SMALL = Sizes(
    rounds=3,
    few=1,
    jobs=50,
    check_mb=20,
    table_rows=10_000,
    upload_mb=40,
    shards=8,
    large_mb=20,
    small_rows=20_000,
    pictures=20,
    run_rows=1_000,
    other_seconds=60,
    watched=20,
    killed_rows=30_000,
    growth_rows=100_000,
    emulator_rows=10_000,
    pile_mb=10,
    memory_rows=10_000,
    remembered=100_000,
    estimate_rows=10_000,
    call_rows=500,
    shard_rows=5_000,
    shard_count=6,
    shard_most=20,
)
