"""Faults as values: what can be made to fail in a call, its tier, a job, a row, an output file or the delivery
of a webhook.

A fault says *which* calls, jobs or rows it fits, *how often* it is played (``times``, ``skip``, ``probability``) and
*what* it does. There are six kinds; each has only the fields that mean something for it. :func:`make_fault` picks the
kind by the effect that is given. Nothing here acts: :mod:`gemini_batch.emulator.faults.armed` keeps the counters, and
the modules that serve calls, jobs, rows, output files and webhooks play the faults.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import msgspec

from gemini_batch.emulator.faults.error_bodies import WORDINGS
from gemini_batch.emulator.state.calls import Tier  # noqa: TC001 - read when a fault is made

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: The state in which a job ends, or stays: PENDING and RUNNING last until the job expires or is cancelled. Only
#: Vertex AI has PARTIALLY_SUCCEEDED.
JobState = Literal["PENDING", "RUNNING", "SUCCEEDED", "PARTIALLY_SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"]

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
    "withhold",
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
    "split",
]

WebhookChange = Literal["never", "twice", "late", "wrong_signature", "unsigned", "stale", "token"]

ListChange = Literal["omit", "twice", "no_next", "same_next", "empty_page"]


class _Common(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every kind has. Patterns are globs; ``a|b`` matches either; ``/…/`` is a regular expression to search for.

    Raises ``ValueError`` for a broken pattern or a number out of range.
    """

    #: What a fault of this kind acts on, in words.
    SUBJECT: ClassVar[str]
    #: The fields that are effects; at least one is given. No other kind has a field of that name.
    EFFECTS: ClassVar[frozenset[str]]
    #: The fields that hold patterns.
    PATTERNS: ClassVar[tuple[str, ...]] = ("resource", "model", "display_name")

    resource: str = "*"
    model: str = "*"
    display_name: str = "*"

    #: ``skip`` matches pass, then the fault is played ``times`` times (0: always), each time with ``probability``.
    times: int = 1
    skip: int = 0
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not msgspec.to_builtins(self).keys() & self.EFFECTS:
            raise ValueError(f"a fault on {self.SUBJECT} needs an effect: {_listed(self.EFFECTS, 'or')}")
        if self.times < 0 or self.skip < 0 or not 0 <= self.probability <= 1:
            raise ValueError("times and skip must not be negative; probability is between 0 and 1")
        for name in self.PATTERNS:
            pattern = getattr(self, name)
            try:
                matches(pattern, "")
            except re.error as error:
                raise ValueError(f"{pattern} is not a regular expression: {error}") from None


