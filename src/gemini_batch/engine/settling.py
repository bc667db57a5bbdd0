"""What jobs have cost, and may still cost at most, as limits count it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from gemini_batch.catalog import Method
from gemini_batch.errors import Error, UsageError
from gemini_batch.jsonl import read_at, read_lines
from gemini_batch.money.limits import PICO, nano, row_prices
from gemini_batch.money.row_bounds import row_bound
from gemini_batch.prices import LONG_PROMPT, total
from gemini_batch.report.money import Meter
from gemini_batch.store.ledger.records import JobStage
from gemini_batch.store.rows.row_records import Most

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemini_batch.money.row_bounds import RowBound
    from gemini_batch.session import Session
    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder


class Settled(NamedTuple):
    """What a job has cost as limits count it, and what its requests without an answer may have cost at most.

    In nano-USD; None if it is not known.
    """

    cost: int | None = None
    possible: int | None = None


def settle(session: Session, run: Run, job: Job) -> Settled:
    """What a job has cost, when its answers are judged.

    A request without an answer, or with one that does not say what it used, may have been paid for: it counts with what
    it costs at most, and so does each call that was repeated. An error in place of an answer costs nothing. A job of
    which requests went on to another one before it was collected again counts with all that it costs at most. A mistake
    in the user's prices keeps no answer from being collected.
    """
    try:
        book = session.prices
    except UsageError:
        return Settled()
    expected = max(job.requests, (job.total or 0) if run.origin == "adopted" else 0)
    prices = row_prices(
        book, job.model, job.created_at or session.world.now(), answer=job.answer_limit, tiers=job.tiers
    )
    with session.state_folder.run(run.id).rows() as rows:

        def most(without: Literal["answer", "usage"]) -> int | None:
            found = None if prices is None else rows.most(prices, job.ordinal, without=without)
            return None if found is None or found.unknown or not run.requests_known else found.nano

        usage = rows.usage(LONG_PROMPT, job=job.ordinal, by_use=False)
        cost = total(part.spend for part in Meter(run, [job], book).parts(usage))
        all_accounted = rows.accounted(job.ordinal) >= expected
        all_answered = rows.answered_in(job.ordinal) >= expected
        unanswered = 0 if all_answered else most("answer")
        without_usage = 0 if all_answered and not cost.unpriced else most("usage")
    if not expected and job.via == "batch":  # the service has not said how many requests a job from elsewhere has
        return Settled()
    if not all_accounted:
        bound = None if job.unbounded != 0 else job.bound
        return Settled(bound, 0 if all_answered else bound)
    doubtful = job.doubtful_bound if job.doubtful else 0
    possible = _sum(unanswered, doubtful)
    if any(one.why != "usage" for one in cost.unpriced):
        return Settled(None, possible)
    return Settled(_sum(nano(cost.priced), without_usage, doubtful), possible)


def _sum(*parts: int | None) -> int | None:
    return None if None in parts else sum(part or 0 for part in parts)


def count_earlier(session: Session, jobs: Iterable[Job]) -> None:
    """Note what jobs cost at most, and have cost, where that is missing: an earlier version sent or collected them, or
    a price was not known.

    What cannot be known stays unknown. Raises StateError.
    """
    ledger = session.ledger()
    for job in jobs:
        run, now = ledger.run_of(job), session.world.now()
        folder = session.state_folder.run(run.id)
        if not folder.row_database.exists():
            continue
        if job.unbounded is None and (most := _most_of(session, run, job, folder)) is not None:
            what = "cost bounded"
            job = ledger.update_job(job, what, at=now, bound=most.nano, unbounded=most.unknown)  # noqa: PLW2901
        if job.stage is JobStage.COLLECTED and job.settled is None:
            if run.requests_known and run.freed_at is None:  # a finished shard keeps no place of a request
                with folder.rows() as rows:
                    note_bounds(rows, folder, run)
            found = settle(session, run, job)
            if found.cost is not None:
                ledger.update_job(job, "cost counted", at=now, settled=found.cost, possible=found.possible)


def _most_of(session: Session, run: Run, job: Job, folder: RunFolder) -> Most | None:
    """What a job costs at most, by the lines that it was sent with; None if these, or the prices, are not known."""
    at = job.created_at or job.intended_at or session.world.now()
    prices = row_prices(session.prices, job.model, at, tiers=job.tiers)
    if prices is None or not run.requests_known or not folder.has_input(job.part):
        return None
    embeds, pico, unknown, lines = run.method is Method.EMBED, 0, 0, 0
    try:
        with folder.open_input(job.part) as file:
            file.seek(job.offset)
            for line in read_lines(file):
                if lines >= job.requests:
                    break
                lines += 1
                cost = prices.most(*row_bound(line.data, embeds=embeds))
                pico, unknown = pico + (cost or 0), unknown + (cost is None)
    except Error:  # a shard that was changed, or whose bucket cannot be read now
        return None
    return Most(-(-pico // PICO), unknown + max(0, job.requests - lines))


def note_bounds(rows: Rows, folder: RunFolder, run: Run) -> None:
    """Note the bounds of requests that an earlier version entered. Raises StateError."""
    missing = rows.without_bounds()
    if not missing or not folder.has_input(None):
        return
    embeds = run.method is Method.EMBED
    with folder.open_requests() as file:

        def bounds() -> Iterator[tuple[RowBound, int]]:
            for seq, offset, length in missing:
                yield row_bound(read_at(file, offset, length), embeds=embeds), seq

        rows.set_bounds(bounds())
