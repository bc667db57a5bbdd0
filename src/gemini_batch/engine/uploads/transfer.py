"""Uploads one content under an id of our own, resumes what another process began, and verifies what arrived.

What always holds: the id is recorded before the first byte is sent, so a file found under it later is ours; what
arrived is compared with what was sent.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gemini_batch.api.files import SessionLost
from gemini_batch.api.trouble import meaning
from gemini_batch.errors import ApiError, ServiceError
from gemini_batch.events import Notice, Transfer
from gemini_batch.reading import to_int
from gemini_batch.vertex_place import same_file
from gemini_batch.wire import hash_matches

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from gemini_batch.api.files import ReadAt
    from gemini_batch.backend import Service
    from gemini_batch.session import Session
    from gemini_batch.wire import RemoteFile

#: How often the upload of one file begins anew.
_UPLOADS = 3
#: Seconds before each further request for a file whose upload is complete.
_FILE_WAITS = (1.0, 2.0, 4.0, 8.0)
#: Bytes that are hashed at a time.
_PIECE = 4 * 1024 * 1024


class Record(Protocol):
    """What the ledger knows of one upload. Each method writes to the ledger before it returns."""

    @property
    def name(self) -> str | None:
        """The file's name, ``files/…`` or ``gs://…``; None before it is chosen."""
        ...

    @property
    def upload_url(self) -> str | None:
        """The URL of the upload session; None before it is opened."""
        ...

    def choose(self, name: str) -> None:
        """Record the name under which the content is about to be uploaded."""
        ...

    def opened(self, url: str) -> None:
        """Record the session."""
        ...

    def start_again(self) -> None:
        """Record that the upload begins anew, under another name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is uploaded. ``opened`` gives the function that reads it; it may raise what ends the upload.

    ``what``: in words. ``job``: for which job, as progress shows it. ``mime_type``: None for request lines. Only other
    files are processed by the service, so for them FAILED is no sign of damage.
    """

    what: str
    size: int
    sha256: str
    display_name: str
    job: str
    opened: Callable[[], AbstractAsyncContextManager[ReadAt]]
    mime_type: str | None = None


async def upload(session: Session, service: Service, record: Record, content: Content) -> RemoteFile:
    """Upload ``content`` under the recorded file id, and verify what arrived; returns the file at the service.

    Raises ServiceError if that is not possible now; another call continues where this one stopped.
    """
    return await _Upload(session, service, record, content).run()


class _Upload:
    def __init__(self, session: Session, service: Service, record: Record, content: Content) -> None:
        self._session, self._service, self._record, self._content = session, service, record, content

    async def run(self) -> RemoteFile:
        for _ in range(_UPLOADS):
            if self._record.name is None:
                token = self._session.world.token(20)
                self._record.choose(self._service.new_name(token, mime_type=self._content.mime_type))
            try:
                return await self._verified(await self._already_there() or await self._transfer())
            except SessionLost as error:
                self._session.emit(Notice(f"{error.message.removesuffix('.')}. Restarting the upload."))
            except _ArrivedDamagedError as error:
                self._session.emit(Notice(error.then("Uploading again."), "warning"))
            self._record.start_again()
        raise ServiceError(
            f"{self._content.what} could not be uploaded: the service lost or damaged it each time.",
            code="upload_failed",
            next="Run the same command again in a few minutes.",
        )

    async def _already_there(self) -> RemoteFile | None:
        """The file, if an earlier process uploaded it but could not record that."""
        assert self._record.name is not None
        if self._record.upload_url is None:
            return None
        try:
            found = await self._service.get_file(self._record.name)
        except ApiError as error:
            if meaning(error).not_shown:  # the service answers 403 for a file that does not exist
                return None
            raise
        return found if to_int(found.size_bytes) else None

    async def _complete(self) -> RemoteFile:
        """The file of an upload that the service calls complete; it may take a moment to appear."""
        for wait in _FILE_WAITS:
            if (there := await self._already_there()) is not None:
                return there
            await self._session.world.sleep(wait)
        raise SessionLost("The service reports the upload as complete but does not have the file.")

    async def _transfer(self) -> RemoteFile:
        content, emit, offset = self._content, self._session.emit, 0
        async with content.opened() as read_at:
            if self._record.upload_url is not None:
                status, offset = await self._service.query_upload(self._record.upload_url)
                if status == "final":
                    return await self._complete()
                if status != "active":
                    raise SessionLost("The service ended the earlier upload.")
                if offset:
                    emit(Notice(f"Continuing the upload at byte {offset:,} of {content.size:,}."))
            else:
                assert self._record.name is not None
                self._record.opened(
                    await self._service.start_upload(
                        name=self._record.name,
                        display_name=content.display_name,
                        size=content.size,
                        mime_type=content.mime_type,
                    )
                )
            assert self._record.upload_url is not None
            emit(Transfer("uploading", offset, content.size, job=content.job))
            remote = await self._service.send_upload(
                self._record.upload_url,
                read_at,
                size=content.size,
                offset=offset,
                progress=lambda done: emit(Transfer("uploading", done, content.size, job=content.job)),
                mime_type=content.mime_type,
            )
            emit(Transfer("uploading", content.size, content.size, job=content.job))
        return remote or await self._complete()

    async def _verified(self, remote: RemoteFile) -> RemoteFile:
        content, name = self._content, self._record.name
        size = to_int(remote.size_bytes)
        if name is None or not same_file(remote.name, name):
            raise _ArrivedDamagedError(f"The service stored the upload as {remote.name!r} instead of {name}.")
        failed = remote.state == "FAILED" and content.mime_type is None
        if size != content.size or not hash_matches(content.sha256, remote.sha256_hash) or failed:
            raise _ArrivedDamagedError(
                f"The uploaded file differs from the one sent ({size:,} of {content.size:,} bytes)."
            )
        if remote.md5_hash is not None and remote.md5_hash != await self._md5():
            raise _ArrivedDamagedError("The uploaded file differs from the one sent (its MD5 hash does).")
        return remote

    async def _md5(self) -> str:
        """The hash of the content as Cloud Storage states hashes, whoever sent the bytes."""
        digest, offset, size = hashlib.md5(usedforsecurity=False), 0, self._content.size
        async with self._content.opened() as read_at:
            while offset < size and (data := read_at(offset, min(_PIECE, size - offset))):
                digest.update(data)
                offset += len(data)
                await asyncio.sleep(0)  # other work of this process goes on
        return base64.b64encode(digest.digest()).decode()


class _ArrivedDamagedError(ServiceError):
    code = "upload_damaged"
