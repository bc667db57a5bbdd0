"""Gets one job created, as ``create_policy`` decides: uploads, sends, reads the list, adopts, and records each step.

What always holds: the ledger records each step before it happens; the create is sent once for each recorded intent;
after any failure, the next process continues from the recorded facts.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, assert_never

import msgspec

from gemini_batch.api.trouble import Trouble, meaning
from gemini_batch.engine.creating import create_policy
from gemini_batch.engine.creating.create_policy import (
    Adopt,
    Facts,
    GiveUp,
    Made,
    Matches,
    ReadList,
    Send,
    Upload,
    next_step,
)
from gemini_batch.engine.creating.intent import intend
from gemini_batch.engine.creating.refusals import differs, explained
from gemini_batch.engine.poller import ask, record_seen
from gemini_batch.engine.uploads.attachments import JobAttachments
from gemini_batch.engine.uploads.input_files import upload_input
from gemini_batch.errors import ApiError, Next, ServiceError
from gemini_batch.events import Notice
from gemini_batch.objects.lock import check_locks
from gemini_batch.report.billing import paid_again
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.wire import remote_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_batch.backend import Service
    from gemini_batch.engine.creating.budget import Budget
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.wire import RemoteJob

#: A create with this answer is not resent at once: it takes a while until there is room.
_NO_ROOM = frozenset({Trouble.OVER_QUOTA, Trouble.STORE_FULL})
#: How many jobs are asked for to make up for what a list does not show.
_MOST_ASKED = 5


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
        budget: Budget,
        attachments: JobAttachments | None = None,
        may_send: Callable[[Job], bool] | None = None,
        webhook_url: str | None = None,
    ) -> None:
        self._session, self._service, self._ledger = session, service, ledger
        self._run, self._folder, self._may_send, self._webhook_url = run, folder, may_send, webhook_url
        self._budget = budget
        self._attachments = attachments or JobAttachments(session, service, ledger, run, folder)
        self._now = session.world.now
        self._doubt: ServiceError | None = None
        self._has_uploaded = False
        self._listed: set[str] = set()
        self._clock_went_back = False

    async def make(self, job: Job) -> Job:
        """Bring ``job`` to ``created``; if ``may_send`` says no just before the create, it stays as it is.

        Raises ServiceError if that is not possible now; nothing is lost. Raises TakenError, with the job as it was, if
        other runs have sent or answered some of its requests by now, OverBudgetError if it may cost more than is left.
        """
        job = self._attachments.renewed(self._kept_here(job))
        facts = Facts(
            stage=job.stage, input_kind=job.input_kind, intended_at=job.intended_at, create_calls=job.create_calls
        )
        if job.stage is JobStage.INTENDED:
            self._session.emit(Notice("An earlier create call got no answer; checking whether it created the job."))
        while True:
            self._clock_went_back |= facts.intended_at is not None and facts.intended_at > self._now()
            facts = create_policy.not_in_future(facts, self._now())
            step = next_step(facts, self._now(), settle=self._session.settings.settle)
            if job.stage is JobStage.INTENDED and isinstance(step, (Send, GiveUp)) and not facts.found:
                await self._believe_list()
            match step:
                case Upload():
                    job = await self._attachments.fill(job)
                    job = await upload_input(self._session, self._service, self._ledger, self._folder, job)
                    self._has_uploaded = True
                    facts = replace(facts, stage=job.stage)
                case Send():
                    await check_locks()
                    if self._may_send is not None and job.stage is not JobStage.INTENDED and not self._may_send(job):
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

    def _kept_here(self, job: Job) -> Job:
        """What was planned or uploaded with another key, or to another bucket, begins anew.

        A file belongs to the project of its key; and whoever names another bucket does not want the job to read the
        one before. What is in that one stays in the ledger, for ``clean``.
        """
        key = self._session.key_fingerprint()
        if job.stage not in {JobStage.PLANNED, JobStage.UPLOADED}:
            return job
        same_key = job.key_fingerprint == key
        if same_key and (job.file is None or self._service.is_kept_here(job.file)):
            return job
        if same_key and job.stage is JobStage.UPLOADED:
            self._session.emit(Notice("Another bucket is named than before; uploading the input to it."))
        return self._ledger.update_job(
            job,
            "another bucket" if same_key else "another key",
            at=self._now(),
            stage=JobStage.PLANNED,
            file=None,
            upload_url=None,
            key_fingerprint=key,
        )

    # Creating --------------------------------------------------------------------------------------------------------

    async def _send(self, job: Job) -> Job:
        """Record the intent, send the create once, and record the answer."""
        if job.input_kind == "inline":
            job = await self._attachments.fill(job)
            requests = await asyncio.to_thread(self._inline_requests, job)
            create = partial(self._service.create, requests=requests)
        else:
            create = partial(self._service.create, file_name=job.file)
        job = intend(self._session, self._folder, self._run, job, self._budget)
        try:
            operation = await create(
                model=job.model,
                method=self._run.method,
                display_name=job.display_name,
                webhook_url=self._webhook_url,
            )
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
                raise explained(self._run, job, error) from error
            self._doubt = error
            self._session.emit(Notice(error.then("Checking whether the job was created anyway."), "warning"))
            return job
        remote = remote_job(operation)
        what = f"{remote.name}, which {why}" if (why := differs(job, remote)) else None
        if not remote.name or remote.name in self._ledger.batches():
            what = f"{remote.name}, which is another job" if remote.name else "no job"
        if what is not None:
            self._session.emit(Notice(f"The service's answer names {what}; searching for the new one.", "warning"))
            return job
        job = self._ledger.update_job(job, "created", at=self._now(), stage=JobStage.CREATED, batch=remote.name)
        return record_seen(self._session, job, remote)

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
            key: str
            request: msgspec.Raw

        with self._folder.open_input(job.part) as file:
            file.seek(job.offset)
            lines = [msgspec.json.decode(line, type=_Line) for line in file.read(job.bytes).split(b"\n") if line]
        return [(line.key, line.request) for line in lines]

    async def _read_list(self, job: Job, facts: Facts, wait: float) -> Facts:
        """Read the list once to its end. A failed reading does not count; the list is read again.

        Raises ServiceError if the list cannot be believed.
        """
        if wait:
            await self._session.world.sleep(wait)
        waited = None if facts.waited is None else facts.waited + wait
        began = self._now()
        known = self._ledger.batches() - {job.batch}
        matches, listed = Matches(), set[str]()
        try:
            async for page in self._service.listing():
                jobs = [remote_job(operation) for operation in page]
                listed.update(remote.name for remote in jobs)
                matches += create_policy.made_by(job, jobs, known=known, any_age=self._clock_went_back)
        except ServiceError:
            if not matches.proven:  # what is found need not be searched for any further
                raise
        if not matches.proven and job.input_kind == "file":
            matches = await self._asked_for(job, matches)
        self._listed = listed
        return replace(
            facts,
            list_reads=facts.list_reads + 1,
            last_list_read=began,
            waited=waited,
            last_waited=waited,
            found=matches.found,
            proven=bool(matches.proven),
        )

    async def _asked_for(self, job: Job, matches: Matches) -> Matches:
        """The same matches, after asking for the likely ones: a job shows its input file where the list does not."""
        proven, likely = list[str](), list[str]()
        for name in matches.found[:_MOST_ASKED]:
            there = await self._there(name)
            stated = None if there is None else there.file_name
            if stated is None:
                likely.append(name)
            elif stated == job.file:
                proven.append(name)
        return Matches(tuple(proven), (*likely, *matches.found[_MOST_ASKED:]))

    async def _believe_list(self) -> None:
        """Check the list that does not show the job against what the ledger knows, before anything follows from it.

        A list that leaves out a job that exists may leave out this one, too. Raises ServiceError then.
        """
        living = (
            job.batch
            for job in self._ledger.living_jobs(self._session.key_fingerprint())
            if job.batch and job.batch not in self._listed and self._ledger.run_of(job).backend == self._run.backend
        )
        for name in itertools.islice(living, _MOST_ASKED):
            if await self._there(name) is not None:
                raise ServiceError(
                    f"The service's list of jobs does not show {name}, which exists. So it does not prove that the "
                    "unanswered create made no job.",
                    code="list_incomplete",
                    next="Nothing more is sent. Run the same command again later.",
                )

    async def _there(self, name: str) -> RemoteJob | None:
        """The job with that name; None if the service says that there is none."""
        try:
            return remote_job(await ask(self._service, name))
        except ApiError as error:
            if meaning(error).not_shown:
                return None
            raise

    async def _adopt(self, job: Job, batch: str) -> Job:
        # Asked before it is recorded: a job that reads another file is another job's, and would stay under this one.
        remote = remote_job(await ask(self._service, batch, job))
        job = self._ledger.update_job(job, "adopted", at=self._now(), stage=JobStage.CREATED, batch=batch)
        return record_seen(self._session, job, remote)

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
                self._doubt.then("No job was created."),
                status=self._doubt.status,
                reason=self._doubt.reason,
                retry_after=self._doubt.retry_after,
                code="storage_full" if full else "over_quota",
                next=self._doubt.next
                if full
                else "The service limits the queued tokens of a model, the active jobs and, it seems, the jobs that a "
                "project creates (about 700, then none for 12 to 24 hours); it does not say which limit was reached. "
                "Run the same command again when other jobs have ended, or the next day if there are none (nothing is "
                "uploaded twice), or send fewer requests with --limit.",
            )
        last = f" The last error: {self._doubt.message}" if self._doubt else ""
        return ServiceError(
            f"The job was not created: {job.create_calls} create calls got no usable answer, and the service lists no "
            f"job of this run.{last}",
            code="create_unanswered",
            next=(self._doubt.next if self._doubt and self._doubt.reason_code == "redirected" else None)
            or "Nothing is lost. Run the same command again later.",
        )
