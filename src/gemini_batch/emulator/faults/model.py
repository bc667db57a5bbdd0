"""Faults: what can be made to go wrong, for which calls, jobs and rows, and how often.

A fault says *which* (operation, resource, model, display name, key, …), *how often* (``times``, ``skip``,
``probability``) and *what*: exactly one of a fault on the wire, an outcome of a job, an outcome of a row, or a change
to an output file. Nothing here does anything; those who serve calls, jobs and rows ask whether it is their turn.

What always holds: a fault on a job, or on a row of it, stays with the job that it met, however often it is looked at.
Counters are the process's own. With nothing armed, nobody has to ask.
"""

from __future__ import annotations

import random
import re
import threading
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from gemini_batch.emulator.faults.error_bodies import WORDINGS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

Layer = Literal["wire", "job", "row", "output"]

#: Where a job ends, or stays: PENDING and RUNNING are for ever, or until it expires or is cancelled.
JobState = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]

RowOutcome = Literal[
    "error",
    "status",
    "nothing",
    "blocked",
    "finish",
    "citations",
    "cut_empty",
    "cut_half",
    "thought_first",
    "empty_text",
    "signed",
    "no_candidates",
    "text",
    "function_call",
    "image",
    "sound",
    "huge",
    "no_usage",
    "partial_usage",
    "short_vector",
    "nan_vector",
    "schema_missed",
]

OutputChange = Literal[
    "shuffle",
    "reverse",
    "drop",
    "duplicate",
    "conflict",
    "foreign",
    "no_key",
    "broken",
    "not_json",
    "separators",
    "crlf",
    "blank",
    "no_final_newline",
]

ListChange = Literal["omit", "twice", "no_next", "same_next", "empty_page"]


