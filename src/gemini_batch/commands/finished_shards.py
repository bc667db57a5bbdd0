"""What is known of a shard from an earlier process: its run, and the results of one that is finished."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from gemini_batch.catalog import Method
from gemini_batch.errors import StateError, UsageError
from gemini_batch.events import in_thread
from gemini_batch.intake.submission import identities
from gemini_batch.objects.names import named
from gemini_batch.store.job_rows import open_rows
from gemini_batch.store.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_batch.intake.submission import Submission
    from gemini_batch.report.shards.answers import ShardAnswers
    from gemini_batch.report.shards.folder import AnswersFolder
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.shard_manifest import Shard
    from gemini_batch.store.state_folder import RunFolder


def known_run(session: Session, submission: Submission, shard: Shard) -> Run | None:
    """The newest run of a shard, found by its hash. Raises StateError."""
    methods = tuple(Method) if shard.method is None else (shard.method,)
    found = [
        run
        for name in identities(session, submission, shard.sha256, methods, session.key_fingerprint())
        if (run := session.ledger().newest_with_identity(name, written=True)) is not None
    ]
    return max(found, key=lambda run: run.created_at, default=None)


async def finished(session: Session, folder: AnswersFolder, shard: Shard, run: Run) -> ShardAnswers:
    """The line of a shard whose answers are only in its results. Raises UsageError if these are not in the folder,
    StateError, ServiceError.
    """
    ledger, place = session.ledger(), session.state_folder.run(run.id)
    files = [file for file in ledger.outputs_of(run) if file.kind == "results"]
    jobs = ledger.jobs_of(run.id)
    costs = [job.settled for job in jobs]
    usd = sum(cost or 0 for cost in costs) / 1e9 if costs and None not in costs else None
    # In a thread: results in a bucket are fetched, and the lock is refreshed meanwhile.
    line = await in_thread(
        lambda _: folder.finished(shard, run, files, lambda: _verdicts(place, jobs), usd), session.emit
    )
    if line is None:
        where = os.path.dirname(files[0].path) if files else "another folder"  # noqa: PTH120 - it may be an address
        raise UsageError(
            f"The results of {shard.uri} were written to {where}, and are not in this folder, or were changed. "
            "They are kept nowhere else.",
            file=folder.path,
            field="--output",
            code="results_moved",
            next="Name the folder that holds them, or leave the shard out of the manifest. To send all shards "
            "again, use --new.",
        )
    give_back(place)  # a process may have ended while it did
    return line


def _verdicts(place: RunFolder, jobs: Sequence[Job]) -> dict[str, int]:
    with open_rows(place, jobs) as rows:
        return rows.census().verdicts()


def refuse_foreign(session: Session, folder: AnswersFolder, shard: Shard) -> None:
    """Refuse a shard that has answers in the folder which another state folder has paid for. Raises UsageError."""
    line = folder.of_shard(shard.sha256)
    if line is None or _is_known(session, line.run):
        return
    raise UsageError(
        f"{shard.uri} has its answers there already, from {line.run}, a run of another state folder or machine.",
        file=named(folder.manifest),
        field="--output",
        code="answered_elsewhere",
        next="Leave the shard out of the manifest, or name another place for the results. To send all shards again, "
        "use --new.",
    )


def _is_known(session: Session, run_id: str) -> bool:
    """Whether a run was made here, online or offline."""
    home = StateFolder(session.settings.home)
    for folder in (home, home.offline):
        with contextlib.suppress(StateError):
            if folder.exists():
                with folder.ledger() as ledger:
                    if ledger.run(run_id) is not None:
                        return True
    return False


def give_back(place: RunFolder) -> None:
    """Delete the answers of a shard whose results are written. Raises StateError."""
    if spare := place.spare(needed=None):
        place.delete(spare)
        with place.rows() as rows:
            rows.compact()
