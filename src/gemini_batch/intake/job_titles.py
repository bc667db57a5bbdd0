"""The display names of a run's jobs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Run
    from gemini_batch.store.ledger.run_options import RunOptions


def default_name(source: Path, run_id: str) -> str:
    """The default display name, from the names of file and run."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-")[:80] or "requests"
    return f"{stem}-{run_id.removeprefix('run-')}"


def display_name(ledger: Ledger, run: Run, options: RunOptions) -> str:
    """The display name of a run's jobs: the user's, else that of its first job, else one from the file's name."""
    first = next(iter(ledger.jobs_of(run.id) or ledger.all_jobs_of(run.id)), None)
    return options.name or (first.display_name if first else default_name(Path(run.source or run.id), run.id))
