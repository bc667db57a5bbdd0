"""``create``: one job from one file, exactly once."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from gemini_batch import catalog
from gemini_batch.backend import address_of, key_of
from gemini_batch.errors import ApiError, Problem, ServiceError, UsageError
from gemini_batch.runs.decide import standing
from gemini_batch.runs.drive import Driver
from gemini_batch.runs.events import Said, in_thread
from gemini_batch.runs.ledger import Job, Life, Run
from gemini_batch.runs.stage import Staged, stage
from gemini_batch.wire import remote_job, state_word

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_batch.runs.home import RunFolder
    from gemini_batch.runs.ledger import Ledger
    from gemini_batch.runs.session import Session

#: What the service's envelope adds to each inline request; its exact size depends on the key.
_INLINE_OVERHEAD = 64
_LOCK_WAIT = 600.0


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What ``create`` did. ``attached``: the job had been made before, by this or another command."""

    job: str
    run: str
    name: str
    state: str
    model: str
    method: Literal["generate", "embed"]
    requests: int
    bytes: int
    attached: bool
    offline: bool
    warnings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of ``create``. ``model`` None: the default for the kind of requests found."""

    source: Path
    model: str | None = None
    name: str | None = None
    limit: int | None = None
    inline: bool = False
    new: bool = False


def identity(staged: Staged, *, model: str, backend: str, key_print: str) -> str:
    """What a run is recognised by: its requests, method, model, backend and key; not its name, not its limits."""
    parts = (staged.sha256, staged.method, model, backend, key_print)
    return "i1:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


async def create(session: Session, order: Order) -> Created:
    """Validate the file, then make one job of it, or attach to the one that these requests already have.

    Raises UsageError (InvalidInput with all problems) before anything is sent, StateError, ServiceError.
    """
    _check_order(order)
    key_of(session.settings)
    said: list[str] = []
    today = _today(session)
    if order.model is not None:
        _check_model_name(order.model)
        known = catalog.load().find(order.model)
        if known is not None and (not known.methods or known.status_on(today) == "gone"):
            _advise(session, order.model, known.methods[0] if known.methods else "generate", today, said)
    home = session.home
    ledger = session.ledger()
    token = session.world.token(8)
    with home.staging(token) as folder:
        limits = catalog.load().limits
        most = limits.input_file_bytes.value
        staged = await in_thread(
            lambda tell: stage(order.source, folder, limit=order.limit, max_bytes=most, tell=tell), session.tell
        )
        for problem in staged.warnings[:20]:
            _say(session, said, _sentence(order.source, problem), problem.next)
        if staged.warning_count > 20:
            _say(session, said, f"{staged.warning_count - 20} more warnings like these.", None)
        model = order.model or (catalog.DEFAULT_MODEL if staged.method == "generate" else catalog.EMBEDDING_MODEL)
        model = model.removeprefix("models/")
        _advise(session, model, staged.method, today, said)
        _check_size(order, staged, limits)
        run = Run(
            id=f"run-{token}",
            identity=identity(staged, model=model, backend=address_of(session.settings), key_print=session.key_print()),
            origin="made",
            created_at=session.world.now(),
            method=staged.method,
            model=model,
            backend=address_of(session.settings),
            key_print=session.key_print(),
            requests=staged.requests,
            bytes=staged.bytes,
            sha256=staged.sha256,
            source=str(order.source.absolute()),
        )
        run, job, ours = await _enter(session, ledger, folder, run, order)
    attached = not ours and job.life not in {Life.PLANNED, Life.UPLOADED, Life.INTENDED}
    if not attached:
        job, attached = await _finish(session, ledger, run, job)
    if attached:
        name = job.batch
        session.tell(
            Said(
                f"These requests already have a job: {name} ({job.state or 'state not seen yet'}); nothing was sent.",
                next="Use --new to make another one, which is paid for again.",
            )
        )
    assert job.batch is not None
    if job.total and job.total != run.requests:
        _say(session, said, f"The service counts {job.total} requests, {run.requests} were sent.", None)
    return Created(
        job=job.batch,
        run=run.id,
        name=job.display_name,
        state=job.state or state_word(None),
        model=run.model,
        method=run.method,
        requests=run.requests,
        bytes=run.bytes,
        attached=attached,
        offline=session.settings.offline,
        warnings=said,
    )


async def _enter(session: Session, ledger: Ledger, folder: RunFolder, run: Run, order: Order) -> tuple[Run, Job, bool]:
    """Enter the run into the ledger, or find the one that stands for it: ``(run, its job, whether it is new)``."""
    assert run.identity is not None
    while True:
        known = ledger.newest_with_identity(run.identity)
        if known is not None and not order.new:
            job = await _refreshed(session, ledger, known, ledger.jobs_of(known.id)[-1])
            if standing(job) != "over":
                return known, job, False
            session.tell(
                Said(f"The earlier job of these requests ended without results ({job.state}); making another.")
            )
        job = Job(
            id=f"{run.id}-1",
            run=run.id,
            ordinal=1,
            requests=run.requests,
            tokens=staged.tokens,
            part=None,
            offset=0,
            bytes=run.bytes,
            sha256=run.sha256,
            how="inline" if order.inline else "file",
            display_name=order.name if order.name is not None else _default_name(order.source, run.id),
            life=Life.PLANNED,
        )
        place = session.home.run(run.id)
        # The folder stands before the ledger speaks of it; a folder that no ledger knows is only disk space.
        folder.path.rename(place.path)
        if ledger.add_run(run, job, at=session.world.now(), unless=known.id if known else None):
            return run, job, True
        # Another process has entered the same requests in this very moment: its run is the one.
        place.path.rename(folder.path)


async def _finish(session: Session, ledger: Ledger, run: Run, job: Job) -> tuple[Job, bool]:
    """Drive the run's job until it is made; ``(the job, whether somebody else had made it meanwhile)``."""
    place = session.home.run(run.id)
    with place.lock(wait=_LOCK_WAIT):
        job = ledger.job(job.id)
        if job.life not in {Life.PLANNED, Life.UPLOADED, Life.INTENDED}:
            return job, True
        backend = await session.backend()
        if job.life is Life.PLANNED:
            await _ask_for_model(session, run)
        return await Driver(session, backend.service, ledger, run, place).make(job), False


