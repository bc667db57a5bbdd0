"""Input files at the service: which were uploaded from here, and how they are deleted once no job needs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.trouble import meaning
from gemini_batch.errors import ApiError

if TYPE_CHECKING:
    from gemini_batch.backend import Service
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import InputFile, Job, Run


async def delete_input(service: Service, ledger: Ledger, file: InputFile, *, at: float) -> bool:
    """Delete an input file and record that; False if the service no longer had it. Raises ServiceError."""
    there = True
    try:
        await service.delete_file(file.name)
    except ApiError as error:
        if not meaning(error).not_shown:  # the service answers 403 for a file that does not exist
            raise
        there = False
    ledger.file_gone(file, at=at, why="deleted" if there else "was gone")
    return there


def inputs_of(ledger: Ledger, job: Job) -> list[InputFile]:
    """The files that were uploaded for a job and are not known to be deleted."""
    return [file for file in ledger.files() if file.job == job.id]


def needless_inputs(ledger: Ledger, like: Run) -> list[InputFile]:
    """Files uploaded with a run's key to its address for jobs that have ended or will not be created."""
    found = []
    for file in ledger.files():
        job = ledger.job(file.job)
        run = ledger.run(job.run)
        ours = run is not None and (run.key_fingerprint, run.backend) == (like.key_fingerprint, like.backend)
        if ours and (job.stage.over or job.dropped_at is not None):
            found.append(file)
    return found
