"""Attachments of a run's requests: uploaded once for each content, and put into a job's input when they can be used.

What always holds: no job is created with a placeholder, nor with the URI of a file that is about to expire; a content
is uploaded only if it is still the one from which the requests were made; the part with the placeholders stays as it
was planned, so the input of a job can be made again at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.engine.backoff import PollBackoff
from gemini_batch.engine.uploads.held import Held, HeldAttachments
from gemini_batch.engine.uploads.transfer import Content, upload
from gemini_batch.errors import ApiError, ServiceError, UsageError
from gemini_batch.events import EventHandler, Notice, Transfer, in_thread
from gemini_batch.jsonl import atomic_write
from gemini_batch.reading import to_time
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.sqlite import state_error
from gemini_batch.tables.making.attachments import Stored, read_manifest
from gemini_batch.tables.making.local_files import mark_of, opened
from gemini_batch.validation.file_uri import attached_to, with_uris
from gemini_batch.validation.request_traits import file_id_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from typing import IO

    from gemini_batch.api.files import ReadAt
    from gemini_batch.backend import Service
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.wire import RemoteFile

#: Seconds for which a file may be PROCESSING before the job is tried again later.
_LONGEST = 3600.0
#: How often a file that the service has lost is uploaded again before that counts as trouble.
_TIMES = 3
#: How many files of a job are uploaded, or waited for, at the same time.
_AT_ONCE = 4
_PIECE = 1024 * 1024
#: Where the service keeps a file, if it does not say.
_URIS = "https://generativelanguage.googleapis.com/v1beta/"


class JobAttachments:
    """Prepares the inputs of one run's jobs. The caller holds the run's lock, and keeps this for all of them."""

    def __init__(self, session: Session, service: Service, ledger: Ledger, run: Run, folder: RunFolder) -> None:
        self._session, self._service, self._ledger, self._folder = session, service, ledger, folder
        self._now, self._clock = session.world.now, session.world.monotonic
        self._held = HeldAttachments(ledger, backend=run.backend, key_fingerprint=session.key_fingerprint())
        #: Jobs of a run share contents, and each is uploaded once.
        self._one_job = asyncio.Lock()
        #: Files that the service was seen to have, in this process.
        self._seen: set[str] = set()
        self._listed: dict[str, Stored] | None = None

    async def fill(self, job: Job) -> Job:
        """Make the input of a planned job: upload what its requests attach, wait for it, and write the URIs.

        Returns the job with the input that is to be sent. Raises UsageError if a file is not what it was, ServiceError
        if something is not possible now (another call continues), StateError.
        """
        planned = self._folder.input(f"{job.ordinal}.jsonl")
        if not self._folder.attachments.exists() or not planned.exists():
            return job
        async with self._one_job:
            with self._explained():
                contents = await in_thread(lambda emit: _attached(planned, emit), self._session.emit)
                if not contents:
                    return job
                files = self._files()
            held = await self._all_usable(job, [files[sha256] for sha256 in contents])
            self._held.set_used(job, [one.name for one in held])
            uris = {one.sha256: one.uri or "" for one in held}
            part = f"{job.ordinal}.sent.jsonl"
            with self._explained():
                size, sha256 = await in_thread(
                    lambda emit: _write(planned, self._folder.input(part), uris, emit), self._session.emit
                )
        if (job.part, job.bytes, job.sha256) == (part, size, sha256):
            return job  # the upload of the same input may have begun
        return self._ledger.update_job(
            job,
            "attachments are ready",
            at=self._now(),
            part=part,
            offset=0,
            bytes=size,
            sha256=sha256,
            file=None,
            upload_url=None,
        )

    def renewed(self, job: Job) -> Job:
        """A job whose input was uploaded: ``planned`` again if one of its attachments would expire too soon."""
        if job.stage is not JobStage.UPLOADED or all(one.is_fresh(self._now()) for one in self._held.used_by(job)):
            return job
        self._session.emit(Notice("Attachments of a job that waited would expire too soon; uploading them again."))
        return self._ledger.update_job(
            job, "attachments expire", at=self._now(), stage=JobStage.PLANNED, file=None, upload_url=None
        )

    def _files(self) -> Mapping[str, Stored]:
        if self._listed is None:
            self._listed = read_manifest(self._folder.attachments)
        return self._listed

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, msgspec.DecodeError) as error:
            raise state_error(error, self._folder.path, "run folder") from error

    async def _all_usable(self, job: Job, files: Iterable[Stored]) -> list[Held]:
        """The contents at the service, ready for use. The first error ends the work on all of them."""
        found: list[Held] = []
        left = iter(files)

        async def work() -> None:
            found.extend([await self._usable(job, file) for file in left])

        workers = [asyncio.ensure_future(work()) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return found

    # One content -----------------------------------------------------------------------------------------------------

    async def _usable(self, job: Job, file: Stored) -> Held:
        """The content at the service, ready for use, or refused by it for good."""
        for _ in range(_TIMES):
            held = self._held.use(job, file.sha256, at=self._now(), here=self._service.is_kept_here)
            if held is None or held.state == "chosen":
                held = await self._upload(job, file, held)
            elif held.name not in self._seen:
                held = await self._seen_again(job, held)
            if held is not None and (held := await self._processed(job, held)) is not None:
                is_news = held.name not in self._seen
                self._seen.add(held.name)
                if held.state == "failed" and is_news:
                    self._session.emit(
                        Notice(
                            f"The service cannot process {file.path}; the requests that attach it will fail.", "warning"
                        )
                    )
                return held
        raise ServiceError(
            f"The service does not keep {file.path}, which was uploaded {_TIMES} times.",
            code="upload_failed",
            next="Run the same command again in a few minutes.",
        )

    async def _upload(self, job: Job, file: Stored, held: Held | None) -> Held:
        record = _Record(self._held, job, file, held, self._now)

        @contextlib.asynccontextmanager
        async def reader() -> AsyncIterator[ReadAt]:
            with _original(file) as original:
                mark = mark_of(original)
                with _named(file):
                    if await in_thread(lambda emit: _digest(original, file, emit), self._session.emit) != file.sha256:
                        raise _changed(file)

                def read_at(start: int, length: int) -> bytes:
                    with _named(file):
                        if mark_of(original) != mark:
                            raise _changed(file)
                        original.seek(start)
                        return original.read(length)

                yield read_at

        content = Content(
            what=f"The attachment {file.path}",
            size=file.size,
            sha256=file.sha256,
            display_name=f"attachment-{file.sha256[:12]}",
            job=job.id,
            opened=reader,
            mime_type=file.mime,
        )
        try:
            remote = await upload(self._session, self._service, record, content)
        except ApiError as error:
            if meaning(error) is Trouble.BAD_REQUEST:
                error.file = error.file or file.path
                error.next = (
                    error.next or "The service refuses this file. Convert or remove it; then run the table again."
                )
            raise
        return self._recorded(job, record.held, remote, "attachment uploaded", uploaded_at=self._now(), upload_url=None)

    async def _seen_again(self, job: Job, held: Held) -> Held | None:
        """A file that was uploaded earlier, as the service shows it now; None if it is gone."""
        try:
            remote = await self._service.get_file(held.name)
        except ApiError as error:
            if not meaning(error).not_shown:
                raise
            self._held.gone(held, at=self._now(), why="was gone")
            return None
        return self._recorded(job, held, remote, "attachment seen")

    async def _processed(self, job: Job, held: Held) -> Held | None:
        """The same file once it is no longer PROCESSING; None if it is gone."""
        backoff = PollBackoff.of(self._session.settings, self._clock())
        found: Held | None = held
        while found is not None and found.state == "uploaded":
            if backoff.waited(self._clock()) > _LONGEST:
                raise ServiceError(
                    f"The service is still processing {held.name}, an attachment, after an hour.",
                    code="attachment_processing",
                    next="Run the same command again later; it is not uploaded again.",
                )
            await self._session.world.sleep(backoff.pause(self._clock()))
            found = await self._seen_again(job, found)
        return found

    def _recorded(self, job: Job, held: Held | None, remote: RemoteFile, what: str, **changes: object) -> Held:
        """Write what the service says of a file, if that is news."""
        assert held is not None
        state = {"PROCESSING": "uploaded", "FAILED": "failed"}.get(remote.state or "", "active")
        uri = remote.uri or ""
        if not uri.startswith("gs://") and file_id_of(uri) != held.name.removeprefix("files/"):
            uri = _URIS + held.name
        news = {"state": state, "uri": uri, "expires_at": to_time(remote.expiration_time) or held.expires_at, **changes}
        if all(getattr(held, name) == value for name, value in news.items()):
            return held
        return self._held.update(job, held, f"{what}: {state}", at=self._now(), **news)


class _Record:
    """The upload of one content, as the ledger records it."""

    def __init__(
        self, records: HeldAttachments, job: Job, file: Stored, held: Held | None, now: Callable[[], float]
    ) -> None:
        self._records, self._job, self._file, self.held, self._now = records, job, file, held, now

    @property
    def name(self) -> str | None:
        return self.held.name if self.held else None

    @property
    def upload_url(self) -> str | None:
        return self.held.upload_url if self.held else None

    def choose(self, name: str) -> None:
        self.held = self._records.choose(self._job, self._file, name, at=self._now())

    def opened(self, url: str) -> None:
        assert self.held is not None
        self.held = self._records.update(
            self._job, self.held, "attachment upload session", at=self._now(), upload_url=url
        )

    def start_again(self) -> None:
        assert self.held is not None
        self._records.gone(self.held, at=self._now(), why="upload starts again")
        self.held = None


# The user's files ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _original(file: Stored) -> Iterator[IO[bytes]]:
    with contextlib.ExitStack() as stack:
        with _named(file):
            original = stack.enter_context(opened(Path(file.path)))
        yield original


@contextlib.contextmanager
def _named(file: Stored) -> Iterator[None]:
    """Explain that an original cannot be read. Raises UsageError."""
    try:
        yield
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        raise UsageError(
            f"The attached file {'does not exist any more' if missing else 'cannot be read'}, so its requests were not "
            "sent.",
            file=file.path,
            code="attachment_missing",
            next="Restore it and run the same command again. To go on without it, run a table that does not name it.",
        ) from error


def _changed(file: Stored) -> UsageError:
    return UsageError(
        "The attached file was changed after its requests were made, so they were not sent.",
        file=file.path,
        code="attachment_changed",
        next="Run the table again: rows with a changed file are new requests, and the others are not sent twice. Or "
        "restore the file.",
    )


def _digest(original: IO[bytes], file: Stored, emit: EventHandler) -> str:
    digest, done = hashlib.sha256(), 0
    original.seek(0)
    while piece := original.read(_PIECE):
        digest.update(piece)
        done += len(piece)
        emit(Transfer("reading", done, max(done, file.size)))  # here a cancelled caller takes effect
    return digest.hexdigest()


# The input of a job --------------------------------------------------------------------------------------------------


def _attached(planned: Path, emit: EventHandler) -> list[str]:
    """The content hashes of all attachments in a part, in their order, each once."""
    found: dict[str, None] = {}
    done = told = 0
    with planned.open("rb") as lines:
        for line in lines:
            found.update(dict.fromkeys(attached_to(line)))
            done += len(line)
            if done - told >= _PIECE:
                told = done
                emit(Transfer("reading", done, None))  # here a cancelled caller takes effect
    return list(found)


def _write(planned: Path, target: Path, uris: Mapping[str, str], emit: EventHandler) -> tuple[int, str]:
    """Write a part with URIs in place of the placeholders; returns its size in bytes and its digest."""
    digest, size, told = hashlib.sha256(), 0, 0
    with planned.open("rb") as lines, atomic_write(target, private=True) as part:
        for line in lines:
            line = with_uris(line, uris)  # noqa: PLW2901 - the line as it is sent
            part.write(line)
            digest.update(line)
            size += len(line)
            if size - told >= _PIECE:
                told = size
                emit(Transfer("writing", size, None))
    return size, digest.hexdigest()


# Deleting ------------------------------------------------------------------------------------------------------------


async def delete_attachment(service: Service, records: HeldAttachments, held: Held, *, at: float) -> bool | None:
    """Delete an attachment that no job needs, and record that.

    Returns False if the service no longer had it, None if a job needs it by now. Raises ServiceError.
    """
    if not records.give_up(held, at=at):
        return None
    there = True
    try:
        await service.delete_file(held.name)
    except ServiceError as error:
        if not meaning(error).not_shown:  # the service answers 403 for a file that does not exist
            records.keep(held)
            raise
        there = False
    records.gone(held, at=at, why="deleted" if there else "was gone")
    return there


async def forget_attachments(service: Service, records: HeldAttachments, *, at: float) -> int:
    """Delete all attachments of this key that no job needs; returns how many the service still had."""
    forgotten = 0
    for held, used in records.all():
        if not used and records.is_ours(held):
            with contextlib.suppress(ServiceError):  # it stays in the ledger for `clean`, and expires on its own
                forgotten += bool(await delete_attachment(service, records, held, at=at))
    return forgotten
