"""Decides about locks of places in a bucket, as pure functions of what is there and what time it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection

#: Seconds between two refreshes; after which a lock of ours is refreshed before anything is sent; and after which
#: a lock that was not refreshed may be taken over.
REFRESH, TRUSTED, STALE = 55.0, 180.0, 600.0

Judgement = Literal["free", "ours", "stale", "live"]


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """What a lock holds. ``at``: when it was written, by the clock of its writer. ``token``: no other lock has it."""

    host: str
    pid: int
    at: float
    token: str


def judge(there: Lock | None, *, written: float, own: Collection[str], now: float) -> Judgement:
    """What the lock that is there means for one who wants it.

    ``written``: when, by the clock of the store; a clock that is slow must not make a lock look old, so the later of
    both times counts. ``own``: the tokens of locks that this state folder took and did not release: the caller
    knows that no other process works with it.
    """
    if there is None:
        return "free"
    if there.token in own:
        return "ours"
    return "stale" if now - max(there.at, written) >= STALE else "live"


def is_trusted(refreshed: float, now: float) -> bool:
    """Whether a lock that was refreshed then is certainly still ours: no process takes over one as young as this.

    A clock that was set back proves nothing.
    """
    return 0.0 <= now - refreshed < TRUSTED


def may_be_lost(refreshed: float, now: float) -> bool:
    """Whether a lock that could not be refreshed since then may belong to someone else by now."""
    return not 0.0 <= now - refreshed < STALE - REFRESH
