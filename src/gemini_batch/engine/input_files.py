"""Input files at the service: how they are uploaded and verified, and deleted once no job needs them.

What always holds: a file's id is recorded before its first byte is sent; what arrived is compared with what was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.api.files import SessionLost
from gemini_batch.api.trouble import meaning
from gemini_batch.errors import ApiError, ServiceError
from gemini_batch.events import Notice, Transfer
from gemini_batch.reading import to_int, to_time
from gemini_batch.wire import hash_matches

if TYPE_CHECKING:
    from gemini_batch.backend import Service
    from gemini_batch.session import Session
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import InputFile, Job
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.wire import RemoteFile

#: How often the upload of one file begins anew.
_UPLOADS = 3
#: Seconds before each further request for a file whose upload is complete.
_FILE_WAITS = (1.0, 2.0, 4.0, 8.0)


async def upload_input(session: Session, service: Service, ledger: Ledger, folder: RunFolder, job: Job) -> Job:
    """Upload a job's requests under the recorded file id, and verify what arrived; returns the job, ``uploaded``.

    Raises ServiceError if that is not possible now; another call continues where this one stopped.
    """
    return await _Upload(session, service, ledger, folder).upload(job)


class _Upload:
    def __init__(self, session: Session, service: Service, ledger: Ledger, folder: RunFolder) -> None:
        self._session, self._service, self._ledger, self._folder = session, service, ledger, folder

    async def upload(self, job: Job) -> Job:
        """Upload the job's requests under the recorded file id, and verify what arrived."""
        for _ in range(_UPLOADS):
            if job.file is None:
                # The id is chosen and recorded before the first byte is sent: a file found under it later is ours.
                name = f"gb-{self._session.world.token(20)}"
                job = self._ledger.update_job(job, "upload begins", at=self._session.world.now(), file=f"files/{name}")
            try:
                return self._verified(job, await self._already_there(job) or await self._transfer(job))
            except SessionLost as error:
                self._session.emit(Notice(f"{error.message.removesuffix('.')}. Restarting the upload."))
            except _ArrivedDamagedError as error:
                self._session.emit(Notice(error.then("Uploading again."), "warning"))
            job = self._ledger.update_job(
                job, "upload starts again", at=self._session.world.now(), file=None, upload_url=None
            )
        raise ServiceError(
            "The input file could not be uploaded: the service lost or damaged it each time.",
            code="upload_failed",
            next="Run the same command again in a few minutes.",
        )

    async def _already_there(self, job: Job) -> RemoteFile | None:
        """The file, if an earlier process uploaded it but could not record that."""
        assert job.file is not None
        if job.upload_url is None:
            return None
        try:
            found = await self._service.get_file(job.file)
        except ApiError as error:
            if meaning(error).not_shown:  # the service answers 403 for a file that does not exist
                return None
            raise
        return found if to_int(found.size_bytes) else None

    async def _complete(self, job: Job) -> RemoteFile:
        """The file of an upload that the service calls complete; it may take a moment to appear."""
        for wait in _FILE_WAITS:
            if (there := await self._already_there(job)) is not None:
                return there
            await self._session.world.sleep(wait)
        raise SessionLost("The service reports the upload as complete but does not have the file.")

    async def _transfer(self, job: Job) -> RemoteFile:
        size = job.bytes
        offset = 0
        assert job.file is not None
        if job.upload_url is not None:
            status, offset = await self._service.query_upload(job.upload_url)
            if status == "final":
                return await self._complete(job)
            if status != "active":
                raise SessionLost("The service ended the earlier upload.")
            if offset:
                self._session.emit(Notice(f"Continuing the upload at byte {offset:,} of {size:,}."))
        else:
            name = job.file.removeprefix("files/")
            url = await self._service.start_upload(name=name, display_name=job.id, size=size)
            job = self._ledger.update_job(job, "upload session", at=self._session.world.now(), upload_url=url)
        assert job.upload_url is not None
        with self._folder.input(job.part).open("rb") as file:

            def read_at(start: int, length: int) -> bytes:
                file.seek(job.offset + start)
                return file.read(length)

            emit = self._session.emit
            emit(Transfer("uploading", offset, size, job=job.id))
            remote = await self._service.send_upload(
                job.upload_url,
                read_at,
                size=size,
                offset=offset,
                progress=lambda done: emit(Transfer("uploading", done, size, job=job.id)),
            )
            emit(Transfer("uploading", size, size, job=job.id))
        return remote or await self._complete(job)

    def _verified(self, job: Job, remote: RemoteFile) -> Job:
        assert job.sha256 is not None
        assert job.file is not None
        size = to_int(remote.size_bytes)
        if remote.name != job.file:
            raise _ArrivedDamagedError(f"The service stored the upload as {remote.name!r} instead of {job.file}.")
        if size != job.bytes or not hash_matches(job.sha256, remote.sha256_hash) or remote.state == "FAILED":
            raise _ArrivedDamagedError(
                f"The uploaded file differs from the one sent ({size:,} of {job.bytes:,} bytes)."
            )
        return self._ledger.uploaded(
            job,
            at=self._session.world.now(),
            name=job.file,
            size=job.bytes,
            sha256=job.sha256,
            expires_at=to_time(remote.expiration_time),
        )


class _ArrivedDamagedError(ServiceError):
    code = "upload_damaged"


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


def needless_inputs(ledger: Ledger, *, key_fingerprint: str, backend: str) -> list[InputFile]:
    """Files uploaded with a key to an address for jobs that have ended or will not be created."""
    found = []
    for file in ledger.files():
        job = ledger.job(file.job)
        run = ledger.run(job.run)
        ours = run is not None and (job.key_fingerprint, run.backend) == (key_fingerprint, backend)
        if ours and (job.stage.over or job.dropped_at is not None):
            found.append(file)
    return found