class WireFault(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault of calls: another answer, a broken connection, changed JSON.

    Raises ``ValueError`` also for an unknown ``error``.
    """

    SUBJECT: ClassVar[str] = "calls"
    EFFECTS: ClassVar[frozenset[str]] = frozenset(
        {
            "error",
            "status",
            "body",
            "headers",
            "without_headers",
            "delay",
            "delay_most",
            "silence",
            "drop",
            "receive",
            "cut",
            "length",
            "drip",
            "gzip",
            "set",
            "remove",
            "inline",
            "listing",
        }
    )
    PATTERNS: ClassVar[tuple[str, ...]] = ("operation", "resource", "model", "display_name", "state", "tier")

    operation: str = "*"
    #: A job's state, a file's, or an upload's status; for effects on answers, the one that the answer shows.
    state: str = "*"
    #: The tier that a call asks for: ``standard`` unless its body names another, empty for calls without tiers.
    tier: str = "*"
    #: Only while more than this many of the calls that fit are in flight.
    above: int = 0
    #: Only answers with a body longer than this, in bytes.
    larger: int = 0
    #: Only callers whose ``X-Server-Timeout`` (60 s where absent) is at least, or less than, this.
    patience_from: int = 0
    patience_below: int = 0

    #: Do the work first; then the caller still gets the error or the broken connection.
    commit: bool = False
    error: str = ""
    status: int = 0
    body: str | None = None
    headers: dict[str, str] = {}
    without_headers: list[str] = []
    #: Seconds by the emulator's clock; with ``delay_most``, each answer's own between the two, by ``seed``.
    delay: float = 0.0
    delay_most: float = 0.0
    silence: float = 0.0
    drop: Literal["", "reset", "close"] = ""
    receive: int | None = None
    cut: int | None = None
    length: int = 0
    drip: float = 0.0
    gzip: bool = False
    set: dict[str, Any] = {}
    remove: list[str] = []
    inline: bool = False
    listing: ListChange | Literal[""] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.error and self.error not in WORDINGS:
            raise ValueError(f"no error is called {self.error}; the errors are {', '.join(sorted(WORDINGS))}")
        if not 0 <= self.delay <= (self.delay_most or self.delay):
            raise ValueError("delay must not be negative, and delay_most not less than it")
        if self.above < 0 or (self.above and (not self.early or self.receive is not None)):
            raise ValueError("above must not be negative, and needs an effect that replaces the work")
        if self.receive is not None and self.tier != "*":
            raise ValueError("a call's tier is in its body, which receive cuts")

    @property
    def early(self) -> bool:
        """Whether it replaces the work."""
        return not self.commit and bool(
            self.status
            or self.error
            or (self.drop and self.cut is None)  # where an answer is cut, `drop` says how
            or self.silence
            or self.receive is not None
        )

    @property
    def edits(self) -> bool:
        """Whether it changes the JSON of an answer."""
        return bool(self.set or self.remove or self.inline or self.listing)


class TierFault(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another tier than the one that a call asks for serves it, at its price."""

    SUBJECT: ClassVar[str] = "tiers"
    EFFECTS: ClassVar[frozenset[str]] = frozenset({"served"})
    PATTERNS: ClassVar[tuple[str, ...]] = ("resource", "model", "display_name", "tier")

    served: Tier
    tier: str = "*"


class JobFault(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A job's fate. ``rows`` rows are served first; ``keep`` publishes them; ``on_cancel``: only once it is cancelled.

    Raises ``ValueError`` also for negative ``rows``.
    """

    SUBJECT: ClassVar[str] = "jobs"
    EFFECTS: ClassVar[frozenset[str]] = frozenset({"job", "runs_on"})

    job: JobState | Literal[""] = ""
    rows: int | None = None
    keep: bool = False
    on_cancel: bool = False
    code: int | None = None
    message: str | None = None
    #: A deleted job keeps running.
    runs_on: bool = False
    #: So many seconds after its cancel, a job that goes on shows CANCELLED and no answers.
    hides: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rows(self.rows)
        if self.hides < 0 or (self.hides and not self.on_cancel):
            raise ValueError("hides must not be negative, and needs on_cancel")


class RowFault(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A row's outcome, or that of an ordinary call, in place of the responder's answer. Calls have no key."""

    SUBJECT: ClassVar[str] = "rows"
    EFFECTS: ClassVar[frozenset[str]] = frozenset({"row"})
    PATTERNS: ClassVar[tuple[str, ...]] = ("resource", "model", "display_name", "key")

    row: RowOutcome
    key: str = "*"
    reason: str = ""
    text: str = ""
    megabytes: float = 0.0
    code: int | None = None
    message: str | None = None
    details: list[dict[str, Any]] = []


class OutputFault(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change to an output file. ``rows``: the number of lines to change; 0 means all.

    Raises ``ValueError`` also for negative ``rows``.
    """

    SUBJECT: ClassVar[str] = "output files"
    EFFECTS: ClassVar[frozenset[str]] = frozenset({"output"})
    PATTERNS: ClassVar[tuple[str, ...]] = ("resource", "model", "display_name", "key")

    output: OutputChange
    key: str = "*"
    rows: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_rows(self.rows)


class WebhookFault(_Common, kw_only=True, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change to the delivery of a job's event. ``late``: seconds, for the change of that name.

    Raises ``ValueError`` also for a negative ``late``.
    """

    SUBJECT: ClassVar[str] = "webhooks"
    EFFECTS: ClassVar[frozenset[str]] = frozenset({"webhook"})

    webhook: WebhookChange
    late: float = 3600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.late >= 0:
            raise ValueError("late must not be negative")


Fault = WireFault | TierFault | JobFault | RowFault | OutputFault | WebhookFault
F = TypeVar("F", bound=_Common)

KINDS: tuple[type[Fault], ...] = (WireFault, TierFault, JobFault, RowFault, OutputFault, WebhookFault)
#: The names of all fields of all kinds.
FIELDS = frozenset(name for kind in KINDS for name in kind.__struct_fields__)


def make_fault(fields: Mapping[str, Any]) -> Fault:
    """The fault that the fields describe; its effect decides the kind.

    Raises ``ValueError`` for no effect, effects of two kinds, an unknown field, a field of another kind, or a value
    that does not fit.
    """
    _refuse_unknown(fields)
    found = [kind for kind in KINDS if fields.keys() & kind.EFFECTS]
    if not found:
        effects = "; ".join(f"for {kind.SUBJECT} {_listed(kind.EFFECTS, 'or')}" for kind in KINDS)
        raise ValueError(f"a fault needs an effect: {effects}")
    if len(found) > 1:
        named = "; ".join(f"{_listed(fields.keys() & kind.EFFECTS)} for {kind.SUBJECT}" for kind in found)
        raise ValueError(f"these effects are of {len(found)} kinds: {named}. Arm one fault for each kind")
    return _made(found[0], fields)


def change_fault(fault: Fault, fields: Mapping[str, Any]) -> Fault:
    """The fault with some fields replaced; its kind stays. Raises ``ValueError`` as :func:`make_fault` does."""
    _refuse_unknown(fields)
    return _made(type(fault), fields, msgspec.structs.asdict(fault))


def _made(kind: type[Fault], fields: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> Fault:
    misplaced = [
        f"{name} belongs to faults on {_listed(one.SUBJECT for one in KINDS if name in one.__struct_fields__)}"
        for name in sorted(fields.keys() - set(kind.__struct_fields__))
    ]
    if misplaced:
        raise ValueError(f"this is a fault on {kind.SUBJECT}, but {' and '.join(misplaced)}")
    try:
        return msgspec.convert({**(base or {}), **fields}, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _refuse_unknown(fields: Mapping[str, Any]) -> None:
    if unknown := fields.keys() - FIELDS:
        raise ValueError(f"a fault has no field {_listed(unknown, 'or')}; the fields are {', '.join(sorted(FIELDS))}")


def _listed(names: Iterable[str], word: str = "and") -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} {word} {last}" if most else last


def _check_rows(rows: int | None) -> None:
    if rows is not None and rows < 0:
        raise ValueError("rows must not be negative")


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
