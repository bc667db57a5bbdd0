"""The library for ``await``: the same functions as in :mod:`gemini_batch`, with the same names and arguments.

>>> job = await gemini_batch.aio.create("requests.jsonl", name="nightly")      # doctest: +SKIP
>>> await gemini_batch.aio.status(job.job, wait=True)                          # doctest: +SKIP
>>> for row in await gemini_batch.aio.results(job.job): ...                    # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gemini_batch import settings as _settings
from gemini_batch.events import EventHandler, ignore_events
from gemini_batch.session import Session

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from gemini_batch.commands.cancel import Cancelled
    from gemini_batch.commands.clean import Cleaned
    from gemini_batch.commands.create import Created
    from gemini_batch.commands.doctor import Diagnosis
    from gemini_batch.commands.validate import Validated
    from gemini_batch.report.job_view import JobStatus, RunStatus
    from gemini_batch.report.result_set import Results
    from gemini_batch.settings import Settings

__all__ = ["cancel", "clean", "create", "doctor", "jobs", "results", "retry", "run", "status", "validate"]


def _session(settings: Settings | None, offline: bool | None, on_event: EventHandler) -> Session:
    return Session(settings or _settings.load(offline=offline), emit=on_event)


async def create(
    input_file: str | os.PathLike[str],
    *,
    model: str | None = None,
    name: str | None = None,
    limit: int | None = None,
    inline: bool = False,
    new: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Created:
    """Make one batch job of a JSONL file, or attach to the job that these requests already have.

    ``model``: default ``gemini-3-flash-preview``. ``name``: the display name, sent as it is. ``limit``: only the first
    so many requests, as a trial. ``inline``: send the requests in the call itself (under 20 MB). ``new``: make another
    job even if there is one. ``offline``: use the local emulator; None asks the environment.

    Raises UsageError (:class:`~gemini_batch.errors.InvalidInput` with every problem of the file) before anything is
    sent, StateError for this machine's disk and ledger, ServiceError for the service and the network.
    """
    from gemini_batch.commands import create as room
    from gemini_batch.intake.submission import Submission

    order = Submission(source=Path(input_file), model=model, name=name, limit=limit, inline=inline, new=new)
    async with _session(settings, offline, on_event) as session:
        return await room.create(session, order)


async def status(
    job_name: str,
    *,
    wait: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> JobStatus | RunStatus:
    """How a job stands (``batches/…`` or a run id); with ``wait``, once it has ended and its output is there.

    Never spends and never cancels. Raises UsageError, ServiceError, StateError.
    """
    from gemini_batch.commands import status as room

    async with _session(settings, offline, on_event) as session:
        return await room.status(session, job_name, wait=wait)


async def results(
    job_name: str,
    *,
    job_only: bool = False,
    output: str | os.PathLike[str] | None = None,
    media_dir: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Results:
    """The answers of a run, by its id or by the name of any of its jobs: iterate over them, or read ``.summary``.

    One line for each request that was sent, in input order; ``job_only`` narrows it to what the named job itself has
    answered. ``output`` also writes them to a file.

    ``media_dir``: images and speech go into files there, and the result lines name them. Answers are fetched once and
    kept; asking again needs no network. Raises NotFinished while the job is alive, JobError where it has nothing to
    give, UsageError, ServiceError, StateError.
    """
    from gemini_batch.commands import results as room
    from gemini_batch.report.result_set import check_output

    if output is not None:
        check_output(Path(output))
    async with _session(settings, offline, on_event) as session:
        found = await room.results(session, job_name, job_only=job_only)
    media = None
    if media_dir is not None:
        from gemini_batch.answers.media import MediaWriter

        media = MediaWriter(Path(media_dir))
    if output is not None:
        found.write(Path(output), media=media)
    return found


async def run(
    what: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    model: str | None = None,
    name: str | None = None,
    limit: int | None = None,
    new: bool = False,
    max_requests_per_job: int | None = None,
    max_tokens_per_job: int | None = None,
    attempts: int | None = None,
    tier: int | None = None,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Results:
    """Do all of it: validate a file, cut it into jobs, send them as there is room, wait, collect, and send again what
    failed in passing; or go on with a known run (``run-…``, or the name of one of its jobs). Returns the results,
    written to ``output`` if it is given.

    ``max_requests_per_job``, ``max_tokens_per_job``: how large a job may be. ``attempts``: in how many jobs a request
    may be at most (3). ``tier``: the project's tier, if it is known; else the room in the queue is learned from
    refusals. The rest as for :func:`create`. Killed or interrupted, the same call goes on where it stopped.

    Raises UsageError (:class:`~gemini_batch.errors.InvalidInput` with every problem of the file) before anything is
    sent, ServiceError where the service refuses for good, StateError.
    """
    import msgspec

    from gemini_batch.commands import run as room
    from gemini_batch.intake.submission import Submission
    from gemini_batch.store.run_options import RunOptions

    stated = {
        "max_requests_per_job": max_requests_per_job,
        "max_tokens_per_job": max_tokens_per_job,
        "attempts": attempts,
        "tier": tier,
    }
    chosen = {option: value for option, value in stated.items() if value is not None}
    options = msgspec.convert(chosen, RunOptions) if chosen else None
    known = isinstance(what, str) and what.startswith(("run-", "batches/")) and not Path(what).exists()
    order = str(what) if known else Submission(source=Path(what), model=model, name=name, limit=limit, new=new)
    async with _session(settings, offline, on_event) as session:
        return await room.run(session, order, options, output=None if output is None else Path(output))


async def retry(
    run_id: str,
    *,
    only: Sequence[str] = ("failed", "missing"),
    max_output_tokens: int | None = None,
    temperature: float | None = None,
    model: str | None = None,
    output: str | os.PathLike[str] | None = None,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Results:
    """Send the requests of a run once more whose verdict is one of ``only``; this spends.

    ``max_output_tokens`` and ``temperature`` replace those of the requests, and ``model`` asks another one: what was
    cut off or blocked as it was will be so again. What the new attempt answers replaces what was no success. Raises
    UsageError where there is nothing to send, ServiceError, StateError.
    """
    from gemini_batch.commands import retry as room
    from gemini_batch.store.run_options import RequestOverrides

    name = None if model is None else model.removeprefix("models/")
    overrides = RequestOverrides(max_output_tokens=max_output_tokens, temperature=temperature, model=name)
    again = room.RetrySelection(verdicts=room.parse_verdicts(only), overrides=overrides)
    async with _session(settings, offline, on_event) as session:
        return await room.retry(session, run_id, again, output=None if output is None else Path(output))


async def validate(
    input_file: str | os.PathLike[str], *, limit: int | None = None, on_event: EventHandler = ignore_events
) -> Validated:
    """The checks of create, alone: no key, no network, nothing kept. Raises UsageError for a file that is none."""
    from gemini_batch.commands import validate as room

    return await room.validate(Path(input_file), limit=limit, emit=on_event)


async def jobs(
    *,
    alive: bool = False,
    state: str | None = None,
    name: str | None = None,
    model: str | None = None,
    limit: int | None = None,
    refresh: bool = False,
    remote: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> list[JobStatus]:
    """The jobs of this home, newest first, as last seen; ``refresh`` looks at each that may be alive.

    ``alive``, ``state``, ``name`` and ``model`` (parts of the text) and ``limit`` narrow it down. ``remote`` adds the
    jobs of the key's project that this home does not know. Raises UsageError, ServiceError, StateError.
    """
    from gemini_batch.commands import list_jobs as room

    wanted = room.Filter(alive=alive, state=state, name=name, model=model, limit=limit)
    async with _session(settings, offline, on_event) as session:
        return await room.list_jobs(session, wanted, refresh=refresh, remote=remote)


async def cancel(
    job_name: str,
    *,
    wait: bool = True,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Cancelled:
    """Ask the service to stop a job; with ``wait``, follow it to its end and keep what it has answered.

    What was answered by then is paid for. Raises UsageError, ServiceError, StateError.
    """
    from gemini_batch.commands import cancel as room

    async with _session(settings, offline, on_event) as session:
        return await room.cancel(session, job_name, wait=wait)


async def clean(
    *,
    dry_run: bool = True,
    not_created: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Cleaned:
    """Delete input files at the service that this home uploaded and no living job needs; by default only say which.

    ``not_created``: also forget runs whose job was certainly never made. Raises UsageError, ServiceError, StateError.
    """
    from gemini_batch.commands import clean as room

    async with _session(settings, offline, on_event) as session:
        return await room.clean(session, dry_run=dry_run, not_created=not_created)


async def doctor(
    *,
    adopt: bool = False,
    offline: bool | None = None,
    settings: Settings | None = None,
    on_event: EventHandler = ignore_events,
) -> Diagnosis:
    """Check that the ledger, the run folders and the service still agree; ``adopt`` enters unknown remote jobs."""
    from gemini_batch.commands import doctor as room

    async with _session(settings, offline, on_event) as session:
        return await room.doctor(session, adopt_unknown=adopt)
