"""Makes room in the project's file store, with files that no job needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.engine.uploads.attachments import forget_attachments
from gemini_batch.engine.uploads.held import HeldAttachments
from gemini_batch.engine.uploads.input_files import forget_inputs

if TYPE_CHECKING:
    from gemini_batch.backend import Service
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import InputFile


async def make_room(service: Service, ledger: Ledger, *, key_fingerprint: str, backend: str, at: float) -> int:
    """Delete the input files and attachments of this key at this address that no job needs; returns how many."""
    needless = _needless_inputs(ledger, key_fingerprint=key_fingerprint, backend=backend)
    held = HeldAttachments(ledger, backend=backend, key_fingerprint=key_fingerprint)
    return await forget_inputs(service, ledger, needless, at=at) + await forget_attachments(service, held, at=at)


def _needless_inputs(ledger: Ledger, *, key_fingerprint: str, backend: str) -> list[InputFile]:
    """Files uploaded with a key to an address for jobs that have ended or will not be created."""
    found = []
    for file in ledger.files():
        job = ledger.job(file.job)
        run = ledger.run(job.run)
        ours = run is not None and (job.key_fingerprint, run.backend) == (key_fingerprint, backend)
        if ours and (job.stage.over or job.dropped_at is not None):
            found.append(file)
    return found
