"""Checks of what is given as the name of a job or a run."""

from __future__ import annotations

import os

from gemini_batch.errors import Next, UsageError

_FILES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt")


def check_name(name: str) -> None:
    """Refuse an empty name or a file name in place of the name of a job or a run. Raises UsageError."""
    if not name.strip():
        raise UsageError(
            "The name of the job is empty. A shell variable may be unset, for example because a create failed.",
            code="bad_name",
            next=Next("list", why="lists the jobs; if yours is missing, run the create command again"),
        )
    named_so = name.lower().endswith(_FILES)
    # A job or a run may have a name that a file here happens to have, too; one with such an ending has not.
    file_here = os.path.isfile(name)  # noqa: PTH113 - there is no name that makes it raise
    if not named_so and not (file_here and "/" not in name and not name.startswith("run-")):
        return
    if file_here:
        what = "is a file"
    elif os.path.isdir(name):  # noqa: PTH112
        what = "is a folder"
    else:
        what = "looks like the name of a file, but no such file exists"
    raise UsageError(
        f"{name!r} {what}. Expected the name of a job or a run.",
        code="bad_name",
        next=Next("list", why="lists the jobs by name: batches/…"),
    )
