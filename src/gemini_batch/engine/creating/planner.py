"""Plans the next job from the waiting requests: takes them, writes the job's input, then records the job.

The order makes a crash harmless: requests that ``rows.db`` assigns to a job that the ledger does not know (or has
dropped) wait again as soon as the run is next opened.
"""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING, Literal

from gemini_batch.events import Transfer, ignore_events, in_thread
from gemini_batch.jsonl import atomic_write, private_folder
from gemini_batch.store.ledger.records import Job, JobStage
from gemini_batch.store.rows.conditions import REMEMBERED
from gemini_batch.store.rows.labels import for_vertex
from gemini_batch.store.sqlite import state_error
from gemini_batch.vertex_place import is_vertex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gemini_batch.engine.quota import Limits
    from gemini_batch.events import EventHandler
    from gemini_batch.money.limits import Purse
    from gemini_batch.store.ledger.ledger import Ledger
    from gemini_batch.store.ledger.records import Run, Via
    from gemini_batch.store.ledger.run_options import RequestOverrides
    from gemini_batch.store.rows.row_records import Chunk
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


_PIECE = 1024 * 1024


def reconcile(ledger: Ledger, rows: Rows, run: Run) -> None:
    """Return the requests of jobs that will not be created to the waiting ones."""
    valid = {job.ordinal for job in ledger.jobs_of(run.id)}
    for place in rows.places() - valid:
        if place is not None and place > REMEMBERED:
            rows.release(place)


def drop(ledger: Ledger, rows: Rows, job: Job, *, at: float) -> None:
    """Drop a job that was certainly not created: its requests wait again."""
    ledger.update_job(job, "dropped", at=at, dropped_at=at)
    rows.release(job.ordinal)


async def plan_job(
    ledger: Ledger,
    folder: RunFolder,
    run: Run,
    limits: Limits,
    *,
    tokens: int | None,
    model: str,
    display_name: str,
    key_fingerprint: str,
    now: Callable[[], float],
    overrides: RequestOverrides | None = None,
    input_kind: Literal["file", "inline"] = "file",
    purse: Purse | None = None,
    via: Via = "batch",
    standard: bool = False,
) -> Job | None:
    """Plan one more job of at most ``tokens``; None if nothing waits, or if the next request costs more than ``purse``.

    ``overrides`` are written into each request line of the job. Raises StateError if the run folder cannot be written.
    """
    rewrite = _rewriting(run, overrides)
    ordinal = max((job.ordinal for job in ledger.all_jobs_of(run.id)), default=0) + 1

    def take(_: EventHandler) -> Chunk | None:
        with folder.rows() as rows:
            return rows.take(ordinal, requests=limits.requests, bytes=limits.bytes, tokens=tokens, purse=purse)

    # In a thread, because other jobs are being uploaded: for many rows, it takes longer than a piece of an upload.
    chunk = await in_thread(take, ignore_events)
    if chunk is None:
        return None
    try:
        # A part with placeholders stays as it is: what is sent is made from it when its attachments have URIs.
        if chunk.whole and rewrite is None and not folder.attachments.exists():
            part, offset, size = None, chunk.offset, chunk.bytes
            all_of_it = chunk.requests == run.requests and run.sha256 is not None
            sha256 = (
                run.sha256
                if all_of_it
                else await in_thread(lambda emit: _range_digest(folder, chunk, emit), ignore_events)
            )
        else:
            part, offset = f"{ordinal}.jsonl", 0
            size, sha256 = await in_thread(lambda emit: _write_part(folder, ordinal, rewrite, emit), ignore_events)
    except OSError as error:
        raise state_error(error, folder.path, "run folder") from error
    job = Job(
        id=f"{run.id}-{ordinal}",
        run=run.id,
        ordinal=ordinal,
        model=model,
        requests=chunk.requests,
        tokens=chunk.tokens,
        part=part,
        offset=offset,
        bytes=size,
        sha256=sha256,
        input_kind=input_kind,
        display_name=display_name,
        stage=JobStage.PLANNED,
        key_fingerprint=key_fingerprint,
        answer_limit=overrides.max_output_tokens if overrides is not None else None,
        via=via,
        standard=standard and via == "flex",
    )
    ledger.add_job(job, at=now())
    return job


def _rewriting(run: Run, overrides: RequestOverrides | None) -> Callable[[bytes], bytes] | None:
    """How a request line becomes the line that is sent; None: it is that line."""
    override = overrides.apply if overrides is not None and overrides.rewrites else None
    if not is_vertex(run.backend):
        return override
    return for_vertex if override is None else lambda line: for_vertex(override(line))


def _range_digest(folder: RunFolder, chunk: Chunk, emit: EventHandler) -> str:
    digest, left = hashlib.sha256(), chunk.bytes
    with folder.open_requests() as file:
        file.seek(chunk.offset)
        while left and (piece := file.read(min(_PIECE, left))):
            digest.update(piece)
            left -= len(piece)
            emit(Transfer("reading", chunk.bytes - left, chunk.bytes))  # here a cancelled caller takes effect
    return digest.hexdigest()


def _write_part(
    folder: RunFolder, ordinal: int, rewrite: Callable[[bytes], bytes] | None, emit: EventHandler
) -> tuple[int, str]:
    """Copy the requests of a job to a separate file; returns its size in bytes and its digest."""
    digest, size, told = hashlib.sha256(), 0, 0
    target = folder.input(f"{ordinal}.jsonl")
    private_folder(target.parent)
    with folder.rows() as rows, folder.open_requests() as source, atomic_write(target, private=True) as part:
        for line in _lines(rows, source, ordinal):
            line = (rewrite(line) if rewrite else line) + b"\n"  # noqa: PLW2901 - the line as it is sent
            part.write(line)
            digest.update(line)
            size += len(line)
            if size - told >= _PIECE:
                told = size
                emit(Transfer("writing", size, None))
    return size, digest.hexdigest()


def _lines(rows: Rows, source: IO[bytes], ordinal: int) -> Iterator[bytes]:
    for _, offset, length in rows.members(ordinal):
        source.seek(offset)
        yield source.read(length)
