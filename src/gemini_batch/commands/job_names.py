"""What is given where a job's name belongs."""

from __future__ import annotations

import os

from gemini_batch.errors import UsageError

_FILES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt")


def check_name(name: str) -> None:
    """Refuse nothing at all, or a file's name, where a job's belongs. Raises UsageError."""
    if not name.strip():
        raise UsageError(
            f"{name!r} is not a job name: it is empty, as a shell's variable is after a create that failed.",
            code="bad_name",
            next="Run the create again and read what it says; gemini-batch list shows the jobs there are.",
        )
    there = "/" not in name and os.path.isfile(name)  # noqa: PTH113 - there is no name that makes it raise
    if name.lower().endswith(_FILES) or (there and not name.startswith("run-")):
        raise UsageError(
            f"{name!r} is a file, and a job's name belongs here.",
            code="bad_name",
            next="create prints the name (batches/…), and so does the same create once more, which sends nothing; "
            "gemini-batch list shows all.",
        )