class Fault(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault. Patterns are globs; ``a|b`` is either; ``/…/`` is a regular expression that is searched for.

    Raises ``ValueError`` where it has no effect, effects of two kinds, fields that belong to another kind, or a pattern
    or number that cannot be.
    """

    # Which. `state` is a job's state, a file's, or an upload's status; for effects on answers, as the answer shows it.
    operation: str = "*"
    resource: str = "*"
    model: str = "*"
    display_name: str = "*"
    state: str = "*"
    key: str = "*"
    #: Answers with a longer body than this.
    larger: int = 0
    #: Callers whose ``X-Server-Timeout`` (60 s where absent) is at least, or less than, this.
    patience_from: int = 0
    patience_below: int = 0

    # How often: `skip` matches pass, then `times` are hit (0: all), each with `probability`.
    times: int = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0

    # On the wire. `commit`: the work is done all the same.
    commit: bool = False
    error: str = ""
    status: int = 0
    body: str | None = None
    headers: dict[str, str] = {}
    without_headers: list[str] = []
    delay: float = 0.0
    silence: float = 0.0
    drop: Literal["", "reset", "close"] = ""
    receive: int | None = None
    cut: int | None = None
    length: int = 0
    drip: float = 0.0
    set: dict[str, Any] = {}
    remove: list[str] = []
    inline: bool = False
    listing: ListChange | Literal[""] = ""

    # A job. `rows`: so many are served before; `keep`: they are published; `on_cancel`: only once somebody cancels.
    job: JobState | Literal[""] = ""
    keep: bool = False
    on_cancel: bool = False
    runs_on: bool = False

    # A row.
    row: RowOutcome | Literal[""] = ""
    reason: str = ""
    text: str = ""
    megabytes: float = 0.0

    # An output file. `rows`: so many lines are changed; 0: all.
    output: OutputChange | Literal[""] = ""

    # For jobs, rows and output files.
    rows: int | None = None
    code: int | None = None
    message: str | None = None
    details: list[dict[str, Any]] = []

    def __post_init__(self) -> None:
        if self.error and self.error not in WORDINGS:
            raise ValueError(f"no error is called {self.error}; there are {', '.join(sorted(WORDINGS))}")
        if len(layers := _layers(self)) != 1:
            found = " and ".join(layers) or "nothing"
            raise ValueError(f"a fault does exactly one thing to a call, a job, a row or an output file, not {found}")
        if misplaced := _misplaced(self, layers[0]):
            what = {"wire": "calls", "job": "jobs", "row": "rows", "output": "output files"}[layers[0]]
            raise ValueError(f"{' and '.join(misplaced)} mean nothing in a fault on {what}")
        if self.times < 0 or self.skip < 0 or not 0 <= self.probability <= 1 or (self.rows or 0) < 0:
            raise ValueError("times, skip and rows are not negative; probability is between 0 and 1")
        for pattern in (self.operation, self.resource, self.model, self.display_name, self.state, self.key):
            try:
                matches(pattern, "")
            except re.error as error:
                raise ValueError(f"{pattern} is no regular expression: {error}") from None

    @property
    def layer(self) -> Layer:
        """What it is done to."""
        return _layers(self)[0]

    @property
    def early(self) -> bool:
        """Whether it comes instead of the work."""
        return not self.commit and bool(
            self.status or self.error or self.drop or self.silence or self.receive is not None
        )


def _layers(fault: Fault) -> list[Layer]:
    wire = (
        fault.error,
        fault.status,
        fault.body is not None,
        fault.headers,
        fault.without_headers,
        fault.delay,
        fault.silence,
        fault.drop,
        fault.receive is not None,
        fault.cut is not None,
        fault.length,
        fault.drip,
        fault.set,
        fault.remove,
        fault.inline,
        fault.listing,
    )
    found: list[tuple[Layer, bool]] = [
        ("wire", any(wire)),
        ("job", bool(fault.job) or fault.runs_on),
        ("row", bool(fault.row)),
        ("output", bool(fault.output)),
    ]
    return [layer for layer, there in found if there]


_ALL = frozenset({"resource", "model", "display_name", "times", "skip", "probability", "seed"})
_OF_LAYER: dict[Layer, frozenset[str]] = {
    "job": frozenset({"job", "rows", "keep", "on_cancel", "runs_on", "code", "message"}),
    "row": frozenset({"row", "key", "reason", "text", "megabytes", "code", "message", "details"}),
    "output": frozenset({"output", "rows", "key"}),
}


def _misplaced(fault: Fault, layer: Layer) -> list[str]:
    """The fields that were given but belong to another kind of fault."""
    given = msgspec.to_builtins(fault).keys() - _ALL
    others = frozenset[str]().union(*_OF_LAYER.values())
    return sorted(given & others if layer == "wire" else given - _OF_LAYER[layer])


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern of a fault fits. Raises ``re.error`` for a broken regular expression."""
    if pattern == "*":
        return True
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        return _regex(pattern[1:-1]).search(text) is not None
    return any(fnmatchcase(text, one) for one in pattern.split("|"))


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


class Armed:
    """A fault that waits for its turn, and its counters."""

    def __init__(self, number: int, fault: Fault, *, group: int = 0, scenario: str = "") -> None:
        self.number = number
        self.group = group
        self.fault = fault
        self.scenario = scenario
        self.seen = 0
        self.hit = 0
        self._guard = threading.Lock()
        self._random = random.Random(fault.seed)
        self._bound: dict[str, bool] = {}
        #: Nothing has to be remembered of a fault that is played every time.
        self._always = not fault.times and not fault.skip and fault.probability >= 1

    def take(self) -> bool:
        """Whether it is this one's turn; a match that passes counts too."""
        with self._guard:
            return self._take()

    def take_for(self, subject: str) -> bool:
        """The same, once for each subject: what was decided about it stays."""
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

    @property
    def spent(self) -> bool:
        """Whether it was played as often as it was to be."""
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
        """For people and tests: the fault and how often it was met and played."""
        shown: dict[str, Any] = {"id": self.number, "seen": self.seen, "played": self.hit}
        if self.scenario:
            shown["scenario"] = self.scenario
        return {**shown, "fault": msgspec.to_builtins(self.fault)}


class Outcome(NamedTuple):
    """What a job is made to come to, after ``rows`` rows (None: those it has)."""

    state: JobState
    rows: int | None
    keep: bool
    on_cancel: bool
    error: tuple[int, str] | None


class Faults:
    """The armed faults of one emulator. Safe to use from many threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._count = 0
        self._armed: tuple[Armed, ...] = ()
        #: By what they are done to; whole tuples are replaced, so that reading them needs no lock.
        self.wire: tuple[Armed, ...] = ()
        self.job: tuple[Armed, ...] = ()
        self.row: tuple[Armed, ...] = ()
        self.output: tuple[Armed, ...] = ()

    def arm(self, *faults: Fault, scenario: str = "") -> list[int]:
        """Add faults, behind those that are armed already; returns their ids. See :meth:`on` for several at once."""
        with self._guard:
            group = self._count + 1
            added = [Armed(number, fault, group=group, scenario=scenario) for number, fault in enumerate(faults, group)]
            self._count += len(faults)
            self._sort((*self._armed, *added))
        return [one.number for one in added]

    def clear(self, number: int | None = None) -> bool:
        """Take back one fault, or all; False if there was none of that id."""
        with self._guard:
            left = tuple(one for one in self._armed if number is not None and one.number != number)
            found = number is None or len(left) < len(self._armed)
            self._sort(left)
        return found

    def shown(self) -> list[dict[str, Any]]:
        """All armed faults, in their order, with their counters."""
        return [one.shown() for one in self._armed]

    def _sort(self, armed: Iterable[Armed]) -> None:
        self._armed = tuple(armed)
        self.wire, self.job, self.row, self.output = (
            tuple(one for one in self._armed if one.fault.layer == layer) for layer in ("wire", "job", "row", "output")
        )

    def on(self, operation: str) -> list[Armed]:
        """The faults on the wire that may be played on a call.

        Of those that were armed together the ones with a number of times are played one after the other: only the first
        that is not spent may be played.
        """
        found: list[Armed] = []
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

    def outcome(self, batch: sqlite3.Row | Mapping[str, Any]) -> Outcome | None:
        """What a job is made to come to: by the first fault that fits it."""
        for one in self.job:
            fault = one.fault
            if not fault.job or (fault.on_cancel and batch["cancelled"] is None) or not fits(fault, batch):
                continue
            if one.take_for(batch["id"]):
                error = None if fault.code is None else (fault.code, fault.message or "")
                return Outcome(fault.job, fault.rows, fault.keep, fault.on_cancel, error)
        return None

    def runs_on(self, batch: sqlite3.Row | Mapping[str, Any]) -> bool:
        """Whether a job that is deleted goes on all the same."""
        return any(one.fault.runs_on and fits(one.fault, batch) and one.take_for(batch["id"]) for one in self.job)

    def rows(self, batch: sqlite3.Row | Mapping[str, Any]) -> list[Armed]:
        """The faults that may meet rows of a job; each row is for :meth:`Armed.take_for`."""
        return [one for one in self.row if fits(one.fault, batch)]

    def changes(self, batch: sqlite3.Row | Mapping[str, Any]) -> list[Fault]:
        """What is done to a job's output file, in the order of arming."""
        return [one.fault for one in self.output if fits(one.fault, batch) and one.take_for(batch["id"])]


def fits(fault: Fault, batch: sqlite3.Row | Mapping[str, Any]) -> bool:
    """Whether a fault means this job, by its name, model and display name."""
    return (
        matches(fault.resource, f"batches/{batch['id']}")
        and matches(fault.model, batch["model"])
        and matches(fault.display_name, batch["display_name"])
    )
