"""How much more room ``retry`` can give answers that were cut off: more than was set, at most what the model gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_batch import catalog
from gemini_batch.store.job_rows import limits_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gemini_batch.store.ledger.records import Job, Run
    from gemini_batch.store.rows.row_records import Reason
    from gemini_batch.store.rows.rows import Rows
    from gemini_batch.store.state_folder import RunFolder

#: Room for an answer that was cut off; the prompt decides how much is needed.
_USUAL = 8192
#: The reason of an answer that was cut off.
_CUT_OFF = "MAX_TOKENS"


class Room(NamedTuple):
    """What helps with answers that were cut off at the limit of their request.

    ``propose``: the ``maxOutputTokens`` for another attempt, None if no request can have more; ``full``: how many set
    all that ``model`` gives, ``most``.
    """

    propose: int | None
    full: int
    most: int
    model: str


def room(model: str, most: int | None, limits: Iterable[int]) -> Room:
    """The room for requests that set these limits; ``most`` None: what the model gives is unknown."""
    highest, some, full = 0, False, 0
    for limit in limits:
        if most is not None and limit >= most:
            full += 1
        else:
            highest, some = max(highest, limit), True
    wanted = max(_USUAL, 2 * highest)
    propose = wanted if most is None else min(most, wanted)
    return Room(propose if some or not full else None, full, most or 0, model)


def room_for_more(folder: RunFolder, run: Run, jobs: Sequence[Job], rows: Rows, failures: Sequence[Reason]) -> Room:
    """The room for the requests of a run whose answers were cut off. Raises StateError, ``OSError``."""
    found = catalog.load().find(run.model)
    cut_off = any(one.reason == _CUT_OFF for one in failures)
    return room(run.model, found.max_output_tokens if found else None, _limits(folder, jobs, rows) if cut_off else ())


def _limits(folder: RunFolder, jobs: Sequence[Job], rows: Rows) -> Iterator[int]:
    ordinals = {row.job for row in rows.failures() if row.reason == _CUT_OFF}
    for job in jobs:
        if job.ordinal in ordinals:
            cut = (
                (0, row.key, row.offset, row.length)
                for row in rows.failures()
                if row.job == job.ordinal and row.reason == _CUT_OFF
            )
            yield from (limit for _, limit in limits_set(folder, job, cut) if limit is not None)
