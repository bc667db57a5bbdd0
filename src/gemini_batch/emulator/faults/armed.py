"""Armed faults: which are waiting, which one is next, and how often each was played.

Invariant: a fault that met a job, or one of its rows, stays with that job, however often the job is polled. Counters
belong to the process.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import msgspec

from gemini_batch.emulator.faults.model import (
    F,
    JobFault,
    OutputFault,
    RowFault,
    TierFault,
    WebhookFault,
    WireFault,
    matches,
)
from gemini_batch.emulator.state.clock import SECOND
from gemini_batch.emulator.state.entered import name_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gemini_batch.emulator.faults.model import Fault, JobState
    from gemini_batch.emulator.state.calls import Tier

    Batch = sqlite3.Row | Mapping[str, Any]


class Armed(Generic[F]):
    """A fault that waits for its turn, and its counters."""

    def __init__(self, number: int, fault: F, *, group: int = 0, scenario: str = "") -> None:
        self.number = number
        self.group = group
        self.fault = fault
        self.scenario = scenario
        self.seen = 0
        self.hit = 0
        self._guard = threading.Lock()
        self._random = random.Random(fault.seed)
        self._inside = 0
        self._bound: dict[str, bool] = {}
        #: A fault that is played every time has nothing to remember.
        self._always = not fault.times and not fault.skip and fault.probability >= 1

    def take(self) -> bool:
        """Whether it is this fault's turn; a match that passes counts too."""
        with self._guard:
            return self._take()

    def take_for(self, subject: str) -> bool:
        """The same, decided once for each subject."""
        with self._guard:
            if self._always:
                self.seen += 1
                self.hit += 1
                return True
            decided = self._bound.get(subject)
            if decided is None:
                if self.spent:
                    return False
                decided = self._bound[subject] = self._take()
            return decided

    def enter(self) -> int:
        """One more call that fits is in flight, until :meth:`leave`; returns how many are."""
        with self._guard:
            self._inside += 1
            return self._inside

    def leave(self) -> None:
        """A call that has entered is over."""
        with self._guard:
            self._inside -= 1

    def between(self, least: float, most: float) -> float:
        """A number between the two, by the fault's ``seed``."""
        with self._guard:
            return self._random.uniform(least, most)

    @property
    def spent(self) -> bool:
        """Whether it was played as often as its ``times`` allow."""
        return 0 < self.fault.times <= self.hit

    def _take(self) -> bool:
        fault = self.fault
        if self.spent:
            return False
        self.seen += 1
        if self.seen <= fault.skip or (fault.probability < 1 and self._random.random() >= fault.probability):
            return False
        self.hit += 1
        return True

    def shown(self) -> dict[str, Any]:
        """The fault as JSON, with how often it was matched and played."""
        shown: dict[str, Any] = {"id": self.number, "seen": self.seen, "played": self.hit}
        if self.scenario:
            shown["scenario"] = self.scenario
        return {**shown, "fault": msgspec.to_builtins(self.fault)}


class Outcome(NamedTuple):
    """How a job is made to end, after ``rows`` rows (None: those it has)."""

    state: JobState
    rows: int | None
    keep: bool
    on_cancel: bool
    error: tuple[int, str] | None
    hides: float = 0.0


