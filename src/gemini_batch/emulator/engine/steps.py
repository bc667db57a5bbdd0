"""The next step of a batch that is alive: a pure function of its row, the time, and the outcome of a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gemini_batch.emulator.state.clock import SECOND

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gemini_batch.emulator.faults.armed import Outcome

    Batch = sqlite3.Row | Mapping[str, Any]

Step = Literal["wait", "cancel", "expire", "start", "cut", "finish", "work", "end"]


def next_step(batch: Batch, now: int, outcome: Outcome | None = None) -> tuple[Step, int]:
    """The next step, and the row up to which there is work; ``end`` is the end that the outcome sets."""
    if outcome is None:
        return _step(batch, now), _target(batch, now)
    if outcome.state == "SUCCEEDED":
        # A cancellation comes too late.
        going_on = {**dict(batch), "cancelled": None}
        return _step(going_on, now), _target(going_on, now)
    if outcome.state in ("PENDING", "RUNNING"):
        return _stuck(batch, now, outcome)
    return _ending(batch, now, outcome)


def _stuck(batch: Batch, now: int, outcome: Outcome) -> tuple[Step, int]:
    """Never beyond the outcome's state; but the batch can be cancelled, and it expires."""
    over: Step = "expire" if now >= batch["expires"] else "wait"
    if batch["cancelled"] is not None:
        return _step(batch, now), _target(batch, now)
    if batch["state"] == "PENDING":
        return (over if outcome.state == "PENDING" else _step(batch, now)), 0
    until = min(outcome.rows or 0, _target(batch, now))
    return ("work" if batch["row"] < until else over), until


def _ending(batch: Batch, now: int, outcome: Outcome) -> tuple[Step, int]:
    """Toward an end other than SUCCEEDED."""
    if batch["cancelled"] is None and batch["state"] == "PENDING":
        return _step(batch, now), 0
    if batch["cancelled"] is not None and not outcome.on_cancel:
        return _step(batch, now), _target(batch, now)
    asked = outcome.rows
    if asked is None:
        asked = batch["row"] if outcome.on_cancel else 0
    wanted = min(asked, batch["total"])
    allowed = wanted if outcome.on_cancel else min(wanted, _target(batch, now))
    if batch["row"] < allowed:
        return ("start" if batch["state"] == "PENDING" else "work"), allowed
    if batch["row"] >= wanted:
        return "end", wanted
    return ("expire" if now >= batch["expires"] else "wait"), allowed


def _step(batch: Batch, now: int) -> Step:
    if batch["state"] == "PENDING":
        if batch["cancelled"] is not None:
            return "cancel"
        if batch["due"] > batch["expires"]:
            return "expire" if now >= batch["expires"] else "wait"
        return "start" if now >= batch["due"] else "wait"
    if batch["row"] == batch["total"]:
        return "finish"
    if batch["cancelled"] is not None:
        return "work" if batch["cut"] is not None else "cut"
    if batch["row"] < allowed(batch, now):
        return "work"
    return "expire" if now >= batch["expires"] else "wait"


def _target(batch: Batch, now: int) -> int:
    total: int = batch["total"]
    return total if batch["cut"] is not None else allowed(batch, now)


def allowed(batch: Batch, now: int) -> int:
    """How many rows a batch can have served by ``now``. Without a set speed: all, or once cancelled, those it has."""
    total: int = batch["total"]
    speed: float | None = batch["rows_per_second"]
    if speed is None:
        return total if batch["cancelled"] is None else int(batch["row"])
    done: int = batch["row"]
    ran = max(0, min(now, batch["expires"]) - batch["due"]) / SECOND
    return max(done, min(total, int(ran * speed)))
