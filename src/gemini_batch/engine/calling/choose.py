"""Chooses how waiting requests are sent with ``--via auto``: a pure function of what is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gemini_batch import catalog
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


class Choice(NamedTuple):
    """How requests are sent, and why: the end of a sentence."""

    via: Via
    why: str


def too_large(longest: int) -> bool:
    """Whether a request of so many bytes is larger than the body of a call may be."""
    return longest > catalog.load().limits.inline_body_bytes.value


def way(waiting: Waiting, auto: Auto, now: float, *, usual: float | None, rate: Rate, longest: int = 0) -> Choice:
    """How the waiting requests are sent. ``usual``: seconds that batches of the model usually take here; ``rate``: what
    the service lets through in a minute; ``longest``: the bytes of the largest request.
    """
    if too_large(longest):
        return Choice("batch", "one of them is too large for a call")
    if waiting.requests <= auto.rows and waiting.tokens <= auto.tokens:
        return Choice("flex", f"they are at most {auto.rows:,}, with at most {auto.tokens:,} tokens")
    if auto.deadline is None:
        many = waiting.requests > auto.rows
        return Choice(
            "batch", f"they are more than {auto.rows:,}" if many else f"they have more than {auto.tokens:,} tokens"
        )
    left = auto.deadline - now
    needed = MINUTE * max(
        waiting.requests / rate.calls if rate.calls else 0.0,
        waiting.tokens / rate.tokens if rate.tokens else 0.0,
    )
    late = left < _SPARE * (A_DAY / _SPARE if usual is None else usual)
    # If calls do not come in time either, the queue is the better place for much work.
    if not late:
        return Choice("batch", "these usually come before the deadline")
    if needed > max(left, MINUTE):
        return Choice("batch", "the known quota lets too few calls through before the deadline")
    return Choice("flex", "batches may come after the deadline")