async def _refreshed(session: Session, ledger: Ledger, run: Run, job: Job) -> Job:
    """The job as it is now, where the service says so; as last seen, where it does not."""
    if job.life is not Life.CREATED or job.batch is None:
        return job
    try:
        operation = await (await session.backend()).service.get(job.batch)
    except ApiError as error:
        if error.status == 404 and run.key_print == session.key_print():
            session.tell(Said(f"The service no longer knows {job.batch}.", "warning"))
            return ledger.update_job(
                job, "gone", at=session.world.now(), life=Life.ENDED, state="JOB_STATE_DELETED", succeeded=0
            )
        return job
    except ServiceError:
        return job
    return ledger.seen(job, remote_job(operation), at=session.world.now())


async def _ask_for_model(session: Session, run: Run) -> None:
    """Ask the service for a model that the catalog does not know, before anything is uploaded.

    Only a clear "no such model" stops the work; a check that itself fails stops nothing.
    """
    if catalog.load().find(run.model) is not None:
        return
    try:
        await (await session.backend()).service.get_model(run.model)
    except ApiError as error:
        if error.status == 404:
            near = catalog.load().suggest(run.model)
            raise UsageError(
                f"The service knows no model {run.model!r}.",
                field="--model",
                code="unknown_model",
                next=f"Did you mean {near}?" if near else "`gemini-batch models` lists those that batch.",
            ) from error
    except ServiceError:
        return


def _check_order(order: Order) -> None:
    limit = catalog.load().limits.display_name_chars.value
    if order.limit is not None and order.limit < 1:
        raise UsageError("--limit must be at least 1.", field="--limit", code="bad_argument")
    if order.name is not None and not (0 < len(order.name) <= limit and order.name.isprintable()):
        raise UsageError(f"A display name is 1 to {limit} printable characters.", field="--name", code="bad_argument")


def _check_model_name(model: str) -> None:
    if not re.fullmatch(r"(models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._-]*", model):
        near = catalog.load().suggest(model)
        raise UsageError(
            f"{model!r} cannot be a model's name.",
            field="--model",
            code="bad_argument",
            next=f"Did you mean {near}?" if near else f"Write it like {catalog.DEFAULT_MODEL}.",
        )


def _check_size(order: Order, staged: Staged, limits: catalog.Limits) -> None:
    if order.inline:
        size = staged.bytes + staged.requests * _INLINE_OVERHEAD
        most = limits.inline_body_bytes.value
        if size > most:
            raise UsageError(
                f"{size:,} bytes are too many to send inline; the service takes {most:,}.",
                file=order.source,
                code="too_large",
                next="Leave out --inline: a file may be 2 GB.",
            )
    elif staged.bytes > limits.input_file_bytes.value:
        raise UsageError(
            f"{staged.bytes:,} bytes are more than one job's file may have ({limits.input_file_bytes.value:,}).",
            file=order.source,
            code="too_large",
            next="Split the file by lines and create a job from each part.",
        )


def _advise(
    session: Session, model: str, method: Literal["generate", "embed"], today: dt.date, said: list[str]
) -> None:
    """Say what the catalog knows of the model; what is certain to fail is refused here."""
    for one in catalog.advice(catalog.load(), model, method, today):
        if one.severity == "error":
            raise UsageError(one.message, field="--model", code="model_not_usable", next=one.next)
        _say(session, said, one.message, one.next, warn=one.severity == "warning")


def _say(session: Session, said: list[str], message: str, following: str | None, *, warn: bool = True) -> None:
    session.tell(Said(message, "warning" if warn else "note", following))
    said.append(f"{message} {following}" if following else message)


def _sentence(source: Path, problem: Problem) -> str:
    place = ":".join(str(p) for p in (source.name, problem.line, problem.field) if p is not None)
    return f"{place}: {problem.message}."


def _default_name(source: Path, run_id: str) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-")[:80] or "requests"
    return f"{stem}-{run_id.removeprefix('run-')}"


def _today(session: Session) -> dt.date:
    return dt.datetime.fromtimestamp(session.world.now(), dt.UTC).date()
