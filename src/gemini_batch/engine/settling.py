"""What a collected job has cost, as limits count it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_batch.errors import UsageError
from gemini_batch.money.limits import nano, row_prices
from gemini_batch.prices import LONG_PROMPT, total
from gemini_batch.report.money import Meter
from gemini_batch.store.run_options import kept_options

if TYPE_CHECKING:
    from gemini_batch.session import Session
    from gemini_batch.store.records import Job, Run


def settled(session: Session, run: Run, job: Job) -> int | None:
    """What a job has cost, in nano-USD, when its answers are judged; None if that is not known.

    A request without an answer, or with one that does not say what it used, may have been paid for: it counts with what
    it costs at most. An error in place of an answer costs nothing. A mistake in the user's prices keeps no answer from
    being collected.
    """
    if not run.requests_known:
        return None
    try:
        book = session.prices
    except UsageError:
        return None
    overrides = kept_options(run).overrides
    answer = overrides.max_output_tokens if overrides else None
    prices = row_prices(book, job.model, job.created_at or session.world.now(), answer=answer)
    with session.state_folder.run(run.id).rows() as rows:
        cost = total(part.spend for part in Meter(run, [job], book).parts(rows.usage(LONG_PROMPT, job=job.ordinal)))
        open_rows = None if prices is None else rows.most(prices, job.ordinal, unknown=True)
        answered = rows.answered_in(job.ordinal)
    if any(one.why != "usage" for one in cost.unpriced):
        return None
    if open_rows is None:  # nothing bounds what is not known
        return nano(cost.priced) if not cost.unpriced and answered == job.requests else None
    return None if open_rows.unknown else nano(cost.priced) + open_rows.nano
