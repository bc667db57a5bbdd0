"""``adopt``: a job that was made elsewhere, and the file of its requests, become a run like any other.

Answers are joined to requests by key, never by position. Nothing is sent and nothing is cancelled.
"""

from __future__ import annotations

import shutil
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_batch.answers.parse import Answer, parse_line
from gemini_batch.backend import address_of
from gemini_batch.commands.job_names import check_name
from gemini_batch.commands.results import held_results, write_out
from gemini_batch.engine.collector import collect
from gemini_batch.engine.poller import poll_job
from gemini_batch.errors import Next, StateError, UsageError
from gemini_batch.events import in_thread
from gemini_batch.intake.staging import stage
from gemini_batch.jsonl import private_folder, utf8_text
from gemini_batch.memory.fingerprint import Origin
from gemini_batch.objects.names import named
from gemini_batch.report.next_steps import costing
from gemini_batch.report.output_files import check_output
from gemini_batch.session import KnownJob, KnownRun
from gemini_batch.store.ledger.records import Job, JobStage, Run, identity
from gemini_batch.store.sqlite import state_error
from gemini_batch.validation.conform import Terms

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.intake.staging import Staged
    from gemini_batch.report.summary import Summary
    from gemini_batch.session import Session, UnknownJob
    from gemini_batch.store.state_folder import RunFolder
    from gemini_batch.wire import RemoteJob

#: So many keys are named of each kind.
_NAMED = 5


class Keys(msgspec.Struct, frozen=True):
    """Keys that are on one side only."""

    count: int
    """How many."""
    first: list[str]
    """The first of them."""


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """The run that a job which was made elsewhere belongs to now."""

    run: str
    """Id of the run, `run-…`."""
    job: str
    """Name of the job, `batches/…`."""
    state: str
    """State of the job, `JOB_STATE_…`."""
    model: str
    """Model of the job."""
    requests: int
    """Number of requests in the file."""
    is_new: bool
    """False if the job was adopted with this file before."""
    answered: int | None
    """Requests of the file that the job has answered; null while it has not ended."""
    unknown_keys: Keys | None
    """Keys of answers that the file does not have; null while the job has not ended."""
    not_in_job: Keys | None
    """Keys of the file that were certainly not in the job; null while the job has not ended."""
    summary: Summary | None
    """The summary of the results, if they were written."""
    output: str | None
    """The file that the results were written to."""
    next: Next
    """The next command."""


async def adopt(session: Session, name: str, source: Path, *, output: Path | None = None) -> Adopted:
    """Make a run of the requests in ``source`` whose first job is the job ``name``, which was made elsewhere.

    A job that has ended is collected, and its results are written to ``output`` if it is given. Raises UsageError for
    a job that was made here or was adopted with other requests, InvalidInput for a file that cannot be read,
    ServiceError, StateError.
    """
    check_name(name)
    if output is not None:
        check_output(session.state_folder, output, failures=True)
    target = session.locate(name)
    session = session.at(target)
    if isinstance(target, KnownRun):
        raise UsageError(f"{name} is a run. Name the job, batches/….", code="bad_name", next=Next("status", name))
    if isinstance(target, KnownJob) and target.run.origin == "made":
        raise UsageError(
            f"{target.name} was made here; its requests are known.",
            code="known_job",
            next=Next("results", target.name, "-o", "results.jsonl"),
        )
    session.check_bound(target)
    needs_asking = not isinstance(target, KnownJob) or target.job.stage is not JobStage.COLLECTED
    remote = (await poll_job(session, target)).job if needs_asking else None
    known, is_new = await _enter(session, target, remote, source)
    if known.job.stage is JobStage.ENDED:
        known = await collect(session, known)
    return await _describe(session, known, output, is_new=is_new)


async def _enter(
    session: Session, target: KnownJob | UnknownJob, remote: RemoteJob | None, source: Path
) -> tuple[KnownJob, bool]:
    """The run of the job and these requests, and whether it was made now."""
    ledger, before = session.ledger(), target if isinstance(target, KnownJob) else None
    model = (before.job.model if before is not None else "") or (remote.model if remote else "")
    address, key = address_of(session.settings), session.key_fingerprint()
    token = session.world.token(8)
    with session.state_folder.staging(token) as folder:
        staged = await in_thread(
            lambda emit: stage(
                source,
                folder,
                origin=lambda _: Origin(address, key, model),
                max_bytes=None,
                terms=Terms("", lenient=True),  # the service has taken these requests already
                offline=session.settings.offline,
                emit=emit,
            ),
            session.emit,
        )
        if before is not None and before.run.requests_known:
            if before.run.sha256 == staged.sha256:
                return before, False
            raise UsageError(
                f"{target.name} was adopted with other requests ({before.run.id}).",
                file=source,
                code="other_requests",
                next=Next("results", before.run.id, "-o", "results.jsonl"),
            )
        method = before.run.method if before is not None else remote.method if remote else staged.method
        if staged.method is not method:
            raise UsageError(
                f"{target.name} is a job for other requests: its method is {method.value}, and the file asks for "
                f"{staged.method.value}.",
                file=source,
                code="other_requests",
            )
        run, job = _records(session, f"run-{token}", before, remote, staged, source=source, model=model)
        with folder.rows() as rows:
            rows.put_all_in(job.ordinal)
        if before is not None:
            _take_answers(session.state_folder.run(before.run.id), before.job, folder, job)
        place = session.state_folder.run(run.id)
        assert run.identity is not None
        newest = ledger.newest_with_identity(run.identity)
        folder.path.rename(place.path)
        entered = False
        try:
            entered = ledger.add_run(
                run,
                job,
                at=session.world.now(),
                unless=newest.id if newest is not None else None,
                instead=before.job if before is not None else None,
            )
        finally:
            if not entered and ledger.run(run.id) is None:
                place.path.rename(folder.path)  # where it is removed
    if not entered:
        raise StateError(
            f"Another process has just adopted {target.name}.", code="locked", next="Run the command again."
        )
    if remote is not None:
        job = ledger.seen(job, remote, at=session.world.now())
    return KnownJob(run, job, session.settings.offline), True


