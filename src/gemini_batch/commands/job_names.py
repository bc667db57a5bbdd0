"""What is given where a job's name belongs."""

from __future__ import annotations

import os

from gemini_batch.errors import UsageError

_FILES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt")


def check_name(name: str) -> None:
    """Refuse nothing at all, or a file's name, where a job's or a run's belongs. Raises UsageError."""
    if not name.strip():
        raise UsageError(
            f"{name!r} is not a job name: it is empty, as a shell's variable is after a create that failed.",
            code="bad_name",
            next="Run the create again and read what it says; gemini-batch list shows the jobs there are.",
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
        next="Type: gemini-batch list  (it shows the names, as create printed them: batches/…).",
    )
