"""Chooses how waiting requests are sent with ``--via auto``: a pure function of what is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_batch.engine.calling.pace import MINUTE

if TYPE_CHECKING:
    from gemini_batch.store.ledger.records import Rate, Via
    from gemini_batch.store.rows.row_records import Waiting

#: Work of at most so many requests, and so many tokens in their prompts, is small.
ROWS, TOKENS = 500, 1_000_000
#: Seconds that a batch is expected to take where nothing is known: what the service aims at.
A_DAY = 86_400.0
#: A batch is in time if twice its usual duration is left.
_SPARE = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto:
    """When calls are chosen: for small work, or if a batch would come too late for the ``deadline``.

    ``deadline``: seconds since 1970; None: there is none.
    """

    rows: int = ROWS
    tokens: int = TOKENS
    deadline: float | None = None


def way(waiting: Waiting, auto: Auto, now: float, *, usual: float | None, rate: Rate) -> Via:
    """How the waiting requests are sent. ``usual``: seconds that batches of the model usually take here; ``rate``: what
    the service lets through in a minute.
    """
    if waiting.requests <= auto.rows and waiting.tokens <= auto.tokens:
        return "flex"
    if auto.deadline is None:
        return "batch"
    left = auto.deadline - now
    needed = MINUTE * max(
        waiting.requests / rate.calls if rate.calls else 0.0,
        waiting.tokens / rate.tokens if rate.tokens else 0.0,
    )
    late = left < _SPARE * (A_DAY / _SPARE if usual is None else usual)
    # If calls do not come in time either, the queue is the better place for much work.
    return "flex" if late and needed <= max(left, MINUTE) else "batch"