class Faults:
    """The armed faults of one emulator. Safe to use from many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._count = 0
        #: By kind, in the order of arming. Whole tuples are replaced, so reading them needs no lock.
        self.wire: tuple[Armed[WireFault], ...] = ()
        self.tier: tuple[Armed[TierFault], ...] = ()
        self.job: tuple[Armed[JobFault], ...] = ()
        self.row: tuple[Armed[RowFault], ...] = ()
        self.output: tuple[Armed[OutputFault], ...] = ()
        self.webhook: tuple[Armed[WebhookFault], ...] = ()

    def arm(self, *faults: Fault, scenario: str = "") -> list[int]:
        """Add faults after those that are armed already; returns their ids. See :meth:`on` for several at once."""
        with self._guard:
            group = self._count + 1
            self._count += len(faults)
            numbers = list(range(group, self._count + 1))
            for number, fault in zip(numbers, faults, strict=True):
                match fault:
                    case WireFault():
                        self.wire += (Armed(number, fault, group=group, scenario=scenario),)
                    case TierFault():
                        self.tier += (Armed(number, fault, group=group, scenario=scenario),)
                    case JobFault():
                        self.job += (Armed(number, fault, group=group, scenario=scenario),)
                    case RowFault():
                        self.row += (Armed(number, fault, group=group, scenario=scenario),)
                    case OutputFault():
                        self.output += (Armed(number, fault, group=group, scenario=scenario),)
                    case WebhookFault():
                        self.webhook += (Armed(number, fault, group=group, scenario=scenario),)
        return numbers

    def clear(self, number: int | None = None) -> bool:
        """Disarm one fault, or all; False if no fault has that id."""
        with self._guard:
            before = len(self._all())
            self.wire = _without(self.wire, number)
            self.tier = _without(self.tier, number)
            self.job = _without(self.job, number)
            self.row = _without(self.row, number)
            self.output = _without(self.output, number)
            self.webhook = _without(self.webhook, number)
            return number is None or len(self._all()) < before

    def shown(self) -> list[dict[str, Any]]:
        """All armed faults in the order of arming, with their counters."""
        with self._guard:
            return [one.shown() for one in sorted(self._all(), key=lambda one: one.number)]

    def _all(
        self,
    ) -> list[
        Armed[WireFault]
        | Armed[TierFault]
        | Armed[JobFault]
        | Armed[RowFault]
        | Armed[OutputFault]
        | Armed[WebhookFault]
    ]:
        return [*self.wire, *self.tier, *self.job, *self.row, *self.output, *self.webhook]

    def on(self, operation: str) -> list[Armed[WireFault]]:
        """The faults on the wire that may be played on a call.

        Faults that were armed together and have a number of ``times`` are played one after the other: of each group,
        only the first that is not spent may be played.
        """
        found: list[Armed[WireFault]] = []
        begun: set[int] = set()
        for one in self.wire:
            if one.spent or not matches(one.fault.operation, operation):
                continue
            if one.fault.times:
                if one.group in begun:
                    continue
                begun.add(one.group)
            found.append(one)
        return found

    def served(self, model: str, asked: Tier) -> Tier:
        """The tier that serves a call to a model: the one that it asks for, unless a fault says otherwise."""
        for one in self.tier:
            if _fits_call(one.fault, model) and matches(one.fault.tier, asked) and one.take():
                return one.fault.served
        return asked

    def outcome(self, batch: Batch) -> Outcome | None:
        """How a job is made to end: decided by the first fault that fits it."""
        for one in self.job:
            fault = one.fault
            if not fault.job or (fault.on_cancel and batch["cancelled"] is None) or not fits(fault, batch):
                continue
            if one.take_for(batch["id"]):
                error = None if fault.code is None else (fault.code, fault.message or "")
                return Outcome(fault.job, fault.rows, fault.keep, fault.on_cancel, error, fault.hides)
        return None

    def hides(self, batch: Batch, now: int) -> bool:
        """Whether a cancelled job is shown as CANCELLED, although it goes on; ``now`` in nanoseconds."""
        outcome = self.outcome(batch) if self.job else None
        return outcome is not None and now < batch["cancelled"] + round(outcome.hides * SECOND)

    def runs_on(self, batch: Batch) -> bool:
        """Whether a deleted job keeps running."""
        return any(one.fault.runs_on and fits(one.fault, batch) and one.take_for(batch["id"]) for one in self.job)

    def rows(self, batch: Batch) -> list[Armed[RowFault]]:
        """The faults that may meet rows of a job; :meth:`Armed.take_for` decides for each row."""
        return [one for one in self.row if fits(one.fault, batch)]

    def answers(self, model: str) -> list[Armed[RowFault]]:
        """The faults that may meet the answer to a call to a model."""
        return [one for one in self.row if _fits_call(one.fault, model)]

    def changes(self, batch: Batch) -> list[OutputFault]:
        """The changes to a job's output file, in the order of arming."""
        return [one.fault for one in self.output if fits(one.fault, batch) and one.take_for(batch["id"])]

    def delivery(self, batch: Batch) -> WebhookFault | None:
        """The change to the deliveries of a job's event: the first that fits it."""
        return next((one.fault for one in self.webhook if fits(one.fault, batch) and one.take_for(batch["id"])), None)


def fits(fault: Fault, batch: Batch) -> bool:
    """Whether a fault fits this job, by its name, model and display name."""
    return (
        matches(fault.resource, name_of(batch))
        and matches(fault.model, batch["model"])
        and matches(fault.display_name, batch["display_name"])
    )


def _fits_call(fault: TierFault | RowFault, model: str) -> bool:
    """Whether a fault fits a call to this model."""
    return matches(fault.model, model) and matches(fault.resource, f"models/{model}")


def _without(armed: tuple[Armed[F], ...], number: int | None) -> tuple[Armed[F], ...]:
    return tuple(one for one in armed if number is not None and one.number != number)
