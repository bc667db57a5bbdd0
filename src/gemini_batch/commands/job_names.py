"""What is given as the name of a job or a run: checked, and found here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gemini_batch.errors import Next, UsageError
from gemini_batch.report.next_steps import to_adopt
from gemini_batch.session import UnknownJob
from gemini_batch.store.integrity import freed

if TYPE_CHECKING:
    from gemini_batch.session import KnownJob, KnownRun, Session
    from gemini_batch.store.ledger.records import Run

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


def held_here(session: Session, name: str) -> tuple[Session, KnownJob | KnownRun]:
    """The job or run of that name, of which something is held here, and the session of its state folder.

    Raises UsageError.
    """
    target = session.locate(name)
    if isinstance(target, UnknownJob):
        raise UsageError(
            f"{target.name} was not created from this state folder, and nothing of it is held here.",
            code="unknown_job",
            next=to_adopt(target.name),
        )
    return session.at(target), target


def known_by_name(session: Session, name: str) -> tuple[Session, Run]:
    """The run of that id, or of that job, that was made here, and the session that it is worked on in.

    Raises UsageError.
    """
    target = session.locate(name)
    session = session.at(target)
    if isinstance(target, UnknownJob) or not target.run.requests_known:
        raise UsageError(
            f"{name} was not made on this machine, so its requests are unknown and cannot be sent.",
            code="not_our_run",
            next=to_adopt(name),
        )
    if target.run.freed_at is not None:
        raise freed(target.run, offline=session.settings.offline)
    session.check_bound(target)
    session.name_blank_address()
    return session, target.run
