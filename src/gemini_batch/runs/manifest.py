"""``manifest.json``: where the answers of a run came from. For people and for later checks; nothing here reads it."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import msgspec

from gemini_batch import __version__
from gemini_batch.jsonl import atomic_write
from gemini_batch.runs.sqlite import state_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.runs.home import RunFolder
    from gemini_batch.runs.records import Job, Run

#: What a manifest says of a job: where it came from and what became of it, not how it was sent.
_JOB_FIELDS = (
    "ordinal", "model", "batch", "display_name", "requests", "bytes", "sha256", "file", "created_at", "ended_at",
    "collected_at", "state", "total", "succeeded", "failed", "error_code", "error_message", "dropped_at", "lost",
)  # fmt: skip


def write_manifest(folder: RunFolder, run: Run, jobs: Sequence[Job]) -> None:
    """Write a run's manifest: hashes, settings, jobs, counts, tokens, versions. Raises StateError."""
    with folder.rows() as rows:
        tokens = [
            {name: row[name] for name in ("input", "cached", "output", "thoughts", "tool_use")} for row in rows.usage(0)
        ]
        document = {
            "version": 1,
            "run": run,
            "jobs": [{name: getattr(job, name) for name in _JOB_FIELDS} for job in jobs],
            "answers": {"verdicts": rows.counts(), "quarantined": rows.quarantined()},
            "tokens": {name: sum(row[name] for row in tokens) for name in tokens[0]} if tokens else {},
            "raw": [dict(row) for row in rows.sources()],
            "made_with": {"gemini-batch": __version__, "python": platform.python_version()},
        }
    try:
        with atomic_write(folder.manifest) as file:
            file.write(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
    except OSError as error:
        raise state_error(error, folder.manifest, "manifest") from error
