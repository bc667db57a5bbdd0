"""Names that lead nowhere: what they probably are, and what to type instead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gemini_batch.errors import ApiError, UsageError
from gemini_batch.runs.payment import paid_again

if TYPE_CHECKING:
    from gemini_batch.runs.session import Session, Target

_FILES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt")
#: How alike two names must be for one to be taken for a slip of the other; names of jobs are long and random.
_NEAR = 0.8


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


def helped(session: Session, target: Target, error: ApiError) -> ApiError:
    """A "no such job" of the service with what to type next; any other error as it is."""
    if error.reason_code != "job_not_found":
        return error
    if target.run is not None:
        message = f"{target.name} was made here, and the service does not know it any more ({error.status}): "
        following = f"gemini-batch list --remote shows what is there; create --new makes another job{_again(session)}."
        return _instead(error, message + "somebody has deleted it, or it does not show it at this moment.", following)
    message = (
        f"The service does not know {target.name} with this API key ({error.status}): the name is mistyped, the job "
        "was deleted, or it was made with the key of another project."
    )
    near = _near(session, target.name)
    listed = "gemini-batch list shows the jobs made here, gemini-batch list --remote all of this key's project."
    return _instead(error, message, f"Did you mean {near}?" if near else listed)


def _again(session: Session) -> str:
    return paid_again(session.settings)


def _instead(error: ApiError, message: str, following: str) -> ApiError:
    return ApiError(message, status=error.status, reason=error.reason, code=error.reason_code, next=following)


def _near(session: Session, name: str) -> str | None:
    """A job of this home whose name is nearly that one."""
    from difflib import get_close_matches

    if not session.home.exists():
        return None
    known = [job.batch for _, job in session.ledger().jobs() if job.batch]
    found = get_close_matches(name, known, n=1, cutoff=_NEAR)
    return found[0] if found else None