def _records(
    session: Session,
    run_id: str,
    before: KnownJob | None,
    remote: RemoteJob | None,
    staged: Staged,
    *,
    source: Path,
    model: str,
) -> tuple[Run, Job]:
    address, now = address_of(session.settings), session.world.now()
    run = Run(
        id=run_id,
        identity=identity(
            staged.sha256,
            staged.method.value,
            model,
            address,
            key_fingerprint=session.key_fingerprint() if staged.owned else "",
        ),
        origin="adopted",
        created_at=now,
        method=staged.method,
        model=model,
        backend=address,
        requests=staged.requests,
        bytes=staged.bytes,
        sha256=staged.sha256,
        source=utf8_text(named(source.absolute())),
    )
    total = (remote.total if remote is not None else before.job.total if before is not None else None) or 0
    now_known: dict[str, Any] = {
        "id": f"{run_id}-1",
        "run": run_id,
        "ordinal": 1,
        "requests": total or staged.requests,
        "tokens": staged.tokens,
        "bytes": staged.bytes,
        "sha256": staged.sha256,
    }
    if before is not None:
        held = before.job.stage is JobStage.COLLECTED
        changes = {"stage": JobStage.ENDED, "collected_at": None} if held else {}
        return run, msgspec.structs.replace(before.job, **now_known, **changes)
    assert remote is not None
    return run, Job(
        **now_known,
        model=model,
        part=None,
        offset=0,
        input_kind="file" if remote.file_name is not None else "inline",
        display_name=remote.display_name,
        stage=JobStage.CREATED,
        file=remote.file_name,
        batch=remote.name,
        created_at=remote.create_time,
        key_fingerprint=session.key_fingerprint(),
    )


def _take_answers(held: RunFolder, before: Job, folder: RunFolder, job: Job) -> None:
    """Copy the answers that were collected before the requests were known: nothing is fetched twice."""
    raw = held.raw(before.id)
    if raw.exists():
        target = folder.raw(job.id)
        try:
            private_folder(target.parent)
            shutil.copyfile(raw, target)
        except OSError as error:
            raise state_error(error, target, "run folder") from error


async def _describe(session: Session, known: KnownJob, output: Path | None, *, is_new: bool) -> Adopted:
    run = session.ledger().run(known.run.id) or known.run
    job = session.ledger().job(known.job.id)
    folder = session.state_folder.run(run.id)
    summary = answered = unknown = absent = None
    following = Next(
        "run", run.id, "-o", "results.jsonl", why=costing(run, "waits for the job, and sends what is left")
    )
    if job.stage is JobStage.COLLECTED:
        with folder.rows() as rows:
            answered = rows.census().answered
            count = rows.quarantined().get("FOREIGN_KEY", 0)
            unknown = Keys(count, [_key(folder, *place) for place in rows.foreign(_NAMED)])
            absent = Keys(rows.never_sent(), rows.keys_waiting(_NAMED))
        found = await held_results(session, run)
        steps = [step.next for step in found.summary.next_steps if isinstance(step.next, Next)]
        following = next(iter(islice(steps, 1)), Next("results", run.id, "-o", "results.jsonl"))
        if output is not None:
            write_out(session, run, found, output)
            summary = found.summary
    return Adopted(
        run=run.id,
        job=known.name,
        state=job.state or "",
        model=job.model,
        requests=run.requests,
        is_new=is_new,
        answered=answered,
        unknown_keys=unknown,
        not_in_job=absent,
        summary=summary,
        output=None if summary is None else str(output),
        next=following,
    )


def _key(folder: RunFolder, name: str, offset: int, length: int) -> str:
    with folder.answers(name).open("rb") as file:
        file.seek(offset)
        answer = parse_line(file.read(length))
    return (answer.key if isinstance(answer, Answer) else None) or "?"
