"""Gets one job created, as ``create_policy`` decides: uploads, sends, reads the list, adopts, and records each step.

What always holds: the ledger records each step before it happens; the create is sent once for each recorded intent;
after any failure, the next process continues from the recorded facts.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

import msgspec

from gemini_batch.api.files import SessionLost
from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.engine import create_policy
from gemini_batch.engine.create_policy import Adopt, Facts, GiveUp, Made, ReadList, Send, Upload, next_step
from gemini_batch.engine.poller import shown
from gemini_batch.errors import ApiError, Next, ServiceError
from gemini_batch.events import Notice, Transfer
from gemini_batch.report.billing import paid_again
from gemini_batch.store.records import JobStage
from gemini_batch.wire import hash_matches, remote_job, to_int, to_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.backend import Service
    from gemini_batch.session import Session
    from gemini_batch.store.ledger import Ledger
    from gemini_batch.store.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.wire import RemoteFile


_UPLOADS = 3
#: A create with this answer is not resent at once: it takes a while until there is room.
_NO_ROOM = frozenset({Trouble.OVER_QUOTA, Trouble.STORE_FULL})
#: Seconds before each further request for a file whose upload is complete.
_FILE_WAITS = (1.0, 2.0, 4.0, 8.0)


class Submitter:
    """Creates one job of one run. The caller holds the run's lock."""

    def __init__(
        self,
        session: Session,
        service: Service,
        ledger: Ledger,
        run: Run,
        folder: RunFolder,
        *,
        may_send: Callable[[Job], bool] | None = None,
    ) -> None:
        self._session, self._service, self._ledger = session, service, ledger
        self._run, self._folder, self._may_send = run, folder, may_send
        self._now = session.world.now
        self._doubt: ServiceError | None = None
        self._has_uploaded = False
        self._clock_went_back = False

    async def make(self, job: Job) -> Job:
        """Bring ``job`` to ``created``; if ``may_send`` says no just before the create, it stays ``uploaded``.

        Raises ServiceError if that is not possible now; nothing is lost.
        """
        facts = Facts(
            stage=job.stage, input_kind=job.input_kind, intended_at=job.intended_at, create_calls=job.create_calls
        )
        if job.stage is JobStage.INTENDED:
            self._session.emit(Notice("An earlier create call got no answer; checking whether it created the job."))
        while True:
            self._clock_went_back |= facts.intended_at is not None and facts.intended_at > self._now()
            facts = create_policy.not_in_future(facts, self._now())
            match next_step(facts, self._now(), settle=self._session.settings.settle):
                case Upload():
                    job = await self._upload(job)
                    self._has_uploaded = True
                    facts = replace(facts, stage=job.stage)
                case Send():
                    if self._may_send is not None and job.stage is JobStage.UPLOADED and not self._may_send(job):
                        return job
                    job = await self._send(job)
                    facts = Facts(
                        stage=job.stage,
                        input_kind=job.input_kind,
                        intended_at=job.intended_at,
                        create_calls=job.create_calls,
                        waited=0.0,
                        over_quota=self._doubt is not None and meaning(self._doubt) in _NO_ROOM,
                    )
                case ReadList(wait):
                    facts = await self._read_list(job, facts, wait)
                case Adopt(batch):
                    self._session.emit(Notice(f"The job was created: {batch}."))
                    for other in facts.found[1:]:
                        self._warn_of_twin(other, batch)
                    return await self._adopt(job, batch)
                case GiveUp(why):
                    raise self._undecided(job, facts, why)
                case Made():
                    return job
                case never:
                    assert_never(never)

    # Uploading -------------------------------------------------------------------------------------------------------

    async def _upload(self, job: Job) -> Job:
        """Upload the job's requests under the recorded file id, and verify what arrived."""
        for _ in range(_UPLOADS):
            if job.file is None:
                # The id is chosen and recorded before the first byte is sent: a file found under it later is ours.
                name = f"gb-{self._session.world.token(20)}"
                job = self._ledger.update_job(job, "upload begins", at=self._now(), file=f"files/{name}")
            try:
                return self._verified(job, await self._already_there(job) or await self._transfer(job))
            except SessionLost as error:
                self._session.emit(Notice(f"{error.message.removesuffix('.')}. Restarting the upload."))
            except _ArrivedDamagedError as error:
                self._session.emit(Notice(f"{error.message} Uploading again.", "warning"))
            job = self._ledger.update_job(job, "upload starts again", at=self._now(), file=None, upload_url=None)
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
            job = self._ledger.update_job(job, "upload session", at=self._now(), upload_url=url)
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
        if size != job.bytes or not hash_matches(job.sha256, remote.sha256_hash):
            raise _ArrivedDamagedError(
                f"The uploaded file differs from the one sent ({size:,} of {job.bytes:,} bytes)."
            )
        return self._ledger.uploaded(
            job,
            at=self._now(),
            name=remote.name or job.file,
            size=job.bytes,
            sha256=job.sha256,
            expires_at=to_time(remote.expiration_time),
        )

    # Creating --------------------------------------------------------------------------------------------------------

    async def _send(self, job: Job) -> Job:
        """Record the intent, send the create once, and record the answer."""
        if job.input_kind == "inline":
            requests = await asyncio.to_thread(self._inline_requests, job)
            create = partial(self._service.create, requests=requests)
        else:
            create = partial(self._service.create, file_name=job.file)
        job = self._ledger.update_job(
            job,
            "intends to create",
            at=self._now(),
            stage=JobStage.INTENDED,
            intended_at=self._now(),
            create_calls=job.create_calls + 1,
        )
        try:
            operation = await create(model=job.model, method=self._run.method, display_name=job.display_name)
        except ServiceError as error:
            if not meaning(error).may_have_worked:
                back = JobStage.PLANNED if job.input_kind == "inline" else JobStage.UPLOADED
                job = self._ledger.update_job(
                    job,
                    "create refused",
                    at=self._now(),
                    stage=back,
                    intended_at=None,
                    create_calls=job.create_calls - 1,
                )
                if await self._lost_its_file(job, error):
                    self._session.emit(Notice("The service no longer has the input file; uploading it again."))
                    return self._ledger.input_gone(job, at=self._now())
                raise _explained(job, error) from error
            self._doubt = error
            self._session.emit(Notice(f"{error.message} Checking whether the job was created anyway.", "warning"))
            return job
        remote = remote_job(operation)
        if not remote.name:
            self._session.emit(Notice("The service's answer names no job; searching for it.", "warning"))
            return job
        job = self._ledger.update_job(job, "created", at=self._now(), stage=JobStage.CREATED, batch=remote.name)
        return self._ledger.seen(job, remote, at=self._now())

    async def _lost_its_file(self, job: Job, error: ServiceError) -> bool:
        """Whether a create was refused because its input file expired (403) or was deleted, not because of the model.

        A file that was just uploaded is not the reason; otherwise, it would be uploaded endlessly.
        """
        if not meaning(error).not_shown or self._has_uploaded or job.file is None:
            return False
        try:
            await self._service.get_file(job.file)
        except ServiceError as answer:
            return meaning(answer).not_shown
        return False

    def _inline_requests(self, job: Job) -> list[tuple[str, msgspec.Raw]]:
        class _Line(msgspec.Struct):
            request: msgspec.Raw

        with self._folder.rows() as rows, self._folder.requests.open("rb") as file:
            found = []
            for key, offset, length in rows.members(job.ordinal):
                file.seek(offset)
                found.append((key, msgspec.json.decode(file.read(length), type=_Line).request))
        return found

    async def _read_list(self, job: Job, facts: Facts, wait: float) -> Facts:
        """Read the list once to its end. A failed reading does not count; the list is read again."""
        if wait:
            await self._session.world.sleep(wait)
        waited = None if facts.waited is None else facts.waited + wait
        began = self._now()
        known = self._ledger.batches() - {job.batch}
        found: list[str] = []
        async for page in self._service.listing():
            found += create_policy.made_by(job, map(remote_job, page), known=known, any_age=self._clock_went_back)
        return replace(
            facts,
            list_reads=facts.list_reads + 1,
            last_list_read=began,
            waited=waited,
            last_waited=waited,
            found=tuple(dict.fromkeys(found)),
        )

    async def _adopt(self, job: Job, batch: str) -> Job:
        job = self._ledger.update_job(job, "adopted", at=self._now(), stage=JobStage.CREATED, batch=batch)
        return self._ledger.seen(job, remote_job(await shown(self._service, batch)), at=self._now())

    def _warn_of_twin(self, other: str, batch: str) -> None:
        """Report a second job of the same file; only the user may cancel a job."""
        cost = "" if self._session.settings.offline else " It costs money too."
        self._session.emit(
            Notice(
                f"The service created a second job from the same file: {other}.{cost} This run uses {batch}.",
                "warning",
                Next("cancel", other, why="stops the second job"),
            )
        )

    def _undecided(self, job: Job, facts: Facts, why: str) -> ServiceError:
        if why == "ambiguous":
            new = f"use --new{paid_again(self._session.settings)}"
            return ServiceError(
                f"{len(facts.found)} jobs could come from an unanswered create call: {', '.join(facts.found)}. Nothing "
                "more is sent.",
                code="create_ambiguous",
                next=Next("status", facts.found[0], why=f"shows the first of them; to create another job, {new}"),
            )
        # The list shows that there is no job, so the next command may send at once and count from one.
        back = JobStage.PLANNED if job.input_kind == "inline" else JobStage.UPLOADED
        self._ledger.update_job(
            job, f"not created: {why}", at=self._now(), stage=back, intended_at=None, create_calls=0
        )
        if why == "over quota" and isinstance(self._doubt, ApiError):
            full = meaning(self._doubt) is Trouble.STORE_FULL
            return ApiError(
                f"{self._doubt.message} No job was created.",
                status=self._doubt.status,
                reason=self._doubt.reason,
                retry_after=self._doubt.retry_after,
                code="storage_full" if full else "over_quota",
                next=self._doubt.next
                if full
                else "The service limits the queued tokens of a model, the active jobs and the stored files; it does "
                "not say which limit was reached. Run the same command again when other jobs have ended (nothing is "
                "uploaded twice), or send fewer requests with --limit.",
            )
        last = f" The last error: {self._doubt.message}" if self._doubt else ""
        return ServiceError(
            f"The job was not created: {job.create_calls} create calls got no usable answer, and the service lists no "
            f"job of this run.{last}",
            code="create_unanswered",
            next="Nothing is lost. Run the same command again later.",
        )


class _ArrivedDamagedError(ServiceError):
    code = "upload_damaged"


def _explained(job: Job, error: ServiceError) -> ServiceError:
    """The error of a create that certainly created no job, with what to do next."""
    match meaning(error):
        case Trouble.ABSENT if isinstance(error, ApiError):
            return ApiError(
                f"The service cannot run a batch with {job.model}: {error.message}",
                status=error.status,
                reason=error.reason,
                code="model_refused",
                next=Next("models", why="lists the models to choose from with --model; no job was created"),
            )
        case Trouble.NOT_SENT:
            error.next = "No job was created. Run the same command again; nothing is uploaded twice."
        case Trouble.BAD_REQUEST:
            error.next = error.next or "No job was created. Fix what the service names, then run the command again."
        case Trouble.WITHDRAWN | Trouble.BILLING:
            error.next = error.next or (
                Next(
                    "models", why="lists the models; the key may have no access to this one, or its project no billing"
                )
            )
        case _:
            pass
    return error
