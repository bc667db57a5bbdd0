"""Input files at the service: how they are uploaded, and deleted once no job needs them."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING

from gemini_batch.api.trouble import meaning
from gemini_batch.engine.uploads.transfer import Content, upload
from gemini_batch.errors import ApiError, ServiceError
from gemini_batch.events import ignore_events, in_thread
from gemini_batch.reading import to_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from gemini_batch.api.files import ReadAt
    from gemini_batch.backend import Service
    from gemini_batch.events import EventHandler
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import InputFile, Job
    from gemini_batch.store.state_folder import RunFolder


async def upload_input(session: Session, service: Service, ledger: Ledger, folder: RunFolder, job: Job) -> Job:
    """Upload a job's requests under the recorded file id, and verify what arrived; returns the job, ``uploaded``.

    Raises ServiceError if that is not possible now; another call continues where this one stopped.
    """
    assert job.sha256 is not None

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[ReadAt]:
        with contextlib.ExitStack() as opening:

            def begin(_: EventHandler) -> IO[bytes]:
                return opening.enter_context(folder.open_input(job.part))

            file = await in_thread(begin, ignore_events) if folder.in_bucket(job.part) else begin(ignore_events)

            def read_at(start: int, length: int) -> bytes:
                file.seek(job.offset + start)
                return file.read(length)

            yield read_at

    content = Content(
        what="The input file", size=job.bytes, sha256=job.sha256, display_name=job.id, job=job.id, opened=opened
    )
    record = _InputRecord(ledger, job, session.world.now)
    remote = await upload(session, service, record, content)
    return ledger.uploaded(
        record.job,
        at=session.world.now(),
        name=remote.name,
        size=job.bytes,
        sha256=job.sha256,
        expires_at=to_time(remote.expiration_time),
    )


class _InputRecord:
    """The upload of a job's input, as its job records it."""

    def __init__(self, ledger: Ledger, job: Job, now: Callable[[], float]) -> None:
        self._ledger, self.job, self._now = ledger, job, now

    @property
    def name(self) -> str | None:
        return self.job.file

    @property
    def upload_url(self) -> str | None:
        return self.job.upload_url

    def choose(self, name: str) -> None:
        self.job = self._ledger.update_job(self.job, "upload begins", at=self._now(), file=name)

    def opened(self, url: str) -> None:
        self.job = self._ledger.update_job(self.job, "upload session", at=self._now(), upload_url=url)

    def start_again(self) -> None:
        self.job = self._ledger.update_job(self.job, "upload starts again", at=self._now(), file=None, upload_url=None)


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


async def forget_inputs(service: Service, ledger: Ledger, files: Iterable[InputFile], *, at: float) -> int:
    """Delete input files that no job needs any more; returns how many the service still had."""
    forgotten = 0
    for file in files:
        with contextlib.suppress(ServiceError):  # it stays in the ledger for `clean`, and expires on its own
            forgotten += await delete_input(service, ledger, file, at=at)
    return forgotten
