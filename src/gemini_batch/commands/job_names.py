"""Checks of what is given as the name of a job or a run."""

from __future__ import annotations

import os

from gemini_batch.errors import Next, UsageError

_FILES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt")


def check_name(name: str) -> None:
    """Refuse nothing at all, or a file's name, where a job's or a run's belongs. Raises UsageError."""
    if not name.strip():
        raise UsageError(
            f"{name!r} is not a job name. It is empty, as a shell variable is after a create that failed.",
            code="bad_name",
            next=Next("list", why="lists the jobs; if yours is missing, run the create command again"),
        )
    named_so = name.lower().endswith(_FILES)
    # A job or a run may have a name that a file here happens to have, too; one with such an ending has not.
    file_here = os.path.isfile(name)  # noqa: PTH113 - there is no name that makes it raise
    if not named_so and not (file_here and "/" not in name and not name.startswith("run-")):
        return
    if file_here:
        what = "is a file, and"
    elif os.path.isdir(name):  # noqa: PTH112
        what = "is a folder, and"
    else:
        what = "looks like a file name, and no such file is here;"
    raise UsageError(
        f"{name!r} {what} the name of a job or a run belongs here.",
        code="bad_name",
        next=Next("list", why="lists the names, as create printed them: batches/…"),
    )
